package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Inspected is one thing: Raw is the daemon's own text, Typed the same as a struct (templates may use its field names).
type Inspected struct {
	Raw   []byte
	Typed any
}

// Inspect looks up each name and writes all of them: without a format as one indented JSON array of the daemon's own
// words, with "json" one per line, else by template. Names that are not found are reported at the end.
func Inspect(out io.Writer, format string, names []string, find func(name string) (Inspected, error)) error {
	var found []Inspected
	var failed error
	for _, name := range names {
		one, err := find(name)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		found = append(found, one)
	}
	var err error
	switch format {
	case "":
		err = writeArray(out, found)
	case "json":
		err = writeLines(out, found)
	default:
		err = writeTemplate(out, format, found)
	}
	return errors.Join(err, failed)
}

func writeArray(out io.Writer, found []Inspected) error {
	var all, pretty bytes.Buffer
	all.WriteByte('[')
	for i, one := range found {
		if i > 0 {
			all.WriteByte(',')
		}
		all.Write(bytes.TrimSpace(one.Raw))
	}
	all.WriteByte(']')
	if err := json.Indent(&pretty, all.Bytes(), "", "    "); err != nil {
		return fmt.Errorf("unable to read inspect data: %w", err)
	}
	pretty.WriteByte('\n')
	_, err := out.Write(pretty.Bytes())
	return err
}

func writeLines(out io.Writer, found []Inspected) error {
	for _, one := range found {
		var line bytes.Buffer
		if err := json.Compact(&line, one.Raw); err != nil {
			return fmt.Errorf("unable to read inspect data: %w", err)
		}
		line.WriteByte('\n')
		if _, err := out.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// writeTemplate tries the struct first and then the JSON, where what is missing is an error too.
func writeTemplate(out io.Writer, format string, found []Inspected) error {
	tmpl, err := Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return err
	}
	for _, one := range found {
		var buf bytes.Buffer
		first := tmpl.Execute(&buf, one.Typed)
		if first != nil {
			buf.Reset()
			var raw any
			dec := json.NewDecoder(bytes.NewReader(one.Raw))
			dec.UseNumber()
			if err := dec.Decode(&raw); err != nil {
				return fmt.Errorf("unable to read inspect data: %w", err)
			}
			if err := tmpl.Option("missingkey=error").Execute(&buf, raw); err != nil {
				return fmt.Errorf("template parsing error: %w", first)
			}
		}
		buf.WriteByte('\n')
		if _, err := out.Write(buf.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
