package wire

import (
	"encoding/json"
	"hash/crc32"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/berth-engine/berth/core"
)

// filled sets every field of a value to something of its own, so that a conversion that forgets or mixes up fields
// is found. What it sets follows from the field's path, so that a new field leaves the others as they were.
func filled[T any]() T {
	var value T
	fill(reflect.ValueOf(&value).Elem(), "")
	return value
}

func fill(v reflect.Value, path string) {
	sum := crc32.ChecksumIEEE([]byte(path))
	a, b := byte(sum), byte(sum>>8)
	switch special := v.Addr().Interface().(type) {
	case *netip.Addr:
		*special = netip.AddrFrom4([4]byte{10, a, b, 1})
		return
	case *netip.Prefix:
		*special = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, a, b, 0}), 24)
		return
	case *time.Time:
		*special = time.Unix(1_700_000_000+int64(sum%1_000_000), 0).UTC()
		return
	case *net.HardwareAddr:
		*special = net.HardwareAddr{2, 0, 0, 0, a, b}
		return
	case *core.Port:
		*special = core.Port{Number: uint16(sum), Protocol: core.UDP}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name := path + "." + field.Name
			if field.Anonymous {
				name = path
			}
			fill(v.Field(i), name)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), path+"[0]")
		fill(v.Index(1), path+"[1]")
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, "a key")
		fill(value, path+" value")
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(strings.TrimPrefix(path, "."))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(sum%100_000) + 1)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		v.SetUint(uint64(sum%200) + 1)
	default:
		panic("no value for " + v.Type().String())
	}
}

// throughJSON sends a shape over the wire and reads it back.
func throughJSON[T any](t *testing.T, shape *T) *T {
	t.Helper()
	data, err := json.Marshal(shape)
	if err != nil {
		t.Fatal(err)
	}
	back := new(T)
	if err := json.Unmarshal(data, back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestNoFieldOfAContainerIsSwallowedOnTheWay(t *testing.T) {
	t.Parallel()
	t.Run("config", func(t *testing.T) {
		t.Parallel()
		want := filled[core.Config]()
		slices.SortFunc(want.ExposedPorts, comparePorts) // a set: it comes back in order
		got, err := configFrom(throughJSON(t, config(&want)))
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	})
	t.Run("host config", func(t *testing.T) {
		t.Parallel()
		want := filled[core.HostConfig]()
		got, err := hostConfigFrom(throughJSON(t, hostConfig(&want)))
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	})
	t.Run("what was asked of an endpoint", func(t *testing.T) {
		t.Parallel()
		e := filled[core.Endpoint]()
		want := &core.Endpoint{
			Aliases: e.Aliases, Links: e.Links, DriverOpts: e.DriverOpts, GwPriority: e.GwPriority,
			IPv4: e.IPv4, IPv6: e.IPv6, LinkLocal: e.LinkLocal, WantMAC: e.WantMAC,
		}
		same(t, endpointFrom(throughJSON(t, endpoint(want))), want)
	})
	t.Run("pool of a network", func(t *testing.T) {
		t.Parallel()
		want := filled[core.IPPool]()
		shape := pool(want)
		same(t, poolFrom(*throughJSON(t, &shape)), want)
	})
}

func TestEveryFieldOfAShapeIsReadOrLeftOutOnPurpose(t *testing.T) {
	t.Parallel()
	// From the other side: fields that moby's types have and core does not are these, all of them for Windows.
	onPurpose := map[string]bool{"CPUCount": true, "CPUPercent": true, "IOMaximumIOps": true, "IOMaximumBandwidth": true}
	var missing []string
	check := func(shape, value reflect.Type, renamed map[string]string) {
		for i := range shape.NumField() {
			field := shape.Field(i)
			if field.Anonymous || onPurpose[field.Name] {
				continue
			}
			name := field.Name
			if other, ok := renamed[name]; ok {
				name = other
			}
			if _, ok := value.FieldByName(name); !ok {
				missing = append(missing, shape.String()+"."+field.Name)
			}
		}
	}
	check(reflect.TypeFor[container.Config](), reflect.TypeFor[core.Config](), nil)
	check(reflect.TypeFor[container.HostConfig](), reflect.TypeFor[core.HostConfig](), map[string]string{"Mounts": "MountSpecs"})
	check(reflect.TypeFor[container.Resources](), reflect.TypeFor[core.Resources](), nil)
	check(reflect.TypeFor[network.IPAMConfig](), reflect.TypeFor[core.IPPool](), map[string]string{"IPRange": "Range", "AuxAddress": "Aux"})
	if len(missing) > 0 {
		t.Errorf("core has no place for %v", missing)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	diff(t, "", reflect.ValueOf(got), reflect.ValueOf(want))
	if !t.Failed() {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// diff names the fields that differ.
func diff(t *testing.T, path string, got, want reflect.Value) {
	t.Helper()
	if got.Kind() == reflect.Pointer && !got.IsNil() && !want.IsNil() {
		diff(t, path, got.Elem(), want.Elem())
		return
	}
	if got.Kind() != reflect.Struct {
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s: got %v, want %v", path, got.Interface(), want.Interface())
		}
		return
	}
	for i := range got.NumField() {
		if !reflect.DeepEqual(got.Field(i).Interface(), want.Field(i).Interface()) {
			diff(t, path+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))
		}
	}
}
