// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestWitnesses: a checkpoint counts where a quorum cosigned it, as of the moment
// at which the last that is needed did.
func TestWitnesses(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	a, b, d, stranger := bindtest.NewCosigner(t, "a.example"), bindtest.NewCosigner(
		t, "b.example",
	), bindtest.NewCosigner(t, "d.example"), bindtest.NewCosigner(t, "s.example")
	impostor := bindtest.NewCosigner(t, "a.example")
	policyOf := func(quorum string) string {
		return fmt.Sprintf(
			"# two of three\nwitness a %s https://a.example\nwitness b %s\nwitness d %s\n%s", a.Vkey, b.Vkey, d.Vkey,
			quorum,
		)
	}
	two := policyOf("group g 2 a b d\nquorum g\n")
	at := func(h int) time.Time { return sigstoretest.Now.Add(time.Duration(h) * time.Hour) }
	late := c.Inst.CheckpointV2(good.Bodies[:10], c.Inst.Origin())
	for name, x := range map[string]struct {
		policy string
		lines  []string
		asOf   time.Time // zero: unavailable
	}{
		"two of three": {two, []string{a.Line(good.Checkpoint, at(-1)), b.Line(good.Checkpoint, at(-3))}, at(-3)},
		"all three": {
			two, []string{a.Line(good.Checkpoint, at(-9)), b.Line(good.Checkpoint, at(-1)), d.Line(good.Checkpoint, at(-2))},
			at(-2),
		},
		"further ones": {
			two,
			[]string{stranger.Line(good.Checkpoint, at(-1)), a.Line(good.Checkpoint, at(-1)), b.Line(good.Checkpoint, at(-2))},
			at(-2),
		},
		"one is enough": {policyOf("quorum a\n"), []string{a.Line(good.Checkpoint, at(-1))}, at(-1)},
		"a little ahead": {
			policyOf("quorum a\n"), []string{a.Line(good.Checkpoint, sigstoretest.Now.Add(4*time.Minute))}, sigstoretest.Now,
		},
		"from the future": {policyOf("quorum a\n"), []string{a.Line(good.Checkpoint, at(9))}, time.Time{}},
		"from 9999": {
			two, []string{a.Line(good.Checkpoint, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), b.Line(good.Checkpoint, at(-1))},
			time.Time{},
		},
		"two keys of one name": {
			policyOf("witness i " + impostor.Vkey + "\ngroup g 2 a i\nquorum g\n"),
			[]string{a.Line(good.Checkpoint, at(-1)), impostor.Line(good.Checkpoint, at(-1))}, time.Time{},
		},
		"nested": {
			policyOf("group x any a b\ngroup y all x d\nquorum y\n"),
			[]string{d.Line(good.Checkpoint, at(-1)), b.Line(good.Checkpoint, at(-5))}, at(-5),
		},
		"nested, one missing": {
			policyOf("group x any a b\ngroup y all x d\nquorum y\n"),
			[]string{a.Line(good.Checkpoint, at(-1)), b.Line(good.Checkpoint, at(-5))}, time.Time{},
		},
		"one of three": {two, []string{a.Line(good.Checkpoint, at(-1))}, time.Time{}},
		"one, twice":   {two, []string{a.Line(good.Checkpoint, at(-1)), a.Line(good.Checkpoint, at(-2))}, time.Time{}},
		"none":         {two, nil, time.Time{}},
		"a stranger":   {two, []string{a.Line(good.Checkpoint, at(-1)), stranger.Line(good.Checkpoint, at(-1))}, time.Time{}},
		"an impostor": {
			two, []string{impostor.Line(good.Checkpoint, at(-1)), b.Line(good.Checkpoint, at(-1))}, time.Time{},
		},
		"over another tree":      {two, []string{a.Line(late, at(-1)), b.Line(good.Checkpoint, at(-1))}, time.Time{}},
		"the log itself is none": {policyOf("quorum a\n"), []string{}, time.Time{}},
	} {
		w, err := rekor.ParseWitnessPolicy([]byte(x.policy))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		log := &bindtest.Tiles{
			Bodies: good.Bodies, Checkpoint: append(bytes.Clone(good.Checkpoint), strings.Join(x.lines, "")...),
		}
		s := c.Scan(log, bindtest.NewState(t))
		s.Witnesses = w
		want := bindtest.Scanned
		if x.asOf.IsZero() {
			want = bindtest.Unavailable
		}
		t.Run(name, func(t *testing.T) {
			if found, _ := c.Expect(t, s, want); want == bindtest.Scanned && !found.AsOf.Equal(x.asOf) {
				t.Errorf("as of %s, want %s", found.AsOf, x.asOf)
			}
			if len(bindtest.EntryTiles(log.Read)) > 0 != (want == bindtest.Scanned) {
				t.Errorf("read %v", log.Read)
			}
		})
	}
}

