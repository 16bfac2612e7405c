// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	keyText = "-----BEGIN PUBLIC KEY-----\n" +
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWBkC8h/nPDK16nQDrlatHtz6nZ7p\n" +
		"aley1zXDpLyQKczrOD2WEOFyugWYgyZpmNAAnQcTv4v8gZG3Xuy6UPntgQ==\n-----END PUBLIC KEY-----\n"
	keyPath = "artifact.pub"
)

// keyed is a TUF repository that lists a key, with what its metadata says of it.
func keyed(t *testing.T, content, custom string) *tuftest.Sim {
	t.Helper()
	s := tuftest.New(t)
	s.Targets["targets"].Signed.Version++
	s.Add("targets", keyPath, content)
	if custom != "" {
		raw := json.RawMessage(custom)
		s.Targets["targets"].Signed.Targets[keyPath].Custom = &raw
	}
	s.Publish()
	return s
}

const activeKey = `{"sigstore":{"status":"Active","usage":"Unknown"}}`

func rootOf(s *tuftest.Sim) string { return "sha256:" + spelling.Sum(s.Files["1.root.json"]) }

func serveTUF(t *testing.T, s *tuftest.Sim) *httptest.Server {
	t.Helper()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isTarget := strings.CutPrefix(r.URL.Path, "/targets/")
		data, ok := s.Content[name]
		if !isTarget {
			data, ok = s.Files[strings.TrimPrefix(r.URL.Path, "/")]
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func reason(err error) policy.Reason {
	var e *sigstore.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// TestCurrent: a root is found by the digest of its first metadata, in the user's map or where
// the policy says, and nothing else passes for it.
func TestCurrent(t *testing.T) {
	s, other := keyed(t, keyText, activeKey), keyed(t, keyText, activeKey)
	at, elsewhere := serveTUF(t, s), serveTUF(t, other)
	away := httptest.NewTLSServer(http.RedirectHandler(at.URL+"/1.root.json", http.StatusFound))
	t.Cleanup(away.Close)
	large := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, sigstore.MaxRootBytes+1))
	}))
	t.Cleanup(large.Close)
	listed := named(t, s, at.URL, "")
	wins := named(t, s, at.URL, "")
	unlisted := named(t, other, elsewhere.URL, "")
	broken, gone := named(t, s, at.URL, ""), named(t, s, at.URL, "")
	broken.Roots[0].SHA256, broken.Roots[0].Initial = strings.TrimPrefix(rootOf(s), "sha256:"), "nothing.json"
	gone.Roots[0].Initial = "nothing.json"
	for name, c := range map[string]struct {
		config    *Config
		root, url string
		want      policy.Reason
		says      string
	}{
		"in the map":                         {listed, rootOf(s), "", "", ""},
		"where the policy says":              {nil, rootOf(s), at.URL, "", ""},
		"with a slash":                       {unlisted, rootOf(s), at.URL + "/", "", ""},
		"the map wins":                       {wins, rootOf(s), "https://127.0.0.1:1/nowhere", "", ""},
		"nowhere":                            {unlisted, rootOf(s), "", policy.TrustRootMissing, "[[root]]"},
		"nowhere, without a map":             {nil, rootOf(s), "", policy.TrustRootMissing, "[[root]]"},
		"another root there":                 {nil, rootOf(s), elsewhere.URL, policy.TrustRootMissing, "the policy names"},
		"sent on to another host":            {nil, rootOf(s), away.URL, policy.TrustRootMissing, "redirects"},
		"more than is read":                  {nil, rootOf(s), large.URL, policy.TrustRootMissing, "larger"},
		"gone":                               {nil, rootOf(s), "https://127.0.0.1:1", policy.TrustRootMissing, "127.0.0.1:1"},
		"a name of the map":                  {listed, "a", at.URL, policy.TrustRootMissing, "no digest"},
		"its metadata is not what it is":     {broken, rootOf(s), at.URL, policy.TrustRootInvalid, `root "a"`},
		"metadata of a root that is unknown": {gone, rootOf(s), at.URL, "", ""},
	} {
		o := Options{Now: func() time.Time { return tuftest.Now }, Transport: at.Client().Transport, Cache: t.TempDir()}
		got, err := c.config.Current(t.Context(), c.root, c.url, o)
		if reason(err) != c.want || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q: %s", name, err, c.want, c.says)
		}
		if err != nil {
			continue
		}
		state, _, _ := got.Key(t.Context(), policy.RootTarget{Root: c.root, Path: keyPath}).State()
		if state != "active" {
			t.Errorf("%s: the key is %s", name, state)
		}
		got.Close()
	}
}

