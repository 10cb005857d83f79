// Package files writes hosts, hostname and resolv.conf of a container, and reads the host's resolv.conf.
//
// The files are mounted into the running container one by one, so they are rewritten in place: a new file under the
// same name would not be seen there.
package files

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Host is a line of a hosts file.
type Host struct {
	Addr  netip.Addr
	Names string // one or more, with spaces between
}

// WriteHosts writes the hosts file in dir: localhost, then the lines given. Without IPv6 the lines about it are left
// out.
func WriteHosts(dir string, v6 bool, hosts []Host) error {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n")
	if v6 {
		b.WriteString("::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	}
	for _, h := range hosts {
		if h.Addr.IsValid() {
			fmt.Fprintf(&b, "%s\t%s\n", h.Addr, h.Names)
		}
	}
	return write(dir, "hosts", b.Bytes())
}

// WriteHostname writes the hostname file in dir.
func WriteHostname(dir, name string) error { return write(dir, "hostname", []byte(name+"\n")) }

// WriteHostHosts writes the hosts file in dir for a container in the host's network: the host's own, then the lines
// given.
func WriteHostHosts(dir string, hosts []Host) error {
	data, err := os.ReadFile("/etc/hosts")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	b := bytes.NewBuffer(data)
	if len(data) > 0 && data[len(data)-1] != '\n' {
		b.WriteByte('\n')
	}
	for _, h := range hosts {
		fmt.Fprintf(b, "%s\t%s\n", h.Addr, h.Names)
	}
	return write(dir, "hosts", b.Bytes())
}

// write makes a file have the content. One that has it is left alone; one that has another is overwritten and cut,
// never emptied first: a reader inside would see nothing for a moment, and ext4 writes a file that was emptied to the
// disk at once, which costs more than all the rest of a container's network.
func write(dir, name string, data []byte) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	old := make([]byte, len(data)+1)
	n, err := f.ReadAt(old, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if n > 0 && bytes.Equal(old[:n], data) {
		return nil
	}
	if n == 0 {
		// New: everybody inside may read it, whatever the daemon's umask.
		if err := f.Chmod(0o644); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if n <= len(data) {
		return nil
	}
	return f.Truncate(int64(len(data)))
}

// ResolvConf is what a resolv.conf says.
type ResolvConf struct {
	Servers []netip.Addr
	Search  []string
	Options []string
	Other   []string // lines with other words, as they are
}

// Parse reads a resolv.conf. What is not understood is kept or, for servers that are no addresses, left out.
func Parse(data []byte) ResolvConf {
	var c ResolvConf
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' || words[0][0] == ';' {
			continue
		}
		switch words[0] {
		case "nameserver":
			if len(words) > 1 {
				if ip, err := netip.ParseAddr(words[1]); err == nil {
					c.Servers = append(c.Servers, ip)
				}
			}
		case "search", "domain":
			c.Search = words[1:]
		case "options":
			c.Options = append(c.Options, words[1:]...)
		default:
			c.Other = append(c.Other, strings.Join(words, " "))
		}
	}
	return c
}

// Override puts the user's words over the host's. A search of "." means none.
func (c ResolvConf) Override(servers []netip.Addr, search, options []string) ResolvConf {
	if len(servers) > 0 {
		c.Servers = servers
	}
	if len(search) > 0 {
		c.Search = slices.DeleteFunc(slices.Clone(search), func(s string) bool { return s == "." })
	}
	if len(options) > 0 {
		c.Options = options
	}
	return c
}

// Outside leaves out servers that can't be reached from another namespace: the host's own loopback and, without
// IPv6, servers there. When none is left, public ones take their place.
func (c ResolvConf) Outside(v6 bool) ResolvConf {
	c.Servers = slices.DeleteFunc(slices.Clone(c.Servers), func(ip netip.Addr) bool { return ip.IsLoopback() || ip.Is6() && !v6 })
	if len(c.Servers) == 0 {
		c.Servers = []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8}), netip.AddrFrom4([4]byte{8, 8, 4, 4})}
	}
	return c
}

// Embedded makes the daemon's resolver the only server. Names without a dot go to it as they are.
func (c ResolvConf) Embedded(resolver netip.Addr) ResolvConf {
	c.Servers = []netip.Addr{resolver}
	if !slices.ContainsFunc(c.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		c.Options = append(slices.Clone(c.Options), "ndots:0")
	}
	return c
}

// Write writes resolv.conf in dir.
func (c ResolvConf) Write(dir string) error {
	var b strings.Builder
	for _, ip := range c.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", ip)
	}
	if len(c.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(c.Search, " "))
	}
	if len(c.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(c.Options, " "))
	}
	for _, line := range c.Other {
		b.WriteString(line + "\n")
	}
	return write(dir, "resolv.conf", []byte(b.String()))
}
