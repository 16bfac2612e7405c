// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// vector is one file of schema/testdata: header lines, an empty line, and
// sections that begin with "-- name --".
type vector struct {
	name     string
	header   map[string]string
	sections map[string]string
}

func vectors(t testing.TB, kind string, headers ...string) []vector {
	t.Helper()
	files, err := filepath.Glob("../schema/testdata/" + kind + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors of kind %s: %v", kind, err)
	}
	reasons := map[string]policy.Class{}
	for _, r := range policy.Reasons() {
		reasons[string(r.Code)] = r.Class
	}
	var out []vector
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		head, body, ok := strings.Cut(string(data), "\n\n")
		if !ok {
			t.Fatalf("%s: no empty line after the header", f)
		}
		v := vector{strings.TrimSuffix(filepath.Base(f), ".txt"), map[string]string{}, map[string]string{}}
		for line := range strings.SplitSeq(head, "\n") {
			k, val, ok := strings.Cut(line, ": ")
			if !ok || !strings.Contains(" expect reason requirement source "+strings.Join(headers, " ")+" ", " "+k+" ") {
				t.Fatalf("%s: %q is no header line", f, line)
			}
			v.header[k] = val
		}
		if v.header["expect"] == "" || v.header["requirement"] == "" || v.header["source"] == "" {
			t.Errorf("%s: a header is missing", f)
		}
		if r := v.header["reason"]; r != "" && reasons[r].String() != v.header["expect"] {
			t.Errorf("%s: %s is not of class %s", f, r, v.header["expect"])
		}
		name := ""
		for line := range strings.Lines(body) {
			if n, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(n, " --\n") {
				name = strings.TrimSuffix(n, " --\n")
				v.sections[name] = ""
			} else if name == "" {
				t.Fatalf("%s: text before the first section", f)
			} else {
				v.sections[name] += line
			}
		}
		out = append(out, v)
	}
	return out
}

func TestStatementVectors(t *testing.T) {
	for _, v := range vectors(t, "statement", "digest", "pae", "previous") {
		t.Run(v.name, func(t *testing.T) {
			payload := []byte(strings.TrimSuffix(v.sections["payload"], "\n"))
			s, err := ParseStatement(payload)
			if (err == nil) != (v.header["expect"] == "OK") || (err == nil) != (s.Err() == nil) {
				t.Fatalf("got %v, want %s", err, v.header["expect"])
			}
			if s.Digest() != policy.Sum(payload) || s.PAE() != chain.PAEDigest(payload) {
				t.Error("the digests are not those of the payload")
			}
			if err != nil {
				if s.Document() != nil {
					t.Error("a document beside an error")
				}
				return
			}
			if s.Digest() != v.header["digest"] || s.PAE() != v.header["pae"] || s.Previous() != v.header["previous"] {
				t.Errorf("digest %s, pae %s, previous %s", s.Digest(), s.PAE(), s.Previous())
			}
			text := v.sections["policy.toml"]
			if s.Document() == nil { // a newer format
				return
			}
			if s.Document().Digest().Hex != policy.Sum([]byte(text)) || s.Version() != s.Document().Content().Version || s.Repository() != s.Document().Content().Repository {
				t.Error("the statement and its policy differ")
			}
			again, err := Encode([]byte(text), v.header["previous"])
			if err != nil || !bytes.Equal(again, payload) {
				t.Errorf("encoded as %s (%v)", again, err)
			}
		})
	}
}

// TestEncodeRefuses: what cannot be a version is not encoded.
func TestEncodeRefuses(t *testing.T) {
	two := strings.ReplaceAll(testPolicy, "version = 1", "version = 2")
	for name, c := range map[string]struct{ text, previous string }{
		"invalid policy":             {"format = 1", ""},
		"CRLF":                       {strings.ReplaceAll(testPolicy, "\n", "\r\n"), ""},
		"newer format":               {strings.ReplaceAll(testPolicy, "policy/v1", "policy/v2"), ""},
		"genesis with previous":      {testPolicy, strings.Repeat("a", 64)},
		"second without previous":    {two, ""},
		"second after half a digest": {two, strings.Repeat("a", 32)},
	} {
		if out, err := Encode([]byte(c.text), c.previous); err == nil || out != nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

const testPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// FuzzStatement: what is accepted is the one encoding of what it says.
func FuzzStatement(f *testing.F) {
	for _, v := range vectors(f, "statement", "digest", "pae", "previous") {
		f.Add([]byte(strings.TrimSuffix(v.sections["payload"], "\n")))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := ParseStatement(payload)
		if s.Digest() != policy.Sum(payload) {
			t.Fatal("another digest")
		}
		if err != nil {
			return
		}
		var raw struct {
			Predicate struct {
				Previous string `json:"previous"`
				Policy   string `json:"policy"`
			} `json:"predicate"`
		}
		if err := json.Unmarshal(payload, &raw); err != nil {
			t.Fatal(err)
		}
		if s.Document() == nil {
			return
		}
		again, err := Encode([]byte(raw.Predicate.Policy), raw.Predicate.Previous)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("accepted, but encoded otherwise: %v", err)
		}
	})
}

// TestStatementCap: the largest policy fits, whatever it is made of.
func TestStatementCap(t *testing.T) {
	filler := strings.Repeat("#\"\\\"\\\"\\\n", policy.MaxPolicyBytes)
	text := testPolicy + filler
	text = text[:strings.LastIndex(text[:policy.MaxPolicyBytes], "\n")+1]
	payload, err := Encode([]byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseStatement(payload); err != nil {
		t.Error(err)
	}
	if _, err := ParseStatement(make([]byte, MaxStatementBytes+1)); err == nil {
		t.Error("a statement beyond the cap was read")
	}
}

func BenchmarkStatement(b *testing.B) {
	payload, err := Encode([]byte(testPolicy), "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParseStatement(payload); err != nil {
			b.Fatal(err)
		}
	}
}
