// Package berth_test checks that the code is built as ARCHITECTURE.md says: which folder may import which, which
// folder is the door of which library, and how large things may become. The texts below are the agreement; a change of
// them is a change of the design and needs a decision record in docs/decisions.
package berth_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/berth-engine/berth/"

// arrows says who may import whom: in `a < b`, b may import a and all that a may import. A folder stands for all
// below it that are not named themselves, and its packages may import each other.
const arrows = `
NONE < lib, core
lib, core < store, linux, shim/wire
store, linux < image, volume, network, logs, plugin
shim/wire, linux < runtime, shim
core, lib < engine, build, swarm, registry
core, lib < api/wire < api/server
core, lib < compose < cli
cli < cmd/berth, cmd/berth-build, cmd/berth-compose
shim < cmd/berth-shim
core < cmd/berth-log
store, linux, shim/wire, image, volume, network, logs, plugin, runtime, engine, build, swarm, registry, api/server, web < cmd/berthd
registry < cmd/berth-registry
swarm < cmd/berth-swarm
core, lib < bench, test, web
`

// doors names the only folders that import a library. A library stands for everything below its path.
const doors = `
github.com/containerd/containerd/v2: image, build
github.com/containerd/containerd/api: image, build
github.com/moby/buildkit: build, cli/build
github.com/tonistiigi/fsutil: build, cli/build
github.com/opencontainers/runc: shim
github.com/opencontainers/cgroups: linux, shim
github.com/opencontainers/selinux: linux
github.com/moby/swarmkit/v2: swarm
github.com/distribution/distribution/v3: registry
github.com/compose-spec/compose-go/v2: compose
github.com/vishvananda/netlink: linux, shim
github.com/vishvananda/netns: linux, shim
github.com/google/nftables: linux, shim
github.com/mdlayher/netlink: linux, shim
golang.org/x/sys/unix: linux, shim
tags.cncf.io/container-device-interface: build, runtime
github.com/spf13/cobra: cli
github.com/moby/moby/api: api/wire, cli, compose
github.com/moby/moby/client: cli, compose, test
go.etcd.io/bbolt: store, image, build
`

// Budgets of code that is not a test.
const (
	maxFileLines        = 600
	maxFunctionLines    = 80
	maxPackageLines     = 3000
	maxMethods          = 40
	maxInterfaceMethods = 9
)

// emptyNames are names of packages that say nothing of what is inside.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "shared", "base"}

// source is a file of ours.
type source struct {
	path   string // from the top of the module, with slashes
	syntax *ast.File
	files  *token.FileSet
}

func (s source) folder() string       { return path.Dir(s.path) }
func (s source) isTest() bool         { return strings.HasSuffix(s.path, "_test.go") }
func (s source) line(p token.Pos) int { return s.files.Position(p).Line }
func (s source) lines() int           { return s.files.File(s.syntax.FileStart).LineCount() }
func (s source) complain(p token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.line(p), fmt.Sprintf(format, args...))
}

// imports gives each import with its place.
func (s source) imports(yield func(string, token.Pos) bool) {
	for _, spec := range s.syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil && !yield(name, spec.Pos()) {
			return
		}
	}
}

// load parses all files of the module, whatever their build tags. Modules inside this one are not part of it.
func load(t *testing.T) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != ".":
			_, nested := os.Stat(path.Join(name, "go.mod"))
			if nested == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || name == "bin" {
				return fs.SkipDir
			}
		case strings.HasSuffix(name, ".go"):
			all = append(all, parse(t, name, nil))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files: this is not the whole module", len(all))
	}
	return all
}

// parse reads one file; content, when there is any, is taken in place of what is on the disk.
func parse(t *testing.T, name string, content any) source {
	t.Helper()
	files := token.NewFileSet()
	syntax, err := parser.ParseFile(files, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return source{path: name, syntax: syntax, files: files}
}

// words splits a list of the texts above.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// mayImport is the closure of the arrows: by folder, what it may import.
func mayImport(text string) map[string]map[string]bool {
	allowed := map[string]map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		ranks := strings.Split(strings.TrimSpace(line), "<")
		for i := 1; i < len(ranks); i++ {
			for _, above := range words(ranks[i]) {
				if allowed[above] == nil {
					allowed[above] = map[string]bool{}
				}
				for _, below := range words(ranks[i-1]) {
					if below != "NONE" {
						allowed[above][below] = true
						maps.Copy(allowed[above], allowed[below])
					}
				}
			}
		}
	}
	return allowed
}

// room is the longest of the names that a folder is or lies in; "": none.
func room(folder string, names []string) string {
	longest := ""
	for _, name := range names {
		if len(name) > len(longest) && (folder == name || strings.HasPrefix(folder, name+"/")) {
			longest = name
		}
	}
	return longest
}

