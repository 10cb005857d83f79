package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/berth-engine/berth/bench/payload"
)

// makeImages imports the base image and the image that holds this program into every engine.
func (s *suite) makeImages(ctx context.Context) error {
	rootfs := s.path("rootfs")
	if err := payload.Rootfs(ctx, rootfs); err != nil {
		return err
	}
	base, err := s.writeFile("busybox.tar", func(w io.Writer) error { return payload.TarDir(w, rootfs) })
	if err != nil {
		return err
	}
	tools := s.path("tools")
	if err := os.CopyFS(tools, os.DirFS(rootfs)); err != nil {
		return err
	}
	if err := payload.CopyFile(filepath.Join(tools, "bench"), s.self); err != nil {
		return err
	}
	tool, err := s.writeFile("tool.tar", func(w io.Writer) error { return payload.TarDir(w, tools) })
	if err != nil {
		return err
	}
	for _, p := range s.peers {
		if p.engine == nil || p.absent != "" {
			continue
		}
		for name, file := range map[string]string{"busybox": base, "tool": tool} {
			if _, err := p.engine.Run(ctx, "import", file, p.engine.Image(name)); err != nil {
				p.absent = err.Error()
			}
		}
		if a, err := p.engine.Run(ctx, "run", "--rm", "--label", s.tag, p.engine.Image("busybox"), "echo", "works"); err != nil || a.Out != "works" {
			p.absent = fmt.Sprintf("a first container does not work: %v %s", err, a.Out)
		}
	}
	return nil
}
