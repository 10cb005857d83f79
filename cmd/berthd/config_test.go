package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file string
		args       []string
		err        string
		check      func(*config) bool
	}{
		{name: "nothing said", check: func(c *config) bool {
			return c.Hosts[0] == defaultHost && c.LogDriver == "json-file" && c.Group == "berth"
		}},
		{name: "flags", args: []string{"-H", "unix:///a", "-H", "tcp://b:1", "-D", "--data-root", "/d"}, check: func(c *config) bool {
			return len(c.Hosts) == 2 && c.LogLevel == "debug" && c.DataRoot == "/d" && c.instance() != ""
		}},
		{name: "a file", file: `{"debug": true, "hosts": ["unix:///f"], "log-opts": {"max-size": "1m"}, "mirrors": {"r.example": ["https://m"]}}`, check: func(c *config) bool {
			return c.Hosts[0] == "unix:///f" && c.LogOpts["max-size"] == "1m" && c.Mirrors["r.example"][0] == "https://m"
		}},
		{name: "an empty file", file: " \n", check: func(c *config) bool { return len(c.Hosts) == 1 }},
		{name: "an unknown key", file: `{"colour": "red"}`, err: "the following directives don't match any configuration option: colour"},
		{name: "said twice", file: `{"hosts": ["unix:///f"]}`, args: []string{"-H", "unix:///a"}, err: "the following directives are specified both as a flag and in the configuration file: hosts"},
		{name: "a wrong type", file: `{"debug": "yes"}`, err: "cannot unmarshal string"},
		{name: "garbage", file: `{`, err: "unexpected end of JSON input"},
		{name: "a storage driver of another age", args: []string{"-s", "aufs"}, err: `unknown storage driver "aufs"`},
		{name: "a level of no meaning", args: []string{"-l", "loud"}, err: "unable to parse logging level: loud"},
		{name: "a log driver of no meaning", args: []string{"--log-driver", "nowhere"}, err: "failed to set log opts: logger: no log driver named 'nowhere' is registered"},
		{name: "an option that the log driver lacks", file: `{"log-driver": "journald", "log-opts": {"max-size": "1m"}}`, err: "failed to set log opts: unknown log opt 'max-size' for journald log driver"},
		{name: "a pool", args: []string{"--default-address-pool", "base=10.10.0.0/16,size=24"}, check: func(c *config) bool { return c.AddressPools[0].Size == 24 }},
		{name: "a pool that is larger than its base", args: []string{"--default-address-pool", "base=10.10.0.0/16,size=8"}, err: "size 8 does not fit"},
		{name: "an argument", args: []string{"start"}, err: `unknown argument: "start"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "daemon.json")
			if test.file == "" {
				test.file = "{}"
			}
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := load(append(test.args, "--config-file", file))
			switch {
			case test.err == "" && err != nil:
				t.Error(err)
			case test.err == "" && !test.check(c):
				t.Errorf("%+v", c)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %v, want %s", err, test.err)
			}
		})
	}
}

func TestTCPWithoutTLSHasToBeSaidOutLoud(t *testing.T) {
	t.Parallel()
	c := &config{Hosts: []string{"tcp://127.0.0.1:0"}}
	if _, err := listen(t.Context(), c, logger(c)); err == nil || !strings.Contains(err.Error(), "refusing to listen on tcp://127.0.0.1:0 without TLS") {
		t.Errorf("got %v", err)
	}
	c.AllowInsecureHosts = true
	listeners, err := listen(t.Context(), c, logger(c))
	if err != nil {
		t.Fatal(err)
	}
	closeAll(listeners)
}

func TestTheSocketOfADaemonThatDiedIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	c := &config{Hosts: []string{"unix://" + path}, Group: "0"}
	first, err := listen(t.Context(), c, logger(c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), c, logger(c)); err == nil || !strings.Contains(err.Error(), "another daemon listens on") {
		t.Errorf("a second daemon: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	closeAll(first)
	if err := os.WriteFile(path, nil, 0o600); err != nil { // as a killed daemon leaves it
		t.Fatal(err)
	}
	again, err := listen(t.Context(), c, logger(c))
	if err != nil {
		t.Fatal(err)
	}
	closeAll(again)
}
