// Package logopt reads the options of log drivers (`--log-driver`, `--log-opt`): each option does what it says or is
// refused in Docker's words. What comes out is a Plan, which says where a container's output goes in values that the
// shims carry out without parsing anything.
//
// Three files: logopt.go (drivers, what all have in common, files), remote.go (servers), facts.go (tags and attributes).
package logopt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// Names of the drivers.
const (
	JSONFile = "json-file"
	Local    = "local"
	Journald = "journald"
	Syslog   = "syslog"
	GELF     = "gelf"
	Fluentd  = "fluentd"
	None     = "none"
)

// Drivers are the names of the drivers that log something, in the order of the alphabet.
func Drivers() []string { return []string{Fluentd, GELF, Journald, JSONFile, Local, Syslog} }

// Plan says where output goes: into a file, to a server, or both.
type Plan struct {
	File   *File   `json:"file,omitempty"`
	Remote *Remote `json:"remote,omitempty"`
	// Buffer in bytes stands between the container and slow logging (mode=non-blocking): what does not fit is dropped.
	// 0: the container waits (mode=blocking).
	Buffer int64 `json:"buffer,omitempty"`
}

// File is a log file as lib/jsonlog writes it.
type File struct {
	Path     string `json:"path"`
	MaxSize  int64  `json:"max_size,omitempty"`  // bytes; 0: without limit
	MaxFiles int    `json:"max_files,omitempty"` // the current one included
	Compress bool   `json:"compress,omitempty"`
	// Attrs are written with each record.
	Attrs map[string]string `json:"attrs,omitempty"`
}

// Remote is a server that output is sent to. One of the pointers is set.
type Remote struct {
	Syslog   *SyslogServer   `json:"syslog,omitempty"`
	GELF     *GELFServer     `json:"gelf,omitempty"`
	Fluentd  *FluentdServer  `json:"fluentd,omitempty"`
	Journald *JournaldServer `json:"journald,omitempty"`
	// Tunnel is the program that speaks TLS for the shim.
	Tunnel string `json:"tunnel,omitempty"`
}

// Defaults of rotation: without options a log keeps five files of this size.
const (
	defaultSize  = 20 << 20
	defaultFiles = 5
	// defaultBuffer is Docker's buffer of mode=non-blocking.
	defaultBuffer = 1 << 20
)

// about says which options a driver has; cache: it may keep a copy in a file for `logs`.
var about = map[string]struct {
	options []string
	unknown string // the sentence for any other
}{
	JSONFile: {[]string{"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"}, "unknown log opt '%s' for json-file log driver"},
	Local:    {[]string{"max-size", "max-file", "compress"}, "unknown log opt '%s' for log driver local"},
	Journald: {[]string{"labels", "labels-regex", "env", "env-regex", "tag"}, "unknown log opt '%s' for journald log driver"},
	Syslog: {[]string{"labels", "labels-regex", "env", "env-regex", "tag", "syslog-address", "syslog-facility", "syslog-format",
		"syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"}, "unknown log opt '%s' for syslog log driver"},
	GELF: {[]string{"labels", "labels-regex", "env", "env-regex", "tag", "gelf-address", "gelf-compression-type", "gelf-compression-level",
		"gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"}, "unknown log opt %q for gelf log driver"},
	Fluentd: {[]string{"labels", "labels-regex", "env", "env-regex", "tag", "fluentd-address", "fluentd-async", "fluentd-async-reconnect-interval",
		"fluentd-buffer-limit", "fluentd-max-retries", "fluentd-request-ack", "fluentd-retry-wait", "fluentd-sub-second-precision",
		"fluentd-write-timeout"}, "unknown log opt '%s' for fluentd log driver"},
}

// shared are the options that every driver but none takes.
var shared = []string{"mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"}

// Merge completes what a container says by what the daemon says of all: its driver, and its options where the driver is
// the same. Options of the copy for `logs` count for every driver.
func Merge(driver string, options map[string]string, defaultDriver string, defaults map[string]string) (string, map[string]string) {
	if driver == "" {
		driver = defaultDriver
	}
	merged := maps.Clone(options)
	if merged == nil {
		merged = map[string]string{}
	}
	for key, value := range defaults {
		if _, said := merged[key]; !said && (driver == defaultDriver || strings.HasPrefix(key, "cache-")) {
			merged[key] = value
		}
	}
	return driver, merged
}

// Check refuses a driver that does not exist, and options that it does not know or can't follow.
func Check(driver string, options map[string]string) error {
	_, err := parse(driver, options)
	if err == nil && options["tag"] != "" && driver != None {
		// A template that can't be carried out is known before anything starts.
		_, err = example.tag(options["tag"])
	}
	return err
}

