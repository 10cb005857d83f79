package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/util/entitlements"
	"golang.org/x/sync/errgroup"

	"github.com/berth-engine/berth/core"
)

// versionBuildKit is the builder version with which a client asks for BuildKit's trace in place of classic output.
const versionBuildKit = "2"

// remoteSession is the Remote of a client that serves its files over a session.
const remoteSession = "client-session"

// Build runs a classic build: the context is a tar, compressed or not, unless options name a remote one. An error before
// the first progress is one of the request: what is wrong with the tar, the Dockerfile or the options.
//
// All output goes through progress: Docker's classic text as Stream, at the end the ID as Aux; with version "2" BuildKit's
// trace as Aux; with Quiet nothing but the Aux unless it fails.
func (b *Builder) Build(ctx context.Context, body io.Reader, options core.BuildOptions, progress core.ProgressFunc) (core.ImageID, error) {
	ctx, done := b.cancellable(quieten(ctx, b.log), options.BuildID)
	defer done()
	if options.Squash {
		return "", core.Invalid("squash is only supported with experimental mode")
	}
	request, err := b.request(options)
	if err != nil {
		return "", err
	}
	var files *tarFS
	p := &plan{}
	switch {
	case options.Remote == "":
		if files, err = readTar(ctx, body, filepath.Join(b.options.Root, "contexts")); err != nil {
			return "", err
		}
		defer func() {
			if err := files.Close(); err != nil {
				b.log.Warn("close the spool of a build context", "error", err)
			}
		}()
		if p, err = readPlan(files, options); err != nil {
			return "", err
		}
		request.FrontendAttrs["filename"] = p.file
		if p.syntax != "" {
			request.FrontendAttrs["cmdline"] = p.syntax
		}
	case options.Remote == remoteSession:
		if options.SessionID == "" {
			return "", core.Invalid("a build over a session needs the ID of the session")
		}
	default:
		if !isRemote(options.Remote) {
			return "", core.Invalid("remoteURL (%s) could not be recognized as URL", options.Remote)
		}
		request.FrontendAttrs["context"] = options.Remote
	}
	e, err := b.start(ctx)
	if err != nil {
		return "", err
	}
	stop, err := e.open(ctx, request, files, options)
	if err != nil {
		return "", err
	}
	defer stop()
	if options.Version == versionBuildKit {
		return traced(ctx, e, request, progress)
	}
	return classic(ctx, e, request, p, options, progress)
}

// cancellable registers a build under the ID that its client chose.
func (b *Builder) cancellable(ctx context.Context, id string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	if id == "" {
		id = identity.NewID()
	}
	b.mu.Lock()
	b.cancels[id] = cancel
	b.mu.Unlock()
	return ctx, func() {
		cancel()
		b.mu.Lock()
		delete(b.cancels, id)
		b.mu.Unlock()
	}
}

// Cancel ends the build of that ID. One that is not there has ended already.
func (b *Builder) Cancel(_ context.Context, buildID string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cancel, ok := b.cancels[buildID]; ok {
		cancel()
	}
	return nil
}

// isRemote knows the forms of a context elsewhere: URLs, and what git takes.
func isRemote(remote string) bool {
	if strings.HasPrefix(remote, "git@") || strings.HasPrefix(remote, "github.com/") {
		return true
	}
	parsed, err := url.Parse(remote)
	if err != nil {
		return false
	}
	switch parsed.Scheme {
	case "http", "https", "git", "ssh":
		return parsed.Host != ""
	}
	return false
}

// request turns Docker's options into those of the Dockerfile frontend.
func (b *Builder) request(options core.BuildOptions) (*controlapi.SolveRequest, error) {
	names, err := tags(options.Tags)
	if err != nil {
		return nil, err
	}
	attrs := map[string]string{"image-resolve-mode": "local"}
	if options.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	if options.NoCache {
		attrs["no-cache"] = ""
	}
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	number := func(key string, value int64) {
		if value != 0 {
			attrs[key] = strconv.FormatInt(value, 10)
		}
	}
	set("target", options.Target)
	if options.Dockerfile != "." {
		set("filename", options.Dockerfile)
	}
	set("cache-from", strings.Join(options.CacheFrom, ","))
	for name, value := range options.BuildArgs {
		if value != nil {
			attrs["build-arg:"+name] = *value
		}
	}
	for name, value := range options.Labels {
		attrs["label:"+name] = value
	}
	if options.Platform != "" {
		if _, err := platforms.Parse(options.Platform); err != nil {
			return nil, core.Invalid("%w", err)
		}
		attrs["platform"] = options.Platform
	}
	if err := b.limits(options, set, number); err != nil {
		return nil, err
	}
	request := &controlapi.SolveRequest{
		Ref:           identity.NewID(),
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attrs,
		Exporters:     []*controlapi.Exporter{{Type: exporterMoby, Attrs: map[string]string{"name": strings.Join(names, ",")}}},
		Cache:         &controlapi.CacheOptions{},
		// A classic build is not part of BuildKit's history; to keep it there costs more than a cached build takes.
		Internal: true,
	}
	switch options.NetworkMode {
	case "", "default", "bridge":
	case "host":
		attrs["force-network-mode"] = "host"
		request.Entitlements = []string{string(entitlements.EntitlementNetworkHost)}
	case "none":
		attrs["force-network-mode"] = "none"
	default:
		return nil, core.NotImplemented("network mode %q not supported by buildkit", options.NetworkMode)
	}
	if inline := options.BuildArgs["BUILDKIT_INLINE_CACHE"]; inline != nil {
		if on, err := strconv.ParseBool(*inline); err == nil && on {
			request.Cache.Exports = []*controlapi.CacheOptionsEntry{{Type: "inline"}}
		}
	}
	return request, nil
}

