package build

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
)

func TestBuildRunsStepsAndKeepsTheirCache(t *testing.T) {
	o := newOrgan(t)
	files := map[string]string{
		"Dockerfile": `FROM busybox AS work
ENV GREETING=hello
WORKDIR /work
COPY name.txt .
RUN echo "$GREETING $(cat name.txt)" > out.txt && cat out.txt
FROM busybox
COPY --from=work /work/out.txt /out.txt
LABEL made=here
CMD ["cat", "/out.txt"]
`,
		"name.txt": "world",
	}
	options := core.BuildOptions{Tags: []string{"app", "app:v1"}}
	first := o.build(t, files, options)
	must(t, first.err)
	t.Log(first.out)
	start := time.Now()
	second := o.build(t, files, options)
	t.Log("cached build took", time.Since(start))
	must(t, second.err)
	t.Log(second.out)
	if first.id != second.id {
		t.Errorf("the cached build gave %s, the first %s", second.id, first.id)
	}
	if !strings.Contains(first.out, "hello world\n") {
		t.Error("the output of RUN is missing")
	}
}
