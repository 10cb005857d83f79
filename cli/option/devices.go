package option

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
)

// Devices reads the values of --device: a path on the host, where it appears, and permissions; or the qualified name of
// a CDI device (vendor/class=name).
func Devices(specs []string) (nodes []container.DeviceMapping, cdi []string, err error) {
	nodes = []container.DeviceMapping{}
	for _, spec := range specs {
		if isCDI(spec) {
			cdi = append(cdi, spec)
			continue
		}
		node, err := device(spec)
		if err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, cdi, nil
}

func isCDI(spec string) bool {
	kind, name, ok := strings.Cut(spec, "=")
	vendor, class, hasClass := strings.Cut(kind, "/")
	return ok && hasClass && vendor != "" && class != "" && name != "" && !strings.ContainsAny(spec, ":")
}

func device(spec string) (container.DeviceMapping, error) {
	parts := strings.Split(spec, ":")
	d := container.DeviceMapping{PathOnHost: parts[0], CgroupPermissions: "rwm"}
	switch {
	case spec == "" || len(parts) > 3:
		return d, fmt.Errorf("bad format for path: %s", spec)
	case len(parts) == 3:
		if !validMode(parts[2]) {
			return d, fmt.Errorf("bad mode specified: %s", parts[2])
		}
		d.PathInContainer, d.CgroupPermissions = parts[1], parts[2]
	case len(parts) == 2 && validMode(parts[1]):
		d.CgroupPermissions = parts[1]
	case len(parts) == 2:
		d.PathInContainer = parts[1]
	}
	if d.PathInContainer == "" {
		d.PathInContainer = d.PathOnHost
	}
	if !strings.HasPrefix(d.PathInContainer, "/") {
		return d, fmt.Errorf("%s is not an absolute path", d.PathInContainer)
	}
	return d, nil
}

func validMode(mode string) bool {
	seen := map[rune]bool{}
	for _, c := range mode {
		if !strings.ContainsRune("rwm", c) || seen[c] {
			return false
		}
		seen[c] = true
	}
	return mode != ""
}

// CheckDeviceRule reads "c 1:3 rwm".
func CheckDeviceRule(text string) (string, error) {
	bad := fmt.Errorf("invalid device cgroup format '%s'", text)
	words := strings.Split(text, " ")
	if len(words) != 3 || !strings.Contains("acb", words[0]) || len(words[0]) != 1 || !validMode(words[2]) {
		return "", bad
	}
	major, minor, ok := strings.Cut(words[1], ":")
	if !ok || !numberOrStar(major) || !numberOrStar(minor) {
		return "", bad
	}
	return text, nil
}

func numberOrStar(s string) bool {
	if s == "*" {
		return true
	}
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// Weights are shares of block devices: path:weight.
type Weights struct{ Values []*blkiodev.WeightDevice }

// Type names the flag's argument in help.
func (*Weights) Type() string { return "list" }

func (*Weights) String() string { return "" }

// Set adds one.
func (w *Weights) Set(text string) error {
	path, number, err := devicePair(text)
	if err != nil {
		return err
	}
	weight, err := strconv.ParseUint(number, 10, 16)
	if err != nil || weight > 0 && (weight < 10 || weight > 1000) {
		return fmt.Errorf("invalid weight for device: %s", text)
	}
	w.Values = append(w.Values, &blkiodev.WeightDevice{Path: path, Weight: uint16(weight)})
	return nil
}

// Rates are limits of block devices: path:rate. With Bytes the rate may have a unit.
type Rates struct {
	Bytes  bool
	Values []*blkiodev.ThrottleDevice
}

// Type names the flag's argument in help.
func (*Rates) Type() string { return "list" }

func (*Rates) String() string { return "" }

// Set adds one.
func (r *Rates) Set(text string) error {
	path, number, err := devicePair(text)
	if err != nil {
		return err
	}
	var rate uint64
	if r.Bytes {
		size, err := units.RAMInBytes(number)
		if err != nil || size < 0 {
			return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb", text)
		}
		rate = uint64(size)
	} else if rate, err = strconv.ParseUint(number, 10, 64); err != nil {
		return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>. Number must be a positive integer", text)
	}
	r.Values = append(r.Values, &blkiodev.ThrottleDevice{Path: path, Rate: rate})
	return nil
}

func devicePair(text string) (path, number string, err error) {
	path, number, ok := strings.Cut(text, ":")
	if !ok || path == "" || number == "" {
		return "", "", fmt.Errorf("bad format: %s", text)
	}
	if !strings.HasPrefix(path, "/dev/") {
		return "", "", fmt.Errorf("bad format for device path: %s", text)
	}
	return path, number, nil
}

// GPUs are requests for graphics processors.
type GPUs struct{ Values []container.DeviceRequest }

// Type names the flag's argument in help.
func (*GPUs) Type() string { return "gpu-request" }

func (*GPUs) String() string { return "" }

// Set reads "all", a number, or count=…,device=…,driver=…,capabilities=…,options=….
func (g *GPUs) Set(text string) error {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return err
	}
	request := container.DeviceRequest{}
	seen := map[string]bool{}
	for _, field := range fields {
		key, value, hasValue := strings.Cut(field, "=")
		if seen[key] {
			return fmt.Errorf("gpu request key '%s' can be specified only once", key)
		}
		seen[key] = true
		if !hasValue {
			seen["count"] = true
			key, value = "count", key
		}
		if err := gpuField(&request, key, value, field); err != nil {
			return err
		}
	}
	if !seen["count"] && request.DeviceIDs == nil {
		request.Count = 1
	}
	if request.Options == nil {
		request.Options = map[string]string{}
	}
	if request.Capabilities == nil {
		request.Capabilities = [][]string{{"gpu"}}
	}
	g.Values = append(g.Values, request)
	return nil
}

func gpuField(request *container.DeviceRequest, key, value, field string) (err error) {
	switch key {
	case "driver":
		request.Driver = value
	case "count":
		if value == "all" {
			request.Count = -1
			return nil
		}
		if request.Count, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf(`invalid count (%s): value must be either "all" or an integer: %w`, value, reason(err))
		}
	case "device":
		request.DeviceIDs = strings.Split(value, ",")
	case "capabilities":
		request.Capabilities = [][]string{append(strings.Split(value, ","), "gpu")}
	case "options":
		pairs, err := csv.NewReader(strings.NewReader(value)).Read()
		if err != nil {
			return fmt.Errorf("failed to read gpu options: %w", err)
		}
		request.Options = PairMap(pairs)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}

// LogOptions are the options of a log driver.
func LogOptions(driver string, pairs []string) (map[string]string, error) {
	options := PairMap(pairs)
	if driver == "none" && len(pairs) > 0 {
		return nil, fmt.Errorf("invalid logging opts for driver %s", driver)
	}
	return options, nil
}

// SecurityOptions checks each option, and replaces the path of a seccomp profile by its text, since the daemon may be on
// another machine.
func SecurityOptions(values []string) ([]string, error) {
	checked := make([]string, 0, len(values))
	for _, value := range values {
		key, rest, ok := strings.Cut(value, "=")
		if !ok && value != "no-new-privileges" {
			if key, rest, ok = strings.Cut(value, ":"); !ok {
				return nil, fmt.Errorf("invalid --security-opt: %q", value)
			}
		}
		if key == "seccomp" && rest != "unconfined" && rest != "builtin" {
			profile, err := os.ReadFile(rest)
			if err != nil {
				return nil, fmt.Errorf("opening seccomp profile (%s) failed: %w", rest, err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, profile); err != nil {
				return nil, fmt.Errorf("compacting json for seccomp profile (%s) failed: %w", rest, err)
			}
			value = "seccomp=" + compact.String()
		}
		checked = append(checked, value)
	}
	return checked, nil
}

// SystemPaths takes "systempaths=unconfined" out of the options: it means that nothing is masked or read-only.
func SystemPaths(values []string) (rest, masked, readonly []string) {
	for _, value := range values {
		if value == "systempaths=unconfined" {
			masked, readonly = []string{}, []string{}
			continue
		}
		rest = append(rest, value)
	}
	return rest, masked, readonly
}

// StorageOptions are pairs that need a value.
func StorageOptions(pairs []string) (map[string]string, error) {
	for _, pair := range pairs {
		if !strings.Contains(pair, "=") {
			return nil, errors.New("invalid storage option")
		}
	}
	return PairMap(pairs), nil
}
