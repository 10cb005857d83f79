// Package id makes identities: random IDs that never collide, and names that people can remember.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// Length is the number of hexadecimal digits of an ID.
const Length = 64

// New is a random ID of 64 hexadecimal digits. Its first twelve are never all decimal: tools that quote a short
// ID may take such a thing for a number.
func New() string {
	var raw [Length / 2]byte
	for {
		// Since Go 1.24 rand.Read never fails: it ends the program when the kernel has no randomness.
		_, _ = rand.Read(raw[:])
		digits := hex.EncodeToString(raw[:])
		if strings.ContainsAny(digits[:12], "abcdef") {
			return digits
		}
	}
}
