// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// private is the TUF repository of a private Sigstore.
func private(t *testing.T, configs ...string) *tuftest.Sim {
	t.Helper()
	targets := map[string]string{TrustedRootTarget: string(sigstoretest.New(t).Root(sigstoretest.RootOptions{}))}
	for _, name := range configs {
		targets[name] = "the services of " + name
	}
	return besides(t, targets)
}

// named is a configuration with one root.
func named(t *testing.T, s *tuftest.Sim, url, more string) *Config {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "1.root.json"), s.Files["1.root.json"], 0o600))
	check(t,
		os.WriteFile(filepath.Join(dir, "trust.toml"),
			fmt.Appendf(nil, "format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"a\"\nurl = %q\ninitial = \"1.root.json\"\n%s",
				url, more), 0o600))
	c, err := ReadConfig(filepath.Join(dir, "trust.toml"))
	check(t, err)
	return c
}

// TestPlaces: a root is followed from a web server, a directory, a layout and a registry, and
// says the same everywhere.
func TestPlaces(t *testing.T) {
	s := private(t, SigningConfigTarget, SigningConfigV2Target)
	now := func() time.Time { return tuftest.Now }
	files := &oci.Files{Metadata: s.Files, Targets: map[string]oci.Content{}}
	tree := t.TempDir()
	check(t, os.Mkdir(filepath.Join(tree, "targets"), 0o700))
	for name, data := range s.Files {
		check(t, os.WriteFile(filepath.Join(tree, name), data, 0o600))
	}
	for name, data := range s.Content {
		if strings.Index(name, ".") == 64 {
			files.Targets[name] = oci.Bytes(data)
			check(t, os.WriteFile(filepath.Join(tree, "targets", name), data, 0o600))
		}
	}
	web := httptest.NewServer(http.FileServer(http.Dir(tree)))
	t.Cleanup(web.Close)
	registry := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(registry.Close)
	layout := t.TempDir()
	inRegistry := "oci:" + strings.TrimPrefix(registry.URL, "http://") + "/acme/trust"
	for _, place := range []string{"oci-layout:" + layout, inRegistry} {
		ref, err := oci.ParseReference(place)
		check(t, err)
		_, err = oci.Push(t.Context(), ref, oci.Options{}, files)
		check(t, err)
	}
	for _, place := range []string{web.URL, web.URL + "/", tree, "oci-layout:" + layout, inRegistry} {
		c := named(t, s, place, "")
		o := Options{Now: now, Cache: t.TempDir()}
		var role string
		o.Followed = func(r string, _ tuf.Header) { role = r }
		r, err := c.Open(t.Context(), "a", o)
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		if r.Name() != "a" || r.Identity != spelling.Sum(s.Files["1.root.json"]) || role == "" {
			t.Errorf("%s: %+v %q", place, r, role)
		}
		configs, err := c.SigningConfigs(t.Context(), "a", policy.Locator{}, o)
		if err != nil || len(configs) != 2 || !strings.HasSuffix(string(configs[1]), SigningConfigV2Target) {
			t.Errorf("%s: %s %v", place, configs, err)
		}
		// Off-line what is on this machine or in the cache.
		o.Offline = true
		if _, err := c.Open(t.Context(), "a", o); err != nil {
			t.Errorf("%s, from the cache: %v", place, err)
		}
		o.Cache = ""
		if _, err := c.Open(t.Context(), "a", o); (err == nil) != local(place) {
			t.Errorf("%s, off-line: %v", place, err)
		} else if err != nil && !strings.Contains(err.Error(), "--offline") {
			t.Errorf("%s: %v", place, err)
		}
	}
	// What is in the cache is used for a day, unless newer metadata is asked for.
	asked := 0
	counted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.FileServer(http.Dir(tree)).ServeHTTP(w, r)
	}))
	t.Cleanup(counted.Close)
	c, o := named(t, s, counted.URL, ""), Options{Now: now, Cache: t.TempDir()}
	for _, want := range []struct{ fresh, asks bool }{{false, true}, {false, false}, {true, true}} {
		before := asked
		o.Fresh = want.fresh
		_, err := c.Open(t.Context(), "a", o)
		check(t, err)
		if (asked > before) != want.asks {
			t.Errorf("%+v: %d requests", want, asked-before)
		}
	}
}

