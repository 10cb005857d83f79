package wire

import (
	"encoding/base64"
	"encoding/json"

	"github.com/moby/moby/api/types/container"

	"github.com/berth-engine/berth/core"
)

// PathStat is the value of the header X-Docker-Container-Path-Stat.
func PathStat(stat core.PathStat) (string, error) {
	raw, err := json.Marshal(container.PathStat{Name: stat.Name, Size: stat.Size, Mode: stat.Mode, Mtime: stat.Mtime, LinkTarget: stat.LinkTarget})
	return base64.StdEncoding.EncodeToString(raw), err
}

// Changes shows how a container's files differ from its image's; nothing is null, as in Docker.
func Changes(changes []core.Change) []container.FilesystemChange {
	var list []container.FilesystemChange
	for _, c := range changes {
		list = append(list, container.FilesystemChange{Kind: container.ChangeType(c.Kind), Path: c.Path})
	}
	return list
}

// DecodeCommit reads the configuration in a request for a commit; nil: the container's is to be taken.
func DecodeCommit(body []byte) (*core.Config, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var shape createRequest
	if err := decode(body, &shape); err != nil {
		return nil, err
	}
	if shape.Config == nil && shape.Cmd == nil && shape.Entrypoint == nil {
		return nil, nil
	}
	if shape.Config == nil {
		shape.Config = &container.Config{}
	}
	shape.Config.Cmd, shape.Config.Entrypoint = shape.Cmd, shape.Entrypoint
	config, err := configFrom(shape.Config)
	return &config, err
}

// CommitResponse names the image that was made.
func CommitResponse(id core.ImageID) container.CommitResponse {
	return container.CommitResponse{ID: string(id)}
}
