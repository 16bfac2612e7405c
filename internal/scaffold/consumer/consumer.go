// SPDX-License-Identifier: Apache-2.0

// Package consumer builds a program of somebody else that uses the public packages alone, for
// tests only.
package consumer

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

//go:embed testdata/main.go
var program []byte

// Build returns the path of the program, which is made in a module of its own: Go lets nobody
// outside of a repository import what is internal to it.
func Build(t testing.TB) string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..", "..")
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	check(err)
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	check(err)
	_, requirements, ok := strings.Cut(string(mod), "\n")
	if !ok {
		t.Fatal("go.mod has one line")
	}
	dir := t.TempDir()
	write := func(name, text string) { check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	write("go.mod", "module example.com/consumer\n"+requirements+
		"\nrequire github.com/repopolicy/repopolicy v0.0.0\n\nreplace github.com/repopolicy/repopolicy => "+root+"\n")
	write("go.sum", string(sum))
	write("main.go", string(program))
	bin := filepath.Join(dir, "consumer")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", bin, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}
