package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/registry"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

// creation is what `run` and `create` share.
type creation struct {
	definition
	name, platform, pull string
	quiet, trustDisabled bool
}

// daemonFailure is the exit code when the container could not be made or started, to tell it from the container's own.
const daemonFailure = 125

func (c *creation) flags(cmd *cobra.Command, s *session.Session) {
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&c.name, "name", "", "Assign a name to the container")
	f.StringVar(&c.platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Set platform if server is multi-platform capable")
	f.StringVar(&c.pull, "pull", "missing", `Pull image before running ("always", "missing", "never")`)
	f.BoolVarP(&c.quiet, "quiet", "q", false, "Suppress the pull output")
	f.BoolVar(&c.trustDisabled, "disable-content-trust", true, "Skip image verification")
	hide(f, "disable-content-trust")
	// -h is the host name here.
	f.Bool("help", false, "Print usage")
	c.definition.flags(f)
	completeRunFlags(cmd, s)
}

func (c *creation) check() error {
	switch c.pull {
	case "always", "missing", "never":
	default:
		return fmt.Errorf("invalid pull option: '%s': must be one of %q, %q or %q", c.pull, "always", "missing", "never")
	}
	if c.cidfile != "" {
		if _, err := os.Stat(c.cidfile); err == nil {
			return fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", c.cidfile)
		}
	}
	return nil
}

// proxies adds the variables that the configuration has for containers, below what the flags say.
func (c *creation) proxies(s *session.Session) {
	given := option.PairMap(c.env.Values)
	variables := s.Proxy().Variables()
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if _, twice := given[name]; !twice {
			c.env.Values = append(c.env.Values, name+"="+variables[name])
		}
	}
}

// create makes the container, pulling its image when it is not there, and gives its ID.
func (c *creation) create(ctx context.Context, s *session.Session, api *client.Client, request *container.CreateRequest) (string, error) {
	var cidfile *os.File
	if c.cidfile != "" {
		f, err := os.OpenFile(c.cidfile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return "", fmt.Errorf("failed to create the container ID file: %w", err)
		}
		cidfile = f
	}
	id, err := c.createOrPull(ctx, s, api, request)
	if cidfile == nil {
		return id, err
	}
	if err != nil {
		return "", errors.Join(err, cidfile.Close(), os.Remove(c.cidfile))
	}
	_, err = cidfile.WriteString(id)
	if err = errors.Join(err, cidfile.Close()); err != nil {
		return "", fmt.Errorf("failed to write the container ID to the file: %w", err)
	}
	return id, nil
}

func (c *creation) createOrPull(ctx context.Context, s *session.Session, api *client.Client, request *container.CreateRequest) (string, error) {
	reference, err := registry.Parse(request.Image)
	if err != nil && !registry.LooksLikeID(request.Image) {
		return "", err
	}
	if c.pull == "always" {
		if err := c.pullImage(ctx, s, request.Image); err != nil {
			return "", err
		}
	}
	response, err := c.post(ctx, api, request)
	if client.IsNotFound(err) && c.pull == "missing" && reference.Name != "" && isNoSuchImage(err) {
		fmt.Fprintf(s.Err, "Unable to find image '%s' locally\n", reference.Familiar())
		if err := c.pullImage(ctx, s, request.Image); err != nil {
			return "", err
		}
		response, err = c.post(ctx, api, request)
	}
	if err != nil {
		return "", err
	}
	for _, warning := range response.Warnings {
		fmt.Fprintf(s.Err, "WARNING: %s\n", warning)
	}
	return response.ID, nil
}

func (c *creation) post(ctx context.Context, api *client.Client, request *container.CreateRequest) (container.CreateResponse, error) {
	query := url.Values{}
	if c.name != "" {
		query.Set("name", c.name)
	}
	if c.platform != "" {
		query.Set("platform", c.platform)
	}
	var response container.CreateResponse
	err := api.Post(ctx, "/containers/create", query, request, &response)
	return response, err
}

func (c *creation) pullImage(ctx context.Context, s *session.Session, image string) error {
	// What is pulled is no output of the container.
	out := s.Err
	if c.quiet {
		out = stream.NewOut(io.Discard)
	}
	return registry.Pull(ctx, s, registry.PullOptions{Image: image, Platform: c.platform, Out: out})
}

// NewCreate is `create`.
func NewCreate(s *session.Session) *cobra.Command {
	var c creation
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create a new container",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeImages(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.image, c.args = args[0], args[1:]
			if err := c.check(); err != nil {
				return session.WithHelp(cmd, err, daemonFailure)
			}
			c.proxies(s)
			request, err := c.request(cmd.Flags())
			if err != nil {
				return session.WithHelp(cmd, err, daemonFailure)
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			id, err := c.create(cmd.Context(), s, api, request)
			if err != nil {
				return err
			}
			fmt.Fprintln(s.Out, id)
			return nil
		},
	}
	c.flags(cmd, s)
	return cmd
}

// isNoSuchImage tells a missing image from other things that a creation may not find (a network, a container).
func isNoSuchImage(err error) bool {
	return strings.Contains(strings.ToLower(client.Message(err)), "no such image")
}
