package logopt

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"
)

// Facts are what the container and its host say in tags and attributes. The names of fields and methods are what
// templates of tags use.
type Facts struct {
	ContainerID         string
	ContainerName       string // with its slash
	ContainerEntrypoint string
	ContainerArgs       []string
	ContainerImageID    string
	ContainerImageName  string
	ContainerCreated    time.Time
	ContainerEnv        []string
	ContainerLabels     map[string]string
	DaemonName          string
	Config              map[string]string // the options
	host                string
}

// example is a container for trying a template out.
var example = &Facts{
	ContainerID: strings.Repeat("0", 64), ContainerName: "/name", ContainerImageID: "sha256:" + strings.Repeat("0", 64), ContainerImageName: "image",
	DaemonName: "docker", ContainerLabels: map[string]string{}, Config: map[string]string{},
}

// ID is the beginning of the container's ID.
func (f *Facts) ID() string { return short(f.ContainerID) }

// FullID is the container's ID.
func (f *Facts) FullID() string { return f.ContainerID }

// Name is the container's name.
func (f *Facts) Name() string { return strings.TrimPrefix(f.ContainerName, "/") }

// ImageID is the beginning of the image's ID.
func (f *Facts) ImageID() string { return short(f.ContainerImageID) }

// ImageFullID is the image's ID.
func (f *Facts) ImageFullID() string { return f.ContainerImageID }

// ImageName is the image as the user named it.
func (f *Facts) ImageName() string { return f.ContainerImageName }

// Command is the command line.
func (f *Facts) Command() string {
	return strings.Join(append([]string{f.ContainerEntrypoint}, f.ContainerArgs...), " ")
}

// Hostname is the host's.
func (f *Facts) Hostname() string { return f.host }

func short(id string) string { return id[:min(len(id), 12)] }

// functions are those of Docker's templates.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(v)
		return strings.TrimSpace(out.String()), err
	},
	"split": strings.Split,
	"join":  strings.Join,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"title": title,
	"pad": func(s string, before, after int) string {
		if s == "" {
			return s
		}
		return spaces(before) + s + spaces(after)
	},
	"truncate": func(s string, length int) string { return s[:min(len(s), max(length, 0))] },
}

// longestTag bounds what a template makes: whoever may create containers may not make the daemon run out of memory.
const longestTag = 16 << 10

func spaces(n int) string { return strings.Repeat(" ", min(max(n, 0), longestTag)) }

// brief is a buffer that takes no more than a tag.
type brief struct{ bytes.Buffer }

func (b *brief) Write(p []byte) (int, error) {
	if b.Len()+len(p) > longestTag {
		return 0, errors.New("the tag is too long")
	}
	return b.Buffer.Write(p)
}

// title makes the first letter of each word a capital.
func title(s string) string {
	inside := false
	return strings.Map(func(r rune) rune {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '\''
		if letter && !inside {
			r = unicode.ToTitle(r)
		}
		inside = letter
		return r
	}, s)
}

// tag carries a template out.
func (f *Facts) tag(text string) (string, error) {
	parsed, err := template.New("log-tag").Funcs(functions).Parse(text)
	if err != nil {
		return "", err
	}
	var out brief
	err = parsed.Execute(&out, f)
	return out.String(), err
}

// pattern compiles an option; nil: there is none.
func pattern(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	return regexp.Compile(text)
}

// attributes are the labels and variables that the options choose, with each name as rename gives it.
func (f *Facts) attributes(rename func(string) string) (map[string]string, error) {
	chosen := map[string]string{}
	variables := map[string]string{}
	for _, variable := range f.ContainerEnv {
		if key, value, ok := strings.Cut(variable, "="); ok {
			variables[key] = value
		}
	}
	for _, source := range []struct {
		option string
		values map[string]string
	}{{"labels", f.ContainerLabels}, {"env", variables}} {
		for key := range strings.SplitSeq(f.Config[source.option], ",") {
			if value, ok := source.values[key]; ok {
				chosen[rename(key)] = value
			}
		}
		matches, err := pattern(f.Config[source.option+"-regex"])
		if err != nil {
			return nil, err
		}
		for key, value := range source.values {
			if matches != nil && matches.MatchString(key) {
				chosen[rename(key)] = value
			}
		}
	}
	return chosen, nil
}

