package ipam

import (
	"crypto/sha256"
	"net/netip"
	"os"
	"strings"
)

// Private is a /48 of RFC 4193 that is always the same for a daemon on a machine.
func Private(instance string) Base {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		// A machine without an identity has its name.
		host, _ := os.Hostname()
		machine = []byte(host)
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(string(machine)) + "/" + instance))
	ip := [16]byte{0: 0xfd}
	copy(ip[1:6], sum[:])
	return Base{Prefix: netip.PrefixFrom(netip.AddrFrom16(ip), 48), Size: 64}
}
