// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// pushed pushes an image, with what its workflow signed about it if sign is set, and returns its digest.
func pushed(t testing.TB, host, name, tag, repo string, sign bool) string {
	t.Helper()
	to, err := remote.NewRepository(host + "/" + name)
	check(t, err)
	to.SkipReferrersGC = true
	to.Client = &auth.Client{
		Client: &http.Client{Transport: stack.Transport()}, Cache: auth.NewCache(),
		Credential: auth.StaticCredential(host, auth.Credential{Username: forge.RegistryUser,
			Password: forge.RegistryPassword}),
	}
	push := func(mediaType string, data []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		check(t, to.Push(t.Context(), d, bytes.NewReader(data)))
		return d
	}
	manifest := func(tag string, subject *ocispec.Descriptor, layers ...ocispec.Descriptor) ocispec.Descriptor {
		m := ocispec.Manifest{
			MediaType: ocispec.MediaTypeImageManifest, Config: push(ocispec.MediaTypeImageConfig, []byte("{}")),
			Layers: layers, Subject: subject,
		}
		m.SchemaVersion = 2
		data, err := json.Marshal(m)
		check(t, err)
		d := push(m.MediaType, data)
		if tag != "" {
			check(t, to.Tag(t.Context(), d, tag))
		}
		return d
	}
	image := manifest(tag, nil, push(ocispec.MediaTypeImageLayer, []byte(name+tag)))
	if sign {
		bundle := provenance(t, repo, "v1", host+"/"+name, image.Digest.Encoded())
		manifest("", &image, push("application/vnd.dev.sigstore.bundle.v0.3+json", bundle))
	}
	return string(image.Digest)
}

// login gives a computer what `docker login` leaves behind.
func (c *computer) login(host, user, password string) {
	c.t.Helper()
	c.t.Setenv("DOCKER_CONFIG", dockerLogin(c.t, host, user, password))
	c.docker = true
}

// dockerLogin returns a directory with Docker's configuration.
func dockerLogin(t testing.TB, host, user, password string) string {
	t.Helper()
	dir := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	check(t, os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, auth),
		0o600))
	return dir
}

