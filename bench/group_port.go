package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
	"github.com/berth-engine/berth/bench/tool"
)

// portGroup is what a published port lets through, beside the way that needs no publishing.
func portGroup() group {
	return group{
		name:   "port",
		leaves: true,
		rounds: few,
		warm:   true,
		rows: []row{
			{name: "port-bytes-local", title: "published port on 127.0.0.1: one stream", unit: "Gbit/s", higher: true},
			{name: "port-bytes-bridge", title: "on the bridge's address: one stream", unit: "Gbit/s", higher: true},
			{name: "port-bytes-container", title: "the container's own address: one stream", unit: "Gbit/s", higher: true},
			{name: "port-requests-local", title: "published port on 127.0.0.1: requests", unit: "per s", higher: true},
			{name: "port-requests-bridge", title: "on the bridge's address: requests", unit: "per s", higher: true},
			{name: "port-requests-container", title: "the container's own address: requests", unit: "per s", higher: true},
		},
		setup: portSetup,
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			for _, place := range []string{"local", "bridge", "container"} {
				address := s.recall(e, place)
				stream, err := s.loadFrom(ctx, address, "-stream")
				if err != nil {
					return fmt.Errorf("%s: %w", place, err)
				}
				keep("port-bytes-"+place, float64(stream.Bytes)*8/1e9/stream.Seconds)
				small, err := s.loadFrom(ctx, address, fmt.Sprintf("-c=%d", s.connections))
				if err != nil {
					return fmt.Errorf("%s: %w", place, err)
				}
				keep("port-requests-"+place, float64(small.Requests)/small.Seconds)
			}
			return nil
		},
		teardown: func(ctx context.Context, s *suite, e *peer.Engine) error {
			return e.Remove(ctx, nonEmpty(s.recall(e, "server"))...)
		},
	}
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// portSetup runs the server, published on the loopback address and on the bridge's, and waits until all ways lead to it.
func portSetup(ctx context.Context, s *suite, e *peer.Engine) error {
	gateway, err := gatewayOf(ctx, e)
	if err != nil {
		return err
	}
	id, err := e.Container(ctx, "-p", "127.0.0.1::8080", "-p", gateway+"::8080", e.Image("tool"), "/bench", "serve")
	if err != nil {
		return err
	}
	s.keep(e, "server", id)
	published, err := e.Run(ctx, "port", id, "8080")
	if err != nil {
		return err
	}
	address, err := e.Field(ctx, id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	if err != nil {
		return err
	}
	places := map[string]string{"container": net.JoinHostPort(address, "8080")}
	for line := range strings.Lines(published.Out) {
		place := "bridge"
		if strings.HasPrefix(line, "127.0.0.1:") {
			place = "local"
		}
		places[place] = strings.TrimSpace(line)
	}
	for _, place := range []string{"local", "bridge", "container"} {
		if places[place] == "" {
			return fmt.Errorf("%s: no address for %s; port says %q", e.Name, place, published.Out)
		}
		s.keep(e, place, places[place])
		if err := measure.Ready(ctx, "the server at "+places[place], func(ctx context.Context) error {
			_, err := tool.Requests(places[place], time.Now().Add(time.Millisecond))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// gatewayOf is the host's address on the default bridge, as a container of it sees it.
func gatewayOf(ctx context.Context, e *peer.Engine) (string, error) {
	id, err := e.Container(ctx, e.Image("busybox"), "sleep", "60")
	if err != nil {
		return "", err
	}
	gateway, err := e.Field(ctx, id, "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
	if err == nil && net.ParseIP(gateway) == nil {
		err = fmt.Errorf("%s: the default network's gateway is %q", e.Name, gateway)
	}
	return gateway, errors.Join(err, e.Remove(ctx, id))
}

// loadFrom runs the load generator as a process of its own, so that the bench does not weigh on it.
func (s *suite) loadFrom(ctx context.Context, address, flag string) (tool.LoadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, s.portSeconds+20*time.Second)
	defer cancel()
	var result tool.LoadResult
	cmd := exec.CommandContext(ctx, s.self, "load", "-to="+address, "-for="+s.portSeconds.String(), flag)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("load on %s: %w: %s", address, err, peer.LastLines(complaint.String()))
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return result, err
	}
	if result.Bytes == 0 || result.Seconds <= 0 {
		return result, fmt.Errorf("nothing came from %s", address)
	}
	return result, nil
}
