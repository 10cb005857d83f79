package build

import (
	"context"
	"maps"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/llbsolver/ops"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"

	"github.com/berth-engine/berth/core"
)

// hostsFunc says how a registry is reached.
type hostsFunc = docker.RegistryHosts

// exporterMoby is what buildx's docker driver asks for: an image in the daemon's own store.
const exporterMoby = "moby"

// imageWorker is BuildKit's worker with an image exporter that does as Docker's: names are completed, the image is
// unpacked and so ready to run, and one without a name is kept as dangling.
type imageWorker struct {
	*base.Worker
	danglingPrefix string
	// closed is set when the databases are: BuildKit collects garbage a second after a build, come what may.
	closed atomic.Bool
}

// GCPolicy is nothing any more once the databases are closed.
func (w *imageWorker) GCPolicy() []client.PruneInfo {
	if w.closed.Load() {
		return nil
	}
	return w.Worker.GCPolicy()
}

// Close closes the databases of the worker.
func (w *imageWorker) Close() error {
	w.closed.Store(true)
	return w.Worker.Close()
}

// Exporter finds an exporter by its name.
func (w *imageWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	if name != exporterMoby && name != client.ExporterImage {
		return w.Worker.Exporter(name, sessions)
	}
	inner, err := w.Worker.Exporter(client.ExporterImage, sessions)
	if err != nil {
		return nil, err
	}
	return &imageExporter{Exporter: inner, danglingPrefix: w.danglingPrefix}, nil
}

// ResolveSourceMetadata looks up a base image among the local ones first, as a daemon's user expects, unless the build
// asked for a pull.
func (w *imageWorker) ResolveSourceMetadata(ctx context.Context, op *pb.SourceOp, opt sourceresolver.Opt, sessions *session.Manager, job solver.JobContext) (*sourceresolver.MetaResponse, error) {
	if opt.ImageOpt != nil && isDefaultMode(opt.ImageOpt.ResolveMode) {
		local := *opt.ImageOpt
		local.ResolveMode = pb.AttrImageResolveModePreferLocal
		opt.ImageOpt = &local
	}
	return w.Worker.ResolveSourceMetadata(ctx, op, opt, sessions, job)
}

// ResolveOp does the same for the base image as a step of the build.
func (w *imageWorker) ResolveOp(v solver.Vertex, bridge frontend.FrontendLLBBridge, sessions *session.Manager, proxy worker.ProxyOpt) (solver.Op, error) {
	op, ok := v.Sys().(*pb.Op)
	if !ok {
		return w.Worker.ResolveOp(v, bridge, sessions, proxy)
	}
	source, ok := op.Op.(*pb.Op_Source)
	if !ok || !strings.HasPrefix(source.Source.Identifier, "docker-image://") || !isDefaultMode(source.Source.Attrs[pb.AttrImageResolveMode]) {
		return w.Worker.ResolveOp(v, bridge, sessions, proxy)
	}
	attrs := maps.Clone(source.Source.Attrs)
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs[pb.AttrImageResolveMode] = pb.AttrImageResolveModePreferLocal
	local := &pb.Op_Source{Source: &pb.SourceOp{Identifier: source.Source.Identifier, Attrs: attrs}}
	return ops.NewSourceOp(v, local, op.Platform, w.SourceManager, w.ParallelismSem, sessions, w)
}

func isDefaultMode(mode string) bool { return mode == "" || mode == pb.AttrImageResolveModeDefault }

type imageExporter struct {
	exporter.Exporter
	danglingPrefix string
}

// Resolve completes the attributes before BuildKit's own exporter reads them.
func (e *imageExporter) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	completed := map[string]string{
		string(exptypes.OptKeyUnpack):         "true",
		string(exptypes.OptKeyDanglingPrefix): e.danglingPrefix,
	}
	for key, value := range attrs {
		completed[key] = value
	}
	names, err := tags(strings.Split(completed[string(exptypes.OptKeyName)], ","))
	if err != nil {
		return nil, err
	}
	completed[string(exptypes.OptKeyName)] = strings.Join(names, ",")
	completed[string(exptypes.OptKeyDanglingEmptyOnly)] = "true"
	return e.Exporter.Resolve(ctx, id, completed)
}

// tags completes names ("app" is docker.io/library/app:latest), drops doubles, and refuses digests: nobody can promise
// one before the build.
func tags(names []string) ([]string, error) {
	var complete []string
	seen := map[string]bool{}
	for _, name := range names {
		if name == "" || name == "*" {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, core.Invalid("invalid tag %q: %w", name, err)
		}
		if _, ok := ref.(reference.Digested); ok {
			return nil, core.Invalid("build tag cannot contain a digest")
		}
		full := reference.TagNameOnly(ref).String()
		if !seen[full] {
			seen[full] = true
			complete = append(complete, full)
		}
	}
	return complete, nil
}

// namedImages is the image organ's store as BuildKit sees it: within the organ's namespace, which BuildKit's contexts
// lack. The organ itself sees to it that an image which loses its last name stays as a dangling one.
type namedImages struct {
	store     images.Store
	namespace string
}

func (s namedImages) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.namespace)
}

// Get finds an image by its complete name.
func (s namedImages) Get(ctx context.Context, name string) (images.Image, error) {
	return s.store.Get(s.in(ctx), name)
}

// List finds images by containerd's filters.
func (s namedImages) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return s.store.List(s.in(ctx), filters...)
}

// Create names an image.
func (s namedImages) Create(ctx context.Context, image images.Image) (images.Image, error) {
	return s.store.Create(s.in(ctx), image)
}

// Update moves a name to an image.
func (s namedImages) Update(ctx context.Context, image images.Image, fields ...string) (images.Image, error) {
	return s.store.Update(s.in(ctx), image, fields...)
}

// Delete takes a name away.
func (s namedImages) Delete(ctx context.Context, name string, options ...images.DeleteOpt) error {
	return s.store.Delete(s.in(ctx), name, options...)
}
