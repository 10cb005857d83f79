package build

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/berth-engine/berth/cli/config"
)

// attributes turns the flags into those of the Dockerfile frontend.
func (o *options) attributes(proxies config.Proxy) (map[string]string, error) {
	attrs := map[string]string{}
	if o.pull {
		attrs["image-resolve-mode"] = "pull"
	}
	switch {
	case o.noCache && len(o.noCacheFilter) > 0:
		return nil, errors.New("--no-cache and --no-cache-filter cannot currently be used together")
	case o.noCache:
		attrs["no-cache"] = ""
	case len(o.noCacheFilter) > 0:
		attrs["no-cache"] = strings.Join(o.noCacheFilter, ",")
	}
	if o.target != "" {
		attrs["target"] = o.target
	}
	if len(o.platforms) > 0 {
		attrs["platform"] = strings.Join(o.platforms, ",")
	}
	for name, value := range buildArgs(o.buildArgs, proxies) {
		attrs["build-arg:"+name] = value
	}
	for _, label := range o.labels {
		name, value, _ := strings.Cut(label, "=")
		attrs["label:"+name] = value
	}
	switch o.network {
	case "", "default":
	case "host", "none":
		attrs["force-network-mode"] = o.network
	default:
		return nil, fmt.Errorf("network mode %q not supported by buildkit", o.network)
	}
	if err := o.bounds(attrs); err != nil {
		return nil, err
	}
	return attrs, o.attestations(attrs)
}

// buildArgs joins what the configuration says of proxies with --build-arg; a name alone takes its value from the
// environment, and is left out when that has none.
func buildArgs(flags []string, proxies config.Proxy) map[string]string {
	args := proxies.Variables()
	for _, flag := range flags {
		name, value, given := strings.Cut(flag, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		args[name] = value
	}
	return args
}

// bounds sets what the processes of the build may use.
func (o *options) bounds(attrs map[string]string) error {
	var hosts []string
	for _, flag := range o.addHosts {
		host, ip, ok := strings.Cut(flag, "=")
		if !ok {
			host, ip, ok = strings.Cut(flag, ":")
		}
		ip = strings.Trim(ip, "[]")
		if !ok || host == "" || (ip != hostGateway && net.ParseIP(ip) == nil) {
			return fmt.Errorf("bad format for add-host: %q", flag)
		}
		hosts = append(hosts, host+"="+ip)
	}
	text := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	number := func(key string, value int64) {
		if value != 0 {
			attrs[key] = strconv.FormatInt(value, 10)
		}
	}
	text("add-hosts", strings.Join(hosts, ","))
	for _, limit := range o.ulimits {
		if _, err := units.ParseUlimit(limit); err != nil {
			return err
		}
	}
	text("ulimit", strings.Join(o.ulimits, ","))
	text("cgroup-parent", o.cgroupParent)
	text("cpusetcpus", o.cpusetCPUs)
	text("cpusetmems", o.cpusetMems)
	number("cpushares", o.cpuShares)
	number("cpuperiod", o.cpuPeriod)
	number("cpuquota", o.cpuQuota)
	for key, size := range map[string]string{"shm-size": o.shmSize, "memory": o.memory, "memswap": o.memorySwap} {
		switch size {
		case "":
		case "-1":
			attrs[key] = size
		default:
			bytes, err := units.RAMInBytes(size)
			if err != nil {
				return err
			}
			number(key, bytes)
		}
	}
	return nil
}

// hostGateway is the address in --add-host that the daemon knows.
const hostGateway = "host-gateway"

// attestations adds what is to be said about the image, beside it. Unasked nothing is.
func (o *options) attestations(attrs map[string]string) error {
	all := o.attests
	for kind, value := range map[string]string{"provenance": o.provenance, "sbom": o.sbom} {
		if value != "" {
			all = append(all, shorthand(kind, value))
		}
	}
	for _, text := range all {
		fields, err := csvFields(text)
		if err != nil {
			return fmt.Errorf("invalid value %q for --attest: %w", text, err)
		}
		kind, disabled := "", false
		var rest []string
		for _, field := range fields {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "type":
				kind = value
			case "disabled":
				if disabled, err = strconv.ParseBool(value); err != nil {
					return fmt.Errorf("invalid value %q for --attest: %w", text, err)
				}
			default:
				rest = append(rest, field)
			}
		}
		if kind == "" {
			return fmt.Errorf("attestation type not specified")
		}
		if !disabled {
			attrs["attest:"+kind] = strings.Join(rest, ",")
		}
	}
	return nil
}

// shorthand spells "--sbom=true" and "--provenance=mode=max" as --attest does.
func shorthand(kind, value string) string {
	on, err := strconv.ParseBool(value)
	switch {
	case err != nil:
		return "type=" + kind + "," + value
	case on:
		return "type=" + kind
	}
	return "type=" + kind + ",disabled=true"
}

// csvFields splits "a=b,c=d" where a value may be quoted.
func csvFields(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	return csv.NewReader(strings.NewReader(text)).Read()
}

// pairs reads "a=b,c=d".
func pairs(text string) (map[string]string, error) {
	fields, err := csvFields(text)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return nil, fmt.Errorf("invalid value %s", field)
		}
		found[strings.ToLower(strings.TrimSpace(key))] = value
	}
	return found, nil
}
