// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// story is a genesis, two versions 2, and a second genesis.
type story struct {
	*bindtest.Forge
	genesis, second, fork, other string // digests
	bundles                      map[string][]byte
}

func newStory(t testing.TB) *story {
	s := &story{Forge: bindtest.NewForge(t), bundles: map[string][]byte{}}
	one, d1 := s.Statement(bindtest.TestPolicy, "")
	two, d2 := s.Statement(bindtest.TextOf(2, "alice", " a"), d1)
	twoB, d2b := s.Statement(bindtest.TextOf(2, "alice", " b"), d1)
	other, d3 := s.Statement(bindtest.TextOf(1, "bob", ""), "")
	s.genesis, s.second, s.fork, s.other = d1, d2, d2b, d3
	for _, x := range []struct {
		name    string
		payload []byte
		who     string
	}{{"1", one, "alice"}, {"2", two, "alice"}, {"2b", twoB, "alice"}, {"other", other, "bob"}} {
		s.bundles[x.name+" signed"] = s.Sign(x.payload, x.who)
		s.bundles[x.name+" bound"] = s.Bind(x.payload, bindtest.Widget, "1001", sigstoretest.LogV2)
	}
	return s
}

func (s *story) list(names ...string) [][]byte {
	var out [][]byte
	for _, n := range names {
		out = append(out, s.bundles[n+" signed"], s.bundles[n+" bound"])
	}
	return out
}

func (s *story) evidence(kind string, digests []string, bundles [][]byte) *bindings.Evidence {
	s.T.Helper()
	e, err := bindings.NewEvidence(kind, bindtest.Locator(s.T, bindtest.Widget), digests, bundles)
	if err != nil {
		s.T.Fatal(err)
	}
	again, err := bindings.ParseEvidence(e.Bytes())
	if err != nil || !bytes.Equal(again.Bytes(), e.Bytes()) {
		s.T.Fatalf("not read back: %v", err)
	}
	return again
}

