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
	"internal/arrange":       {},
	"internal/budget":        {},
	"internal/canonical":     {},
	"internal/clip":          {},
	"internal/file":          {},
	"internal/jwt":           {},
	"internal/keys":          {},
	"internal/prefixmap":     {},
	"internal/propose/clone": {},
	"internal/spelling":      {},
	"internal/strictjson":    {},
	"internal/bundle":        {"internal/canonical", "internal/strictjson"},
	"internal/timestamp":     {"internal/keys"},
	"internal/propose/ci":    {"internal/propose/clone"},
	"internal/propose/names": {"internal/propose/clone"},
	"internal/web":           {"internal/budget", "internal/strictjson"},
	"internal/worktree":      {"internal/file"},
	"oidc":                   {"internal/jwt"},
	"policy":                 {"internal/arrange", "internal/clip", "internal/keys", "internal/spelling"},
	"internal/airgap":        {"internal/spelling", "internal/strictjson", "policy"},
	"internal/git": {
		"internal/budget", "internal/clip", "internal/file", "internal/spelling", "internal/web",
	},
	"internal/identity":         {"internal/clip", "internal/spelling", "internal/strictjson", "policy"},
	"internal/oci":              {"internal/clip", "internal/file", "internal/strictjson", "internal/web", "policy"},
	"internal/propose/aqua":     {"internal/propose", "internal/spelling", "policy"},
	"internal/propose/binding":  {"policy"},
	"internal/propose/compare":  {"policy"},
	"internal/propose/export":   {"internal/spelling", "policy"},
	"internal/propose/settings": {"internal/spelling", "policy"},
	"internal/propose/tagset":   {"internal/arrange", "internal/spelling", "policy"},
	"internal/sums":             {"internal/clip", "policy"},
	"internal/trust/tuf": {
		"internal/clip", "internal/file", "internal/keys", "internal/strictjson", "internal/web",
	},
	"policy/chain": {"internal/arrange", "internal/clip", "internal/spelling", "policy"},
	"internal/propose": {
		"internal/propose/binding", "internal/propose/ci", "internal/propose/clone", "internal/propose/names",
		"internal/propose/tagset", "internal/spelling", "policy",
	},
	"internal/pki": {
		"internal/clip", "internal/identity", "internal/keys", "internal/spelling", "internal/strictjson", "policy",
	},
	"internal/sigstore": {
		"internal/arrange", "internal/bundle", "internal/canonical", "internal/clip", "internal/identity",
		"internal/jwt", "internal/keys", "internal/pki", "internal/services", "internal/spelling",
		"internal/strictjson", "internal/timestamp", "internal/web", "policy",
	},
	"internal/services": {
		"internal/bundle", "internal/canonical", "internal/clip", "internal/strictjson", "internal/timestamp", "internal/web",
	},
	"internal/token": {
		"internal/clip", "internal/identity", "internal/spelling", "internal/strictjson", "internal/web", "policy",
	},
	"internal/side": {"internal/sums"},
	"internal/trust/oci": {
		"internal/arrange", "internal/budget", "internal/file", "internal/oci", "internal/web", "policy",
	},
	"rekorbind": {"internal/spelling", "policy", "policy/chain"},
	"internal/forms": {
		"internal/canonical", "internal/clip", "internal/git", "internal/sigstore", "internal/spelling",
		"internal/strictjson", "policy",
	},
	"internal/propose/doctor": {
		"internal/propose", "internal/propose/binding", "internal/propose/ci", "internal/propose/clone",
		"internal/propose/settings", "policy",
	},
	"internal/rekor": {
		"internal/arrange", "internal/canonical", "internal/clip", "internal/sigstore", "internal/strictjson",
		"internal/web",
	},
	"internal/trust/author": {
		"internal/budget", "internal/file", "internal/keys", "internal/spelling", "internal/trust/oci", "internal/trust/tuf",
	},
	"internal/bindings": {
		"internal/arrange", "internal/budget", "internal/canonical", "internal/clip", "internal/rekor",
		"internal/sigstore", "internal/spelling", "internal/strictjson", "internal/web", "policy", "policy/chain",
		"rekorbind",
	},
	"internal/release": {
		"internal/arrange", "internal/budget", "internal/clip", "internal/file", "internal/forms", "internal/git",
		"internal/oci", "internal/sigstore", "internal/spelling", "internal/strictjson", "internal/sums", "policy",
	},
	"internal/account": {
		"internal/file", "internal/release", "internal/side", "internal/sigstore", "internal/sums", "policy",
	},
	"internal/answers": {
		"internal/arrange", "internal/bindings", "internal/budget", "internal/canonical", "internal/clip",
		"internal/prefixmap", "internal/rekor", "internal/sigstore", "internal/spelling", "internal/strictjson",
		"internal/web", "policy", "policy/chain",
	},
	"internal/fetch": {
		"internal/budget", "internal/clip", "internal/oci", "internal/release", "internal/spelling",
		"internal/web", "policy",
	},
	"internal/lookup": {
		"internal/arrange", "internal/bindings", "internal/rekor", "internal/sigstore", "internal/web", "policy",
		"policy/chain",
	},
	"internal/signlog": {
		"internal/bindings", "internal/keys", "internal/rekor", "internal/sigstore", "internal/spelling", "internal/web",
		"policy",
	},
	"internal/memory": {
		"internal/answers", "internal/bindings", "internal/canonical", "internal/clip", "internal/file",
		"internal/lookup", "internal/rekor", "internal/signlog", "internal/sigstore", "internal/spelling",
		"internal/strictjson", "policy", "policy/chain",
	},
	"internal/trust": {
		"internal/answers", "internal/bindings", "internal/canonical", "internal/file", "internal/pki", "internal/sigstore",
		"internal/spelling", "internal/strictjson", "internal/trust/oci", "internal/trust/tuf", "internal/web", "policy",
	},
	"internal/find": {
		"internal/airgap", "internal/answers", "internal/bindings", "internal/budget", "internal/canonical", "internal/git",
		"internal/lookup", "internal/memory", "internal/oci", "internal/rekor", "internal/release", "internal/sigstore",
		"internal/spelling", "internal/strictjson", "internal/trust", "internal/trust/oci", "internal/trust/tuf",
		"internal/web", "policy", "policy/chain",
	},
	"internal/gate": {
		"internal/bindings", "internal/find", "internal/git", "internal/identity", "internal/release",
		"internal/sigstore", "internal/spelling", "internal/token", "internal/worktree", "policy", "policy/chain",
	},
	"": {
		"internal/account", "internal/airgap", "internal/answers", "internal/bindings", "internal/budget",
		"internal/fetch", "internal/find", "internal/gate", "internal/git", "internal/identity", "internal/rekor",
		"internal/release", "internal/side", "internal/sigstore", "internal/spelling", "internal/trust",
		"internal/trust/oci", "oidc", "policy", "policy/chain",
	},
	"internal/report": {
		"", "internal/arrange", "internal/bindings", "internal/fetch", "internal/file", "internal/find",
		"internal/gate", "internal/keys", "internal/release", "internal/spelling", "internal/trust", "policy",
		"policy/chain",
	},
	"internal/command": {
		"internal/airgap", "internal/answers", "internal/budget", "internal/file", "internal/find", "internal/git",
		"internal/identity", "internal/jwt", "internal/keys", "internal/oci", "internal/rekor", "internal/report",
		"internal/sigstore", "internal/spelling", "internal/trust", "internal/trust/oci", "internal/web", "oidc",
		"policy", "policy/chain",
	},
	"internal/cli": {
		"", "internal/airgap", "internal/answers", "internal/bindings", "internal/budget", "internal/clip",
		"internal/command", "internal/fetch", "internal/file", "internal/find", "internal/gate", "internal/git",
		"internal/identity", "internal/jwt", "internal/keys",
		"internal/memory", "internal/pki", "internal/propose", "internal/propose/aqua", "internal/propose/binding",
		"internal/propose/compare", "internal/propose/doctor", "internal/propose/export",
		"internal/propose/settings", "internal/rekor", "internal/release", "internal/report", "internal/signlog",
		"internal/sigstore", "internal/spelling", "internal/token", "internal/trust", "internal/trust/oci",
		"internal/trust/tuf", "internal/web", "internal/worktree", "oidc", "policy", "policy/chain", "rekorbind",
	},
	"internal/trustcli": {
		"internal/command", "internal/file", "internal/find", "internal/jwt", "internal/keys", "internal/report",
		"internal/signlog", "internal/sigstore", "internal/spelling", "internal/trust", "internal/trust/author",
		"internal/trust/oci", "policy",
	},
	"cmd/repopolicy":       {"internal/cli", "internal/command"},
	"cmd/repopolicy-trust": {"internal/command", "internal/trustcli"},
}

