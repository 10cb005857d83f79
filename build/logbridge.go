package build

import (
	"context"
	"io"
	"log/slog"

	"github.com/moby/buildkit/util/bklog"
	"github.com/sirupsen/logrus"
)

// quieten puts a logger into the context that hands BuildKit's words to ours. Most of them matter to BuildKit's makers
// only, and what concerns a build its client is told: they are for debugging.
func quieten(ctx context.Context, to *slog.Logger) context.Context {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.InfoLevel)
	logger.AddHook(logHook{to})
	return bklog.WithLogger(ctx, logrus.NewEntry(logger))
}

type logHook struct{ to *slog.Logger }

// Levels says which entries the hook wants.
func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire passes one entry on.
func (h logHook) Fire(entry *logrus.Entry) error {
	attributes := make([]slog.Attr, 0, len(entry.Data))
	for key, value := range entry.Data {
		attributes = append(attributes, slog.Any(key, value))
	}
	h.to.LogAttrs(context.Background(), slog.LevelDebug, "buildkit: "+entry.Message, attributes...)
	return nil
}
