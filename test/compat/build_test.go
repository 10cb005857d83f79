package compat

import (
	"strings"
)

// web is a Dockerfile with a bit of everything.
const web = `ARG BASE=busybox
FROM $BASE AS first
ARG GREETING=hello
RUN echo $GREETING >/greeting

FROM busybox
LABEL port=home
ENV WHO=sailor
COPY --from=first /greeting /greeting
COPY --chown=sailor letter /home/
ADD letter /added
WORKDIR /home
USER sailor
EXPOSE 80
VOLUME /cargo
HEALTHCHECK --interval=5s CMD true
CMD ["sh", "-c", "echo $(cat /greeting) from $WHO; stat -c %U letter; cat /added"]
`

func buildClassic(c *cli) {
	b := c.with("DOCKER_BUILDKIT=0")
	folder := write(c.t, map[string]string{
		"Dockerfile": web, "letter": "dear\n", "ignored": "x", ".dockerignore": "ignored\n",
		"Broken": "FROM busybox\nRUNN echo\n", "Failing": "FROM busybox\nRUN exit 3\n", "Missing": "FROM busybox\nCOPY nowhere /\n",
		"Ignoring": "FROM busybox\nCOPY . /all\nRUN ls /all\n", "Empty": "",
	})
	b.has([]string{"Step 1/", "Successfully built ", "Successfully tagged bc-web:latest"}, "build", "-t", "bc-web", folder)
	b.want("hello from sailor\nsailor\ndear", "run", "--rm", "bc-web")
	b.want("sailor home map[80/tcp:{}] /home [CMD-SHELL true]", "inspect", "-f", `{{.Config.User}} {{index .Config.Labels "port"}} {{.Config.ExposedPorts}} {{.Config.WorkingDir}} {{.Config.Healthcheck.Test}}`, "bc-web")
	b.has([]string{"Using cache"}, "build", "-t", "bc-web", folder)
	if got := b.run("build", "--no-cache", "-t", "bc-web", folder); strings.Contains(got, "Using cache") {
		c.t.Errorf("--no-cache uses the cache: %s", got)
	}
	b.run("build", "-q", "--build-arg", "GREETING=ahoy", "--label", "more=yes", "-t", "bc-ahoy", folder)
	b.want("ahoy from sailor\nsailor\ndear", "run", "--rm", "bc-ahoy")
	b.want("yes", "inspect", "-f", `{{index .Config.Labels "more"}}`, "bc-ahoy")
	b.run("build", "-q", "--target", "first", "-t", "bc-first", folder)
	b.want("hello", "run", "--rm", "bc-first", "cat", "/greeting")
	if got := b.run("build", "-f", folder+"/Ignoring", "-t", "bc-ignoring", folder); strings.Contains(got, "ignored\n") || !strings.Contains(got, "letter\n") {
		c.t.Errorf("the context is %s", got)
	}
	b.fails(1, "unknown instruction: RUNN", "build", "-f", folder+"/Broken", folder)
	b.fails(3, "The command '/bin/sh -c exit 3' returned a non-zero code: 3", "build", "-f", folder+"/Failing", folder)
	b.fails(1, "nowhere", "build", "-f", folder+"/Missing", folder)
	b.fails(1, "cannot be empty", "build", "-f", folder+"/Empty", folder)
	if got := b.feed("FROM busybox\nRUN echo from a pipe\n", "build", "-t", "bc-pipe", "-"); got.code != 0 || !strings.Contains(got.stdout, "from a pipe\n") {
		c.t.Errorf("build -: %+v", got)
	}
	b.run("rmi", "bc-web", "bc-ahoy", "bc-first", "bc-ignoring", "bc-pipe")
}

func buildBuildx(c *cli) {
	folder := write(c.t, map[string]string{
		"Dockerfile": web, "letter": "dear\n",
		"Broken": "FROM busybox\nRUNN echo\n", "Failing": "FROM busybox\nRUN exit 3\n", "Missing": "FROM busybox\nCOPY nowhere /\n",
		"Secret": "FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key\nRUN --mount=type=cache,target=/c touch /c/x\n",
		"key":    "hush\n", "Out": "FROM scratch\nCOPY letter /\n",
	})
	has := func(sentence string, args ...string) {
		c.t.Helper()
		got := c.feed("", append([]string{"build", "--progress", "plain"}, args...)...)
		if got.code != 0 || !strings.Contains(got.stderr, sentence) {
			c.t.Errorf("docker build %s: %d %s, want %q", strings.Join(args, " "), got.code, got.stderr, sentence)
		}
	}
	has("naming to docker.io/library/bx-web", "-t", "bx-web", folder)
	c.want("hello from sailor\nsailor\ndear", "run", "--rm", "bx-web")
	has("CACHED", "-t", "bx-web", folder)
	// What has not changed stays the image that it was, unless somebody wants to know of its origin, times included.
	// The Dockerfile is nobody else's: another test's --no-cache makes new layers of the same steps.
	same := write(c.t, map[string]string{"Dockerfile": "FROM busybox\nRUN echo the same >/same\n"})
	id := c.run("build", "-q", "-t", "bx-same", same)
	c.want(id, "build", "-q", "-t", "bx-same", same)
	if got := c.run("build", "-q", "--provenance", "mode=min", "-t", "bx-said", same); got == id {
		c.t.Errorf("with a provenance that was asked for it is still %s", id)
	}
	c.want(id, "inspect", "-f", "{{.Id}}", "bx-same")
	has("hush", "--no-cache", "--secret", "id=key,src="+folder+"/key", "-f", folder+"/Secret", folder)
	c.run("build", "-q", "--build-arg", "GREETING=ahoy", "-t", "bx-ahoy", "-t", "bx-other:v1", folder)
	c.want("ahoy from sailor\nsailor\ndear", "run", "--rm", "bx-other:v1")
	c.run("build", "-q", "-f", folder+"/Out", "-o", folder+"/out", folder)
	c.fails(1, "unknown instruction: RUNN", "build", "-f", folder+"/Broken", folder)
	c.fails(1, "Broken:2", "build", "-f", folder+"/Broken", folder)
	c.fails(1, "exit code: 3", "build", "-f", folder+"/Failing", folder)
	c.fails(1, `"/nowhere": not found`, "build", "-f", folder+"/Missing", folder)
	if got := c.feed("FROM busybox\nRUN echo from a pipe\n", "build", "-q", "-t", "bx-pipe", "-"); got.code != 0 {
		c.t.Errorf("build -: %+v", got)
	}
	c.has([]string{"default"}, "buildx", "ls")
	c.has([]string{"Status:", "running"}, "buildx", "inspect")
	c.run("rmi", "bx-web", "bx-same", "bx-said", "bx-ahoy", "bx-other:v1", "bx-pipe")
}
