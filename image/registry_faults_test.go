package image

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestLayerWithWrongContentIsRefusedAndForgotten(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	layer := tarOf(t, file("hello", "good"))
	registry := newFakeRegistry(t, layer)
	registry.blobs[sum(layer)] = string(tarOf(t, file("hello", "evil")))
	_, err := o.pull(registry.name(), nil)
	wantError(t, err, "filesystem layer verification failed for digest sha256:"+sum(layer))
	if list, err := o.Images().List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left images: %v, %v", list, err)
	}
	if statuses, err := o.content.ListStatuses(o.context(t.Context())); err != nil || len(statuses) != 0 {
		t.Errorf("left half-written blobs: %v, %v", statuses, err)
	}
	if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
		t.Errorf("left %d blobs and %d snapshots", blobs, snapshots)
	}
	registry.blobs[sum(layer)] = string(layer)
	if _, err := o.pull(registry.name(), nil); err != nil {
		t.Errorf("with the right content: %v", err)
	}
}

func TestInterruptedPullIsContinued(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	layer := tarOf(t, file("hello", strings.Repeat("0123456789", 400_000)))
	registry := newFakeRegistry(t, layer)
	registry.check = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, sum(layer)) {
			return true
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
		if _, err := w.Write(layer[:len(layer)/2]); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler) // the connection breaks
	}
	if _, err := o.pull(registry.name(), nil); err == nil {
		t.Fatal("half a layer was enough")
	}
	registry.check, registry.requests = nil, nil
	if _, err := o.pull(registry.name(), nil); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(registry.requests, func(request string) bool {
		return strings.Contains(request, sum(layer)+" bytes=") && !strings.Contains(request, "bytes=0-")
	}) {
		t.Errorf("no request goes on where the last one broke off: %q", registry.requests)
	}
}

// basic lets in who has the name and password "user" and "secret".
func basic(w http.ResponseWriter, r *http.Request) bool {
	if name, password, ok := r.BasicAuth(); ok && name == "user" && password == "secret" {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
	return false
}

// bearer lets in who has a token, which "/token" gives to the same user.
func bearer(address string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			name, password, _ := r.BasicAuth()
			if r.Method == http.MethodPost {
				name, password = r.FormValue("username"), r.FormValue("password")
				if r.FormValue("refresh_token") == "lasting" {
					name, password = "user", "secret"
				}
			}
			if name != "user" || password != "secret" {
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`, http.StatusUnauthorized)
				return false
			}
			fmt.Fprint(w, `{"token":"good","access_token":"good","refresh_token":"lasting"}`)
			return false
		}
		if r.Header.Get("Authorization") == "Bearer good" {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+address+`/token",service="test",scope="repository:app:pull"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return false
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	good, bad := &core.RegistryAuth{Username: "user", Password: "secret"}, &core.RegistryAuth{Username: "user", Password: "wrong"}
	cases := map[string]struct {
		bearer  bool
		auth    *core.RegistryAuth
		refused bool
	}{
		"name and password":            {false, good, false},
		"a wrong password":             {false, bad, true},
		"no credentials":               {false, nil, true},
		"a token for them":             {true, good, false},
		"no token for a wrong one":     {true, bad, true},
		"no token without credentials": {true, nil, true},
		"an identity token":            {true, &core.RegistryAuth{IdentityToken: "lasting"}, false},
		"a token brought along":        {true, &core.RegistryAuth{RegistryToken: "good"}, false},
		"a bad token brought along":    {true, &core.RegistryAuth{RegistryToken: "bad"}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			registry := newFakeRegistry(t, tarOf(t, file("hello", "x")))
			registry.check = basic
			if c.bearer {
				registry.check = bearer(registry.URL)
			}
			_, err := o.pull(registry.name(), c.auth)
			if !c.refused {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, "pull access denied for "+strings.TrimSuffix(registry.name(), ":1")+", repository does not exist or may require 'docker login': ")
			if !errdefs.IsNotFound(err) {
				t.Errorf("the error has the wrong class: %v", err)
			}
		})
	}
}

func TestRedirectsLeadNoCredentialsAstray(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	layer := tarOf(t, file("hello", "x"))
	registry, thief := newFakeRegistry(t, layer), newFakeRegistry(t, layer)
	thief.check = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("the other host is sent %q", r.Header.Get("Authorization"))
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="trap"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	registry.check = func(w http.ResponseWriter, r *http.Request) bool {
		if !basic(w, r) {
			return false
		}
		if strings.HasSuffix(r.URL.Path, sum(layer)) {
			elsewhere := strings.Replace(thief.URL, "127.0.0.1", "localhost", 1) // one host's ports may share a login
			http.Redirect(w, r, elsewhere+"/v2/app/blobs/sha256:"+sum(layer), http.StatusTemporaryRedirect)
			return false
		}
		return true
	}
	if _, err := o.pull(registry.name(), &core.RegistryAuth{Username: "user", Password: "secret"}); err == nil {
		t.Error("the pull succeeded")
	}
	if len(thief.requests) == 0 {
		t.Error("the other host was not asked")
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	for _, scheme := range []string{"basic", "bearer"} {
		registry := newFakeRegistry(t)
		registry.check = basic
		if scheme == "bearer" {
			registry.check = bearer(registry.URL)
		}
		auth := core.RegistryAuth{Username: "user", Password: "secret", ServerAddress: registry.URL}
		status, token, err := o.Transfers().Login(t.Context(), auth)
		if err != nil || status != "Login Succeeded" || (scheme == "bearer") != (token == "lasting") {
			t.Errorf("%s: %q, %q, %v", scheme, status, token, err)
		}
		auth.Password = base64.StdEncoding.EncodeToString([]byte("wrong"))
		if _, _, err := o.Transfers().Login(t.Context(), auth); !errdefs.IsUnauthorized(err) {
			t.Errorf("%s with a wrong password: %v", scheme, err)
		}
	}
}

func TestMirrorsAreAskedFirst(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	mirror := newFakeRegistry(t, tarOf(t, file("hello", "x")))
	mirror.check = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("a mirror is sent credentials")
		}
		return true
	}
	o.options.Registries.HostMirrors = map[string][]string{"registry.invalid": {mirror.URL}}
	if _, err := o.pull("registry.invalid/app:1", &core.RegistryAuth{Username: "user", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	o.lookup("registry.invalid/app:1")
}
