package registries

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"

	"github.com/berth-engine/berth/core"
)

// tagsLimit bounds one page of a list of tags, in bytes.
const tagsLimit = 16 << 20

// ListTags asks a registry for the tags of a repository (OCI distribution spec, "Listing Tags").
func ListTags(ctx context.Context, named reference.Named, hosts docker.RegistryHosts) ([]string, error) {
	all, err := hosts(reference.Domain(named))
	if err != nil {
		return nil, err
	}
	ctx, err = docker.ContextWithRepositoryScope(ctx, repositorySpec(named), false)
	if err != nil {
		return nil, err
	}
	registry := all[len(all)-1]
	base := url.URL{Scheme: registry.Scheme, Host: registry.Host}
	next := path.Join(registry.Path, reference.Path(named), "tags/list")
	var tags []string
	for pages := 0; next != ""; pages++ {
		if pages > 1000 {
			return nil, core.Internal("the registry's list of tags does not end")
		}
		address, err := base.Parse(next)
		if err != nil || address.Host != base.Host {
			return nil, core.Internal("the registry's list of tags continues at an invalid place: %q", next)
		}
		var page struct{ Tags []string }
		if next, err = getPage(ctx, registry, address.String(), &page); err != nil {
			return nil, err
		}
		tags = append(tags, page.Tags...)
	}
	if len(tags) == 0 {
		return nil, core.NotFound("No tags found for repository %s", reference.FamiliarName(named))
	}
	return tags, nil
}

// getPage reads one page of a list and says where the next one is.
func getPage(ctx context.Context, registry docker.RegistryHost, address string, into any) (next string, err error) {
	response, err := authorized(ctx, registry, address)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		return "", statusError(response)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, tagsLimit)).Decode(into); err != nil {
		return "", fmt.Errorf("list of tags: %w", err)
	}
	link, _, found := strings.Cut(response.Header.Get("Link"), ">")
	if !found {
		return "", nil
	}
	return strings.TrimPrefix(link, "<"), nil
}