// TestParseWitnessPolicy: what demands nothing, or is not understood, is refused.
func TestParseWitnessPolicy(t *testing.T) {
	a := bindtest.NewCosigner(t, "a.example")
	witness := "witness a " + a.Vkey + "\n"
	for text, ok := range map[string]bool{
		witness + "quorum a\n": true,
		witness + "quorum a\n" + strings.Repeat("#", rekor.MaxWitnessPolicyBytes-len(witness+"quorum a\n")): true,
		witness + "quorum a\n" + strings.Repeat("#", rekor.MaxWitnessPolicyBytes):                           false,
		"":                                     false,
		witness:                                false,
		"quorum none\n":                        false,
		witness + "quorum none\n":              false,
		witness + "quorum b\n":                 false,
		witness + "group g 0 a\nquorum g\n":    false,
		witness + "group g 2 a\nquorum g\n":    false,
		witness + "group g 1 a a2\nquorum g\n": false,
		witness + witness + "quorum a\n":       false,
		"witness a x\nquorum a\n":              false,
		"witness a\nquorum a\n":                false,
		witness + "quorum a\nquorum a\n":       false,
		witness + "unknown x\nquorum a\n":      false,
	} {
		if _, err := rekor.ParseWitnessPolicy([]byte(text)); (err == nil) != ok {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// TestSeenSpelling: a checkpoint has one spelling, that of others' signatures too.
func TestSeenSpelling(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	a := bindtest.NewCosigner(t, "a.example")
	w, err := rekor.ParseWitnessPolicy([]byte("witness a " + a.Vkey + "\nquorum a\n"))
	if err != nil {
		t.Fatal(err)
	}
	signed := string(c.Honest().Checkpoint) + string(a.Line(c.Honest().Checkpoint, sigstoretest.Now))
	for more, ok := range map[string]bool{
		"": true, "\u2014 other AAAAAAA=\n": true, "\u2014 other AAAAAAB=\n": false, "\u2014 other AAAA\rAAA=\n": false,
	} {
		if _, err := w.Seen([]byte(signed+more), sigstoretest.Now); (err == nil) != ok {
			t.Errorf("%q: %v", more, err)
		}
	}
}

// TestSeen: what is seen is a checkpoint, by its witnesses beside the log whose own signature
// the policy demands, which has no time.
func TestSeen(t *testing.T) {
	a := bindtest.NewCosigner(t, "a.example")
	secret, log, err := note.GenerateKey(rand.Reader, "log.example")
	bindtest.Check(t, err)
	signer, err := note.NewSigner(secret)
	bindtest.Check(t, err)
	seen := sigstoretest.Now.Add(-time.Hour)
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	witness, logs := "witness a "+a.Vkey+"\nquorum a\n", "log "+log+"\n"
	for name, x := range map[string]struct {
		policy, text     string
		logged, cosigned bool
		ok               bool
	}{
		"both":                   {logs + witness, "log.example\n3\n" + hash + "\n", true, true, true},
		"the log is not named":   {witness, "log.example\n3\n" + hash + "\n", true, true, true},
		"the log alone":          {logs + witness, "log.example\n3\n" + hash + "\n", true, false, false},
		"the witness alone":      {logs + witness, "log.example\n3\n" + hash + "\n", false, true, false},
		"of another log":         {logs + witness, "another.example\n3\n" + hash + "\n", true, true, false},
		"no checkpoint":          {witness, "log.example\n3\nx\n", true, true, false},
		"no origin":              {witness, "\n3\n" + hash + "\n", true, true, false},
		"a control character":    {witness, "log.example\u0085\n3\n" + hash + "\n", true, true, false},
		"no size":                {witness, "log.example\n03\n" + hash + "\n", true, true, false},
		"a text of its own kind": {witness, "hello\n", true, true, false},
	} {
		w, err := rekor.ParseWitnessPolicy([]byte(x.policy))
		bindtest.Check(t, err)
		signed := []byte(x.text + "\n")
		if x.logged {
			signed, err = note.Sign(&note.Note{Text: x.text}, signer)
			bindtest.Check(t, err)
		}
		if x.cosigned {
			signed = append(signed, a.Line(signed, seen)...)
		}
		at, err := w.Seen(signed, sigstoretest.Now)
		if (err == nil) != x.ok || x.ok && !at.Equal(seen) || !x.ok && !at.IsZero() {
			t.Errorf("%s: %s %v", name, at, err)
		}
	}
	w, err := rekor.ParseWitnessPolicy([]byte(logs + witness))
	bindtest.Check(t, err)
	for size := range 20 { // whatever the bytes of the log's signature are, they are no time
		signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("log.example\n%d\n%s\n", size, hash)}, signer)
		bindtest.Check(t, err)
		at, err := w.Seen(append(signed, a.Line(signed, seen)...), sigstoretest.Now)
		if err != nil || !at.Equal(seen) {
			t.Errorf("size %d: %s %v", size, at, err)
		}
	}
}

// FuzzWitnesses: only a checkpoint that its text and signatures make one is seen,
// and never without the witness.
func FuzzWitnesses(f *testing.F) {
	c := bindtest.NewChained(f, 2)
	good := c.Honest()
	a, b := bindtest.NewCosigner(f, "a.example"), bindtest.NewCosigner(f, "b.example")
	w, err := rekor.ParseWitnessPolicy([]byte("witness a " + a.Vkey + "\nquorum a\n"))
	if err != nil {
		f.Fatal(err)
	}
	signed := append(bytes.Clone(good.Checkpoint), a.Line(good.Checkpoint, sigstoretest.Now)...)
	f.Add(signed)
	f.Add(good.Checkpoint)
	f.Add(append(bytes.Clone(good.Checkpoint), b.Line(good.Checkpoint, sigstoretest.Now)...))
	text, _, _ := bytes.Cut(good.Checkpoint, []byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		at, err := w.Seen(data, sigstoretest.Now)
		if err != nil {
			if !at.IsZero() {
				t.Error("a time beside an error")
			}
			return
		}
		n, openErr := note.Open(data, w.Policy())
		if openErr != nil || n.Text != string(text)+"\n" || !at.Equal(sigstoretest.Now) {
			t.Errorf("%q was seen at %s (%v)", data, at, openErr)
		}
	})
}
