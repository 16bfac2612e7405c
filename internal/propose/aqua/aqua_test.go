// SPDX-License-Identifier: Apache-2.0

package aqua

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/policy"
)

var update = flag.Bool("update", false, "rewrite the expected results of testdata")

func now() time.Time { return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC) }

// draftOf returns the policy, or the error as text, of the one package.
func draftOf(data []byte, o Options) (out, bad string) {
	packages, err := Parse(data)
	if err != nil {
		return "", err.Error() + "\n"
	}
	text, err := packages[0].Policy(o)
	if err != nil {
		bad = err.Error() + "\n"
		if unknown := (*UnknownError)(nil); errors.As(err, &unknown) && unknown.Flags != "" {
			bad += "flags: " + unknown.Flags + "\n"
		}
		return "", bad
	}
	return text, ""
}

// optionsOf reads the lines before the files of a vector.
func optionsOf(comment string) Options {
	o := Options{Now: now(), SignerRefs: map[string]string{}}
	for line := range strings.Lines(comment) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "caller":
			o.Caller = value
		case "signer-ref":
			repo, ref, _ := strings.Cut(value, "=")
			o.SignerRefs[repo] = ref
		case "call": // workflow, caller, ref or commit, refs of the run
			o.Calls = append(o.Calls, called(strings.Fields(value)))
		}
	}
	return o
}

// called returns the rule for a call.
func called(words []string) propose.Rule {
	r := propose.Rule{Workflow: words[0], Caller: words[1]}
	switch {
	case len(words) < 3:
	case isCommit(words[2]):
		r.SignerDigest = words[2]
	default:
		r.SignerRef, r.Refs = words[2], words[3:]
	}
	if len(r.Refs) == 0 {
		r.Refs = nil
	}
	return r
}

// TestVectors: the shapes that the registry uses. Each file has a sentence,
// options, the entry, and the policy or the reason for which there is none.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, name := range files {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		o := optionsOf(string(ar.Comment))
		text, bad := draftOf(ar.Files[0].Data, o)
		result := txtar.File{Name: "policy.toml", Data: []byte(text)}
		if bad != "" {
			result = txtar.File{Name: "error", Data: []byte(bad)}
		} else if _, err := policy.Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if *update {
			ar.Files = append(ar.Files[:1], result)
			if err := os.WriteFile(name, txtar.Format(ar), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if len(ar.Files) != 2 {
			t.Errorf("%s: no result", name)
			continue
		}
		if d := cmp.Diff(string(ar.Files[1].Data), string(result.Data)); d != "" || ar.Files[1].Name != result.Name {
			t.Errorf("%s: %s instead of %s: %s", name, result.Name, ar.Files[1].Name, d)
		}
		if strings.HasPrefix(string(ar.Comment), "Refused") != (bad != "") {
			t.Errorf("%s: %s", name, bad)
		}
	}
}

// TestParse: what another reader could read as something else is refused.
func TestParse(t *testing.T) {
	const ok = "packages:\n  - repo_owner: a\n    repo_name: b\n"
	if p, err := Parse([]byte(ok)); err != nil || len(p) != 1 || p[0].Name != "a/b" {
		t.Fatalf("%+v %v", p, err)
	}
	for what, text := range map[string]string{
		"empty": "", "no packages": "a: b\n", "a list": "- a\n", "text": "x", "not YAML": "a: [",
		"packages of text": "packages:\n  - x\n",
		"a key twice":      ok + "    repo_name: c\n", "packages twice": ok + ok, "two documents": ok + "---\n" + ok,
		"an alias": "a: &x b\nc: *x\n" + ok, "an anchor": "a: &x b\n" + ok,
		"a merge key": "packages:\n  - <<: {repo_owner: a}\n", "a tag": "a: !!binary aGk=\n" + ok,
		"a key that is a list": "[a]: b\n" + ok,
		"deep":                 "packages: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n",
		"many":                 "packages: [" + strings.Repeat("a,", maxNodes) + "a]\n",
		"large":                ok + "# " + strings.Repeat("x", MaxBytes), "a control character": ok + "    x: \"\x01\"\n",
		"not UTF-8": ok + "    x: \xff\n",
	} {
		if p, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", what, p)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q", what, err)
		}
	}
}

// FuzzPolicy: whatever the file, the result is a policy that the parser accepts
// and whose rules name the package's repository or a pinned signer.
func FuzzPolicy(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, name := range files {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		packages, err := Parse(data)
		if err != nil {
			return
		}
		for i := range packages {
			text, err := packages[i].Policy(Options{
				Now: now(), Caller: ".github/workflows/release.yml",
				SignerRefs: map[string]string{slsaGenerator: "refs/tags/v2.1.0"},
				Calls: []propose.Rule{{
					Workflow: "https://github.com/acme/ci/.github/workflows/build.yml",
					Caller:   ".github/workflows/release.yml", SignerDigest: strings.Repeat("a", 40),
				}},
			})
			if err != nil {
				continue
			}
			doc, err := policy.Parse([]byte(text))
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			for _, r := range doc.Content().Rules {
				if w := r.Workflow; w != nil && !w.Signer.IsZero() && w.SignerRef+w.SignerDigest == "" {
					t.Fatalf("an unpinned signer in\n%s", text)
				}
			}
		}
	})
}

// BenchmarkParse reads a file of the largest size.
func BenchmarkParse(b *testing.B) {
	entry := "  - repo_owner: acme\n    repo_name: widget\n    asset: widget_{{.OS}}.zip\n" +
		"    github_artifact_attestations:\n      signer_workflow: acme/widget/.github/workflows/release.yml\n"
	data := []byte("packages:\n" + strings.Repeat(entry, (MaxBytes-100)/len(entry)))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
