package files

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	complete "github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

// copying is one `cp`.
type copying struct {
	s                      *session.Session
	api                    *client.Client
	container              string
	from, to               string
	archive, follow, quiet bool
}

// NewCopy is `cp`.
func NewCopy(s *session.Session) *cobra.Command {
	c := &copying{s: s}
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       berth cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
		Short: "Copy files/folders between a container and the local filesystem",
		Long: `Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.`,
		Args:              session.Exactly(2),
		ValidArgsFunction: completePlaces(s),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("quiet") {
				c.quiet = !s.Out.IsTerminal()
			}
			return c.run(cmd.Context(), args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&c.follow, "follow-link", "L", false, "Always follow symlinks in SRC_PATH")
	f.BoolVarP(&c.archive, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached")
	return cmd
}

// completePlaces offers "container:" as well as files.
func completePlaces(s *session.Session) cobra.CompletionFunc {
	containers := complete.Complete(s, 2)
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if strings.ContainsAny(typed, ":/.") || len(args) > 1 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		names, _ := containers(cmd, nil, typed)
		for i := range names {
			names[i] += ":"
		}
		return names, cobra.ShellCompDirectiveNoSpace
	}
}

func (c *copying) run(ctx context.Context, source, target string) (err error) {
	switch {
	case source == "":
		return errors.New("source can not be empty")
	case target == "":
		return errors.New("destination can not be empty")
	}
	sourceContainer, from := split(source)
	targetContainer, to := split(target)
	c.from, c.to = from, to
	switch {
	case sourceContainer != "" && targetContainer != "":
		return errors.New("copying between containers is not supported")
	case sourceContainer == "" && targetContainer == "":
		return errors.New("must specify at least one container source")
	}
	if c.api, err = c.s.Client(); err != nil {
		return err
	}
	if sourceContainer != "" {
		c.container = sourceContainer
		return c.out(ctx)
	}
	c.container = targetContainer
	return c.in(ctx)
}

// stat asks what is at a path of the container.
func (c *copying) stat(ctx context.Context, path string) (container.PathStat, error) {
	resp, err := c.api.Send(ctx, client.Request{Method: http.MethodHead, Path: pathOf(c), Query: url.Values{"path": {path}}})
	if err != nil {
		return container.PathStat{}, err
	}
	resp.Body.Close()
	return statOf(resp)
}

func pathOf(c *copying) string { return endpoint(c.container, "archive") }

func statOf(resp *http.Response) (stat container.PathStat, err error) {
	raw, err := base64.StdEncoding.DecodeString(resp.Header.Get("X-Docker-Container-Path-Stat"))
	if err == nil {
		err = json.Unmarshal(raw, &stat)
	}
	if err != nil {
		err = fmt.Errorf("the daemon's description of the path is not what was expected: %w", err)
	}
	return stat, err
}

// absolute keeps what a slash or a dot at the end of a path of this machine says.
func absolute(path string) (string, error) {
	clean, err := filepath.Abs(path)
	return keepEnd(clean, path), err
}

