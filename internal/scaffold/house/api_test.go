// SPDX-License-Identifier: Apache-2.0

package house

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/go/packages"
)

var update = flag.Bool("update", false, "write the golden files of the public packages")

// public are the packages that others build on.
var public = []string{".", "./policy", "./policy/chain", "./oidc", "./rekorbind"}

// TestAPI: what the public packages export is written down, so that it changes only on
// purpose: go test ./internal/scaffold/house -run TestAPI -update.
func TestAPI(t *testing.T) {
	for _, pkg := range public {
		cmd := exec.Command("go", "doc", "-all", pkg)
		var diagnostics bytes.Buffer
		cmd.Stderr = &diagnostics
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, &diagnostics)
		}
		// How the first line calls the import path depends on the flags of the go command.
		if head, rest, ok := bytes.Cut(got, []byte("\n")); ok {
			head, _, _ = bytes.Cut(head, []byte(" // import"))
			got = slices.Concat(head, []byte("\n"), rest)
		}
		name := cmp.Or(strings.ReplaceAll(strings.TrimLeft(pkg, "./"), "/", "-"), "repopolicy")
		golden := filepath.Join("internal", "scaffold", "house", "testdata", name+".txt")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := read(t, golden); !bytes.Equal(got, want) {
			t.Errorf("the public package %q has changed; look at it with -update and git diff", pkg)
		}
	}
}

// TestPublicTypes: whoever builds on the public packages meets no type in them that they
// cannot name, and no more than a person can learn.
func TestPublicTypes(t *testing.T) {
	const most = 150 // names at the top level, but for reason codes; it only falls
	loaded, err := packages.Load(
		&packages.Config{Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps},
		public...)
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			t.Fatal(p.Errors)
		}
		scope := p.Types.Scope()
		for _, name := range scope.Names() {
			o := scope.Lookup(name)
			if !o.Exported() {
				continue
			}
			if c, ok := o.(*types.Const); !ok || !strings.HasSuffix(c.Type().String(), ".Reason") {
				names++
			}
			s := signatures{seen: map[types.Type]bool{}}
			s.object(o)
			for _, where := range s.hidden {
				t.Errorf("%s.%s: %s", p.PkgPath, name, where)
			}
		}
	}
	if names == 0 || names > most {
		t.Errorf("%d names, at most %d", names, most)
	}
	t.Logf("%d names at the top level of the public packages", names)
}

// signatures looks for types of internal packages in what an object exports.
type signatures struct {
	seen   map[types.Type]bool
	hidden []string
}

func (s *signatures) object(o types.Object) {
	s.typ(o.Name(), o.Type())
	named, ok := o.Type().(*types.Named)
	if _, isType := o.(*types.TypeName); !isType || !ok {
		return
	}
	for m := range named.Methods() {
		if m.Exported() {
			s.typ(o.Name()+"."+m.Name(), m.Type())
		}
	}
	s.typ(o.Name(), named.Underlying())
}

func (s *signatures) typ(where string, t types.Type) {
	if s.seen[t] {
		return
	}
	s.seen[t] = true
	switch t := t.(type) {
	case *types.Named:
		if p := t.Obj().Pkg(); p != nil && strings.HasPrefix(p.Path(), module+"/internal/") {
			s.hidden = append(s.hidden, fmt.Sprintf("%s names %s", where, t))
		}
		for a := range t.TypeArgs().Types() {
			s.typ(where, a)
		}
	case *types.Alias:
		s.typ(where, types.Unalias(t))
	case *types.Pointer:
		s.typ(where, t.Elem())
	case *types.Slice:
		s.typ(where, t.Elem())
	case *types.Array:
		s.typ(where, t.Elem())
	case *types.Chan:
		s.typ(where, t.Elem())
	case *types.Map:
		s.typ(where, t.Key())
		s.typ(where, t.Elem())
	case *types.Signature:
		for v := range t.Params().Variables() {
			s.typ(where, v.Type())
		}
		for v := range t.Results().Variables() {
			s.typ(where, v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				s.typ(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			s.typ(where+"."+m.Name(), m.Type())
		}
	}
}

// TestRoot: the top of the repository stays what a stranger can read.
func TestRoot(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	tracked, err := exec.Command("git", "ls-files").Output()
	if err != nil {
		t.Skip("not a clone: ", err)
	}
	var rooms, files []string
	for _, e := range entries {
		name := e.Name()
		within := func(f string) bool { return f == name || strings.HasPrefix(f, name+"/") }
		switch {
		case strings.HasPrefix(name, "."):
		case !slices.ContainsFunc(strings.Split(string(tracked), "\n"), within):
		case strings.HasSuffix(name, ".go"):
			files = append(files, name)
		default:
			rooms = append(rooms, name)
		}
	}
	if len(rooms) > 18 || len(files) > 8 {
		t.Errorf(
			"%d entries %q, at most 18; %d files of the root package %q, at most 8", len(rooms), rooms, len(files),
			files,
		)
	}
}

// TestColumns: lines that nobody can read beside another file become fewer. Who has made some
// shorter writes the new number here.
func TestColumns(t *testing.T) {
	const widest = 120
	for ext, want := range map[string]int{".go": 735, ".md": 355} {
		out, err := exec.Command("git", "ls-files", "*"+ext).Output()
		if err != nil {
			t.Skip("not a clone: ", err)
		}
		got := 0
		for name := range strings.FieldsSeq(string(out)) {
			for line := range strings.Lines(string(read(t, name))) {
				if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > widest {
					got++
				}
			}
		}
		switch {
		case got > want:
			t.Errorf(
				"%d lines of *%s files are wider than %d columns, %d before; the number only falls", got, ext, widest,
				want,
			)
		case got < want:
			t.Logf("*%s: write %d instead of %d", ext, got, want)
		}
	}
}
