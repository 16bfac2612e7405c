// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// TestConsistency: every tree that a shard shows has to belong to one history
// with those that it showed before, which costs one question for each.
func TestConsistency(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	inst := c.Inst
	one, two := c.Head(inst), c.Head(inst)
	forked := inst.Fork()
	three, four := c.Head(inst), c.Head(inst)
	other3, other4, other5 := c.Head(forked), c.Head(forked), c.Head(forked)
	if three.Size != other3.Size || one.Size+3 != four.Size {
		t.Fatal("sizes")
	}
	status := func(code int, text string) func(int64, int64) (int, string) {
		return func(int64, int64) (int, string) { return code, text }
	}
	hashes := func(n int) string {
		return `{"hashes":["` + strings.Join(slices.Repeat([]string{strings.Repeat("a", 64)}, n), `","`) + `"]}`
	}
	twice := status(200, strings.Replace(hashes(1), "}", `,"hashes":1}`, 1))
	many := func(n int) func(int64, int64) (int, string) { return status(200, hashes(n)) }
	for name, x := range map[string]struct {
		seen   []sigstore.Checkpoint // before, honestly
		now    sigstore.Checkpoint
		p      bindtest.Prover
		asked  int
		failed bool
		fork   bool
		kept   int64
	}{
		"first":            {nil, two, bindtest.Prover{}, 0, false, false, two.Size},
		"the same":         {[]sigstore.Checkpoint{two}, two, bindtest.Prover{}, 0, false, false, two.Size},
		"grown":            {[]sigstore.Checkpoint{two}, three, bindtest.Prover{}, 1, false, false, three.Size},
		"older":            {[]sigstore.Checkpoint{three}, one, bindtest.Prover{}, 1, false, false, three.Size},
		"older, seen":      {[]sigstore.Checkpoint{one, three}, one, bindtest.Prover{}, 0, false, false, three.Size},
		"older, proven":    {[]sigstore.Checkpoint{three, one}, one, bindtest.Prover{}, 0, false, false, three.Size},
		"fork of one size": {[]sigstore.Checkpoint{three}, other3, bindtest.Prover{Inst: forked}, 0, true, true, three.Size},
		"fork of an older": {
			[]sigstore.Checkpoint{three, four}, other3, bindtest.Prover{Inst: forked}, 1, true, true, four.Size,
		},
		"fork, older": {[]sigstore.Checkpoint{four}, other3, bindtest.Prover{}, 1, true, true, four.Size},
		"fork, grown": {[]sigstore.Checkpoint{three}, other5, bindtest.Prover{Inst: forked}, 1, true, true, three.Size},
		"a proof of no use": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(200, `{"hashes":[]}`)}, 1, true, true, three.Size,
		},
		"no answer": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(400, "")}, 1, true, false, three.Size,
		},
		"withheld": {
			[]sigstore.Checkpoint{three}, other4, bindtest.Prover{Reply: status(404, "")}, 1, true, false, three.Size,
		},
		"a page": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(200, "<!doctype html>")}, 1, true, false,
			three.Size,
		},
		"null": {[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(200, "null")}, 1, true, false, three.Size},
		"no hashes": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(200, `{"rootHash":""}`)}, 1, true, false,
			three.Size,
		},
		"half a hash": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(200, `{"hashes":["abcd"]}`)}, 1, true, false,
			three.Size,
		},
		"no hex": {
			[]sigstore.Checkpoint{three}, four,
			bindtest.Prover{Reply: status(200, `{"hashes":["`+strings.Repeat("x", 64)+`"]}`)}, 1, true, false, three.Size,
		},
		"another type": {[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: twice}, 1, true, false, three.Size},
		"as many as read": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: many(rekor.MaxProofHashes)}, 1, true, true, three.Size,
		},
		"too many": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: many(rekor.MaxProofHashes + 1)}, 1, true, false,
			three.Size,
		},
		"larger than a cap": {
			[]sigstore.Checkpoint{three}, four, bindtest.Prover{Reply: status(200, strings.Repeat(" ", rekor.MaxProofReply+1))},
			1, true, false, three.Size,
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := bindtest.NewState(t)
			before := c.Prover(&bindtest.Prover{Inst: inst}, state)
			for _, cp := range x.seen {
				if err := before.Same(t.Context(), c.Seen(cp)); err != nil {
					t.Fatal(err)
				}
			}
			if x.p.Inst == nil {
				x.p.Inst = inst
			}
			err := c.Prover(&x.p, state).Same(t.Context(), c.Seen(x.now))
			asked := slices.DeleteFunc(x.p.Asked, func(s string) bool { return !strings.Contains(s, "proof") })
			if (err != nil) != x.failed || errors.Is(err, rekor.ErrLogFork) != x.fork || len(asked) != x.asked {
				t.Fatalf("%v, asked %v", err, asked)
			}
			if x.asked > 0 && !strings.HasSuffix(asked[0], "&treeID=4711") || len(asked) != len(x.p.Asked) {
				t.Errorf("asked %v", x.p.Asked)
			}
			head, loadErr := state.LoadHead(c.Root.Logs()[0].ID + " " + x.now.Origin)
			if loadErr != nil || head.Tree.Size != x.kept {
				t.Errorf("kept %d, want %d (%v)", head.Tree.Size, x.kept, loadErr)
			}
			var f *rekor.Fork
			if errors.As(err, &f) {
				var doc map[string]string
				if err := json.Unmarshal(f.Bytes(), &doc); err != nil || doc["seen"] == "" ||
					doc["new"] != string(x.now.Note) ||
					(doc["proof"] != "") != (x.asked > 0) {
					t.Errorf("the evidence is %s (%v)", f.Bytes(), err)
				}
			}
		})
	}
}

