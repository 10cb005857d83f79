package build

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/cli/session"
)

// options are the flags of `build`.
type options struct {
	tags, buildArgs, labels, annotations []string
	file, target, network                string
	platforms                            []string
	noCache, pull, quiet, load, push     bool
	noCacheFilter                        []string
	progress                             string
	secrets, ssh                         []string
	outputs                              []string
	cacheFrom, cacheTo                   []string
	addHosts, ulimits                    []string
	contexts, allow, attests             []string
	provenance, sbom                     string
	idFile, metadataFile                 string
	shmSize, cgroupParent                string
	memory, memorySwap                   string
	cpuShares, cpuPeriod, cpuQuota       int64
	cpusetCPUs, cpusetMems               string
}

// New is `build`.
func New(s *session.Session) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "build [OPTIONS] PATH | URL | -",
		Aliases: []string{"b"},
		Short:   "Build an image from a Dockerfile",
		Args:    session.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), s, args[0])
		},
	}
	f := cmd.Flags()
	f.SortFlags = true
	o.what(f)
	o.where(f)
	o.limits(f)
	ignored(f)
	return cmd
}

// what defines the flags that say what is built.
func (o *options) what(f *pflag.FlagSet) {
	f.StringVarP(&o.file, "file", "f", "", `Name of the Dockerfile (default: "PATH/Dockerfile")`)
	f.StringArrayVar(&o.buildArgs, "build-arg", nil, "Set build-time variables")
	f.StringArrayVar(&o.contexts, "build-context", nil, "Additional build contexts (e.g., name=path)")
	f.StringArrayVar(&o.labels, "label", nil, "Set metadata for an image")
	f.StringArrayVar(&o.annotations, "annotation", nil, "Add annotation to the image")
	f.StringVar(&o.target, "target", "", "Set the target build stage to build")
	f.StringSliceVar(&o.platforms, "platform", nil, "Set target platform for build")
	f.BoolVar(&o.noCache, "no-cache", false, "Do not use cache when building the image")
	f.StringSliceVar(&o.noCacheFilter, "no-cache-filter", nil, "Do not cache specified stages")
	f.BoolVar(&o.pull, "pull", false, "Always attempt to pull all referenced images")
	f.StringArrayVar(&o.cacheFrom, "cache-from", nil, `External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")`)
	f.StringArrayVar(&o.secrets, "secret", nil, `Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")`)
	f.StringArrayVar(&o.ssh, "ssh", nil, `SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")`)
	f.StringArrayVar(&o.attests, "attest", nil, `Attestation parameters (format: "type=sbom,generator=image")`)
	f.StringVar(&o.provenance, "provenance", "", `Shorthand for "--attest=type=provenance"`)
	f.StringVar(&o.sbom, "sbom", "", `Shorthand for "--attest=type=sbom"`)
}

// where defines the flags that say where the result and the progress go.
func (o *options) where(f *pflag.FlagSet) {
	f.StringArrayVarP(&o.tags, "tag", "t", nil, `Name and optionally a tag (format: "name:tag")`)
	f.StringArrayVarP(&o.outputs, "output", "o", nil, `Output destination (format: "type=local,dest=path")`)
	f.BoolVar(&o.load, "load", false, `Shorthand for "--output=type=docker"`)
	f.BoolVar(&o.push, "push", false, `Shorthand for "--output=type=registry"`)
	f.StringArrayVar(&o.cacheTo, "cache-to", nil, `Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")`)
	f.StringVar(&o.idFile, "iidfile", "", "Write the image ID to a file")
	f.StringVar(&o.metadataFile, "metadata-file", "", "Write build result metadata to a file")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the build output and print image ID on success")
	f.StringVar(&o.progress, "progress", "auto", `Set type of progress output ("auto", "plain", "tty", "quiet", "rawjson")`)
}

// limits defines the flags that bound the steps.
func (o *options) limits(f *pflag.FlagSet) {
	f.StringVar(&o.network, "network", "default", `Set the networking mode for the "RUN" instructions during build`)
	f.StringArrayVar(&o.addHosts, "add-host", nil, `Add a custom host-to-IP mapping (format: "host:ip")`)
	f.StringArrayVar(&o.allow, "allow", nil, `Allow extra privileged entitlement (e.g., "network.host", "security.insecure")`)
	f.StringVar(&o.shmSize, "shm-size", "", `Shared memory size for build containers`)
	f.StringArrayVar(&o.ulimits, "ulimit", nil, "Ulimit options")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", `Set the parent cgroup for the "RUN" instructions during build`)
	f.StringVarP(&o.memory, "memory", "m", "", "Memory limit")
	f.StringVar(&o.memorySwap, "memory-swap", "", "Swap limit equal to memory plus swap: -1 to enable unlimited swap")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Limit the CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "Limit the CPU CFS (Completely Fair Scheduler) quota")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
}

// ignored takes the flags that docker takes too and that mean nothing to BuildKit.
func ignored(f *pflag.FlagSet) {
	for _, name := range []string{"rm", "force-rm", "compress", "squash", "disable-content-trust"} {
		f.Bool(name, false, "Has no meaning with BuildKit")
	}
	f.String("isolation", "", "Has no meaning on Linux")
	f.String("builder", "", "There is one builder: the daemon")
	f.StringSlice("security-opt", nil, "Has no meaning with BuildKit")
	for _, name := range []string{"rm", "force-rm", "compress", "squash", "disable-content-trust", "isolation", "builder", "security-opt"} {
		if flag := f.Lookup(name); flag != nil {
			flag.Hidden = true
		}
	}
}
