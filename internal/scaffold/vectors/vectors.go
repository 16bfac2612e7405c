// SPDX-License-Identifier: Apache-2.0

// Package vectors reads the files of schema/testdata, for tests.
package vectors

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Vector is one file of schema/testdata: header lines, an empty line, the body.
type Vector struct {
	Name   string
	Header map[string]string
	Body   []byte
}

// Root returns the root of the repository, above the directory that a test runs in.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "schema", "testdata")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no schema/testdata above here")
		}
		dir = filepath.Dir(dir)
	}
}

// Schema returns a JSON Schema of the directory schema, by its file name.
func Schema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	out, err := jsonschema.NewCompiler().Compile(filepath.Join(Root(t), "schema", name))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Read returns all vectors of a kind.
func Read(t testing.TB, kind string) []Vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Root(t), "schema", "testdata", kind, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors of kind %s: %v", kind, err)
	}
	var out []Vector
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		head, body, ok := strings.Cut(string(data), "\n\n")
		if !ok {
			t.Fatalf("%s: no empty line after the header", f)
		}
		v := Vector{strings.TrimSuffix(filepath.Base(f), ".txt"), map[string]string{}, []byte(body)}
		for line := range strings.SplitSeq(head, "\n") {
			k, val, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: %q is no header line", f, line)
			}
			v.Header[k] = val
		}
		for _, k := range []string{"expect", "requirement", "source"} {
			if v.Header[k] == "" {
				t.Errorf("%s: no %s", f, k)
			}
		}
		out = append(out, v)
	}
	return out
}

// Field returns the value of a body line "name: value".
func (v Vector) Field(name string) string {
	for line := range strings.SplitSeq(string(v.Body), "\n") {
		if val, ok := strings.CutPrefix(line, name+": "); ok {
			return val
		}
	}
	return ""
}

// Sections splits the body into its "-- name --" parts.
func (v Vector) Sections(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(string(v.Body)) {
		if n, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(n, " --\n") {
			name = strings.TrimSuffix(n, " --\n")
			out[name] = ""
			continue
		}
		if name == "" {
			t.Fatalf("text before the first section: %q", line)
		}
		out[name] += line
	}
	return out
}

// Strict reads JSON without unknown keys.
func Strict(t testing.TB, text string, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatal(err)
	}
}
