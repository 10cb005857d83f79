package wire

import (
	"cmp"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/berth-engine/berth/core"
)

// config shows the portable part of a container's definition.
func config(c *core.Config) *container.Config {
	return &container.Config{
		Hostname:        c.Hostname,
		Domainname:      c.Domainname,
		User:            c.User,
		AttachStdin:     c.AttachStdin,
		AttachStdout:    c.AttachStdout,
		AttachStderr:    c.AttachStderr,
		ExposedPorts:    portSet(c.ExposedPorts),
		Tty:             c.Tty,
		OpenStdin:       c.OpenStdin,
		StdinOnce:       c.StdinOnce,
		Env:             c.Env,
		Cmd:             c.Cmd,
		Healthcheck:     healthcheck(c.Healthcheck),
		ArgsEscaped:     c.ArgsEscaped,
		Image:           c.Image,
		Volumes:         c.Volumes,
		WorkingDir:      c.WorkingDir,
		Entrypoint:      c.Entrypoint,
		NetworkDisabled: c.NetworkDisabled,
		OnBuild:         c.OnBuild,
		Labels:          notNil(c.Labels),
		StopSignal:      c.StopSignal,
		StopTimeout:     c.StopTimeout,
		Shell:           c.Shell,
	}
}

// configFrom is the way back.
func configFrom(c *container.Config) (core.Config, error) {
	ports, err := portsFrom(c.ExposedPorts)
	if err != nil {
		return core.Config{}, err
	}
	return core.Config{
		Hostname:        c.Hostname,
		Domainname:      c.Domainname,
		User:            c.User,
		AttachStdin:     c.AttachStdin,
		AttachStdout:    c.AttachStdout,
		AttachStderr:    c.AttachStderr,
		ExposedPorts:    ports,
		Tty:             c.Tty,
		OpenStdin:       c.OpenStdin,
		StdinOnce:       c.StdinOnce,
		Env:             c.Env,
		Cmd:             c.Cmd,
		Entrypoint:      c.Entrypoint,
		Healthcheck:     healthcheckFrom(c.Healthcheck),
		ArgsEscaped:     c.ArgsEscaped,
		Image:           c.Image,
		Volumes:         c.Volumes,
		WorkingDir:      c.WorkingDir,
		NetworkDisabled: c.NetworkDisabled,
		OnBuild:         c.OnBuild,
		Labels:          c.Labels,
		StopSignal:      c.StopSignal,
		StopTimeout:     c.StopTimeout,
		Shell:           c.Shell,
	}, nil
}

func healthcheck(h *core.Healthcheck) *container.HealthConfig {
	if h == nil {
		return nil
	}
	return &container.HealthConfig{
		Test:          h.Test,
		Interval:      h.Interval,
		Timeout:       h.Timeout,
		StartPeriod:   h.StartPeriod,
		StartInterval: h.StartInterval,
		Retries:       h.Retries,
	}
}

func healthcheckFrom(h *container.HealthConfig) *core.Healthcheck {
	if h == nil {
		return nil
	}
	return &core.Healthcheck{
		Test:          h.Test,
		Interval:      h.Interval,
		Timeout:       h.Timeout,
		StartPeriod:   h.StartPeriod,
		StartInterval: h.StartInterval,
		Retries:       h.Retries,
	}
}

func port(p core.Port) network.Port {
	shape, ok := network.PortFrom(p.Number, network.IPProtocol(p.Protocol))
	if !ok { // no protocol: a port of a record that was never checked
		shape, _ = network.PortFrom(p.Number, network.TCP)
	}
	return shape
}

func portFrom(p network.Port) (core.Port, error) { return core.ParsePort(p.String()) }

func portSet(ports []core.Port) network.PortSet {
	if len(ports) == 0 {
		return nil
	}
	set := make(network.PortSet, len(ports))
	for _, p := range ports {
		set[port(p)] = struct{}{}
	}
	return set
}

// portsFrom lists a set in order, so that equal requests make equal records.
func portsFrom(set network.PortSet) ([]core.Port, error) {
	if len(set) == 0 {
		return nil, nil
	}
	ports := make([]core.Port, 0, len(set))
	for shape := range set {
		p, err := portFrom(shape)
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	slices.SortFunc(ports, comparePorts)
	return ports, nil
}

func comparePorts(a, b core.Port) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
}

// notNil makes a map that is shown as {} instead of null.
func notNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// list makes a slice that is shown as [] instead of null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// each converts every element and keeps nil as nil.
func each[A, B any](in []A, convert func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = convert(a)
	}
	return out
}
