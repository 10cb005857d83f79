// Package option reads what people write behind flags: ports, mounts, networks, sizes, environment files, devices,
// filters. Each is a pflag.Value or a function from text to the shapes of the API, with docker's sentences for mistakes.
package option

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
)

// List collects the values of a flag that may be given several times. Check, when set, validates and normalizes.
type List struct {
	Check  func(string) (string, error)
	Values []string
}

// Set adds a value.
func (l *List) Set(value string) error {
	if l.Check != nil {
		checked, err := l.Check(value)
		if err != nil {
			return err
		}
		value = checked
	}
	l.Values = append(l.Values, value)
	return nil
}

// Type names the flag's argument in help.
func (*List) Type() string { return "list" }

func (l *List) String() string {
	if l == nil || len(l.Values) == 0 {
		return ""
	}
	return "[" + strings.Join(l.Values, " ") + "]"
}

// Has reports whether a value was given.
func (l *List) Has(value string) bool {
	for _, v := range l.Values {
		if v == value {
			return true
		}
	}
	return false
}

// Map collects key=value pairs.
type Map struct {
	Check  func(string) (string, error)
	Values map[string]string
}

// Set adds a pair; a key alone has an empty value.
func (m *Map) Set(value string) error {
	if m.Check != nil {
		checked, err := m.Check(value)
		if err != nil {
			return err
		}
		value = checked
	}
	if m.Values == nil {
		m.Values = map[string]string{}
	}
	key, val, _ := strings.Cut(value, "=")
	m.Values[key] = val
	return nil
}

// Type names the flag's argument in help.
func (*Map) Type() string { return "map" }

