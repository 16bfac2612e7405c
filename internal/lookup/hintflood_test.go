// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// TestIndexRelogged: nobody hides a binding by logging its envelope once more in a newer
// shard: there it is late, and has the same leaf hash.
func TestIndexRelogged(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	_, d2 := c.Statement(bindtest.TextOf(2, "alice", ""), spelling.Sum(c.One))
	three, _ := c.Statement(bindtest.TextOf(3, "mallory", ""), d2)
	hidden, _, _ := c.Log(bindtest.Workflow(bindtest.Widget, three))
	late := c.Relog(hidden, "00000000000012cd")
	later := c.Relog(hidden, "00000000000012ce")
	state := bindtest.NewState(t)
	for name, listed := range map[string][]string{
		"listed first":       {late, hidden},
		"listed last":        {hidden, late},
		"twice":              {later, late, hidden},
		"under the old name": {late, hidden[rekor.ShardDigits:]},
	} {
		for i := range 3 { // also by what was remembered
			entries, err := state.Entries(name, c.Root, nil)
			bindtest.Check(t, err)
			x := &bindtest.Index{List: bindtest.List(listed...)}
			x.Entries = func(asked []string, honest []map[string]json.RawMessage) string {
				for _, u := range asked {
					if u == hidden[rekor.ShardDigits:] {
						honest = append(honest, map[string]json.RawMessage{hidden: c.V1[hidden]})
					}
				}
				out, _ := json.Marshal(honest)
				return string(out)
			}
			h := c.Hint(x)
			h.Entries = entries
			if res := c.Resolve(c.Files, h); res.Chain.Reason() != policy.Undisclosed {
				t.Errorf("%s, run %d: %q %v", name, i, res.Chain.Reason(), res.Failed)
			}
		}
	}
	// Nor by a file that shows the later place: the bundle of the same envelope.
	q := c.Query()
	place := policy.Entry{Log: c.Inst.IDV1(), Index: 1_000_999}
	q.Known = map[string][]policy.Entry{hidden[rekor.ShardDigits:]: {place}}
	if found, err := c.Hint(&bindtest.Index{List: bindtest.List(hidden)}).Find(t.Context(), q); err != nil ||
		len(found.Leaves) != 1 {
		t.Errorf("at hand from another shard: %d leaves, %v", len(found.Leaves), err)
	}
}

// TestIndexLies: what an index shows once in the place of another entry is not believed for
// ever, and one entry is not shown for two.
func TestIndexLies(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	_, d2 := c.Statement(bindtest.TextOf(2, "alice", ""), spelling.Sum(c.One))
	three, _ := c.Statement(bindtest.TextOf(3, "mallory", ""), d2)
	hidden, _, _ := c.Log(bindtest.Workflow(bindtest.Widget, three))
	late := c.Relog(hidden, "00000000000012cd")
	show := func(of map[string]string) *bindtest.Index {
		var names []string
		for name := range of {
			names = append(names, name)
		}
		return &bindtest.Index{
			List: bindtest.List(names...),
			Entries: func(asked []string, _ []map[string]json.RawMessage) string {
				var out []map[string]json.RawMessage
				for _, u := range asked {
					out = append(out, map[string]json.RawMessage{u: c.V1[of[u]]})
				}
				text, _ := json.Marshal(out)
				return string(text)
			},
		}
	}
	remembered := &bindtest.Remembering{}
	h := c.Hint(show(map[string]string{hidden: late}))
	h.Entries = remembered
	if res := c.Resolve(c.Files, h); res.Chain.Reason() != "" {
		t.Errorf("it lies, and that is its word: %s", res.Chain.Reason())
	}
	h = c.Hint(show(map[string]string{hidden: hidden}))
	h.Entries = remembered
	if res := c.Resolve(c.Files, h); res.Chain.Reason() != policy.Undisclosed {
		t.Errorf("the lie is believed: %q", res.Chain.Reason())
	}
	for _, of := range []map[string]string{{hidden: late, late: late}, {hidden: hidden, late: hidden}} {
		if _, err := c.Hint(show(of)).Find(t.Context(), c.Query()); err == nil ||
			!strings.Contains(err.Error(), "at one place") {
			t.Errorf("one entry for two names: %v", err)
		}
	}
}

