// SPDX-License-Identifier: Apache-2.0

package rekorbind_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

func TestStatementVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "statement") {
		t.Run(v.Name, func(t *testing.T) {
			payload := []byte(strings.TrimSuffix(v.Sections(t)["payload"], "\n"))
			s, err := rekorbind.ParseStatement(payload)
			if (err == nil) != (v.Header["expect"] == "OK") || (err == nil) != (s.Err() == nil) {
				t.Fatalf("got %v, want %s", err, v.Header["expect"])
			}
			if s.Digest() != spelling.Sum(payload) ||
				s.PAE() != spelling.Sum(dsse.PAE("application/vnd.in-toto+json", payload)) {
				t.Error("the digests are not those of the payload")
			}
			if err != nil {
				if s.Document() != nil {
					t.Error("a document beside an error")
				}
				return
			}
			if s.Digest() != v.Header["digest"] || s.PAE() != v.Header["pae"] || s.Previous() != v.Header["previous"] {
				t.Errorf("digest %s, pae %s, previous %s", s.Digest(), s.PAE(), s.Previous())
			}
			text := v.Sections(t)["policy.toml"]
			if s.Document() == nil { // a newer format
				return
			}
			if s.Document().Digest().Hex != spelling.Sum([]byte(text)) ||
				s.Version() != s.Document().Content().Version ||
				s.Repository() != s.Document().Content().Repository {
				t.Error("the statement and its policy differ")
			}
			again, err := rekorbind.Encode([]byte(text), v.Header["previous"])
			if err != nil || !bytes.Equal(again, payload) {
				t.Errorf("encoded as %s (%v)", again, err)
			}
		})
	}
}

// TestEncodeRefuses: what cannot be a version is not encoded.
func TestEncodeRefuses(t *testing.T) {
	two := strings.ReplaceAll(bindtest.TestPolicy, "version = 1", "version = 2")
	for name, c := range map[string]struct{ text, previous string }{
		"invalid policy":             {"format = 1", ""},
		"CRLF":                       {strings.ReplaceAll(bindtest.TestPolicy, "\n", "\r\n"), ""},
		"newer format":               {strings.ReplaceAll(bindtest.TestPolicy, "policy/v1", "policy/v2"), ""},
		"genesis with previous":      {bindtest.TestPolicy, strings.Repeat("a", 64)},
		"second without previous":    {two, ""},
		"second after half a digest": {two, strings.Repeat("a", 32)},
	} {
		if out, err := rekorbind.Encode([]byte(c.text), c.previous); err == nil || out != nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// FuzzStatement: what is accepted is the one encoding of what it says.
func FuzzStatement(f *testing.F) {
	for _, v := range vectors.Read(f, "statement") {
		f.Add([]byte(strings.TrimSuffix(v.Sections(f)["payload"], "\n")))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, err := rekorbind.ParseStatement(payload)
		if s.Digest() != spelling.Sum(payload) {
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
		again, err := rekorbind.Encode([]byte(raw.Predicate.Policy), raw.Predicate.Previous)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("accepted, but encoded otherwise: %v", err)
		}
	})
}

// TestStatementCap: the largest policy fits, whatever it is made of.
func TestStatementCap(t *testing.T) {
	filler := strings.Repeat("#\"\\\"\\\"\\\n", spelling.MaxPolicyBytes)
	text := bindtest.TestPolicy + filler
	text = text[:strings.LastIndex(text[:spelling.MaxPolicyBytes], "\n")+1]
	payload, err := rekorbind.Encode([]byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rekorbind.ParseStatement(payload); err != nil {
		t.Error(err)
	}
	if _, err := rekorbind.ParseStatement(make([]byte, spelling.MaxStatementBytes+1)); err == nil {
		t.Error("a statement beyond the cap was read")
	}
}

func BenchmarkStatement(b *testing.B) {
	payload, err := rekorbind.Encode([]byte(bindtest.TestPolicy), "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := rekorbind.ParseStatement(payload); err != nil {
			b.Fatal(err)
		}
	}
}
