// Package format turns rows into what a person or a script reads: tables, JSON lines, Go templates with docker's
// functions, sizes and times in words.
package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
)

// Headers are the column titles by the name of the placeholder.
type Headers map[string]string

// Label is the title of a column that shows one label: its last word.
func (h Headers) Label(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '.' })
	if len(words) == 0 {
		return ""
	}
	last := words[len(words)-1]
	return strings.NewReplacer("-", " ", "_", " ").Replace(last)
}

// Table is how a list is shown.
type Table struct {
	Out     io.Writer
	Format  string // as --format gives it: "", "json", "table …", "raw", or a template
	Default string // used for "" and "table"
	Headers Headers
}

// Functions are those that docker's templates have.
var functions = template.FuncMap{
	"json":     encodeJSON,
	"split":    strings.Split,
	"join":     joinWords,
	"title":    title,
	"lower":    strings.ToLower,
	"upper":    strings.ToUpper,
	"pad":      pad,
	"truncate": truncate,
}

// In the line of titles a function leaves its argument alone.
var headerFunctions = template.FuncMap{
	"json":     func(s string) string { return s },
	"split":    func(s, _ string) string { return s },
	"join":     func(s, _ string) string { return s },
	"title":    func(s string) string { return s },
	"lower":    func(s string) string { return s },
	"upper":    func(s string) string { return s },
	"truncate": func(s string, _ int) string { return s },
}

// Parse makes a template with docker's functions.
func Parse(text string) (*template.Template, error) {
	t, err := template.New("").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	return t, nil
}

// Rows writes rows; each row is a value whose methods without arguments are the placeholders.
func Rows[R any](t Table, rows []R) error {
	text, isTable := t.resolve()
	if text == "json" {
		for _, row := range rows {
			line, err := rowJSON(row)
			if err != nil {
				return err
			}
			if _, err := t.Out.Write(line); err != nil {
				return err
			}
		}
		return nil
	}
	tmpl, err := Parse(text)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	for _, row := range rows {
		if err := tmpl.Execute(&body, row); err != nil {
			return templateError(err)
		}
		body.WriteByte('\n')
	}
	if !isTable {
		_, err := t.Out.Write(body.Bytes())
		return err
	}
	var head bytes.Buffer
	if err := tmpl.Funcs(headerFunctions).Execute(&head, t.Headers); err != nil {
		return templateError(err)
	}
	head.WriteByte('\n')
	w := tabwriter.NewWriter(t.Out, 10, 1, 3, ' ', 0)
	if _, err := w.Write(append(head.Bytes(), body.Bytes()...)); err != nil {
		return err
	}
	return w.Flush()
}

func templateError(err error) error {
	var exec template.ExecError
	if errors.As(err, &exec) {
		return fmt.Errorf("template parsing error: %w", err)
	}
	return err
}

func (t Table) resolve() (text string, isTable bool) {
	text = t.Format
	switch {
	case text == "", text == "table":
		text = t.Default
	case text == "json":
		return text, false
	}
	if rest, found := strings.CutPrefix(text, "table"); found && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
		text, isTable = strings.TrimSpace(rest), true
	}
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text), isTable
}

// One writes a single value: as JSON, or by a template.
func One(out io.Writer, format string, v any) error {
	if format == "json" {
		format = "{{json .}}"
	}
	tmpl, err := Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := tmpl.Execute(&buf, v); err != nil {
		return templateError(err)
	}
	buf.WriteByte('\n')
	_, err = out.Write(buf.Bytes())
	return err
}

// rowJSON is an object of the placeholders, in alphabetical order, and a line feed.
func rowJSON(row any) ([]byte, error) {
	fields := map[string]any{}
	v := reflect.ValueOf(row)
	for i := range v.NumMethod() {
		method := v.Type().Method(i)
		if m := v.Method(i); m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
			fields[method.Name] = m.Call(nil)[0].Interface()
		}
	}
	text, err := encodeJSON(fields)
	return []byte(text + "\n"), err
}

func encodeJSON(v any) (string, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(buf.String(), "\n"), nil
}

func joinWords(list any, separator string) (string, error) {
	if words, ok := list.([]string); ok {
		return strings.Join(words, separator), nil
	}
	v := reflect.ValueOf(list)
	if k := v.Kind(); k != reflect.Slice && k != reflect.Array {
		return "", fmt.Errorf("join: %T is not a list", list)
	}
	words := make([]string, v.Len())
	for i := range words {
		words[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(words, separator), nil
}

func title(s string) string {
	words := strings.SplitAfter(s, " ")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

func truncate(s string, length int) string {
	if len(s) < length || length < 0 {
		return s
	}
	return s[:length]
}
