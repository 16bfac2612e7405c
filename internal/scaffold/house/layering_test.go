// SPDX-License-Identifier: Apache-2.0

package house

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/repopolicy/repopolicy"

// may lists which packages of ours each room may import. What is not listed may
// import none; runners and generators are not part of the product and free.
var may = map[string][]string{
	"policy":                    {"policy/internal/form"},
	"policy/chain":              {"policy", "policy/internal/form"},
	"policy/internal/form":      {},
	"internal/identity":         {"policy", "internal/strictjson"},
	"oidc":                      {},
	"internal/budget":           {},
	"internal/canonical":        {},
	"internal/file":             {},
	"internal/sigstore":         {"policy", "oidc", "internal/web", "internal/canonical", "internal/strictjson", "internal/identity"},
	"internal/git":              {"policy", "internal/file", "internal/web", "internal/budget"},
	"internal/forms":            {"policy", "internal/sigstore", "internal/git", "internal/canonical", "internal/strictjson"},
	"internal/release":          {"policy", "internal/forms", "internal/sigstore", "internal/file", "internal/git", "internal/budget", "internal/strictjson"},
	"internal/account":          {"policy", "internal/release", "internal/sigstore", "internal/file"},
	"internal/web":              {"internal/budget", "internal/strictjson"},
	"internal/airgap":           {"policy", "internal/strictjson"},
	"internal/prefixmap":        {},
	"internal/strictjson":       {},
	"internal/token":            {"policy", "internal/web", "internal/identity"},
	"internal/fetch":            {"policy", "internal/release", "internal/web", "internal/budget"},
	"rekorbind":                 {"policy", "policy/chain", "internal/canonical", "internal/file", "internal/sigstore", "internal/web", "internal/prefixmap", "internal/strictjson", "internal/budget"},
	"internal/trust":            {"policy", "internal/sigstore", "internal/file", "internal/web", "rekorbind", "internal/trust/tuf", "internal/trust/oci", "internal/strictjson"},
	"internal/trust/tuf":        {"internal/file", "internal/web", "internal/strictjson"},
	"internal/trust/oci":        {"internal/file", "internal/web", "internal/budget"},
	"internal/propose":          {"policy", "internal/propose/binding", "internal/propose/ci", "internal/propose/clone", "internal/propose/names", "internal/propose/tagset"},
	"internal/propose/ci":       {"internal/propose/clone"},
	"internal/propose/clone":    {},
	"internal/propose/names":    {"internal/propose/clone"},
	"internal/propose/settings": {"policy"},
	"internal/propose/tagset":   {"policy"},
	"internal/propose/binding":  {"policy"},
	"internal/propose/export":   {"policy"},
	"internal/propose/aqua":     {"policy"},
	"internal/propose/compare":  {"policy"},
	"":                          {"internal/budget", "internal/account", "internal/airgap", "internal/fetch", "internal/file", "internal/find", "internal/gate", "internal/git", "internal/release", "internal/sigstore", "internal/trust", "internal/trust/oci", "oidc", "policy", "policy/chain", "rekorbind", "internal/identity"},
	"internal/find":             {"internal/airgap", "internal/budget", "internal/git", "internal/release", "internal/sigstore", "internal/strictjson", "internal/trust", "internal/trust/oci", "internal/web", "policy", "policy/chain", "rekorbind"},
	"internal/gate":             {"internal/find", "internal/git", "internal/release", "internal/sigstore", "internal/token", "internal/worktree", "policy", "policy/chain", "rekorbind", "internal/identity"},
	"internal/worktree":         {"internal/file"},
	"internal/report":           {"", "internal/release", "internal/fetch", "internal/file", "internal/find", "internal/gate", "policy", "policy/chain", "rekorbind"},
	"internal/cli":              {"", "internal/find", "internal/gate", "internal/report", "internal/worktree", "internal/trust/author", "internal/trust/oci", "internal/trust/tuf", "internal/airgap", "internal/propose", "internal/propose/binding", "internal/propose/settings", "internal/propose/export", "internal/propose/aqua", "internal/propose/compare", "policy", "policy/chain", "oidc", "internal/release", "rekorbind", "internal/trust", "internal/sigstore", "internal/file", "internal/git", "internal/web", "internal/token", "internal/fetch", "internal/budget", "internal/identity"},
	"cmd/repopolicy":            {"internal/cli"},
	"internal/trust/author":     {"internal/file", "internal/trust/oci", "internal/trust/tuf"},
}

// free are programs for developers; no package of the product imports them.
var free = []string{"internal/scaffold/"}

// pure reports whether a room knows no network, environment, clock or process.
func pure(room string) bool { return room == "policy" || strings.HasPrefix(room, "policy/") }

// impure are packages that no pure room imports.
var impure = []string{"net", "net/http", "os", "os/exec", "syscall", "log"}

