// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// TestCaps: each limit is read up to and not beyond.
func TestCaps(t *testing.T) {
	forges := func(n, issuers int) string {
		var all []string
		for i := range n {
			var is []string
			for k := range issuers {
				is = append(is, fmt.Sprintf(`"https://git%d.example.com/%d"`, i, k))
			}
			all = append(
				all,
				fmt.Sprintf(`{"host":"git%d.example.com","kind":"github","issuers":[%s]}`, i, strings.Join(is, ",")),
			)
		}
		return `{"schema":"` + bindings.ForgesSchema + `","forges":[` + strings.Join(all, ",") + `]}`
	}
	evidence := func(bundles int, inner string) string {
		return `{"schema":"` + bindings.EvidenceSchema + `","kind":"fork","repository":"` + bindtest.Widget +
			`","statements":[],"bundles":[` + strings.Repeat(`{"bundle":{}},`, bundles-1) + `{"bundle":` + inner + `}]}`
	}
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	pad := func(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }
	table := func(s string) error { _, err := bindings.ParseForges([]byte(s)); return err }
	file := func(s string) error { _, err := bindings.ParseEvidence([]byte(s)); return err }
	for name, c := range map[string]struct {
		err error
		ok  bool
	}{
		"all forges":               {table(forges(bindings.MaxForges, 1)), true},
		"one too many":             {table(forges(bindings.MaxForges+1, 1)), false},
		"all issuers":              {table(forges(1, bindings.MaxIssuers)), true},
		"one issuer more":          {table(forges(1, bindings.MaxIssuers+1)), false},
		"a full table":             {table(pad(forges(1, 1), bindings.MaxForgesBytes)), true},
		"a table too large":        {table(pad(forges(1, 1), bindings.MaxForgesBytes+1)), false},
		"all bundles":              {file(evidence(bindings.MaxEvidenceBundles, "{}")), true},
		"one bundle more":          {file(evidence(bindings.MaxEvidenceBundles+1, "{}")), false},
		"full evidence":            {file(pad(evidence(1, "{}"), rekor.MaxEvidenceBytes)), true},
		"evidence too large":       {file(pad(evidence(1, "{}"), rekor.MaxEvidenceBytes+1)), false},
		"deepest":                  {file(evidence(1, nest(strictjson.MaxDepth-2))), true},
		"one deeper":               {file(evidence(1, nest(strictjson.MaxDepth-1))), false},
		"nested key in upper case": {file(strings.Replace(evidence(1, "{}"), `"bundle"`, `"Bundle"`, 1)), false},
		"key twice in a bundle":    {file(evidence(1, `{"a":1,"a":2}`)), false},
		"any key in a bundle":      {file(evidence(1, `{"Any":{"Key":[1,true,"x"]}}`)), true},
		"null in a bundle":         {file(evidence(1, `{"a":null}`)), false},
		"unclosed bundle":          {file(evidence(1, `{"a":`)), false},
		"unclosed list":            {file(evidence(1, `[1,`)), false},
		"a key that is no text":    {file(evidence(1, `{1:2}`)), false},
		"host key in upper case":   {table(strings.Replace(forges(1, 1), `"host"`, `"Host"`, 1)), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	for n, large := range map[int]bool{spelling.MaxStatementBytes: false, spelling.MaxStatementBytes + 1: true} {
		if s, err := rekorbind.ParseStatement([]byte(pad("{}", n))); err == nil ||
			strings.Contains(err.Error(), "at most") != large ||
			s.Digest() == "" {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestPromiseOnly: what a log only promised to include is in no chain.
func TestPromiseOnly(t *testing.T) {
	f := bindtest.NewForge(t)
	payload, _ := f.Statement(bindtest.TestPolicy, "")
	c := &bindings.Collection{Root: f.Root}
	for _, bare := range []bool{true, false} {
		b, err := sigstore.ParseBundle(
			f.Inst.Sign(
				sigstoretest.Request{
					Statement: payload, SAN: "alice@example.com", Issuer: "https://accounts.google.com",
					Log: sigstoretest.LogV1, NoProof: bare,
				},
			),
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Add(b); err != nil {
			t.Fatal(err)
		}
		h := c.History(bindtest.Locator(t, bindtest.Widget), sigstoretest.Now)
		if want := map[bool]int{true: 0, false: 1}[bare]; len(h.Signatures) != want {
			t.Errorf("%d signatures, want %d", len(h.Signatures), want)
		}
	}
	if c.History(bindtest.Locator(t, "https://codeberg.org/a/b"), sigstoretest.Now).MaintainersBind == false {
		t.Error("codeberg.org proves no repository")
	}
	for _, who := range []string{"bundle without payload", "payload of another kind"} {
		r := sigstoretest.Request{
			Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com",
		}
		if who != "bundle without payload" {
			r.Statement = []byte(
				`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"` +
					strings.Repeat("a", 64) + `"}}],"predicateType":"x"}`,
			)
		}
		b, err := sigstore.ParseBundle(f.Inst.Sign(r))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Learn(b); err == nil {
			t.Errorf("%s: learnt", who)
		}
	}
}
