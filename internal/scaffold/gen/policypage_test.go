// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/repopolicy/repopolicy/policy"
)

const repository = "../../.." // its root

// everyTable is a policy in which every table stands that there is.
const everyTable = `
format     = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version    = 1
expires    = 2027-11-22T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name      = "workflow"
tags      = ["v*"]
artifacts = ["widget"]
workflow  = ".github/workflows/release.yml"

[[release]]
name      = "checked"
tags      = ["w*"]
artifacts = ["widget"]
workflow  = ".github/workflows/release.yml"
[release.approvals]
threshold = 1
from      = "releasers"
[release.preflight]
actors = ["alice"]

[[release]]
name       = "people"
tags       = ["x*"]
artifacts  = ["widget"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name      = "keys"
tags      = ["y*"]
artifacts = ["widget"]
[[release.keys]]
root   = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
target = "release.pub"

[[release]]
name      = "listed"
tags      = ["z*"]
artifacts = ["widget"]
[release.tuf]
root = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
role = "targets"
path = "{name}"

[[revoked]]
identity = { email = "mallory@example.com", issuer = "https://accounts.google.com" }
[[yanked]]
tag = "v1"
[[restored]]
identity = { email = "mallory@example.com", issuer = "https://accounts.google.com" }
[[adopted]]
tag     = "v0"
digests = ["gitCommit:0123456789012345678901234567890123456789"]
[[void]]
leaf = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
[[acknowledged]]
evidence = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
[handover]
repository-id = "1"
[recovery]
delay = "90d"
`

type table = map[string]any

// everything returns the policy with every table, to be changed.
func everything(t *testing.T) table {
	t.Helper()
	var top table
	if err := toml.Unmarshal([]byte(everyTable), &top); err != nil {
		t.Fatal(err)
	}
	return top
}

// tablesAt returns the tables of a policy that stand at a path as the page has it.
func tablesAt(top table, path string) []table {
	if path == identity {
		return slices.Concat(tablesAt(top, "maintainers.member.identities"), tablesAt(top, "release.identities"),
			tablesAt(top, "revoked.identity"), tablesAt(top, "restored.identity"))
	}
	at := []table{top}
	for name := range strings.SplitSeq(path, ".") {
		if name == "" {
			continue
		}
		var next []table
		for _, m := range at {
			items, ok := m[name].([]any)
			if !ok {
				items = []any{m[name]}
			}
			for _, i := range items {
				if m, ok := i.(table); ok {
					next = append(next, m)
				}
			}
		}
		at = next
	}
	return at
}

// written returns a policy as text.
func written(t *testing.T, top table) []byte {
	t.Helper()
	data, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	v, err := tomlValue(data)
	if err != nil {
		t.Fatal(err)
	}
	var values, tables strings.Builder
	for _, m := range v.members {
		if many := len(m.value.items) > 0 && m.value.items[0].members != nil; many || m.value.members != nil {
			tables.WriteString(m.value.table(m.name, many))
		} else {
			values.WriteString(m.name + " = " + m.value.inline(false) + "\n")
		}
	}
	return []byte(values.String() + tables.String())
}

// example is a block of the page under the heading of a key.
type example struct{ path, key, text string }

// pageExamples reads docs/policy.md.
func pageExamples(t *testing.T) []example {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(repository, "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out []example
	for _, part := range strings.Split(string(page), "\n### `")[1:] {
		full, rest, _ := strings.Cut(part, "`")
		_, block, ok := strings.Cut(rest, "\n```toml\n")
		block, _, end := strings.Cut(block, "```\n")
		if !ok || !end {
			t.Errorf("%s has no example", full)
		}
		i := max(strings.LastIndexByte(full, '.'), 0)
		out = append(out, example{full[:i], strings.TrimPrefix(full[i:], "."), block})
	}
	return out
}

// TestExamples: every example of docs/policy.md may stand in a policy, where its heading says.
func TestExamples(t *testing.T) {
	examples := pageExamples(t)
	if len(examples) < 60 {
		t.Fatalf("the page has %d examples", len(examples))
	}
	for _, e := range examples {
		var m table
		if err := toml.Unmarshal([]byte(e.text), &m); err != nil {
			t.Errorf("%s.%s: %s", e.path, e.key, err)
			continue
		}
		value, ok := m[e.key]
		if !ok { // it stands in tables that lead to it
			if in := tablesAt(m, e.path); len(in) == 1 {
				value, ok = in[0][e.key]
			}
		}
		if !ok || !fits(t, e, value) {
			t.Errorf("%s.%s: no policy may say\n%s", e.path, e.key, e.text)
		}
	}
}

// fits reports whether some table at the path may have the value, if it may lose a key that does not go with it.
func fits(t *testing.T, e example, value any) bool {
	t.Helper()
	for i, at := range tablesAt(everything(t), e.path) {
		for _, without := range append(slices.Sorted(maps.Keys(at)), "") {
			top := everything(t)
			at := tablesAt(top, e.path)[i]
			delete(at, without)
			at[e.key] = value
			if _, err := policy.Parse(written(t, top)); err == nil {
				return true
			}
		}
	}
	return false
}

// TestEveryKey: what the decoder of policies knows is described in the schema and on the page, and nothing else is.
func TestEveryKey(t *testing.T) {
	if _, err := policy.Parse(written(t, everything(t))); err != nil {
		t.Fatal(err)
	}
	tables, err := policySchema(repository)
	if err != nil {
		t.Fatal(err)
	}
	onPage := map[string]bool{}
	for _, e := range pageExamples(t) {
		onPage[e.path+"."+e.key] = true
	}
	words := words(t)
	for _, in := range tables {
		if len(tablesAt(everything(t), in.path)) == 0 {
			t.Errorf("everyTable has no table %s", in.path)
		}
		described := map[string]bool{}
		for _, k := range in.keys {
			described[k.name] = true
			if !onPage[in.path+"."+k.name] {
				t.Errorf("docs/policy.md has no %s.%s: run go generate ./...", in.path, k.name)
			}
			if !known(t, in.path, k.name) {
				t.Errorf("%s.%s is described, and the decoder does not know it", in.path, k.name)
			}
		}
		for _, w := range words {
			if !described[w] && known(t, in.path, w) {
				t.Errorf("the decoder takes %s.%s, which schema/policy-v1.json does not describe", in.path, w)
			}
		}
	}
}

// words returns every text of the package that decodes policies that a key may be.
func words(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "policy", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("no sources of the decoder: ", err)
	}
	seen := map[string]bool{"no-such-key": true}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && mayBeKey(s) {
					seen[s] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(seen))
}

