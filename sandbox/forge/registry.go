// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// The registries of images that the forge plays, and the host of the blobs of one.
const (
	// GHCR gives everybody a token of its own token service, and those whom it lets in one for
	// what is private.
	GHCR = "ghcr.io"
	// GitLabRegistry has its token service on another host.
	GitLabRegistry = "registry.gitlab.com"
	// BasicRegistry wants the password itself.
	BasicRegistry = "registry.example"
	ghcrBlobs     = "pkg-containers.githubusercontent.com"
)

var registryHosts = []string{GHCR, GitLabRegistry, BasicRegistry, ghcrBlobs}

// Somebody who is known to every registry.
const (
	RegistryUser     = "alice"
	RegistryPassword = "s3cret"
)

// Registry is a registry of images behind the login that registries of its kind have.
type Registry struct {
	host, realm string // where to ask for a token; "" for a password itself
	images      http.Handler

	mu     sync.Mutex
	hidden map[string]bool // repositories that only those who are known may read
	manner RegistryManner
}

// RegistryManner is how a registry logs its clients in. The zero value does it as its kind does.
type RegistryManner struct {
	Realm  string       // where it sends its clients for a token; "" for its own service
	Tokens http.Handler // in place of its token service; nil for that
	Basic  bool         // it wants a password, where its kind gives tokens
}

func registries() map[string]*Registry {
	out := map[string]*Registry{}
	for host, realm := range map[string]string{
		GHCR: "https://ghcr.io/token", GitLabRegistry: "https://gitlab.com/jwt/auth", BasicRegistry: "",
	} {
		out[host] = &Registry{
			host: host, realm: realm, hidden: map[string]bool{},
			images: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)),
		}
	}
	return out
}

// Registry returns the registry at a host.
func (f *Forge) Registry(host string) *Registry { return f.registries[host] }

// Private shows a repository only to those who are known, or to everybody again.
func (r *Registry) Private(repository string, private bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden[repository] = private
}

// Behave lets the registry log its clients in, in a manner, until undo is called.
func (r *Registry) Behave(m RegistryManner) (undo func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.manner
	r.manner = m
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.manner = before
	}
}

// serveRegistries serves the requests to registries, and reports whether this was one.
func (f *Forge) serveRegistries(w http.ResponseWriter, r *http.Request) bool {
	host, path := r.Host, r.URL.Path
	switch {
	case host == ghcrBlobs: // what blobs of ghcr.io lead to
		f.registries[GHCR].serveBlob(w, r)
	case host == "gitlab.com" && path == "/jwt/auth":
		f.registries[GitLabRegistry].serveToken(w, r)
	case f.registries[host] == nil:
		return false
	case path == "/token" || path == "/oauth2/token":
		f.registries[host].serveToken(w, r)
	default:
		f.registries[host].serve(w, r)
	}
	return true
}

// access is what a request wants of a registry.
type access struct {
	repository string
	push       bool
}

func accessOf(r *http.Request) access {
	rest := strings.TrimPrefix(r.URL.Path, "/v2/")
	a := access{push: r.Method != http.MethodGet && r.Method != http.MethodHead}
	for _, part := range []string{"/manifests/", "/blobs/", "/referrers/", "/tags/"} {
		if before, _, ok := strings.Cut(rest, part); ok {
			a.repository = before
		}
	}
	return a
}

func (r *Registry) isPrivate(repository string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hidden[repository]
}

// token is what the service gives; bearers tell by it what they may do.
func token(a access, known bool) string {
	return fmt.Sprintf("sandbox:%s:%t:%t", a.repository, a.push, known)
}

// serve serves images to who may see them.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	want := accessOf(req)
	r.mu.Lock()
	manner := r.manner
	r.mu.Unlock()
	realm := r.realm
	if manner.Realm != "" {
		realm = manner.Realm
	}
	basic := manner.Basic || realm == ""
	header := req.Header.Get("Authorization")
	user, password, _ := req.BasicAuth()
	known := user == RegistryUser && password == RegistryPassword && (basic || r.realm == "")
	may := known || basic && !want.push && !r.isPrivate(want.repository) && want.repository != "" && header == ""
	if !basic {
		may = header == "Bearer "+token(want, true) || !want.push &&
			(header == "Bearer "+token(access{want.repository, true}, true) ||
				!r.isPrivate(want.repository) && header == "Bearer "+token(want, false))
		if want.repository == "" {
			may = strings.HasPrefix(header, "Bearer sandbox:")
		}
	}
	if !may {
		challenge := `Basic realm="the sandbox's registry"`
		if !basic {
			actions := "pull"
			if want.push {
				actions = "pull,push"
			}
			challenge = fmt.Sprintf(`Bearer realm=%q,service=%q,scope="repository:%s:%s"`, realm, r.host, want.repository,
				actions)
		}
		w.Header().Set("Www-Authenticate", challenge)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	if r.host == GHCR && req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/sha256:") {
		http.Redirect(w, req, "https://"+ghcrBlobs+req.URL.Path+"?se=2030&sig=sandbox", http.StatusTemporaryRedirect)
		return
	}
	r.images.ServeHTTP(w, req)
}

func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request) {
	if req.URL.Query().Get("sig") != "sandbox" || req.Header.Get("Authorization") != "" {
		http.Error(w, "AuthenticationFailed", http.StatusForbidden)
		return
	}
	r.images.ServeHTTP(w, req)
}

// serveToken gives a token for what its bearer may do.
func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	manner := r.manner
	r.mu.Unlock()
	if manner.Tokens != nil {
		manner.Tokens.ServeHTTP(w, req)
		return
	}
	user, password, shown := req.BasicAuth()
	if req.Method == http.MethodPost { // with a refresh token, or a password in a form
		user, password = req.PostFormValue("username"), req.PostFormValue("password")
		shown = user != ""
	}
	known := user == RegistryUser && password == RegistryPassword
	scopes := req.URL.Query()["scope"]
	if req.Method == http.MethodPost {
		scopes = strings.Fields(req.PostFormValue("scope"))
	}
	a := access{}
	for _, s := range scopes {
		parts := strings.Split(s, ":")
		if len(parts) == 3 && parts[0] == "repository" && a.repository == "" {
			a = access{parts[1], slices.Contains(strings.Split(parts[2], ","), "push")}
		}
	}
	switch {
	case shown && !known:
		refuse(w, http.StatusForbidden, "DENIED", "denied: denied")
	case !known && (a.push || r.isPrivate(a.repository)):
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	default:
		t := token(a, known)
		writeJSON(w, http.StatusOK, map[string]any{"token": t, "access_token": t, "expires_in": 300})
	}
}

// refuse answers with an error of the distribution's API.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client went away
		"errors": []any{map[string]any{"code": code, "message": message}},
	})
}
