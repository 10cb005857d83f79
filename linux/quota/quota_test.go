package quota

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func TestLayouts(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(entry{}); size != 112 {
		t.Errorf("struct fs_disk_quota has 112 bytes, not %d", size)
	}
	if at := unsafe.Offsetof(entry{}.realtime); at != 72 {
		t.Errorf("d_rtb_hardlimit is at 72, not %d", at)
	}
	if size := unsafe.Sizeof(attributes{}); size != 28 {
		t.Errorf("struct fsxattr has 28 bytes, not %d", size)
	}
}

func TestWithoutQuotas(t *testing.T) {
	t.Parallel()
	p, folder := New(), t.TempDir()
	if p.Supported(folder) {
		t.Skip("the file system of temporary files has project quotas")
	}
	if err := p.Limit(1<<20, folder); err == nil {
		t.Error("a limit was set where there are none")
	}
	if limit, used, err := p.Of(folder); limit != 0 || used != 0 || err != nil {
		t.Errorf("%d of %d, %v", used, limit, err)
	}
	for _, path := range []string{folder, folder + "/missing"} {
		if err := p.Release(path); err != nil {
			t.Errorf("nothing to release: %v", err)
		}
	}
}

// TestLimits makes the file systems that have project quotas. Kernels without them (CONFIG_QFMT_V2, CONFIG_XFS_QUOTA) skip it; the
// machine of `make vm` has them.
func TestLimits(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	for _, test := range []struct {
		kind, size, options string
		mkfs                []string
	}{
		{"ext4", "64M", "loop,prjquota", []string{"mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"}},
		{"xfs", "320M", "loop,pquota", []string{"mkfs.xfs", "-q"}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			image, top := filepath.Join(t.TempDir(), "disk"), t.TempDir()
			if said, err := exec.Command("truncate", "-s", test.size, image).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			if said, err := exec.Command(test.mkfs[0], append(test.mkfs[1:], image)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			if said, err := exec.Command("mount", "-o", test.options, image, top).CombinedOutput(); err != nil {
				t.Skipf("the kernel can't mount %s with project quotas: %s", test.kind, said)
			}
			defer func() {
				if err := syscall.Unmount(top, 0); err != nil {
					t.Error(err)
				}
			}()
			limits(t, top)
		})
	}
}

func limits(t *testing.T, top string) {
	p := New()
	if !p.Supported(top) {
		t.Fatal("not supported")
	}
	one, two, other := top+"/one", top+"/two", top+"/other"
	for _, folder := range []string{one, two, other} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(p.Limit(4<<20, one, two), p.Limit(8<<20, other)); err != nil {
		t.Fatal(err)
	}
	if said, err := write(one+"/a", 3); err != nil {
		t.Errorf("within the limit: %v: %s", err, said)
	}
	if said, err := write(two+"/b", 3); err == nil || !strings.Contains(said, "Disk quota exceeded") && !strings.Contains(said, "No space left on device") {
		t.Errorf("beyond the limit, in the other folder of the project: %v: %s", err, said)
	}
	if said, err := write(other+"/c", 7); err != nil {
		t.Errorf("another project has a limit of its own: %v: %s", err, said)
	}
	if limit, used, err := New().Of(one); limit != 4<<20 || used < 3<<20 || err != nil {
		t.Errorf("%d of %d, %v", used, limit, err)
	}
	// Whoever comes later, as after a restart, takes nobody's number.
	third := top + "/third"
	if err := errors.Join(os.Mkdir(third, 0o700), New().Limit(1<<20, third)); err != nil {
		t.Fatal(err)
	}
	if limit, _, err := p.Of(other); limit != 8<<20 || err != nil {
		t.Errorf("a limit was overwritten: %d, %v", limit, err)
	}
	if err := p.Release(one); err != nil {
		t.Fatal(err)
	}
	if said, err := write(two+"/b", 5); err != nil {
		t.Errorf("without a limit: %v: %s", err, said)
	}
}

// write makes a file of so many megabytes without CAP_SYS_RESOURCE: who has it may go beyond the limits of ext4.
func write(path string, megabytes int) (said string, err error) {
	output, err := exec.Command("setpriv", "--bounding-set", "-sys_resource", "dd", "if=/dev/zero", "of="+path, "bs=1M", fmt.Sprintf("count=%d", megabytes)).CombinedOutput()
	return string(output), err
}
