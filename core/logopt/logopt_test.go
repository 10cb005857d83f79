package logopt

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// options reads "key=value" words.
func options(words ...string) map[string]string {
	all := map[string]string{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		all[key] = value
	}
	return all
}

func TestOptionsAreRefusedInDockersWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		driver, options string
		want            string // "": it is taken
	}{
		{"none", "anything=1", ""},
		{"json-file", "", ""},
		{"json-file", "max-size=10m max-file=3 compress=true labels=a env=b tag={{.Name}} mode=blocking", ""},
		{"json-file", "max-size=-1", ""},
		{"json-file", "max-size=0", "max-size must be a positive number"},
		{"json-file", "max-size=much", "invalid size: 'much'"},
		{"json-file", "max-file=0", "max-file cannot be less than 1"},
		{"json-file", "max-file=x", `strconv.Atoi: parsing "x": invalid syntax`},
		{"json-file", "compress=true", ""}, // there is rotation without being asked for
		{"json-file", "max-size=1m compress=true", "compress cannot be true when max-file is less than 2 or max-size is not set"},
		{"json-file", "compress=perhaps", `strconv.ParseBool: parsing "perhaps": invalid syntax`},
		{"json-file", "max-sise=1", "unknown log opt 'max-sise' for json-file log driver"},
		{"json-file", "syslog-address=udp://x", "unknown log opt 'syslog-address' for json-file log driver"},
		{"json-file", "labels-regex=(", "error parsing regexp: missing closing ): `(`"},
		{"json-file", "tag={{.Nme}}", "template: log-tag:1:2: executing \"log-tag\" at <.Nme>: can't evaluate field Nme in type *logopt.Facts"},
		{"json-file", "tag={{range(1000000000)}}xxxx{{end}}", "the tag is too long"},
		{"json-file", "tag={{", "template: log-tag:1: unclosed action"},
		{"json-file", "mode=fast", "logger: logging mode not supported: fast"},
		{"json-file", "mode=non-blocking max-buffer-size=2m", ""},
		{"json-file", "max-buffer-size=2m", "logger: max-buffer-size option is only supported with 'mode=non-blocking'"},
		{"json-file", "mode=non-blocking max-buffer-size=2q", "error parsing option max-buffer-size: invalid suffix: 'q'"},
		{"local", "max-size=1m max-file=2 compress=false", ""},
		{"local", "tag=x", "unknown log opt 'tag' for log driver local"},
		{"local", "max-file=1", ""},
		{"local", "max-file=1 compress=true", "compression cannot be enabled when max file count is 1"},
		{"local", "max-file=-1", "max file count cannot be less than 0"},
		{"journald", "tag={{.ImageName}} env-regex=^A labels=b", ""},
		{"journald", "max-size=1m", "unknown log opt 'max-size' for journald log driver"},
		{"syslog", "", ""},
		{"syslog", "syslog-address=tcp://example:601 syslog-format=rfc5424 syslog-facility=local0", ""},
		{"syslog", "syslog-address=tcp+tls://example syslog-tls-skip-verify=true syslog-tls-ca-cert=/ca.pem", ""},
		{"syslog", "syslog-address=http://x", "unsupported scheme: 'http'"},
		{"syslog", "syslog-address=unix:///no/socket", "stat /no/socket: no such file or directory"},
		{"syslog", "syslog-facility=local8", "invalid syslog facility"},
		{"syslog", "syslog-facility=24", "invalid syslog facility"},
		{"syslog", "syslog-format=rfc1", "Invalid syslog format"},
		{"syslog", "gelf-address=x", "unknown log opt 'gelf-address' for syslog log driver"},
		{"syslog", "cache-disabled=perhaps", "invalid value for option cache-disabled: perhaps"},
		{"syslog", "cache-max-size=1m cache-max-file=2 cache-compress=false", ""},
		{"gelf", "", "gelf-address is a required parameter"},
		{"gelf", "gelf-address=udp://x:1 gelf-compression-type=zlib gelf-compression-level=9", ""},
		{"gelf", "gelf-address=http://x:1", "gelf: endpoint needs to be TCP or UDP"},
		{"gelf", "gelf-address=udp://x", "gelf: please provide gelf-address as proto://host:port"},
		{"gelf", "gelf-address=tcp://x:1 gelf-compression-type=gzip", "compression is only supported on UDP"},
		{"gelf", "gelf-address=udp://x:1 gelf-compression-type=lz", `unknown value "lz" for log opt "gelf-compression-type" for gelf log driver`},
		{"gelf", "gelf-address=udp://x:1 gelf-compression-level=10", `unknown value "10" for log opt "gelf-compression-level" for gelf log driver`},
		{"gelf", "gelf-address=udp://x:1 gelf-tcp-max-reconnect=1", `"gelf-tcp-max-reconnect" is only valid for TCP`},
		{"gelf", "gelf-address=tcp://x:1 gelf-tcp-reconnect-delay=-1", `"gelf-tcp-reconnect-delay" must be a positive integer`},
		{"gelf", "gelf-address=tcp://x:1 colour=1", `unknown log opt "colour" for gelf log driver`},
		{"fluentd", "", ""},
		{"fluentd", "fluentd-address=tls://x:1 fluentd-async=true fluentd-async-reconnect-interval=1s fluentd-buffer-limit=8mb fluentd-write-timeout=1s", ""},
		{"fluentd", "fluentd-address=unix://", "invalid fluentd-address (unix://): path is empty"},
		{"fluentd", "fluentd-address=udp://x", "invalid fluentd-address (udp://x): unsupported scheme: 'udp'"},
		{"fluentd", "fluentd-address=x:1/y", "invalid fluentd-address (x:1/y): should not contain a path element"},
		{"fluentd", "fluentd-address=x:70000", `invalid fluentd-address (x:70000): invalid port: strconv.ParseUint: parsing "70000": value out of range`},
		{"fluentd", "fluentd-async-reconnect-interval=1m", `invalid value for fluentd-async-reconnect-interval: value ("1m0s") must be between 100ms and 10s`},
		{"fluentd", "fluentd-write-timeout=-1s", "invalid value for fluentd-write-timeout: value must be a duration that is non-negative"},
		{"fluentd", "fluentd-max-retries=-1", `strconv.ParseUint: parsing "-1": invalid syntax`},
		{"fluentd", "fluentd-max-retries=4294967295", "invalid fluentd-max-retries: value out of range"},
		{"fluentd", "fluentd-retry-wait=soon", `time: invalid duration "soon"`},
		{"fluentd", "fluentd-request-ack=perhaps", `strconv.ParseBool: parsing "perhaps": invalid syntax`},
		{"fluentd", "max-size=1m", "unknown log opt 'max-size' for fluentd log driver"},
		{"splunk", "", "logger: no log driver named 'splunk' is registered"},
	} {
		err := Check(test.driver, options(strings.Fields(test.options)...))
		if err == nil && test.want != "" || err != nil && err.Error() != test.want {
			t.Errorf("%s %s: %v, want %q", test.driver, test.options, err, test.want)
		}
	}
	for _, driver := range Drivers() {
		if _, known := about[driver]; !known {
			t.Errorf("%s is offered and not known", driver)
		}
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	file := func(size int64, files int, compress bool) *File {
		return &File{Path: "/dir/log", MaxSize: size, MaxFiles: files, Compress: compress, Attrs: map[string]string{}}
	}
	for _, test := range []struct {
		name, driver, options string
		want                  *File
		buffer                int64
	}{
		{"a log rotates by itself", "json-file", "", file(20<<20, 5, false), 0},
		{"a size alone keeps one file, as in Docker", "json-file", "max-size=10m", file(10e6, 1, false), 0},
		{"-1 is no limit", "json-file", "max-size=-1", file(0, 1, false), 0},
		{"files alone have the usual size", "json-file", "max-file=2 compress=true", file(20<<20, 2, true), 0},
		{"local compresses", "local", "", file(20<<20, 5, true), 0},
		{"a buffer has a usual size", "json-file", "mode=non-blocking", file(20<<20, 5, false), 1 << 20},
		{"a server gets a copy", "syslog", "", file(20<<20, 5, true), 0},
		{"a copy has its own options", "syslog", "cache-max-size=1m cache-max-file=1 mode=non-blocking max-buffer-size=1k", file(1e6, 1, false), 1 << 10},
		{"a copy can be left out", "journald", "cache-disabled=true", nil, 0},
	} {
		p, err := New(test.driver, "/dir/log", "host", Facts{Config: options(strings.Fields(test.options)...)})
		if err != nil || !reflect.DeepEqual(p.File, test.want) || p.Buffer != test.buffer {
			t.Errorf("%s: %+v, %d, %v", test.name, p.File, p.Buffer, err)
		}
		if (p.Remote != nil) != slices.Contains([]string{"syslog", "journald"}, test.driver) {
			t.Errorf("%s: %+v", test.name, p.Remote)
		}
		path := Path(test.driver, options(strings.Fields(test.options)...), "/c", "id")
		want := map[string]string{"json-file": "/c/id-json.log", "local": "/c/container-local.log", "syslog": "/c/container-cached.log"}[test.driver]
		if path != want {
			t.Errorf("%s: the file is %q", test.name, path)
		}
	}
}

