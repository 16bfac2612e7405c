// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// audited returns the audit of a simulated root as a document.
func audited(t *testing.T, s *tuftest.Sim, url string, o Options) ([]byte, error) {
	t.Helper()
	a, err := named(t, s, url, "").Audit(t.Context(), "a", o)
	if a == nil {
		return nil, err
	}
	data, bad := a.Bytes()
	check(t, bad)
	return data, err
}

func validAudit(t *testing.T, data []byte) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../schema/audit-v1.json")
	check(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	check(t, err)
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, data)
	}
}

// TestAuditSigstore: the history of Sigstore's own root, from its first version on, and from
// the one that is built in.
func TestAuditSigstore(t *testing.T) {
	const dir = "tuf/testdata/sigstore"
	golden, err := os.ReadFile("testdata/sigstore.audit.json")
	check(t, err)
	first, err := os.ReadFile(dir + "/1.root.json")
	check(t, err)
	place, err := filepath.Abs(dir)
	check(t, err)
	data, err := audited(t, &tuftest.Sim{Files: map[string][]byte{"1.root.json": first}}, place, Options{})
	var e *sigstore.Error
	if !errors.As(err, &e) || e.Reason != policy.TrustRootMissing || !strings.Contains(err.Error(), "timestamp.json") {
		t.Error(err)
	}
	validAudit(t, data)
	if os.Getenv("WRITE_GOLDEN") != "" {
		check(t, os.WriteFile("testdata/sigstore.audit.json", data, 0o600))
	}
	if diff := cmp.Diff(string(golden), string(data)); diff != "" {
		t.Error(diff)
	}
	a, err := (*Config)(nil).Audit(t.Context(), string(PublicGood), Options{
		Source: tuf.FS(os.DirFS(dir), os.DirFS(dir)), Now: time.Now,
	})
	if err == nil || a == nil || len(a.Roots) != 1 || a.AsOf.Root != 14 || a.Problem.File != "timestamp.json" {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := (*Config)(nil).Audit(t.Context(), "nobody", Options{}); err == nil {
		t.Error("of nobody")
	}
	if a, err := (*Config)(nil).Audit(t.Context(), string(PublicGood), Options{Offline: true}); a != nil || err == nil {
		t.Errorf("off-line: %+v %v", a, err)
	}
}

// ceremonies is a root with three versions, a role and what Sigstore says of its targets.
func ceremonies(t *testing.T) *tuftest.Sim {
	t.Helper()
	s := tuftest.New(t)
	s.NextRoot(func() { s.Rotate("root") })
	s.NextRoot(func() {
		s.Root.Signed.Roles["root"].Threshold = 3
		s.Rotate("timestamp")
	})
	s.Targets["targets"].Signed.Version++
	s.Add("targets", "b.txt", "b")
	s.Targets["targets"].Signed.Targets["b.txt"].Custom = custom(`{"sigstore":{"usage":"Rekor","status":"Expired"}}`)
	s.Delegate("targets", metadata.DelegatedRole{Name: "acme", Paths: []string{"d/*", "b.txt"}, Terminating: true})
	s.Add("acme", "d/x", "x")
	s.Add("acme", "b.txt", "not what is found")
	s.Add("acme", "elsewhere", "handed down by nobody")
	s.Publish()
	return s
}

// TestAudit: who signed which version, what changed, what is current.
func TestAudit(t *testing.T) {
	s := ceremonies(t)
	a, err := named(t, s, "https://tuf.example", "").Audit(t.Context(), "a", Options{Source: s})
	check(t, err)
	data, err := a.Bytes()
	check(t, err)
	validAudit(t, data)
	if a.AsOf != (Versions{3, 2, 2, 2}) || len(a.Roots) != 3 || len(a.Roles) != 4 || a.Problem != nil ||
		a.Verdict != "OK" {
		t.Fatalf("%+v", a)
	}
	if r := a.Roots[0]; r.Before != nil || len(r.Own.By) != 3 || r.Own.Threshold != 2 || len(r.Changes) != 0 ||
		len(r.Roles["root"].Keys) != 3 {
		t.Errorf("%+v", r)
	}
	if r := a.Roots[1]; len(r.Before.By) != 3 || len(r.Own.By) != 3 || len(r.Changes) != 1 ||
		r.Changes[0].Role != "root" ||
		len(r.Changes[0].Added) != 3 || len(r.Changes[0].Removed) != 3 || r.Changes[0].Threshold != nil {
		t.Errorf("%+v", r)
	}
	r := a.Roots[2]
	if r.Before.Threshold != 2 || r.Own.Threshold != 3 || len(r.Changes) != 2 ||
		!slices.Equal(r.Changes[0].Threshold, []int64{2, 3}) || len(r.Changes[1].Added) != 1 {
		t.Errorf("%+v", r)
	}
	got := map[string]string{}
	for _, role := range a.Roles {
		for _, target := range role.Targets {
			got[role.Role+" "+target.Path] = fmt.Sprint(target.Usage, target.Status, target.Found)
		}
	}
	want := map[string]string{
		"targets a.txt": "true", "targets b.txt": "RekorExpiredtrue", "acme d/x": "true", "acme b.txt": "false",
		"acme elsewhere": "false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	acme := a.Roles[3]
	if acme.Role != "acme" || acme.By != "targets" || len(acme.Signed) != 1 || !acme.Terminating || len(acme.Paths) != 2 {
		t.Errorf("%+v", acme)
	}
	for _, id := range acme.Keys {
		if a.Keys[id].Public == "" {
			t.Errorf("nobody has %s", id)
		}
	}
}

// TestAuditSame: a web server, a directory, a layout and a registry, a clock that is years
// ahead, another name and a cache that is full of something else make the same bytes.
func TestAuditSame(t *testing.T) {
	s := ceremonies(t)
	want, err := audited(t, s, "https://tuf.example", Options{Source: s})
	check(t, err)
	files := &oci.Files{Metadata: map[string][]byte{}, Targets: map[string]oci.Content{}}
	tree := t.TempDir()
	for name, data := range s.Files {
		if _, _, ok := strings.Cut(name, ".root.json"); ok || name[0] >= '0' && name[0] <= '9' || name == "timestamp.json" {
			files.Metadata[name] = data
		}
		check(t, os.WriteFile(filepath.Join(tree, name), data, 0o600))
	}
	web := httptest.NewServer(http.FileServer(http.Dir(tree)))
	t.Cleanup(web.Close)
	registry := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(registry.Close)
	layout := "oci-layout:" + t.TempDir()
	inRegistry := "oci:" + strings.TrimPrefix(registry.URL, "http://") + "/acme/trust"
	for _, place := range []string{layout, inRegistry} {
		ref, err := oci.ParseReference(place)
		check(t, err)
		for name, data := range s.Content { // a layout wants what metadata lists
			if strings.Index(name[strings.LastIndex(name, "/")+1:], ".") == 64 {
				files.Targets[name] = oci.Bytes(data)
			}
		}
		_, err = oci.Push(t.Context(), ref, oci.Options{}, files)
		check(t, err)
	}
	for _, place := range []string{web.URL, tree, layout, inRegistry} {
		for _, now := range []time.Time{{}, tuftest.Now, tuftest.Now.AddDate(30, 0, 0)} {
			got, err := audited(t, s, place, Options{Now: func() time.Time { return now }, Cache: t.TempDir()})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s at %s: %v\n%s", place, now, err, cmp.Diff(string(want), string(got)))
			}
		}
	}
	if bytes.Contains(want, []byte(tree)) || bytes.Contains(want, []byte("tuf.example")) {
		t.Errorf("it says where it is from\n%s", want)
	}
}

// TestAuditEnds: a history that cannot be followed to its end says where, and what was there
// before is part of it.
func TestAuditEnds(t *testing.T) {
	for name, row := range map[string]struct {
		set   func(s *tuftest.Sim)
		file  string
		code  string
		why   policy.Reason
		roots int
		roles int
	}{
		"a root is withheld": {
			func(s *tuftest.Sim) { delete(s.Files, "2.root.json") }, "2.root.json", "withheld", policy.TrustRootMissing, 1, 0,
		},
		"several are": {
			func(s *tuftest.Sim) {
				for range 6 {
					s.NextRoot(func() {})
				}
				for v := 2; v < 9; v++ {
					delete(s.Files, fmt.Sprintf("%d.root.json", v))
				}
			}, "2.root.json", "withheld", policy.TrustRootMissing, 1, 0,
		},
		"a root cannot be had": {
			func(s *tuftest.Sim) { s.Fault["3.root.json"] = errors.New("down") }, "3.root.json", "unavailable",
			policy.TrustRootMissing, 2, 0,
		},
		"one behind cannot be had": {
			func(s *tuftest.Sim) { s.Fault["5.root.json"] = errors.New("down") }, "5.root.json", "unavailable",
			policy.TrustRootMissing, 3, 0,
		},
		"the newest is withheld, which the snapshot names": {
			func(s *tuftest.Sim) {
				s.Edit("2.snapshot.json", "snapshot", func(m map[string]any) {
					m["meta"].(map[string]any)["root.json"] = map[string]any{"version": 4}
				})
			}, "4.root.json", "withheld", policy.TrustRootMissing, 3, 2,
		},
		"a root below its threshold": {
			func(s *tuftest.Sim) { s.Files["3.root.json"] = dropped(t, s.Files["3.root.json"], 1) }, "3.root.json",
			"unsigned", policy.TrustRootInvalid, 2, 0,
		},
		"a root of strangers": {
			func(s *tuftest.Sim) { s.Files["2.root.json"] = tuftest.New(t).Files["1.root.json"] }, "2.root.json",
			"unsigned", policy.TrustRootInvalid, 1, 0,
		},
		"a root twice": {
			func(s *tuftest.Sim) { s.Files["3.root.json"] = s.Files["2.root.json"] }, "3.root.json", "mismatch",
			policy.TrustRootInvalid, 2, 0,
		},
		"an older root again": {
			func(s *tuftest.Sim) { s.NextRoot(func() {}); s.Files["5.root.json"] = s.Files["4.root.json"] },
			"5.root.json", "mismatch", policy.TrustRootInvalid, 4, 0,
		},
		"a root that is no metadata": {
			func(s *tuftest.Sim) { s.Files["2.root.json"] = []byte("{}") }, "2.root.json", "malformed",
			policy.TrustRootInvalid, 1, 0,
		},
		"no timestamp": {
			func(s *tuftest.Sim) { delete(s.Files, "timestamp.json") }, "timestamp.json", "unavailable",
			policy.TrustRootMissing, 3, 0,
		},
		"a timestamp by a key that is gone": {
			func(s *tuftest.Sim) {
				s.Files["timestamp.json"] = tuftest.Sign(s, "timestamp", s.Timestamp, tuftest.NewKey(t))
			}, "timestamp.json", "unsigned", policy.TrustRootInvalid, 3, 0,
		},
		"no snapshot": {
			func(s *tuftest.Sim) { delete(s.Files, "2.snapshot.json") }, "snapshot.json", "unavailable",
			policy.TrustRootMissing, 3, 1,
		},
		"another snapshot": {
			func(s *tuftest.Sim) { s.Files["2.snapshot.json"] = s.Files["1.snapshot.json"] }, "snapshot.json", "mismatch",
			policy.TrustRootInvalid, 3, 1,
		},
		"no targets": {
			func(s *tuftest.Sim) { delete(s.Files, "2.targets.json") }, "targets.json", "unavailable",
			policy.TrustRootMissing, 3, 2,
		},
		"a role is not there": {
			func(s *tuftest.Sim) { delete(s.Files, "1.acme.json") }, "acme.json", "unavailable",
			policy.TrustRootMissing, 3, 3,
		},
		"a role that nobody signed": {
			func(s *tuftest.Sim) { s.Files["1.acme.json"] = dropped(t, s.Files["1.acme.json"], 0) }, "acme.json", "unsigned",
			policy.TrustRootInvalid, 3, 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := ceremonies(t)
			row.set(s)
			a, err := named(t, s, "https://tuf.example", "").Audit(t.Context(), "a", Options{Source: s})
			var e *sigstore.Error
			if a == nil || !errors.As(err, &e) || e.Reason != row.why {
				t.Fatalf("%+v %v", a, err)
			}
			if a.Problem == nil || *a.Problem != (AuditProblem{row.file, row.code}) || AuditCodes[row.code] == "" ||
				a.Verdict != row.why.Class().String() {
				t.Errorf("%+v %s: %v", a.Problem, a.Verdict, err)
			}
			if len(a.Roots) != row.roots || len(a.Roles) != row.roles {
				t.Errorf("%d roots, %d roles", len(a.Roots), len(a.Roles))
			}
			data, err := a.Bytes()
			check(t, err)
			validAudit(t, data)
		})
	}
	// Nothing to begin with.
	s := tuftest.New(t)
	s.Files["1.root.json"] = dropped(t, s.Files["1.root.json"], 1)
	a, err := named(t, s, "https://tuf.example", "").Audit(t.Context(), "a", Options{Source: s})
	var e *sigstore.Error
	if a != nil || !errors.As(err, &e) || e.Reason != policy.TrustRootInvalid {
		t.Errorf("%+v %v", a, err)
	}
}

