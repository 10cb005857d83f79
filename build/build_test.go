package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

const twoStages = `FROM busybox AS work
ENV GREETING=hello
WORKDIR /work
COPY name.txt .
RUN echo "$GREETING $(cat name.txt)" > out.txt && cat out.txt
FROM busybox
COPY --from=work /work/out.txt /out.txt
LABEL made=here
CMD ["cat", "/out.txt"]
`

func TestBuildRunsStepsAndKeepsTheirCache(t *testing.T) {
	o := newOrgan(t)
	files := map[string]string{"Dockerfile": twoStages, "name.txt": "world"}
	options := core.BuildOptions{Tags: []string{"app", "app:v1"}, Labels: map[string]string{"by": "test"}}
	first := o.build(t, files, options)
	must(t, first.err)
	for _, want := range []string{
		"Step 1/9 : FROM busybox AS work\n", "Step 5/9 : RUN echo", "hello world\n", "Step 9/9 : CMD",
		"Successfully built " + first.id.Short() + "\n", "Successfully tagged app:latest\nSuccessfully tagged app:v1\n",
	} {
		if !strings.Contains(first.out, want) {
			t.Errorf("the output lacks %q:\n%s", want, first.out)
		}
	}
	if strings.Contains(first.out, "Using cache") {
		t.Errorf("the first build used a cache:\n%s", first.out)
	}
	config := o.config(t, first.id)
	if config.Config.Labels["made"] != "here" || config.Config.Labels["by"] != "test" || config.Config.Cmd[0] != "cat" {
		t.Errorf("the image's configuration is %+v", config.Config)
	}
	if len(first.aux) != 1 || first.aux[0] != (imageIDAux{first.id}) {
		t.Errorf("aux is %v, the ID %s", first.aux, first.id)
	}
	for _, name := range []string{"docker.io/library/app:latest", "docker.io/library/app:v1"} {
		image, err := o.images.Get(o.ctx, name)
		if err != nil || core.ImageID(image.Target.Digest) != first.id {
			t.Errorf("%s is %v, %v", name, image.Target.Digest, err)
		}
	}

	second := o.build(t, files, options)
	must(t, second.err)
	if first.id != second.id {
		t.Errorf("the cached build gave %s, the first %s", second.id, first.id)
	}
	if strings.Count(second.out, " ---> Using cache\n") != 4 {
		t.Errorf("not every step came from the cache:\n%s", second.out)
	}

	files["name.txt"] = "earth" // as long, and as old
	third := o.build(t, files, options)
	must(t, third.err)
	if !strings.Contains(third.out, "hello earth\n") {
		t.Errorf("a changed file was not noticed:\n%s", third.out)
	}
}

