package container

import (
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/cli/option"
)

// definition is what the flags of `run` and `create` say of a container.
type definition struct {
	attach, publish, expose, volumes, volumesFrom, tmpfs              option.List
	env, envFiles, labels, labelFiles                                 option.List
	devices, deviceRules, capAdd, capDrop, groups, security           option.List
	dns, dnsOptions, dnsSearch, hosts, links, aliases, linkLocal      option.List
	logOptions, storageOptions                                        option.List
	sysctls, annotations                                              option.Map
	mounts                                                            option.Mounts
	networks                                                          option.Networks
	gpus                                                              option.GPUs
	ulimits                                                           option.Ulimits
	umask                                                             option.Umask
	cpus                                                              option.CPUs
	memory, memoryReservation, shmSize, ioBandwidth, kernelMemory     option.Bytes
	memorySwap                                                        option.Bytes
	blkioWeights                                                      option.Weights
	readBps, writeBps, readIOps, writeIOps                            option.Rates
	blkioWeight                                                       uint16
	ip, ip6                                                           net.IP
	mac, hostname, domainname, user, workdir, entrypoint              string
	restart, stopSignal, userns, cgroupns, ipc, pid, uts              string
	isolation, runtime, cgroupParent, cidfile, logDriver              string
	volumeDriver, cpusetCPUs, cpusetMems, healthCommand               string
	healthOnFailure                                                   string
	stdin, tty, remove, privileged, publishAll, readOnly              bool
	init, noHealthcheck, oomKillDisable                               bool
	stopTimeout, healthRetries, oomScore                              int
	swappiness, pids, cpuShares, cpuPeriod, cpuQuota                  int64
	rtPeriod, rtRuntime, cpuCount, cpuPercent                         int64
	ioMaxIOps                                                         uint64
	healthInterval, healthTimeout, healthStartPeriod, healthStartWait time.Duration

	image string
	args  []string
}

// flags declares them, by theme.
func (d *definition) flags(f *pflag.FlagSet) {
	d.processFlags(f)
	d.securityFlags(f)
	d.networkFlags(f)
	d.storageFlags(f)
	d.healthFlags(f)
	d.resourceFlags(f)
	d.blockFlags(f)
}

