package volume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/mount"
)

// longestName is what a file system takes as the name of a folder.
const longestName = 255

// nameError says what is wrong with the name of a volume, in Docker's words.
func nameError(name string) error {
	if len(name) == 1 {
		return errors.New("volume name is too short, names should be at least two alphanumeric characters")
	}
	if !validName(name) {
		return fmt.Errorf("%q includes invalid characters for a local volume name, only %q are allowed. If you intended to pass a host directory, use absolute path", name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	if len(name) > longestName {
		return fmt.Errorf("volume name is too long, it has %d characters and may have %d", len(name), longestName)
	}
	return nil
}

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return name != ""
}

// needs says which other options an option makes no sense without.
var needs = map[string][]string{"device": {"type"}, "type": {"device"}, "o": {"device", "type"}, "size": nil}

// sizeOf is the limit that the options of a volume ask for, in bytes; 0: none.
func sizeOf(options map[string]string) (int64, error) {
	text, given := options["size"]
	if !given {
		return 0, nil
	}
	return units.RAMInBytes(text)
}

// optionsError says what is wrong with the options of a volume, in Docker's words.
func (vs *Volumes) optionsError(options map[string]string) error {
	switch size, err := sizeOf(options); {
	case err != nil:
		return err
	case size > 0 && options["type"] != "":
		return errors.New("size is for volumes whose data is in a folder of their own; give the file system that is mounted an option in o (size=, for a tmpfs)")
	case size > 0 && vs.quota == nil:
		return errors.New("quota size requested but no quota support")
	}
	for key := range options {
		if _, known := needs[key]; !known {
			return fmt.Errorf("invalid option: %q", key)
		}
	}
	for key, others := range needs {
		if _, given := options[key]; !given {
			continue
		}
		for _, other := range others {
			if _, given := options[other]; !given {
				return fmt.Errorf("missing required option: %q", other)
			}
		}
	}
	return nil
}

// mountOptions mounts what the options of a volume say: `-o type=nfs -o device=:/export -o o=addr=server,rw`.
func mountOptions(ctx context.Context, options map[string]string, path string) error {
	kind, device := options["type"], options["device"]
	var list []string
	if options["o"] != "" {
		list = strings.Split(options["o"], ",")
	}
	if kind == "none" && (slices.Contains(list, "bind") || slices.Contains(list, "rbind")) {
		kind = "bind"
	}
	var err error
	switch found := slices.IndexFunc(list, func(o string) bool { return strings.HasPrefix(o, "addr=") }); {
	case found >= 0 && (strings.HasPrefix(kind, "nfs") || kind == "cifs"):
		list[found], err = resolve(ctx, "addr=", list[found], "")
	case kind == "cifs" && strings.HasPrefix(device, "//"):
		server, share, _ := strings.Cut(device[2:], "/")
		device, err = resolve(ctx, "//", "//"+server, "/"+share)
	}
	if err != nil {
		return err
	}
	return mount.One(core.FSMount{Type: kind, Source: device, Options: list}, path)
}

// resolve puts the address of a server in place of its name, which stands in text behind a prefix: the kernel knows no
// names.
func resolve(ctx context.Context, prefix, text, suffix string) (string, error) {
	host := strings.TrimPrefix(text, prefix)
	if net.ParseIP(host) != nil {
		return text + suffix, nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", fmt.Errorf("error resolving passed in network volume address: %w", err)
	}
	return prefix + addresses[0] + suffix, nil
}
