package registries

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	remotereference "github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"

	"github.com/berth-engine/berth/core"
)

// registryMessage is the first message in the body of a registry's refusal (OCI distribution spec, error codes).
func registryMessage(body []byte) string {
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	first := answer.Errors[0]
	return strings.TrimSpace(strings.ToLower(strings.ReplaceAll(first.Code, "_", " ")) + ": " + first.Message)
}

// PullError turns what containerd's client says into Docker's sentences.
func PullError(named reference.Named, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || isOurs(err) {
		return err
	}
	name := reference.FamiliarName(named)
	refused, isStatus := errors.AsType[remoteerrors.ErrUnexpectedStatus](err)
	switch {
	case isStatus && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden),
		errors.Is(err, docker.ErrInvalidAuthorization):
		return core.NotFound("pull access denied for %s, repository does not exist or may require 'docker login': %s", name,
			firstNonEmpty(registryMessage(refused.Body), "denied: requested access to the resource is denied"))
	case isStatus && refused.StatusCode == http.StatusTooManyRequests:
		return core.Unavailable("%s", firstNonEmpty(registryMessage(refused.Body), "toomanyrequests: the registry limits the rate of pulls"))
	case errdefs.IsNotFound(err), isStatus && refused.StatusCode == http.StatusNotFound:
		tag := "latest"
		if digested, ok := named.(reference.Digested); ok {
			return core.NotFound("manifest for %s@%s not found: manifest unknown: manifest unknown", name, digested.Digest())
		}
		if tagged, ok := named.(reference.Tagged); ok {
			tag = tagged.Tag()
		}
		return core.NotFound("manifest for %s:%s not found: manifest unknown: manifest unknown", name, tag)
	case isStatus:
		return core.Internal("received unexpected HTTP status: %s", refused.Status)
	}
	return plain(err)
}

// PushError is PullError for the other direction.
func PushError(named reference.Named, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || isOurs(err) {
		return err
	}
	refused, isStatus := errors.AsType[remoteerrors.ErrUnexpectedStatus](err)
	switch {
	case errors.Is(err, docker.ErrInvalidAuthorization), isStatus && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		if isStatus {
			return core.Forbidden("%s", firstNonEmpty(registryMessage(refused.Body), "denied: requested access to the resource is denied"))
		}
		return core.Unauthorized("push access denied for %s: no basic auth credentials", reference.FamiliarName(named))
	case isStatus:
		return core.Internal("received unexpected HTTP status: %s: %s", refused.Status, registryMessage(refused.Body))
	}
	return plain(err)
}

// plain takes containerd's words off a failure of the network, so that it reads as Docker's: Get "https://…/v2/": dial …
func plain(err error) error {
	failed, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	address, parseErr := url.Parse(failed.URL)
	if parseErr != nil {
		return core.Internal("%w", failed)
	}
	return core.Internal("%w", &url.Error{Op: "Get", URL: address.Scheme + "://" + address.Host + "/v2/", Err: failed.Err})
}

func isOurs(err error) bool {
	_, ours := errors.AsType[*core.Error](err)
	return ours
}

// statusError keeps a refusal with its body.
func statusError(response *http.Response) error {
	return remoteerrors.NewUnexpectedStatusErr(response)
}

// repositorySpec is a repository in the words of containerd's client.
func repositorySpec(named reference.Named) remotereference.Spec {
	return remotereference.Spec{Locator: named.Name()}
}
