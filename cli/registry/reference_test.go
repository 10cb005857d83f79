package registry

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for text, want := range map[string][3]string{
		"busybox":                  {"busybox:latest", "docker.io/library/busybox:latest", "https://index.docker.io/v1/"},
		"me/app:1":                 {"me/app:1", "docker.io/me/app:1", "https://index.docker.io/v1/"},
		"docker.io/busybox":        {"busybox:latest", "docker.io/library/busybox:latest", "https://index.docker.io/v1/"},
		"localhost:5000/a/b:x":     {"localhost:5000/a/b:x", "localhost:5000/a/b:x", "localhost:5000"},
		"reg.example.com/a":        {"reg.example.com/a:latest", "reg.example.com/a:latest", "reg.example.com"},
		"busybox@" + digest:        {"busybox@" + digest, "docker.io/library/busybox@" + digest, "https://index.docker.io/v1/"},
		"localhost/a_b__c-d.e:T_1": {"localhost/a_b__c-d.e:T_1", "localhost/a_b__c-d.e:T_1", "localhost"},
	} {
		r, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := [3]string{r.Familiar(), r.String(), r.Server()}; got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"":          "invalid reference format",
		"UPPER":     "invalid reference format: repository name (library/UPPER) must be lowercase",
		"a:":        "invalid reference format",
		"a//b":      "invalid reference format",
		"a:b c":     "invalid reference format",
		"-a":        "invalid reference format",
		"a@sha256:": "invalid reference format",
		"../../x":   "invalid reference format",
	} {
		if _, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