func TestBuildArguments(t *testing.T) {
	o := newOrgan(t)
	value := "from outside"
	b := o.build(t, map[string]string{
		"docker/Dockerfile.dev": "ARG BASE=nowhere\nFROM $BASE AS one\nARG WHAT\nRUN echo \"what: $WHAT\" && id -u && pwd && test ! -e /ignored\nUSER app\nWORKDIR /home/app\nRUN id -u && touch mine\nFROM one AS two\nRUN echo never\n",
	}, core.BuildOptions{
		Dockerfile: "docker/Dockerfile.dev", Target: "one", NetworkMode: "none",
		BuildArgs: map[string]*string{"WHAT": &value, "BASE": ptr("busybox")},
	})
	must(t, b.err)
	for _, want := range []string{"what: from outside\n0\n/\n", "\n1000\n", "Step 1/7 : ARG BASE=nowhere\n"} {
		if !strings.Contains(b.out, want) {
			t.Errorf("the output lacks %q:\n%s", want, b.out)
		}
	}
	if strings.Contains(b.out, "never") {
		t.Errorf("a stage that was not asked for was built:\n%s", b.out)
	}
	image, err := o.images.Get(o.ctx, "moby-dangling@"+string(b.id))
	if err != nil || core.ImageID(image.Target.Digest) != b.id {
		t.Errorf("the image without a tag is not kept: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestStepsAreIsolated(t *testing.T) {
	o := newOrgan(t)
	b := o.build(t, map[string]string{"Dockerfile": `FROM busybox
RUN echo "pid $$" && grep CapEff /proc/self/status && grep Seccomp: /proc/self/status && ls /sys/class/net && cat /proc/self/cgroup
RUN mkdir /kept && rm -rf /etc/nothing
RUN --mount=type=tmpfs,target=/scratch touch /scratch/gone
RUN --mount=type=cache,target=/cache touch /cache/stays
RUN test -d /kept && test ! -e /scratch/gone && test ! -e /cache/stays && echo "all well"
`}, core.BuildOptions{NetworkMode: "none"})
	must(t, b.err)
	for _, want := range []string{"pid 1\n", "CapEff:\t00000000a80425fb\n", "Seccomp:\t2\n", "/berth-build-test/buildkit/", "all well\n"} {
		if !strings.Contains(b.out, want) {
			t.Errorf("the output lacks %q:\n%s", want, b.out)
		}
	}
	if strings.Contains(b.out, "eth0") {
		t.Errorf("a step without network sees the host's:\n%s", b.out)
	}
}

func TestBuildErrors(t *testing.T) {
	o := newOrgan(t)
	for _, test := range []struct {
		name       string
		dockerfile string
		options    core.BuildOptions
		err        string
		class      error
		output     string
	}{
		{name: "an unknown instruction names the line", dockerfile: "FROM busybox\nRUN true\nFOO bar\n",
			err: "dockerfile parse error on line 3: unknown instruction: FOO", class: errdefs.ErrInvalidArgument},
		{name: "an empty Dockerfile", dockerfile: "\n", err: "the Dockerfile (Dockerfile) cannot be empty", class: errdefs.ErrInvalidArgument},
		{name: "a Dockerfile of comments", dockerfile: "# nothing\n", err: "file with no instructions", class: errdefs.ErrInvalidArgument},
		{name: "a Dockerfile that is not there", dockerfile: "FROM busybox\n", options: core.BuildOptions{Dockerfile: "other"},
			err: "Cannot locate specified Dockerfile: other", class: errdefs.ErrInvalidArgument},
		{name: "no FROM", dockerfile: "RUN true\n", err: "no build stage in current context", class: errdefs.ErrInvalidArgument},
		{name: "an unknown target", dockerfile: "FROM busybox\n", options: core.BuildOptions{Target: "x"},
			err: `target stage "x" could not be found`, class: errdefs.ErrInvalidArgument},
		{name: "a wrong tag", dockerfile: "FROM busybox\n", options: core.BuildOptions{Tags: []string{"UPPER"}},
			err: "must be lowercase", class: errdefs.ErrInvalidArgument},
		{name: "a wrong platform", dockerfile: "FROM busybox\n", options: core.BuildOptions{Platform: "a/b/c/d"},
			err: "a/b/c/d", class: errdefs.ErrInvalidArgument},
		{name: "a network that is not there", dockerfile: "FROM busybox\n", options: core.BuildOptions{NetworkMode: "blue"},
			err: `network mode "blue" not supported`, class: errdefs.ErrNotImplemented},
		{name: "a command that fails", dockerfile: "FROM busybox\nRUN echo one\nRUN echo two && exit 3\n",
			err: "The command '/bin/sh -c echo two && exit 3' returned a non-zero code: 3", output: "Step 2/3 : RUN echo one\none\n"},
		{name: "a command that is not there", dockerfile: "FROM busybox\nRUN [\"/no/such\"]\n",
			err: "/no/such", output: "Step 2/2 : RUN [\"/no/such\"]\n"},
		{name: "a file that is not there", dockerfile: "FROM busybox\nCOPY nope /\n",
			err: "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist (Dockerfile, line 2)"},
		{name: "a base image that is not there", dockerfile: "FROM localhost:1/none\n", err: "(Dockerfile, line 1)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := o.build(t, map[string]string{"Dockerfile": test.dockerfile}, test.options)
			if b.err == nil || !strings.Contains(b.err.Error(), test.err) {
				t.Fatalf("the error is %v, wanted %q", b.err, test.err)
			}
			if test.class != nil && !errors.Is(b.err, test.class) {
				t.Errorf("%v is not %v", b.err, test.class)
			}
			if test.class != nil && b.out != "" {
				t.Errorf("a wrong request had output: %q", b.out)
			}
			if flat := dropArrows(b.out); !strings.Contains(flat, test.output) {
				t.Errorf("the output lacks %q:\n%s", test.output, b.out)
			}
		})
	}
	var failed *StepError
	b := o.build(t, map[string]string{"Dockerfile": "FROM busybox\nRUN exit 42\n"}, core.BuildOptions{Quiet: true})
	if !errors.As(b.err, &failed) || failed.ExitCode() != 42 {
		t.Errorf("the exit code is lost in %v", b.err)
	}
}

// dropArrows leaves out the lines with digests.
func dropArrows(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ---> ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestDockerignoreLeavesFilesOut(t *testing.T) {
	o := newOrgan(t)
	b := o.build(t, map[string]string{
		"Dockerfile":     "FROM busybox\nCOPY . /all/\nRUN ls /all /all/sub\n",
		".dockerignore":  "secret*\nsub/*\n!sub/kept\nDockerfile\n",
		"secret.txt":     "s",
		"public.txt":     "p",
		"sub/kept":       "k",
		"sub/left-alone": "l",
	}, core.BuildOptions{})
	must(t, b.err)
	if !strings.Contains(b.out, "/all:\npublic.txt\nsub\n") && !strings.Contains(b.out, "/all:\n.dockerignore\npublic.txt\nsub\n") {
		t.Errorf("the wrong files were copied:\n%s", b.out)
	}
	if !strings.Contains(b.out, "/all/sub:\nkept\n") || strings.Contains(b.out, "left-alone") {
		t.Errorf("the wrong files were copied:\n%s", b.out)
	}
}

func TestContextsThatAreNoGood(t *testing.T) {
	o := newOrgan(t)
	entries := func(headers ...tar.Header) io.Reader {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for i := range headers {
			must(t, w.WriteHeader(&headers[i]))
		}
		must(t, w.Close())
		return &buf
	}
	for _, test := range []struct {
		name    string
		context io.Reader
		err     string
	}{
		{"garbage", strings.NewReader(strings.Repeat("garbage", 1000)), "Error processing tar file: archive/tar: invalid tar header"},
		{"garbage after the mark of gzip", strings.NewReader("\x1f\x8b\x08garbage"), "Error processing tar file: "},
		{"nothing at all", strings.NewReader(""), "Cannot locate specified Dockerfile: Dockerfile"},
		{"a tar that was cut off", io.LimitReader(makeTar(t, map[string]string{"Dockerfile": strings.Repeat("#", 4000)}), 2000), "Error processing tar file: unexpected EOF"},
		{"a name above the root", entries(tar.Header{Name: "../../etc/passwd", Mode: 0o644}), "is outside of the build context"},
		{"a hardlink above the root", entries(tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}), "invalid hardlink"},
		{"a file below a link out of the root", entries(
			tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/"},
			tar.Header{Name: "out/etc/evil", Mode: 0o644}), `"out/etc/evil" lies below "out", which is not a folder`},
		{"a Dockerfile that is a link to the host's files", entries(
			tar.Header{Name: "Dockerfile", Typeflag: tar.TypeSymlink, Linkname: "../../../etc/passwd"}), "Cannot locate specified Dockerfile"},
		{"a Dockerfile that links to itself", entries(
			tar.Header{Name: "Dockerfile", Typeflag: tar.TypeSymlink, Linkname: "Dockerfile"}), "Cannot locate specified Dockerfile"},
		{"a Dockerfile that is a device", entries(
			tar.Header{Name: "Dockerfile", Typeflag: tar.TypeBlock, Devmajor: 8}), "Cannot locate specified Dockerfile"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := o.buildTar(t, test.context, core.BuildOptions{})
			if b.err == nil || !strings.Contains(b.err.Error(), test.err) || !errors.Is(b.err, errdefs.ErrInvalidArgument) {
				t.Fatalf("the error is %v, wanted %q", b.err, test.err)
			}
		})
	}
}

