// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWriteTree: a tree is written as a web server serves it, what is there already is left alone,
// and a target's path leads nowhere else.
func TestWriteTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	f := &Files{
		Metadata: map[string][]byte{
			"1.root.json":    []byte("1"),
			"1.a b.json":     []byte("a"),
			"timestamp.json": []byte("t"),
		},
		Targets: map[string]Content{"repopolicy/0a.forges.json": Bytes([]byte("{}"))},
	}
	for range 2 {
		if err := f.WriteTree(dir); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"1.root.json": "1", "1.a%20b.json": "a", "timestamp.json": "t", "targets/repopolicy/0a.forges.json": "{}",
		} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "1.root.json"), 0o400); err != nil { // nothing to write the second time
			t.Fatal(err)
		}
	}
	for _, path := range []string{"", ".", "..", "/a", "a/../b", "a b", `a\b`, "ä", strings.Repeat("a", maxPath+1)} {
		bad := &Files{Targets: map[string]Content{path: {}}}
		if err := bad.WriteTree(dir); err == nil || !strings.Contains(err.Error(), "no path of a target") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestOrdered: whoever reads while a tree is written finds what each file names.
func TestOrdered(t *testing.T) {
	f := &Files{Metadata: map[string][]byte{}}
	want := []string{
		"1.acme.json", "1.targets.json", "10.targets.json", "3.snapshot.json", "2.root.json", "10.root.json",
		"timestamp.json",
	}
	for _, name := range want {
		f.Metadata[name] = nil
	}
	if got := f.Ordered(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