// New makes the plan of a container. path is of its file, where the driver keeps one; hostname is the host's.
func New(driver, path, hostname string, facts Facts) (Plan, error) {
	p, err := parse(driver, facts.Config)
	if err != nil {
		return p, err
	}
	facts.host = hostname
	plain := func(key string) string { return key }
	if p.File != nil {
		p.File.Path = path
		if p.File.Attrs, err = facts.attributes(plain); err != nil {
			return p, err
		}
		if text := facts.Config["tag"]; text != "" && driver == JSONFile {
			if p.File.Attrs["tag"], err = facts.tag(text); err != nil {
				return p, err
			}
		}
	}
	if p.Remote != nil {
		err = p.Remote.complete(&facts)
	}
	return p, err
}

// complete tells a server about the container.
func (r *Remote) complete(f *Facts) error {
	text := f.Config["tag"]
	if text == "" {
		text = "{{.ID}}"
	}
	tag, err := f.tag(text)
	if err != nil {
		return err
	}
	switch {
	case r.Syslog != nil:
		r.Syslog.Hostname, r.Syslog.Tag = f.host, tag
	case r.GELF != nil:
		r.GELF.Hostname = f.host
		r.GELF.Fields, err = f.gelfFields(tag)
	case r.Fluentd != nil:
		r.Fluentd.Tag = tag
		r.Fluentd.Fields, err = f.attributes(func(key string) string { return key })
		r.Fluentd.Fields = under(map[string]string{"container_id": f.ContainerID, "container_name": f.ContainerName}, r.Fluentd.Fields)
	case r.Journald != nil:
		r.Journald.Fields, err = f.attributes(journalKey)
		r.Journald.Fields = under(map[string]string{
			"CONTAINER_ID": f.ID(), "CONTAINER_ID_FULL": f.ContainerID, "CONTAINER_NAME": f.Name(), "CONTAINER_TAG": tag,
			"IMAGE_NAME": f.ContainerImageName, "SYSLOG_IDENTIFIER": tag,
		}, r.Journald.Fields)
	}
	return err
}

// under lays what a user chose over what is always there.
func under(always, chosen map[string]string) map[string]string {
	for key, value := range chosen {
		if key != "" {
			always[key] = value
		}
	}
	return always
}

// gelfFields are the additional fields of each message, whose names begin with an underscore.
func (f *Facts) gelfFields(tag string) (json.RawMessage, error) {
	chosen, err := f.attributes(func(key string) string {
		if strings.HasPrefix(key, "_") {
			return key
		}
		return "_" + key
	})
	if err != nil {
		return nil, err
	}
	fields := map[string]any{
		"_container_id": f.ContainerID, "_container_name": f.Name(), "_image_id": f.ContainerImageID, "_image_name": f.ContainerImageName,
		"_command": f.Command(), "_tag": tag, "_created": f.ContainerCreated,
	}
	for key, value := range chosen {
		fields[key] = value
	}
	return json.Marshal(fields)
}

// journalKey makes a name of a field as the journal wants it: capitals, digits and underscores, none of these in front.
func journalKey(key string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key), "_")
}

// Path is where a driver keeps what `logs` reads, in the container's folder; "": nowhere. A driver with a server keeps a
// copy there, unless that is switched off.
func Path(driver string, options map[string]string, dir, id string) string {
	p, err := parse(driver, options)
	switch {
	case err != nil || p.File == nil:
		return ""
	case driver == JSONFile:
		return dir + "/" + id + "-json.log"
	case driver == Local:
		return dir + "/container-local.log"
	}
	return dir + "/container-cached.log"
}
