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

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
	"github.com/berth-engine/berth/bench/tool"
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
		setup: func(ctx context.Context, s *suite, e *peer.Engine) error {
			if err := s.ownNetwork(ctx, e, "network"); err != nil {
				return err
			}
			id, err := e.Container(ctx, e.Image("busybox"), "sleep", "3600")
			s.keep(e, "joiner", id)
			return err
		},
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			network, id := s.recall(e, "network"), s.recall(e, "joiner")
			connected, err := e.Run(ctx, "network", "connect", network, id)
			if err != nil {
				return err
			}
			if err := expectNetwork(ctx, e, id, network, true); err != nil {
				return err
			}
			disconnected, err := e.Run(ctx, "network", "disconnect", network, id)
			if err != nil {
				return err
			}
			if err := expectNetwork(ctx, e, id, network, false); err != nil {
				return err
			}
			keep("network-connect", measure.Milliseconds(connected.Elapsed))
			keep("network-disconnect", measure.Milliseconds(disconnected.Elapsed))
			return nil
		},
		teardown: func(ctx context.Context, s *suite, e *peer.Engine) error {
			return errors.Join(e.Remove(ctx, nonEmpty(s.recall(e, "joiner"))...), s.dropNetwork(ctx, e, "network"))
		},
	}
}

// expectNetwork checks by what the container itself sees of its network devices.
func expectNetwork(ctx context.Context, e *peer.Engine, id, network string, want bool) error {
	a, err := e.Run(ctx, "exec", id, "ls", "/sys/class/net")
	if err != nil {
		return err
	}
	if is := len(strings.Fields(a.Out)) > 2; is != want { // lo, eth0 and the new one
		return fmt.Errorf("%s: in network %s is %t, not %t: devices %q", e.Name, network, is, want, a.Out)
	}
	return nil
}

// ownNetwork makes a network of the bench.
func (s *suite) ownNetwork(ctx context.Context, e *peer.Engine, key string) error {
	name := e.NewName(key)
	if _, err := e.Run(ctx, "network", "create", "--label", e.Tag, name); err != nil {
		return err
	}
	s.keep(e, key, name)
	return nil
}

func (s *suite) dropNetwork(ctx context.Context, e *peer.Engine, key string) error {
	name := s.recall(e, key)
	if name == "" {
		return nil
	}
	s.keep(e, key, "")
	_, err := e.Run(ctx, "network", "rm", name)
	return err
}

// manyPorts is how many ports the group "ports" publishes.
const manyPorts = 100

// portsGroup is a start that publishes a hundred ports.
func portsGroup() group {
	return group{
		name:   "ports",
		leaves: true,
		rounds: few,
		rows:   []row{{name: "start-100-ports", title: "start with 100 published ports", unit: "ms"}},
		once: func(ctx context.Context, _ *suite, e *peer.Engine, keep record) error {
			args := []string{"create", "--label", e.Tag}
			ports, err := freePorts(manyPorts)
			if err != nil {
				return err
			}
			for i, port := range ports {
				args = append(args, "-p", fmt.Sprintf("127.0.0.1:%d:%d", port, 1000+i))
			}
			created, err := e.Run(ctx, append(args, e.Image("busybox"), "sleep", "600")...)
			if err != nil {
				return err
			}
			started, err := e.Run(ctx, "start", created.Out)
			if err == nil {
				var listed peer.Answer
				listed, err = e.Run(ctx, "port", created.Out)
				if n := strings.Count(listed.Out, "127.0.0.1:"); err == nil && n != manyPorts {
					err = fmt.Errorf("%s: %d of %d ports are published", e.Name, n, manyPorts)
				}
			}
			if err := errors.Join(err, e.Remove(context.WithoutCancel(ctx), created.Out)); err != nil {
				return err
			}
			keep("start-100-ports", measure.Milliseconds(started.Elapsed))
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
		setup: func(ctx context.Context, s *suite, e *peer.Engine) error {
			if err := s.ownNetwork(ctx, e, "names"); err != nil {
				return err
			}
			target := e.NewName("target")
			id, err := e.Container(ctx, "--name", target, "--network", s.recall(e, "names"), e.Image("busybox"), "sleep", "3600")
			s.keep(e, "target", id)
			s.keep(e, "target-name", target)
			return err
		},
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			a, err := e.Run(ctx, "run", "--rm", "--label", e.Tag, "--network", s.recall(e, "names"), e.Image("tool"),
				"/bench", "dns", "-name", s.recall(e, "target-name"), "-for", s.portSeconds.String())
			if err != nil {
				return err
			}
			var result tool.NamesResult
			if err := json.Unmarshal([]byte(a.Out), &result); err != nil {
				return err
			}
			if result.Answers == 0 {
				return fmt.Errorf("%s: no answer", e.Name)
			}
			keep("dns-answers", measure.PerSecond(float64(result.Answers), time.Duration(result.Seconds*1e9)))
			keep("dns-p99", result.P99)
			return nil
		},
		teardown: func(ctx context.Context, s *suite, e *peer.Engine) error {
			return errors.Join(e.Remove(ctx, nonEmpty(s.recall(e, "target"))...), s.dropNetwork(ctx, e, "names"))
		},
	}
}