// wrongArrows lists the imports among our own folders that the arrows don't allow. Tests may also import test
// doubles, which lie in folders whose name ends with "test".
func wrongArrows(all []source) (wrong []string) {
	allowed := mayImport(arrows)
	rooms := slices.Collect(maps.Keys(allowed))
	for _, s := range all {
		if s.folder() == "." {
			continue
		}
		from := room(s.folder(), rooms)
		if from == "" {
			wrong = append(wrong, s.complain(s.syntax.Package, "the arrows say nothing of the folder %s", s.folder()))
			continue
		}
		for name, at := range s.imports {
			target, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			to := room(target, rooms)
			if to == from || allowed[from][to] || s.isTest() && strings.HasSuffix(target, "test") {
				continue
			}
			wrong = append(wrong, s.complain(at, "%s must not import %s", from, target))
		}
	}
	return wrong
}

// wrongDoors lists the imports of libraries outside of their doors. Tests may use any library.
func wrongDoors(all []source) (wrong []string) {
	open := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(doors)) {
		library, folders, _ := strings.Cut(strings.TrimSpace(line), ": ")
		open[library] = words(folders)
	}
	libraries := slices.Collect(maps.Keys(open))
	for _, s := range all {
		if s.isTest() {
			continue
		}
		for name, at := range s.imports {
			if library := room(name, libraries); library != "" && room(s.folder(), open[library]) == "" {
				wrong = append(wrong, s.complain(at, "%s is imported by %s only", library, strings.Join(open[library], ", ")))
			}
		}
	}
	return wrong
}

// undocumented lists the modules that our code imports and that docs/DEPENDENCIES.md does not name.
func undocumented(all []source) (wrong []string) {
	page, pageErr := os.ReadFile("docs/DEPENDENCIES.md")
	list, listErr := os.ReadFile("go.mod")
	if err := errors.Join(pageErr, listErr); err != nil {
		return []string{err.Error()}
	}
	var modules []string
	for line := range strings.Lines(string(list)) {
		if fields := strings.Fields(line); len(fields) >= 2 && strings.HasPrefix(fields[1], "v") {
			modules = append(modules, fields[0])
		}
	}
	missing := map[string]string{}
	for _, s := range all {
		for name, at := range s.imports {
			if m := room(name, modules); m != "" && !strings.Contains(string(page), "| "+strings.TrimSuffix(m, "/v2")) {
				missing[m] = s.complain(at, "docs/DEPENDENCIES.md does not name %s", m)
			}
		}
	}
	return slices.Collect(maps.Values(missing))
}

// overBudget lists what has become too large.
func overBudget(all []source) (wrong []string) {
	packages, methods := map[string]int{}, map[string]int{}
	for _, s := range all {
		if s.isTest() {
			continue
		}
		packages[s.folder()] += s.lines()
		if n := s.lines(); n > maxFileLines {
			wrong = append(wrong, fmt.Sprintf("%s: %d lines, a file has at most %d", s.path, n, maxFileLines))
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.FuncDecl:
				if size := s.line(n.End()) - s.line(n.Pos()) + 1; size > maxFunctionLines {
					wrong = append(wrong, s.complain(n.Pos(), "%s has %d lines, a function has at most %d", n.Name.Name, size, maxFunctionLines))
				}
				if n.Recv != nil {
					methods[s.folder()+"."+receiver(n.Recv.List[0].Type)]++
				}
			case *ast.InterfaceType:
				if size := n.Methods.NumFields(); size > maxInterfaceMethods {
					wrong = append(wrong, s.complain(n.Pos(), "%d methods, an interface of ours has at most %d", size, maxInterfaceMethods))
				}
			}
			return true
		})
	}
	for folder, lines := range packages {
		if lines > maxPackageLines {
			wrong = append(wrong, fmt.Sprintf("%s: %d lines, a package has at most %d", folder, lines, maxPackageLines))
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			wrong = append(wrong, fmt.Sprintf("%s: %d methods, a type has at most %d", name, n, maxMethods))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// receiver is the name of the type that a method belongs to.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// badManners lists what house rules forbid: packages without a comment or with an empty name, context.TODO, wiring by
// init, sleeping, and notes to oneself.
func badManners(all []source) (wrong []string) {
	described := map[string]bool{}
	for _, s := range all {
		described[s.folder()] = described[s.folder()] || s.syntax.Doc != nil
	}
	for _, s := range all {
		if !described[s.folder()] {
			described[s.folder()] = true // once is enough
			wrong = append(wrong, fmt.Sprintf("%s: the package has no comment", s.folder()))
		}
		if slices.Contains(emptyNames, s.syntax.Name.Name) {
			wrong = append(wrong, s.complain(s.syntax.Package, "%q says nothing of what the package is", s.syntax.Name.Name))
		}
		for _, group := range s.syntax.Comments {
			if text := group.Text(); s.path != "arch_test.go" && (strings.Contains(text, "TODO") || strings.Contains(text, "FIXME")) {
				wrong = append(wrong, s.complain(group.Pos(), "a note to oneself: do it or write an issue"))
			}
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					wrong = append(wrong, s.complain(n.Pos(), "init: main wires, and wires by name"))
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					switch x.Name + "." + n.Sel.Name {
					case "context.TODO":
						wrong = append(wrong, s.complain(n.Pos(), "context.TODO: pass the caller's context"))
					case "time.Sleep":
						wrong = append(wrong, s.complain(n.Pos(), "time.Sleep: wait for what happens, not for time"))
					}
				}
			}
			return true
		})
	}
	return wrong
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	all := load(t)
	for name, check := range checks {
		for _, wrong := range check(all) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
}

