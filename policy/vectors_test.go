// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// vector is one file of schema/testdata: header lines, an empty line, the body.
type vector struct {
	name   string
	header map[string]string
	body   []byte
}

func vectors(t testing.TB, kind string) []vector {
	t.Helper()
	files, err := filepath.Glob("../schema/testdata/" + kind + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors of kind %s: %v", kind, err)
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
		v := vector{strings.TrimSuffix(filepath.Base(f), ".txt"), map[string]string{}, []byte(body)}
		for line := range strings.SplitSeq(head, "\n") {
			k, val, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: %q is no header line", f, line)
			}
			v.header[k] = val
		}
		for _, k := range []string{"expect", "requirement", "source"} {
			if v.header[k] == "" {
				t.Errorf("%s: no %s", f, k)
			}
		}
		out = append(out, v)
	}
	return out
}

// field returns the value of a body line "name: value".
func (v vector) field(name string) string {
	for line := range strings.SplitSeq(string(v.body), "\n") {
		if val, ok := strings.CutPrefix(line, name+": "); ok {
			return val
		}
	}
	return ""
}

func TestPolicyVectors(t *testing.T) {
	for _, v := range vectors(t, "policy") {
		t.Run(v.name, func(t *testing.T) {
			doc, err := Parse(v.body)
			if v.header["expect"] == "OK" {
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
				found = found || string(p.Reason) == v.header["reason"]
			}
			if !found {
				t.Errorf("got %v, want reason %s", pe.Problems, v.header["reason"])
			}
			if got := pe.Reason().Class().String(); got != v.header["expect"] {
				t.Errorf("class %s", got)
			}
			if pos := v.header["position"]; pos != "" && pe.Problems[0].Pos.String() != pos {
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
	for _, v := range vectors(t, "policy") {
		var raw map[string]any
		err := toml.Unmarshal(v.body, &raw)
		if err == nil {
			err = schema.Validate(plain(t, raw))
		}
		if v.header["schema"] == "blind" {
			if err != nil {
				t.Errorf("%s: the schema is not blind: %v", v.name, err)
			}
		} else if (err == nil) != (v.header["expect"] == "OK") {
			t.Errorf("%s: the schema says %v, the parser %s", v.name, err, v.header["expect"])
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
	for _, v := range vectors(t, "pattern") {
		p, err := ParsePattern(v.field("pattern"))
		got := "INVALID"
		if err == nil {
			got = map[bool]string{true: "OK", false: "DENY"}[p.Match(v.field("name"))]
		}
		if got != v.header["expect"] {
			t.Errorf("%s: %s (%v)", v.name, got, err)
		}
	}
}

func TestLocatorVectors(t *testing.T) {
	for _, v := range vectors(t, "locator") {
		l, err := NormalizeLocator(v.field("input"))
		if (err == nil) != (v.header["expect"] == "OK") || l.String() != v.field("canonical") {
			t.Errorf("%s: %q %v", v.name, l, err)
		}
	}
}

func TestRefnameVectors(t *testing.T) {
	for _, v := range vectors(t, "refname") {
		if ValidTag(v.field("tag")) != (v.header["expect"] == "OK") {
			t.Errorf("%s: %q", v.name, v.field("tag"))
		}
	}
}

// TestReasonsTable keeps the contract of codes, classes and exit codes.
func TestReasonsTable(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r.Code] || r.Text == "" || r.Class == ClassUnset {
			t.Errorf("%s: twice, without text or without class", r.Code)
		}
		seen[r.Code] = true
		if (r.Class == ClassOK) != (r.Code == Allowed || r.Code == Adopted) {
			t.Errorf("%s is of class %s", r.Code, r.Class)
		}
	}
	want := map[string]int{"OK": 0, "DENY": 1, "USAGE": 2, "UNAVAILABLE": 3, "AUTH": 4, "NO_POLICY": 5, "INVALID": 6, "ALARM": 7, "STALE": 8, "INTERNAL": 70}
	for _, c := range Classes() {
		if want[c.String()] != c.Exit() || c.Meaning() == "" {
			t.Errorf("%s exits %d", c, c.Exit())
		}
	}
	if len(Classes()) != len(want) || Class(99).Exit() != 70 || ClassUnset.Exit() != 70 || Reason("nonsense").Class() != ClassInternal {
		t.Error("an unknown class or code must be INTERNAL")
	}
	if Worst() != ClassDeny || Worst(ClassOK, ClassStale) != ClassStale || Worst(ClassOK, ClassUnset) != ClassInternal || Worst(ClassInvalid, ClassDeny) != ClassDeny {
		t.Error("the worst class")
	}
	for _, kind := range []string{"policy"} {
		for _, v := range vectors(t, kind) {
			if r := v.header["reason"]; r != "" && !seen[Reason(r)] {
				t.Errorf("%s: unknown reason %s", v.name, fmt.Sprint(r))
			}
		}
	}
}