// out copies from the container.
func (c *copying) out(ctx context.Context) (err error) {
	if c.to != "-" {
		if c.to, err = absolute(c.to); err != nil {
			return err
		}
		if err := writable(c.to); err != nil {
			return err
		}
	}
	source := resource{path: c.from, exists: true}
	if c.follow {
		if stat, err := c.stat(ctx, c.from); err == nil && stat.Mode&os.ModeSymlink != 0 {
			source = renamed(c.from, stat.LinkTarget)
			source.exists = true
		}
	}
	resp, err := c.api.Send(ctx, client.Request{Method: http.MethodGet, Path: pathOf(c), Query: url.Values{"path": {source.path}}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if c.to == "-" {
		_, err := io.Copy(c.s.Out, resp.Body)
		return err
	}
	stat, err := statOf(resp)
	if err != nil {
		return err
	}
	source.isDir = stat.Mode.IsDir()
	target, err := localTarget(c.to)
	if err != nil {
		return err
	}
	folder, name, err := route(source, target)
	if err != nil {
		return err
	}
	_, packed := parts(source.path)
	if packed == "/" {
		packed = "" // of the root: its content
	}
	meter := c.meter("Copying from container - ", resp.Body)
	if err := unpack(meter, folder, c.archive, rename(packed, name)); err != nil {
		return err
	}
	size := meter.moved
	if !source.isDir {
		size = stat.Size
	}
	meter.done(size, c.to)
	return nil
}

// writable says why nothing can be copied to a path of this machine, if nothing can.
func writable(path string) error {
	folder := filepath.Dir(filepath.Clean(path))
	if _, err := os.Stat(folder); os.IsNotExist(err) {
		return fmt.Errorf("invalid output path: directory %q does not exist", folder)
	}
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := plain(info.Mode()); err != nil {
		return fmt.Errorf("invalid output path: %q must be a directory or a regular file: %w", path, err)
	}
	return nil
}

func plain(mode os.FileMode) error {
	switch {
	case mode&os.ModeDevice != 0:
		return errors.New("got a device")
	case mode&os.ModeIrregular != 0:
		return errors.New("got an irregular file")
	}
	return nil
}

// target finds what is at the destination in the container. That nothing is there, or that it can't be found out, is no
// error: the copy tells.
func (c *copying) target(ctx context.Context) (resource, error) {
	target := resource{path: c.to}
	stat, err := c.stat(ctx, c.to)
	if err == nil && stat.Mode&os.ModeSymlink != 0 {
		target.path = stat.LinkTarget
		stat, err = c.stat(ctx, target.path)
	}
	if err != nil {
		return target, nil
	}
	if err := plain(stat.Mode); err != nil {
		return target, fmt.Errorf(`destination "%s:%s" must be a directory or a regular file: %w`, c.container, c.to, err)
	}
	target.exists, target.isDir = true, stat.Mode.IsDir()
	return target, nil
}

// in copies into the container.
func (c *copying) in(ctx context.Context) error {
	target, err := c.target(ctx)
	if err != nil {
		return err
	}
	if c.from == "-" {
		if !target.isDir {
			return fmt.Errorf(`destination "%s:%s" must be a directory`, c.container, c.to)
		}
		meter := c.meter("Copying to container - ", c.s.In)
		if err := c.send(ctx, target.path, meter); err != nil {
			return err
		}
		meter.done(meter.moved, c.container+":"+target.path)
		return nil
	}
	from, err := absolute(c.from)
	if err != nil {
		return err
	}
	source, err := localSource(from, c.follow)
	if err != nil {
		return err
	}
	folder, name, err := route(source, target)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	type result struct {
		size int64
		err  error
	}
	packed := make(chan result, 1)
	go func() {
		size, err := pack(w, source.path, name)
		packed <- result{size, err}
		w.CloseWithError(err)
	}()
	meter := c.meter("Copying to container - ", r)
	sent := c.send(ctx, folder, meter)
	r.Close()
	local := <-packed
	switch {
	case local.err != nil && !errors.Is(local.err, io.ErrClosedPipe):
		return local.err
	case sent != nil:
		return sent
	}
	meter.done(local.size, c.container+":"+target.path)
	return nil
}

// send unpacks a tar in a folder of the container.
func (c *copying) send(ctx context.Context, folder string, content io.Reader) error {
	query := url.Values{"path": {folder}, "noOverwriteDirNonDir": {"true"}}
	if c.archive {
		query.Set("copyUIDGID", "true")
	}
	resp, err := c.api.Send(ctx, client.Request{Method: http.MethodPut, Path: pathOf(c), Query: query, Body: content, Type: "application/x-tar"})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// meter counts what is copied and shows it to people.
type meter struct {
	io.Reader
	moved  int64
	show   bool // the result
	live   bool // how it goes
	title  string
	out    io.Writer
	shown  time.Time
	isLine bool
}

const meterPeriod = 75 * time.Millisecond

func (c *copying) meter(title string, r io.Reader) *meter {
	return &meter{Reader: r, show: !c.quiet, live: !c.quiet && c.s.Out.IsTerminal(), title: title, out: c.s.Err}
}

// Read counts.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.moved += int64(n)
	if now := time.Now(); m.live && now.Sub(m.shown) > meterPeriod {
		m.shown, m.isLine = now, true
		fmt.Fprintf(m.out, "\r\x1b[K%s%s", m.title, format.Size(m.moved))
	}
	return n, err
}

// done says how much was copied, and how much was sent for that.
func (m *meter) done(size int64, to string) {
	if !m.show {
		return
	}
	if m.isLine {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
	transferred := ""
	if size != m.moved {
		transferred = " (transferred " + format.Size(m.moved) + ")"
	}
	fmt.Fprintf(m.out, "Successfully copied %s%s to %s\n", format.Size(size), transferred, to)
}
