package format

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

type thing struct{ id, name string }

func (t thing) ID() string               { return t.id }
func (t thing) Name() string             { return t.name }
func (t thing) Label(name string) string { return "label of " + name }

func TestRows(t *testing.T) {
	t.Parallel()
	rows := []thing{{"1", "a<b"}, {"22222222222222", "c"}}
	for name, c := range map[string]struct{ format, want string }{
		"the default is a table":               {"", "ID               NAME\n1                a<b\n22222222222222   c\n"},
		"a table of one's own":                 {`table {{.Name}}\t{{.Label "com.x.my-key"}}`, "NAME      my key\na<b       label of com.x.my-key\nc         label of com.x.my-key\n"},
		"functions leave titles alone":         {"table {{truncate .ID 3}}", "ID\n1\n222\n"},
		"a template has no titles":             {"{{upper .Name}}:{{.ID}}", "A<B:1\nC:22222222222222\n"},
		"JSON has every placeholder, one line": {"json", "{\"ID\":\"1\",\"Name\":\"a<b\"}\n{\"ID\":\"22222222222222\",\"Name\":\"c\"}\n"},
		"JSON of one field":                    {"{{json .Name}}", "\"a<b\"\n\"c\"\n"},
	} {
		var out bytes.Buffer
		err := Rows(Table{Out: &out, Format: c.format, Default: "table {{.ID}}\t{{.Name}}", Headers: Headers{"ID": "ID", "Name": "NAME"}}, rows)
		if err != nil || out.String() != c.want {
			t.Errorf("%s: %v\n%q\nwant\n%q", name, err, out.String(), c.want)
		}
	}
	for _, bad := range []string{"{{.Nothing}}", "{{"} {
		if err := Rows(Table{Out: &bytes.Buffer{}, Format: bad}, rows); err == nil || !strings.HasPrefix(err.Error(), "template parsing error") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	type typed struct{ ID, Name string }
	find := func(name string) (Inspected, error) {
		if name == "gone" {
			return Inspected{}, errors.New("no such thing: gone")
		}
		return Inspected{Raw: []byte(`{"Id":"1","Name":"` + name + `","New":{"x":1}}` + "\n"), Typed: typed{"1", name}}, nil
	}
	for name, c := range map[string]struct {
		format string
		names  []string
		want   string
		fails  bool
	}{
		"the daemon's words, indented":              {"", []string{"a"}, "[\n    {\n        \"Id\": \"1\",\n        \"Name\": \"a\",\n        \"New\": {\n            \"x\": 1\n        }\n    }\n]\n", false},
		"JSON is one line for each":                 {"json", []string{"a", "b"}, "{\"Id\":\"1\",\"Name\":\"a\",\"New\":{\"x\":1}}\n{\"Id\":\"1\",\"Name\":\"b\",\"New\":{\"x\":1}}\n", false},
		"a field of the struct":                     {"{{.ID}}", []string{"a"}, "1\n", false},
		"a field of the JSON":                       {"{{.Id}} {{.New.x}}", []string{"a"}, "1 1\n", false},
		"a field that is nowhere":                   {"{{.Foo}}", []string{"a"}, "", true},
		"what is missing does not hide what is not": {"{{.ID}}", []string{"gone", "a"}, "1\n", true},
		"nothing found is an empty list":            {"", []string{"gone"}, "[]\n", true},
	} {
		var out bytes.Buffer
		err := Inspect(&out, c.format, c.names, find)
		if out.String() != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v\n%q\nwant\n%q", name, err, out.String(), c.want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	if got := Size(4_180_000); got != "4.18MB" {
		t.Errorf("size %s", got)
	}
	now := time.Unix(1_000_000, 0)
	if got := Ago(now, now.Add(-2*time.Hour)); got != "2 hours ago" {
		t.Errorf("ago %s", got)
	}
	if got := ShortID("sha256:0123456789abcdef"); got != "0123456789ab" {
		t.Errorf("id %s", got)
	}
	if got := Ellipsis("sh -c 'while true; do :; done'", 20); got != "sh -c 'while true; …" {
		t.Errorf("ellipsis %s", got)
	}
}