func (d *definition) processFlags(f *pflag.FlagSet) {
	d.attach.Check = option.CheckAttach
	d.env.Check = option.CheckEnv
	d.labels.Check = option.CheckLabel
	d.sysctls.Check = option.CheckSysctl
	f.VarP(&d.attach, "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	f.VarP(&d.env, "env", "e", "Set environment variables")
	f.Var(&d.envFiles, "env-file", "Read in a file of environment variables")
	f.StringVar(&d.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	f.Var(&d.groups, "group-add", "Add additional groups to join")
	f.StringVarP(&d.hostname, "hostname", "h", "", "Container host name")
	f.StringVar(&d.domainname, "domainname", "", "Container NIS domain name")
	f.BoolVarP(&d.stdin, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.VarP(&d.labels, "label", "l", "Set meta data on a container")
	f.Var(&d.labelFiles, "label-file", "Read in a line delimited file of labels")
	f.BoolVar(&d.readOnly, "read-only", false, "Mount the container's root filesystem as read only")
	f.StringVar(&d.restart, "restart", "no", "Restart policy to apply when a container exits")
	f.StringVar(&d.stopSignal, "stop-signal", "", "Signal to stop the container")
	f.IntVar(&d.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
	f.Var(&d.sysctls, "sysctl", "Sysctl options")
	f.BoolVarP(&d.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.Var(&d.ulimits, "ulimit", "Ulimit options")
	f.Var(&d.umask, "umask", "Set umask for the container")
	f.StringVarP(&d.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.StringVarP(&d.workdir, "workdir", "w", "", "Working directory inside the container")
	f.BoolVar(&d.remove, "rm", false, "Automatically remove the container and its associated anonymous volumes when it exits")
	f.BoolVar(&d.init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
	f.StringVar(&d.logDriver, "log-driver", "", "Logging driver for the container")
	f.Var(&d.logOptions, "log-opt", "Log driver options")
	f.StringVar(&d.runtime, "runtime", "", "Runtime to use for this container")
	f.Var(&d.annotations, "annotation", "Add an annotation to the container (passed through to the OCI runtime)")
	f.StringVar(&d.cidfile, "cidfile", "", "Write the container ID to the file")
}

func (d *definition) securityFlags(f *pflag.FlagSet) {
	f.Var(&d.capAdd, "cap-add", "Add Linux capabilities")
	f.Var(&d.capDrop, "cap-drop", "Drop Linux capabilities")
	f.BoolVar(&d.privileged, "privileged", false, "Give extended privileges to this container")
	f.Var(&d.security, "security-opt", "Security Options")
	f.StringVar(&d.userns, "userns", "", "User namespace to use")
	f.StringVar(&d.cgroupns, "cgroupns", "", "Cgroup namespace to use: 'host', 'private', or '' for the daemon's default")
	f.StringVar(&d.ipc, "ipc", "", "IPC mode to use")
	f.StringVar(&d.pid, "pid", "", "PID namespace to use")
	f.StringVar(&d.uts, "uts", "", "UTS namespace to use")
	f.StringVar(&d.isolation, "isolation", "", "Container isolation technology")
}

func (d *definition) networkFlags(f *pflag.FlagSet) {
	d.hosts.Check = option.CheckHost
	d.dns.Check = option.CheckIP
	d.dnsSearch.Check = option.CheckDomain
	d.links.Check = option.CheckLink
	d.linkLocal.Check = option.CheckIP
	f.Var(&d.hosts, "add-host", "Add a custom host-to-IP mapping (host:ip)")
	f.Var(&d.dns, "dns", "Set custom DNS servers")
	f.Var(&d.dnsOptions, "dns-option", "Set DNS options")
	f.Var(&d.dnsOptions, "dns-opt", "Set DNS options")
	f.Var(&d.dnsSearch, "dns-search", "Set custom DNS search domains")
	f.Var(&d.expose, "expose", "Expose a port or a range of ports")
	f.IPVar(&d.ip, "ip", nil, "IPv4 address (e.g., 172.30.100.104)")
	f.IPVar(&d.ip6, "ip6", nil, "IPv6 address (e.g., 2001:db8::33)")
	f.Var(&d.links, "link", "Add link to another container")
	f.Var(&d.linkLocal, "link-local-ip", "Container IPv4/IPv6 link-local addresses")
	f.StringVar(&d.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.VarP(&d.publish, "publish", "p", "Publish a container's port(s) to the host")
	f.BoolVarP(&d.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	f.Var(&d.networks, "network", "Connect a container to a network")
	f.Var(&d.networks, "net", "Connect a container to a network")
	f.Var(&d.aliases, "network-alias", "Add network-scoped alias for the container")
	f.Var(&d.aliases, "net-alias", "Add network-scoped alias for the container")
	hide(f, "dns-opt", "net", "net-alias")
}

func (d *definition) storageFlags(f *pflag.FlagSet) {
	f.StringVar(&d.volumeDriver, "volume-driver", "", "Optional volume driver for the container")
	f.Var(&d.storageOptions, "storage-opt", "Storage driver options for the container")
	f.Var(&d.tmpfs, "tmpfs", "Mount a tmpfs directory")
	f.Var(&d.volumesFrom, "volumes-from", "Mount volumes from the specified container(s)")
	f.VarP(&d.volumes, "volume", "v", "Bind mount a volume")
	f.Var(&d.mounts, "mount", "Attach a filesystem mount to the container")
	f.Var(&d.shmSize, "shm-size", "Size of /dev/shm")
	f.Var(&d.devices, "device", "Add a host device to the container")
	d.deviceRules.Check = option.CheckDeviceRule
	f.Var(&d.deviceRules, "device-cgroup-rule", "Add a rule to the cgroup allowed devices list")
	f.Var(&d.gpus, "gpus", "GPU devices to add to the container ('all' to pass all GPUs)")
}

func (d *definition) healthFlags(f *pflag.FlagSet) {
	f.StringVar(&d.healthCommand, "health-cmd", "", "Command to run to check health")
	f.DurationVar(&d.healthInterval, "health-interval", 0, "Time between running the check (ms|s|m|h) (default 0s)")
	f.IntVar(&d.healthRetries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	f.DurationVar(&d.healthTimeout, "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)")
	f.DurationVar(&d.healthStartPeriod, "health-start-period", 0, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)")
	f.DurationVar(&d.healthStartWait, "health-start-interval", 0, "Time between running the check during the start period (ms|s|m|h) (default 0s)")
	f.StringVar(&d.healthOnFailure, "health-on-failure", "", `What to do with an unhealthy container ("none", "kill", "restart", "stop")`)
	f.BoolVar(&d.noHealthcheck, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
}

func (d *definition) resourceFlags(f *pflag.FlagSet) {
	d.memorySwap.Unlimited = true
	f.StringVar(&d.cgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container")
	f.StringVar(&d.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&d.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.Int64Var(&d.cpuCount, "cpu-count", 0, "CPU count (Windows only)")
	f.Int64Var(&d.cpuPercent, "cpu-percent", 0, "CPU percent (Windows only)")
	f.Int64Var(&d.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&d.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&d.rtPeriod, "cpu-rt-period", 0, "Limit CPU real-time period in microseconds")
	f.Int64Var(&d.rtRuntime, "cpu-rt-runtime", 0, "Limit CPU real-time runtime in microseconds")
	f.Int64VarP(&d.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Var(&d.cpus, "cpus", "Number of CPUs")
	f.VarP(&d.memory, "memory", "m", "Memory limit")
	f.Var(&d.memoryReservation, "memory-reservation", "Memory soft limit")
	f.Var(&d.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	f.Int64Var(&d.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	f.BoolVar(&d.oomKillDisable, "oom-kill-disable", false, "Disable OOM Killer")
	f.IntVar(&d.oomScore, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
	f.Int64Var(&d.pids, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.Var(&d.kernelMemory, "kernel-memory", "Kernel memory limit")
	hide(f, "cpu-count", "cpu-percent", "kernel-memory")
}

func (d *definition) blockFlags(f *pflag.FlagSet) {
	d.readBps.Bytes, d.writeBps.Bytes = true, true
	f.Uint16Var(&d.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
	f.Var(&d.blkioWeights, "blkio-weight-device", "Block IO weight (relative device weight)")
	f.Var(&d.readBps, "device-read-bps", "Limit read rate (bytes per second) from a device")
	f.Var(&d.readIOps, "device-read-iops", "Limit read rate (IO per second) from a device")
	f.Var(&d.writeBps, "device-write-bps", "Limit write rate (bytes per second) to a device")
	f.Var(&d.writeIOps, "device-write-iops", "Limit write rate (IO per second) to a device")
	f.Var(&d.ioBandwidth, "io-maxbandwidth", "Maximum IO bandwidth limit for the system drive (Windows only)")
	f.Uint64Var(&d.ioMaxIOps, "io-maxiops", 0, "Maximum IOps limit for the system drive (Windows only)")
	hide(f, "io-maxbandwidth", "io-maxiops")
}

// hide keeps flags out of help. The names are declared right above the call.
func hide(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f.Lookup(name).Hidden = true
	}
}