// toml is the one library that the policy file needs.
const toml = "github.com/pelletier/go-toml/v2"

func TestLayering(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}|{{join .Imports ","}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), "|")
		room := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if slices.ContainsFunc(free, func(p string) bool { return strings.HasPrefix(room, p) }) {
			continue
		}
		allowed, known := may[room]
		if !known {
			t.Errorf("%s: a new room; say in layering_test.go what it may import", room)
			continue
		}
		seen++
		for imp := range strings.SplitSeq(imports, ",") {
			ours, own := strings.CutPrefix(imp, module+"/")
			library := !own && strings.Contains(imp, ".") && (room != "policy" || imp != toml)
			switch {
			case own && !slices.Contains(allowed, ours):
				t.Errorf("%s imports %s", room, ours)
			case pure(room) && (slices.Contains(impure, imp) || library):
				t.Errorf("%s imports %s", room, imp)
			case strings.HasPrefix(imp, "github.com/sigstore/sigstore-go") && room != "internal/sigstore":
				t.Errorf("%s imports %s: internal/sigstore is the one adapter", room, imp)
			case imp == "github.com/sigstore/sigstore-go/pkg/tuf", strings.HasPrefix(imp, "github.com/theupdateframework/") && room != "internal/trust/author":
				t.Errorf("%s imports %s: internal/trust/tuf is the one client of TUF, internal/trust/author the one author", room, imp)
			case imp == "regexp":
				t.Errorf("%s imports regexp", room)
			case imp == "log" && room != "internal/sigstore", imp == "net/http" && !slices.Contains([]string{"", "internal/sigstore", "internal/web", "internal/token", "internal/fetch", "internal/git", "internal/cli", "internal/find", "internal/trust", "internal/trust/oci"}, room):
				t.Errorf("%s imports %s", room, imp)
			}
		}
	}
	if seen != len(may) {
		t.Errorf("%d rooms of %d exist", seen, len(may))
	}
}

// writers may use the functions that write over whatever a path leads to: each in a
// directory that was just made, or for an own cache.
var writers = map[string]string{
	"internal/airgap/unpack.go": "a new directory", "internal/cli/edit.go": "a new directory", "internal/cli/signrelease.go": "a new directory",
	"internal/git/unnamed.go": "a file without a name", "internal/git/unnamed_windows.go": "a name that was just made",
	"directory/publish.go": "a name that was just made", "directory/cli/publish.go": "a new file alone",
}

// readers may open what a path leads to by themselves.
var readers = map[string]string{
	"directory/publish.go": "the log that it wrote, and the site", "directory/output.go": "the site", "internal/release/find.go": "a directory",
	"internal/trust/instance.go": "what is built in",
}

// TestOneReader: files are opened by internal/file, which waits for no pipe, and looks
// at what it opened.
func TestOneReader(t *testing.T) {
	eachSource(t, readers, func(name, text string) {
		for _, f := range []string{"os.Open(", "os.ReadFile(", "os.DirFS(", "root.Open(", "dir.Open(", "fs.ReadFile(", "root.ReadFile(", "dir.ReadFile("} {
			if strings.Contains(text, f) {
				t.Errorf("%s: %s may wait for ever, or open another file than the one that was looked at; use internal/file", name, strings.TrimSuffix(f, "("))
			}
		}
	})
}

// TestOneWriter: files are written by internal/file, which follows no link of a repository.
func TestOneWriter(t *testing.T) {
	eachSource(t, writers, func(name, text string) {
		for _, f := range []string{"os.WriteFile(", "os.Create(", "os.CreateTemp(", "os.OpenFile(", "os.Rename(", "os.Link(", "os.Symlink(", "renameio"} {
			if strings.Contains(text, f) {
				t.Errorf("%s: %s writes through links; use internal/file", name, strings.TrimSuffix(f, "("))
			}
		}
	})
}

// TestOneChain: only a chain makes a policy trusted as one of several versions.
func TestOneChain(t *testing.T) {
	made := 0
	eachSource(t, nil, func(name, text string) {
		for _, f := range []string{".Bound(", ".Earlier(", ".BeforeFirst("} {
			switch {
			case !strings.Contains(text, f):
			case strings.HasPrefix(name, "policy/chain/"):
				made++
			default:
				t.Errorf("%s: %s is policy/chain's to call", name, strings.TrimSuffix(f, "("))
			}
		}
	})
	if made != 3 {
		t.Errorf("policy/chain calls %d of the 3", made)
	}
}

// eachSource calls do for every source file of the product but internal/file's and those
// that are excused.
func eachSource(t *testing.T, excused map[string]string, do func(name, text string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name == "sandbox" || name == "internal/file" || d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".") || slices.ContainsFunc(free, func(p string) bool { return strings.HasPrefix(name+"/", strings.TrimSuffix(p, "/")+"/") }) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || excused[name] != "" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err == nil {
			do(name, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
