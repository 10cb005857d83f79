package compat

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packed is what an image holds of the machine's own Debian packages.
type packed struct {
	dockerfile string
	// programs are copied with the libraries that they need, modules of programs too; a plain name is
	// looked up in PATH and comes into /bin.
	programs []string
	// folders are copied whole, to where they are here.
	folders []string
	// files are added; their paths are those in the image.
	files map[string]string
}

// build makes an image of it, on busybox; the Dockerfile's "COPY files /" takes all of it.
func (p packed) build(t *testing.T, s *suite, name string) {
	t.Helper()
	made := t.TempDir()
	top := filepath.Join(made, "files")
	copied := map[string]string{} // path in the image → file here
	for _, program := range p.programs {
		path, target := program, program
		if !filepath.IsAbs(program) {
			var err error
			if path, err = exec.LookPath(program); err != nil {
				t.Fatalf("%v: scripts/deps test installs it", err)
			}
			target = "bin/" + program
		}
		copied[target] = path
		libraries, err := exec.Command("ldd", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(string(libraries)) {
			if filepath.IsAbs(word) {
				copied[word] = word
			}
		}
	}
	for target, source := range copied {
		data, err := os.ReadFile(source)
		target = filepath.Join(top, target)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, data, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range p.folders {
		target := filepath.Join(top, folder)
		if output, err := exec.Command("sh", "-c", `mkdir -p "$2" && cp -RL "$1/." "$2"`, "copy", folder, target).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v\n%s", folder, err, output)
		}
	}
	for path, content := range p.files {
		target := filepath.Join(top, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(made, "Dockerfile"), []byte(p.dockerfile), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*limit) // tens of megabytes, perhaps on a busy machine
	defer cancel()
	if output, err := s.on(t).with("DOCKER_BUILDKIT=0").command(ctx, "build", "-q", "-t", name, made).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, output)
	}
}

// buildRedis makes the image redis.
func (s *suite) buildRedis(t *testing.T) {
	t.Helper()
	packed{
		dockerfile: "FROM busybox\nCOPY files /\nEXPOSE 6379\nVOLUME /data\nWORKDIR /data\nCMD [\"redis-server\", \"--protected-mode\", \"no\"]\n",
		programs:   []string{"redis-server", "redis-cli"},
	}.build(t, s, "redis")
}

// buildPostgres makes the image postgres, which makes its cluster when the volume has none, as the well-known one does.
func (s *suite) buildPostgres(t *testing.T) {
	t.Helper()
	servers, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(servers) == 0 {
		t.Fatalf("no PostgreSQL below /usr/lib/postgresql (%v): scripts/deps test installs it", err)
	}
	bin := filepath.Dir(servers[len(servers)-1])
	version := filepath.Base(filepath.Dir(bin))
	p := packed{
		dockerfile: "FROM busybox\nCOPY files /\nENV PATH=" + bin + ":/bin PGDATA=/var/lib/data PGHOST=/tmp PGUSER=postgres\n" +
			"RUN mkdir -p $PGDATA && chown 70:70 $PGDATA && chmod 700 $PGDATA\nVOLUME /var/lib/data\nEXPOSE 5432\nUSER postgres\nSTOPSIGNAL INT\nCMD [\"/bin/serve\"]\n",
		folders: []string{"/usr/share/postgresql/" + version},
		files: map[string]string{
			"etc/passwd": "root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70:postgres:/var/lib/data:/bin/sh\n",
			"etc/group":  "root:x:0:\npostgres:x:70:\n",
			"bin/serve": `#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	initdb --auth=trust --username=postgres --locale=C --encoding=UTF8 >/dev/null
	echo 'host all all all trust' >>"$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp 2>&1
`,
		},
	}
	for _, program := range []string{"postgres", "initdb", "pg_isready", "psql"} {
		p.programs = append(p.programs, filepath.Join(bin, program))
	}
	// The modules that a new cluster loads.
	for _, module := range []string{"plpgsql.so", "dict_snowball.so"} {
		p.programs = append(p.programs, filepath.Join(filepath.Dir(bin), "lib", module))
	}
	p.build(t, s, "postgres")
}
