package build

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/moby/buildkit/util/progress/progressui"
	"golang.org/x/sync/errgroup"

	"github.com/berth-engine/berth/cli/session"
)

// interrupted is the exit status of a program that ended because of Ctrl-C.
const interrupted = 130

// run builds.
func (o *options) run(ctx context.Context, s *session.Session, where string) (err error) {
	found, err := findSource(where, o.file, s.In)
	if err != nil {
		return failed(err)
	}
	defer func() { err = errors.Join(err, found.close()) }()
	request, err := o.request(s, found)
	if err != nil {
		return failed(err)
	}
	display, err := o.display(s)
	if err != nil {
		return failed(err)
	}
	daemon, err := s.Client()
	if err != nil {
		return err
	}
	builder, err := connect(ctx, daemon)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, builder.Close()) }()
	if err := hostGateways(ctx, builder, request.FrontendAttrs); err != nil {
		return failed(err)
	}
	response, err := solve(ctx, builder, request, display)
	if err != nil {
		return o.explain(ctx, s, err)
	}
	return o.report(s, request.Ref, response)
}

// failed is an error before or in the build, as docker words it.
func failed(err error) error {
	return &session.ExitError{Code: 1, Text: "ERROR: " + err.Error()}
}

// request puts everything together that the daemon is asked for.
func (o *options) request(s *session.Session, found *source) (client.SolveOpt, error) {
	var request client.SolveOpt
	attrs, err := o.attributes(s.Proxy())
	if err != nil {
		return request, err
	}
	maps.Copy(attrs, found.attrs)
	found.attrs = attrs
	if err := found.named(o.contexts); err != nil {
		return request, err
	}
	request = client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: attrs,
		LocalMounts:   found.mounts,
		SharedKey:     found.shared,
		Session:       append(found.attach, logins{file: s.Config()}),
		Ref:           identity.NewID(),
		// BuildKit's history of builds, which nothing of ours shows, would cost as much as a cached build takes.
		Internal: true,
	}
	if request.Exports, err = o.exports(s); err != nil {
		return request, err
	}
	if request.CacheImports, err = caches(o.cacheFrom, false); err != nil {
		return request, err
	}
	if request.CacheExports, err = caches(o.cacheTo, true); err != nil {
		return request, err
	}
	for _, name := range o.allow {
		if _, _, err := entitlements.Parse(name); err != nil {
			return request, err
		}
	}
	request.AllowedEntitlements = o.allow
	if o.network == "host" {
		request.AllowedEntitlements = append(request.AllowedEntitlements, string(entitlements.EntitlementNetworkHost))
	}
	return request, o.attach(&request)
}

// attach offers the daemon the secrets and SSH agents of the flags.
func (o *options) attach(request *client.SolveOpt) error {
	if len(o.secrets) > 0 {
		offer, err := secrets(o.secrets)
		if err != nil {
			return err
		}
		request.Session = append(request.Session, offer)
	}
	if len(o.ssh) > 0 {
		offer, err := agents(o.ssh)
		if err != nil {
			return err
		}
		request.Session = append(request.Session, offer)
	}
	return nil
}

// hostGateways replaces "host-gateway" in --add-host by the address that the daemon gives.
func hostGateways(ctx context.Context, builder *client.Client, attrs map[string]string) error {
	hosts := attrs["add-hosts"]
	if !strings.Contains(hosts, "="+hostGateway) {
		return nil
	}
	workers, err := builder.ListWorkers(ctx)
	if err != nil {
		return err
	}
	for _, worker := range workers {
		if address := worker.Labels["org.mobyproject.buildkit.worker.moby.host-gateway-ip"]; address != "" {
			attrs["add-hosts"] = strings.ReplaceAll(hosts, "="+hostGateway, "="+address)
			return nil
		}
	}
	return errors.New("unable to derive the IP value for host-gateway")
}

// display is how progress is shown: live on a terminal, as lines in a pipe.
func (o *options) display(s *session.Session) (progressui.Display, error) {
	mode := progressui.DisplayMode(o.progress)
	if mode == progressui.AutoMode || mode == progressui.DefaultMode {
		if wanted := os.Getenv("BUILDKIT_PROGRESS"); wanted != "" {
			mode = progressui.DisplayMode(wanted)
		}
	}
	if o.quiet {
		if o.progress != "auto" && o.progress != "quiet" {
			return progressui.Display{}, fmt.Errorf("progress=%s and quiet cannot be used together", o.progress)
		}
		mode = progressui.QuietMode
	}
	return progressui.NewDisplay(s.Err.Writer, mode)
}

// solve asks the daemon to build and shows what it does. The display goes on to the end of what the daemon said, also
// when the build failed.
func solve(ctx context.Context, builder *client.Client, request client.SolveOpt, display progressui.Display) (*client.SolveResponse, error) {
	statuses := make(chan *client.SolveStatus)
	var group errgroup.Group
	group.Go(func() error {
		_, err := display.UpdateFrom(context.WithoutCancel(ctx), statuses)
		return err
	})
	response, err := builder.Solve(ctx, nil, request, statuses)
	return response, errors.Join(err, group.Wait())
}

// explain shows the place in the Dockerfile and says what went wrong.
func (o *options) explain(ctx context.Context, s *session.Session, err error) error {
	if ctx.Err() != nil {
		return &session.ExitError{Code: interrupted, Text: "ERROR: failed to build: " + err.Error()}
	}
	for _, place := range errdefs.Sources(err) {
		if printErr := place.Print(s.Err); printErr != nil {
			return errors.Join(err, printErr)
		}
	}
	return failed(fmt.Errorf("failed to build: %w", err))
}

// report says the ID and writes what --iidfile and --metadata-file ask for.
func (o *options) report(s *session.Session, ref string, response *client.SolveResponse) error {
	id := response.ExporterResponse[exptypes.ExporterImageDigestKey]
	if o.idFile != "" && id != "" {
		if err := os.WriteFile(o.idFile, []byte(id), 0o666); err != nil {
			return fmt.Errorf("write the image ID: %w", err)
		}
	}
	if o.metadataFile != "" {
		if err := writeMetadata(o.metadataFile, ref, response.ExporterResponse); err != nil {
			return fmt.Errorf("write the metadata: %w", err)
		}
	}
	if o.quiet && id != "" {
		_, err := fmt.Fprintln(s.Out, id)
		return err
	}
	return nil
}

// writeMetadata writes what the exporters answered. Values that are JSON in base64 become JSON.
func writeMetadata(path, ref string, answers map[string]string) error {
	metadata := map[string]any{"buildx.build.ref": ref}
	for key, value := range answers {
		metadata[key] = value
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(decoded) == 0 || (decoded[0] != '{' && decoded[0] != '[') || !json.Valid(decoded) {
			continue
		}
		metadata[key] = json.RawMessage(decoded)
	}
	text, err := json.MarshalIndent(metadata, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
