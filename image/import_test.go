package image

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestImportMakesAnImageOfATree(t *testing.T) {
	t.Parallel()
	root := tarOf(t, file("hello", "imported"))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(root); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, stream := range map[string][]byte{"plain": root, "gzip": packed.Bytes()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			id, err := o.Transfers().Import(t.Context(), bytes.NewReader(stream), core.ImportRequest{Ref: "tree", Message: "mine", Changes: []string{`CMD ["/hello"]`, "ENV A=b"}})
			if err != nil {
				t.Fatal(err)
			}
			image := o.lookup("tree:latest")
			if image.ID != id || image.Comment != "mine" || image.Config.Cmd[0] != "/hello" || image.DiffIDs[0] != "sha256:"+sum(root) {
				t.Errorf("the image is %+v", image)
			}
			o.create(containerID(1), "tree")
			if got := contentOf(t, mounted(t, o.mounts(containerID(1)))+"/hello"); got != "imported" {
				t.Errorf("the file says %q", got)
			}
		})
	}
}

func TestImportOfBadDataLeavesNothing(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	good := tarOf(t, file("hello", "x"))
	for name, c := range map[string]struct {
		stream  []byte
		request core.ImportRequest
	}{
		"garbage":            {[]byte(strings.Repeat("garbage ", 1000)), core.ImportRequest{Ref: "a"}},
		"broken gzip":        {append([]byte{0x1f, 0x8b, 0x08}, "broken"...), core.ImportRequest{Ref: "a"}},
		"an invalid name":    {good, core.ImportRequest{Ref: "UPPER"}},
		"a digest as a name": {good, core.ImportRequest{Ref: "a@sha256:" + sum(good)}},
		"an invalid change":  {good, core.ImportRequest{Ref: "a", Changes: []string{"RUN rm -rf /"}}},
	} {
		_, err := o.Transfers().Import(t.Context(), bytes.NewReader(c.stream), c.request)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
		t.Errorf("left %d blobs and %d snapshots", blobs, snapshots)
	}
}

func TestChangesAreDockerfileInstructions(t *testing.T) {
	t.Parallel()
	cases := []struct{ changes, want string }{ // changes are separated by newlines
		{`CMD ["a", "b c"]`, `{"Cmd":["a","b c"]}`},
		{`cmd echo  hi`, `{"Cmd":["/bin/sh","-c","echo  hi"]}`},
		{"ENTRYPOINT [not json", `{"Entrypoint":["/bin/sh","-c","[not json"]}`},
		{"CMD a\nCMD", `{}`},
		{"ENV A=1 B='x y' C=\"q\\\"r\"\nENV A=2", `{"Env":["A=2","B=x y","C=q\"r"]}`},
		{"ENV PATH /bin and more", `{"Env":["PATH=/bin and more"]}`},
		{"LABEL a=b \"c d\"=e", `{"Labels":{"a":"b","c d":"e"}}`},
		{"EXPOSE 80 53/udp 8000-8001", `{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}`},
		{"VOLUME /a /b\nVOLUME [\"/c\"]", `{"Volumes":{"/a":{},"/b":{},"/c":{}}}`},
		{"USER me:us\nWORKDIR /w\nSTOPSIGNAL SIGINT", `{"User":"me:us","WorkingDir":"/w","StopSignal":"SIGINT"}`},
		{"ONBUILD RUN x", `{"OnBuild":["RUN x"]}`},
		{"HEALTHCHECK NONE", `{"Healthcheck":{"Test":["NONE"],"Interval":0,"Timeout":0,"StartPeriod":0,"StartInterval":0,"Retries":0}}`},
		{"HEALTHCHECK --interval=5s --retries=2 CMD curl x", `{"Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Timeout":0,"StartPeriod":0,"StartInterval":0,"Retries":2}}`},
		{"# a comment\n\n", `{}`},
		{"RUN x", "run is not a valid change command"},
		{"ENV", "ENV requires at least one argument"},
		{"ENV A", "ENV must have two arguments"},
		{"ENV A=1 B", "can't find = in"},
		{"ENV =x", "names can not be blank"},
		{"LABEL a='b", "matching single-quote"},
		{"EXPOSE eighty", "invalid containerPort: eighty"},
		{"EXPOSE 90-80", "invalid containerPort: 90-80"},
		{"EXPOSE 80/icmp", "invalid containerPort: 80/icmp"},
		{`VOLUME [""]`, "can not be an empty string"},
		{"ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"},
		{"HEALTHCHECK --retries=0 CMD x", "--retries must be at least 1"},
		{"HEALTHCHECK --interval=soon CMD x", "invalid interval"},
		{"HEALTHCHECK --color=red CMD x", "unknown flag: color"},
		{"HEALTHCHECK CMD", "Missing command"},
		{"HEALTHCHECK MAYBE x", "Unknown type"},
	}
	for _, c := range cases {
		var config configFileConfig
		err := applyChanges(&config, strings.Split(c.changes, "\n"))
		got := toJSON(t, config)
		if err != nil {
			got = fmt.Sprint(err)
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%q gives %s, want %s", c.changes, got, c.want)
		}
	}
}
