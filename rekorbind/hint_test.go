// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// shardID is the id of the second log, which is not the SHA-256 of its key: such
// ids tell Rekor v2 from Rekor v1.
var shardID = bytes.Repeat([]byte{2}, 32)

// chained is a repository with a genesis and a second version in both logs.
type chained struct {
	*forge
	one, two []byte
	files    []File
	v1       map[string]json.RawMessage // by name: entries as Rekor v1 answers them
	names    []string                   // of bindings of both versions that no file holds
}

func newChained(t testing.TB, generations ...int) *chained {
	t.Helper()
	c := &chained{forge: newForge(t), v1: map[string]json.RawMessage{}}
	c.root = c.rootWith(generations...)
	var d1 string
	c.one, d1 = c.statement(testPolicy, "")
	c.two, _ = c.statement(textOf(2, "alice", ""), d1)
	for i, payload := range [][]byte{c.one, c.two} {
		r := sigstoretest.Request{Statement: payload, SAN: "alice@example.com", Issuer: "https://accounts.google.com"}
		c.add(fmt.Sprint(i, "-signed"), r)
		c.add(fmt.Sprint(i, "-bound"), workflow(widget, payload))
	}
	for _, payload := range [][]byte{c.one, c.two} {
		name, _, _ := c.log(workflow(widget, payload))
		c.names = append(c.names, name)
	}
	return c
}

// rootWith returns a root with the logs of those generations.
func (f *forge) rootWith(generations ...int) *sigstore.Root {
	f.t.Helper()
	r, err := sigstore.ParseRoot("test", f.inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs[1].LogId.KeyId = shardID
		var keep []*prototrust.TransparencyLogInstance
		for _, g := range generations {
			keep = append(keep, tr.Tlogs[g-1])
		}
		tr.Tlogs = keep
	}}))
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func workflow(repo string, payload []byte) sigstoretest.Request {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	return sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com",
		Extensions: map[int]string{9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf, 20: "repository_dispatch"},
	}
}

// log signs, and returns the entry's name in Rekor v1 and the bundles, one for
// each log of the root.
func (c *chained) log(r sigstoretest.Request) (name string, entry json.RawMessage, bundles [][]byte) {
	c.t.Helper()
	r.At, r.TSA = c.next(), true
	r.Mutate = func(b *protobundle.Bundle) {
		for _, e := range b.VerificationMaterial.TlogEntries {
			if e.IntegratedTime == 0 {
				e.LogId.KeyId = shardID
			}
		}
	}
	for _, l := range c.root.Logs() {
		r.Log = sigstoretest.LogV1
		if l.Generation == 2 {
			r.Log = sigstoretest.LogV2
		}
		raw := c.inst.Sign(r)
		bundles = append(bundles, raw)
		if l.Generation == 1 {
			name, entry = entryV1(c.t, raw)
			c.v1[name] = entry
		}
	}
	return name, entry, bundles
}

func (c *chained) add(file string, r sigstoretest.Request) {
	_, _, bundles := c.log(r)
	for i, b := range bundles {
		c.files = append(c.files, File{fmt.Sprintf("%s/%s-%d.sigstore.json", SignaturesDir, file, i), b})
	}
}

