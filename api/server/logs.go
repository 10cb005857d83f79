package server

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// stampLayout is RFC 3339 with all nine digits, so that lines stay aligned.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

func (h consoles) logs(c *call) (err error) {
	options, err := logOptions(c)
	if err != nil {
		return err
	}
	reader, tty, err := h.port.Logs(c.context(), c.container(), options)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := reader.Close(); err == nil && closeErr != nil {
			err = closeErr
		}
	}()
	c.stream(c.streamType(!tty))

	lines := lineWriter{options: options, framed: !tty}
	out := newBatcher(c.w, c.flush)
	err = lines.copy(out, reader)
	closeErr := out.close()
	if errors.Is(err, io.EOF) {
		return closeErr
	}
	return err
}

// copy sends lines until there are no more (io.EOF), in pieces that are as large as can be without making a line wait.
func (w *lineWriter) copy(out *batcher, reader core.LogReader) error {
	var buffer []byte
	for {
		line, err := reader.Next()
		if err != nil {
			return err
		}
		buffer = w.append(buffer, &line)
		if len(buffer) >= batchSize || !reader.Buffered() {
			if buffer, err = out.write(buffer); err != nil {
				return err
			}
		}
	}
}

func logOptions(c *call) (options core.LogOptions, err error) {
	options = core.LogOptions{
		Stdout:     c.truth("stdout"),
		Stderr:     c.truth("stderr"),
		Follow:     c.truth("follow"),
		Timestamps: c.truth("timestamps"),
		Details:    c.truth("details"),
		Tail:       -1,
	}
	if !options.Stdout && !options.Stderr {
		return options, core.Invalid("Bad parameters: you must choose at least one stream")
	}
	if n, err := strconv.Atoi(c.text("tail")); err == nil && n >= 0 {
		options.Tail = n
	}
	if options.Since, err = wire.DecodeTime(c.text("since")); err != nil {
		return options, err
	}
	options.Until, err = wire.DecodeTime(c.text("until"))
	return options, err
}

// lineWriter puts lines of a log on the wire: the frame's header, the time, the details, the line.
type lineWriter struct {
	options core.LogOptions
	framed  bool
	within  [2]bool // the last piece of stdout, stderr did not end its line: the next one carries on
}

func (w *lineWriter) append(buffer []byte, line *core.LogLine) []byte {
	stream := 0
	if line.Stderr {
		stream = 1
	}
	start := len(buffer)
	if w.framed {
		buffer = append(buffer, byte(stream+1), 0, 0, 0, 0, 0, 0, 0)
	}
	if !w.within[stream] {
		if w.options.Timestamps {
			buffer = line.Time.UTC().AppendFormat(buffer, stampLayout)
			buffer = append(buffer, ' ')
		}
		if w.options.Details {
			buffer = append(buffer, details(line.Attrs)...)
			buffer = append(buffer, ' ')
		}
	}
	buffer = append(buffer, line.Line...)
	w.within[stream] = len(line.Line) > 0 && line.Line[len(line.Line)-1] != '\n'
	if w.framed {
		binary.BigEndian.PutUint32(buffer[start+4:], uint32(len(buffer)-start-8))
	}
	return buffer
}

// details lists the attributes of a line the way Docker does: key=value, escaped, with commas.
func details(attrs map[string]string) string {
	pairs := make([]string, 0, len(attrs))
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		pairs = append(pairs, url.QueryEscape(key)+"="+url.QueryEscape(attrs[key]))
	}
	return strings.Join(pairs, ",")
}