// TestCurrentOffline: off-line what is kept stands for the root until it expires, and what
// somebody put in its place does not.
func TestCurrentOffline(t *testing.T) {
	s := keyed(t, keyText, activeKey)
	s.Timestamp.Signed.Expires = tuftest.Now.AddDate(0, 0, 7)
	s.Publish()
	at := serveTUF(t, s)
	now := tuftest.Now
	o := Options{Now: func() time.Time { return now }, Transport: at.Client().Transport, Cache: t.TempDir()}
	var c *Config
	ask := func(offline bool) (string, error) {
		o.Offline = offline
		r, err := c.Current(t.Context(), rootOf(s), at.URL, o)
		if err != nil {
			return "", err
		}
		defer r.Close()
		state, _, why := r.Key(t.Context(), policy.RootTarget{Root: rootOf(s), Path: keyPath}).State()
		return strings.TrimSpace(state + " " + why), nil
	}
	if _, err := ask(true); reason(err) != policy.TrustRootMissing || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("nothing is kept: %v", err)
	}
	if state, err := ask(false); err != nil || state != "active" {
		t.Fatalf("%s %v", state, err)
	}
	at.Close()
	if state, err := ask(true); err != nil || state != "active" {
		t.Errorf("it is kept: %s %v", state, err)
	}
	now = now.AddDate(0, 0, 8)
	if _, err := ask(true); reason(err) != policy.TrustRootMissing || !strings.Contains(err.Error(), "expired") {
		t.Errorf("what is kept has expired: %v", err)
	}
	now = tuftest.Now
	kept := filepath.Join(o.Cache, initialDir, strings.TrimPrefix(rootOf(s), "sha256:")+".root.json")
	check(t, os.WriteFile(kept, tuftest.New(t).Files["1.root.json"], 0o600))
	if _, err := ask(true); reason(err) != policy.TrustRootMissing {
		t.Errorf("another root is kept in its place: %v", err)
	}
}

// TestRolledBack: a root that shows what it showed before is refused, whoever serves it.
func TestRolledBack(t *testing.T) {
	s := keyed(t, keyText, activeKey)
	before := map[string][]byte{}
	for name, data := range s.Files {
		before[name] = data
	}
	now := tuftest.Now
	o := Options{Source: s, Now: func() time.Time { return now }, Cache: t.TempDir(), Fresh: true}
	var c *Config
	ask := func() (string, error) {
		r, err := c.Current(t.Context(), rootOf(s), "", o)
		if err != nil {
			return "", err
		}
		defer r.Close()
		state, _, _ := r.Key(t.Context(), policy.RootTarget{Root: rootOf(s), Path: keyPath}).State()
		return state, nil
	}
	if state, err := ask(); err != nil || state != "active" {
		t.Fatalf("%s %v", state, err)
	}
	s.Targets["targets"].Signed.Version++
	delete(s.Targets["targets"].Signed.Targets, keyPath)
	s.Publish()
	if state, err := ask(); err != nil || state != "withdrawn" {
		t.Fatalf("%s %v", state, err)
	}
	s.Files = before
	if state, err := ask(); reason(err) != policy.TrustRootMissing || !strings.Contains(err.Error(), "older") {
		t.Errorf("rolled back: %s %v", state, err)
	}
	now = now.AddDate(2, 0, 0)
	o.Cache = t.TempDir()
	if state, err := ask(); reason(err) != policy.TrustRootMissing || !strings.Contains(err.Error(), "expired") {
		t.Errorf("frozen: %s %v", state, err)
	}
}

