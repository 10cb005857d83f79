package files

import (
	"context"
	"strings"

	"github.com/distribution/reference"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// Changes lists how a container's files differ from its image's.
func (f *Files) Changes(ctx context.Context, ref string) ([]core.Change, error) {
	c, release, err := f.keep(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer release()
	return f.ports.Layers.Changes(ctx, c.ID)
}

// keep finds a container and keeps it from being removed until release is called, but lets it start and end.
func (f *Files) keep(ctx context.Context, ref string) (*core.Container, func(), error) {
	c, release, err := f.ports.Containers.Hold(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if c.State.Status == core.StatusRemoving {
		release()
		return nil, nil, core.NoSuchContainer(ref)
	}
	return c, release, nil
}

// Commit makes an image of a container. A running one is paused meanwhile, unless the request says otherwise, so that its
// files are those of one moment.
func (f *Files) Commit(ctx context.Context, request core.CommitRequest) (core.ImageID, error) {
	if err := f.whole(request.Container, "commit"); err != nil {
		return "", err
	}
	c, _, err := f.ports.Containers.Find(request.Container)
	if err != nil {
		return "", err
	}
	if !request.NoPause && c.State.Status == core.StatusRunning {
		// One that ends, or that somebody else pauses, at this moment needs no pause.
		if err := f.ports.Freezer.Freeze(ctx, string(c.ID)); err == nil {
			defer func() {
				if err := f.ports.Freezer.Unpause(context.WithoutCancel(ctx), string(c.ID)); err != nil {
					f.ports.Logger.Warn("thaw a container after its commit", "container", c.ID, "error", err)
				}
			}()
		}
	}
	c, release, err := f.keep(ctx, string(c.ID))
	if err != nil {
		return "", err
	}
	image, err := f.commit(ctx, c, request)
	release()
	return image, err
}

func (f *Files) commit(ctx context.Context, c *core.Container, request core.CommitRequest) (core.ImageID, error) {
	commit := core.Commit{CommitRequest: request, ID: c.ID, Image: c.ImageID, Platform: c.Platform, Settings: c.Config, CreatedBy: strings.Join(c.Config.Cmd, " ")}
	if request.Config != nil {
		commit.Settings = define.Config(*request.Config, c.Config)
	}
	image, err := f.ports.Images.Commit(ctx, commit)
	if err != nil {
		return "", err
	}
	f.ports.Events.Container(c, "commit", map[string]string{"comment": request.Comment, "imageID": string(image), "imageRef": familiar(request.Ref)})
	return image, nil
}

// familiar is a name the way people write it, with its tag.
func familiar(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}