// limits sets what bounds the processes of the build.
func (b *Builder) limits(options core.BuildOptions, set func(key, value string), number func(key string, value int64)) error {
	var hosts []string
	for _, line := range options.ExtraHosts {
		host, ip, ok := strings.Cut(line, ":")
		switch {
		case !ok || host == "" || ip == "":
			return core.Invalid("invalid host %s", line)
		case ip != "host-gateway":
			hosts = append(hosts, host+"="+strings.Trim(ip, "[]"))
		case len(b.options.HostGateway) == 0:
			return core.Invalid("unable to derive the IP value for host-gateway")
		default:
			for _, gateway := range b.options.HostGateway {
				hosts = append(hosts, host+"="+gateway.String())
			}
		}
	}
	set("add-hosts", strings.Join(hosts, ","))
	var ulimits []string
	for _, u := range options.Ulimits {
		ulimits = append(ulimits, fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	set("ulimit", strings.Join(ulimits, ","))
	set("cgroup-parent", options.CgroupParent)
	set("cpusetcpus", options.CpusetCpus)
	set("cpusetmems", options.CpusetMems)
	number("shm-size", options.ShmSize)
	number("memory", options.Memory)
	number("memswap", options.MemorySwap)
	number("cpushares", options.CPUShares)
	number("cpuperiod", options.CPUPeriod)
	number("cpuquota", options.CPUQuota)
	return nil
}

// open gives BuildKit a session with the files and credentials of this build. A client's own session is used beside it.
func (e *engine) open(ctx context.Context, request *controlapi.SolveRequest, files *tarFS, options core.BuildOptions) (stop func(), err error) {
	if files == nil && options.SessionID != "" {
		request.Session = options.SessionID
		return func() {}, nil
	}
	// BuildKit updates the last copy of a context that has the same shared key, and takes files of equal size and time
	// for equal. Tars are often made with all times zero: only the same tar may share.
	key := identity.NewID()
	if files != nil {
		key = files.sum
	}
	own, err := session.NewSession(ctx, key)
	if err != nil {
		return nil, core.Internal("open a build session: %w", err)
	}
	request.Session = own.ID()
	if options.SessionID != "" {
		request.Session = options.SessionID
		request.FrontendAttrs["local-sessionid:context"] = own.ID()
		request.FrontendAttrs["local-sessionid:dockerfile"] = own.ID()
	}
	if files != nil {
		own.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{"context": files, "dockerfile": files}))
	}
	own.Allow(credentials{options.Auth})
	group := new(errgroup.Group)
	group.Go(func() error {
		return own.Run(ctx, func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			group.Go(func() error { return e.sessions.HandleConn(ctx, theirs, meta) })
			return ours, nil
		})
	})
	return func() {
		// A session ends with an error of its connection; what it meant for the build, the build has said.
		_ = errors.Join(own.Close(), group.Wait())
	}, nil
}

// solve runs the request and hands each status to show, which runs in one goroutine and has ended when solve returns.
func (e *engine) solve(ctx context.Context, request *controlapi.SolveRequest, show func(*controlapi.StatusResponse) error) (core.ImageID, error) {
	e.relaxed.begin()
	defer e.relaxed.end()
	statuses := make(chan *controlapi.StatusResponse, 16)
	group, groupCtx := errgroup.WithContext(ctx)
	var id core.ImageID
	group.Go(func() error {
		response, err := e.controller.Solve(groupCtx, request)
		if err != nil {
			return err
		}
		id = core.ImageID(response.ExporterResponse[exptypes.ExporterImageDigestKey])
		if id == "" {
			return core.Internal("the build gave no image")
		}
		return nil
	})
	group.Go(func() error {
		defer close(statuses)
		// The statuses of a build that failed are wanted too: they end with the build, not with its context.
		return e.controller.Status(&controlapi.StatusRequest{Ref: request.Ref},
			statusStream{stream[*controlapi.StatusResponse]{ctx: context.WithoutCancel(ctx), out: statuses}})
	})
	var shown error
	for status := range statuses {
		if shown == nil {
			shown = show(status)
		}
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return id, shown
}
