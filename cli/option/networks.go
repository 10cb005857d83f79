package option

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Network is one value of --network.
type Network struct {
	Target       string
	Aliases      []string
	DriverOpts   map[string]string
	Links        []string
	IPv4, IPv6   netip.Addr
	LinkLocalIPs []netip.Addr
	MAC          string
	GwPriority   int
}

// Networks are the values of --network.
type Networks struct{ Values []Network }

// Type names the flag's argument in help.
func (*Networks) Type() string { return "network" }

func (*Networks) String() string { return "" }

// Mode is the network mode of the container: the first network.
func (n *Networks) Mode() string {
	if len(n.Values) == 0 {
		return "default"
	}
	return n.Values[0].Target
}

// Set reads a name, or name=…,alias=…,ip=….
func (n *Networks) Set(text string) error {
	if !isLong(text) {
		n.Values = append(n.Values, Network{Target: text})
		return nil
	}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return err
	}
	one := Network{Aliases: []string{}}
	for _, field := range fields {
		key, value, ok := strings.Cut(strings.ToLower(field), "=")
		if !ok || key == "" {
			return fmt.Errorf("invalid field %s", field)
		}
		if err := one.set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	if one.Target == "" {
		return errors.New("network name/id is not specified")
	}
	n.Values = append(n.Values, one)
	return nil
}

// isLong looks for a word, an equals sign, and a word.
func isLong(text string) bool {
	i := strings.IndexByte(text, '=')
	return i > 0 && i < len(text)-1 && isWord(text[i-1]) && isWord(text[i+1])
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (n *Network) set(key, value string) (err error) {
	switch key {
	case "name":
		n.Target = value
	case "alias":
		n.Aliases = append(n.Aliases, value)
	case "ip":
		n.IPv4, err = netip.ParseAddr(value)
	case "ip6":
		n.IPv6, err = netip.ParseAddr(value)
	case "mac-address":
		n.MAC = value
	case "link-local-ip":
		var address netip.Addr
		if address, err = netip.ParseAddr(value); err == nil {
			n.LinkLocalIPs = append(n.LinkLocalIPs, address)
		}
	case "driver-opt":
		name, setting, ok := strings.Cut(value, "=")
		if !ok || name == "" {
			return errors.New("invalid key value pair format in driver options")
		}
		if n.DriverOpts == nil {
			n.DriverOpts = map[string]string{}
		}
		n.DriverOpts[strings.TrimSpace(name)] = strings.TrimSpace(setting)
	case "gw-priority":
		if n.GwPriority, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("invalid gw-priority (%s): %w", value, reason(err))
		}
	default:
		return errors.New("invalid field key " + key)
	}
	return err
}

// reason is what strconv says without the name of its function.
func reason(err error) error {
	var numeric *strconv.NumError
	if errors.As(err, &numeric) {
		return numeric.Err
	}
	return err
}
