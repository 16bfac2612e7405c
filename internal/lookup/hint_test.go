// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestIndex: an honest index is believed for what it lists, and no answer that
// is malformed or proves itself wrong is taken for one that lists nothing.
func TestIndex(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	resolved := c.Resolve(c.Files, c.Hint(&bindtest.Index{List: bindtest.List(c.Names...)})).Chain
	if resolved.Reason() != "" || len(resolved.Versions()) != 2 ||
		resolved.View().Completeness != chain.CompleteHinted {
		t.Fatalf("%s %+v", resolved.Reason(), resolved.Problems())
	}
	beyond := bindtest.Decide(resolved) // whatever it is: the chain is not at fault
	if beyond == policy.BelowRequired || beyond.Class() != policy.ClassDeny {
		t.Fatalf("decided %s", beyond)
	}
	long := c.Names[0]
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
	if err := json.Unmarshal(c.V1[long], &e); err != nil {
		t.Fatal(err)
	}
	reply := func(s string) func([]string, []map[string]json.RawMessage) string {
		return func([]string, []map[string]json.RawMessage) string { return s }
	}
	both := bindtest.List(c.Names...)
	var many []string
	for i := range lookup.MaxFetched + 1 {
		many = append(many, fmt.Sprintf("%064x", i))
	}
	for name, x := range map[string]struct {
		bindtest.Index
		leaves int // -1 for an error
		is     error
	}{
		"honest":        {bindtest.Index{List: both}, 2, nil},
		"another order": {bindtest.Index{List: bindtest.List(c.Names[1], c.Names[0])}, 2, nil},
		"twice":         {bindtest.Index{List: bindtest.List(append(c.Names, c.Names...)...)}, 2, nil},
		// one of them is withheld
		"two names of a leaf": {bindtest.Index{List: bindtest.List(long, strings.Repeat("0", 16)+short)}, -1, nil},
		"without its shard":   {bindtest.Index{List: bindtest.List(long, short)}, 2, nil}, // one entry, perhaps two
		"omits one":           {bindtest.Index{List: bindtest.List(c.Names[1])}, 1, nil},  // its word, and labelled so
		"empty list":          {bindtest.Index{List: func() string { return "[]" }}, 0, nil},
		"empty":               {bindtest.Index{List: func() string { return "" }}, -1, nil},
		"null":                {bindtest.Index{List: func() string { return "null" }}, -1, nil},
		"null inside":         {bindtest.Index{List: func() string { return "[null]" }}, -1, nil},
		"an object":           {bindtest.Index{List: func() string { return `{}` }}, -1, nil},
		"numbers":             {bindtest.Index{List: func() string { return `[1]` }}, -1, nil},
		"a page":              {bindtest.Index{List: func() string { return "<!doctype html>" }}, -1, nil},
		"trailing":            {bindtest.Index{List: func() string { return both() + "x" }}, -1, nil},
		"cut":                 {bindtest.Index{List: func() string { return both()[:30] }}, -1, nil},
		"name in upper case":  {bindtest.Index{List: bindtest.List(strings.ToUpper(long))}, -1, nil},
		"name of 79 digits":   {bindtest.Index{List: bindtest.List(long[1:])}, -1, nil},
		"a path":              {bindtest.Index{List: bindtest.List("../../" + long)}, -1, nil},
		"empty name":          {bindtest.Index{List: bindtest.List("")}, -1, nil},
		"bad name last":       {bindtest.Index{List: bindtest.List(c.Names[0], c.Names[1], "x")}, -1, nil},
		"too large": {
			bindtest.Index{List: func() string { return both() + strings.Repeat(" ", rekor.MaxIndexReply) }}, -1,
			web.ErrTooLarge,
		},
		"no such entries": {bindtest.Index{List: bindtest.List(many[1:]...)}, -1, nil},
		"foreign name":    {bindtest.Index{List: bindtest.List(long, many[0])}, -1, nil},
		"withholds all":   {bindtest.Index{List: both, Entries: reply("[]")}, -1, nil},
		"withholds null":  {bindtest.Index{List: both, Entries: reply("null")}, -1, nil},
		"withholds one": {bindtest.Index{List: both, Entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h[:1])
			return string(out)
		}}, -1, nil},
		"entries are no JSON":   {bindtest.Index{List: both, Entries: reply("<!doctype html>")}, -1, nil},
		"entries are an object": {bindtest.Index{List: both, Entries: reply("{}")}, -1, nil},
		"entries are cut": {bindtest.Index{List: both, Entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h)
			return string(out[:len(out)-2])
		}}, -1, nil},
		"entries too large": {bindtest.Index{List: both, Entries: func(_ []string, h []map[string]json.RawMessage) string {
			out, _ := json.Marshal(h)
			return string(out) + strings.Repeat(" ", rekor.MaxEntryV1)
		}}, -1, web.ErrTooLarge},
		"entries large together": {
			bindtest.Index{List: both, Entries: func(_ []string, h []map[string]json.RawMessage) string {
				out, _ := json.Marshal(h)
				return string(out) + strings.Repeat(" ", rekor.MaxEntriesV1/2*len(h))
			}},
			2, nil,
		},
		"null for an entry": {bindtest.Index{List: bindtest.List(long), Entries: reply(`[{"` + long + `":null}]`)}, -1, nil},
		"empty entry":       {bindtest.Index{List: bindtest.List(long), Entries: reply(`[{"` + long + `":{}}]`)}, -1, nil},
		"another's entry": {
			bindtest.Index{List: bindtest.List(long), Entries: reply(`[{"` + long + `":` + string(c.V1[c.Names[1]]) + `}]`)}, -1,
			nil,
		},
		"more than asked": {
			bindtest.Index{
				List:    bindtest.List(long),
				Entries: reply(`[{"` + long + `":` + string(c.V1[long]) + `},{"x":` + string(c.V1[c.Names[1]]) + `}]`),
			},
			-1, nil,
		},
		// the body says what it is
		"under another name": {
			bindtest.Index{List: bindtest.List(long), Entries: reply(`[{"x":` + string(c.V1[long]) + `}]`)}, 1, nil,
		},
		"no promise": {
			bindtest.Index{List: bindtest.List(long), Entries: change(e.Verification.SignedEntryTimestamp, "")}, -1, nil,
		},
		"promise of another": {
			bindtest.Index{List: both, Entries: change(e.Verification.SignedEntryTimestamp, "MEUCIQDx")}, -1, nil,
		},
		"another index": {
			bindtest.Index{
				List: bindtest.List(long), Entries: change(`"logIndex":`+strconv.FormatInt(e.LogIndex, 10), `"logIndex":0`),
			},
			-1, nil,
		},
		"negative index": {
			bindtest.Index{
				List: bindtest.List(long), Entries: change(`"logIndex":`+strconv.FormatInt(e.LogIndex, 10), `"logIndex":-1`),
			},
			-1, nil,
		},
		"another time": {
			bindtest.Index{
				List:    bindtest.List(long),
				Entries: change(strconv.FormatInt(e.IntegratedTime, 10), strconv.FormatInt(e.IntegratedTime-1, 10)),
			},
			-1, nil,
		},
		"no time": {
			bindtest.Index{List: bindtest.List(long), Entries: change(strconv.FormatInt(e.IntegratedTime, 10), "0")}, -1, nil,
		},
		"time is text": {
			bindtest.Index{List: bindtest.List(long), Entries: change(strconv.FormatInt(e.IntegratedTime, 10), `"x"`)}, -1, nil,
		},
		"unknown log": {
			bindtest.Index{List: bindtest.List(long), Entries: change(e.LogID, strings.Repeat("0", 64))}, -1, nil,
		},
		"log in upper case": {
			bindtest.Index{List: bindtest.List(long), Entries: change(e.LogID, strings.ToUpper(e.LogID))}, -1, nil,
		},
		"log is no hex":       {bindtest.Index{List: bindtest.List(long), Entries: change(e.LogID, "zz")}, -1, nil},
		"log of half a digit": {bindtest.Index{List: bindtest.List(long), Entries: change(e.LogID, e.LogID[1:])}, -1, nil},
		"no log":              {bindtest.Index{List: bindtest.List(long), Entries: change(e.LogID, "")}, -1, nil},
		"no body":             {bindtest.Index{List: bindtest.List(long), Entries: change(e.Body, "")}, -1, nil},
		"body is no base64":   {bindtest.Index{List: bindtest.List(long), Entries: change(e.Body, "%")}, -1, nil},
		"body of another kind": {
			bindtest.Index{
				List: bindtest.List(long), Entries: change(e.Body, base64.StdEncoding.EncodeToString([]byte(`{"kind":"rfc3161"}`))),
			},
			-1, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			remembered := &bindtest.Remembering{}
			h := c.Hint(&x.Index)
			h.Entries = remembered
			found, err := h.Find(t.Context(), bindings.Query{Repository: bindtest.Locator(t, bindtest.Widget)})
			if (err != nil) != (x.leaves < 0) || x.is != nil && !errors.Is(err, x.is) {
				t.Fatalf("%d leaves, %v", len(found.Leaves), err)
			}
			for _, l := range remembered.Entries {
				if len(l.Keys) == 0 || l.Late || !slices.Contains(c.Names, l.Name) && l.Name != short {
					t.Errorf("remembered: %+v", l)
				}
			}
			res := c.Resolve(c.Files, h)
			if err == nil {
				if len(found.Leaves) != x.leaves || found.Completeness != chain.CompleteHinted ||
					res.Chain.Reason() != "" ||
					bindtest.Decide(res.Chain) != beyond {
					t.Errorf("%d leaves, %s, %s", len(found.Leaves), found.Completeness, res.Chain.Reason())
				}
				return
			}
			if found.Leaves != nil ||
				found.Completeness != chain.CompleteNone && found.Completeness != (bindings.Found{}).Completeness {
				t.Errorf("something was found beside an error: %+v", found)
			}
			if len(res.Failed) != 1 || res.Chain.View().Completeness != chain.CompleteNone ||
				bindtest.Decide(res.Chain) != policy.BelowRequired {
				t.Errorf("%v %s: decided %s", res.Failed, res.Chain.View().Completeness, bindtest.Decide(res.Chain))
			}
		})
	}
	if c.Hint(&bindtest.Index{List: both}).Name() == "" {
		t.Error("no name")
	}
}

