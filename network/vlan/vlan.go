// Package vlan makes networks whose containers stand beside the host on its own wire: macvlan, where each has a hardware
// address of its own, and ipvlan, where they share that of the parent interface. The host's packet filter does not see
// their packets, so that no port of the host leads to them.
package vlan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/driver"
)

// Options of the drivers, in Docker's words.
const (
	OptParent  = "parent"
	OptMacvlan = "macvlan_mode"
	OptIPvlan  = "ipvlan_mode"
	OptFlag    = "ipvlan_flag"
)

// The kinds, which are called as the kernel calls them.
const (
	macvlan = "macvlan"
	ipvlan  = "ipvlan"
)

// Driver makes macvlan and ipvlan networks, each as its field Driver says.
type Driver struct {
	conn   *link.Conn
	others func(core.NetworkID) []*driver.Network
}

// New makes the driver. conn is to the host's interfaces; others gives the networks that are there besides one.
func New(conn *link.Conn, others func(core.NetworkID) []*driver.Network) *Driver {
	return &Driver{conn: conn, others: others}
}

// Complete reads the options. Without a parent the network is internal: its parent is one end of a pair that leads
// nowhere.
func (d *Driver) Complete(n *driver.Network) error {
	mode, err := readOptions(n)
	if err != nil {
		return err
	}
	n.Traits = driver.Traits{Joined: true, Subnets: 1 << 16, NoGateway: true, SharedMAC: mode.shared(), OnLink: mode.routed()}
	if n.Link = n.Options[OptParent]; n.Link == "" {
		n.Link, n.Internal = nowhere(n), true
	}
	if n.Link == "lo" {
		return core.Invalid("loopback interface is not a valid %s parent link", n.Driver)
	}
	for _, o := range d.others(n.ID) {
		if o.Link != n.Link || o.Driver != macvlan && o.Driver != ipvlan {
			continue
		}
		theirs, err := readOptions(o)
		switch {
		case err != nil: // it can't be used and uses nothing
		case n.Driver == ipvlan || o.Driver == ipvlan:
			return core.Forbidden("network %s is already using parent interface %s", o.ID, n.Link)
		case mode.exclusive():
			return core.Forbidden("cannot use mode passthru, macvlan network %s is already using parent interface %s", o.ID, n.Link)
		case theirs.exclusive():
			return core.Forbidden("macvlan network %s is already using parent interface %s in mode passthru", o.ID, n.Link)
		}
	}
	return nil
}

// mode is how the containers of a network meet.
type mode struct{ kind, mode, flag string }

func (m mode) exclusive() bool { return m.mode == "passthru" }
func (m mode) shared() bool    { return m.kind == ipvlan || m.exclusive() }
func (m mode) routed() bool    { return m.mode == "l3" || m.mode == "l3s" }

func readOptions(n *driver.Network) (m mode, err error) {
	o := driver.Read(n)
	o.Text(OptParent)
	o.Text(driver.OptPrefix)
	if n.MTU = 0; n.Options[driver.OptMTU] != "" {
		n.MTU = o.MTU()
	}
	m = mode{kind: n.Driver, mode: "bridge"}
	name := OptMacvlan
	if n.Driver == ipvlan {
		name, m.mode, m.flag = OptIPvlan, "l2", "bridge"
		if flag, ok := o.Text(OptFlag); ok {
			m.flag = flag
		}
		if !link.IPvlanFlag(m.flag) {
			return m, core.Invalid("requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default", m.flag)
		}
	}
	standard := m.mode
	if text, ok := o.Text(name); ok {
		m.mode = text
	}
	if !link.StackedMode(n.Driver, m.mode) {
		return m, core.Invalid("requested %s mode '%s' is not valid, '%s' mode is the %s driver default", n.Driver, m.mode, standard, n.Driver)
	}
	return m, o.Err(n.Driver)
}

// nowhere is the parent of a network that has none, dangling that of its other end.
func nowhere(n *driver.Network) string  { return "dm-" + n.ID.Short() }
func dangling(n *driver.Network) string { return "dp-" + n.ID.Short() }

// Up finds the parent, or makes it: a VLAN interface (eth0.50) or the end of a pair. Then it tries whether the kernel
// can make interfaces on it.
func (d *Driver) Up(ctx context.Context, n *driver.Network) error {
	for _, o := range d.others(n.ID) {
		if o.Link == n.Link && !o.Adopted {
			n.Adopted = false // another network of ours made it: the last one removes it
		}
	}
	found, err := link.Find(n.Link)
	if errors.Is(err, link.ErrNotFound) {
		if err := d.makeParent(ctx, n); err != nil {
			return err
		}
		found, err = link.Find(n.Link)
	}
	if err != nil {
		return err
	}
	if err := d.try(ctx, n, found.Index); err != nil {
		return err
	}
	n.Index = found.Index
	return nil
}