// TestAuditBounds: what has no end is not read to it.
func TestAuditBounds(t *testing.T) {
	for name, source := range map[string]tuf.Source{
		"roots without end": endless{}, "roots that are large": endless{large: 900 << 10},
		"roles without end": binned(t, 12, nil, binNames(1001)...),
	} {
		s := tuftest.New(t)
		o := Options{Source: source}
		if sim, ok := source.(*tuftest.Sim); ok {
			s = sim
		} else {
			o.Source = endless{s, source.(endless).large}
		}
		a, err := named(t, s, "https://tuf.example", "").Audit(t.Context(), "a", o)
		if a == nil || err == nil || a.Problem == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(a.Roots); strings.Contains(name, "large") && n > 20 {
			t.Errorf("%d roots", n)
		}
	}
}

func binNames(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("bin-%03x", i))
	}
	return out
}

// endless is a root that is renewed for ever.
type endless struct {
	s     *tuftest.Sim
	large int // bytes of space in each
}

func (e endless) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	for e.s.Files[name] == nil && strings.HasSuffix(name, ".root.json") {
		e.s.NextRoot(func() {})
	}
	return append(bytes.Repeat([]byte(" "), e.large), e.s.Files[name]...), nil
}

func (e endless) Target(context.Context, string, int64) ([]byte, error) { return nil, os.ErrNotExist }

