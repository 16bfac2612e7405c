// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestWitnesses: a checkpoint counts where a quorum cosigned it, as of the moment
// at which the last that is needed did.
func TestWitnesses(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	a, b, d, stranger := newCosigner(t, "a.example"), newCosigner(t, "b.example"), newCosigner(t, "d.example"), newCosigner(t, "s.example")
	impostor := newCosigner(t, "a.example")
	policyOf := func(quorum string) string {
		return fmt.Sprintf("# two of three\nwitness a %s https://a.example\nwitness b %s\nwitness d %s\n%s", a.vkey, b.vkey, d.vkey, quorum)
	}
	two := policyOf("group g 2 a b d\nquorum g\n")
	at := func(h int) time.Time { return sigstoretest.Now.Add(time.Duration(h) * time.Hour) }
	late := c.inst.CheckpointV2(good.bodies[:10], c.inst.Origin())
	for name, x := range map[string]struct {
		policy string
		lines  []string
		asOf   time.Time // zero: unavailable
	}{
		"two of three":           {two, []string{a.line(good.checkpoint, at(-1)), b.line(good.checkpoint, at(-3))}, at(-3)},
		"all three":              {two, []string{a.line(good.checkpoint, at(-9)), b.line(good.checkpoint, at(-1)), d.line(good.checkpoint, at(-2))}, at(-2)},
		"further ones":           {two, []string{stranger.line(good.checkpoint, at(-1)), a.line(good.checkpoint, at(-1)), b.line(good.checkpoint, at(-2))}, at(-2)},
		"one is enough":          {policyOf("quorum a\n"), []string{a.line(good.checkpoint, at(-1))}, at(-1)},
		"a little ahead":         {policyOf("quorum a\n"), []string{a.line(good.checkpoint, sigstoretest.Now.Add(4*time.Minute))}, sigstoretest.Now},
		"from the future":        {policyOf("quorum a\n"), []string{a.line(good.checkpoint, at(9))}, time.Time{}},
		"from 9999":              {two, []string{a.line(good.checkpoint, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), b.line(good.checkpoint, at(-1))}, time.Time{}},
		"two keys of one name":   {policyOf("witness i " + impostor.vkey + "\ngroup g 2 a i\nquorum g\n"), []string{a.line(good.checkpoint, at(-1)), impostor.line(good.checkpoint, at(-1))}, time.Time{}},
		"nested":                 {policyOf("group x any a b\ngroup y all x d\nquorum y\n"), []string{d.line(good.checkpoint, at(-1)), b.line(good.checkpoint, at(-5))}, at(-5)},
		"nested, one missing":    {policyOf("group x any a b\ngroup y all x d\nquorum y\n"), []string{a.line(good.checkpoint, at(-1)), b.line(good.checkpoint, at(-5))}, time.Time{}},
		"one of three":           {two, []string{a.line(good.checkpoint, at(-1))}, time.Time{}},
		"one, twice":             {two, []string{a.line(good.checkpoint, at(-1)), a.line(good.checkpoint, at(-2))}, time.Time{}},
		"none":                   {two, nil, time.Time{}},
		"a stranger":             {two, []string{a.line(good.checkpoint, at(-1)), stranger.line(good.checkpoint, at(-1))}, time.Time{}},
		"an impostor":            {two, []string{impostor.line(good.checkpoint, at(-1)), b.line(good.checkpoint, at(-1))}, time.Time{}},
		"over another tree":      {two, []string{a.line(late, at(-1)), b.line(good.checkpoint, at(-1))}, time.Time{}},
		"the log itself is none": {policyOf("quorum a\n"), []string{}, time.Time{}},
	} {
		w, err := ParseWitnessPolicy([]byte(x.policy))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		log := &tiles{bodies: good.bodies, checkpoint: append(bytes.Clone(good.checkpoint), strings.Join(x.lines, "")...)}
		s := c.scan(log, NewState(t))
		s.Witnesses = w
		want := scanned
		if x.asOf.IsZero() {
			want = unavailable
		}
		t.Run(name, func(t *testing.T) {
			if found, _ := c.expect(t, s, want); want == scanned && !found.AsOf.Equal(x.asOf) {
				t.Errorf("as of %s, want %s", found.AsOf, x.asOf)
			}
			if len(entryTiles(log.read)) > 0 != (want == scanned) {
				t.Errorf("read %v", log.read)
			}
		})
	}
}

