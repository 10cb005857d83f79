package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// networkGroup is the work on networks of the user's own.
func networkGroup() group {
	return group{
		name: "network",
		warm: true,
		rows: []row{
			{name: "network-connect", title: "network connect of a running container", unit: "ms"},
			{name: "network-disconnect", title: "network disconnect", unit: "ms"},
		},
		setup: func(ctx context.Context, s *suite, e *engine) error {
			if err := s.ownNetwork(ctx, e, "network"); err != nil {
				return err
			}
			id, err := e.container(ctx, e.image("busybox"), "sleep", "3600")
			s.keep(e, "joiner", id)
			return err
		},
		once: func(ctx context.Context, s *suite, e *engine, keep record) error {
			network, id := s.recall(e, "network"), s.recall(e, "joiner")
			connected, err := e.run(ctx, "network", "connect", network, id)
			if err != nil {
				return err
			}
			if err := expectNetwork(ctx, e, id, network, true); err != nil {
				return err
			}
			disconnected, err := e.run(ctx, "network", "disconnect", network, id)
			if err != nil {
				return err
			}
			if err := expectNetwork(ctx, e, id, network, false); err != nil {
				return err
			}
			keep("network-connect", milliseconds(connected.elapsed))
			keep("network-disconnect", milliseconds(disconnected.elapsed))
			return nil
		},
		teardown: func(ctx context.Context, s *suite, e *engine) error {
			return errors.Join(e.remove(ctx, nonEmpty(s.recall(e, "joiner"))...), s.dropNetwork(ctx, e, "network"))
		},
	}
}

// expectNetwork checks by what the container itself sees of its network devices.
func expectNetwork(ctx context.Context, e *engine, id, network string, want bool) error {
	a, err := e.run(ctx, "exec", id, "ls", "/sys/class/net")
	if err != nil {
		return err
	}
	if is := len(strings.Fields(a.out)) > 2; is != want { // lo, eth0 and the new one
		return fmt.Errorf("%s: in network %s is %t, not %t: devices %q", e.Name, network, is, want, a.out)
	}
	return nil
}

// ownNetwork makes a network of the bench.
func (s *suite) ownNetwork(ctx context.Context, e *engine, key string) error {
	name := e.name(key)
	if _, err := e.run(ctx, "network", "create", "--label", e.tag, name); err != nil {
		return err
	}
	s.keep(e, key, name)
	return nil
}

func (s *suite) dropNetwork(ctx context.Context, e *engine, key string) error {
	name := s.recall(e, key)
	if name == "" {
		return nil
	}
	s.keep(e, key, "")
	_, err := e.run(ctx, "network", "rm", name)
	return err
}

// manyPorts is how many ports the group "ports" publishes.
const manyPorts = 100

// portsGroup is a start that publishes a hundred ports.
func portsGroup() group {
	return group{
		name:   "ports",
		rounds: few,
		rows:   []row{{name: "start-100-ports", title: "start with 100 published ports", unit: "ms"}},
		once: func(ctx context.Context, _ *suite, e *engine, keep record) error {
			args := []string{"create", "--label", e.tag}
			ports, err := freePorts(manyPorts)
			if err != nil {
				return err
			}
			for i, port := range ports {
				args = append(args, "-p", fmt.Sprintf("127.0.0.1:%d:%d", port, 1000+i))
			}
			created, err := e.run(ctx, append(args, e.image("busybox"), "sleep", "600")...)
			if err != nil {
				return err
			}
			started, err := e.run(ctx, "start", created.out)
			if err == nil {
				var listed answer
				listed, err = e.run(ctx, "port", created.out)
				if n := strings.Count(listed.out, "127.0.0.1:"); err == nil && n != manyPorts {
					err = fmt.Errorf("%s: %d of %d ports are published", e.Name, n, manyPorts)
				}
			}
			if err := errors.Join(err, e.remove(context.WithoutCancel(ctx), created.out)); err != nil {
				return err
			}
			keep("start-100-ports", milliseconds(started.elapsed))
			return nil
		},
	}
}

// freePorts finds ports of the loopback address that nobody uses at the moment.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all at the end, so that no port comes twice
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		ports = append(ports, number)
	}
	return ports, nil
}

// namesGroup is the resolver of the user's own networks.
func namesGroup() group {
	return group{
		name:   "dns",
		rounds: few,
		rows: []row{
			{name: "dns-answers", title: "names of containers, asked from a container", unit: "per s", higher: true},
			{name: "dns-p99", title: "the slowest answer but 1 %", unit: "ms"},
		},
		setup: func(ctx context.Context, s *suite, e *engine) error {
			if err := s.ownNetwork(ctx, e, "names"); err != nil {
				return err
			}
			target := e.name("target")
			id, err := e.container(ctx, "--name", target, "--network", s.recall(e, "names"), e.image("busybox"), "sleep", "3600")
			s.keep(e, "target", id)
			s.keep(e, "target-name", target)
			return err
		},
		once: func(ctx context.Context, s *suite, e *engine, keep record) error {
			a, err := e.run(ctx, "run", "--rm", "--label", e.tag, "--network", s.recall(e, "names"), e.image("tool"),
				"/bench", "dns", "-name", s.recall(e, "target-name"), "-for", s.portSeconds.String())
			if err != nil {
				return err
			}
			var result namesResult
			if err := json.Unmarshal([]byte(a.out), &result); err != nil {
				return err
			}
			if result.Answers == 0 {
				return fmt.Errorf("%s: no answer", e.Name)
			}
			keep("dns-answers", perSecond(float64(result.Answers), time.Duration(result.Seconds*1e9)))
			keep("dns-p99", result.P99)
			return nil
		},
		teardown: func(ctx context.Context, s *suite, e *engine) error {
			return errors.Join(e.remove(ctx, nonEmpty(s.recall(e, "target"))...), s.dropNetwork(ctx, e, "names"))
		},
	}
}