// free are programs for developers; no package of the product imports them.
var free = []string{"internal/scaffold/"}

// pure reports whether a room knows no network, environment, clock or process.
func pure(room string) bool {
	return room == "policy" || strings.HasPrefix(room, "policy/") || room == "internal/spelling" ||
		room == "internal/arrange" || room == "internal/clip" || room == "internal/keys"
}

// impure are packages that no pure room imports.
var impure = []string{"net", "net/http", "os", "os/exec", "syscall", "log"}

// toml is the one library that the policy file needs.
const toml = "github.com/pelletier/go-toml/v2"

func TestLayering(t *testing.T) {
	asking := []string{ // whoever may send requests
		"", "internal/sigstore", "internal/services", "internal/web", "internal/token", "internal/fetch", "internal/git",
		"internal/command", "internal/find", "internal/trust", "internal/trust/oci", "internal/oci",
	}
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
			case imp == "github.com/sigstore/sigstore-go/pkg/tuf",
				strings.HasPrefix(imp, "github.com/theupdateframework/") && room != "internal/trust/author":
				t.Errorf(
					"%s imports %s: internal/trust/tuf is the one client of TUF, internal/trust/author the one author",
					room, imp,
				)
			case imp == "regexp":
				t.Errorf("%s imports regexp", room)
			case imp == "log" && room != "internal/sigstore", imp == "net/http" && !slices.Contains(asking, room):
				t.Errorf("%s imports %s", room, imp)
			}
		}
	}
	if seen != len(may) {
		t.Errorf("%d rooms of %d exist", seen, len(may))
	}
}

