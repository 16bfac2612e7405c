// SPDX-License-Identifier: Apache-2.0

package canonical

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestParseNumber(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "7": 7, "10": 10, "9223372036854775807": 1<<63 - 1} {
		if n, err := ParseNumber(s); err != nil || n != want {
			t.Errorf("%q: %d, %v", s, n, err)
		}
		var n Number
		if err := json.Unmarshal([]byte(s), &n); err != nil || int64(n) != want {
			t.Errorf("%q in JSON: %d, %v", s, n, err)
		}
	}
	for _, s := range []string{
		"", "-1", "-0", "+1", "00", "01", " 1", "1 ", "1\n", "1_0", "0x1", "1e3", "1.0", "9223372036854775808", "\u0661",
		`"1"`,
	} {
		if n, err := ParseNumber(s); err == nil {
			t.Errorf("%q: %d", s, n)
		}
		var n Number
		if err := n.UnmarshalJSON([]byte(s)); err == nil {
			t.Errorf("%q in JSON: %d", s, n)
		}
	}
	n := Number(7)
	if err := json.Unmarshal([]byte("null"), &n); err != nil || n != 7 {
		t.Errorf("null: %d, %v", n, err)
	}
}

func TestParseBase64(t *testing.T) {
	for s, want := range map[string]string{"": "", "QQ==": "A", "QUI=": "AB", "QUJD": "ABC", "+/+/": "\xfb\xff\xbf"} {
		if raw, err := ParseBase64(s); err != nil || string(raw) != want {
			t.Errorf("%q: %q, %v", s, raw, err)
		}
		var b Bytes
		if err := json.Unmarshal([]byte(`"`+s+`"`), &b); err != nil || string(b) != want {
			t.Errorf("%q in JSON: %q, %v", s, b, err)
		}
	}
	for _, s := range []string{
		"Q", "QQ", "QQ=", "QR==", "QUJ=", "QQ==\n", "QQ\n==", "QQ\r==", "Q Q==", "QQ===", "QQ==QQ==", "-_-_", "QUJD\r\n", "=",
		"QUI=A",
	} {
		if raw, err := ParseBase64(s); err == nil {
			t.Errorf("%q: %q", s, raw)
		}
		var b Bytes
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &b); err == nil {
			t.Errorf("%q in JSON: %q", s, b)
		}
	}
	b := Bytes("x")
	if err := json.Unmarshal([]byte("null"), &b); err != nil || len(b) > 0 {
		t.Errorf("null: %q, %v", b, err)
	}
	for _, s := range []string{"1", "{}", "[65]", "true"} {
		if err := json.Unmarshal([]byte(s), &b); err == nil {
			t.Errorf("%s is no text", s)
		}
	}
}

const (
	goodRoot = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	goodText = "log.example/1\n5\n" + goodRoot + "\n"
	goodSig  = "\u2014 log.example/1 AAAAAAAA\n"
)

