package wire

import (
	"slices"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// ImageInspect shows everything about an image (GET /images/{name}/json). manifests adds what it consists of.
func ImageInspect(img core.Image, version Version, manifests bool) any {
	shape := &image.InspectResponse{
		ID:           string(img.ID),
		RepoTags:     list(img.RepoTags),
		RepoDigests:  list(img.RepoDigests),
		Comment:      img.Comment,
		Author:       img.Author,
		Config:       imageConfig(&img.Config),
		Architecture: img.Platform.Architecture,
		Variant:      img.Platform.Variant,
		Os:           img.Platform.OS,
		OsVersion:    img.Platform.OSVersion,
		Size:         img.Size,
		RootFS:       image.RootFS{Type: "layers", Layers: img.DiffIDs},
		Metadata:     image.Metadata{LastTagTime: img.LastTagged},
		Descriptor:   descriptor(&img),
	}
	if manifests && !version.Before(48) {
		shape.Manifests = manifestSummaries(&img)
	}
	if !img.Created.IsZero() || version.Before(44) {
		shape.Created = img.Created.UTC().Format(time.RFC3339Nano)
	}
	return legacyImage(shape, &img, version)
}

func descriptor(img *core.Image) *ocispec.Descriptor {
	return &ocispec.Descriptor{MediaType: img.MediaType, Digest: digest.Digest(img.ID), Size: img.ContentSize}
}

// manifestDescriptor describes the manifest of an image's platform; nil: it is not known.
func manifestDescriptor(img *core.Image) *ocispec.Descriptor {
	if img.Manifest == "" {
		return nil
	}
	return &ocispec.Descriptor{
		MediaType: img.ManifestType,
		Digest:    digest.Digest(img.Manifest),
		Size:      img.ManifestSize,
		Platform: &ocispec.Platform{
			OS: img.Platform.OS, Architecture: img.Platform.Architecture, Variant: img.Platform.Variant, OSVersion: img.Platform.OSVersion,
		},
	}
}

// manifestSummaries shows the one manifest of an image that is known: that of its platform.
func manifestSummaries(img *core.Image) []image.ManifestSummary {
	if img.Manifest == "" {
		return nil
	}
	manifest := manifestDescriptor(img)
	shape := image.ManifestSummary{
		ID:         img.Manifest,
		Descriptor: *manifest,
		Available:  true,
		Kind:       image.ManifestKindImage,
		ImageData:  &image.ImageProperties{Platform: *manifest.Platform, Containers: []string{}},
	}
	shape.Size.Content, shape.Size.Total = img.Stored, img.Size
	shape.ImageData.Size.Unpacked = img.Size - img.Stored
	return []image.ManifestSummary{shape}
}

func imageConfig(c *core.Config) *dockerspec.DockerOCIImageConfig {
	shape := &dockerspec.DockerOCIImageConfig{}
	shape.User = c.User
	if len(c.ExposedPorts) > 0 {
		shape.ExposedPorts = make(map[string]struct{}, len(c.ExposedPorts))
		for _, p := range c.ExposedPorts {
			shape.ExposedPorts[p.String()] = struct{}{}
		}
	}
	shape.Env = c.Env
	shape.Entrypoint = c.Entrypoint
	shape.Cmd = c.Cmd
	shape.Volumes = c.Volumes
	shape.WorkingDir = c.WorkingDir
	shape.Labels = c.Labels
	shape.StopSignal = c.StopSignal
	shape.ArgsEscaped = c.ArgsEscaped
	shape.Healthcheck = healthcheck(c.Healthcheck)
	shape.OnBuild = c.OnBuild
	shape.Shell = c.Shell
	return shape
}

// ImageList shows images (GET /images/json). manifests adds what each consists of.
func ImageList(images []core.ImageUsage, version Version, manifests bool) any {
	if version.Before(51) { // nobody counted the containers of an image, but for GET /system/df
		images = slices.Clone(images)
		for i := range images {
			images[i].Containers = -1
		}
	}
	if manifests && !version.Before(47) {
		return each(list(images), func(img core.ImageUsage) image.Summary {
			shape := imageSummary(img, version)
			shape.Manifests = manifestSummaries(&img.Image)
			return shape
		})
	}
	return imageSummaries(images, version)
}

func imageSummaries(images []core.ImageUsage, version Version) any {
	if version.Before(44) {
		return each(list(images), func(img core.ImageUsage) imageUpTo43 {
			return imageUpTo43{Summary: imageSummary(img, version), VirtualSize: img.Size}
		})
	}
	return each(list(images), func(img core.ImageUsage) image.Summary { return imageSummary(img, version) })
}

func imageSummary(img core.ImageUsage, version Version) image.Summary {
	shape := image.Summary{
		Containers:  img.Containers,
		ID:          string(img.ID),
		Labels:      img.Labels,
		ParentID:    string(img.Parent),
		Descriptor:  descriptor(&img.Image),
		RepoDigests: list(img.RepoDigests),
		RepoTags:    list(img.RepoTags),
		SharedSize:  img.SharedSize,
		Size:        img.Size,
	}
	if !img.Created.IsZero() {
		shape.Created = img.Created.Unix()
	}
	if shape.Labels == nil {
		shape.Labels = img.Config.Labels
	}
	if version.Before(48) {
		shape.Descriptor = nil
	}
	if version.Before(43) && len(img.RepoTags) == 0 && len(img.RepoDigests) == 0 {
		shape.RepoTags, shape.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}
	return shape
}

// ImageHistory shows the steps that made an image, newest first as given.
func ImageHistory(steps []core.ImageHistory) any {
	return each(list(steps), func(h core.ImageHistory) image.HistoryResponseItem {
		shape := image.HistoryResponseItem{Comment: h.Comment, CreatedBy: h.CreatedBy, ID: h.ID, Size: h.Size, Tags: h.Tags}
		if shape.ID == "" {
			shape.ID = "<missing>"
		}
		if !h.Created.IsZero() {
			shape.Created = h.Created.Unix()
		}
		return shape
	})
}

func imageDelete(d core.ImageDelete) image.DeleteResponse {
	return image.DeleteResponse{Deleted: d.Deleted, Untagged: d.Untagged}
}

// ImagesDeleted shows what DELETE /images/{name} removed.
func ImagesDeleted(deleted []core.ImageDelete) any { return each(list(deleted), imageDelete) }

// ImagesPruned shows what POST /images/prune removed.
func ImagesPruned(p core.Pruned) any {
	return image.PruneReport{ImagesDeleted: each(p.Images, imageDelete), SpaceReclaimed: p.Reclaimed}
}
