package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"

	"github.com/berth-engine/berth/cli/session"
)

// exporterMoby makes an image in the daemon's own store.
const exporterMoby = "moby"

// exports says where the result goes: into the daemon's store unless --output, --push or --load say otherwise.
func (o *options) exports(s *session.Session) ([]client.ExportEntry, error) {
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	outputs := o.outputs
	if o.push {
		outputs = append(outputs, "type=registry")
	}
	if o.load || len(outputs) == 0 {
		outputs = append(outputs, "type=docker")
	}
	var entries []client.ExportEntry
	for _, output := range outputs {
		entry, err := export(output, names, s)
		if err != nil {
			return nil, err
		}
		if entry == nil { // cacheonly
			continue
		}
		for _, annotation := range o.annotations {
			name, value, ok := strings.Cut(annotation, "=")
			if !ok {
				return nil, fmt.Errorf("invalid annotation %q, expected key=value", annotation)
			}
			if !strings.HasPrefix(name, "manifest") && !strings.HasPrefix(name, "index") {
				name = "annotation." + name
			}
			entry.Attrs[name] = value
		}
		entries = append(entries, *entry)
	}
	return entries, nil
}

// names are the complete names of --tag.
func (o *options) names() (string, error) {
	var names []string
	for _, tag := range o.tags {
		ref, err := reference.ParseNormalizedNamed(tag)
		if err != nil {
			return "", fmt.Errorf("invalid tag %q: %w", tag, err)
		}
		names = append(names, reference.TagNameOnly(ref).String())
	}
	return strings.Join(names, ","), nil
}

// export reads one --output: "type=local,dest=out", a folder, or "-" for a tar on standard output.
func export(output, names string, s *session.Session) (*client.ExportEntry, error) {
	attrs := map[string]string{}
	switch {
	case output == "-":
		attrs["type"], attrs["dest"] = client.ExporterTar, "-"
	case !strings.Contains(output, "="):
		attrs["type"], attrs["dest"] = client.ExporterLocal, output
	default:
		var err error
		if attrs, err = pairs(output); err != nil {
			return nil, fmt.Errorf("invalid value %q for --output: %w", output, err)
		}
	}
	kind, dest := attrs["type"], attrs["dest"]
	delete(attrs, "type")
	delete(attrs, "dest")
	if _, named := attrs["name"]; !named && names != "" && kind != client.ExporterLocal && kind != client.ExporterTar {
		attrs["name"] = names
	}
	entry := &client.ExportEntry{Type: kind, Attrs: attrs}
	switch kind {
	case "":
		return nil, errors.New("type is required for output")
	case "cacheonly":
		return nil, nil
	case client.ExporterImage, exporterMoby:
		entry.Type = exporterMoby
	case "registry":
		entry.Type, attrs["push"] = exporterMoby, "true"
	case client.ExporterDocker:
		if dest == "" {
			entry.Type = exporterMoby
			return entry, nil
		}
		return entry, toFile(entry, dest, s)
	case client.ExporterOCI:
		if unpacked, err := strconv.ParseBool(attrs["tar"]); err == nil && !unpacked {
			entry.OutputDir = dest
			return entry, nil
		}
		return entry, toFile(entry, dest, s)
	case client.ExporterTar:
		return entry, toFile(entry, dest, s)
	case client.ExporterLocal:
		if dest == "" {
			return nil, errors.New("dest is required for local output")
		}
		if info, err := os.Stat(dest); err == nil && !info.IsDir() {
			return nil, fmt.Errorf("destination directory %s is a file", dest)
		}
		entry.OutputDir = dest
	default:
		return nil, fmt.Errorf("exporter %q could not be found", kind)
	}
	if push, err := strconv.ParseBool(attrs["push"]); err == nil && push && attrs["name"] == "" {
		return nil, errors.New("tag is needed when pushing to registry")
	}
	return entry, nil
}

// toFile opens the destination when BuildKit has something to write.
func toFile(entry *client.ExportEntry, dest string, s *session.Session) error {
	if dest == "" || dest == "-" {
		if s.Out.IsTerminal() {
			return fmt.Errorf("dest file is required for %s exporter. refusing to write to console", entry.Type)
		}
		entry.Output = func(map[string]string) (io.WriteCloser, error) { return notClosed{s.Out}, nil }
		return nil
	}
	if info, err := os.Stat(dest); err == nil && info.IsDir() {
		return fmt.Errorf("destination file %s is a directory", dest)
	}
	entry.Output = func(map[string]string) (io.WriteCloser, error) { return os.Create(dest) }
	return nil
}

// notClosed keeps standard output open.
type notClosed struct{ io.Writer }

// Close does nothing.
func (notClosed) Close() error { return nil }
