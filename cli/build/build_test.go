package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-engine/berth/cli/config"
	"github.com/berth-engine/berth/cli/session"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestFindSource(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "plain/Dockerfile"), "FROM x")
	write(t, filepath.Join(root, "lower/dockerfile"), "FROM x")
	write(t, filepath.Join(root, "other/sub/My.dockerfile"), "FROM x")
	write(t, filepath.Join(root, "empty/file"), "x")
	var packed bytes.Buffer
	must(t, gzip.NewWriter(&packed).Close())
	for _, test := range []struct {
		name, where, file, stdin string
		attrs                    map[string]string
		mounts                   []string
		err                      string
	}{
		{name: "a folder", where: "plain", attrs: map[string]string{"filename": "Dockerfile"}, mounts: []string{"context", "dockerfile"}},
		{name: "a Dockerfile in lower case", where: "lower", attrs: map[string]string{"filename": "dockerfile"}, mounts: []string{"context", "dockerfile"}},
		{name: "a Dockerfile inside the context", where: "other", file: "sub/My.dockerfile",
			attrs: map[string]string{"filename": "My.dockerfile"}, mounts: []string{"context", "dockerfile"}},
		{name: "no Dockerfile", where: "empty", err: "failed to read dockerfile"},
		{name: "a Dockerfile from stdin", where: "empty", file: "-", stdin: "FROM x",
			attrs: map[string]string{"filename": "Dockerfile"}, mounts: []string{"context", "dockerfile"}},
		{name: "nothing on stdin", where: "empty", file: "-", err: "the Dockerfile on stdin is empty"},
		{name: "only a Dockerfile on stdin", where: "-", stdin: "FROM x", attrs: map[string]string{"filename": "Dockerfile"}, mounts: []string{"context", "dockerfile"}},
		{name: "two Dockerfiles", where: "-", file: "x", stdin: "FROM x", err: "ambiguous Dockerfile source"},
		{name: "stdin twice", where: "-", file: "-", err: "can't use stdin for both"},
		{name: "a tar on stdin", where: "-", file: "sub/D", stdin: packed.String(), attrs: map[string]string{"filename": "sub/D", "context": "http://buildkit-session/…"}},
		{name: "a URL", where: "https://example.org/x.git#main", attrs: map[string]string{"context": "https://example.org/x.git#main"}},
		{name: "a folder that is not there", where: "nowhere", err: `unable to prepare context: path "`},
		{name: "a file", where: "empty/file", err: "is not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			where := test.where
			if where != "-" && !isURL(where) {
				where = filepath.Join(root, where)
			}
			found, err := findSource(where, test.file, strings.NewReader(test.stdin))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("the error is %v, wanted %q", err, test.err)
				}
				return
			}
			must(t, err)
			defer func() { must(t, found.close()) }()
			if strings.HasPrefix(found.attrs["context"], "http://buildkit-session/") {
				found.attrs["context"] = "http://buildkit-session/…"
			}
			if !maps.Equal(found.attrs, test.attrs) {
				t.Errorf("the attributes are %v, wanted %v", found.attrs, test.attrs)
			}
			if got := slices.Sorted(maps.Keys(found.mounts)); !slices.Equal(got, test.mounts) {
				t.Errorf("the folders are %v, wanted %v", got, test.mounts)
			}
		})
	}
}