// TestIndexHides: a binding that only the log has is found, and is neither a
// pass nor junk, whatever else is listed.
func TestIndexHides(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	_, d2 := c.Statement(bindtest.TextOf(2, "alice", ""), spelling.Sum(c.One))
	three, _ := c.Statement(bindtest.TextOf(3, "mallory", ""), d2)
	hidden, _, _ := c.Log(bindtest.Workflow(bindtest.Widget, three))
	all := &bindtest.Index{List: bindtest.List(append(c.Names, hidden)...)}
	if r := c.Resolve(c.Files, c.Hint(all)).Chain.Reason(); r != policy.Undisclosed {
		t.Errorf("%s", r)
	}
	// The same, among files that were kept back.
	kept := &bindtest.Index{List: bindtest.List(c.Names...)}
	if r := c.Resolve(nil, c.Hint(kept)).Chain.Reason(); r != policy.Undisclosed {
		t.Errorf("without files: %s", r)
	}

	other := "https://github.com/acme/gadget"
	junk := map[string]sigstoretest.Request{
		"by a person":           {Statement: three, SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
		"by another workflow":   sigstoretest.Workflow("v1.0.0"),
		"by a key":              {Statement: three, BareKey: true},
		"of another kind":       {Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
		"of an event of anyone": bindtest.Workflow(bindtest.Widget, three),
		// What Rekor v1 puts into its index under our name (case 237).
		"that names us in a digest": {
			Statement: []byte(
				`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","predicate":{},"subject":[{"name":"x",` +
					`"digest":{"https":"//github.com/acme/widget","sha256":"` +
					bindtest.Locator(t, bindtest.Widget).Anchor() + `"}}]}`,
			),
			SAN: "mallory@example.com", Issuer: "https://accounts.google.com", Intoto: true,
		},
	}
	r := junk["of an event of anyone"]
	r.Extensions[20] = "pull_request_target"
	r = junk["by another workflow"]
	r.Statement = three
	junk["by another workflow"] = r
	names := slices.Clone(c.Names)
	for _, r := range junk {
		n, _, _ := c.Log(r)
		names = append(names, n)
	}
	// What claims to be a binding under a certificate of nobody does not count
	// under this trusted root.
	strangers := []sigstoretest.Request{
		bindtest.Workflow(bindtest.Widget, three), bindtest.Workflow(bindtest.Widget, three),
		bindtest.Workflow(bindtest.Widget, three),
	}
	strangers[0].SelfSigned, strangers[0].Key = true, bindtest.EcKey(t)
	strangers[1].Issue = sigstoretest.New(t)
	strangers[2].NoSCT = true
	for _, r := range strangers {
		n, _, _ := c.Log(r)
		names = append(names, n)
	}
	foreign := bindtest.Workflow(other, three) // a binding, of another repository
	foreign.Extensions[15] = "3003"
	n, _, _ := c.Log(foreign)
	names = append(names, n)
	state := bindtest.NewState(t)
	var x *bindtest.Index
	for i := range 2 {
		entries, err := state.Entries("log", c.Root, nil)
		if err != nil {
			t.Fatal(err)
		}
		x = &bindtest.Index{List: bindtest.List(names...)}
		h := c.Hint(x)
		h.Entries = entries
		res := c.Resolve(c.Files, h)
		if res.Chain.Reason() != "" || len(res.Failed) > 0 || len(res.Chain.Versions()) != 2 {
			t.Errorf("junk: %s %v %+v", res.Chain.Reason(), res.Failed, res.Chain.Problems())
		}
		// Bindings of the repository are read every time, others once.
		if want := len(c.Names) + (1-i)*(len(junk)+len(strangers)+1); len(x.Fetched) != want {
			t.Errorf("run %d: %d entries were fetched, want %d", i, len(x.Fetched), want)
		}
	}
	// Another table, function or trusted root may see bindings in them.
	table, err := bindings.ParseForges(
		[]byte(
			`{"schema":"` + bindings.ForgesSchema +
				`","forges":[{"host":"git.example.com","kind":"github","issuers":["https://git.example.com/oidc"]}]}`,
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		root   *sigstore.Root
		forges *bindings.Forges
		knows  bool
	}{
		"the same":     {c.Root, nil, true},
		"another root": {bindtest.NewChained(t, 1).Root, nil, false}, "another table": {c.Root, table, false},
	} {
		entries, err := state.Entries("log", x.root, x.forges)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names[len(c.Names):] {
			if _, ok := entries.Get(n); ok != x.knows {
				t.Errorf("%s: remembered %t", what, ok)
			}
		}
	}
	// What cannot be remembered is an error, not a reason to go on.
	h := c.Hint(&bindtest.Index{List: bindtest.List(names...)})
	h.Entries = &bindtest.Remembering{Err: errors.New("disk full")}
	if _, err := h.Find(t.Context(), bindings.Query{Repository: bindtest.Locator(t, bindtest.Widget)}); err == nil {
		t.Error("the disk is full")
	}
}

// FuzzEntryV1: an entry that is not one by which somebody bound something is
// named by its body or not at all, and nothing of a stranger verifies.
func FuzzEntryV1(f *testing.F) {
	c := bindtest.NewChained(f, 1)
	for _, e := range c.V1 {
		f.Add([]byte(e))
		f.Add(bytes.Replace(e, []byte(`"logID":"`), []byte(`"logID":"z`), 1))
	}
	f.Add([]byte(`{"body":"e30="}`))
	stranger := (&bindtest.Forge{T: f, Inst: sigstoretest.New(f)}).RootWith(1)
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

// TestForkedFiles: bundles that show two trees of one size prove a fork without
// anything else.
func TestForkedFiles(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	forked := c.Inst.Fork()
	r := sigstoretest.Request{
		Statement: c.One, SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV1,
		TSA: true, At: c.Next(),
	}
	for name, x := range map[string]struct {
		insts []*sigstoretest.Instance
		fork  bool
	}{
		"one history":   {[]*sigstoretest.Instance{c.Inst, c.Inst}, false},
		"two histories": {[]*sigstoretest.Instance{c.Inst.Fork(), forked}, true},
	} {
		files := slices.Clone(c.Files)
		for i, inst := range x.insts {
			files = append(
				files, bindings.File{Name: bindings.SignatureName(1, []byte{byte(i)}, true), Data: inst.Sign(r)},
			)
		}
		res := c.Resolve(files, c.Hint(&bindtest.Index{List: bindtest.List(c.Names...)}))
		if (res.Fork != nil) != x.fork || (bindtest.Decide(res.Chain).Class() == policy.ClassAlarm) != x.fork {
			t.Errorf("%s: fork %v, decided %s", name, res.Fork, bindtest.Decide(res.Chain))
		}
	}
}

// TestHintGeneration: an index is not asked of a log whose entries show that it
// has none, and such a log is scanned.
func TestHintGeneration(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	p := &bindtest.Prover{Inst: c.Inst}
	log := c.Root.Logs()[0].ID
	h := &lookup.Hint{
		Root: c.Root, Client: c.Prover(p, bindtest.NewState(t)).Clients[log],
		Now: func() time.Time { return sigstoretest.Now }, Log: log,
	}
	_, err := h.Find(
		t.Context(), bindings.Query{Repository: bindtest.Locator(t, bindtest.Widget), Generations: map[string]int{h.Log: 2}},
	)
	if !errors.Is(err, bindings.ErrNoIndex) || len(p.Asked) > 0 {
		t.Errorf("%v, asked %v", err, p.Asked)
	}
	s := c.Scan(&bindtest.Tiles{}, bindtest.NewState(t))
	if found, err := s.Find(t.Context(), c.Query()); err == nil {
		t.Errorf("nothing to scan: %+v", found)
	}
	q := c.Query()
	q.Generations = map[string]int{h.Log: 2}
	if _, err := s.Find(t.Context(), q); err == nil || !strings.Contains(err.Error(), "no client") {
		t.Errorf("a log to scan: %v", err)
	}
}

// TestHintDeadline: an index that replies ever so slowly does not hold a run, and
// what it showed is remembered.
func TestHintDeadline(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	var junk []string
	for range 2 * rekor.EntriesBatch {
		name, _, _ := c.Log(
			sigstoretest.Request{Statement: c.One, SAN: "mallory@example.com", Issuer: "https://accounts.google.com"},
		)
		junk = append(junk, name)
	}
	release := make(chan struct{})
	var answered atomic.Int32
	x := &bindtest.Index{List: bindtest.List(junk...)}
	x.Entries = func(_ []string, honest []map[string]json.RawMessage) string {
		if first := answered.Add(1); first > 1 {
			<-release
		}
		out, err := json.Marshal(honest)
		if err != nil {
			t.Error(err)
		}
		return string(out)
	}
	h := c.Hint(x)
	t.Cleanup(func() { close(release) }) // before the server is closed
	remembered := &bindtest.Remembering{}
	h.Entries = remembered
	h.SetTimeout(time.Second)
	start := time.Now()
	if _, err := h.Find(t.Context(), c.Query()); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if len(remembered.Entries) != rekor.EntriesBatch {
		t.Errorf("%d entries are remembered", len(remembered.Entries))
	}
}
