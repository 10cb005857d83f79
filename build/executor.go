package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	containerdoci "github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/executor/oci"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/llbsolver/cdidevices"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
)

// steps executes the steps of builds: each becomes an OCI bundle that Options.Run runs. It implements BuildKit's
// executor.Executor.
type steps struct {
	root     string // holds a folder per running step, and resolv.conf and hosts, which the steps share
	cache    string // of seccomp programs
	cgroup   string
	run      func(ctx context.Context, bundle Bundle) error
	networks map[pb.NetMode]network.Provider
	devices  *cdidevices.Manager // set before the first step
	running  sync.WaitGroup
}

// wait returns when no step runs any more and all that was made for them is gone, or when that takes too long.
func (s *steps) wait() {
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * patience):
	}
}

func newExecutor(options Options, networks map[pb.NetMode]network.Provider) *steps {
	return &steps{
		root:     stepsRoot(options),
		cache:    filepath.Join(options.Root, "seccomp"),
		cgroup:   options.CgroupParent,
		run:      options.Run,
		networks: networks,
	}
}

func stepsRoot(options Options) string { return filepath.Join(options.Root, "steps") }

// undo collects what must be taken back, last first.
type undo []func() error

func (u *undo) add(f func() error) {
	if f != nil {
		*u = append(*u, f)
	}
}

func (u *undo) plain(f func()) {
	if f != nil {
		u.add(func() error { f(); return nil })
	}
}

func (u *undo) run() error {
	var errs []error
	for _, f := range slices.Backward(*u) {
		errs = append(errs, f())
	}
	*u = nil
	return errors.Join(errs...)
}

// Run executes a step and returns when its process ended and everything that was made for it is gone. started is closed
// when the process runs, or never will.
func (s *steps) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, process executor.ProcessInfo, started chan<- struct{}) (_ resourcestypes.Recorder, err error) {
	s.running.Add(1)
	defer s.running.Done()
	announce := sync.OnceFunc(func() {
		if started != nil {
			close(started)
		}
	})
	defer announce()
	if id == "" {
		id = identity.NewID()
	}
	if err := executor.ValidContainerID(id); err != nil {
		return nil, err
	}
	if process.Meta.Proxy != nil {
		return nil, core.NotImplemented("builds behind BuildKit's capturing proxy are not supported")
	}
	if process.Meta.Tty {
		return nil, core.NotImplemented("build steps with a terminal are not supported")
	}
	var cleanup undo
	defer func() {
		if undone := cleanup.run(); undone != nil {
			err = errors.Join(err, fmt.Errorf("clean up after a build step: %w", undone))
		}
	}()
	bundle, err := s.prepare(ctx, id, root, mounts, process.Meta, &cleanup)
	if err != nil {
		return nil, err
	}
	err = s.run(ctx, Bundle{
		ID: id, Dir: bundle, Cache: s.cache,
		Stdin: reader(process.Stdin), Stdout: writer(process.Stdout), Stderr: writer(process.Stderr),
		Signals: process.Signal,
		Started: announce,
	})
	return nil, exitError(ctx, err, process.Meta.ValidExitCodes)
}

// Exec runs a further process in a running step. Only interactive debuggers ask for that.
func (s *steps) Exec(context.Context, string, executor.ProcessInfo) error {
	return core.NotImplemented("a second process in a build step is not supported")
}

// prepare makes the bundle of a step: the root file system mounted, the configuration written. What it did, done or
// half done, is in cleanup.
func (s *steps) prepare(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, meta executor.Meta, cleanup *undo) (string, error) {
	provider, ok := s.networks[meta.NetMode]
	if !ok {
		return "", core.Invalid("unknown network mode %s", meta.NetMode)
	}
	space, err := provider.New(ctx, meta.Hostname, network.NamespaceOptions{})
	if err != nil {
		return "", fmt.Errorf("make the network of a build step: %w", err)
	}
	cleanup.add(space.Close)
	resolv, hosts, err := s.files(ctx, meta, cleanup)
	if err != nil {
		return "", err
	}
	bundle := filepath.Join(s.root, id)
	if err := os.Mkdir(bundle, 0o711); err != nil {
		return "", err
	}
	cleanup.add(func() error { return os.RemoveAll(bundle) })
	rootfs := filepath.Join(bundle, "rootfs")
	if err := mountRoot(ctx, root, rootfs, cleanup); err != nil {
		return "", err
	}
	// The runtime makes files and folders to mount on; what the step left empty of them must not enter the image.
	cleanup.plain(executor.MountStubsCleaner(context.WithoutCancel(ctx), rootfs, mounts, meta.RemoveMountStubsRecursive))
	uid, gid, groups, err := oci.GetUser(rootfs, meta.User)
	if err != nil {
		return "", err
	}
	options := []containerdoci.SpecOpts{oci.WithUIDGID(uid, gid, groups)}
	if meta.ReadonlyRootFS {
		options = append(options, containerdoci.WithRootFSReadonly())
	}
	spec, release, err := oci.GenerateSpec(ctx, meta, mounts, id, resolv, hosts, space, s.cgroup, oci.ProcessSandbox, nil, "", false, "", s.devices, options...)
	if err != nil {
		return "", err
	}
	cleanup.plain(release)
	spec.Root.Path = rootfs
	spec.Root.Readonly = spec.Root.Readonly || root.Readonly
	spec.Process.OOMScoreAdj = new(int) // not the daemon's
	if err := workingFolder(rootfs, meta.Cwd, int(uid), int(gid)); err != nil {
		return "", err
	}
	return bundle, writeSpec(filepath.Join(bundle, "config.json"), spec)
}

