// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const checkedWhere = "docs/design/004-what-is-checked-where.md"

// TestCheckedWhere: the sections, functions and tests that the table of design 004
// names are there.
func TestCheckedWhere(t *testing.T) {
	doc, err := os.ReadFile(checkedWhere)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile(filepath.Join("schema", "SPEC.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	rows := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 4 || strings.TrimSpace(cells[0]) == "SPEC" {
			continue
		}
		rows++
		if section := strings.TrimSpace(cells[0]); !strings.Contains(string(spec), "\n### "+section+" ") &&
			!strings.Contains(string(spec), "\n## "+section+". ") {
			t.Errorf("the specification has no section %s", section)
		}
		for i, cell := range cells[2:] {
			names := strings.Fields(strings.ReplaceAll(cell, "`", ""))
			if len(names) == 0 {
				t.Errorf("nothing is named for %q", strings.TrimSpace(cells[1]))
			}
			for _, name := range names {
				at := strings.LastIndex(name, "/") + 1
				room, function, _ := strings.Cut(name[at:], ".")
				room = name[:at] + room
				if known[room] == nil {
					known[room] = functions(t, room)
				}
				isTest := strings.HasPrefix(function, "Test") || strings.HasPrefix(function, "Fuzz")
				if test := i == 1; isTest != test || !known[room][function] {
					t.Errorf("%s: no such function or test", name)
				}
			}
		}
	}
	if rows < 10 {
		t.Errorf("only %d rows of the table are read", rows)
	}
}

// TestThreatModel: each row of the table of the threat model names tests that are there.
func TestThreatModel(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	rows := 0
	_, table, _ := strings.Cut(string(doc), "| who | tries | answer | tests |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		rows++
		names := strings.Fields(strings.ReplaceAll(cells[len(cells)-1], "`", ""))
		if len(cells) != 4 || len(names) == 0 {
			t.Errorf("nothing tries %q", strings.TrimSpace(cells[0]))
		}
		for _, name := range names {
			room, test, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ".")
			room = name[:strings.LastIndex(name, "/")+1] + room
			if known[room] == nil {
				known[room] = functions(t, room)
			}
			if !strings.HasPrefix(test, "Test") || !known[room][test] {
				t.Errorf("%s: no such test", name)
			}
		}
	}
	if rows < 20 {
		t.Errorf("only %d rows of the table are read", rows)
	}
}

// TestLong: the tests that .ci/long runs by name are there.
func TestLong(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(".ci", "long"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(script)) {
		words, at := strings.Fields(strings.ReplaceAll(line, "'", "")), ""
		if i := slices.Index(words, "-C"); i >= 0 {
			at = words[i+1]
		}
		i := slices.Index(words, "-run")
		if i < 0 {
			continue
		}
		rows++
		there := functions(t, filepath.ToSlash(filepath.Join(at, words[len(words)-1])))
		for name := range strings.SplitSeq(words[i+1], "|") {
			if !there[name] {
				t.Errorf("%s: no such test", name)
			}
		}
	}
	if rows < 5 {
		t.Errorf("only %d lines are read", rows)
	}
}

// functions returns the functions of a package as "name" or "Type.name": tests from
// its test files, others from the rest.
func functions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	out := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			full := fn.Name.Name
			if fn.Recv != nil {
				typ := fn.Recv.List[0].Type
				if star, ok := typ.(*ast.StarExpr); ok {
					typ = star.X
				}
				if id, ok := typ.(*ast.Ident); ok {
					full = id.Name + "." + full
				}
			}
			isTest := fn.Recv == nil && (strings.HasPrefix(full, "Test") || strings.HasPrefix(full, "Fuzz"))
			if isTest == strings.HasSuffix(name, "_test.go") {
				out[full] = true
			}
		}
	}
	return out
}