// TestKeyFacts: what a root says of a key, branch by branch.
func TestKeyFacts(t *testing.T) {
	pub, err := keys.Parse([]byte(keyText))
	check(t, err)
	id := pub.ID
	for name, c := range map[string]struct {
		content, custom string
		change          func(*tuftest.Sim)
		state, why      string
	}{
		"active":            {keyText, activeKey, nil, "active", ""},
		"expired":           {keyText, `{"sigstore":{"status":"Expired"}}`, nil, "expired", ""},
		"no custom":         {keyText, "", nil, "useless", `it is ""`},
		"no status":         {keyText, `{"sigstore":{}}`, nil, "useless", `it is ""`},
		"null":              {keyText, `null`, nil, "useless", `it is ""`},
		"null sigstore":     {keyText, `{"sigstore":null}`, nil, "useless", `it is ""`},
		"null status":       {keyText, `{"sigstore":{"status":null}}`, nil, "useless", `it is ""`},
		"status of a list":  {keyText, `{"sigstore":{"status":["Active"]}}`, nil, "useless", `it is ""`},
		"a list":            {keyText, `[{"sigstore":{"status":"Active"}}]`, nil, "useless", `it is ""`},
		"upper case member": {keyText, `{"Sigstore":{"status":"Active"}}`, nil, "useless", `it is ""`},
		"upper case status": {keyText, `{"sigstore":{"Status":"Active"}}`, nil, "useless", `it is ""`},
		"status at the top": {keyText, `{"status":"Active"}`, nil, "useless", `it is ""`},
		"lower case":        {keyText, `{"sigstore":{"status":"active"}}`, nil, "useless", `it is "active"`},
		"another status":    {keyText, `{"sigstore":{"status":"Revoked"}}`, nil, "useless", `it is "Revoked"`},
		"no key":            {"not a key\n", activeKey, nil, "useless", "it is no key"},
		"empty":             {"", activeKey, nil, "useless", "it is no key"},
		"two keys":          {keyText + keyText, activeKey, nil, "useless", "it is no key"},
		"more than a key":   {keyText + strings.Repeat(" ", maxKeyBytes), activeKey, nil, "useless", "it is no key"},
		"withdrawn": {keyText, activeKey, func(s *tuftest.Sim) {
			s.Targets["targets"].Signed.Version++
			delete(s.Targets["targets"].Signed.Targets, keyPath)
			s.Publish()
		}, "withdrawn", ""},
		"not delivered": {keyText, activeKey, func(s *tuftest.Sim) {
			for name := range s.Content {
				delete(s.Content, name)
			}
		}, "unknown", "not exist"},
		"another file is delivered": {keyText, activeKey, func(s *tuftest.Sim) {
			for name := range s.Content {
				s.Content[name] = []byte(strings.Replace(keyText, "MFkw", "MFkx", 1))
			}
		}, "unknown", "not what was announced"},
		"a role on the way has expired": {keyText, activeKey, func(s *tuftest.Sim) {
			s.Targets["targets"].Signed.Version++
			delete(s.Targets["targets"].Signed.Targets, keyPath)
			s.Delegate("targets", metadata.DelegatedRole{Name: "keys", Paths: []string{"*.pub"}})
			s.Add("keys", keyPath, keyText)
			s.Targets["keys"].Signed.Expires = tuftest.Now
			s.Publish()
		}, "unknown", "expired"},
		"too many roles on the way": {keyText, activeKey, func(s *tuftest.Sim) {
			s.Targets["targets"].Signed.Version++
			delete(s.Targets["targets"].Signed.Targets, keyPath)
			from := "targets"
			for i := range 40 {
				s.Delegate(from, metadata.DelegatedRole{Name: fmt.Sprintf("r%d", i), Paths: []string{"*.pub"}})
				from = fmt.Sprintf("r%d", i)
			}
			s.Publish()
		}, "unknown", "too many roles"},
	} {
		s := keyed(t, c.content, c.custom)
		if c.change != nil {
			c.change(s)
		}
		at := policy.RootTarget{Root: rootOf(s), Path: keyPath}
		r, err := (*Config)(nil).Current(t.Context(), at.Root, "", Options{
			Source: s, Now: func() time.Time { return tuftest.Now },
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		state, key, why := r.Key(t.Context(), at).State()
		if state != c.state || !strings.Contains(why, c.why) || (key == id) != (c.content == keyText && state != "unknown" &&
			state != "withdrawn") {
			t.Errorf("%s: %s %q (%s), want %s (%s)", name, state, key, why, c.state, c.why)
		}
	}
}

// TestFindTarget: which role's word a target is, and what is no word at all.
func TestFindTarget(t *testing.T) {
	const at = "widget/v1/a.tgz"
	role := func(s *tuftest.Sim, name string, terminating bool, patterns ...string) {
		s.Targets["targets"].Signed.Version++
		s.Delegate("targets", metadata.DelegatedRole{Name: name, Paths: patterns, Terminating: terminating})
	}
	for name, c := range map[string]struct {
		build func(*tuftest.Sim)
		path  string
		role  string // "" if it is not listed
		says  string // of the error
	}{
		"delegated": {func(s *tuftest.Sim) {
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
		}, at, "widget", ""},
		"the first of two roles": {func(s *tuftest.Sim) {
			role(s, "first", false, "widget/*/*")
			role(s, "widget", false, "widget/*/*")
			s.Add("first", at, "other")
			s.Add("widget", at, "a")
		}, at, "first", ""},
		"the top outranks": {func(s *tuftest.Sim) {
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
			s.Add("targets", at, "other")
		}, at, "targets", ""},
		"a role that does not list it is passed by": {func(s *tuftest.Sim) {
			role(s, "first", false, "widget/*/*")
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
		}, at, "widget", ""},
		"a role that ends the search": {func(s *tuftest.Sim) {
			role(s, "first", true, "widget/*/*")
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
		}, at, "", ""},
		"a role that another one called alike": {func(s *tuftest.Sim) {
			role(s, "first", false, "widget/*/*")
			role(s, "widget", true, "widget/*/*")
			s.Delegate("first", metadata.DelegatedRole{Name: "widget", Paths: []string{"widget/*/*"}})
			s.Add("widget", at, "other")
		}, at, "first/widget", ""},
		"a role whose name is like a way": {func(s *tuftest.Sim) {
			role(s, "all/widget", true, "widget/*/*")
			s.Add("all/widget", at, "a")
		}, at, "all%2Fwidget", ""},
		"a role of a role": {func(s *tuftest.Sim) {
			role(s, "all", true, "widget/*/*")
			s.Delegate("all", metadata.DelegatedRole{Name: "widget", Paths: []string{"widget/*/*"}})
			s.Delegate("all", metadata.DelegatedRole{Name: "other", Paths: []string{"widget/*/*"}})
			s.Delegate("widget", metadata.DelegatedRole{Name: "ci", Paths: []string{"widget/*/*"}})
			s.Add("other", at, "a")
		}, at, "all/other", ""},
		"removed": {func(s *tuftest.Sim) { role(s, "widget", true, "widget/*/*") }, at, "", ""},
		"not handed down": {func(s *tuftest.Sim) {
			role(s, "widget", true, "gadget/*/*")
			s.Add("widget", at, "a")
		}, at, "", ""},
		"a pattern stops at a slash": {func(s *tuftest.Sim) {
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", "widget/a/v1/a.tgz", "a")
		}, "widget/a/v1/a.tgz", "", ""},
		"expired": {func(s *tuftest.Sim) {
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
			s.Targets["widget"].Signed.Expires = tuftest.Now
		}, at, "", "expired"},
		"a role before it has expired": {func(s *tuftest.Sim) {
			role(s, "first", false, "widget/*/*")
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
			s.Targets["first"].Signed.Expires = tuftest.Now
		}, at, "", "expired"},
		"a role beside it has expired": {func(s *tuftest.Sim) {
			role(s, "first", true, "gadget/*/*")
			role(s, "widget", true, "widget/*/*")
			s.Add("widget", at, "a")
			s.Targets["first"].Signed.Expires = tuftest.Now
		}, at, "widget", ""},
		"too few signatures": {func(s *tuftest.Sim) {
			s.Targets["targets"].Signed.Version++
			s.Delegate("targets", metadata.DelegatedRole{Name: "widget", Paths: []string{"widget/*/*"}, Threshold: 2})
			s.Add("widget", at, "a")
		}, at, "", "too few signatures: 1 of 2"},
		"out of the directory": {
			func(s *tuftest.Sim) { s.Targets["targets"].Signed.Version++ }, "../a.tgz", "", "not the name",
		},
		"an empty segment": {
			func(s *tuftest.Sim) { s.Targets["targets"].Signed.Version++ }, "widget//a", "", "not the name",
		},
	} {
		s := tuftest.New(t)
		c.build(s)
		s.Publish()
		r, err := (*Config)(nil).Current(t.Context(), rootOf(s), "", Options{
			Source: s, Now: func() time.Time { return tuftest.Now },
		})
		check(t, err)
		got, err := r.Find(t.Context(), c.path)
		switch {
		case c.says != "":
			if reason(err) != policy.TrustRootMissing || !strings.Contains(err.Error(), c.says) || got != nil {
				t.Errorf("%s: %v %v, want %s", name, got, err, c.says)
			}
		case err != nil || (got != nil) != (c.role != "") || got != nil && got.Role != c.role:
			t.Errorf("%s: %+v %v, want the role %q", name, got, err, c.role)
		case got != nil && (got.Version != 1 && got.Role != "targets" || got.Length == 0 || len(got.Digests) != 1):
			t.Errorf("%s: %+v", name, got)
		case got != nil && s.Targets[got.Role] != nil && !got.Expires.Equal(s.Targets[got.Role].Signed.Expires):
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestMixedUp: metadata of different moments is refused before anything is found in it.
func TestMixedUp(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tuftest.Sim)
		says   string
	}{
		"a snapshot that is newer than the targets": {func(s *tuftest.Sim) {
			old := s.Files["2.targets.json"]
			s.Targets["targets"].Signed.Version++
			s.Publish()
			s.Files["3.targets.json"], s.Files["targets.json"] = old, old
		}, "not what was announced"},
		"targets without a snapshot of them": {func(s *tuftest.Sim) {
			delete(s.Files, "3.targets.json")
			s.Targets["targets"].Signed.Version++
			s.Publish()
			delete(s.Files, "3.targets.json")
		}, "not exist"},
		"a hash of another algorithm only": {func(s *tuftest.Sim) {
			s.Edit("2.targets.json", "targets", func(signed map[string]any) {
				x := signed["targets"].(map[string]any)[keyPath].(map[string]any)
				x["hashes"] = map[string]any{"blake2b-256": strings.Repeat("0", 64)}
			})
		}, "no digest of a known algorithm"},
		"no hash": {func(s *tuftest.Sim) {
			s.Edit("2.targets.json", "targets", func(signed map[string]any) {
				signed["targets"].(map[string]any)[keyPath].(map[string]any)["hashes"] = map[string]any{}
			})
		}, "there is none"},
	} {
		s := keyed(t, keyText, activeKey)
		c.change(s)
		_, err := (*Config)(nil).Current(t.Context(), rootOf(s), "", Options{
			Source: s, Now: func() time.Time { return tuftest.Now },
		})
		if reason(err) != policy.TrustRootMissing || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
}

// FuzzStatus: the status is that of exactly the members of these names, or none.
func FuzzStatus(f *testing.F) {
	for _, s := range []string{
		activeKey, `{"sigstore":{"status":"Expired"}}`, `{"sigstore":{"Status":"Active"}}`, `[]`, `null`, ``, `"Active"`,
		`{"sigstore":"Active"}`, `{"sigstore":{"status":"\u0041ctive"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, custom []byte) {
		got := status(custom)
		if got == "" {
			return
		}
		var doc map[string]any
		if err := json.Unmarshal(custom, &doc); err != nil {
			t.Fatalf("%q of what is no object", got)
		}
		inner, ok := doc["sigstore"].(map[string]any)
		if !ok || inner["status"] != any(got) {
			t.Fatalf("%q of %v", got, doc)
		}
		if slices.Contains([]string{"Active", "Expired"}, got) && !strings.Contains(string(custom), "sigstore") &&
			!strings.Contains(string(custom), `\u`) {
			t.Fatalf("%q of %s", got, custom)
		}
	})
}
