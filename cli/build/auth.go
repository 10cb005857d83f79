package build

import (
	"context"

	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-engine/berth/cli/config"
)

// logins answers the daemon's questions for credentials from the configuration file and its helpers. Tokens the daemon
// fetches itself.
type logins struct {
	auth.UnimplementedAuthServer
	file *config.File
}

// Register implements session.Attachable.
func (l logins) Register(server *grpc.Server) { auth.RegisterAuthServer(server, l) }

// Credentials gives the login of a registry, or an empty one.
func (l logins) Credentials(ctx context.Context, request *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	server := request.Host
	if server == "registry-1.docker.io" || server == "docker.io" {
		server = config.IndexServer
	}
	login, err := l.file.Credentials(ctx, server)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "credentials of %s: %v", server, err)
	}
	if login.IdentityToken != "" {
		return &auth.CredentialsResponse{Secret: login.IdentityToken}, nil
	}
	return &auth.CredentialsResponse{Username: login.Username, Secret: login.Password}, nil
}