// TestNoAuthor: whoever judges links none of ours that writes TUF metadata with go-tuf.
func TestNoAuthor(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}}|{{join .Imports ","}}`, "./cmd/repopolicy").
		Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), "|")
		if strings.HasPrefix(path, module) && strings.Contains(imports, "github.com/theupdateframework/go-tuf") {
			t.Errorf("%s imports go-tuf, and cmd/repopolicy links it", path)
		}
	}
}

// writers may use the functions that write over whatever a path leads to: each in a
// directory that was just made, or for an own cache.
var writers = map[string]string{
	"internal/airgap/unpack.go": "a new directory", "internal/cli/edit.go": "a new directory",
	"internal/cli/signrelease.go": "a new directory",
	"internal/git/unnamed.go":     "a file without a name", "internal/git/unnamed_windows.go": "a name that was just made",
	"directory/publish.go": "a name that was just made", "directory/cli/publish.go": "a new file alone",
}

// readers may open what a path leads to by themselves.
var readers = map[string]string{
	"directory/publish.go": "the log that it wrote, and the site", "directory/output.go": "the site",
	"internal/release/find.go":   "a directory",
	"internal/trust/instance.go": "what is built in",
}

// TestOneReader: files are opened by internal/file, which waits for no pipe, and looks
// at what it opened.
func TestOneReader(t *testing.T) {
	eachSource(t, readers, func(name, text string) {
		for _, f := range []string{
			"os.Open(", "os.ReadFile(", "os.DirFS(", "root.Open(", "dir.Open(", "fs.ReadFile(", "root.ReadFile(",
			"dir.ReadFile(",
		} {
			if strings.Contains(text, f) {
				t.Errorf(
					"%s: %s may wait for ever, or open another file than the one that was looked at; use internal/file",
					name, strings.TrimSuffix(f, "("),
				)
			}
		}
	})
}

// TestOneWriter: files are written by internal/file, which follows no link of a repository.
func TestOneWriter(t *testing.T) {
	eachSource(t, writers, func(name, text string) {
		for _, f := range []string{
			"os.WriteFile(", "os.Create(", "os.CreateTemp(", "os.OpenFile(", "os.Rename(", "os.Link(", "os.Symlink(", "renameio",
		} {
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
		holds := func(p string) bool { return strings.HasPrefix(name+"/", strings.TrimSuffix(p, "/")+"/") }
		if d.IsDir() {
			if name == "sandbox" || name == "internal/file" || d.Name() == "testdata" ||
				name != "." && strings.HasPrefix(d.Name(), ".") ||
				slices.ContainsFunc(free, holds) {
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