func TestEvidence(t *testing.T) {
	s := newStory(t)
	now := sigstoretest.Now
	for name, c := range map[string]struct {
		kind    string
		digests []string
		bundles [][]byte
		first   string // of the statements; "" if nothing is proven
	}{
		"fork":                      {"fork", []string{s.fork, s.second}, s.list("1", "2", "2b"), s.second},
		"second genesis":            {"second-genesis", []string{s.genesis, s.other}, s.list("1", "other"), s.genesis},
		"rollback":                  {"rollback", []string{s.second}, s.list("1", "2"), s.second},
		"fork of different parents": {"fork", []string{s.genesis, s.second}, s.list("1", "2"), ""},
		"fork without parent":       {"fork", []string{s.fork, s.second}, s.list("2", "2b"), ""},
		"fork without a binding": {
			"fork", []string{s.fork, s.second}, append(s.list("1", "2"), s.bundles["2b signed"]), "",
		},
		"fork without a signature": {
			"fork", []string{s.fork, s.second}, append(s.list("1", "2"), s.bundles["2b bound"]), "",
		},
		"fork with a stranger":    {"fork", []string{s.genesis, s.other}, s.list("1", "other"), ""},
		"genesis of two versions": {"second-genesis", []string{s.genesis, s.second}, s.list("1", "2"), ""},
		"genesis without bundle":  {"second-genesis", []string{s.genesis, s.other}, s.list("1"), ""},
		"rollback of a genesis":   {"rollback", []string{s.genesis}, s.list("1"), ""},
		"rollback of two":         {"rollback", []string{s.genesis, s.second}, s.list("1", "2"), ""},
		"the same twice":          {"fork", []string{s.second, s.second}, s.list("1", "2"), ""},
		"one fork":                {"fork", []string{s.second}, s.list("1", "2"), ""},
		"unknown kind":            {"quarrel", []string{s.fork, s.second}, s.list("1", "2", "2b"), ""},
		"no statement":            {"fork", nil, s.list("1", "2", "2b"), ""},
	} {
		e := s.evidence(c.kind, c.digests, c.bundles)
		f, err := e.Judge(s.Root, nil, now)
		switch {
		case (err == nil) != (c.first != ""):
			t.Errorf("%s: %v", name, err)
		case err == nil && (f.Versions[0].Statement != c.first || f.Kind != c.kind || len(f.Versions) == 2 && !f.Ordered):
			t.Errorf("%s: %+v", name, f)
		case err != nil && f.Versions != nil:
			t.Errorf("%s: a finding beside an error", name)
		}
	}
	e := s.evidence("fork", []string{s.fork, s.second}, s.list("1", "2", "2b"))
	f, err := e.Judge(s.Root, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	v := f.Versions[0]
	if v.Number != 2 || v.Ids != (policy.Ids{Repository: "1001", Owner: "2002"}) || v.Bindings[0].Index == 0 ||
		len(v.Signers) != 1 ||
		v.Signers[0].Value != "alice@example.com" ||
		v.Document.Content().Repository.String() != bindtest.Widget {
		t.Errorf("%+v", v)
	}
	if _, err := e.Judge(s.Trust(sigstoretest.New(t)), nil, now); err == nil {
		t.Error("another trusted root took it")
	}
	same, err := bindings.NewEvidence(
		"fork", bindtest.Locator(t, bindtest.Widget), []string{s.second, s.fork},
		slices.Concat(s.list("2b", "2"), s.list("1", "2")),
	)
	if err != nil || !bytes.Equal(same.Bytes(), e.Bytes()) {
		t.Error("the same evidence is another file")
	}
	elsewhere, err := bindings.NewEvidence(
		"second-genesis", bindtest.Locator(t, "https://github.com/acme/gadget"), []string{s.genesis, s.other},
		s.list("1", "other"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Judge(s.Root, nil, now); err == nil {
		t.Error("evidence about another repository")
	}
}

// TestEvidenceTampered changes every payload, signature and proof in turn.
func TestEvidenceTampered(t *testing.T) {
	s := newStory(t)
	good := s.evidence("fork", []string{s.fork, s.second}, s.list("1", "2", "2b"))
	n := 0
	for i, raw := range good.Bundles() {
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		var walk func(v any, set func(any))
		walk = func(v any, set func(any)) {
			switch v := v.(type) {
			case map[string]any:
				for _, k := range slices.Sorted(mapKeys(v)) {
					// What a proof repeats beside its checkpoint is checked elsewhere.
					if k != "keyid" {
						walk(v[k], func(x any) { v[k] = x })
					}
				}
			case []any:
				for j := range v {
					walk(v[j], func(x any) { v[j] = x })
				}
			case string:
				if len(v) < 20 {
					return
				}
				mid := len(v) / 2
				c := byte('A')
				if v[mid] == c {
					c = 'B'
				}
				set(v[:mid] + string(c) + v[mid+1:])
				changed, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				set(v)
				bundles := slices.Clone(good.Bundles())
				bundles[i] = changed
				bad := good.With(bundles)
				n++
				f, err := bad.Judge(s.Root, nil, sigstoretest.Now)
				// Only the genesis' own signature and binding are not needed: its
				// statement is addressed by its digest.
				if err == nil && !bytes.Contains(raw, []byte(policyOf(t, raw, s.genesis))) {
					t.Errorf("bundle %d: still proven with %.40q changed: %+v", i, v, f)
				}
			}
		}
		walk(doc, nil)
	}
	if n < 30 {
		t.Errorf("%d changes", n)
	}
}

// policyOf returns a text that a bundle contains only if it is over the
// statement.
func policyOf(t *testing.T, raw []byte, digest string) string {
	b, err := sigstore.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	if spelling.Sum(b.Payload()) == digest {
		return "dsseEnvelope"
	}
	return "no bundle contains this"
}

func mapKeys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestCollection evaluates a chain of real bundles: two logs, a key, spam.
func TestCollection(t *testing.T) {
	f := bindtest.NewForge(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(bindtest.TestPolicy, "threshold = 1", "threshold = 2", 1) + fmt.Sprintf(
		"[[maintainers.member]]\nname = \"kim\"\nkeys = [%q]\n",
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	)
	one, d1 := f.Statement(text, "")
	c := &bindings.Collection{Root: f.Root}
	add := func(raw []byte, ok bool) {
		t.Helper()
		b, err := sigstore.ParseBundle(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Add(b); (err == nil) != ok {
			t.Errorf("added %v: %v", ok, err)
		}
	}
	add(f.Sign(one, "alice"), true)
	add(f.SignKey(one, key), true)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add(f.SignKey(one, other), false)
	add(f.Bind(one, bindtest.Widget, "1001", sigstoretest.LogBoth), true)
	add(
		f.Sign(
			[]byte(
				`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"`+d1+
					`"}}],"predicateType":"x"}`,
			),
			"alice",
		),
		false,
	)
	// By another workflow of the repository: a signature of nobody's.
	wf := bindtest.Widget + "/.github/workflows/release.yml@refs/heads/main"
	add(f.Inst.Sign(sigstoretest.Request{
		Statement: one, SAN: wf, Issuer: "https://token.actions.githubusercontent.com", At: f.Next(), Log: sigstoretest.LogV2,
		TSA: true,
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: bindtest.Widget, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf,
			20: "push",
		},
	}), true)
	h := c.History(bindtest.Locator(t, bindtest.Widget), sigstoretest.Now)
	h.View = chain.View{Completeness: chain.CompleteScanned, AsOf: sigstoretest.Now}
	resolved := chain.Evaluate(h)
	vs := resolved.Versions()
	if resolved.Reason() != "" || len(vs) != 1 || vs[0].Statement != d1 || vs[0].Ids.Repository != "1001" ||
		len(vs[0].Bindings) != 1 {
		t.Fatalf("%v %+v", resolved.Problems(), vs)
	}
	generations := map[int]int{}
	for _, l := range h.Logs {
		generations[l.Generation]++
	}
	if len(h.Leaves) != 2 || generations[1] != 1 || generations[2] != 1 {
		t.Errorf("%d leaves, logs %v", len(h.Leaves), generations)
	}
	// Without the key's signature the threshold is not met.
	h.Signatures = slices.DeleteFunc(slices.Clone(h.Signatures), func(chain.Signature) bool { return true })
	if r := chain.Evaluate(h).Reason(); r != policy.Undisclosed {
		t.Errorf("without signatures: %s", r)
	}
	b, err := sigstore.ParseBundle(
		f.Inst.Sign(
			sigstoretest.Request{
				Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com",
			},
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Add(b); err == nil {
		t.Error("a message signature is no statement")
	}
}

func TestParseEvidence(t *testing.T) {
	s := newStory(t)
	good := string(s.evidence("fork", []string{s.fork, s.second}, s.list("1", "2", "2b")).Bytes())
	validate(t, good, true)
	for name, bad := range map[string]string{
		"empty": "", "null": "null", "array": "[" + good + "]", "trailing": good + "{}", "cut": good[:len(good)-3],
		"schema":       strings.Replace(good, "evidence-v1", "evidence-v2", 1),
		"no schema":    strings.Replace(good, ` "schema"`, ` "scheme"`, 1),
		"key case":     strings.Replace(good, `"kind"`, `"Kind"`, 1),
		"twice":        strings.Replace(good, `"kind"`, `"kind": "fork", "kind"`, 1),
		"unknown":      strings.Replace(good, `"kind"`, `"trust": "all", "kind"`, 1),
		"null kind":    strings.Replace(good, `"fork"`, `null`, 1),
		"repository":   strings.Replace(good, "github.com/acme/widget\",", "GitHub.com/acme/widget\",", 1),
		"digest":       strings.Replace(good, s.second, s.second[1:], 1),
		"upper digest": strings.Replace(good, s.second, strings.ToUpper(s.second), 1),
		"no bundles": `{"schema":"` + bindings.EvidenceSchema + `","kind":"fork","repository":"` + bindtest.Widget +
			`","statements":[],"bundles":[]}`,
		"many bundles": `{"schema":"` + bindings.EvidenceSchema + `","kind":"fork","repository":"` + bindtest.Widget +
			`","statements":[],"bundles":[` + strings.Repeat(`{"bundle":{}},`, bindings.MaxEvidenceBundles) + `{"bundle":{}}]}`,
		"deep": `{"schema":"` + bindings.EvidenceSchema + `","bundles":[{"bundle":` + strings.Repeat("[", 1000) +
			strings.Repeat("]", 1000) + `}]}`,
		"not UTF-8":      strings.Replace(good, `"fork"`, "\"fork\xff\"", 1),
		"unknown nested": strings.Replace(good, `"bundle":`, `"proof": {}, "bundle":`, 1),
	} {
		if e, err := bindings.ParseEvidence([]byte(bad)); err == nil || e != nil {
			t.Errorf("%s: read", name)
		}
	}
	if _, err := bindings.ParseEvidence(make([]byte, rekor.MaxEvidenceBytes+1)); err == nil {
		t.Error("beyond the cap")
	}
	if _, err := bindings.NewEvidence("fork", policy.Locator{}, nil, nil); err == nil {
		t.Error("evidence about nothing")
	}
	_, err := bindings.NewEvidence("fork", bindtest.Locator(t, bindtest.Widget), nil, [][]byte{[]byte("{")})
	if err == nil {
		t.Error("a bundle that is no JSON")
	}
	e, err := bindings.ParseEvidence([]byte(
		`{"schema":"` + bindings.EvidenceSchema + `","kind":"fork","repository":"` + bindtest.Widget + `","statements":["` +
			s.fork + `","` + s.second + `"],"bundles":[{"bundle":{"mediaType":"x"}},{"bundle":7}]}`,
	))
	if err != nil {
		t.Error(err)
	} else if _, err := e.Judge(s.Root, nil, sigstoretest.Now); err == nil {
		t.Error("bundles that are none prove nothing")
	}
}

func validate(t testing.TB, doc string, ok bool) {
	t.Helper()
	schema := vectors.Schema(t, "evidence-v1.json")
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); (err == nil) != ok {
		t.Errorf("schema: %v", err)
	}
}

// TestForgesSchema compares the JSON Schema with the parser: what the parser
// takes, the schema takes.
func TestForgesSchema(t *testing.T) {
	schema := vectors.Schema(t, "forges-v1.json")
	for _, v := range vectors.Read(t, "authority") {
		text, ok := v.Sections(t)["forges.json"]
		if !ok {
			continue
		}
		if _, err := bindings.ParseForges([]byte(text)); err != nil {
			continue
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = schema.Validate(doc)
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// FuzzEvidence: what is read is written back as it is, and proves nothing of
// itself.
func FuzzEvidence(f *testing.F) {
	s := newStory(f)
	f.Add(s.evidence("fork", []string{s.fork, s.second}, s.list("1", "2", "2b")).Bytes())
	f.Add(
		[]byte(
			`{"schema":"` + bindings.EvidenceSchema + `","kind":"rollback","repository":"` + bindtest.Widget +
				`","statements":["` + s.fork + `"],"bundles":[{"bundle":{}}]}`,
		),
	)
	stranger := (&bindtest.Forge{T: f}).Trust(sigstoretest.New(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := bindings.ParseEvidence(data)
		if err != nil {
			return
		}
		again, err := bindings.ParseEvidence(e.Bytes())
		if err != nil || again.Kind != e.Kind || again.Repository != e.Repository ||
			!slices.Equal(again.Statements, e.Statements) ||
			len(again.Bundles()) != len(e.Bundles()) {
			t.Fatalf("not read back: %v", err)
		}
		if f, err := e.Judge(stranger, nil, sigstoretest.Now); err == nil {
			t.Fatalf("proven under a root that signed nothing: %+v", f)
		}
	})
}

// TestAcknowledged: an alarm counts until a version lists exactly the evidence
// about it.
func TestAcknowledged(t *testing.T) {
	s := newStory(t)
	files := func(bundles [][]byte) (out []bindings.File) {
		for i, b := range bundles {
			out = append(out, bindings.File{Name: bindings.SignatureName(1, []byte{byte(i)}, false), Data: b})
		}
		return out
	}
	story := s.list("1", "2", "2b", "other")
	resolve := func(bundles [][]byte) *bindings.Resolution {
		t.Helper()
		r := &bindings.Resolver{Root: s.Root, Now: sigstoretest.Now}
		res, err := r.Resolve(t.Context(), bindtest.Locator(t, bindtest.Widget), files(bundles))
		if err != nil || res.Chain.Reason() != "" {
			t.Fatalf("%v %s %+v", err, res.Chain.Reason(), res.Chain.Problems())
		}
		return res
	}
	of := func(res *bindings.Resolution, code string) string {
		t.Helper()
		for _, a := range res.Chain.Alarms() {
			if e := res.Evidence[a.Evidence]; a.Code == code && e != nil && spelling.Sum(e.Bytes()) == a.Evidence &&
				!a.Acknowledged {
				return a.Evidence
			}
		}
		t.Fatalf("no evidence of a %s: %+v", code, res.Chain.Alarms())
		return ""
	}
	before := resolve(story)
	fork, genesis := of(before, "fork"), of(before, "second-genesis")
	if len(before.Evidence) != 2 {
		t.Errorf("%d pieces of evidence", len(before.Evidence))
	}
	two, err := rekorbind.ParseStatement(payloadOf(t, s.bundles["2 signed"]))
	if err != nil {
		t.Fatal(err)
	}
	demand, err := chain.Demand{FailOnAlarm: true}.ParseRequire("claimed,first,none")
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		listed []string
		more   [][]byte
		ok     bool
	}{
		"both":            {[]string{fork, genesis}, nil, true},
		"none":            {nil, nil, false},
		"one":             {[]string{fork}, nil, false},
		"the other":       {[]string{genesis}, nil, false},
		"something else":  {[]string{genesis, strings.Repeat("0", 64)}, nil, false},
		"more of it":      {[]string{fork, genesis}, [][]byte{s.Sign(payloadOf(t, s.bundles["2b signed"]), "alice")}, false},
		"junk beside it":  {[]string{fork, genesis}, [][]byte{[]byte("{}")}, true},
		"a statement too": {[]string{fork, genesis, two.Digest()}, nil, true},
	} {
		extra := ""
		for _, d := range x.listed {
			extra += "\n[[acknowledged]]\nevidence = \"sha256:" + d + "\"\n"
		}
		payload, err := rekorbind.Encode([]byte(bindtest.TextOf(3, "alice", "")+extra), two.Digest())
		if err != nil {
			t.Fatal(err)
		}
		bundles := append(slices.Clone(story), x.more...)
		res := resolve(
			append(bundles, s.Sign(payload, "alice"), s.Bind(payload, bindtest.Widget, "1001", sigstoretest.LogV2)),
		)
		if len(res.Chain.Versions()) != 3 || len(res.Chain.Alarms()) != 2 {
			t.Fatalf("%s: %+v", name, res.Chain.Alarms())
		}
		d, _ := res.Chain.Trusted(demand).Precheck(policy.Request{Now: sigstoretest.Now}, policy.Claims{})
		if (d.Reason != policy.AlarmRaised) != x.ok || x.ok && d.Reason.Class() != policy.ClassDeny {
			t.Errorf("%s: %s %s", name, d.Reason, d.Detail)
		}
	}
}

func payloadOf(t testing.TB, bundle []byte) []byte {
	t.Helper()
	b, err := sigstore.ParseBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return b.Payload()
}
