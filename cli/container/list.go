package container

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

type listing struct {
	quiet, size, all, noTrunc, latest, asJSON bool
	last                                      int
	format                                    string
	filter                                    option.Filters
}

const listTable = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

// Headers are the titles of the columns of a list of containers.
func Headers() format.Headers {
	return format.Headers{
		"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
		"RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Labels": "LABELS",
		"Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Platform": "PLATFORM", "HealthStatus": "HEALTH STATUS",
	}
}

// NewList is `ps` and `container ls`, by name.
func NewList(s *session.Session, name string, aliases ...string) *cobra.Command {
	var o listing
	cmd := &cobra.Command{
		Use:               name + " [OPTIONS]",
		Annotations:       session.Brief,
		Short:             "List containers",
		Aliases:           aliases,
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only display container IDs")
	f.BoolVarP(&o.size, "size", "s", false, "Display total file sizes")
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVarP(&o.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	f.IntVarP(&o.last, "last", "n", -1, "Show n last created containers (includes all states)")
	f.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	format.Flag(f, &o.format, &o.asJSON)
	return cmd
}

func (o *listing) run(ctx context.Context, s *session.Session) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	text := o.format
	if o.asJSON {
		text = "json"
	}
	if text == "" && !o.quiet {
		text = s.Config().PsFormat
	}
	query := url.Values{}
	if o.all {
		query.Set("all", "1")
	}
	if o.latest && o.last == -1 {
		o.last = 1
	}
	if o.last > 0 {
		query.Set("limit", strconv.Itoa(o.last))
	}
	if o.size || strings.Contains(text, ".Size") {
		query.Set("size", "1")
	}
	if f := o.filter.Encode(); f != "" {
		query.Set("filters", f)
	}
	var list []container.Summary
	if err := api.Get(ctx, "/containers/json", query, &list); err != nil {
		return err
	}
	standard := listTable
	switch {
	case o.quiet && (text == "" || text == "table"):
		text = "{{.ID}}"
	case o.size:
		standard += "\t{{.Size}}"
	}
	return format.Rows(format.Table{Out: s.Out, Format: text, Default: standard, Headers: Headers()}, Rows(list, !o.noTrunc, time.Now()))
}

// Row shows a container in a list. Its methods are the placeholders of --format.
type Row struct {
	c     container.Summary
	short bool
	now   time.Time
}

// Rows makes rows of containers.
func Rows(list []container.Summary, short bool, now time.Time) []Row {
	rows := make([]Row, len(list))
	for i, c := range list {
		rows[i] = Row{c, short, now}
	}
	return rows
}

// ID of the container.
func (r Row) ID() string { return format.ID(r.c.ID, r.short) }

// Names of the container; with links of others only when nothing is shortened.
func (r Row) Names() string {
	var names []string
	for _, name := range r.c.Names {
		name = strings.TrimPrefix(name, "/")
		if r.short && strings.Contains(name, "/") {
			continue
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// Image as the user wrote it.
func (r Row) Image() string {
	if r.c.Image == "" {
		return "<no image>"
	}
	if r.short && r.c.Image == r.c.ImageID {
		return format.ShortID(r.c.Image)
	}
	if r.short {
		if name, digest, found := strings.Cut(r.c.Image, "@"); found && digest != "" {
			return name
		}
	}
	return r.c.Image
}

// Command in quotes.
func (r Row) Command() string {
	command := r.c.Command
	if r.short {
		command = format.Ellipsis(command, 20)
	}
	return strconv.Quote(command)
}

// CreatedAt is the moment of creation.
func (r Row) CreatedAt() string { return time.Unix(r.c.Created, 0).String() }

// RunningFor is how long ago it was created.
func (r Row) RunningFor() string {
	return units.HumanDuration(r.now.Sub(time.Unix(r.c.Created, 0))) + " ago"
}

// Ports that are exposed and published.
func (r Row) Ports() string { return Ports(r.c.Ports) }

// State is a word: running, exited.
func (r Row) State() string { return string(r.c.State) }

// Status is the state in words.
func (r Row) Status() string { return r.c.Status }

// HealthStatus is the verdict of the health check.
func (r Row) HealthStatus() string {
	if r.c.Health == nil || r.c.Health.Status == container.NoHealthcheck {
		return ""
	}
	return string(r.c.Health.Status)
}

// Size of the writable layer, and of all layers.
func (r Row) Size() string {
	size := format.Size(r.c.SizeRw)
	if r.c.SizeRootFs > 0 {
		size += " (virtual " + format.Size(r.c.SizeRootFs) + ")"
	}
	return size
}

// Labels as pairs.
func (r Row) Labels() string { return format.Labels(r.c.Labels) }

// Label is the value of one label.
func (r Row) Label(name string) string { return r.c.Labels[name] }

// Mounts by name or source.
func (r Row) Mounts() string {
	var names []string
	for _, m := range r.c.Mounts {
		name := m.Name
		if name == "" {
			name = m.Source
		}
		if r.short {
			name = format.Ellipsis(name, 15)
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// LocalVolumes is the number of volumes.
func (r Row) LocalVolumes() string {
	count := 0
	for _, m := range r.c.Mounts {
		if m.Driver == "local" {
			count++
		}
	}
	return strconv.Itoa(count)
}

// Networks by name.
func (r Row) Networks() string {
	if r.c.NetworkSettings == nil {
		return ""
	}
	var names []string
	for name := range r.c.NetworkSettings.Networks {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ",")
}

// Platform of the image.
func (r Row) Platform() string {
	if r.c.ImageManifestDescriptor == nil || r.c.ImageManifestDescriptor.Platform == nil {
		return ""
	}
	p := r.c.ImageManifestDescriptor.Platform
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// Ports shows ports as `0.0.0.0:8080->80/tcp, 443/tcp`; neighbours are joined to ranges.
func Ports(ports []container.PortSummary) string {
	sorted := append([]container.PortSummary(nil), ports...)
	sort.Slice(sorted, func(i, j int) bool { return portLess(sorted[i], sorted[j]) })
	var open []portGroup
	var texts, published []string
	for _, p := range sorted {
		// A port that has another number on the host is shown by itself.
		if p.PublicPort != 0 && p.PrivatePort != p.PublicPort {
			published = append(published, fmt.Sprintf("%s:%d->%d/%s", hostText(p.IP), p.PublicPort, p.PrivatePort, p.Type))
			continue
		}
		if i := groupFor(open, p); i >= 0 {
			open[i].last = p.PrivatePort
			continue
		}
		open = append(open, portGroup{ip: p.IP, protocol: p.Type, public: p.PublicPort != 0, first: p.PrivatePort, last: p.PrivatePort})
	}
	// By address first; what is only exposed has none and comes behind.
	sort.SliceStable(open, func(i, j int) bool { return open[i].key() < open[j].key() })
	for _, g := range open {
		texts = append(texts, g.String())
	}
	return strings.Join(append(texts, published...), ", ")
}

type portGroup struct {
	ip          netip.Addr
	protocol    string
	public      bool
	first, last uint16
}

func groupFor(groups []portGroup, p container.PortSummary) int {
	for i := len(groups) - 1; i >= 0; i-- {
		g := groups[i]
		if g.ip == p.IP && g.protocol == p.Type && g.public == (p.PublicPort != 0) && (g.last == p.PrivatePort || g.last+1 == p.PrivatePort) {
			return i
		}
	}
	return -1
}

func (g portGroup) key() string {
	if !g.public {
		return g.protocol
	}
	return hostText(g.ip) + "/" + g.protocol
}

func (g portGroup) String() string {
	numbers := strconv.Itoa(int(g.first))
	if g.first != g.last {
		numbers += "-" + strconv.Itoa(int(g.last))
	}
	if g.public {
		return fmt.Sprintf("%s:%s->%s/%s", hostText(g.ip), numbers, numbers, g.protocol)
	}
	return numbers + "/" + g.protocol
}

func hostText(ip netip.Addr) string {
	switch {
	case !ip.IsValid():
		return ""
	case ip.Is6():
		return "[" + ip.String() + "]"
	}
	return ip.String()
}

func portLess(a, b container.PortSummary) bool {
	switch {
	case a.PrivatePort != b.PrivatePort:
		return a.PrivatePort < b.PrivatePort
	case a.IP != b.IP:
		return a.IP.Less(b.IP)
	case a.PublicPort != b.PublicPort:
		return a.PublicPort < b.PublicPort
	}
	return a.Type < b.Type
}