func TestParseCheckpoint(t *testing.T) {
	long := strings.Repeat("a", maxNote-len(goodText)-1) + "\n"
	for text, extension := range map[string]string{
		goodText: "", goodText + "a\n": "a\n", goodText + "Timestamp: 1\nb c\n": "Timestamp: 1\nb c\n",
		strings.Replace(goodText, "log.example/1", "rekor.example - 4711", 1): "",
		goodText + long: long,
	} {
		c, err := ParseCheckpoint(text)
		if err != nil || c.Size != 5 || c.Extension != extension || c.Origin != strings.SplitN(text, "\n", 2)[0] {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	for _, text := range []string{
		"", "\n", "\n\n\n", "a\n5\n", strings.TrimSuffix(goodText, "\n"), "\n5\n" + goodRoot + "\n",
		"a\tb\n5\n" + goodRoot + "\n", "a\rb\n5\n" + goodRoot + "\n", "a\x7f\n5\n" + goodRoot + "\n",
		"a\u0085\n5\n" + goodRoot + "\n", "a\xff\n5\n" + goodRoot + "\n",
		"a\n-5\n" + goodRoot + "\n", "a\n05\n" + goodRoot + "\n", "a\n+5\n" + goodRoot + "\n", "a\n5 \n" + goodRoot + "\n",
		"a\n5\r\n" + goodRoot + "\n", "a\n9223372036854775808\n" + goodRoot + "\n",
		"a\n5\n" + strings.Replace(goodRoot, "A=", "B=", 1) + "\n", "a\n5\n" + goodRoot + "\r\n", "a\n5\n " + goodRoot + "\n",
		"a\n5\nAAAA\n", "a\n5\n" + strings.TrimSuffix(goodRoot, "=") + "\n",
		goodText + "\n", goodText + "a", goodText + "a\n\nb\n", goodText + "\na\n", goodText + "a\tb\n",
		goodText + strings.Repeat("a", maxNote) + "\n",
	} {
		if c, err := ParseCheckpoint(text); err == nil {
			t.Errorf("%.200q: %+v", text, c)
		}
	}
}

func TestNoteText(t *testing.T) {
	long := "\n\n\u2014 log AAAAAAA=\n"
	for note, want := range map[string]int{
		long: 1, strings.Repeat("a", maxNote-len(long)) + long: maxNote - len(long) + 1,
	} {
		if text, err := NoteText(note); err != nil || len(text) != want {
			t.Errorf("%.20q…: %d bytes, %v", note, len(text), err)
		}
	}
	for _, sigs := range []string{
		goodSig, "\u2014 log AAAAAAA=\n", goodSig + "\u2014 other AAAAAAAAAA==\n", strings.Repeat(goodSig, maxSignatures),
	} {
		if text, err := NoteText(goodText + "\n" + sigs); err != nil || text != goodText {
			t.Errorf("%q: %q, %v", sigs, text, err)
		}
	}
	for _, s := range []string{
		"", goodText, goodText + "\n", goodText + goodSig, goodText + "\n" + strings.TrimSuffix(goodSig, "\n"),
		goodText + "\n" + goodSig + "\n", goodText + "\n" + goodSig + "more\n",
		goodText + "\n- log AAAAAAAA\n", goodText + "\n\u2014 AAAAAAAA\n", goodText + "\n\u2014  AAAAAAAA\n",
		goodText + "\n\u2014 a+b AAAAAAAA\n", goodText + "\n\u2014 a\u00a0b AAAAAAAA\n",
		goodText + "\n\u2014 log AAAAAA==\n", goodText + "\n\u2014 log AAAAAAAAAB==\n", goodText + "\n\u2014 log AAAA AAAA\n",
		goodText + "\n\u2014 log AAAAAAAA\r\n", goodText + "\n\u2014 log \n", goodText + "\n\u2014 log\n",
		"a\x00" + goodText + "\n" + goodSig, "\xff" + goodText + "\n" + goodSig,
		goodText + "\n" + strings.Repeat(goodSig, maxSignatures+1), strings.Repeat("a", maxNote) + "\n\n" + goodSig,
	} {
		if text, err := NoteText(s); err == nil {
			t.Errorf("%.200q: %q", s, text)
		}
	}
}

// FuzzCheckpoint: what is read is what was written, and its note's form is one
// that the library for signed notes knows.
func FuzzCheckpoint(f *testing.F) {
	f.Add(goodText + "\n" + goodSig)
	f.Add(goodText + "Timestamp: 1\n\n" + goodSig + goodSig)
	f.Fuzz(func(t *testing.T, s string) {
		text, err := NoteText(s)
		if err != nil {
			return
		}
		if _, err := note.Open([]byte(s), nil); err == nil ||
			!strings.Contains(err.Error(), "no verifiable signatures") {
			t.Fatalf("the library says %v", err)
		}
		c, err := ParseCheckpoint(text)
		if err != nil {
			return
		}
		want := fmt.Sprintf("%s\n%d\n%s\n%s", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]), c.Extension)
		if want != text || c.Size < 0 {
			t.Fatalf("%q is read as %q", text, want)
		}
	})
}