// TestNoPlace: a root that cannot be had is an error with its reason, whatever is asked of it.
func TestNoPlace(t *testing.T) {
	s := private(t)
	tree := t.TempDir()
	for name, row := range map[string]struct {
		url, more, root string
		spoil           func(c *Config)
		want            policy.Reason
	}{
		"plain http":     {"http://tuf.example.com", "", "a", nil, policy.TrustRootMissing},
		"another scheme": {"ftp://tuf.example.com", "", "a", nil, policy.TrustRootMissing},
		"no URL":         {"https://%zz", "", "a", nil, policy.TrustRootMissing},
		"no host":        {"https://", "", "a", nil, policy.TrustRootMissing},
		"no reference":   {"oci:", "", "a", nil, policy.TrustRootMissing},
		"no layout":      {"oci-layout:" + tree, "", "a", nil, policy.TrustRootMissing},
		"no tree":        {tree, "", "a", nil, policy.TrustRootMissing},
		"not configured": {tree, "", "b", nil, policy.TrustRootMissing},
		"another pin":    {tree, "sha256 = \"" + spelling.Sum([]byte("x")) + "\"\n", "a", nil, policy.TrustRootInvalid},
		"no initial metadata": {
			tree, "", "a", func(c *Config) { _ = os.Remove(filepath.Join(c.Dir, "1.root.json")) }, policy.TrustRootInvalid,
		},
		"other initial metadata": {tree, "", "a", func(c *Config) {
			_ = os.WriteFile(filepath.Join(c.Dir, "1.root.json"), []byte("{}"), 0o600)
		}, policy.TrustRootMissing},
	} {
		c := named(t, s, row.url, row.more)
		if row.spoil != nil {
			row.spoil(c)
		}
		o := Options{Now: func() time.Time { return tuftest.Now }}
		r, err := c.Open(t.Context(), row.root, o)
		configs, err2 := c.SigningConfigs(t.Context(), row.root, policy.Locator{}, o)
		err3 := c.Fetch(t.Context(), row.root, o)
		for _, err := range []error{err, err2, err3} {
			var e *sigstore.Error
			if !errors.As(err, &e) || e.Reason != row.want || r.Root != nil || configs != nil {
				t.Errorf("%s: %v, want %s", name, err, row.want)
			}
		}
	}
	asked := Options{Now: func() time.Time { return tuftest.Now },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("away")
		})}
	if r, err := named(t, s, "http://tuf.example.com", "").Open(t.Context(), "a", asked); err == nil {
		t.Errorf("by http: %+v", r)
	}
	// A target that is listed and lost is not left out of a copy.
	lost := private(t)
	for name := range lost.Content {
		lost.Fault[name] = errors.New("lost")
	}
	if err := named(t, lost, "https://tuf.example.com", "").Fetch(t.Context(), "a", Options{
		Source: lost, Now: asked.Now,
	}); err == nil {
		t.Error("copied without its targets")
	}
	// A pin that is the right one, and a root that is asked for what it does not have.
	o := Options{Source: s, Now: func() time.Time { return tuftest.Now }}
	c := named(t, s, "https://tuf.example.com", "sha256 = \""+spelling.Sum(s.Files["1.root.json"])+"\"\n")
	if _, err := c.Open(t.Context(), "a", o); err != nil {
		t.Error(err)
	}
	if configs, err := c.SigningConfigs(t.Context(), "a", policy.Locator{}, o); err == nil {
		t.Errorf("no signing config: %s", configs)
	}
	bare := besides(t, nil)
	o.Source = bare
	if r, err := named(t, bare, "https://tuf.example.com", "").Open(t.Context(), "a", o); err == nil {
		t.Errorf("no trusted root: %+v", r)
	}
	// Signing configs that are listed and not served are not ones that are not there.
	full := private(t, SigningConfigTarget, SigningConfigV2Target)
	for name := range full.Content {
		if strings.HasSuffix(name, SigningConfigV2Target) {
			full.Fault[name] = errors.New("lost")
		}
	}
	o.Source = full
	c = named(t, full, "https://tuf.example.com", "")
	if configs, err := c.SigningConfigs(t.Context(), "a", policy.Locator{}, o); err == nil {
		t.Errorf("half of the signing configs: %s", configs)
	}
	// An absolute path is not below the configuration's.
	c = named(t, s, "https://tuf.example.com", "")
	c.Roots[0].Initial = filepath.Join(c.Dir, "1.root.json")
	c.Dir, o.Source = t.TempDir(), s
	if _, err := c.Open(t.Context(), "a", o); err != nil {
		t.Error(err)
	}
}

// TestReadConfig: a file that says what is trusted is the user's own, and is read whole or
// not at all.
func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	at := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o600))
		check(t, os.Chmod(path, mode))
		return path
	}
	const good = "format = \"repopolicy-trust/v1\"\n"
	if c, err := ReadConfig(at("good", good, 0o644)); err != nil || c.Dir != dir {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := ReadConfig(filepath.Join(dir, "none")); c != nil || err != nil {
		t.Errorf("%+v %v", c, err)
	}
	bad := map[string]string{
		"a fault":     at("fault", good+"x = 1\n", 0o600),
		"too large":   at("large", good+strings.Repeat("#", MaxConfigBytes), 0o600),
		"a directory": dir, "below a file": filepath.Join(dir, "good", "trust.toml"),
	}
	if runtime.GOOS != "windows" {
		bad["writable by the group"], bad["writable by all"] = at("group", good, 0o660), at("all", good, 0o602)
	}
	for what, path := range bad {
		if c, err := ReadConfig(path); err == nil || c != nil {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

// TestIdentitiesOpened: the root under which identities sign is opened once, when the first of
// them is met, and an identity that cannot be judged is none.
func TestIdentitiesOpened(t *testing.T) {
	if types := Identities(t.Context(), "x", nil); types != nil {
		t.Errorf("%v", types)
	}
	root, err := sigstore.ParseRoot("x", sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	check(t, err)
	opened, fails := 0, true
	types := Identities(t.Context(), "x", func(_ context.Context, name string) (*sigstore.Root, error) {
		if opened++; name != "x" || fails {
			return nil, errors.New("away")
		}
		return root, nil
	})
	key := tuf.Key{
		Type: KeyTypeOIDC, Scheme: "Fulcio",
		Value: []byte(`{"identity":"alice@example.com","issuer":"https://accounts.google.com","public":""}`),
	}
	if opened != 0 {
		t.Error("opened for nothing")
	}
	if v, err := types[KeyTypeOIDC](key); err == nil || v != nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("%v %v", v, err)
	}
	fails = false
	for range 2 {
		if v, err := types[KeyTypeOIDC](key); err != nil || v == nil {
			t.Error(err)
		}
	}
	if opened != 2 {
		t.Errorf("opened %d times", opened)
	}
}
