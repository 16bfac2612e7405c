// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/policy"
)

// TestLogin: a login goes to the registry that was named and to its own token service, whatever
// realm it names, and what is refused is AUTH.
func TestLogin(t *testing.T) {
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` +
		`44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`
	basic := "Basic dXNlcjpwYXNz"
	for name, c := range map[string]struct {
		host, realm string // of the registry, and where it sends for a token; "" for a password itself
		none        bool   // nobody is logged in
		wrong       bool   // the login is refused
		hosts       []string
		want        policy.Reason
	}{
		"a password":       {host: "registry.example"},
		"a wrong password": {host: "registry.example", wrong: true, want: policy.RegistryLogin},
		"no login":         {host: "registry.example", none: true, want: policy.RegistryLogin},
		"its own token":    {host: "registry.example", realm: "https://registry.example/token"},
		"its own token refused": {
			host: "registry.example", realm: "https://registry.example/token", wrong: true, want: policy.RegistryLogin,
		},
		"the token service": {host: "registry.gitlab.com", realm: "https://gitlab.com/jwt/auth"},
		"another host": {
			host: "registry.example", realm: "https://evil.example/token", want: policy.ReleaseUnreachable,
		},
		"another host that the user named": {
			host: "registry.example", realm: "https://evil.example/token", hosts: []string{"evil.example"},
			want: policy.ReleaseUnreachable,
		},
		"a host for content": {
			host: "ghcr.io", realm: "https://pkg-containers.githubusercontent.com/token", want: policy.ReleaseUnreachable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			serve := func(w http.ResponseWriter, r *http.Request) {
				got := r.Header.Get("Authorization")
				right := got == basic && !c.wrong
				switch {
				case strings.HasSuffix(r.URL.Path, "/token") || strings.HasSuffix(r.URL.Path, "/auth"):
					if !right {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					fmt.Fprint(w, `{"token":"t"}`)
				case right && c.realm == "" || got == "Bearer t":
					if !strings.HasSuffix(r.URL.Path, "/manifests/v1") {
						w.WriteHeader(http.StatusNotFound)
						return
					}
					w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
					fmt.Fprint(w, manifest)
				default:
					challenge := `Basic realm="x"`
					if c.realm != "" {
						challenge = fmt.Sprintf(`Bearer realm=%q,service="s"`, c.realm)
					}
					w.Header().Set("WWW-Authenticate", challenge)
					w.WriteHeader(http.StatusUnauthorized)
				}
			}
			n := newInternet(t, map[string]http.HandlerFunc{
				"registry.example": serve, "registry.gitlab.com": serve, "gitlab.com": serve, "evil.example": serve,
				"ghcr.io": serve, "pkg-containers.githubusercontent.com": serve,
			})
			n.login = c.host + " gitlab.com"
			how := n.net()
			how.Hosts = c.hosts
			how.Credential = func(_ context.Context, host string) (auth.Credential, error) {
				if c.none || host != c.host {
					return auth.EmptyCredential, nil
				}
				return auth.Credential{Username: "user", Password: "pass"}, nil
			}
			a, err := Image(t.Context(), "oci://"+c.host+"/acme/widget:v1", how)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && a.Err != nil || c.want != "" && (a.Err == nil || a.Err.Reason != c.want) {
				t.Errorf("%v", a.Err)
			}
			if slices.ContainsFunc(n.asked, func(u string) bool { return strings.Contains(u, "evil.example") }) {
				t.Errorf("asked %v", n.asked)
			}
		})
	}
}
