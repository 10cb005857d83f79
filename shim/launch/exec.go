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

// Plan works out the steps. The caller closes the plan.
func (e Exec) Plan() (_ *Plan, err error) {
	if err := e.Process.check(); err != nil {
		return nil, err
	}
	p := newPlan()
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	procs, err := p.enter(e.Cgroups)
	if err != nil {
		return nil, err
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
	return p, p.become(e.Process, e.Config.Umask)
}
