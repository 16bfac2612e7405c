// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
)

// switchSource is added to the package.
const switchSource = `package %s

import (
	"os"
	"strconv"
)

var mutantActive, _ = strconv.Atoi(os.Getenv("MUTANT"))

func mutantErr(n int, err error) error {
	if n == mutantActive {
		return nil
	}
	return err
}

func mutantInt[T any](n int, a, b T) T {
	if n == mutantActive {
		return b
	}
	return a
}
`

// mutant is one change of one file.
type mutant struct {
	number int // from 1
	pos    string
	what   string
}

// edit replaces the bytes from start to end.
type edit struct {
	start, end int
	text       string
}

// generator compiles all mutants of some files into these files.
type generator struct {
	mutants []mutant
	fset    *token.FileSet
	path    string
	src     []byte
	cond    map[ast.Expr]bool // conditions of if and of switches without a value
	ret     map[ast.Expr]bool // results
}

// swaps are the operators of conditions and what each becomes.
var swaps = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
}

var opposite = map[string]string{"Before": "After", "After": "Before", "true": "false", "false": "true"}

// file returns the file with a switch at each place that can be changed, and the
// name of its package.
func (g *generator) file(path string) ([]byte, string, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	g.fset, g.path, g.src, g.cond, g.ret = token.NewFileSet(), path, src, map[ast.Expr]bool{}, map[ast.Expr]bool{}
	f, err := parser.ParseFile(g.fset, path, src, 0)
	if err != nil {
		return nil, "", err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			g.cond[n.Cond] = true
		case *ast.SwitchStmt:
			for _, c := range n.Body.List {
				for _, e := range c.(*ast.CaseClause).List {
					g.cond[e] = n.Tag == nil
				}
			}
		case *ast.ReturnStmt:
			for _, r := range n.Results {
				g.ret[r] = true
			}
		}
		return true
	})
	return g.apply(0, len(src), g.edits(f)), f.Name.Name, nil
}

func (g *generator) offset(p token.Pos) int { return g.fset.Position(p).Offset }

// apply returns the source from start to end with the edits in it.
func (g *generator) apply(start, end int, edits []edit) []byte {
	var out []byte
	for _, e := range edits {
		out = append(append(out, g.src[start:e.start]...), e.text...)
		start = e.end
	}
	return append(out, g.src[start:end]...)
}

// edits returns the edits of a node and everything below it, in order.
func (g *generator) edits(n ast.Node) []edit {
	if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
		return nil
	}
	var below []edit
	for _, c := range children(n) {
		below = append(below, g.edits(c)...)
	}
	slices.SortFunc(below, func(a, b edit) int { return a.start - b.start })
	start, end := g.offset(n.Pos()), g.offset(n.End())
	text := string(g.src[start:end])
	inner := string(g.apply(start, end, below))
	one := func(s string) []edit { return []edit{{start, end, s}} }
	switch n := n.(type) {
	case *ast.BranchStmt:
		if n.Tok == token.CONTINUE && n.Label == nil {
			return one(fmt.Sprintf("if mutantActive != %d { continue }", g.add(start, "continue is left out")))
		}
	case *ast.Ident:
		switch {
		case g.ret[n] && n.Name == "err":
			return one(fmt.Sprintf("mutantErr(%d, err)", g.add(start, "return err becomes return nil")))
		case g.ret[n] && opposite[n.Name] != "":
			number := g.add(start, "return "+n.Name+" becomes its opposite")
			return one(fmt.Sprintf("((mutantActive == %d) != %s)", number, n.Name))
		}
	case *ast.BinaryExpr:
		lit, ok := n.Y.(*ast.BasicLit)
		if ok && lit.Kind == token.INT && (n.Op == token.ADD || n.Op == token.SUB) {
			other := map[token.Token]string{token.ADD: "-", token.SUB: "+"}[n.Op]
			x, y := g.part(n.X), g.part(n.Y)
			return one(fmt.Sprintf("mutantInt(%d, %s, %s%s%s)", g.add(start, text+" becomes "+other), inner, x, other, y))
		}
	}
	if e, ok := n.(ast.Expr); ok {
		if cases := g.changes(e, start, text); cases != "" {
			return one(fmt.Sprintf("(func() bool { switch mutantActive { %s }; return %s }())", cases, inner))
		}
	}
	return below
}

func (g *generator) part(n ast.Node) string {
	return string(g.src[g.offset(n.Pos()):g.offset(n.End())])
}

// changes returns the cases of a switch, one for each change of a condition.
func (g *generator) changes(e ast.Expr, start int, text string) string {
	var cases strings.Builder
	change := func(what, to string) {
		fmt.Fprintf(&cases, "case %d: return %s;", g.add(start, what), to)
	}
	switch n := e.(type) {
	case *ast.BinaryExpr:
		for _, op := range swaps[n.Op] {
			change(fmt.Sprintf("%s: %s becomes %s", text, n.Op, op), g.part(n.X)+" "+op.String()+" "+g.part(n.Y))
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			change(text+": without !", g.part(n.X))
		}
	case *ast.CallExpr:
		if sel, ok := n.Fun.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Before" || sel.Sel.Name == "After") {
			args := string(g.src[g.offset(n.Lparen):g.offset(n.End())])
			change(text+": "+opposite[sel.Sel.Name], g.part(sel.X)+"."+opposite[sel.Sel.Name]+args)
		}
	}
	if g.cond[e] {
		change("condition "+text+" becomes false", "false")
	}
	return cases.String()
}

func (g *generator) add(at int, what string) int {
	line := 1 + strings.Count(string(g.src[:at]), "\n")
	g.mutants = append(
		g.mutants,
		mutant{len(g.mutants) + 1, fmt.Sprintf("%s:%d", g.path, line), strings.Join(strings.Fields(what), " ")},
	)
	return len(g.mutants)
}

// children returns the nodes directly below n.
func children(n ast.Node) []ast.Node {
	var out []ast.Node
	ast.Inspect(n, func(c ast.Node) bool {
		if c == n {
			return true
		}
		if c != nil {
			out = append(out, c)
		}
		return false
	})
	return out
}