func mayBeKey(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// known reports whether the decoder knows a key in some table at the path.
func known(t *testing.T, path, key string) bool {
	t.Helper()
	for i := range tablesAt(everything(t), path) {
		top := everything(t)
		at := tablesAt(top, path)[i]
		if _, there := at[key]; there {
			return true // in a policy that is valid
		}
		at[key] = int64(0)
		_, err := policy.Parse(written(t, top))
		var pe *policy.ParseError
		if !errors.As(err, &pe) {
			return true
		}
		if !slices.ContainsFunc(pe.Problems, func(p policy.Problem) bool {
			return p.Reason == policy.PolicyUnknownKey && strings.HasSuffix("."+p.Path, "."+key)
		}) {
			return true
		}
	}
	return false
}

// TestPage: the page is the one that the schema makes.
func TestPage(t *testing.T) {
	root := t.TempDir()
	schema, err := filepath.Abs(filepath.Join(repository, "schema"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(schema, filepath.Join(root, "schema")), os.Mkdir(filepath.Join(root, "docs"), 0o755),
		policyPage(root)); err != nil {
		t.Fatal(err)
	}
	want, err1 := os.ReadFile(filepath.Join(root, "docs", "policy.md"))
	got, err2 := os.ReadFile(filepath.Join(repository, "docs", "policy.md"))
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/policy.md is out of date: run go generate ./... (%v)", err)
	}
	for _, e := range pageExamples(t) {
		if link := "(#" + anchor(strings.TrimPrefix(e.path+"."+e.key, ".")) + ")"; !bytes.Contains(got, []byte(link)) {
			t.Errorf("no link %s leads to a key", link)
		}
	}
}

// TestSchemaWords: a key about which something is left unsaid has no page.
func TestSchemaWords(t *testing.T) {
	const required = `"required": ["k"], `
	for name, c := range map[string]struct{ schema, want string }{
		"good":        {`{"properties": {"k": {"description": "A. Default: b.", "examples": [1]}}}`, ""},
		"required":    {`{` + required + `"properties": {"k": {"description": "A.", "examples": [1]}}}`, ""},
		"no words":    {`{"properties": {"k": {"examples": [1]}}}`, "k: has no description"},
		"no default":  {`{"properties": {"k": {"description": "A.", "examples": [1]}}}`, "what holds without it"},
		"two answers": {`{` + required + `"properties": {"k": {"description": "A. Default: b."}}}`, "is required and has"},
		"no example":  {`{"properties": {"k": {"description": "A. Default: b."}}}`, "wants one example"},
		"hidden": {
			`{"properties": {"k": {"description": "A. Default: b.", "examples": [1], "$ref": "#/$defs/d"}}, "$defs": {"d": {}}}`,
			"editors do not show",
		},
		"in a table": {
			`{"properties": {"t": {"description": "A. Default: b.", "examples": [{}], "properties": {"k": {}}}}}`,
			"t.k: has no description",
		},
		"in a list": {
			`{"properties": {"t": {"description": "A. Default: b.", "examples": [[]], "items": {"anyOf": [` +
				`{"type": "string"}, {"$ref": "#/$defs/d"}]}}}, "$defs": {"d": {"properties": {"k": {}}}}}`,
			"t.k: has no description",
		},
		"no schema": {`{"properties": []}`, "cannot unmarshal"},
	} {
		root := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(root, "schema"), 0o755), os.WriteFile(
			filepath.Join(root, "schema", "policy-v1.json"), []byte(c.schema), 0o644)); err != nil {
			t.Fatal(err)
		}
		_, err := policySchema(root)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTime: what a date-time is told by is what the decoder takes for one.
func TestTime(t *testing.T) {
	for s, want := range map[string]bool{
		"2027-11-22T00:00:00Z": true, "2027-11-22T00:00:00": false, "v2027": false, "2027-11-22T00:00:00+01:00": false,
	} {
		if _, err := time.Parse("2006-01-02T15:04:05Z", s); isTime(s) != want || (err == nil) != want {
			t.Errorf("%s: %v", s, err)
		}
	}
}