// TestParseWitnessPolicy: what demands nothing, or is not understood, is refused.
func TestParseWitnessPolicy(t *testing.T) {
	a := newCosigner(t, "a.example")
	witness := "witness a " + a.vkey + "\n"
	for text, ok := range map[string]bool{
		witness + "quorum a\n": true,
		witness + "quorum a\n" + strings.Repeat("#", MaxWitnessPolicyBytes-len(witness+"quorum a\n")): true,
		witness + "quorum a\n" + strings.Repeat("#", MaxWitnessPolicyBytes):                           false,
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
		if _, err := ParseWitnessPolicy([]byte(text)); (err == nil) != ok {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// TestSeenSpelling: a checkpoint has one spelling, that of others' signatures too.
func TestSeenSpelling(t *testing.T) {
	c := newChained(t, 2)
	a := newCosigner(t, "a.example")
	w, err := ParseWitnessPolicy([]byte("witness a " + a.vkey + "\nquorum a\n"))
	if err != nil {
		t.Fatal(err)
	}
	signed := string(c.honest().checkpoint) + string(a.line(c.honest().checkpoint, sigstoretest.Now))
	for more, ok := range map[string]bool{"": true, "\u2014 other AAAAAAA=\n": true, "\u2014 other AAAAAAB=\n": false, "\u2014 other AAAA\rAAA=\n": false} {
		if _, err := w.Seen([]byte(signed+more), sigstoretest.Now); (err == nil) != ok {
			t.Errorf("%q: %v", more, err)
		}
	}
}

// TestSeen: what is seen is a checkpoint, by its witnesses beside the log whose own signature
// the policy demands, which has no time.
func TestSeen(t *testing.T) {
	a := newCosigner(t, "a.example")
	secret, log, err := note.GenerateKey(rand.Reader, "log.example")
	check(t, err)
	signer, err := note.NewSigner(secret)
	check(t, err)
	seen := sigstoretest.Now.Add(-time.Hour)
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
	witness, logs := "witness a "+a.vkey+"\nquorum a\n", "log "+log+"\n"
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
		w, err := ParseWitnessPolicy([]byte(x.policy))
		check(t, err)
		signed := []byte(x.text + "\n")
		if x.logged {
			signed, err = note.Sign(&note.Note{Text: x.text}, signer)
			check(t, err)
		}
		if x.cosigned {
			signed = append(signed, a.line(signed, seen)...)
		}
		at, err := w.Seen(signed, sigstoretest.Now)
		if (err == nil) != x.ok || x.ok && !at.Equal(seen) || !x.ok && !at.IsZero() {
			t.Errorf("%s: %s %v", name, at, err)
		}
	}
	w, err := ParseWitnessPolicy([]byte(logs + witness))
	check(t, err)
	for size := range 20 { // whatever the bytes of the log's signature are, they are no time
		signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("log.example\n%d\n%s\n", size, hash)}, signer)
		check(t, err)
		at, err := w.Seen(append(signed, a.line(signed, seen)...), sigstoretest.Now)
		if err != nil || !at.Equal(seen) {
			t.Errorf("size %d: %s %v", size, at, err)
		}
	}
}

// FuzzWitnesses: only a checkpoint that its text and signatures make one is seen,
// and never without the witness.
func FuzzWitnesses(f *testing.F) {
	c := newChained(f, 2)
	good := c.honest()
	a, b := newCosigner(f, "a.example"), newCosigner(f, "b.example")
	w, err := ParseWitnessPolicy([]byte("witness a " + a.vkey + "\nquorum a\n"))
	if err != nil {
		f.Fatal(err)
	}
	signed := append(bytes.Clone(good.checkpoint), a.line(good.checkpoint, sigstoretest.Now)...)
	f.Add(signed)
	f.Add(good.checkpoint)
	f.Add(append(bytes.Clone(good.checkpoint), b.line(good.checkpoint, sigstoretest.Now)...))
	text, _, _ := bytes.Cut(good.checkpoint, []byte("\n\n"))
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