// parse reads the options. The plan's file has no path yet, its server nothing of the container.
func parse(driver string, options map[string]string) (p Plan, err error) {
	if driver == None {
		return p, nil
	}
	known, ok := about[driver]
	if !ok {
		return p, fmt.Errorf("logger: no log driver named '%s' is registered", driver)
	}
	if p.Buffer, err = buffer(options); err != nil {
		return p, err
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(known.options, key) && !slices.Contains(shared, key) {
			return p, fmt.Errorf(known.unknown, key)
		}
	}
	for _, key := range []string{"labels-regex", "env-regex"} {
		if _, err := pattern(options[key]); err != nil {
			return p, err
		}
	}
	switch driver {
	case JSONFile:
		p.File, err = jsonFile(options)
		return p, err
	case Local:
		p.File, err = localFile(options, "")
		return p, err
	case Journald:
		p.Remote = &Remote{Journald: &JournaldServer{}}
	case Syslog:
		p.Remote, err = syslog(options)
	case GELF:
		p.Remote, err = gelf(options)
	case Fluentd:
		p.Remote, err = fluentd(options)
	}
	if err != nil {
		return p, err
	}
	off, err := truth(options, "cache-disabled", false)
	if err != nil {
		return p, fmt.Errorf("invalid value for option cache-disabled: %s", options["cache-disabled"])
	}
	if !off {
		p.File, err = localFile(options, "cache-")
	}
	return p, err
}

// buffer reads the mode.
func buffer(options map[string]string) (int64, error) {
	mode := options["mode"]
	switch mode {
	case "", "blocking", "non-blocking":
	default:
		return 0, fmt.Errorf("logger: logging mode not supported: %s", mode)
	}
	text, sized := options["max-buffer-size"]
	switch {
	case sized && mode != "non-blocking":
		return 0, errors.New("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
	case sized:
		size, err := units.RAMInBytes(text)
		if err != nil {
			return 0, fmt.Errorf("error parsing option max-buffer-size: %w", err)
		}
		return max(size, 1), nil
	case mode == "non-blocking":
		return defaultBuffer, nil
	}
	return 0, nil
}

// jsonFile reads the options of json-file. Without max-size it rotates as if the defaults had been said.
func jsonFile(options map[string]string) (*File, error) {
	f := &File{MaxSize: defaultSize, MaxFiles: defaultFiles}
	var err error
	switch text := options["max-size"]; text {
	case "":
	case "-1":
		f.MaxSize, f.MaxFiles = 0, 1
	default:
		if f.MaxSize, err = units.FromHumanSize(text); err != nil {
			return nil, err
		}
		if f.MaxSize <= 0 {
			return nil, errors.New("max-size must be a positive number")
		}
		f.MaxFiles = 1
	}
	if text := options["max-file"]; text != "" {
		if f.MaxFiles, err = strconv.Atoi(text); err != nil {
			return nil, err
		}
		if f.MaxFiles < 1 {
			return nil, errors.New("max-file cannot be less than 1")
		}
	}
	if f.Compress, err = truth(options, "compress", false); err != nil {
		return nil, err
	}
	if f.Compress && (f.MaxFiles == 1 || f.MaxSize == 0) {
		return nil, errors.New("compress cannot be true when max-file is less than 2 or max-size is not set")
	}
	return f, nil
}

// localFile reads the options of local, or with a prefix those of the copy for `logs` of a driver that has a server.
func localFile(options map[string]string, prefix string) (*File, error) {
	f := &File{MaxSize: defaultSize, MaxFiles: defaultFiles, Compress: true}
	var err error
	if text := options[prefix+"max-size"]; text != "" {
		if f.MaxSize, err = units.FromHumanSize(text); err != nil {
			return nil, fmt.Errorf("invalid value for max-size: %s: %w", text, err)
		}
		if f.MaxSize < 0 {
			return nil, errors.New("max size should be a positive number")
		}
	}
	if text := options[prefix+"max-file"]; text != "" {
		if f.MaxFiles, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("invalid value for max-file: %s: %w", text, err)
		}
		if f.MaxFiles < 0 {
			return nil, errors.New("max file count cannot be less than 0")
		}
	}
	if f.Compress, err = truth(options, prefix+"compress", f.MaxFiles > 1); err != nil {
		return nil, fmt.Errorf("error reading compress log option: %w", err)
	}
	if f.Compress && f.MaxFiles <= 1 {
		return nil, errors.New("compression cannot be enabled when max file count is 1")
	}
	return f, nil
}

// truth reads an option that is true or false.
func truth(options map[string]string, key string, otherwise bool) (bool, error) {
	if options[key] == "" {
		return otherwise, nil
	}
	return strconv.ParseBool(options[key])
}

// duration reads an option in Go's notation of durations.
func duration(options map[string]string, key string, otherwise time.Duration) (time.Duration, error) {
	if options[key] == "" {
		return otherwise, nil
	}
	return time.ParseDuration(options[key])
}
