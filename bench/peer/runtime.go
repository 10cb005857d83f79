package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Runtime is an OCI runtime without an engine around it. It gets the runtime's own default specification, with a
// new network namespace (which holds nothing but a loopback device) or with the host's.
type Runtime struct {
	Config
	command string
	Version string
	state   string            // the runtime's --root
	bundles map[string]string // by network: none, host
	counter int
	tag     string
}

// OpenRuntime makes the bundles from the root file system at rootfs.
func OpenRuntime(ctx context.Context, config Config, tag, dir, rootfs string) (*Runtime, error) {
	if config.Prefix != "" {
		return nil, errors.New("a bare runtime can't have a prefix")
	}
	path, err := exec.LookPath(config.CLI)
	if err != nil {
		return nil, err
	}
	r := &Runtime{Config: config, command: path, tag: tag, state: filepath.Join(dir, "state"), bundles: map[string]string{}}
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(version), "\n")
	r.Version = first
	for _, network := range []string{"none", "host"} {
		bundle := filepath.Join(dir, network)
		if err := os.MkdirAll(bundle, 0o700); err != nil {
			return nil, err
		}
		if out, err := exec.CommandContext(ctx, path, "spec", "--bundle", bundle).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s spec: %w: %s", config.Name, err, LastLines(string(out)))
		}
		if err := editSpec(filepath.Join(bundle, "config.json"), rootfs, network); err != nil {
			return nil, err
		}
		r.bundles[network] = bundle
	}
	return r, nil
}

// editSpec makes the default specification run /bin/true on rootfs without a terminal.
func editSpec(path, rootfs, network string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec struct {
		Process map[string]any             `json:"process"`
		Root    map[string]any             `json:"root"`
		Linux   map[string]any             `json:"linux"`
		Rest    map[string]json.RawMessage `json:"-"`
	}
	if err := errors.Join(json.Unmarshal(data, &spec), json.Unmarshal(data, &spec.Rest)); err != nil {
		return err
	}
	spec.Process["terminal"], spec.Process["args"] = false, []string{"/bin/true"}
	spec.Root["path"] = rootfs
	if network == "host" {
		if list, ok := spec.Linux["namespaces"].([]any); ok {
			spec.Linux["namespaces"] = slices.DeleteFunc(list, isNetwork)
		}
	}
	for key, value := range map[string]any{"process": spec.Process, "root": spec.Root, "linux": spec.Linux} {
		if spec.Rest[key], err = json.Marshal(value); err != nil {
			return err
		}
	}
	if data, err = json.Marshal(spec.Rest); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func isNetwork(namespace any) bool {
	fields, ok := namespace.(map[string]any)
	return ok && fields["type"] == "network"
}

// Run runs /bin/true once.
func (r *Runtime) Run(ctx context.Context, network string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r.counter++
	cmd := exec.CommandContext(ctx, r.command, "--root", r.state, "run", "--bundle", r.bundles[network], fmt.Sprintf("%s-%s-%d", r.tag, r.Name, r.counter))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	begin := time.Now()
	err := cmd.Run()
	if err != nil {
		return 0, fmt.Errorf("%s run: %w: %s", r.Name, err, LastLines(complaint.String()))
	}
	return time.Since(begin), nil
}
