package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// label gives a container its labels. Like Docker, it adds to the security options what they follow from where the user
// names none.
func (g *ground) label(c *core.Container) error {
	sec, err := core.ParseSecurity(c.Host.SecurityOpt)
	if err != nil {
		return err
	}
	if len(sec.Labels) == 0 {
		if sec.Labels, err = g.labelsThatFollow(c); err != nil {
			return err
		}
		for _, option := range sec.Labels {
			c.Host.SecurityOpt = append(slices.Clip(c.Host.SecurityOpt), "label="+option)
		}
	}
	c.ProcessLabel, c.MountLabel, err = g.ports.Labels.Allot(sec.Labels)
	return err
}

// labelsThatFollow are the options that the rest of a definition asks for: who sees all processes or IPC of the host is not
// confined, and who shares another container's has its label.
func (g *ground) labelsThatFollow(c *core.Container) (options []string, err error) {
	if c.Host.Privileged || c.Host.IpcMode == "host" || c.Host.PidMode == "host" {
		return []string{"disable"}, nil
	}
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
		switch {
		case err != nil:
			return nil, err
		case like == nil:
		case options != nil && !slices.Equal(options, like):
			return nil, core.Invalid("--ipc and --pid containers SELinux labels aren't the same")
		default:
			options = like
		}
	}
	return options, nil
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
		if err := r.l.label(&c); err != nil {
			return err
		}
		r.b.Change(func(kept *core.Container) { kept.ProcessLabel, kept.MountLabel = c.ProcessLabel, c.MountLabel })
	}
	r.launch.Container = &c
	return nil
}
