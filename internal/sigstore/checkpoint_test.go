// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// respelt are other spellings of a checkpoint that says the same, or none.
func respelt() map[string]func(note string, sign func(string) string) string {
	text := func(f func(lines []string) string) func(string, func(string) string) string {
		return func(note string, sign func(string) string) string {
			head, _, _ := strings.Cut(note, "\n\n")
			return sign(f(strings.Split(head, "\n")))
		}
	}
	signature := func(f func(line string) string) func(string, func(string) string) string {
		return func(note string, _ func(string) string) string {
			at := strings.LastIndex(note[:len(note)-1], "\n") + 1
			return note[:at] + f(note[at:])
		}
	}
	return map[string]func(string, func(string) string) string{
		"a plus before the size": text(func(l []string) string { return l[0] + "\n+" + l[1] + "\n" + l[2] + "\n" }),
		"a zero before the size": text(func(l []string) string { return l[0] + "\n0" + l[1] + "\n" + l[2] + "\n" }),
		"a blank after the size": text(func(l []string) string { return l[0] + "\n" + l[1] + " \n" + l[2] + "\n" }),
		"bits that encode nothing": text(func(l []string) string {
			return l[0] + "\n" + l[1] + "\n" + otherBits(l[2]) + "\n"
		}),
		"a root of 33 bytes": text(func(l []string) string {
			return l[0] + "\n" + l[1] + "\n" + strings.Repeat("A", 44) + "\n"
		}),
		"no origin":                   text(func(l []string) string { return "\n" + l[1] + "\n" + l[2] + "\n" }),
		"a control character":         text(func(l []string) string { return l[0] + "\x7f\n" + l[1] + "\n" + l[2] + "\n" }),
		"an empty line after":         text(func(l []string) string { return strings.Join(l[:3], "\n") + "\n\nmore\n" }),
		"a line break in a signature": signature(func(s string) string { return strings.TrimSuffix(s, "\n") + "\r\n" }),
		"bits in a signature":         signature(func(s string) string { return s + "\u2014 other AAAAAAB=\n" }),
		"no end of a signature":       signature(func(s string) string { return strings.TrimSuffix(s, "\n") }),
		"a line after the signatures": signature(func(s string) string { return s + "more\n" }),
		"an empty line at the end":    signature(func(s string) string { return s + "\n" }),
		"a signature that is none":    signature(func(s string) string { return s + "\u2014 other AAAA\n" }),
		"a signature by nobody":       signature(func(s string) string { return s + "\u2014  AAAAAAAA\n" }),
	}
}

// otherBits changes the bits of padded base64 that encode nothing.
func otherBits(s string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	at := len(strings.TrimRight(s, "=")) - 1
	return s[:at] + string(digits[strings.IndexByte(digits, s[at])+1]) + s[at+1:]
}

// TestCheckpointSpelling: a checkpoint has one spelling, whoever signed another.
func TestCheckpointSpelling(t *testing.T) {
	inst := sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range respelt() {
		for way, req := range map[string]request{
			"v1": mutated(func(b *bundlep) { proofOf(b).Checkpoint.Envelope = f(proofOf(b).Checkpoint.Envelope, inst.NoteV1) }),
			"v2": v2(func(b *bundlep) { proofOf(b).Checkpoint.Envelope = f(proofOf(b).Checkpoint.Envelope, inst.NoteV2) }),
		} {
			data := inst.Sign(req)
			if _, reason := judgeBundle(t, data, inst.Root(roots{}), sha(artifact), Options{}); reason != policy.LogFields {
				t.Errorf("%s, %s: %q", name, way, reason)
			}
		}
		honest := string(inst.SignV2(5, [32]byte{1}))
		if cp, _, err := r.OpenAnyCheckpoint([]byte(f(honest, inst.NoteV2))); err == nil {
			t.Errorf("%s: %+v", name, cp)
		}
	}
}

// TestEntrySpelling: what a log answers has one spelling, too.
func TestEntrySpelling(t *testing.T) {
	inst := sigstoretest.New(t)
	v1 := answeredV1(t, decode(t, inst.Sign(envelope(nil))))
	body := entry(decode(t, inst.Sign(v2(nil)))).CanonicalizedBody
	edit := func(data []byte, old, new string) []byte {
		out := strings.Replace(string(data), old, new, 1)
		if out == string(data) {
			t.Fatalf("%q is not in %s", old, data)
		}
		return []byte(out)
	}
	for _, at := range []string{`"body":"`, `"signedEntryTimestamp":"`} {
		if _, err := ParseEntryV1(edit(v1, at, at+`\n`)); err == nil {
			t.Errorf("Rekor v1: a line break after %s", at)
		}
	}
	for _, at := range []string{`"logIndex":`, `"integratedTime":`} {
		if _, err := ParseEntryV1(edit(v1, at, at+`-`)); err == nil {
			t.Errorf("Rekor v1: a minus after %s", at)
		}
	}
	for _, at := range []string{`"rawBytes":"`, `"digest":"`, `"content":"`} {
		if _, err := ParseEntryV2(edit(body, at, at+`\r\n`)); err == nil {
			t.Errorf("Rekor v2: a line break after %s", at)
		}
	}
	if _, err := ParseEntryV1(v1); err != nil {
		t.Error(err)
	}
	if _, err := ParseEntryV2(body); err != nil {
		t.Error(err)
	}
	var e struct {
		Spec struct {
			HashedRekordV002 struct{ Data struct{ Digest string } }
		}
	}
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	digest := e.Spec.HashedRekordV002.Data.Digest
	for _, other := range []string{
		otherBits(digest), base64.StdEncoding.EncodeToString(make([]byte, 31)), strings.TrimSuffix(digest, "="),
	} {
		if _, err := ParseEntryV2(edit(body, digest, other)); err == nil {
			t.Errorf("Rekor v2: the digest %s", other)
		}
	}
}

// TestKeyHint: the DER of a key in hex and nothing beside it.
func TestKeyHint(t *testing.T) {
	hint, err := hintOf(rsaKey(t, 2048))
	if err != nil {
		t.Fatal(err)
	}
	if der, err := keyFromHint(hint); err != nil || fmt.Sprintf("%x", der) != hint {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{
		"", " " + hint, hint + " ", hint + "zz", hint + "00", "0x" + hint, hint[:len(hint)-1], "00",
	} {
		if _, err := keyFromHint(bad); err == nil {
			t.Errorf("%.20q… is taken", bad)
		}
	}
}