// TestLoginsInWorld judges images in registries that log their clients in as GitHub's, GitLab's and
// smaller ones do: who may not read is told to log in, and no password goes to whom it is not for.
func TestLoginsInWorld(t *testing.T) {
	const repo = "acme/imaged"
	bound(t, repo)
	rules := strings.Replace(string(policyText(repo, 1, 1, "alice")), `"widget_*.tar.gz"`,
		`"ghcr.io/acme/*", "registry.gitlab.com/acme/*", "registry.example/acme/*"`, 1)
	file := filepath.Join(t.TempDir(), "policy.toml")
	check(t, os.WriteFile(file, []byte(rules), 0o600))
	all := []string{forge.GHCR, forge.GitLabRegistry, forge.BasicRegistry}
	for _, host := range all {
		pushed(t, host, "acme/imaged", "v1", repo, true)
		pushed(t, host, "acme/imaged", "bare", repo, false)
		pushed(t, host, "acme/hidden", "v1", repo, true)
		stack.Forge().Registry(host).Private("acme/hidden", true)
	}
	const evil = "evil.example"
	serves := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tokens := func(h http.HandlerFunc) forge.RegistryManner { return forge.RegistryManner{Tokens: h} }
	const down, refused, unreachable = policy.ReleaseUnreachable, policy.RegistryLogin, policy.EvidenceUnreachable
	type login struct{ host, user, password string } // host "" for that of the image
	good, bad := login{"", forge.RegistryUser, forge.RegistryPassword}, login{"", forge.RegistryUser, "wrong"}
	for what, c := range map[string]struct {
		hosts  []string // all of them if empty
		image  string   // imaged:v1 if empty
		login  *login
		manner forge.RegistryManner
		on     string
		fault  malice.Fault
		args   []string
		want   policy.Reason
	}{
		"public":                     {want: policy.Allowed},
		"public, logged in":          {login: &good, want: policy.Allowed},
		"public, a wrong password":   {hosts: all[:2], login: &bad, want: refused},
		"public, known elsewhere":    {login: &login{"other.example", "alice", "s3cret"}, want: policy.Allowed},
		"public, nobody signed":      {image: "imaged:bare", want: policy.NoEvidence},
		"no such tag":                {image: "imaged:v9", want: down},
		"no such tag, logged in":     {image: "imaged:v9", login: &good, want: down},
		"private":                    {image: "hidden:v1", want: refused},
		"private, logged in":         {image: "hidden:v1", login: &good, want: policy.Allowed},
		"private, a wrong password":  {image: "hidden:v1", login: &bad, want: refused},
		"private, an empty password": {image: "hidden:v1", login: &login{"", "alice", ""}, want: refused},
		"private, known elsewhere":   {image: "hidden:v1", login: &login{"other.example", "alice", "s3cret"}, want: refused},
		"private, known below it": {image: "hidden:v1", login: &login{"x." + forge.GHCR, "alice", "s3cret"},
			want: refused},
		"another kind of login": {image: "hidden:v1", login: &good, manner: forge.RegistryManner{Basic: true},
			want: policy.Allowed},
		"a password in place of a token": {
			image: "imaged:v1", manner: forge.RegistryManner{Basic: true}, want: policy.Allowed,
		},
		"a realm of another": {
			hosts: all[:2], image: "hidden:v1", login: &good, manner: forge.RegistryManner{Realm: "https://" + evil +
				"/token"}, want: down,
		},
		"a realm of another that was named": {
			hosts: all[:2], image: "hidden:v1", login: &good, manner: forge.RegistryManner{Realm: "https://" + evil + "/token"},
			args: []string{"--redirect-host", evil}, want: down,
		},
		"a realm over http": {
			hosts: all[:1], image: "hidden:v1", login: &good, manner: forge.RegistryManner{Realm: "http://ghcr.io/token"},
			want: down,
		},
		"a realm of the storage": {
			hosts: all[:1], image: "hidden:v1", login: &good,
			manner: forge.RegistryManner{Realm: "https://pkg-containers.githubusercontent.com/token"}, want: down,
		},
		"a realm with a user": {
			hosts: all[:1], image: "hidden:v1", login: &good,
			manner: forge.RegistryManner{Realm: "https://u:p@ghcr.io/token"}, want: down,
		},
		"a realm that is none": {
			hosts: all[:2], image: "hidden:v1", login: &good, manner: forge.RegistryManner{Realm: ":"}, want: down,
		},
		"tokens refused": {hosts: all[:2], image: "hidden:v1", login: &good, manner: tokens(serves(403,
			`{"errors":[]}`)), want: refused},
		"tokens of 401":     {hosts: all[:2], login: &good, manner: tokens(serves(401, ``)), want: refused},
		"tokens, too many":  {hosts: all[:2], login: &good, manner: tokens(serves(429, ``)), want: down},
		"tokens, down":      {hosts: all[:2], login: &good, manner: tokens(serves(503, ``)), want: down},
		"no token":          {hosts: all[:2], login: &good, manner: tokens(serves(200, `{}`)), want: down},
		"an empty token":    {hosts: all[:2], login: &good, manner: tokens(serves(200, `{"token":""}`)), want: down},
		"a token of no use": {hosts: all[:2], login: &good, manner: tokens(serves(200, `{"token":"x"}`)), want: refused},
		"a token and a line": {hosts: all[:2], login: &good, manner: tokens(serves(200,
			`{"token":"x\r\nHost: evil.example"}`)), want: down},
		"no JSON":            {hosts: all[:2], login: &good, manner: tokens(serves(200, `token`)), want: down},
		"a page":             {hosts: all[:2], login: &good, manner: tokens(loginPage), want: down},
		"sent on to another": {hosts: all[:2], login: &good, manner: tokens(sendOn("https://" + evil)), want: down},
		"tokens without end": {hosts: all[:2], login: &good, manner: tokens(malice.Content{Begin: `{"token":"`,
			Again: "x"}.ServeHTTP), want: down},
		"the registry's page": {on: "/v2/", fault: malice.WrongType{}, want: down},
		"the registry, down":  {hosts: all[:1], on: "/v2/", fault: malice.Status{Code: 503}, want: down},
		"too many":            {hosts: all[:1], on: "/v2/", fault: malice.Status{Code: 429}, want: down},
		"shut":                {on: "/v2/", fault: malice.Status{Code: 403}, want: refused},
		"no challenge":        {on: "/v2/", login: &good, fault: malice.Status{Code: 401}, want: refused},
		"cut": {hosts: all[:1], on: "/v2/acme/imaged/manifests/", fault: malice.Truncate{After: 9},
			want: down},
		"evidence cut":     {on: "/v2/acme/imaged/blobs/", fault: malice.Truncate{After: 9}, want: unreachable},
		"half of evidence": {on: "/v2/acme/imaged/blobs/", fault: malice.Half{}, want: unreachable},
		"evidence shut":    {on: "/v2/acme/imaged/blobs/", fault: malice.Status{Code: 403}, want: unreachable},
		"evidence gone":    {on: "/v2/acme/imaged/blobs/", fault: malice.Status{Code: 404}, want: unreachable},
		"evidence elsewhere": {on: "/v2/acme/imaged/blobs/", fault: malice.Redirect{To: "https://" + evil},
			want: unreachable},
		"no referrers told":   {on: "/v2/acme/imaged/referrers/", fault: malice.Status{Code: 403}, want: unreachable},
		"a page of referrers": {on: "/v2/acme/imaged/referrers/", fault: malice.WrongType{}, want: unreachable},
	} {
		hosts, image := c.hosts, c.image
		if len(hosts) == 0 {
			hosts = all
		}
		if image == "" {
			image = "imaged:v1"
		}
		for _, host := range hosts {
			t.Run(what+", "+host, func(t *testing.T) {
				defer stack.Forge().Registry(host).Behave(c.manner)()
				if c.fault != nil {
					defer misbehaves(t, c.on, c.fault)()
				}
				user, heard := listener(t)
				if l := c.login; l != nil {
					at := l.host
					if at == "" {
						at = host
					}
					user.login(at, l.user, l.password)
				}
				ref := "oci://" + host + "/acme/" + image
				args := append([]string{"verify", "--policy", file, "--trusted-root", user.root, "--tag", "v1"}, c.args...)
				code, out := user.repopolicy(append(args, ref)...)
				reason := "[" + string(c.want) + "]"
				if c.want == policy.Allowed {
					reason = "released by "
				}
				if code != c.want.Class().Exit() || !strings.Contains(out, reason) {
					t.Errorf("exit %d, want %s\n%s", code, c.want, out)
				}
				if c.want == refused && !strings.Contains(out, "docker login") {
					t.Errorf("it does not say how to log in:\n%s", out)
				}
				if heard.of(evil) > 0 || slices.ContainsFunc(heard.urls, func(u string) bool {
					return strings.HasPrefix(u,
						"http:")
				}) {
					t.Errorf("asked %s", heard.urls)
				}
				if strings.Contains(out, forge.RegistryPassword) || strings.Contains(out, "sandbox:acme") {
					t.Errorf("it prints a secret:\n%s", out)
				}
				if host == forge.GHCR && code == 0 && heard.of("pkg-containers.githubusercontent.com") == 0 {
					t.Error("the evidence came from another host than GitHub's")
				}
			})
		}
	}
}
