package option

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/mount"
)

// FuzzValues feeds every flag that reads more than a word: none may panic, and what is taken must be usable.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{
		"type=bind,src=/a,dst=/b,ro", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", "src=v,dst=/b,volume-opt=a=b,volume-label=c",
		"name=back,alias=db,ip=10.0.0.9,driver-opt=a=b,gw-priority=-1", "front", "/dev/null:/dev/x:rw", "vendor.com/gpu=all",
		"nofile=1:2", "core=-1", "on-failure:3", "/dev/sda:1mb", "/dev/sda:100", `"device=0,1",driver=nvidia`, "all", "64m", "1.5", "0777",
		"c 1:3 rwm", "db:10.0.0.1", "db=[::1]", "a:b", "seccomp=x", "label=a=b", "\"", ",", "=", "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var mounts Mounts
		if mounts.Set(text) == nil {
			if len(mounts.Values) != 1 || mounts.Values[0].Type == "" {
				t.Errorf("mount %q: %+v", text, mounts.Values)
			}
			if m := mounts.Values[0]; m.Type != mount.TypeBind && m.BindOptions != nil {
				t.Errorf("mount %q has options of another type", text)
			}
		}
		var networks Networks
		if networks.Set(text) == nil && len(networks.Values) != 1 {
			t.Errorf("network %q: %+v", text, networks.Values)
		}
		if nodes, cdi, err := Devices([]string{text}); err == nil && len(nodes)+len(cdi) != 1 {
			t.Errorf("device %q: %v %v", text, nodes, cdi)
		}
		var limits Ulimits
		if limits.Set(text) == nil && (len(limits.List()) != 1 || limits.List()[0].Name == "") {
			t.Errorf("ulimit %q: %v", text, limits.List())
		}
		if policy, err := RestartPolicy(text); err == nil && policy.Name == "" && text != "" {
			t.Errorf("policy %q has no name", text)
		}
		for _, value := range []interface{ Set(string) error }{
			&Weights{}, &Rates{}, &Rates{Bytes: true}, &GPUs{}, &Bytes{}, &Bytes{Unlimited: true}, new(CPUs), &Umask{}, &Filters{}, &List{}, &Map{},
		} {
			_ = value.Set(text) // whether it is taken is the tables' business: here nothing may break
		}
		for _, check := range []func(string) (string, error){
			CheckAttach, CheckDeviceRule, CheckDomain, CheckEnv, CheckHost, CheckIP, CheckLabel, CheckLink, CheckSysctl,
		} {
			if out, err := check(text); err == nil && out == "" && text != "" {
				t.Errorf("%q was taken for nothing", text)
			}
		}
	})
}

func FuzzVolumes(f *testing.F) {
	for _, seed := range []string{"/data", "name:/b:ro", "./x:/y", "::", "a:b:c:d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		binds, anonymous, err := Volumes([]string{spec})
		if err == nil && len(binds)+len(anonymous) != 1 {
			t.Errorf("%q: %q %v", spec, binds, anonymous)
		}
		if len(Tmpfs([]string{spec})) != 1 {
			t.Errorf("tmpfs %q is lost", spec)
		}
	})
}

func FuzzEnvironmentFile(f *testing.F) {
	for _, seed := range []string{"A=1\nB", "\xef\xbb\xbf# x\n\n C= d ", "A B=1", "=x", "\xff"} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "env")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		variables, err := Environment([]string{path}, nil)
		for _, variable := range variables {
			name, _, ok := strings.Cut(variable, "=")
			if err == nil && (!ok || name == "" || strings.ContainsAny(name, " \t")) {
				t.Errorf("%q gives the variable %q", text, variable)
			}
		}
	})
}