func TestTagsAndAttributes(t *testing.T) {
	t.Parallel()
	facts := Facts{
		ContainerID: strings.Repeat("ab", 32), ContainerName: "/web", ContainerEntrypoint: "sh", ContainerArgs: []string{"-c", "x"},
		ContainerImageID: "sha256:" + strings.Repeat("cd", 32), ContainerImageName: "busybox:1", ContainerCreated: time.Unix(0, 0).UTC(),
		ContainerLabels: map[string]string{"com.a": "1", "com.b": "2", "other": "3"}, ContainerEnv: []string{"A=1", "PATH=/bin", "ALONE"}, DaemonName: "docker",
	}
	with := func(words ...string) Facts {
		f := facts
		f.Config = options(words...)
		return f
	}
	for tag, want := range map[string]string{
		"{{.ID}}":         "abababababab",
		"{{.FullID}}":     facts.ContainerID,
		"{{.Name}}":       "web",
		"{{.ImageID}}":    "sha256:cdcdc",
		"{{.ImageName}}":  "busybox:1",
		"{{.Command}}":    "sh -c x",
		"{{.DaemonName}}": "docker",
		"{{.Hostname}}":   "host",
		`{{index .ContainerLabels "com.a"}}-{{upper .Name}}-{{title "two words"}}`:                         "1-WEB-Two Words",
		`{{json .Name}}{{truncate .FullID 3}}{{pad .Name 1 1}}{{join (split "a,b" ",") "+"}}{{lower "X"}}`: `"web"aba web a+bx`,
		"{{.ImageFullID}}": facts.ContainerImageID,
	} {
		p, err := New("syslog", "", "host", with("tag="+tag))
		if err != nil || p.Remote.Syslog.Tag != want {
			t.Errorf("%s gives %+v, %v", tag, p.Remote, err)
		}
	}
	p, err := New("json-file", "/log", "host", with("labels=com.a,nothing", "env-regex=^A$", "labels-regex=^oth", "tag={{.Name}}"))
	if want := options("com.a=1", "other=3", "A=1", "tag=web"); err != nil || !reflect.DeepEqual(p.File.Attrs, want) {
		t.Errorf("attributes %v, want %v, %v", p.File.Attrs, want, err)
	}
	p, err = New("gelf", "", "host", with("gelf-address=udp://x:1", "env=A"))
	var fields map[string]string
	if err == nil {
		err = json.Unmarshal(p.Remote.GELF.Fields, &fields)
	}
	if err != nil || fields["_A"] != "1" || fields["_tag"] != "abababababab" || fields["_created"] != "1970-01-01T00:00:00Z" {
		t.Errorf("fields %v, %v", fields, err)
	}
	p, err = New("journald", "", "host", with("labels-regex=^com"))
	if err != nil || p.Remote.Journald.Fields["COM_A"] != "1" || p.Remote.Journald.Fields["CONTAINER_NAME"] != "web" {
		t.Errorf("fields %v, %v", p.Remote, err)
	}
}

