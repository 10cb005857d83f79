package volume

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

	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

// compressions are told by the endings of files.
var compressions = []struct{ ending, format string }{{".gz", "gzip"}, {".tgz", "gzip"}, {".zst", "zstd"}, {".tzst", "zstd"}}

func newExport(s *session.Session) *cobra.Command {
	var output, snapshot, compression string
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] VOLUME",
		Short: "Write what a volume holds as a tar archive to a file or STDOUT",
		Long: "Write what a volume holds as a tar archive to a file or STDOUT, with owners, modes and extended attributes.\n" +
			"A volume that is being written to is read as it is at the time: export a snapshot to have the content of one moment.",
		Args:              session.Exactly(1),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (output == "" || output == "-") && s.Out.IsTerminal() {
				return errors.New("refusing to write a tar archive to the terminal: use -o FILE or redirect")
			}
			for _, c := range compressions {
				if compression == "" && strings.HasSuffix(output, c.ending) {
					compression = c.format
				}
			}
			query := url.Values{}
			for key, value := range map[string]string{"snapshot": snapshot, "compression": compression} {
				if value != "" {
					query.Set(key, value)
				}
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			resp, err := api.Send(cmd.Context(), client.Request{Method: http.MethodGet, Path: path(args[0]) + "/export", Query: query})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if output == "" || output == "-" {
				_, err := io.Copy(s.Out, resp.Body)
				return err
			}
			return stream.ToFile(output, "export volume", stream.Metered(resp.Body, s.Err, args[0], "Exporting", 0))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT; .gz, .tgz, .zst and .tzst are compressed")
	f.StringVar(&snapshot, "snapshot", "", "Export this snapshot of the volume")
	f.StringVar(&compression, "compression", "", `Compress ("gzip", "zstd", "none")`)
	return cmd
}

func newImport(s *session.Session) *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] VOLUME [FILE|-]",
		Short: "Make or fill a volume from a tar archive, compressed or not",
		Long: "Make or fill a volume from a tar archive, compressed or not. The volume holds what it held until all of the archive is there;\n" +
			"one that is not empty is replaced as a whole, and only with --replace.",
		Args:              session.Between(1, 2),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var input io.Reader = s.In
			size := int64(0)
			if len(args) == 2 && args[1] != "-" {
				file, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer file.Close()
				info, err := file.Stat()
				if err != nil || info.IsDir() {
					return fmt.Errorf("%s is not a tar archive", args[1])
				}
				input, size = file, info.Size()
			} else if s.In.IsTerminal() {
				return errors.New("requested import from stdin, but stdin is empty")
			}
			query := url.Values{}
			if replace {
				query.Set("replace", "1")
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			// Not as a file: the client would close it, and know its size, which a pipe has not either.
			body := io.NopCloser(stream.Metered(input, s.Err, args[0], "Importing", size))
			resp, err := api.Send(cmd.Context(), client.Request{Method: http.MethodPost, Path: path(args[0]) + "/import", Query: query, Body: body, Type: "application/x-tar"})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var made volume.Volume
			if err := json.NewDecoder(resp.Body).Decode(&made); err != nil {
				return fmt.Errorf("the daemon's answer is not what was expected: %w", err)
			}
			fmt.Fprintln(s.Out, made.Name)
			return nil
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "Replace what the volume holds")
	return cmd
}

// work runs a long work and shows how far it is; result gets what it made.
func work(ctx context.Context, s *session.Session, where string, query url.Values, result any) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodPost, Path: where, Query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var wrong error
	done := result == nil
	err = stream.Progress(resp.Body, s.Err, func(raw json.RawMessage) { wrong, done = json.Unmarshal(raw, result), true })
	if err = errors.Join(err, wrong); err != nil {
		return err
	}
	if !done {
		return errors.New("the daemon went away before the work was done")
	}
	return nil
}

// noPause is the flag of what reads a volume that running containers may write to.
func noPause(cmd *cobra.Command, value *bool) {
	cmd.Flags().BoolVar(value, "no-pause", false, "Do not pause the containers that use the volume meanwhile")
}

func pausing(query url.Values, no bool) url.Values {
	if no {
		query.Set("pause", "0")
	}
	return query
}

func newClone(s *session.Session) *cobra.Command {
	var snapshot string
	var hot bool
	cmd := &cobra.Command{
		Use:   "clone [OPTIONS] VOLUME NEW",
		Short: "Make a volume with the content of another one",
		Long: "Make a volume with the content, labels and options of another one, or of a snapshot of it. Running containers that use it are\n" +
			"paused meanwhile. Where the file system can (btrfs, XFS), content is shared until one of the two changes.",
		Args:              session.Exactly(2),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := pausing(url.Values{"name": {args[1]}}, hot)
			if snapshot != "" {
				query.Set("snapshot", snapshot)
			}
			var made volume.Volume
			if err := work(cmd.Context(), s, path(args[0])+"/clone", query, &made); err != nil {
				return err
			}
			fmt.Fprintln(s.Out, made.Name)
			return nil
		},
	}
	noPause(cmd, &hot)
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "Clone this snapshot of the volume")
	return cmd
}

func newRename(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "rename VOLUME NEW",
		Short:             "Give a volume another name",
		Long:              "Give a volume another name. Containers, running or not, must not refer to the old one.",
		Args:              session.Exactly(2),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			return api.Post(cmd.Context(), path(args[0])+"/rename", url.Values{"name": {args[1]}}, nil, nil)
		},
	}
}
