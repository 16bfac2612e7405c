// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
)

// now is the moment at which every script runs.
var now = sigstoretest.Now.AddDate(0, 1, 0)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"repopolicy": func() {
			env := command.OS()
			env.Now = func() time.Time { return now }
			env.Version = "v1.0.0"
			env.Transport = forge(os.Getenv("TEST_FORGE"))
			env.Root = func(context.Context, trust.Options) ([]trust.Root, error) {
				data, err := os.ReadFile(os.Getenv("TEST_ROOT"))
				if err != nil {
					return nil, err
				}
				r, err := sigstore.ParseRoot("public-good", data)
				return []trust.Root{{Root: r}}, err
			}
			os.Exit(cli.Main(os.Args[1:], env))
		},
	})
}

// policyParts returns testdata/policy.toml up to its rule, and the rule.
func policyParts(t testing.TB) (head, rule string) {
	t.Helper()
	text, err := os.ReadFile("testdata/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte("[[release]]"))
	return string(text[:at]), string(text[at:])
}

// fixtures writes a release of acme/widget 1.2.3 into dir, with its policy.
func fixtures(t testing.TB, dir string) {
	t.Helper()
	inst := sigstoretest.New(t)
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("trusted_root.json", inst.Root(sigstoretest.RootOptions{}))
	policy, err := os.ReadFile("testdata/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	write("policy.toml", policy)
	write(".repopolicy/policy.toml", policy)
	release := sigstoretest.Workflow("v1.2.3")
	release.Artifact = []byte("widget 1.2.3\n")
	write("widget_1.2.3.tar.gz", release.Artifact)
	write("download", release.Artifact)
	write("widget_1.2.3.tar.gz.sigstore.json", inst.Sign(release))
	sums := release
	extra := []byte("more\n")
	write("widget_1.2.3_extra.tar.gz", extra)
	write("bare/widget_1.2.3_extra.tar.gz", extra)
	sums.Artifact = fmt.Appendf(
		nil, "%x  widget_1.2.3.tar.gz\n%x  widget_1.2.3_extra.tar.gz\n", sha256.Sum256(release.Artifact),
		sha256.Sum256(extra),
	)
	write("SHA256SUMS", sums.Artifact)
	write("SHA256SUMS.sigstore.json", inst.Sign(sums))
	branch := sigstoretest.Workflow("v1.2.3")
	branch.Artifact = []byte("from a branch\n")
	branch.SAN = "https://github.com/acme/widget/.github/workflows/release.yml@refs/heads/main"
	branch.Extensions[9], branch.Extensions[18] = branch.SAN, branch.SAN
	branch.Extensions[14], branch.Extensions[6] = "refs/heads/main", "refs/heads/main"
	write("bad/widget_branch.tar.gz", branch.Artifact)
	write("bad/widget_branch.tar.gz.sigstore.json", inst.Sign(branch))
	hostile := sigstoretest.Request{
		Artifact: []byte("x\n"), SAN: "alice@example.com", Issuer: "https://example.com/\u202e\x1b[31mred",
	}
	write("bad/widget_hostile.tar.gz", hostile.Artifact)
	write("bad/widget_hostile.tar.gz.sigstore.json", inst.Sign(hostile))
	evidenceFixtures(t, inst, write)
	directoryFixtures(t, inst, write)
	alice := sigstoretest.Request{
		Artifact: []byte("by alice\n"), SAN: "alice@example.com", Issuer: "https://accounts.google.com",
	}
	publish(t, inst, write)
	releases(t, inst, write)
	write("widget.tar.gz", alice.Artifact)
	write("widget.tar.gz.sigstore.json", inst.Sign(alice))
	packages(t, map[string][]byte{
		"widget/widget_1.2.3.tar.gz": release.Artifact, "widget/widget_1.2.3.tar.gz.sigstore.json": inst.Sign(release),
		"widget/SHA256SUMS": sums.Artifact, "widget/SHA256SUMS.sigstore.json": inst.Sign(sums),
		"widget/widget_unsigned.tar.gz": []byte("unsigned"), "plain": []byte("plain"),
	}, write)
}

// packages writes a TUF repository that go-tuf authored, with these targets.
func packages(t testing.TB, files map[string][]byte, write func(string, []byte)) {
	t.Helper()
	s := tuftest.New(t)
	of := json.RawMessage(`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"v1.2.3"}}`)
	for name, data := range files {
		s.Add("targets", name, string(data))
		if strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, "SUMS") {
			s.Targets["targets"].Signed.Targets[name].Custom = &of
		}
	}
	s.Targets["targets"].Signed.Version++
	s.Publish()
	for name, data := range s.Files {
		write("packages/"+name, data)
	}
	for name, data := range s.Content {
		if len(path.Base(name)) > 64 {
			write("packages/targets/"+name, data)
		}
	}
	write("packages.root.json", s.Files["1.root.json"])
}

// publish writes the same release in other forms, and a clone of a repository
// with an unsigned tag.
func publish(t testing.TB, inst *sigstoretest.Instance, write func(string, []byte)) {
	t.Helper()
	release := sigstoretest.Workflow("v1.2.3")
	content := []byte("widget 1.2.3, published elsewhere\n")
	release.Statement = fmt.Appendf(
		nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},`+
			`"subject":[{"name":"widget_npm.tar.gz","digest":{"sha256":"%x"}}]}`,
		sha256.Sum256(content),
	)
	bundle := inst.Sign(release)
	write("npm/widget_npm.tar.gz", content)
	write(
		"npm/widget_npm.tar.gz.attestations.json",
		fmt.Appendf(nil, `{"attestations":[{"predicateType":"https://slsa.dev/provenance/v1","bundle":%s}]}`, bundle),
	)
	write("gh/widget_npm.tar.gz", content)
	write(fmt.Sprintf("gh/sha256-%x.jsonl", sha256.Sum256(content)), append(bundle, '\n'))
	const commit = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@example.com> 1700000000 +0000\n" +
		"committer A <a@example.com> 1700000000 +0000\n\nrelease\n"
	id := fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(commit), commit)))
	var object bytes.Buffer
	w := zlib.NewWriter(&object)
	fmt.Fprintf(w, "commit %d\x00%s", len(commit), commit)
	w.Close()
	write("clone/HEAD", []byte("ref: refs/heads/main\n"))
	write("clone/refs/heads/main", []byte(id+"\n"))
	write("clone/refs/tags/v1.2.3", []byte(id+"\n"))
	write("clone/objects/"+id[:2]+"/"+id[2:], object.Bytes())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			fixtures(t, e.WorkDir)
			e.Setenv("TEST_ROOT", filepath.Join(e.WorkDir, "trusted_root.json"))
			return nil
		},
	})
}

// TestDocumentation runs every repopolicy command that the README and the guides
// show in a console block, each in a fresh copy of the fixtures. A line "exit N"
// in the block after a command says which code it ends with; 0 otherwise.
func TestDocumentation(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	commands := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(text), "```console\n") {
			if i == 0 {
				continue
			}
			body, _, ok := strings.Cut(block, "\n```")
			if !ok {
				t.Fatalf("%s: a console block that does not end", page)
			}
			lines := strings.Split(body, "\n")
			for n, line := range lines {
				cmd, ok := strings.CutPrefix(line, "$ ")
				if !ok {
					continue
				}
				if !strings.HasPrefix(cmd, "repopolicy ") {
					t.Errorf("%s: %q is not run by this test", page, cmd)
					continue
				}
				commands++
				fmt.Fprintf(&script, "# %s\n", filepath.Base(page))
				if n+1 < len(lines) && strings.HasPrefix(lines[n+1], "exit ") && lines[n+1] != "exit 0" {
					script.WriteString("! ")
				}
				fmt.Fprintf(&script, "exec %s\n", cmd)
			}
		}
	}
	if commands < 10 {
		t.Errorf("only %d commands found", commands)
	}
	file := filepath.Join(t.TempDir(), "documentation.txtar")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(e *testscript.Env) error {
			fixtures(t, e.WorkDir)
			e.Setenv("TEST_ROOT", filepath.Join(e.WorkDir, "trusted_root.json"))
			return nil
		},
	})
}
