package define

import (
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestStorageOptions(t *testing.T) {
	t.Parallel()
	with, without := &Defaults{LayerQuota: true, LayerSize: 5}, &Defaults{}
	for _, test := range []struct {
		name    string
		options map[string]string
		d       *Defaults
		size    int64
		wrong   string
	}{
		{"none", nil, without, 0, ""},
		{"none, but the daemon has a default", nil, with, 5, ""},
		{"a size", map[string]string{"size": "2k"}, with, 2048, ""},
		{"a size where there are no quotas", map[string]string{"size": "2k"}, without, 0, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"},
		{"no size", map[string]string{"size": "much"}, with, 0, "invalid size: 'much'"},
		{"another option", map[string]string{"colour": "red"}, with, 0, "unknown option colour"},
	} {
		err := checkStorage(test.options, test.d)
		if test.wrong != "" {
			if !errdefs.IsInvalidArgument(err) || err.Error() != test.wrong {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		c := &core.Container{Host: core.HostConfig{StorageOpt: test.options}}
		if size := LayerSize(c, test.d); err != nil || size != test.size {
			t.Errorf("%s: %d, %v", test.name, size, err)
		}
	}
}
