// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestExceptions(t *testing.T) {
	got, err := exceptions(unauthenticated)
	if err != nil || len(got) == 0 {
		t.Fatalf("%d exceptions, %v", len(got), err)
	}
	for _, bad := range []string{"kind", "kind = ", "kind=reason"} {
		if _, err := exceptions(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestLeaves flips a bit in every form of value and compares the JSON.
func TestLeaves(t *testing.T) {
	const bundle = `{"mediaType":"m","verificationMaterial":{"tlogEntries":[` +
		`{"logIndex":"8","canonicalizedBody":"AAE=","inclusionPromise":null,"inclusionProof":{"hashes":["AA=="]}}],` +
		`"x509CertificateChain":{"certificates":[{"rawBytes":"AA=="},{"rawBytes":"AA=="}]}}}`
	var doc any
	if err := json.Unmarshal([]byte(bundle), &doc); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, l := range leaves(doc) {
		kinds = append(kinds, l.kind)
		for i := range l.value {
			for bit := range l.bits() {
				text := l.flipped(i, bit)
				var other any
				if err := json.Unmarshal(text, &other); err != nil {
					t.Fatalf("%s: %s: %s", l.kind, err, text)
				}
				if again, _ := json.Marshal(other); string(again) == bundle {
					t.Errorf("%s: byte %d, bit %d: nothing changed", l.kind, i, bit)
				}
			}
		}
	}
	want := []string{
		"mediaType",
		"verificationMaterial.tlogEntries[proof].canonicalizedBody",
		"verificationMaterial.tlogEntries[proof].inclusionProof.hashes[]",
		"verificationMaterial.tlogEntries[proof].logIndex",
		"verificationMaterial.x509CertificateChain.certificates[0].rawBytes",
		"verificationMaterial.x509CertificateChain.certificates[above the signer's].rawBytes",
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("got %q", kinds)
	}
	if after, _ := json.Marshal(doc); strings.Contains(string(after), "cut") {
		t.Errorf("the document was changed: %s", after)
	}
}

// TestNoteRegions labels a checkpoint with two signatures.
func TestNoteRegions(t *testing.T) {
	note := "log.example - 7\n8\nAAAA\n\n\u2014 log.example AAA=\n\u2014 witness BBBB\n"
	l := leaf{kind: "x.checkpoint.envelope", value: []byte(note)}
	kinds := l.regions()
	for text, want := range map[string]string{
		"8\n":     "text",
		"example": "text",
		"AAA=":    "signature of the log",
		"witness": "name in the signature of somebody else",
		"BBBB":    "signature of somebody else",
		"A=":      "last base64 digit in the signature of the log",
	} {
		if got := kinds[strings.Index(note, text)]; got != l.kind+": "+want {
			t.Errorf("%q is %q", text, got)
		}
	}
}

// TestTokenRegions labels a time stamp reply as short as it can be, and never
// panics on what is left of it.
func TestTokenRegions(t *testing.T) {
	seq := func(tag byte, parts ...[]byte) []byte {
		body := slices.Concat(parts...)
		return append([]byte{tag, byte(len(body))}, body...)
	}
	integer := []byte{2, 1, 1}
	oid := []byte{6, 1, 42}
	attribute := seq(tagSequence, oid, seq(0x31, []byte{4, 1, 'v'}))
	signer := seq(
		tagSequence, integer, seq(tagSequence, oid), seq(tagSequence, oid), seq(tagContext0, attribute),
		seq(tagSequence, oid), []byte{4, 1, 's'},
	)
	token := seq(tagSequence, seq(tagSequence, integer), seq(tagSequence, oid, seq(tagContext0, seq(
		tagSequence, integer, seq(0x31), seq(tagSequence, oid, seq(tagContext0, []byte{4, 1, 'i'})), seq(tagContext0),
		seq(0x31, signer),
	))))
	kinds := (&leaf{kind: "x.signedTimestamp", value: token}).regions()
	for text, want := range map[string]string{
		"i": "time stamp", "v": "signed attributes", "s": "signature", "\xa0\x00": "empty list of certificates",
		"\x31\x03": "header of an attribute's values",
	} {
		if got := kinds[strings.LastIndex(string(token), text)]; got != "x.signedTimestamp: "+want {
			t.Errorf("%q is %q", text, got)
		}
	}
	for i := range token {
		(&leaf{kind: "x.signedTimestamp", value: token[:i]}).regions()
		for b := range 256 {
			changed := slices.Clone(token)
			changed[i] = byte(b)
			(&leaf{kind: "x.signedTimestamp", value: changed}).regions()
		}
	}
}