var checks = map[string]func([]source) []string{"arrow": wrongArrows, "door": wrongDoors, "dependency": undocumented, "budget": overBudget, "manners": badManners}

// TestChecksSee plants what is forbidden into the real module and expects exactly one more complaint.
func TestChecksSee(t *testing.T) {
	t.Parallel()
	all := load(t)
	long := func(lines int) string { return strings.Repeat("\n", lines) }
	var methods strings.Builder
	for i := range maxMethods + 1 {
		fmt.Fprintf(&methods, "func (t *T) M%d() {}\n", i)
	}
	for _, test := range []struct{ name, check, path, content string }{
		{"an organ that imports another", "arrow", "volume/planted.go", `import _ "` + module + `network"`},
		{"an organ that imports the engine", "arrow", "image/planted.go", `import _ "` + module + `engine"`},
		{"the engine that imports the kernel's folder", "arrow", "engine/planted.go", `import _ "` + module + `linux/mount"`},
		{"a test that breaks an arrow", "arrow", "core/planted_test.go", `import _ "` + module + `store"`},
		{"somebody who imports cmd", "arrow", "cli/planted.go", `import _ "` + module + `cmd/berth"`},
		{"the daemon that imports libcontainer's folder", "arrow", "cmd/berthd/planted.go", `import _ "` + module + `shim"`},
		{"a folder that nobody has placed", "arrow", "attic/planted.go", ""},
		{"containerd in the engine", "door", "engine/planted.go", `import _ "github.com/containerd/containerd/v2/core/content"`},
		{"libcontainer in the daemon", "door", "cmd/berthd/planted.go", `import _ "github.com/opencontainers/runc/libcontainer"`},
		{"the kernel in an organ", "door", "volume/planted.go", `import _ "golang.org/x/sys/unix"`},
		{"cobra in the API", "door", "api/server/planted.go", `import _ "github.com/spf13/cobra"`},
		{"a module that nobody explained", "dependency", "lib/id/planted.go", `import _ "github.com/pkg/errors"`},
		{"a long file", "budget", "lib/id/planted.go", long(maxFileLines)},
		{"a long function", "budget", "lib/id/planted.go", "func f() {" + long(maxFunctionLines) + "}"},
		{"a wide interface", "budget", "lib/id/planted.go", "type i interface { a(); b(); c(); d(); e(); f(); g(); h(); i(); j() }"},
		{"a type that does everything", "budget", "lib/id/planted.go", "type T struct{}\n" + methods.String()},
		{"a package without a comment", "manners", "lib/planted/planted.go", ""},
		{"context.TODO", "manners", "lib/id/planted.go", "var _ = context.TODO()"},
		{"an init", "manners", "lib/id/planted.go", "func init() {}"},
		{"a sleep in a test", "manners", "lib/id/planted_test.go", "func f() { time.Sleep(1) }"},
		{"a note", "manners", "lib/id/planted.go", "// " + "TODO: tidy up"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			planted := parse(t, test.path, "package planted\n"+test.content)
			before, after := checks[test.check](all), checks[test.check](append(slices.Clip(all), planted))
			if len(after) != len(before)+1 {
				t.Errorf("%d complaints before, %d after: %q", len(before), len(after), after)
			}
		})
	}
	t.Run("a large package", func(t *testing.T) {
		t.Parallel()
		more := slices.Clone(all)
		for i := range maxPackageLines/maxFileLines + 1 {
			more = append(more, parse(t, fmt.Sprintf("lib/id/planted%d.go", i), "package planted"+long(maxFileLines-1)))
		}
		if before, after := overBudget(all), overBudget(more); len(after) != len(before)+1 {
			t.Errorf("%d complaints before, %d after: %q", len(before), len(after), after)
		}
	})
}
