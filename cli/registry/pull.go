package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/registry"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

// PullOptions say what to pull and where to show progress.
type PullOptions struct {
	Image    string
	Platform string
	All      bool // every tag of the repository
	Out      *stream.Out
}

// Pull fetches an image with the credentials that are known for its registry.
func Pull(ctx context.Context, s *session.Session, o PullOptions) error {
	reference, err := Parse(o.Image)
	if err != nil {
		return err
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	header, err := Header(ctx, s, reference)
	if err != nil {
		return err
	}
	query := url.Values{"fromImage": {reference.Repository()}}
	switch tagged := reference.WithDefaultTag(); {
	case o.All:
	case tagged.Digest != "":
		query.Set("tag", tagged.Digest)
	default:
		query.Set("tag", tagged.Tag)
	}
	if o.Platform != "" {
		query.Set("platform", o.Platform)
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodPost, Path: "/images/create", Query: query, Header: header})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return stream.Progress(resp.Body, o.Out, nil)
}

// Header carries the credentials for a registry; empty ones too, since the daemon may ask for the header.
func Header(ctx context.Context, s *session.Session, reference Reference) (http.Header, error) {
	auth, err := s.Config().Credentials(ctx, reference.Server())
	if err != nil {
		// A broken helper must not keep public images away.
		fmt.Fprintf(s.Err, "WARNING: %v\n", err)
		auth = registry.AuthConfig{}
	}
	text, err := json.Marshal(auth)
	if err != nil {
		return nil, err
	}
	return http.Header{registry.AuthHeader: {base64.URLEncoding.EncodeToString(text)}}, nil
}