// replies is a transport that ends every request in one way.
type replies struct {
	code int
	err  error
}

func (a replies) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.code, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// TestGone: only a log that has ended may be gone, which is seen by its name, its address or
// what it replies; every other failure is one.
func TestGone(t *testing.T) {
	c := bindtest.NewChained(t, 1, 2)
	bodies := c.Inst.BodiesV2()
	window := &sigstoretest.Window{Start: sigstoretest.Now.AddDate(-1, 0, 0), End: sigstoretest.Now.Add(-time.Hour)}
	ended := c.Windows(sigstoretest.RootOptions{Log: window, LogV2: window})
	shown := [][2]rekor.Seen{{c.Seen(c.Head(c.Inst)), c.Seen(c.Head(c.Inst))}, {c.Tree(bodies[:1]), c.Tree(bodies[:2])}}
	for name, x := range map[string]struct {
		replies
		gone bool
	}{
		"not found":        {replies{code: 404}, true},
		"for good":         {replies{code: 410}, true},
		"an error":         {replies{code: 500}, false},
		"forbidden":        {replies{code: 403}, false},
		"no such name":     {replies{err: &net.DNSError{Err: "no such host", IsNotFound: true}}, true},
		"no name server":   {replies{err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, false},
		"nobody listens":   {replies{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, true},
		"it cannot be had": {replies{err: &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}}, false},
	} {
		for _, seen := range shown {
			for _, root := range []*sigstore.Root{ended, c.Root} {
				want := "unproven"
				if x.gone && root == ended {
					want = "unasked"
				}
				synctest.Test(t, func(t *testing.T) { // which does not wait between attempts
					client, err := web.New("https://log.example", x.replies, "test")
					bindtest.Check(t, err)
					trees := &rekor.Trees{Root: root, Clients: map[string]*web.Client{seen[0].Log: client}}
					trees.Now = func() time.Time { return sigstoretest.Now }
					bindtest.Check(t, trees.Same(t.Context(), seen[0]))
					if err := trees.Same(t.Context(), seen[1]); bindtest.KindOf(err) != want {
						t.Errorf("%s, generation %d, ended %t: %v", name, seen[0].Generation, root == ended, err)
					}
				})
			}
		}
	}
}

// TestConsistencyRace: two processes to which a log shows two histories notice.
func TestConsistencyRace(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	one := c.Head(c.Inst)
	forked := c.Inst.Fork()
	two, other := c.Head(c.Inst), c.Head(forked)
	for name, x := range map[string]struct {
		mine sigstore.Checkpoint
		fork bool
	}{"the same": {two, false}, "another": {other, true}} {
		state := bindtest.NewState(t)
		second := c.Prover(&bindtest.Prover{Inst: c.Inst}, state)
		if err := second.Same(t.Context(), c.Seen(one)); err != nil {
			t.Fatal(err)
		}
		from := c.Inst
		if x.fork {
			from = forked
		}
		h := c.Prover(&bindtest.Prover{Inst: from}, &bindtest.RacingHeads{Heads: state, Before: func() {
			if err := second.Same(t.Context(), c.Seen(two)); err != nil {
				t.Error(err)
			}
		}})
		if err := h.Same(t.Context(), c.Seen(x.mine)); errors.Is(err, rekor.ErrLogFork) != x.fork ||
			(err != nil) != x.fork {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzProof: what is read as a proof is one, and the same read again.
func FuzzProof(f *testing.F) {
	for _, s := range []string{
		"", "null", "{}", `{"hashes":[]}`, `{"hashes":["` + strings.Repeat("ab", 32) + `"],"rootHash":"x"}`, `{"hashes":[1]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		hashes, err := rekor.ParseProof(data)
		if err != nil {
			if hashes != nil {
				t.Error("hashes beside an error")
			}
			return
		}
		if len(hashes) > rekor.MaxProofHashes || !json.Valid(data) {
			t.Fatalf("%q", data)
		}
		for _, h := range hashes {
			if len(h) != 32 {
				t.Errorf("a hash of %d bytes", len(h))
			}
		}
	})
}
