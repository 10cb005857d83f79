package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/core/logopt"
)

// config is what flags and daemon.json say, in dockerd's names. A key may stand in one of the two only.
type config struct {
	Hosts           []string `json:"hosts"`
	DataRoot        string   `json:"data-root"`
	ExecRoot        string   `json:"exec-root"`
	PidFile         string   `json:"pidfile"`
	Debug           bool     `json:"debug"`
	LogLevel        string   `json:"log-level"`
	LogFormat       string   `json:"log-format"`
	Group           string   `json:"group"`
	Labels          []string `json:"labels"`
	ShutdownTimeout int      `json:"shutdown-timeout"`

	TLS                bool   `json:"tls"`
	TLSVerify          bool   `json:"tlsverify"`
	TLSCACert          string `json:"tlscacert"`
	TLSCert            string `json:"tlscert"`
	TLSKey             string `json:"tlskey"`
	AllowInsecureHosts bool   `json:"allow-insecure-tcp"`

	Bridge       string      `json:"bridge"`
	BIP          string      `json:"bip"`
	FixedCIDR    string      `json:"fixed-cidr"`
	MTU          int         `json:"mtu"`
	AddressPools []poolEntry `json:"default-address-pools"`
	IP           string      `json:"ip"`
	HostGateway  []string    `json:"host-gateway-ips"`
	ICC          bool        `json:"icc"`
	IPMasquerade bool        `json:"ip-masq"`
	HostFirewall string      `json:"host-firewall"`
	DNS          []string    `json:"dns"`
	DNSOptions   []string    `json:"dns-opts"`
	DNSSearch    []string    `json:"dns-search"`

	LogDriver      string            `json:"log-driver"`
	LogOpts        map[string]string `json:"log-opts"`
	DefaultRuntime string            `json:"default-runtime"`
	Runtimes       runtimeValues     `json:"runtimes"`
	SELinux        bool              `json:"selinux-enabled"`
	StorageDriver  string            `json:"storage-driver"`
	StorageOpts    []string          `json:"storage-opts"`
	LiveRestore    bool              `json:"live-restore"`
	Experimental   bool              `json:"experimental"`
	DefaultShm     string            `json:"default-shm-size"`
	DefaultIPC     string            `json:"default-ipc-mode"`
	DefaultCgroup  string            `json:"default-cgroupns-mode"`
	Ulimits        ulimitValues      `json:"default-ulimits"`
	Init           bool              `json:"init"`
	CDISpecDirs    []string          `json:"cdi-spec-dirs"`
	Features       map[string]bool   `json:"features"`

	InsecureRegistries []string            `json:"insecure-registries"`
	RegistryMirrors    []string            `json:"registry-mirrors"`
	Mirrors            map[string][]string `json:"mirrors"` // of any registry, by its host
	MaxDownloads       int                 `json:"max-concurrent-downloads"`
	MaxUploads         int                 `json:"max-concurrent-uploads"`
	Builder            builderConfig       `json:"builder"`

	level       slog.LevelVar // of the log
	configFile  string
	showVersion bool
	validate    bool
}

// poolEntry is a range of addresses that networks are cut from.
type poolEntry struct {
	Base string `json:"base"`
	Size int    `json:"size"`
}

type builderConfig struct {
	GC struct {
		Enabled            *bool  `json:"enabled"`
		DefaultKeepStorage string `json:"defaultKeepStorage"`
		MaxUsedSpace       string `json:"maxUsedSpace"`
	} `json:"gc"`
}

const (
	defaultHost       = "unix:///run/berth.sock"
	defaultConfigFile = "/etc/berth/daemon.json"
)