func TestLargeAndLinkedContexts(t *testing.T) {
	o := newOrgan(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	put := func(h tar.Header, text string) {
		h.Size = int64(len(text))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, text)
		must(t, err)
	}
	put(tar.Header{Name: "./Dockerfile"}, "FROM busybox\nCOPY . /c/\nRUN ls -l /c && cat /c/sym /c/hard && stat -c '%s' /c/deep/big && sh /c/run.sh\n")
	put(tar.Header{Name: "deep/big"}, strings.Repeat("0123456789abcdef", spoolLimit/16+1))
	put(tar.Header{Name: "real"}, "real\n")
	put(tar.Header{Name: "run.sh", Mode: 0o755}, "echo ran\n")
	put(tar.Header{Name: "sym", Typeflag: tar.TypeSymlink, Linkname: "real"}, "")
	put(tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "real"}, "")
	put(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, "")
	must(t, w.Close())
	must(t, z.Close())
	b := o.buildTar(t, &packed, core.BuildOptions{})
	must(t, b.err)
	if !strings.Contains(b.out, "real\nreal\n4194320\nran\n") {
		t.Errorf("the context arrived as\n%s", b.out)
	}
	if left, err := os.ReadDir(o.options.Root + "/contexts"); err == nil && len(left) > 0 {
		t.Errorf("the spool left %v", left)
	}
}

