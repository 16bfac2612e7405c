// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// repaid returns the files with their payload, a statement, changed and everything
// else as it was signed.
func repaid(t *testing.T, files []bindings.File, change func(payload []byte) []byte) []bindings.File {
	t.Helper()
	out := make([]bindings.File, len(files))
	for i, f := range files {
		var b map[string]any
		if err := json.Unmarshal(f.Data, &b); err != nil {
			t.Fatal(err)
		}
		e := b["dsseEnvelope"].(map[string]any)
		payload, err := base64.StdEncoding.DecodeString(e["payload"].(string))
		if err != nil {
			t.Fatal(err)
		}
		e["payload"] = base64.StdEncoding.EncodeToString(change(slices.Clone(payload)))
		if out[i].Data, err = json.Marshal(b); err != nil {
			t.Fatal(err)
		}
		out[i].Name = f.Name
	}
	return out
}

// TestPolicyFlips: a policy of which a single bit differs from what was signed, or
// one that means the same in other bytes, is nobody's policy, under whatever name.
func TestPolicyFlips(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	scan := c.Scan(c.Honest(), bindtest.NewState(t))
	look := func(files []bindings.File) *bindings.Resolution { return c.Resolve(files, scan) }
	if r := look(repaid(t, c.Files, func(p []byte) []byte { return p })); r.Chain.Reason() != "" ||
		len(r.Chain.Versions()) == 0 {
		t.Fatalf("as it was signed: %s", r.Chain.Reason())
	}
	var length int
	repaid(t, c.Files[:1], func(p []byte) []byte { length = len(p); return p })
	step := 1
	if testing.Short() {
		step = 17
	}
	for at := 0; at < length; at += step {
		bit := byte(1) << rand.IntN(8)
		if r := look(repaid(t, c.Files, func(p []byte) []byte { p[at%len(p)] ^= bit; return p })); r.Chain.Reason() == "" {
			t.Errorf("byte %d, bit %d: version %d stands", at, bit, len(r.Chain.Versions()))
		}
	}
	for what, change := range map[string]func([]byte) []byte{
		"a line less": func(p []byte) []byte {
			return bytes.Replace(p, []byte(`format = \"repopolicy/v1\"\n`), nil, 1)
		},
		"white space":    func(p []byte) []byte { return append([]byte{' '}, p...) },
		"a line feed":    func(p []byte) []byte { return append(p, '\n') },
		"another string": func(p []byte) []byte { return bytes.Replace(p, []byte("acme/widget"), []byte("acme/gadget"), -1) },
	} {
		if r := look(repaid(t, c.Files, change)); r.Chain.Reason() == "" {
			t.Errorf("%s: version %d stands", what, len(r.Chain.Versions()))
		}
	}
}

// TestOtherRepository: a chain that another repository bound, of the same
// maintainers, says nothing about this one.
func TestOtherRepository(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	r := &bindings.Resolver{
		Root: c.Root, Lookups: []bindings.Lookup{c.Scan(c.Honest(), bindtest.NewState(t))}, Now: sigstoretest.Now,
	}
	out, err := r.Resolve(t.Context(), bindtest.Locator(t, "https://github.com/acme/gadget"), c.Files)
	if err != nil {
		t.Fatal(err)
	}
	if out.Chain.Reason() != policy.NoBinding || len(out.Chain.Versions()) != 0 {
		t.Errorf("%s, %d versions", out.Chain.Reason(), len(out.Chain.Versions()))
	}
}

// TestIndexOrder: the order in which an index lists entries decides nothing.
func TestIndexOrder(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	var want string
	for i := range 20 {
		names := slices.Clone(c.Names)
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		r := c.Resolve(c.Files, c.Hint(&bindtest.Index{List: bindtest.List(names...)}))
		got := fmt.Sprint(r.Chain.Reason(), r.Chain.View().Completeness)
		for _, v := range r.Chain.Versions() {
			got += " " + v.Statement
		}
		if i == 0 {
			want = got
		}
		if got != want || r.Chain.Reason() != "" {
			t.Fatalf("%s, then %s", want, got)
		}
	}
}
