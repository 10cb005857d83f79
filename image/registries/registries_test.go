package registries

import "testing"

func TestWhichRegistriesNeedNoCertificate(t *testing.T) {
	t.Parallel()
	r := Config{Insecure: []string{"plain.example:5000", "bare.example", "10.1.0.0/16"}}
	for address, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true,
		"plain.example:5000": true, "plain.example": false, "bare.example": true, "bare.example:5000": true,
		"10.1.2.3:5000": true, "10.2.2.3": false, "registry-1.docker.io": false, "localhost.example": false,
	} {
		if got := r.insecure(address); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}
