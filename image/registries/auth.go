package registries

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/berth-engine/berth/core"
)

// fixedToken is an authorizer for a bearer token that the client brought along. It goes to one host only: a redirect
// to a content network must not see it.
type fixedToken struct{ token, host string }

// Authorize adds the token to a request.
func (f fixedToken) Authorize(_ context.Context, request *http.Request) error {
	if request.URL.Host == f.host {
		request.Header.Set("Authorization", "Bearer "+f.token)
	}
	return nil
}

// AddResponses is told of a refusal: there is no other token to try.
func (f fixedToken) AddResponses(context.Context, []*http.Response) error {
	return docker.ErrInvalidAuthorization
}

// Login checks credentials against a registry. With a token service that hands out refresh tokens the answer has one,
// to be kept in place of the password.
func (r Config) Login(ctx context.Context, auth core.RegistryAuth) (status, identityToken string, err error) {
	host := registryOf(auth.ServerAddress)
	hosts, err := r.Hosts(&auth)(host)
	if err != nil {
		return "", "", err
	}
	registry := hosts[len(hosts)-1]
	if auth.RegistryToken == "" {
		registry.Authorizer = docker.NewDockerAuthorizer(docker.WithAuthClient(registry.Client), docker.WithAuthHeader(registry.Header),
			docker.WithAuthCreds(credentials(auth, registry.Host)), docker.WithFetchRefreshToken(func(_ context.Context, token string, _ *http.Request) {
				identityToken = token
			}))
	}
	address := url.URL{Scheme: registry.Scheme, Host: registry.Host, Path: registry.Path + "/"}
	response, err := authorized(ctx, registry, address.String())
	if err != nil {
		return "", "", loginError(address.String(), err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", "", core.Unauthorized("login attempt to %s failed with status: %s", address.String(), response.Status)
	}
	return "Login Succeeded", identityToken, nil
}

func loginError(address string, err error) error {
	if refused, ok := errors.AsType[remoteerrors.ErrUnexpectedStatus](err); ok && refused.StatusCode < 500 {
		return core.Unauthorized("Get %q: unauthorized: %s", address, firstNonEmpty(registryMessage(refused.Body), "incorrect username or password"))
	}
	if errors.Is(err, docker.ErrInvalidAuthorization) {
		return core.Unauthorized("Get %q: no basic auth credentials", address)
	}
	return plain(err)
}

// registryOf is the host in a server's address as clients keep it ("https://index.docker.io/v1/", "localhost:5000").
func registryOf(address string) string {
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	host, _, _ := strings.Cut(address, "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return host
}

// authorized sends a GET request, and once more with what the registry asks for when it is refused.
func authorized(ctx context.Context, registry docker.RegistryHost, address string) (*http.Response, error) {
	var responses []*http.Response
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		request.Header = registry.Header.Clone()
		if err := registry.Authorizer.Authorize(ctx, request); err != nil {
			return nil, err
		}
		response, err := registry.Client.Do(request)
		if err != nil {
			return nil, err
		}
		responses = append(responses, response)
		if response.StatusCode != http.StatusUnauthorized || len(responses) > 2 {
			return response, nil
		}
		err = registry.Authorizer.AddResponses(ctx, responses)
		if closeErr := response.Body.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
	}
}

func firstNonEmpty(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