// flags declares the command line.
func (c *config) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("berthd", pflag.ContinueOnError)
	f.SortFlags = true
	f.StringArrayVarP(&c.Hosts, "host", "H", nil, "socket to listen on: unix://PATH, tcp://ADDRESS:PORT or fd:// (may be given more than once; default "+defaultHost+")")
	f.StringVar(&c.DataRoot, "data-root", "/var/lib/berth", "folder of everything that survives a reboot")
	f.StringVar(&c.ExecRoot, "exec-root", "/run/berth", "folder of what lives as long as the containers' processes")
	f.StringVarP(&c.PidFile, "pidfile", "p", "/run/berth.pid", "file that gets the daemon's process number")
	f.StringVar(&c.configFile, "config-file", defaultConfigFile, "file of settings")
	f.BoolVarP(&c.Debug, "debug", "D", false, "tell more in the log")
	f.StringVarP(&c.LogLevel, "log-level", "l", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	f.StringVarP(&c.Group, "group", "G", "berth", "group that may use the socket")
	f.StringArrayVar(&c.Labels, "label", nil, "label of the daemon: key=value")
	f.IntVar(&c.ShutdownTimeout, "shutdown-timeout", 15, "seconds that requests may take to end when the daemon stops")
	f.BoolVar(&c.TLS, "tls", false, "use TLS on TCP sockets")
	f.BoolVar(&c.TLSVerify, "tlsverify", false, "use TLS and ask clients for a certificate")
	f.StringVar(&c.TLSCACert, "tlscacert", "", "certificates of those who sign the clients' certificates")
	f.StringVar(&c.TLSCert, "tlscert", "", "the daemon's certificate")
	f.StringVar(&c.TLSKey, "tlskey", "", "the key to it")
	f.BoolVar(&c.AllowInsecureHosts, "allow-insecure-tcp", false, "listen on TCP without TLS: WHOEVER REACHES THE PORT IS ROOT ON THIS MACHINE")
	f.StringVarP(&c.Bridge, "bridge", "b", "", "name of the default network's bridge; \"none\" for no default network")
	f.StringVar(&c.BIP, "bip", "", "address of the default bridge: 172.20.0.1/16")
	f.StringVar(&c.FixedCIDR, "fixed-cidr", "", "part of the default bridge's subnet that containers get addresses from")
	f.StringVar(&c.IP, "ip", "", "address where ports are published that name none (default: all)")
	f.StringArrayVar(&c.HostGateway, "host-gateway-ip", nil, "address that host-gateway stands for in --add-host (default: the default bridge's)")
	f.BoolVar(&c.ICC, "icc", true, "let containers on the default bridge talk to each other")
	f.BoolVar(&c.IPMasquerade, "ip-masq", true, "hide the addresses of containers on the default bridge behind the host's")
	f.StringVar(&c.HostFirewall, "host-firewall", "respect", "who wins when the host's own firewall drops what containers send and get: respect (the host) or override (Berth's rules)")
	f.IntVar(&c.MTU, "mtu", 0, "MTU of networks (0: 1500)")
	f.Var((*poolValue)(&c.AddressPools), "default-address-pool", "range that networks are cut from: base=10.10.0.0/16,size=24")
	f.StringArrayVar(&c.DNS, "dns", nil, "DNS server of containers")
	f.StringArrayVar(&c.DNSOptions, "dns-opt", nil, "resolver option of containers")
	f.StringArrayVar(&c.DNSSearch, "dns-search", nil, "DNS search domain of containers")
	f.StringVar(&c.LogDriver, "log-driver", "json-file", "log driver of containers that name none")
	f.StringToStringVar(&c.LogOpts, "log-opt", nil, "option of the log driver: key=value")
	f.StringVar(&c.DefaultRuntime, "default-runtime", "berth", "OCI runtime of containers that name none")
	f.Var(&c.Runtimes, "add-runtime", "a further OCI runtime: name=/path/to/program")
	f.BoolVar(&c.SELinux, "selinux-enabled", false, "give containers labels of SELinux")
	f.StringVarP(&c.StorageDriver, "storage-driver", "s", "", "overlayfs is what there is")
	f.StringArrayVar(&c.StorageOpts, "storage-opt", nil, "option of the storage driver: overlay2.size=10G limits the writable layers of containers that name no limit")
	f.BoolVar(&c.LiveRestore, "live-restore", true, "containers run on without the daemon (always so)")
	f.BoolVar(&c.Experimental, "experimental", false, "report experimental features as on")
	f.StringVar(&c.DefaultShm, "default-shm-size", "64MiB", "size of /dev/shm of containers that name none")
	f.StringVar(&c.DefaultIPC, "default-ipc-mode", "private", "IPC mode of containers that name none: private or shareable")
	f.StringVar(&c.DefaultCgroup, "default-cgroupns-mode", "", "cgroup namespace of containers that name none: private or host (default: private on cgroup v2, else host)")
	f.Var(&c.Ulimits, "default-ulimit", "ulimit of containers that name none: name=soft[:hard]")
	f.BoolVar(&c.Init, "init", false, "run an init in containers that do not say")
	f.StringArrayVar(&c.CDISpecDirs, "cdi-spec-dir", []string{"/etc/cdi", "/var/run/cdi"}, "folder of descriptions of CDI devices")
	f.Var((*featureValue)(&c.Features), "feature", "turn a feature on or off: cdi=false")
	f.StringArrayVar(&c.InsecureRegistries, "insecure-registry", nil, "registry that may be spoken to without TLS or with a certificate that nobody knows")
	f.StringArrayVar(&c.RegistryMirrors, "registry-mirror", nil, "mirror of Docker Hub")
	f.IntVar(&c.MaxDownloads, "max-concurrent-downloads", 3, "layers of one pull that are fetched at a time")
	f.IntVar(&c.MaxUploads, "max-concurrent-uploads", 5, "layers of one push that are sent at a time")
	f.BoolVarP(&c.showVersion, "version", "v", false, "print the version and end")
	f.BoolVar(&c.validate, "validate", false, "check the settings and end")
	return f
}

