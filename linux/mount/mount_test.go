package mount

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options     []string
		bits        uintptr
		propagation int
		data        string
	}{
		{nil, 0, 0, ""},
		{[]string{"ro", "nosuid", "rw", "size=1m", "rslave", "nofail"}, unix.MS_NOSUID, 1, "size=1m"},
		{[]string{"context=u:r:t:s0", "size=1m"}, 0, 0, "context=u:r:t:s0,size=1m"},
		{[]string{"context=u:r:t:s0:c1,c2", "size=1m"}, 0, 0, `context="u:r:t:s0:c1,c2",size=1m`},
	} {
		bits, propagation, data := Options(test.options)
		if bits != test.bits || len(propagation) != test.propagation || data != test.data {
			t.Errorf("%q: %#x %v %q", test.options, bits, propagation, data)
		}
	}
}