// TestIndexFlood: what strangers put under a repository's name is looked at once, and
// remembered before the flood is reported, whatever it is. A machine that remembers gets
// through; what binds the repository is never among it.
func TestIndexFlood(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	_, d2 := c.Statement(bindtest.TextOf(2, "alice", ""), spelling.Sum(c.One))
	three, _ := c.Statement(bindtest.TextOf(3, "mallory", ""), d2)
	hidden, _, _ := c.Log(bindtest.Workflow(bindtest.Widget, three))
	body := func(name string) []byte {
		var e struct {
			Body []byte `json:"body"`
		}
		bindtest.Check(t, json.Unmarshal(c.V1[name], &e))
		return e.Body
	}
	next := int64(10_000)
	add := func(body []byte, at time.Time) string {
		name := fmt.Sprintf("%016x%s", 4711, sigstore.LeafHash(body))
		next++
		c.V1[name] = c.Promised(body, next, at)
		return name
	}
	gadget := bindtest.Workflow("https://github.com/acme/gadget", three)
	gadget.Extensions[15] = "3003"
	elsewhere, _, _ := c.Log(gadget)
	self := bindtest.Workflow(bindtest.Widget, three)
	self.SelfSigned, self.Key = true, bindtest.EcKey(t)
	foreign, _, _ := c.Log(self)
	// White space in the envelope makes another entry of the same signature.
	variant := func(of string, i int) []byte {
		return bytes.Replace(body(of), []byte(`"envelopeHash"`), []byte(fmt.Sprintf(`"x%d":"","envelopeHash"`, i)), 1)
	}
	inTime := certificateTime(t, c, elsewhere)
	const limit = 60
	open := c.Root
	ended, err := sigstore.ParseRoot(
		"test",
		c.Inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
			tr.Tlogs = tr.Tlogs[:1]
			tr.Tlogs[0].PublicKey.ValidFor.End = timestamppb.New(sigstoretest.Now.AddDate(1, 0, 0))
		}}),
	)
	bindtest.Check(t, err)
	for name, junk := range map[string]func(i int) string{
		"any artifact": func(i int) string {
			return add([]byte(fmt.Sprintf(`{"kind":"rekord","n":%d}`, i)), sigstoretest.Now)
		},
		"certificates of nobody": func(i int) string { return add(variant(foreign, i), sigstoretest.Now) },
		"bindings of another":    func(i int) string { return add(variant(elsewhere, i), inTime) },
		"late ones of another": func(i int) string {
			return add(variant(elsewhere, i), sigstoretest.Now.AddDate(1, 0, 0))
		},
		"late copies of our own":  func(i int) string { return add(variant(hidden, i), sigstoretest.Now.AddDate(1, 0, 0)) },
		"after the log was ended": func(i int) string { return add(variant(hidden, i), sigstoretest.Now.AddDate(1, 0, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			var names []string
			for i := range limit + 20 {
				names = append(names, junk(i))
			}
			names = append(names, c.Names...)
			if c.Root = open; name == "after the log was ended" {
				c.Root = ended
			}
			state := bindtest.NewState(t)
			run := func(listed []string) (*bindings.Resolution, int) {
				entries, err := state.Entries("log", c.Root, nil)
				bindtest.Check(t, err)
				x := &bindtest.Index{List: bindtest.List(listed...)}
				h := c.Hint(x)
				h.Entries = entries
				h.SetLimit(limit)
				return c.Resolve(c.Files, h), len(x.Fetched)
			}
			first, fetched := run(names)
			var why error
			for _, err := range first.Failed {
				why = err
			}
			if !errors.Is(why, lookup.ErrFlooded) || bindtest.Decide(first.Chain) != policy.BelowRequired ||
				fetched != limit {
				t.Fatalf("first run: %v, %d entries fetched", why, fetched)
			}
			for _, flag := range []string{"--directory", "--staple", "--lock"} {
				if !strings.Contains(why.Error(), flag) {
					t.Errorf("no %s in %v", flag, why)
				}
			}
			second, fetched := run(names)
			if len(second.Failed) > 0 || second.Chain.Reason() != "" || fetched > 20+len(c.Names)+lookup.MaxAgain {
				t.Errorf("second run: %v %s, %d entries fetched", second.Failed, second.Chain.Reason(), fetched)
			}
			if third, fetched := run(append(slices.Clone(names), hidden)); third.Chain.Reason() != policy.Undisclosed ||
				fetched > 1+len(c.Names)+lookup.MaxAgain {
				t.Errorf("a binding among it: %q, %d entries fetched", third.Chain.Reason(), fetched)
			}
		})
	}
}

// certificateTime is a moment at which the certificate of an entry was valid.
func certificateTime(t *testing.T, c *bindtest.Chained, name string) time.Time {
	t.Helper()
	var e struct {
		IntegratedTime int64 `json:"integratedTime"`
	}
	bindtest.Check(t, json.Unmarshal(c.V1[name], &e))
	return time.Unix(e.IntegratedTime, 0)
}