// fileKeys are the keys of daemon.json and the flags that say the same.
var fileKeys = map[string]string{
	"hosts": "host", "labels": "label", "dns-opts": "dns-opt", "log-opts": "log-opt",
	"default-address-pools": "default-address-pool", "insecure-registries": "insecure-registry",
	"registry-mirrors": "registry-mirror", "host-gateway-ips": "host-gateway-ip", "mirrors": "", "builder": "",
	"default-ulimits": "default-ulimit", "cdi-spec-dirs": "cdi-spec-dir", "features": "feature",
	"runtimes": "add-runtime", "storage-opts": "storage-opt",
}

// load reads the command line, then the file.
func load(args []string) (*config, error) {
	c := &config{}
	flags := c.flags()
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument: %q", flags.Arg(0))
	}
	if err := c.readFile(flags); err != nil {
		return nil, err
	}
	return c, c.check(flags)
}

// readFile lays daemon.json under what the command line says.
func (c *config) readFile(flags *pflag.FlagSet) error {
	data, err := os.ReadFile(c.configFile)
	if errors.Is(err, fs.ErrNotExist) && !flags.Changed("config-file") {
		return nil
	}
	refuse := func(err error) error {
		return fmt.Errorf("unable to configure the Berth daemon with file %s: %w", c.configFile, err)
	}
	if err != nil {
		return refuse(err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return refuse(err)
	}
	var both []string
	for key := range keys {
		name, renamed := fileKeys[key]
		if !renamed {
			name = key
		}
		if name != "" && flags.Changed(name) {
			both = append(both, key)
		}
	}
	if len(both) > 0 {
		slices.Sort(both)
		return refuse(fmt.Errorf("the following directives are specified both as a flag and in the configuration file: %s", strings.Join(both, ", ")))
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(c); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return refuse(fmt.Errorf("the following directives don't match any configuration option: %s", strings.Trim(name, `"`)))
		}
		return refuse(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return refuse(errors.New("something stands behind the settings"))
	}
	return nil
}

// check refuses what can't be and completes the rest.
func (c *config) check(flags *pflag.FlagSet) error {
	if len(c.Hosts) == 0 {
		c.Hosts = []string{defaultHost}
	}
	if c.Debug && !flags.Changed("log-level") {
		c.LogLevel = "debug"
	}
	if c.TLSVerify {
		c.TLS = true
	}
	if !slices.Contains([]string{"", "overlay2", "overlayfs"}, c.StorageDriver) {
		return fmt.Errorf("unknown storage driver %q: Berth has overlayfs", c.StorageDriver)
	}
	for _, level := range []string{c.LogLevel} {
		if !slices.Contains([]string{"debug", "info", "warn", "error", "fatal"}, level) {
			return fmt.Errorf("unable to parse logging level: %s", level)
		}
	}
	addresses := append(slices.Clone(c.DNS), c.HostGateway...)
	if c.IP != "" {
		addresses = append(addresses, c.IP)
	}
	for _, address := range addresses {
		if _, err := netip.ParseAddr(address); err != nil {
			return fmt.Errorf("IP address is not correctly formatted: %s", address)
		}
	}
	for _, path := range []*string{&c.DataRoot, &c.ExecRoot, &c.PidFile} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	for _, label := range c.Labels {
		if !strings.Contains(label, "=") {
			return fmt.Errorf("bad attribute format: %s", label)
		}
	}
	if err := logopt.Check(c.LogDriver, c.LogOpts); err != nil {
		return fmt.Errorf("failed to set log opts: %w", err)
	}
	if err := c.checkDefaults(); err != nil {
		return err
	}
	if c.MaxDownloads < 1 || c.MaxUploads < 1 {
		return errors.New("invalid max concurrent downloads or uploads: must be 1 or more")
	}
	return nil
}

// poolValue reads `--default-address-pool base=…,size=…`.
type poolValue []poolEntry

func (p *poolValue) String() string { return "" }
func (p *poolValue) Type() string   { return "pool" }

func (p *poolValue) Set(s string) error {
	var entry poolEntry
	for _, field := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "base":
			entry.Base = value
		case "size":
			if _, err := fmt.Sscan(value, &entry.Size); err != nil {
				return fmt.Errorf("invalid size value: %q (must be integer)", value)
			}
		default:
			return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
		}
	}
	prefix, err := netip.ParsePrefix(entry.Base)
	if err != nil {
		return fmt.Errorf("invalid base prefix %q: %w", entry.Base, err)
	}
	if entry.Size < prefix.Bits() || entry.Size > prefix.Addr().BitLen() {
		return fmt.Errorf("invalid default address pool %q: size %d does not fit", s, entry.Size)
	}
	*p = append(*p, entry)
	return nil
}

// instance names a daemon among several on one host, for what is shared by all (links, firewall tables, cgroups):
// empty for the one on the usual roots, a few digits of the data root's name for any other.
func (c *config) instance() string {
	if c.DataRoot == "/var/lib/berth" {
		return ""
	}
	return shortHash(cmp.Or(c.DataRoot, "/"))
}