// files writes resolv.conf and hosts, which are bound into the step.
func (s *steps) files(ctx context.Context, meta executor.Meta, cleanup *undo) (resolv, hosts string, err error) {
	if err := os.MkdirAll(s.root, 0o711); err != nil {
		return "", "", err
	}
	folder, err := os.OpenRoot(s.root)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	resolv, err = oci.GetResolvConf(ctx, folder, nil, nil, meta.NetMode)
	if err != nil {
		return "", "", fmt.Errorf("write the resolv.conf of a build step: %w", err)
	}
	hosts, remove, err := oci.GetHostsFile(ctx, folder, meta.ExtraHosts, nil, meta.Hostname)
	if err != nil {
		return "", "", fmt.Errorf("write the hosts file of a build step: %w", err)
	}
	cleanup.plain(remove)
	return filepath.Join(s.root, resolv), filepath.Join(s.root, hosts), nil
}

// mountRoot mounts the layers so far with a writable one on top.
func mountRoot(ctx context.Context, root executor.Mount, rootfs string, cleanup *undo) error {
	mountable, err := root.Src.Mount(ctx, false)
	if err != nil {
		return fmt.Errorf("prepare the root file system of a build step: %w", err)
	}
	layers, release, err := mountable.Mount()
	if err != nil {
		return fmt.Errorf("prepare the root file system of a build step: %w", err)
	}
	cleanup.add(release)
	if err := os.Mkdir(rootfs, 0o700); err != nil {
		return err
	}
	if err := mount.All(layers, rootfs); err != nil {
		return errors.Join(fmt.Errorf("mount the root file system of a build step: %w", err), mount.UnmountAll(rootfs, 0))
	}
	cleanup.add(func() error { return mount.UnmountAll(rootfs, 0) })
	return nil
}

// workingFolder makes the folder that the step starts in, as WORKDIR promises. Links are followed within the root only.
func workingFolder(rootfs, cwd string, uid, gid int) error {
	folder, err := fs.RootPath(rootfs, cwd)
	if err != nil {
		return fmt.Errorf("the working folder %s points to an invalid target: %w", cwd, err)
	}
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if err := user.MkdirAllAndChown(folder, 0o755, uid, gid); err != nil {
		return fmt.Errorf("make the working folder %s: %w", cwd, err)
	}
	return nil
}

func writeSpec(path string, spec *specs.Spec) error {
	encoded, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(path, encoded, 0o600)
}

// exitError turns how a step ended into what BuildKit expects: nil when the code is an expected one, else a
// gatewaypb.ExitError. A build that was cancelled says so.
func exitError(ctx context.Context, err error, expected []int) error {
	if len(expected) == 0 {
		expected = []int{0}
	}
	exit := &gatewaypb.ExitError{Err: err, ExitCode: uint32(gatewaypb.UnknownExitStatus)}
	var code *ExitError
	switch {
	case err == nil:
		exit.ExitCode = 0
	case errors.As(err, &code):
		exit.ExitCode = uint32(code.Code)
		exit.Err = nil
		if code.OutOfMemory {
			exit.Err = errors.New("killed by the kernel: out of memory")
		}
	}
	if exit.ExitCode != uint32(gatewaypb.UnknownExitStatus) && slices.Contains(expected, int(exit.ExitCode)) {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		exit.Err = fmt.Errorf("%w: %s", cause, exit.Error())
	}
	return exit
}
