// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

func TestPolicyVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "policy") {
		t.Run(v.Name, func(t *testing.T) {
			doc, err := Parse(v.Body)
			if v.Header["expect"] == "OK" {
				if err != nil {
					t.Fatal(err)
				}
				if doc.Digest().Hex == "" || doc.Pin(Ids{}) == nil {
					t.Error("no document")
				}
				return
			}
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("accepted, or another kind of error: %v", err)
			}
			if doc != nil {
				t.Error("a document beside an error")
			}
			found := false
			for _, p := range pe.Problems {
				found = found || string(p.Reason) == v.Header["reason"]
			}
			if !found {
				t.Errorf("got %v, want reason %s", pe.Problems, v.Header["reason"])
			}
			if got := pe.Reason().Class().String(); got != v.Header["expect"] {
				t.Errorf("class %s", got)
			}
			if pos := v.Header["position"]; pos != "" && pe.Problems[0].Pos.String() != pos {
				t.Errorf("at %s, want %s", pe.Problems[0].Pos, pos)
			}
		})
	}
}

// TestSchemaAgrees compares the JSON Schema with the parser on every vector that
// a schema can see.
func TestSchemaAgrees(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../schema/policy-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors.Read(t, "policy") {
		var raw map[string]any
		err := toml.Unmarshal(v.Body, &raw)
		if err == nil {
			err = schema.Validate(plain(t, raw))
		}
		if v.Header["schema"] == "blind" {
			if err != nil {
				t.Errorf("%s: the schema is not blind: %v", v.Name, err)
			}
		} else if (err == nil) != (v.Header["expect"] == "OK") {
			t.Errorf("%s: the schema says %v, the parser %s", v.Name, err, v.Header["expect"])
		}
	}
}

// plain turns what TOML gives into what JSON gives.
func plain(t *testing.T, raw map[string]any) any {
	t.Helper()
	var conv func(v any) any
	conv = func(v any) any {
		switch v := v.(type) {
		case time.Time:
			return v.UTC().Format(timeFormat)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Sprint(v) // JSON has no such number
			}
		case map[string]any:
			for k := range v {
				v[k] = conv(v[k])
			}
		case []any:
			for i := range v {
				v[i] = conv(v[i])
			}
		}
		return v
	}
	data, err := json.Marshal(conv(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPatternVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "pattern") {
		p, err := ParsePattern(v.Field("pattern"))
		got := "INVALID"
		if err == nil {
			got = map[bool]string{true: "OK", false: "DENY"}[p.Match(v.Field("name"))]
		}
		if got != v.Header["expect"] {
			t.Errorf("%s: %s (%v)", v.Name, got, err)
		}
	}
}

func TestLocatorVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "locator") {
		l, err := NormalizeLocator(v.Field("input"))
		if (err == nil) != (v.Header["expect"] == "OK") || l.String() != v.Field("canonical") {
			t.Errorf("%s: %q %v", v.Name, l, err)
		}
	}
}

func TestRefnameVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "refname") {
		if spelling.ValidTag(v.Field("tag")) != (v.Header["expect"] == "OK") {
			t.Errorf("%s: %q", v.Name, v.Field("tag"))
		}
	}
}

// TestReasonsTable keeps the contract of codes, classes and exit codes.
func TestReasonsTable(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || r.Text() == "" || r.Class() == classUnset {
			t.Errorf("%s: twice, without text or without class", r)
		}
		seen[r] = true
		if (r.Class() == ClassOK) != (r == Allowed || r == Adopted || r == AllowedUnbound) {
			t.Errorf("%s is of class %s", r, r.Class())
		}
	}
	want := map[string]int{
		"OK": 0, "DENY": 1, "USAGE": 2, "UNAVAILABLE": 3, "AUTH": 4, "NO_POLICY": 5,
		"INVALID": 6, "ALARM": 7, "STALE": 8, "INTERNAL": 70,
	}
	for _, c := range Classes() {
		if want[c.String()] != c.Exit() || c.Meaning() == "" {
			t.Errorf("%s exits %d", c, c.Exit())
		}
	}
	if len(Classes()) != len(want) || Class(99).Exit() != 70 || classUnset.Exit() != 70 ||
		Reason("nonsense").Class() != ClassInternal {
		t.Error("an unknown class or code must be INTERNAL")
	}
	if Worst() != ClassDeny || Worst(ClassOK, ClassStale) != ClassStale ||
		Worst(ClassOK, classUnset) != ClassInternal ||
		Worst(ClassInvalid, ClassDeny) != ClassDeny {
		t.Error("the worst class")
	}
	for _, kind := range []string{"policy"} {
		for _, v := range vectors.Read(t, kind) {
			if r := v.Header["reason"]; r != "" && !seen[Reason(r)] {
				t.Errorf("%s: unknown reason %s", v.Name, fmt.Sprint(r))
			}
		}
	}
}
