package layers

import (
	"context"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// EmptyChain is the chain ID of an image without layers.
const EmptyChain = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

// ChainOf and ChainID name the stack that layers make (OCI image spec, ChainID).
func ChainOf(diffIDs []string) digest.Digest {
	ids := make([]digest.Digest, len(diffIDs))
	for i, id := range diffIDs {
		ids[i] = digest.Digest(id)
	}
	return ChainID(ids)
}

func ChainID(diffIDs []digest.Digest) digest.Digest {
	if len(diffIDs) == 0 {
		return EmptyChain
	}
	return identity.ChainID(diffIDs)
}

// ChainSize is the bytes of a chain of unpacked layers.
func (l *Layers) ChainSize(ctx context.Context, chain digest.Digest) (size int64, err error) {
	if chain == EmptyChain {
		return 0, nil
	}
	for name := chain.String(); name != ""; {
		info, err := l.settings.Snapshotter.Stat(ctx, name)
		if err != nil {
			return 0, err
		}
		usage, err := l.settings.Snapshotter.Usage(ctx, name)
		if err != nil {
			return 0, err
		}
		size += usage.Size
		name = info.Parent
	}
	return size, nil
}
