package image

import (
	"context"
	"io"
	"log/slog"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// bridge makes a logger for containerd's libraries that hands warnings and errors to ours and drops the rest.
func bridge(to *slog.Logger) *log.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	logger.SetLevel(logrus.WarnLevel)
	logger.AddHook(slogHook{to})
	return logrus.NewEntry(logger)
}

type slogHook struct{ to *slog.Logger }

// Levels says which entries the hook wants.
func (h slogHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel, logrus.WarnLevel}
}

// Fire passes one entry on.
func (h slogHook) Fire(entry *logrus.Entry) error {
	level := slog.LevelError
	if entry.Level == logrus.WarnLevel {
		level = slog.LevelWarn
	}
	attributes := make([]slog.Attr, 0, len(entry.Data))
	for key, value := range entry.Data {
		attributes = append(attributes, slog.Any(key, value))
	}
	h.to.LogAttrs(context.Background(), level, "containerd: "+entry.Message, attributes...)
	return nil
}
