// SPDX-License-Identifier: Apache-2.0

package web

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
