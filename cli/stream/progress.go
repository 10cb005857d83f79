package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/jsonstream"
)

// message is a line of progress, with the older key for an error that some daemons send alone.
type message struct {
	jsonstream.Message
	ErrorText string `json:"error,omitempty"`
}

// board draws one line per layer on a terminal and moves the cursor between them.
type board struct {
	out   *Out
	lines map[string]int
	count int
	start map[string]time.Time
}

// Progress shows a stream of JSON messages: bars on a terminal, plain lines in a pipe. Aux values go to aux (nil: dropped).
// An error that the daemon reports in the stream is returned.
func Progress(in io.Reader, out *Out, aux func(json.RawMessage)) error {
	b := &board{out: out, lines: map[string]int{}, start: map[string]time.Time{}}
	dec := json.NewDecoder(in)
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if m.Error != nil {
			return m.Error
		}
		if m.ErrorText != "" {
			return errors.New(m.ErrorText)
		}
		if m.Aux != nil {
			if aux != nil {
				aux(*m.Aux)
			}
			continue
		}
		if err := b.show(m.Message); err != nil {
			return err
		}
	}
}

func (b *board) show(m jsonstream.Message) error {
	switch {
	case m.Stream != "":
		b.forget()
		_, err := io.WriteString(b.out, m.Stream)
		return err
	case !b.out.IsTerminal():
		return b.plain(m)
	case m.ID == "" || m.Progress == nil && m.Status == "":
		b.forget()
		_, err := fmt.Fprintln(b.out, m.Status)
		return err
	}
	line, known := b.lines[m.ID]
	text := ""
	if !known {
		line = b.count
		b.lines[m.ID] = line
		b.count++
		text = "\n"
	}
	up := b.count - line
	_, width := b.out.Size()
	text += fmt.Sprintf("\x1b[%dA\x1b[2K\r%s: %s%s\x1b[%dB\r", up, m.ID, m.Status, b.bar(m, int(width)), up)
	_, err := io.WriteString(b.out, text)
	return err
}

// forget ends the block of lines: what comes now is below them.
func (b *board) forget() {
	clear(b.lines)
	b.count = 0
}

// plain leaves out the moving numbers: in a file each would be a line.
func (b *board) plain(m jsonstream.Message) error {
	if m.Progress != nil && (m.Progress.Total > 0 || m.Progress.Current > 0) {
		return nil
	}
	if m.Status == "" {
		return nil
	}
	text := m.Status + "\n"
	if m.ID != "" {
		text = m.ID + ": " + text
	}
	_, err := io.WriteString(b.out, text)
	return err
}

func (b *board) bar(m jsonstream.Message, width int) string {
	p := m.Progress
	if p == nil || p.Current <= 0 && p.Total <= 0 {
		return ""
	}
	show := func(n int64) string {
		if p.Units != "" {
			return fmt.Sprintf("%d %s", n, p.Units)
		}
		return units.HumanSizeWithPrecision(float64(n), 3)
	}
	if p.Total <= 0 {
		return fmt.Sprintf(" %8s", show(p.Current))
	}
	done := min(p.Current, p.Total)
	numbers := fmt.Sprintf(" %8s/%s", show(p.Current), show(p.Total))
	if p.HideCounts {
		numbers = ""
	}
	numbers += b.left(m, done)
	room := min(50, width-len(m.ID)-len(m.Status)-len(numbers)-8)
	if room < 5 {
		return numbers
	}
	filled := int(done * int64(room) / p.Total)
	head := ">"
	if filled == room {
		head = ""
	}
	return " [" + strings.Repeat("=", filled) + head + strings.Repeat(" ", max(0, room-filled-len(head))) + "]" + numbers
}

// left estimates the time that is left, once there is something to go by.
func (b *board) left(m jsonstream.Message, done int64) string {
	key := m.ID + "\x00" + m.Status
	since, known := b.start[key]
	if !known {
		b.start[key] = time.Now()
		return ""
	}
	passed := time.Since(since)
	if done <= 0 || passed < 2*time.Second || done >= m.Progress.Total {
		return ""
	}
	rest := time.Duration(float64(passed) * float64(m.Progress.Total-done) / float64(done))
	return " " + rest.Round(time.Second).String()
}