func TestDefaultsOfTheDaemon(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, driver, options string
		wantDriver            string
		want                  map[string]string
	}{
		{"nothing is said", "", "", "syslog", options("tag=d", "cache-max-size=1m")},
		{"the same driver", "syslog", "syslog-facility=user", "syslog", options("tag=d", "cache-max-size=1m", "syslog-facility=user")},
		{"the container's word counts", "syslog", "tag=c", "syslog", options("tag=c", "cache-max-size=1m")},
		{"another driver has nothing of it but the copy", "gelf", "", "gelf", options("cache-max-size=1m")},
	} {
		driver, merged := Merge(test.driver, options(strings.Fields(test.options)...), "syslog", options("tag=d", "cache-max-size=1m"))
		if driver != test.wantDriver || !reflect.DeepEqual(merged, test.want) {
			t.Errorf("%s: %s %v", test.name, driver, merged)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for driver := range about {
		f.Add(driver, "tag", "{{.Name}}", "gelf-address", "udp://x:1")
	}
	f.Fuzz(func(t *testing.T, driver, key, value, key2, value2 string) {
		config := map[string]string{key: value, key2: value2}
		if Check(driver, config) == nil {
			if _, err := New(driver, "/x", "host", Facts{Config: config}); err != nil && config["tag"] == "" {
				t.Errorf("%s %v was taken, and then: %v", driver, config, err)
			}
		}
	})
}