// dropped leaves so many signatures in a file.
func dropped(t *testing.T, data []byte, keep int) []byte {
	t.Helper()
	var doc struct {
		Signed     json.RawMessage   `json:"signed"`
		Signatures []json.RawMessage `json:"signatures"`
	}
	check(t, json.Unmarshal(data, &doc))
	doc.Signatures = doc.Signatures[:keep]
	out, err := json.Marshal(doc)
	check(t, err)
	return out
}

func custom(text string) *json.RawMessage {
	raw := json.RawMessage(text)
	return &raw
}

// TestAuditHolders: whose a key is, is what newer metadata says, and two keys of one ID are two.
func TestAuditHolders(t *testing.T) {
	key := func(public, owner string) tuf.Key {
		k := tuf.Key{Type: "ed25519", Scheme: "ed25519", Value: json.RawMessage(`{"public":"` + public + `"}`)}
		if owner != "" {
			k.Words = map[string]string{"x-tuf-on-ci-keyowner": owner}
		}
		return k
	}
	one, two := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	a := &Audit{Keys: map[string]KeyHolder{}}
	a.holders(map[string]tuf.Key{"x": key(one, "@alice"), "y": key(one, "")})
	a.holders(map[string]tuf.Key{"x": key(one, ""), "y": key(one, "@bob")})
	identity := tuf.Key{
		Type: KeyTypeOIDC, Scheme: "Fulcio",
		Value: json.RawMessage(`{"identity":"alice@example.com","issuer":"https://a.example"}`),
	}
	junk := tuf.Key{
		Type: KeyTypeOIDC, Value: json.RawMessage(`[]`), Words: map[string]string{"x-tuf-on-ci-online-uri": "kms:x"},
	}
	a.holders(map[string]tuf.Key{"x": key(two, "@carol"), "z": identity, "junk": junk})
	got := map[string]string{}
	for id, h := range a.Keys {
		id, public, _ := strings.Cut(id, "#")
		if public != "" {
			if id += "#"; public != h.Public {
				t.Errorf("%s is called %s", h.Public, public)
			}
		}
		got[id] = h.Name
	}
	want := map[string]string{
		"x": "@alice", "y": "@bob", "x#": "@carol", "z": "alice@example.com of https://a.example", "junk": "kms:x",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a.Keys["x"].Public != a.Keys["y"].Public || a.Keys["z"].Public != "" {
		t.Errorf("%+v", a.Keys)
	}
}

// TestAuditCounts: signatures of strangers are none, a role that two roles delegate to is
// listed for each, and roles that delegate to each other are no circle.
func TestAuditCounts(t *testing.T) {
	s := tuftest.New(t)
	stranger := tuftest.NewKey(t)
	s.NextRoot(func() { s.AddKey("timestamp", stranger) }) // a key of the root, and no key of its role
	s.PublishRoot(stranger, tuftest.NewKey(t))
	s.Targets["targets"].Signed.Version++
	s.Delegate("targets", metadata.DelegatedRole{Name: "a", Paths: []string{"d/*"}})
	s.Delegate("targets", metadata.DelegatedRole{Name: "b", Paths: []string{"d/*"}})
	s.Delegate("a", metadata.DelegatedRole{Name: "b", Paths: []string{"d/*"}})
	s.Delegate("b", metadata.DelegatedRole{Name: "a", Paths: []string{"d/*"}})
	s.Publish()
	a, err := named(t, s, "https://tuf.example", "").Audit(t.Context(), "a", Options{Source: s})
	check(t, err)
	if r := a.Roots[1]; len(r.Own.By) != 3 || len(r.Before.By) != 3 {
		t.Errorf("%+v", r)
	}
	var roles []string
	for _, r := range a.Roles {
		roles = append(roles, r.By+"/"+r.Role)
	}
	want := []string{
		"root/timestamp", "root/snapshot", "root/targets", "targets/a", "targets/b", "a/b", "b/a",
	}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Error(diff)
	}
}

// TestAuditProbes: how far behind a root that is missing another one shows that.
func TestAuditProbes(t *testing.T) {
	for missing, withheld := range map[int]bool{1: true, 7: true, 8: true, 9: false} {
		s := tuftest.New(t)
		for range missing + 1 {
			s.NextRoot(func() {})
		}
		for v := 2; v < missing+2; v++ {
			delete(s.Files, fmt.Sprintf("%d.root.json", v))
		}
		a, err := named(t, s, "https://tuf.example", "").Audit(t.Context(), "a", Options{Source: s})
		if (err != nil) != withheld || a == nil || withheld && *a.Problem != (AuditProblem{"2.root.json", "withheld"}) {
			t.Errorf("%d are missing: %+v %v", missing, a.Problem, err)
		}
	}
}
