package build

import (
	"context"
	"sync"

	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// providers are the networks that a step can ask for.
func providers(options Options) map[pb.NetMode]network.Provider {
	host := network.NewHostProvider()
	all := map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: host,
		pb.NetMode_HOST:  host,
		pb.NetMode_NONE:  network.NewNoneProvider(),
	}
	if options.Network != nil {
		all[pb.NetMode_UNSET] = bridge{open: options.Network}
	}
	return all
}

// bridge gives each step a namespace of its own on the default bridge.
type bridge struct {
	open func(ctx context.Context) (path string, release func() error, err error)
}

// New opens a namespace. The hostname is the runtime's business.
func (p bridge) New(ctx context.Context, _ string, _ network.NamespaceOptions) (network.Namespace, error) {
	path, release, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	return &namespace{path: path, release: release}, nil
}

// Close has nothing to do: every namespace is released with its step.
func (bridge) Close() error { return nil }

type namespace struct {
	path    string
	once    sync.Once
	release func() error
	err     error
}

// Set puts the namespace into the spec, in place of a new one.
func (n *namespace) Set(spec *specs.Spec) error {
	for i := range spec.Linux.Namespaces {
		if spec.Linux.Namespaces[i].Type == specs.NetworkNamespace {
			spec.Linux.Namespaces[i].Path = n.path
			return nil
		}
	}
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: n.path})
	return nil
}

// Sample gives no numbers: traffic of steps is not counted.
func (n *namespace) Sample() (*resourcestypes.NetworkSample, error) { return nil, nil }

// Close lets the namespace go; BuildKit may call it twice.
func (n *namespace) Close() error {
	n.once.Do(func() { n.err = n.release() })
	return n.err
}
