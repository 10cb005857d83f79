// Package failpoint lets a test stop or kill a program at a named place of its code.
//
// A place calls Hit with its name. Nothing happens unless the environment variable BERTH_FAILPOINT says so when the
// program starts:
//
//	BERTH_FAILPOINT=start:before-network          the process gets SIGKILL there, as from a crash
//	BERTH_FAILPOINT=start:before-network=error    Hit returns an error there
//	BERTH_FAILPOINT=start:before-network=panic    Hit panics there
//	BERTH_FAILPOINT=trace=/tmp/names              nothing fails; each name goes into the file once, when it is passed
//
// The names are not listed anywhere: a test runs its scenario once with trace and so learns which places it passes,
// then runs it again for each of them. Cost when the variable is not set: one comparison.
package failpoint

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Variable is the name of the environment variable.
const Variable = "BERTH_FAILPOINT"

// active is read once at start and nil in every real run.
var active = parse(os.Getenv(Variable))

type plan struct {
	name   string
	action string
	path   string // of the trace

	mu   sync.Mutex // guards seen and the order of the trace's lines
	seen map[string]bool
}

func parse(value string) *plan {
	if value == "" {
		return nil
	}
	name, action, found := strings.Cut(value, "=")
	if !found {
		return &plan{name: name, action: "kill"}
	}
	if name == "trace" {
		return &plan{path: action, seen: map[string]bool{}}
	}
	return &plan{name: name, action: action}
}

// Hit marks a place. Its error, which only a test provokes, is to be handled like any other failure of that place.
func Hit(name string) error {
	if active == nil {
		return nil
	}
	return active.hit(name)
}

func (p *plan) hit(name string) error {
	if p.path != "" {
		return p.trace(name)
	}
	if p.name != name {
		return nil
	}
	switch p.action {
	case "kill":
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "panic":
		panic("failpoint " + name)
	case "error":
		return fmt.Errorf("failpoint %s", name)
	}
	return fmt.Errorf("failpoint %s: unknown action %q", name, p.action)
}

func (p *plan) trace(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[name] {
		return nil
	}
	p.seen[name] = true
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(name + "\n"); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
