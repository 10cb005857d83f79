package build

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
)

// secrets reads --secret: "id=name", with "src=file" or "env=VARIABLE" where the value is not in a file or variable of
// the same name.
func secrets(flags []string) (session.Attachable, error) {
	var sources []secretsprovider.Source
	for _, flag := range flags {
		fields, err := pairs(flag)
		if err != nil {
			return nil, fmt.Errorf("invalid secret %q: %w", flag, err)
		}
		var source secretsprovider.Source
		kind := ""
		for key, value := range fields {
			switch key {
			case "type":
				if value != "file" && value != "env" {
					return nil, fmt.Errorf("unsupported secret type %q", value)
				}
				kind = value
			case "id":
				source.ID = value
			case "src", "source":
				source.FilePath = value
			case "env":
				source.Env = value
			default:
				return nil, fmt.Errorf("unexpected key '%s' in '%s'", key, flag)
			}
		}
		if kind == "env" && source.Env == "" {
			source.Env, source.FilePath = source.FilePath, ""
		}
		sources = append(sources, source)
	}
	store, err := secretsprovider.NewStore(sources)
	if err != nil {
		return nil, err
	}
	return secretsprovider.NewSecretProvider(store), nil
}

// agents reads --ssh: "default", "id=socket" or "id=key,key".
func agents(flags []string) (session.Attachable, error) {
	var configs []sshprovider.AgentConfig
	for _, flag := range flags {
		id, paths, given := strings.Cut(flag, "=")
		config := sshprovider.AgentConfig{ID: id}
		if given {
			for path := range strings.SplitSeq(paths, ",") {
				if raw, ok := strings.CutPrefix(path, "raw="); ok {
					on, err := strconv.ParseBool(raw)
					if err != nil {
						return nil, fmt.Errorf("invalid value for 'raw': %s", raw)
					}
					config.Raw = on
					continue
				}
				config.Paths = append(config.Paths, path)
			}
		}
		if config.Raw && len(config.Paths) != 1 {
			return nil, fmt.Errorf("raw mode must supply exactly one socket path for %q", id)
		}
		configs = append(configs, config)
	}
	return sshprovider.NewSSHAgentProvider(configs)
}

// caches reads --cache-from and --cache-to: a reference of a registry, or "type=…,key=value".
func caches(flags []string, export bool) ([]client.CacheOptionsEntry, error) {
	var entries []client.CacheOptionsEntry
	for _, flag := range flags {
		entry := client.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": flag}}
		if strings.Contains(flag, "=") {
			fields, err := pairs(flag)
			if err != nil {
				return nil, fmt.Errorf("invalid cache %q: %w", flag, err)
			}
			if fields["type"] == "" {
				return nil, fmt.Errorf("cache %q needs a type, as in type=registry,ref=name", flag)
			}
			entry.Type, entry.Attrs = fields["type"], fields
			delete(fields, "type")
		}
		if _, given := entry.Attrs["mode"]; export && !given {
			entry.Attrs["mode"] = "min"
		}
		entries = append(entries, entry)
	}
	return entries, nil
}
