// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"bytes"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/scaffold/formstest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// FuzzReadForms: whatever a file holds, reading it neither panics nor yields
// evidence without a bundle or a reason, and no piece is both.
func FuzzReadForms(f *testing.F) {
	inst := sigstoretest.New(f)
	art := []byte("artifact")
	r := formstest.Alice()
	r.Statement = formstest.Statement(formstest.Subject("widget_1.tar.gz", art))
	p := formstest.Take(f, inst.Sign(r))
	r = formstest.Alice()
	r.Artifact, r.NoProof = art, true
	promise := formstest.Take(f, inst.Sign(r))
	id := strings.Repeat("1", 40)
	for _, seed := range [][]byte{
		p.Bundle, p.PyPI(f), p.Envelope(f), promise.Cosign(f), formstest.Collection("npm", p.Bundle),
		formstest.Collection("github", p.Bundle), formstest.Collection("provenance", p.PyPI(f)),
		formstest.Lines(p.Bundle, p.Envelope(f)),
		formstest.TagObject(f, inst, formstest.Alice(), "v1", "1111111111111111111111111111111111111111",
			formstest.CMSOptions{}), []byte("tree " + id + "\nauthor x\ncommitter x\n\n"), nil,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, out := Read(Source{Path: "x.sig", Data: data})
		if len(out) == 0 {
			t.Fatal("neither evidence nor a reason")
		}
		for _, c := range out {
			if (c.Bundle == nil) == (c.Err == nil) {
				t.Fatalf("bundle %v, err %v", c.Bundle, c.Err)
			}
			if e := new(sigstore.Error); c.Err != nil && (!errors.As(c.Err, &e) || e.Reason.Class() == policy.ClassOK) {
				t.Fatalf("an error without a reason, or of class OK: %v", c.Err)
			}
			if c.Inner != nil && (c.Inner.Signed.Alg == "" || len(c.Inner.Subject.Digests) != 1) {
				t.Fatalf("inner %+v", c.Inner)
			}
		}
	})
}

// FuzzCMS: reading hostile bytes does not panic, and what is read has a
// certificate, a digest and a signature, which stand in the bytes.
func FuzzCMS(f *testing.F) {
	inst := sigstoretest.New(f)
	content := formstest.TagObject(f, inst, formstest.Alice(), "v1", "1111111111111111111111111111111111111111",
		formstest.CMSOptions{})
	if tag, err := git.ParseTag(content); err == nil {
		block, _ := pem.Decode([]byte(tag.Signature))
		f.Add(block.Bytes)
		f.Add(block.Bytes[:len(block.Bytes)-1])
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		m, err := parseCMS(der)
		if err != nil {
			return
		}
		if len(m.attributes) == 0 || m.attributes[0] != 0x31 || !bytes.Contains(der, m.certificate) ||
			!bytes.Contains(der, m.digest) || !bytes.Contains(der, m.signature) ||
			!bytes.Contains(der, m.attributes[1:]) {
			t.Fatalf("%+v", m)
		}
	})
}