func TestExports(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options options
		want    string // type and attributes of each, as "type k=v …"
		err     string
	}{
		{name: "unasked it goes to the daemon", options: options{tags: []string{"app", "b:2"}},
			want: "moby name=docker.io/library/app:latest,docker.io/library/b:2"},
		{name: "load", options: options{load: true}, want: "moby"},
		{name: "push", options: options{push: true, tags: []string{"r.example/x"}}, want: "moby name=r.example/x:latest push=true"},
		{name: "push without a name", options: options{push: true}, err: "tag is needed when pushing to registry"},
		{name: "a folder", options: options{outputs: []string{"out"}}, want: "local"},
		{name: "a tar", options: options{outputs: []string{"-"}, tags: []string{"x"}}, want: "tar"},
		{name: "an OCI file", options: options{outputs: []string{"type=oci,dest=x.tar"}, tags: []string{"x"}}, want: "oci name=docker.io/library/x:latest"},
		{name: "nothing", options: options{outputs: []string{"type=cacheonly"}}, want: ""},
		{name: "an unknown one", options: options{outputs: []string{"type=floppy"}}, err: `exporter "floppy" could not be found`},
		{name: "no type", options: options{outputs: []string{"dest=x"}}, err: "type is required for output"},
		{name: "an annotation", options: options{annotations: []string{"a=b"}}, want: "moby annotation.a=b"},
		{name: "a wrong tag", options: options{tags: []string{"UPPER"}}, err: "invalid tag"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := session.New(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, "test")
			entries, err := test.options.exports(s)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("the error is %v, wanted %q", err, test.err)
				}
				return
			}
			must(t, err)
			var got []string
			for _, entry := range entries {
				words := []string{entry.Type}
				for _, key := range slices.Sorted(maps.Keys(entry.Attrs)) {
					words = append(words, key+"="+entry.Attrs[key])
				}
				got = append(got, strings.Join(words, " "))
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("it goes to %q, wanted %q", got, test.want)
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	t.Setenv("FROM_OUTSIDE", "yes")
	o := options{
		buildArgs: []string{"A=1", "FROM_OUTSIDE", "NOT_SET_ANYWHERE"}, labels: []string{"x=y", "bare"}, target: "t", pull: true, noCache: true,
		platforms: []string{"linux/amd64", "linux/arm64"}, network: "host", addHosts: []string{"a:1.2.3.4", "b=[::1]", "c:host-gateway"},
		shmSize: "1m", ulimits: []string{"nofile=1:2"}, memory: "64m", memorySwap: "-1", cpuQuota: 5, provenance: "mode=max", sbom: "false",
	}
	attrs, err := o.attributes(config.Proxy{HTTPProxy: "http://p"})
	must(t, err)
	want := map[string]string{
		"build-arg:A": "1", "build-arg:FROM_OUTSIDE": "yes", "build-arg:HTTP_PROXY": "http://p", "build-arg:http_proxy": "http://p",
		"label:x": "y", "label:bare": "", "target": "t", "image-resolve-mode": "pull", "no-cache": "", "platform": "linux/amd64,linux/arm64",
		"force-network-mode": "host", "add-hosts": "a=1.2.3.4,b=::1,c=host-gateway", "shm-size": "1048576", "ulimit": "nofile=1:2",
		"memory": "67108864", "memswap": "-1", "cpuquota": "5", "attest:provenance": "mode=max",
	}
	if !maps.Equal(attrs, want) {
		t.Errorf("the attributes are\n%v\nwanted\n%v", attrs, want)
	}
	for _, bad := range []options{
		{network: "blue"}, {addHosts: []string{"a"}}, {addHosts: []string{"a:b"}}, {shmSize: "x"}, {ulimits: []string{"x"}},
		{noCache: true, noCacheFilter: []string{"x"}}, {attests: []string{"mode=max"}},
	} {
		if _, err := bad.attributes(config.Proxy{}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestCommandLineErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		code int
		text string
	}{
		{"no context", []string{"build"}, 1, "requires 1 argument"},
		{"an unknown flag", []string{"build", "--nope", "."}, 125, "unknown flag: --nope"},
		{"a context that is not there", []string{"-H", "unix:///no/such", "build", "/no/such/folder"}, 1, `unable to prepare context: path "/no/such/folder" not found`},
		{"a daemon that is not there", []string{"-H", "unix:///no/such", "build", "https://example.org/x.git"}, 1, "/no/such"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			var out bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			code := Main(ctx, session.New(strings.NewReader(""), &out, &out, "test"), test.args)
			if code != test.code || !strings.Contains(out.String(), test.text) {
				t.Errorf("it ended with %d and said %q, wanted %d and %q", code, out.String(), test.code, test.text)
			}
		})
	}
}
