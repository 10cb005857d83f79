package build

import (
	"context"

	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-engine/berth/core"
)

// dockerHub is the name under which Docker's clients send the credentials of docker.io.
const dockerHub = "https://index.docker.io/v1/"

// credentials answers BuildKit's questions for logins with what came with the request.
type credentials struct {
	byHost map[string]core.RegistryAuth
}

// Register implements session.Attachable.
func (c credentials) Register(server *grpc.Server) { auth.RegisterAuthServer(server, c) }

// Credentials gives the login of a host, or an empty one.
func (c credentials) Credentials(_ context.Context, request *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	names := []string{request.Host, "https://" + request.Host, "http://" + request.Host}
	if request.Host == "registry-1.docker.io" || request.Host == "docker.io" {
		names = append(names, dockerHub, "docker.io", "index.docker.io")
	}
	for _, name := range names {
		login, ok := c.byHost[name]
		switch {
		case !ok:
		case login.IdentityToken != "":
			return &auth.CredentialsResponse{Secret: login.IdentityToken}, nil
		default:
			return &auth.CredentialsResponse{Username: login.Username, Secret: login.Password}, nil
		}
	}
	return &auth.CredentialsResponse{}, nil
}

// FetchToken is left to BuildKit, which asks for credentials and fetches the token itself.
func (credentials) FetchToken(context.Context, *auth.FetchTokenRequest) (*auth.FetchTokenResponse, error) {
	return nil, status.Error(codes.Unimplemented, "BuildKit fetches tokens itself")
}

// GetTokenAuthority likewise.
func (credentials) GetTokenAuthority(context.Context, *auth.GetTokenAuthorityRequest) (*auth.GetTokenAuthorityResponse, error) {
	return nil, status.Error(codes.Unimplemented, "BuildKit fetches tokens itself")
}

// VerifyTokenAuthority likewise.
func (credentials) VerifyTokenAuthority(context.Context, *auth.VerifyTokenAuthorityRequest) (*auth.VerifyTokenAuthorityResponse, error) {
	return nil, status.Error(codes.Unimplemented, "BuildKit fetches tokens itself")
}