func (d *Driver) makeParent(ctx context.Context, n *driver.Network) error {
	var batch link.Batch
	if n.Link == nowhere(n) {
		batch.AddPair(n.Link, dangling(n))
		batch.Quiet(n.Link)
		batch.Quiet(dangling(n))
		batch.Up(dangling(n))
	} else {
		parent, id, err := splitVLAN(n.Link)
		if err != nil {
			return err
		}
		found, err := link.Find(parent)
		if errors.Is(err, link.ErrNotFound) {
			return core.Invalid("-o parent interface was not found on the host: %s", parent)
		}
		if err != nil {
			return err
		}
		batch.AddVLAN(n.Link, found.Index, id)
	}
	batch.Up(n.Link)
	switch err := d.conn.Apply(ctx, &batch); {
	case errors.Is(err, syscall.EOPNOTSUPP):
		return core.NotImplemented("failed to create %s vlan link: this kernel does not have VLAN interfaces (module 8021q): %w", n.Link, err)
	case err != nil:
		return fmt.Errorf("failed to create %s vlan link: %w", n.Link, err)
	}
	return nil
}

// splitVLAN reads the name of a VLAN interface: eth0.50.
func splitVLAN(name string) (parent string, id int, err error) {
	parent, text, dotted := strings.Cut(name, ".")
	if !dotted {
		return "", 0, core.Invalid("invalid subinterface vlan name %s, example formatting is eth0.10", name)
	}
	if strings.Contains(text, ".") {
		return "", 0, core.Invalid("required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received %s", name)
	}
	if id, err = strconv.Atoi(text); err != nil {
		return "", 0, core.Invalid("unable to parse a valid vlan id from: %s (ex. eth0.10 for vlan 10)", text)
	}
	if id < 1 || id > 4094 {
		return "", 0, core.Invalid("vlan id must be between 1-4094, received: %d", id)
	}
	return parent, id, nil
}

// try makes an interface as containers will have it, and removes it. A parent that one container has for itself can't be
// tried.
func (d *Driver) try(ctx context.Context, n *driver.Network, parent int) error {
	m, err := readOptions(n)
	if err != nil || m.exclusive() {
		return err
	}
	probe := "try-" + n.ID.Short()[:8]
	var batch, undo link.Batch
	batch.AddStacked(link.Stacked{Name: probe, Parent: parent, Kind: n.Driver, Mode: m.mode, Flag: m.flag})
	undo.Delete(probe)
	err = d.conn.Apply(ctx, &batch)
	if err == nil {
		return d.conn.Apply(context.WithoutCancel(ctx), &undo)
	}
	switch {
	case errors.Is(err, syscall.EOPNOTSUPP):
		return core.NotImplemented("this kernel does not have the interfaces that the network driver %q needs (module %s): %w", n.Driver, n.Driver, err)
	case errors.Is(err, syscall.EBUSY):
		return core.Forbidden("failed to create the %s port: the parent interface %s is in use by interfaces of another kind: %w", n.Driver, n.Link, err)
	}
	return core.Invalid("failed to create the %s port: %w", n.Driver, err)
}

// Down removes the parent when it was made for networks of ours and this is the last one.
func (d *Driver) Down(ctx context.Context, n *driver.Network) error {
	if n.Adopted {
		return nil
	}
	for _, o := range d.others(n.ID) {
		if o.Link == n.Link {
			return nil
		}
	}
	var batch link.Batch
	batch.Delete(n.Link)
	return d.conn.Apply(ctx, &batch)
}

// Join makes an interface on the parent, which may be another one by that name than it was at the start.
func (d *Driver) Join(batch *link.Batch, n *driver.Network, p driver.Port) error {
	m, err := readOptions(n)
	if err != nil {
		return err
	}
	parent, err := link.Find(n.Link)
	if errors.Is(err, link.ErrNotFound) {
		return core.NotFound("the requested parent interface %s was not found on the host: %w", n.Link, os.ErrNotExist)
	}
	if err != nil {
		return err
	}
	batch.AddStacked(link.Stacked{Name: p.Name, Parent: parent.Index, Kind: n.Driver, Mode: m.mode, Flag: m.flag, MAC: p.MAC, MTU: n.MTU, NS: p.NS, Away: true})
	return nil
}
