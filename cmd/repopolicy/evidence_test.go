// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// evidenceFixtures writes fork.json, which proves two versions 2, and files that
// claim more than they prove.
func evidenceFixtures(t testing.TB, inst *sigstoretest.Instance, write func(string, []byte)) {
	const repo = "https://github.com/acme/widget"
	locator, err := policy.ParseLocator(repo)
	if err != nil {
		t.Fatal(err)
	}
	at := sigstoretest.Now.Add(-10 * time.Hour)
	var bundles [][]byte
	version := func(comment string, n, previous string) string {
		text := "# " + comment + `
format = "repopolicy/v1"
repository = "` + repo + `"
version = ` + n + `
expires = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`
		payload, err := rekorbind.Encode([]byte(text), previous)
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Hour)
		wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
		for _, r := range []sigstoretest.Request{
			{SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
			{SAN: wf, Issuer: "https://token.actions.githubusercontent.com", Extensions: map[int]string{
				9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf,
				20: "repository_dispatch",
			}},
		} {
			r.Statement, r.At, r.Log, r.TSA = payload, at, sigstoretest.LogV2, true
			bundles = append(bundles, inst.Sign(r))
		}
		return spelling.Sum(payload)
	}
	genesis := version("genesis", "1", "")
	second, fork := version("second", "2", genesis), version("fork", "2", genesis)
	file := func(name string, bundles [][]byte) {
		e, err := bindings.NewEvidence("fork", locator, []string{second, fork}, bundles)
		if err != nil {
			t.Fatal(err)
		}
		write(name, e.Bytes())
	}
	file("fork.json", bundles)
	file("half.json", bundles[:5])
	file("hostile.json", append(bundles[:5:5], []byte(`{"mediaType":"\u001b[31m"}`)))
	e, err := bindings.NewEvidence("fork", locator, []string{second, fork}, bundles)
	if err != nil {
		t.Fatal(err)
	}
	write("newer.json", []byte(strings.Replace(string(e.Bytes()), "evidence-v1", "evidence-v2", 1)))
}

// TestEvidenceSchema validates the JSON output against the published schema.
func TestEvidenceSchema(t *testing.T) {
	dir := t.TempDir()
	fixtures(t, dir)
	schema, err := jsonschema.NewCompiler().Compile("../../schema/finding-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, class := range map[string]policy.Class{
		"fork.json": policy.ClassOK, "half.json": policy.ClassDeny, "newer.json": policy.ClassInvalid,
		"hostile.json": policy.ClassDeny,
		"lie.json":     policy.ClassOK, "output-fork.json": policy.ClassOK, "false.json": policy.ClassDeny,
	} {
		args := []string{
			"evidence", "show", "--format", "json", "--trusted-root", filepath.Join(dir, "trusted_root.json"),
		}
		if slices.Contains([]string{"lie.json", "output-fork.json", "false.json"}, name) {
			args = []string{
				"evidence", "show", "--format", "json", "--trusted-root", filepath.Join(dir, "shard_root.json"),
				"--directory", filepath.Join(dir, "directory.json"),
			}
		}
		var out, talk bytes.Buffer
		env := command.Env{Stdout: &out, Stderr: &talk, Now: func() time.Time { return now }}
		if code := cli.Main(append(args, filepath.Join(dir, name)), env); code != class.Exit() {
			t.Errorf("%s: exits %d: %s", name, code, talk.String())
		}
		doc, err := jsonschema.UnmarshalJSON(&out)
		if err == nil {
			err = schema.Validate(doc)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