// TestIndexPassedOver: a binding that was another repository's is read again if its number
// turns out to be the repository's own.
func TestIndexPassedOver(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	_, d2 := c.Statement(bindtest.TextOf(2, "alice", ""), spelling.Sum(c.One))
	three, _ := c.Statement(bindtest.TextOf(3, "mallory", ""), d2)
	old := bindtest.Workflow("https://github.com/acme/older", three) // of the number 1001, too
	name, _, _ := c.Log(old)
	remembered := &bindtest.Remembering{}
	for i := range 2 {
		// Without files nothing says at first which number it is.
		h := c.Hint(&bindtest.Index{List: bindtest.List(append(slices.Clone(c.Names), name)...), Renamed: true})
		h.Entries = remembered
		if res := c.Resolve(nil, h); res.Chain.Reason() != policy.Undisclosed || len(res.Failed) > 0 ||
			len(remembered.Entries) < 3 {
			t.Errorf("run %d: %q %v", i, res.Chain.Reason(), res.Failed)
		}
		q := c.Query()
		q.Numbers = nil
		if found, err := h.Find(t.Context(), q); err != nil || len(found.Passed) != 2 || len(found.Leaves) != 2 {
			t.Errorf("run %d: passed %v, %d leaves (%v)", i, found.Passed, len(found.Leaves), err)
		}
		q.Numbers = []string{"1001"}
		if found, err := h.Find(t.Context(), q); err != nil || len(found.Passed) != 0 || len(found.Leaves) != 3 {
			t.Errorf("run %d: passed %v, %d leaves (%v)", i, found.Passed, len(found.Leaves), err)
		}
	}
}

// writing counts how often something is remembered.
type writing struct {
	lookup.Remembered
	n *int
}

func (w *writing) Add(entries []lookup.Looked) error {
	*w.n++
	return w.Remembered.Add(entries)
}

// TestIndexTurns: of more late copies than are looked at again each has its turn; of as many
// nothing is written twice, and as many unknown entries as are looked at are no flood.
func TestIndexTurns(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	hidden, _, _ := c.Log(bindtest.Workflow(bindtest.Widget, c.Two))
	var late []string
	for i := range lookup.MaxAgain + 30 {
		late = append(late, c.Relog(hidden, fmt.Sprintf("%016x", 0x5000+i)))
	}
	for name, x := range map[string]struct {
		listed []string
		runs   int  // after which all were looked at again
		writes bool // in each
	}{
		"as many as are looked at": {late[:lookup.MaxAgain], 1, false},
		"more":                     {late, 2, true},
	} {
		state := bindtest.NewState(t)
		writes := 0
		run := func(limit int) (fetched []string, err error) {
			entries, err := state.Entries("log", c.Root, nil)
			bindtest.Check(t, err)
			index := &bindtest.Index{List: bindtest.List(x.listed...)}
			h := c.Hint(index)
			h.Entries = &writing{entries, &writes}
			h.SetLimit(limit)
			_, err = h.Find(t.Context(), c.Query())
			return index.Fetched, err
		}
		if fetched, err := run(len(x.listed)); err != nil || len(fetched) != len(x.listed) {
			t.Errorf("%s: at first %d entries, %v", name, len(fetched), err)
		}
		again := map[string]bool{}
		for range x.runs {
			writes = 0
			fetched, err := run(1)
			if err != nil || len(fetched) != lookup.MaxAgain || (writes > 0) != x.writes {
				t.Errorf("%s: %d entries, %d times written, %v", name, len(fetched), writes, err)
			}
			for _, n := range fetched {
				again[n] = true
			}
		}
		if len(again) != len(x.listed) {
			t.Errorf("%s: %d of %d had their turn", name, len(again), len(x.listed))
		}
		state = bindtest.NewState(t)
		if _, err := run(len(x.listed) - 1); !errors.Is(err, lookup.ErrFlooded) {
			t.Errorf("%s: one more than are looked at: %v", name, err)
		}
	}
}

