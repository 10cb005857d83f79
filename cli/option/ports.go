package option

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// Ports reads the values of --publish: [ip:][hostPort:]containerPort[/proto] with ranges, [v6]:…, or the long form
// published=…,target=…,protocol=…. It gives the ports of the container and where each is published.
func Ports(specs []string) (network.PortSet, network.PortMap, error) {
	exposed := network.PortSet{}
	bindings := network.PortMap{}
	for _, spec := range specs {
		if strings.Contains(spec, "=") {
			short, err := longPort(spec)
			if err != nil {
				return nil, nil, err
			}
			spec = short
		}
		if err := addPorts(spec, exposed, bindings); err != nil {
			return nil, nil, err
		}
	}
	return exposed, bindings, nil
}

func longPort(spec string) (string, error) {
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return "", err
	}
	target, published, protocol := "", "", "tcp"
	for _, field := range fields {
		key, value, ok := strings.Cut(strings.ToLower(field), "=")
		if !ok || key == "" {
			return "", fmt.Errorf("invalid field: %s", field)
		}
		switch key {
		case "target":
			target = value
		case "published":
			published = value
		case "protocol":
			protocol = value
		case "mode":
			if value != "ingress" && value != "host" {
				return "", fmt.Errorf("invalid publish mode value (%s): must be either 'ingress' or 'host'", value)
			}
		default:
			return "", fmt.Errorf("invalid field key: %s", key)
		}
	}
	if target == "" {
		return "", errors.New("invalid port mapping: target is missing")
	}
	if published != "" {
		return published + ":" + target + "/" + protocol, nil
	}
	return target + "/" + protocol, nil
}

func addPorts(spec string, exposed network.PortSet, bindings network.PortMap) error {
	ip, host, target := splitPort(spec)
	number, protocol, hasProtocol := strings.Cut(target, "/")
	if number == "" {
		return fmt.Errorf("no port specified: %s<empty>", spec)
	}
	protocol = strings.ToLower(protocol)
	if !hasProtocol || protocol == "" {
		protocol = "tcp"
	}
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return errors.New("invalid proto: " + protocol)
	}
	address, err := hostAddress(ip)
	if err != nil {
		return err
	}
	first, last, err := portRange(number)
	if err != nil {
		return errors.New("invalid containerPort: " + number)
	}
	hostFirst, hostLast := uint64(0), uint64(0)
	if host != "" {
		if hostFirst, hostLast, err = portRange(host); err != nil {
			return errors.New("invalid hostPort: " + host)
		}
		// A range on the host for a single port means: the first of them that is free.
		if hostLast-hostFirst != last-first && first != last {
			return fmt.Errorf("invalid ranges specified for container and host Ports: %s and %s", number, host)
		}
	}
	for i := uint64(0); i <= last-first; i++ {
		port, ok := network.PortFrom(uint16(first+i), network.IPProtocol(protocol))
		if !ok {
			return errors.New("invalid containerPort: " + number)
		}
		published := ""
		switch {
		case host == "":
		case first == last && hostFirst != hostLast:
			published = fmt.Sprintf("%d-%d", hostFirst, hostLast)
		default:
			published = strconv.FormatUint(hostFirst+i, 10)
		}
		exposed[port] = struct{}{}
		bindings[port] = append(bindings[port], network.PortBinding{HostIP: address, HostPort: published})
	}
	return nil
}

// splitPort takes apart from the right, since an IPv6 address has colons of its own.
func splitPort(spec string) (ip, host, target string) {
	i := strings.LastIndexByte(spec, ':')
	if i < 0 {
		return "", "", spec
	}
	rest, target := spec[:i], spec[i+1:]
	i = strings.LastIndexByte(rest, ':')
	if i < 0 {
		return "", rest, target
	}
	return rest[:i], rest[i+1:], target
}

func hostAddress(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	bare := text
	if strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]") {
		bare = bare[1 : len(bare)-1]
	}
	address, err := netip.ParseAddr(bare)
	if err != nil || address.Zone() != "" {
		return netip.Addr{}, errors.New("invalid IP address: " + text)
	}
	return address, nil
}

func portRange(text string) (first, last uint64, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if first, err = strconv.ParseUint(from, 10, 16); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return first, first, nil
	}
	if last, err = strconv.ParseUint(to, 10, 16); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, errors.New("invalid port range: " + text)
	}
	return first, last, nil
}