func (m *Map) String() string {
	if m == nil || len(m.Values) == 0 {
		return ""
	}
	pairs := make([]string, 0, len(m.Values))
	for k, v := range m.Values {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

// Bytes is a size with an optional unit: "64m", "1g".
type Bytes struct {
	Value int64
	// Unlimited lets "-1" pass.
	Unlimited bool
}

// Set reads the size.
func (b *Bytes) Set(text string) error {
	if b.Unlimited && text == "-1" {
		b.Value = -1
		return nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil {
		return err
	}
	b.Value = n
	return nil
}

// Type names the flag's argument in help.
func (*Bytes) Type() string { return "bytes" }

func (b *Bytes) String() string {
	if b == nil || b.Value == 0 {
		return ""
	}
	if b.Value == -1 {
		return "-1"
	}
	return units.BytesSize(float64(b.Value))
}

// CPUs is a number of processors in units of 1e-9.
type CPUs int64

// Set reads a decimal or a fraction.
func (c *CPUs) Set(text string) error {
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return fmt.Errorf("failed to parse %v as a rational number", text)
	}
	nano := n.Mul(n, big.NewRat(1e9, 1))
	if !nano.IsInt() {
		return errors.New("value is too precise")
	}
	if !nano.Num().IsInt64() {
		return fmt.Errorf("value is too large: %s", text)
	}
	*c = CPUs(nano.Num().Int64())
	return nil
}

// Type names the flag's argument in help.
func (*CPUs) Type() string { return "decimal" }

func (c *CPUs) String() string {
	if c == nil || *c == 0 {
		return ""
	}
	return big.NewRat(int64(*c), 1e9).FloatString(3)
}

// Ulimits are limits of processes by name, the last one given wins.
type Ulimits struct{ values map[string]*container.Ulimit }

// Set reads name=soft[:hard].
func (u *Ulimits) Set(text string) error {
	limit, err := units.ParseUlimit(text)
	if err != nil {
		return err
	}
	if u.values == nil {
		u.values = map[string]*container.Ulimit{}
	}
	u.values[limit.Name] = limit
	return nil
}

// Type names the flag's argument in help.
func (*Ulimits) Type() string { return "ulimit" }

func (u *Ulimits) String() string {
	if u == nil || len(u.values) == 0 {
		return ""
	}
	return fmt.Sprint(u.List())
}

// List is in the order of names.
func (u *Ulimits) List() []*container.Ulimit {
	var list []*container.Ulimit
	for _, limit := range u.values {
		list = append(list, limit)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Umask is octal.
type Umask struct{ Value *uint32 }

// Set reads the octal number.
func (u *Umask) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("invalid umask %q: must be an octal number up to 0777", text)
	}
	mask := uint32(n)
	u.Value = &mask
	return nil
}

// Type names the flag's argument in help.
func (*Umask) Type() string { return "octal" }

func (u *Umask) String() string {
	if u == nil || u.Value == nil {
		return ""
	}
	return fmt.Sprintf("%#o", *u.Value)
}

// Filters are what lists and prunes are narrowed by.
type Filters struct{ values map[string]map[string]bool }

// Set reads name=value.
func (f *Filters) Set(text string) error {
	if text == "" {
		return nil
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("bad format of filter (expected name=value)")
	}
	f.Add(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value))
	return nil
}

// Add adds a filter.
func (f *Filters) Add(name, value string) {
	if f.values == nil {
		f.values = map[string]map[string]bool{}
	}
	if f.values[name] == nil {
		f.values[name] = map[string]bool{}
	}
	f.values[name][value] = true
}

// Type names the flag's argument in help.
func (*Filters) Type() string { return "filter" }

func (f *Filters) String() string { return "" }

// Any reports whether there is a filter of that name.
func (f *Filters) Any(name string) bool { return len(f.values[name]) > 0 }

// Names are the names of the filters that were given, in alphabetical order.
func (f *Filters) Names() []string {
	var names []string
	for name := range f.values {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Encode is the JSON that the API takes; empty without filters.
func (f *Filters) Encode() string {
	if len(f.values) == 0 {
		return ""
	}
	text, err := encodeFilters(f.values)
	if err != nil {
		return ""
	}
	return text
}

// CheckIP refuses what is no address.
func CheckIP(text string) (string, error) {
	address, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return "", fmt.Errorf("IP address is not correctly formatted: %s", text)
	}
	return address.String(), nil
}

// Addresses turns checked texts into addresses.
func Addresses(texts []string) []netip.Addr {
	list := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// CheckDomain refuses what can't be a search domain; "." alone means none.
func CheckDomain(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "." {
		return text, nil
	}
	name := strings.TrimSuffix(text, ".")
	letter := false
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("%s is not a valid domain", text)
		}
		for _, c := range label {
			switch {
			case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
				letter = true
			case c >= '0' && c <= '9' || c == '-' || c == '_':
			default:
				return "", fmt.Errorf("%s is not a valid domain", text)
			}
		}
	}
	if !letter || len(name) > 254 {
		return "", fmt.Errorf("%s is not a valid domain", text)
	}
	return text, nil
}

// CheckLabel refuses a label without a name, or with blanks in it.
func CheckLabel(text string) (string, error) {
	key, _, _ := strings.Cut(text, "=")
	key = strings.TrimLeft(key, " \t")
	if key == "" {
		return "", fmt.Errorf("invalid label '%s': empty name", text)
	}
	if strings.ContainsAny(key, " \t") {
		return "", fmt.Errorf("label '%s' contains whitespaces", key)
	}
	return text, nil
}

// CheckSysctl lets those pass that have a namespace of their own.
func CheckSysctl(text string) (string, error) {
	key, _, ok := strings.Cut(text, "=")
	if !ok {
		return "", fmt.Errorf("sysctl '%s' is not allowed", text)
	}
	switch key {
	case "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced":
		return text, nil
	}
	if strings.HasPrefix(key, "net.") || strings.HasPrefix(key, "fs.mqueue.") {
		return text, nil
	}
	return "", fmt.Errorf("sysctl '%s' is not allowed", text)
}

// CheckHost reads name:address or name=address; "host-gateway" stands for the host, and brackets may surround IPv6.
func CheckHost(text string) (string, error) {
	name, address, ok := strings.Cut(text, "=")
	if !ok {
		name, address, ok = strings.Cut(text, ":")
	}
	if !ok || name == "" {
		return "", fmt.Errorf("bad format for add-host: %q", text)
	}
	if address == "host-gateway" {
		return name + ":" + address, nil
	}
	bare := address
	if strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]") {
		bare = bare[1 : len(bare)-1]
	}
	if _, err := netip.ParseAddr(bare); err != nil {
		return "", fmt.Errorf("invalid IP address in add-host: %q", address)
	}
	return name + ":" + bare, nil
}

// CheckLink reads container[:alias].
func CheckLink(text string) (string, error) {
	if text == "" {
		return "", errors.New("empty string specified for links")
	}
	if strings.Count(text, ":") > 1 {
		return "", errors.New("bad format for links: " + text)
	}
	return text, nil
}

// CheckAttach reads the name of a stream.
func CheckAttach(text string) (string, error) {
	switch s := strings.ToLower(text); s {
	case "stdin", "stdout", "stderr":
		return s, nil
	}
	return "", errors.New("valid streams are STDIN, STDOUT and STDERR")
}

// RestartPolicy reads no, always, unless-stopped, on-failure[:times].
func RestartPolicy(text string) (container.RestartPolicy, error) {
	if text == "" {
		return container.RestartPolicy{}, nil
	}
	name, times, counted := strings.Cut(text, ":")
	if name == "" {
		return container.RestartPolicy{}, errors.New("invalid restart policy format: no policy provided before colon")
	}
	policy := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if counted {
		n, err := strconv.Atoi(times)
		if err != nil {
			return container.RestartPolicy{}, errors.New("invalid restart policy format: maximum retry count must be an integer")
		}
		policy.MaximumRetryCount = n
	}
	return policy, nil
}

func encodeFilters(values map[string]map[string]bool) (string, error) {
	text, err := json.Marshal(values)
	return string(text), err
}