func TestCancelEndsTheStepAndLeavesNothing(t *testing.T) {
	o := newOrgan(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := o.Build(ctx, makeTar(t, map[string]string{"Dockerfile": "FROM busybox\nRUN echo started && sleep 1000\n"}),
		core.BuildOptions{BuildID: "mine"}, func(p core.Progress) {
			if strings.Contains(p.Stream, "started\n") {
				must(t, o.Cancel(ctx, "mine"))
			}
		})
	if err == nil || !strings.Contains(err.Error(), "Build cancelled") {
		t.Fatalf("the error is %v", err)
	}
	left, err := os.ReadDir(stepsRoot(o.options))
	must(t, err)
	for _, entry := range left {
		if entry.IsDir() {
			t.Errorf("the step left %s", entry.Name())
		}
	}
}

func TestUsageAndPrune(t *testing.T) {
	o := newOrgan(t)
	if usage, err := o.Usage(t.Context()); err != nil || usage != nil {
		t.Fatalf("before the first build the usage is %v, %v", usage, err)
	}
	must(t, o.build(t, map[string]string{"Dockerfile": "FROM busybox\nRUN echo x > /x\n"}, core.BuildOptions{}).err)
	usage, err := o.Usage(t.Context())
	must(t, err)
	if len(usage) == 0 {
		t.Fatal("a build left no cache")
	}
	if _, err := o.Prune(t.Context(), false, 0, core.Filters{"color": {"red"}}); !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("an unknown filter gave %v", err)
	}
	kept, err := o.Prune(t.Context(), true, 0, core.Filters{"until": {"24h"}})
	must(t, err)
	if len(kept.Deleted) != 0 {
		t.Errorf("a prune of what is older than a day removed %v", kept.Deleted)
	}
	pruned, err := o.Prune(t.Context(), true, 0, nil)
	must(t, err)
	if len(pruned.Deleted) == 0 {
		t.Error("the prune removed nothing")
	}
}

func TestACrashOfTheMachineCostsTheCacheOnly(t *testing.T) {
	o := newOrgan(t)
	files := map[string]string{"Dockerfile": "FROM busybox\nRUN echo ran\n"}
	restart := func() {
		t.Helper()
		b, err := New(o.options)
		must(t, err)
		o.Builder = b
	}
	marker := markerPath(o.options.Root)

	must(t, o.build(t, files, core.BuildOptions{}).err)
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("nothing says that the records are not durable yet: %v", err)
	}
	must(t, o.engine.relaxed.settle(false))
	if _, err := os.Stat(marker); !os.IsNotExist(err) {
		t.Errorf("durable records are said not to be: %v", err)
	}
	must(t, o.build(t, files, core.BuildOptions{}).err)
	must(t, o.Close())
	if _, err := os.Stat(marker); !os.IsNotExist(err) {
		t.Errorf("the records were closed before they were durable: %v", err)
	}

	records := o.options.Root + "/" + recordsFile
	must(t, writeMarker(marker))
	must(t, discard(t.Context(), o.options))
	if _, err := os.Stat(records); err != nil {
		t.Errorf("a killed daemon lost its cache: %v", err)
	}
	must(t, os.WriteFile(marker, []byte("another boot"), 0o600))
	restart()
	b := o.build(t, files, core.BuildOptions{})
	if b.err != nil || strings.Contains(b.out, "Using cache") || !strings.Contains(b.out, "ran\n") {
		t.Errorf("doubtful records were used: %v\n%s", b.err, b.out)
	}
}

func TestCloseEndsARunningStep(t *testing.T) {
	o := newOrgan(t)
	running := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		_, err := o.Build(context.WithoutCancel(t.Context()), makeTar(t, map[string]string{"Dockerfile": "FROM busybox\nRUN echo started && sleep 1000\n"}),
			core.BuildOptions{}, func(p core.Progress) {
				if strings.Contains(p.Stream, "started\n") {
					close(running)
				}
			})
		ended <- err
	}()
	<-running
	root := stepsRoot(o.options)
	must(t, o.Close())
	left, err := os.ReadDir(root)
	must(t, err)
	for _, entry := range left {
		if entry.IsDir() {
			t.Errorf("the step left %s", entry.Name())
		}
	}
	if err := <-ended; err == nil {
		t.Error("a build that was cut off succeeded")
	}
}
