//go:build cgo

package launch

import (
	"os"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// Exec is a further process in a container that runs.
type Exec struct {
	ID      string
	Config  *configs.Config
	Process Process
	Cgroups map[string]string
	First   *os.File // the container's first process (pidfd_open(2))
}

// Plan works out the steps. close lets go of what is open for them, once the process runs.
func (e Exec) Plan() (p *Plan, close func(), err error) {
	if err := e.Process.check(); err != nil {
		return nil, nil, err
	}
	p = newPlan()
	var files []*os.File
	close = func() {
		for _, f := range files {
			f.Close()
		}
	}
	procs, err := p.enter(e.Cgroups, func(path string, flags int) (*os.File, error) {
		f, err := os.OpenFile(path, flags, 0)
		if err == nil {
			files = append(files, f)
		}
		return f, err
	})
	if err != nil {
		close()
		return nil, nil, err
	}
	p.pids = e.First
	p.begin(e.Process, procs, e.Config.OomScoreAdj)
	kinds := uint64(unix.CLONE_NEWNS)
	for _, ns := range e.Config.Namespaces {
		if ns.Type != configs.NEWPID { // by birth
			kinds |= namespaceFlags[ns.Type]
		}
		if ns.Type == configs.NEWCGROUP {
			kinds |= unix.CLONE_NEWCGROUP
		}
	}
	p.join(e.First, kinds)
	p.session()
	if !e.Config.NoNewKeyring {
		p.keyring("_ses."+e.ID, false)
	}
	if e.Process.Console != nil {
		p.console(e.Process.Console, e.Process.Rows, e.Process.Columns, false)
	}
	if err := p.become(e.Process, e.Config.Umask); err != nil {
		close()
		return nil, nil, err
	}
	return p, close, nil
}
