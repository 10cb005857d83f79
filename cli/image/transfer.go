package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/registry"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

// silent is where progress goes that nobody wants to see.
func silent(s *session.Session, quiet bool) *stream.Out {
	if quiet {
		return stream.NewOut(io.Discard)
	}
	return s.Out
}

// NewPull is `pull`.
func NewPull(s *session.Session) *cobra.Command {
	var all, quiet, trust bool
	var platform string
	cmd := &cobra.Command{
		Use:               "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short:             "Download an image from a registry",
		Args:              session.Exactly(1),
		ValidArgsFunction: session.CompleteImages(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reference, err := registry.Parse(args[0])
			switch {
			case err != nil:
				return err
			case all && (reference.Tag != "" || reference.Digest != ""):
				return errors.New("tag can't be used with --all-tags/-a")
			case !all && reference.Tag == "" && reference.Digest == "" && !quiet:
				fmt.Fprintln(s.Out, "Using default tag: latest")
			}
			err = registry.Pull(cmd.Context(), s, registry.PullOptions{Image: args[0], Platform: platform, All: all, Out: silent(s, quiet)})
			if err != nil {
				return err
			}
			fmt.Fprintln(s.Out, reference.String())
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all-tags", "a", false, "Download all tagged images in the repository")
	f.BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	f.StringVar(&platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Set platform if server is multi-platform capable")
	f.BoolVar(&trust, "disable-content-trust", true, "Skip image verification")
	f.Lookup("disable-content-trust").Hidden = true
	return cmd
}

// NewPush is `push`.
func NewPush(s *session.Session) *cobra.Command {
	var all, quiet, trust bool
	var platform string
	cmd := &cobra.Command{
		Use:               "push [OPTIONS] NAME[:TAG]",
		Short:             "Upload an image to a registry",
		Args:              session.Exactly(1),
		ValidArgsFunction: session.CompleteImages(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return push(cmd.Context(), s, args[0], platform, all, quiet)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all-tags", "a", false, "Push all tags of an image to the repository")
	f.BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	f.StringVar(&platform, "platform", "", "Push a platform-specific manifest as a single-platform image to the registry")
	f.BoolVar(&trust, "disable-content-trust", true, "Skip image signing")
	f.Lookup("disable-content-trust").Hidden = true
	return cmd
}

func push(ctx context.Context, s *session.Session, name, platform string, all, quiet bool) error {
	reference, err := registry.Parse(name)
	if err != nil {
		return err
	}
	if all && reference.Tag != "" {
		return errors.New("tag can't be used with --all-tags/-a")
	}
	query := url.Values{}
	if !all {
		if reference.Tag == "" && !quiet {
			fmt.Fprintln(s.Out, "Using default tag: latest")
		}
		query.Set("tag", reference.WithDefaultTag().Tag)
	}
	if platform != "" {
		p, err := parsePlatform(platform)
		if err != nil {
			return err
		}
		query.Set("platform", p)
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	header, err := registry.Header(ctx, s, reference)
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodPost, Path: "/images/" + escape(reference.Repository()) + "/push", Query: query, Header: header})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := stream.Progress(resp.Body, silent(s, quiet), nil); err != nil {
		return err
	}
	if quiet {
		fmt.Fprintln(s.Out, reference.String())
	}
	return nil
}

// parsePlatform turns os/arch[/variant] into the JSON that push, save and load take.
func parsePlatform(text string) (string, error) {
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return "", fmt.Errorf("invalid platform: %q: wanted os/arch[/variant]", text)
	}
	p := map[string]string{"os": parts[0], "architecture": parts[1]}
	if len(parts) == 3 {
		p["variant"] = parts[2]
	}
	out, err := json.Marshal(p)
	return string(out), err
}

// escape keeps the slashes of a name, which the API wants as they are.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// NewLoad is `load`.
func NewLoad(s *session.Session) *cobra.Command {
	var input string
	var quiet bool
	var platforms option.List
	cmd := &cobra.Command{
		Use:               "load [OPTIONS]",
		Short:             "Load an image from a tar archive or STDIN",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return load(cmd.Context(), s, input, quiet, platforms.Values)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	f.BoolVarP(&quiet, "quiet", "q", false, "Suppress the load output")
	f.Var(&platforms, "platform", `Load only the given platform(s). Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`)
	return cmd
}

func load(ctx context.Context, s *session.Session, path string, quiet bool, platforms []string) error {
	var input io.Reader = s.In
	if path != "" && path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if info, err := file.Stat(); err != nil || info.IsDir() {
			return fmt.Errorf("%s is not a tar archive", path)
		}
		input = file
	} else if s.In.IsTerminal() {
		return errors.New("requested load from stdin, but stdin is empty")
	}
	query := url.Values{}
	// Without a terminal the moving bars would be lost work.
	if quiet || !s.Out.IsTerminal() {
		query.Set("quiet", "1")
	}
	for _, platform := range platforms {
		p, err := parsePlatform(platform)
		if err != nil {
			return err
		}
		query.Add("platform", p)
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodPost, Path: "/images/load", Query: query, Body: input, Type: "application/x-tar"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		_, err := io.Copy(s.Out, resp.Body)
		return err
	}
	return stream.Progress(resp.Body, s.Out, nil)
}

// NewSave is `save`.
func NewSave(s *session.Session) *cobra.Command {
	var output string
	var platforms option.List
	cmd := &cobra.Command{
		Use:               "save [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Save one or more images to a tar archive (streamed to STDOUT by default)",
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteImages(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return save(cmd.Context(), s, output, args, platforms.Values)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	f.Var(&platforms, "platform", `Save only the given platform(s). Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`)
	return cmd
}

func save(ctx context.Context, s *session.Session, output string, names, platforms []string) error {
	if output == "" && s.Out.IsTerminal() {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	query := url.Values{"names": names}
	for _, platform := range platforms {
		p, err := parsePlatform(platform)
		if err != nil {
			return err
		}
		query.Add("platform", p)
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodGet, Path: "/images/get", Query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if output == "" {
		_, err := io.Copy(s.Out, resp.Body)
		return err
	}
	return stream.ToFile(output, "save image", resp.Body)
}

// NewImport is `import`.
func NewImport(s *session.Session) *cobra.Command {
	var changes option.List
	var message, platform string
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
		Short: "Import the contents from a tarball to create a filesystem image",
		Args:  session.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"changes": changes.Values}
			for key, value := range map[string]string{"message": message, "platform": platform} {
				if value != "" {
					query.Set(key, value)
				}
			}
			if len(args) > 1 {
				query.Set("repo", args[1])
			}
			return importImage(cmd.Context(), s, args[0], query)
		},
	}
	f := cmd.Flags()
	f.VarP(&changes, "change", "c", "Apply Dockerfile instruction to the created image")
	f.StringVarP(&message, "message", "m", "", "Set commit message for imported image")
	f.StringVar(&platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Set platform if server is multi-platform capable")
	return cmd
}

func importImage(ctx context.Context, s *session.Session, source string, query url.Values) error {
	request := client.Request{Method: http.MethodPost, Path: "/images/create", Query: query, Type: "application/x-tar"}
	switch {
	case source == "-":
		query.Set("fromSrc", "-")
		request.Body = s.In
	case strings.HasPrefix(source, "http://"), strings.HasPrefix(source, "https://"):
		query.Set("fromSrc", source)
	default:
		query.Set("fromSrc", "-")
		file, err := os.Open(source)
		if err != nil {
			return err
		}
		defer file.Close()
		request.Body = file
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return stream.Progress(resp.Body, s.Out, nil)
}