// entryV1 turns the log entry of a bundle into the form of Rekor v1.
func entryV1(t testing.TB, bundle []byte) (name string, entry json.RawMessage) {
	t.Helper()
	var b struct {
		VerificationMaterial struct {
			TlogEntries []struct {
				LogIndex, IntegratedTime string
				LogID                    struct{ KeyID []byte }
				InclusionPromise         struct{ SignedEntryTimestamp []byte }
				CanonicalizedBody        []byte
			}
		}
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	e := b.VerificationMaterial.TlogEntries[0]
	entry = json.RawMessage(fmt.Sprintf(`{"body":%q,"integratedTime":%s,"logID":%q,"logIndex":%s,"verification":{"signedEntryTimestamp":%q}}`,
		base64.StdEncoding.EncodeToString(e.CanonicalizedBody), e.IntegratedTime, hex.EncodeToString(e.LogID.KeyID), e.LogIndex, base64.StdEncoding.EncodeToString(e.InclusionPromise.SignedEntryTimestamp)))
	return fmt.Sprintf("%016x%s", 4711, sigstore.LeafHash(e.CanonicalizedBody)), entry
}

// index is a search index of Rekor v1 that may lie.
type index struct {
	list    func() string                                                    // reply to a search
	entries func(asked []string, honest []map[string]json.RawMessage) string // reply to a retrieval; nil for the honest one
	fetched []string
	renamed bool // also asked under another name
}

func (c *chained) serve(x *index) *web.Client {
	c.t.Helper()
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Hash       string   `json:"hash"`
			EntryUUIDs []string `json:"entryUUIDs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			c.t.Error(err)
		}
		switch r.URL.Path {
		case "/api/v1/index/retrieve":
			if q.Hash != "sha256:"+locator(c.t, widget).Anchor() && !x.renamed {
				c.t.Errorf("asked for %s", q.Hash)
			}
			_, _ = io.WriteString(w, x.list())
		case "/api/v1/log/entries/retrieve":
			if len(q.EntryUUIDs) == 0 || len(q.EntryUUIDs) > entriesBatch {
				c.t.Errorf("asked for %d entries", len(q.EntryUUIDs))
			}
			mu.Lock()
			x.fetched = append(x.fetched, q.EntryUUIDs...)
			mu.Unlock()
			honest := []map[string]json.RawMessage{}
			for _, u := range q.EntryUUIDs {
				if e, ok := c.v1[u]; ok {
					honest = append(honest, map[string]json.RawMessage{u: e})
				}
			}
			if x.entries != nil {
				_, _ = io.WriteString(w, x.entries(q.EntryUUIDs, honest))
				return
			}
			_ = json.NewEncoder(w).Encode(honest)
		default:
			http.NotFound(w, r)
		}
	}))
	c.t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

func (c *chained) hint(x *index) *Hint {
	return &Hint{Root: c.root, Client: c.serve(x), Now: func() time.Time { return sigstoretest.Now }}
}

func (c *chained) resolve(files []File, lookups ...Lookup) *Resolution {
	c.t.Helper()
	r := &Resolver{Root: c.root, Lookups: lookups, Now: sigstoretest.Now}
	out, err := r.Resolve(c.t.Context(), locator(c.t, widget), files)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// decide judges a release that no rule could allow, to see what the chain says
// before that.
func decide(c *chain.Chain) policy.Reason {
	d, _ := c.Trusted(chain.Demand{}).Precheck(policy.Request{Now: sigstoretest.Now}, policy.Claims{})
	return d.Reason
}

func list(names ...string) func() string {
	out, err := json.Marshal(names)
	if err != nil {
		panic(err)
	}
	return func() string { return string(out) }
}

// TestIndex: an honest index is believed for what it lists, and no answer that
// is malformed or proves itself wrong is taken for one that lists nothing.
func TestIndex(t *testing.T) {
	c := newChained(t, 1)
	resolved := c.resolve(c.files, c.hint(&index{list: list(c.names...)})).Chain
	if resolved.Reason() != "" || len(resolved.Versions()) != 2 || resolved.View().Completeness != chain.CompleteHinted {
		t.Fatalf("%s %+v", resolved.Reason(), resolved.Problems())
	}
	beyond := decide(resolved) // whatever it is: the chain is not at fault
	if beyond == policy.BelowRequired || beyond.Class() != policy.ClassDeny {
		t.Fatalf("decided %s", beyond)
	}
	long := c.names[0]
	short := long[16:]
	change := func(old, new string) func([]string, []map[string]json.RawMessage) string {
		return func(_ []string, honest []map[string]json.RawMessage) string {
			out, err := json.Marshal(honest)
			if err != nil {
				t.Error(err)
			}
			if !strings.Contains(string(out), old) {
				t.Errorf("the entries have no %q", old)
			}
			return strings.Replace(string(out), old, new, 1)
		}
	}
	var e struct {
		Body           string `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogID          string `json:"logID"`
		LogIndex       int64  `json:"logIndex"`
		Verification   struct{ SignedEntryTimestamp string }
	}
	if err := json.Unmarshal(c.v1[long], &e); err != nil {
		t.Fatal(err)
	}
	reply := func(s string) func([]string, []map[string]json.RawMessage) string {
		return func([]string, []map[string]json.RawMessage) string { return s }
	}
	both := list(c.names...)
	var many []string
	for i := range maxFetched + 1 {
		many = append(many, fmt.Sprintf("%064x", i))
	}
	for name, x := range map[string]struct {
		index
		leaves int // -1 for an error
		is     error
	}{
		"honest":              {index{list: both}, 2, nil},
		"another order":       {index{list: list(c.names[1], c.names[0])}, 2, nil},
		"twice":               {index{list: list(append(c.names, c.names...)...)}, 2, nil},
		"two names of a leaf": {index{list: list(long, strings.Repeat("0", 16)+short)}, -1, nil}, // one of them is withheld
		"without its shard":   {index{list: list(long, short)}, 2, nil},                          // one entry, perhaps two
		"omits one":           {index{list: list(c.names[1])}, 1, nil},                           // its word, and labelled so
		"empty list":          {index{list: func() string { return "[]" }}, 0, nil},
		"empty":               {index{list: func() string { return "" }}, -1, nil},
		"null":                {index{list: func() string { return "null" }}, -1, nil},
		"null inside":         {index{list: func() string { return "[null]" }}, -1, nil},
		"an object":           {index{list: func() string { return `{}` }}, -1, nil},
		"numbers":             {index{list: func() string { return `[1]` }}, -1, nil},
		"a page":              {index{list: func() string { return "<!doctype html>" }}, -1, nil},
		"trailing":            {index{list: func() string { return both() + "x" }}, -1, nil},
		"cut":                 {index{list: func() string { return both()[:30] }}, -1, nil},
		"name in upper case":  {index{list: list(strings.ToUpper(long))}, -1, nil},
		"name of 79 digits":   {index{list: list(long[1:])}, -1, nil},
		"a path":              {index{list: list("../../" + long)}, -1, nil},
		"empty name":          {index{list: list("")}, -1, nil},
		"bad name last":       {index{list: list(c.names[0], c.names[1], "x")}, -1, nil},
		"too large":           {index{list: func() string { return both() + strings.Repeat(" ", maxIndexReply) }}, -1, web.ErrTooLarge},
		"no such entries":     {index{list: list(many[1:]...)}, -1, nil},
		"foreign name":        {index{list: list(long, many[0])}, -1, nil},
		"withholds all":       {index{list: both, entries: reply("[]")}, -1, nil},
		"withholds null":      {index{list: both, entries: reply("null")}, -1, nil},
		"withholds one": {index{list: both, entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h[:1])
			return string(out)
		}}, -1, nil},
		"entries are no JSON":   {index{list: both, entries: reply("<!doctype html>")}, -1, nil},
		"entries are an object": {index{list: both, entries: reply("{}")}, -1, nil},
		"entries are cut": {index{list: both, entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h)
			return string(out[:len(out)-2])
		}}, -1, nil},
		"entries too large": {index{list: both, entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h)
			return string(out) + strings.Repeat(" ", maxEntryV1)
		}}, -1, web.ErrTooLarge},
		"entries large together": {index{list: both, entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h)
			return string(out) + strings.Repeat(" ", maxEntriesV1/2*len(h))
		}}, 2, nil},
		"null for an entry":    {index{list: list(long), entries: reply(`[{"` + long + `":null}]`)}, -1, nil},
		"empty entry":          {index{list: list(long), entries: reply(`[{"` + long + `":{}}]`)}, -1, nil},
		"another's entry":      {index{list: list(long), entries: reply(`[{"` + long + `":` + string(c.v1[c.names[1]]) + `}]`)}, -1, nil},
		"more than asked":      {index{list: list(long), entries: reply(`[{"` + long + `":` + string(c.v1[long]) + `},{"x":` + string(c.v1[c.names[1]]) + `}]`)}, -1, nil},
		"under another name":   {index{list: list(long), entries: reply(`[{"x":` + string(c.v1[long]) + `}]`)}, 1, nil}, // the body says what it is
		"no promise":           {index{list: list(long), entries: change(e.Verification.SignedEntryTimestamp, "")}, -1, nil},
		"promise of another":   {index{list: both, entries: change(e.Verification.SignedEntryTimestamp, "MEUCIQDx")}, -1, nil},
		"another index":        {index{list: list(long), entries: change(`"logIndex":`+strconv.FormatInt(e.LogIndex, 10), `"logIndex":0`)}, -1, nil},
		"negative index":       {index{list: list(long), entries: change(`"logIndex":`+strconv.FormatInt(e.LogIndex, 10), `"logIndex":-1`)}, -1, nil},
		"another time":         {index{list: list(long), entries: change(strconv.FormatInt(e.IntegratedTime, 10), strconv.FormatInt(e.IntegratedTime-1, 10))}, -1, nil},
		"no time":              {index{list: list(long), entries: change(strconv.FormatInt(e.IntegratedTime, 10), "0")}, -1, nil},
		"time is text":         {index{list: list(long), entries: change(strconv.FormatInt(e.IntegratedTime, 10), `"x"`)}, -1, nil},
		"unknown log":          {index{list: list(long), entries: change(e.LogID, strings.Repeat("0", 64))}, -1, nil},
		"log in upper case":    {index{list: list(long), entries: change(e.LogID, strings.ToUpper(e.LogID))}, -1, nil},
		"log is no hex":        {index{list: list(long), entries: change(e.LogID, "zz")}, -1, nil},
		"log of half a digit":  {index{list: list(long), entries: change(e.LogID, e.LogID[1:])}, -1, nil},
		"no log":               {index{list: list(long), entries: change(e.LogID, "")}, -1, nil},
		"no body":              {index{list: list(long), entries: change(e.Body, "")}, -1, nil},
		"body is no base64":    {index{list: list(long), entries: change(e.Body, "%")}, -1, nil},
		"body of another kind": {index{list: list(long), entries: change(e.Body, base64.StdEncoding.EncodeToString([]byte(`{"kind":"rfc3161"}`)))}, -1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			remembered := &memory{}
			h := c.hint(&x.index)
			h.Entries = remembered
			found, err := h.Find(t.Context(), Query{Repository: locator(t, widget)})
			if (err != nil) != (x.leaves < 0) || x.is != nil && !errors.Is(err, x.is) {
				t.Fatalf("%d leaves, %v", len(found.Leaves), err)
			}
			for _, l := range remembered.entries {
				if len(l.Keys) == 0 || l.Late || !slices.Contains(c.names, l.Name) && l.Name != short {
					t.Errorf("remembered: %+v", l)
				}
			}
			res := c.resolve(c.files, h)
			if err == nil {
				if len(found.Leaves) != x.leaves || found.Completeness != chain.CompleteHinted || res.Chain.Reason() != "" || decide(res.Chain) != beyond {
					t.Errorf("%d leaves, %s, %s", len(found.Leaves), found.Completeness, res.Chain.Reason())
				}
				return
			}
			if found.Leaves != nil || found.Completeness != chain.CompleteNone && found.Completeness != (Found{}).Completeness {
				t.Errorf("something was found beside an error: %+v", found)
			}
			if len(res.Failed) != 1 || res.Chain.View().Completeness != chain.CompleteNone || decide(res.Chain) != policy.BelowRequired {
				t.Errorf("%v %s: decided %s", res.Failed, res.Chain.View().Completeness, decide(res.Chain))
			}
		})
	}
	if c.hint(&index{list: both}).Name() == "" {
		t.Error("no name")
	}
}

