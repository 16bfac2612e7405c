// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// registryHosts are the hosts that registries send anonymous clients to: for a
// token, and for the content of layers.
// https://docs.docker.com/desktop/setup/allow-list/,
// https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry,
// https://access.redhat.com/articles/7082334
var registryHosts = map[string][]string{
	"registry-1.docker.io": {
		"auth.docker.io", "production.cloudflare.docker.com",
		"docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
	},
	"ghcr.io":             {"pkg-containers.githubusercontent.com"},
	"quay.io":             {"cdn.quay.io", "cdn01.quay.io", "cdn02.quay.io", "cdn03.quay.io"},
	"registry.gitlab.com": {"gitlab.com", "cdn.registry.gitlab-static.net"},
}

// Registry returns the hosts that a client of a registry may ask: itself first,
// then those that it sends its clients to.
func Registry(host string) []string { return append([]string{host}, registryHosts[host]...) }

// tokenServices are the hosts beside a registry's own that a login is shown to, for a token.
var tokenServices = map[string][]string{
	"registry-1.docker.io": {"auth.docker.io"},
	"registry.gitlab.com":  {"gitlab.com"},
}

// Logins returns a transport that shows a login for a registry to the registry and its token
// service, whatever host an answer names: who has a header with a password, or what is posted, goes
// nowhere else. A bearer token is none.
func Logins(next http.RoundTripper, registry string) http.RoundTripper {
	if next == nil {
		next = Default()
	}
	return &logins{next, append([]string{registry}, tokenServices[registry]...)}
}

type logins struct {
	next  http.RoundTripper
	hosts []string
}

// RoundTrip implements http.RoundTripper.
func (l *logins) RoundTrip(r *http.Request) (*http.Response, error) {
	header := r.Header.Get("Authorization")
	isToken := header == "" || len(header) > 7 && strings.EqualFold(header[:7], "bearer ")
	if (!isToken || !reading(r.Method)) && !slices.Contains(l.hosts, strings.ToLower(r.URL.Host)) {
		return nil, fmt.Errorf("%s wants the login for %s, which it is not shown", r.URL.Host, l.hosts[0])
	}
	return l.next.RoundTrip(r)
}