// TestIndexKnown: a binding that was looked at is not looked at first if it is at hand from the
// place of that log at which it stands; and what is remembered of it is what was shown last.
func TestIndexKnown(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	hidden, _, _ := c.Log(bindtest.Workflow(bindtest.Widget, c.Two))
	late := c.Relog(hidden, "00000000000012cd")
	listed, log := append(slices.Clone(c.Names), hidden), c.Root.Logs()[0].ID
	state := bindtest.NewState(t)
	find := func(limit int, known map[string][]policy.Entry, shown map[string]string) (lookup.Remembered, error) {
		entries, err := state.Entries("log", c.Root, nil)
		bindtest.Check(t, err)
		h := c.Hint(
			&bindtest.Index{
				List: bindtest.List(listed...),
				Entries: func(asked []string, _ []map[string]json.RawMessage) string {
					var out []map[string]json.RawMessage
					for _, u := range asked {
						of := u
						if shown[u] != "" {
							of = shown[u]
						}
						out = append(out, map[string]json.RawMessage{u: c.V1[of]})
					}
					text, _ := json.Marshal(out)
					return string(text)
				},
			},
		)
		h.Entries, h.Log = entries, log
		h.SetLimit(limit)
		q := c.Query()
		q.Known = known
		_, err = h.Find(t.Context(), q)
		return entries, err
	}
	for _, shown := range []string{late, hidden} { // the first time it lies
		entries, err := find(len(listed), nil, map[string]string{hidden: shown})
		if l, ok := entries.Get(hidden); err != nil || !ok || l.Late != (shown == late) {
			t.Errorf("remembered %+v, %v", l, err)
		}
		again, err := state.Entries("log", c.Root, nil)
		bindtest.Check(t, err)
		if l, ok := again.Get(hidden); !ok || l.Late != (shown == late) {
			t.Errorf("kept %+v", l)
		}
	}
	for name, x := range map[string]struct {
		place func(e policy.Entry) policy.Entry
		flood bool
	}{
		"at hand":              {func(e policy.Entry) policy.Entry { return e }, false},
		"from another log":     {func(e policy.Entry) policy.Entry { e.Log = "another"; return e }, true},
		"from another place":   {func(e policy.Entry) policy.Entry { e.Index++; return e }, true},
		"from neither of them": {func(policy.Entry) policy.Entry { return policy.Entry{} }, true},
	} {
		known := map[string][]policy.Entry{}
		for _, n := range listed {
			var e struct {
				LogIndex int64 `json:"logIndex"`
			}
			bindtest.Check(t, json.Unmarshal(c.V1[n], &e))
			known[n[rekor.ShardDigits:]] = []policy.Entry{x.place(policy.Entry{Log: log, Index: e.LogIndex})}
		}
		if _, err := find(1, known, nil); errors.Is(err, lookup.ErrFlooded) != x.flood || (err != nil) != x.flood {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestIndexPlaced: what is at hand from the place that the index names is not asked for; the same
// leaf of another shard is, and so is a name that does not say the shard.
func TestIndexPlaced(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	hidden := c.Names[0]
	var held []string // names of the entries that the files show
	for _, f := range c.Files {
		var b struct {
			VerificationMaterial struct {
				TlogEntries []struct {
					Body []byte `json:"canonicalizedBody"`
				}
			}
		}
		bindtest.Check(t, json.Unmarshal(f.Data, &b))
		for _, e := range b.VerificationMaterial.TlogEntries {
			leaf := sha256.Sum256(append([]byte{0}, e.Body...))
			held = append(held, rekor.EntryName("4711", hex.EncodeToString(leaf[:])))
		}
	}
	bare, other := held[0][rekor.ShardDigits:], rekor.EntryName("4712", held[0][rekor.ShardDigits:])
	for name, x := range map[string]struct {
		listed, asked []string
	}{
		"at hand":                {held, nil},
		"twice":                  {append(slices.Clone(held), held...), nil},
		"beside one that is not": {append(slices.Clone(held), hidden), []string{hidden}},
		"of another shard":       {[]string{held[0], other}, []string{other}},
		"of another shard alone": {[]string{other}, []string{other}},
		"without its shard":      {[]string{bare}, []string{bare}},
	} {
		for _, log := range []string{c.Inst.IDV1(), "another"} {
			var asked []string
			h := c.Hint(&bindtest.Index{
				List: bindtest.List(x.listed...),
				Entries: func(names []string, _ []map[string]json.RawMessage) string {
					asked = append(asked, names...)
					return "[]" // so that whatever is asked for is withheld
				},
			})
			h.Log = log
			res := c.Resolve(c.Files, h)
			want := x.asked
			if log == "another" {
				want = slices.Compact(slices.Sorted(slices.Values(x.listed)))
				slices.Sort(asked)
			}
			if !slices.Equal(asked, want) || (len(res.Failed) > 0) != (len(want) > 0) {
				t.Errorf("%s, log %s: asked for %q, want %q; %v", name, log, asked, want, res.Failed)
			}
		}
	}
}
