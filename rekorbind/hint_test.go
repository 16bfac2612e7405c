// SPDX-License-Identifier: Apache-2.0

package rekorbind

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

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

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
			remembered := &remembering{}
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
	state := NewState(t)
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
	h.Entries = &remembering{err: errors.New("disk full")}
	if _, err := h.Find(t.Context(), Query{Repository: locator(t, widget)}); err == nil {
		t.Error("the disk is full")
	}
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

// TestForkedFiles: bundles that show two trees of one size prove a fork without
// anything else.
func TestForkedFiles(t *testing.T) {
	c := newChained(t, 1)
	forked := c.inst.Fork()
	r := sigstoretest.Request{Statement: c.one, SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV1, TSA: true, At: c.next()}
	for name, x := range map[string]struct {
		insts []*sigstoretest.Instance
		fork  bool
	}{
		"one history":   {[]*sigstoretest.Instance{c.inst, c.inst}, false},
		"two histories": {[]*sigstoretest.Instance{c.inst.Fork(), forked}, true},
	} {
		files := slices.Clone(c.files)
		for i, inst := range x.insts {
			files = append(files, File{SignatureName(1, []byte{byte(i)}, true), inst.Sign(r)})
		}
		res := c.resolve(files, c.hint(&index{list: list(c.names...)}))
		if (res.Fork != nil) != x.fork || (decide(res.Chain).Class() == policy.ClassAlarm) != x.fork {
			t.Errorf("%s: fork %v, decided %s", name, res.Fork, decide(res.Chain))
		}
	}
}

// TestHintGeneration: an index is not asked of a log whose entries show that it
// has none, and such a log is scanned.
func TestHintGeneration(t *testing.T) {
	c := newChained(t, 1)
	p := &prover{inst: c.inst}
	log := c.root.Logs()[0].ID
	h := &Hint{Root: c.root, Client: c.prover(p, NewState(t)).Clients[log], Now: func() time.Time { return sigstoretest.Now }, Log: log}
	if _, err := h.Find(t.Context(), Query{Repository: locator(t, widget), Generations: map[string]int{h.Log: 2}}); !errors.Is(err, ErrNoIndex) || len(p.asked) > 0 {
		t.Errorf("%v, asked %v", err, p.asked)
	}
	s := c.scan(&tiles{}, NewState(t))
	if found, err := s.Find(t.Context(), c.query()); err == nil {
		t.Errorf("nothing to scan: %+v", found)
	}
	q := c.query()
	q.Generations = map[string]int{h.Log: 2}
	if _, err := s.Find(t.Context(), q); err == nil || !strings.Contains(err.Error(), "no client") {
		t.Errorf("a log to scan: %v", err)
	}
}

// TestHintDeadline: an index that replies ever so slowly does not hold a run, and
// what it showed is remembered.
func TestHintDeadline(t *testing.T) {
	c := newChained(t, 1)
	var junk []string
	for range 2 * entriesBatch {
		name, _, _ := c.log(sigstoretest.Request{Statement: c.one, SAN: "mallory@example.com", Issuer: "https://accounts.google.com"})
		junk = append(junk, name)
	}
	release := make(chan struct{})
	var answered atomic.Int32
	x := &index{list: list(junk...)}
	x.entries = func(_ []string, honest []map[string]json.RawMessage) string {
		if first := answered.Add(1); first > 1 {
			<-release
		}
		out, err := json.Marshal(honest)
		if err != nil {
			t.Error(err)
		}
		return string(out)
	}
	h := c.hint(x)
	t.Cleanup(func() { close(release) }) // before the server is closed
	remembered := &remembering{}
	h.Entries = remembered
	h.SetTimeout(time.Second)
	start := time.Now()
	if _, err := h.Find(t.Context(), c.query()); err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if len(remembered.entries) != entriesBatch {
		t.Errorf("%d entries are remembered", len(remembered.entries))
	}
}