// memory remembers in memory.
type memory struct {
	entries []Looked
	err     error
}

func (m *memory) Get(name string) (Looked, bool) {
	i := slices.IndexFunc(m.entries, func(l Looked) bool { return l.Name == name })
	if i < 0 {
		return Looked{}, false
	}
	return m.entries[i], true
}

func (m *memory) Age(string) int { return 0 }

func (m *memory) Add(entries []Looked) error {
	m.entries = append(m.entries, entries...)
	return m.err
}

// TestIndexHides: a binding that only the log has is found, and is neither a
// pass nor junk, whatever else is listed.
func TestIndexHides(t *testing.T) {
	c := newChained(t, 1)
	_, d2 := c.statement(textOf(2, "alice", ""), policy.Sum(c.one))
	three, _ := c.statement(textOf(3, "mallory", ""), d2)
	hidden, _, _ := c.log(workflow(widget, three))
	if r := c.resolve(c.files, c.hint(&index{list: list(append(c.names, hidden)...)})).Chain.Reason(); r != policy.Undisclosed {
		t.Errorf("%s", r)
	}
	// The same, among files that were kept back.
	if r := c.resolve(nil, c.hint(&index{list: list(c.names...)})).Chain.Reason(); r != policy.Undisclosed {
		t.Errorf("without files: %s", r)
	}

	other := "https://github.com/acme/gadget"
	junk := map[string]sigstoretest.Request{
		"by a person":           {Statement: three, SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
		"by another workflow":   sigstoretest.Workflow("v1.0.0"),
		"by a key":              {Statement: three, BareKey: true},
		"of another kind":       {Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
		"of an event of anyone": workflow(widget, three),
		// What Rekor v1 puts into its index under our name (case 237).
		"that names us in a digest": {
			Statement: []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","predicate":{},"subject":[{"name":"x","digest":{"https":"//github.com/acme/widget","sha256":"` + locator(t, widget).Anchor() + `"}}]}`),
			SAN:       "mallory@example.com", Issuer: "https://accounts.google.com", Intoto: true,
		},
	}
	r := junk["of an event of anyone"]
	r.Extensions[20] = "pull_request_target"
	r = junk["by another workflow"]
	r.Statement = three
	junk["by another workflow"] = r
	names := slices.Clone(c.names)
	for _, r := range junk {
		n, _, _ := c.log(r)
		names = append(names, n)
	}
	// What claims to be a binding under a certificate of nobody does not count
	// under this trusted root.
	strangers := []sigstoretest.Request{workflow(widget, three), workflow(widget, three), workflow(widget, three)}
	strangers[0].SelfSigned, strangers[0].Key = true, ecKey(t)
	strangers[1].Issue = sigstoretest.New(t)
	strangers[2].NoSCT = true
	for _, r := range strangers {
		n, _, _ := c.log(r)
		names = append(names, n)
	}
	foreign := workflow(other, three) // a binding, of another repository
	foreign.Extensions[15] = "3003"
	n, _, _ := c.log(foreign)
	names = append(names, n)
	state := newState(t)
	var x *index
	for i := range 2 {
		entries, err := state.Entries("log", c.root, nil)
		if err != nil {
			t.Fatal(err)
		}
		x = &index{list: list(names...)}
		h := c.hint(x)
		h.Entries = entries
		res := c.resolve(c.files, h)
		if res.Chain.Reason() != "" || len(res.Failed) > 0 || len(res.Chain.Versions()) != 2 {
			t.Errorf("junk: %s %v %+v", res.Chain.Reason(), res.Failed, res.Chain.Problems())
		}
		// Bindings of the repository are read every time, others once.
		if want := len(c.names) + (1-i)*(len(junk)+len(strangers)+1); len(x.fetched) != want {
			t.Errorf("run %d: %d entries were fetched, want %d", i, len(x.fetched), want)
		}
	}
	// Another table, function or trusted root may see bindings in them.
	table, err := ParseForges([]byte(`{"schema":"` + forgesSchema + `","forges":[{"host":"git.example.com","kind":"github","issuers":["https://git.example.com/oidc"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		root   *sigstore.Root
		forges *Forges
		knows  bool
	}{
		"the same":     {c.root, nil, true},
		"another root": {newChained(t, 1).root, nil, false}, "another table": {c.root, table, false},
	} {
		entries, err := state.Entries("log", x.root, x.forges)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names[len(c.names):] {
			if _, ok := entries.Get(n); ok != x.knows {
				t.Errorf("%s: remembered %t", what, ok)
			}
		}
	}
	// What cannot be remembered is an error, not a reason to go on.
	h := c.hint(&index{list: list(names...)})
	h.Entries = &memory{err: errors.New("disk full")}
	if _, err := h.Find(t.Context(), Query{Repository: locator(t, widget)}); err == nil {
		t.Error("the disk is full")
	}
}

// FuzzIndex: what is read are names whose leaf is known, as many as were listed.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{"[]", "null", `["` + strings.Repeat("a", 64) + `"]`, `["` + strings.Repeat("a", 80) + `",""]`, `[1]`, `{}`, "[[]]", `["\u0061"]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseIndex(data)
		if err != nil {
			if names != nil {
				t.Fatal("names beside an error")
			}
			return
		}
		var want []any
		if err := json.Unmarshal(data, &want); err != nil || len(want) != len(names) || want == nil {
			t.Fatalf("%d names, %d were listed: %v", len(names), len(want), err)
		}
		for i, n := range names {
			hash, ok := leafOfUUID(n)
			if raw, err := hex.DecodeString(hash); !ok || err != nil || len(raw) != 32 || want[i] != n {
				t.Fatalf("%q", n)
			}
		}
	})
}

// FuzzEntryV1: an entry that is not one by which somebody bound something is
// named by its body or not at all, and nothing of a stranger verifies.
func FuzzEntryV1(f *testing.F) {
	c := newChained(f, 1)
	for _, e := range c.v1 {
		f.Add([]byte(e))
		f.Add(bytes.Replace(e, []byte(`"logID":"`), []byte(`"logID":"z`), 1))
	}
	f.Add([]byte(`{"body":"e30="}`))
	stranger := (&forge{t: f, inst: sigstoretest.New(f)}).rootWith(1)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := sigstore.ParseEntryV1(data)
		if e == nil {
			t.Fatal("no entry")
		}
		var raw struct {
			Body  []byte `json:"body"`
			LogID string `json:"logID"`
		}
		readable := json.Unmarshal(data, &raw) == nil
		if e.LeafHash != "" && (!readable || e.LeafHash != sigstore.LeafHash(raw.Body)) {
			t.Fatal("a leaf hash of something else")
		}
		if _, bad := hex.DecodeString(raw.LogID); bad != nil && e.LeafHash != "" {
			t.Fatal("a body is blamed for what stands around it")
		}
		if err == nil && e.LeafHash == "" {
			t.Fatal("an entry without a name")
		}
		if l, err := stranger.VerifyV1(e); err == nil {
			t.Fatalf("verified under a root that signed nothing: %+v", l)
		}
	})
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
