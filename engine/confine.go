package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Labels is what the engine needs of SELinux. Where that is off, or not to be used, no label is given, and nothing else
// has an effect.
type Labels interface {
	// Allot makes the labels of a container's processes and of its files, from the values of --security-opt label=. No
	// two containers get the same categories, unless an option says so.
	Allot(options []string) (process, files string, err error)
	// Like gives the options that make a label as another container's.
	Like(process string) (options []string, err error)
	// Keep makes a label that an earlier daemon gave nobody else's; Release gives it back.
	Keep(process string) error
	Release(process string)
	// Relabel labels what is at a path of the host, and below, for a container; shared: for all.
	Relabel(path, files string, shared bool) error
}

// allot gives a container its labels, and says what they follow from.
func (g *ground) allot(c *core.Container) (process, files string, options []string, err error) {
	if options, err = g.labelOptions(c); err != nil {
		return "", "", nil, err
	}
	process, files, err = g.ports.Labels.Allot(options)
	return process, files, options, err
}

// labelOptions are what the user says of labels; else what follows from the rest: who sees all processes or IPC of the host
// is not confined, and who shares another container's has its label.
func (g *ground) labelOptions(c *core.Container) ([]string, error) {
	sec, err := core.ParseSecurity(c.Host.SecurityOpt)
	if err != nil || len(sec.Labels) > 0 {
		return sec.Labels, err
	}
	if c.Host.Privileged || c.Host.IpcMode == "host" || c.Host.PidMode == "host" {
		return []string{"disable"}, nil
	}
	var options []string
	for _, mode := range []string{c.Host.IpcMode, c.Host.PidMode} {
		ref, ok := strings.CutPrefix(mode, "container:")
		if !ok {
			continue
		}
		other, err := g.table.view(ref)
		if err != nil {
			return nil, err
		}
		like, err := g.ports.Labels.Like(other.ProcessLabel)
		if err != nil {
			return nil, err
		}
		if options != nil && like != nil && !slices.Equal(options, like) {
			return nil, core.Invalid("--ipc and --pid containers SELinux labels aren't the same")
		}
		if like != nil {
			options = like
		}
	}
	return options, nil
}

// label gives a new container its labels. Like Docker, it adds to the security options what they follow from.
func (g *ground) label(c *core.Container) (err error) {
	named, err := core.ParseSecurity(c.Host.SecurityOpt)
	if err != nil {
		return err
	}
	var options []string
	if c.ProcessLabel, c.MountLabel, options, err = g.allot(c); err != nil || len(named.Labels) > 0 {
		return err
	}
	for _, option := range options {
		c.Host.SecurityOpt = append(slices.Clip(c.Host.SecurityOpt), "label="+option)
	}
	return nil
}

// unlabel gives a container's label back, unless one that shared something with it still has it.
func (g *ground) unlabel(c *core.Container) {
	if c.ProcessLabel == "" {
		return
	}
	for _, other := range g.table.views() {
		if other.ID != c.ID && other.ProcessLabel == c.ProcessLabel {
			return
		}
	}
	g.ports.Labels.Release(c.ProcessLabel)
}

// has says whether the host has what confines containers: core.HasAppArmor, core.HasSELinux.
func (g *ground) has(what string) bool {
	return slices.Contains(g.options.Facts.Info.SecurityOptions, what)
}

// confine decides what SELinux and AppArmor are told of a container that starts. The host may have got or lost them since
// the last time.
func (r *starting) confine(context.Context) (err error) {
	c := *r.launch.Container
	if c.AppArmorProfile, err = core.Confinement(&c.Host, r.l.has(core.HasAppArmor)); err != nil {
		return err
	}
	if r.l.has(core.HasSELinux) != (c.MountLabel != "") {
		r.l.unlabel(&c)
		if c.ProcessLabel, c.MountLabel, _, err = r.l.allot(&c); err != nil {
			return err
		}
		r.b.Change(func(kept *core.Container) { kept.ProcessLabel, kept.MountLabel = c.ProcessLabel, c.MountLabel })
	}
	r.launch.Container = &c
	return nil
}
