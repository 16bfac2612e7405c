// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

var update = flag.Bool("update", false, "write the golden files")

func sample(t testing.TB) *policy.Document {
	t.Helper()
	text, err := os.ReadFile("testdata/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

// TestGolden: each target writes what `init` writes as far as it can, with what it does not check;
// no target takes all of it strictly.
func TestGolden(t *testing.T) {
	doc := sample(t)
	for _, to := range Targets() {
		got, err := Export(to, Request{Doc: doc, Now: now()})
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		golden := filepath.Join("testdata", to+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: look at it with -update and git diff: %v\n%s", to, err, got)
		}
		if to == "verify-md" {
			continue
		}
		var r *Refusal
		if out, err := Export(to, Request{Doc: doc, Now: now(), Strict: true}); !errors.As(err, &r) || out != "" {
			t.Errorf("%s: a strict export: %v", to, err)
		}
		if !strings.Contains(got, "# not checked: ") && to != "github" {
			t.Errorf("%s: no word of what is not checked\n%s", to, got)
		}
	}
}

// TestForms: what a program reads is of its form.
func TestForms(t *testing.T) {
	doc := sample(t)
	for to, read := range map[string]func(data []byte) error{
		"policy-controller": objects, "kyverno": objects, "aqua": objects,
		"pylock": func(data []byte) error { return toml.Unmarshal(append([]byte("[[packages]]\n"), data...), new(any)) },
		"npm":    shell, "gh": shell, "cosign": shell, "github": shell, "packslip": shell,
	} {
		text, err := Export(to, Request{Doc: doc, Now: now()})
		if err == nil {
			err = read([]byte(text))
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", to, err, text)
		}
	}
}

func objects(data []byte) error {
	for part := range strings.SplitSeq(string(data), "\n---\n") {
		if err := yaml.Unmarshal([]byte(part), new(any)); err != nil {
			return err
		}
	}
	return nil
}

func shell(data []byte) error {
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestNothingLeft: where a target can express no rule, nothing is written and each reason is said.
func TestNothingLeft(t *testing.T) {
	doc := sample(t)
	for _, c := range []struct{ to, rule, says string }{
		{"gh", "people", "by workflows only"},
		{"policy-controller", "people", "names no image"},
		{"policy-controller", "npm", "names no image"},
		{"policy-controller", "provenance", "cannot tell who called"},
		{"kyverno", "npm", "names no image"},
		{"npm", "release", "names no package of npm"},
		{"npm", "people", "trusts workflows only"},
		{"pypi", "npm", "names no file of a project"},
		{"pypi", "provenance", "trusts no workflow that another one calls"},
		{"pylock", "people", "trusts workflows only"},
		{"aqua", "people", "of workflows only"},
		{"packslip", "people", "of workflows only"},
		{"github", "people", "no setting"},
	} {
		out, err := Export(c.to, Request{Doc: doc, Rule: c.rule, Now: now()})
		var r *Refusal
		if !errors.As(err, &r) || out != "" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s of %s: %v, wrote %q", c.to, c.rule, err, out)
		}
	}
	for _, to := range []string{"gh", "npm", "pypi", "pylock", "aqua", "github"} {
		lab := strings.Replace(head, "github.com/acme", "gitlab.com/acme", 1) + strings.Replace(workflow,
			".github/workflows/release.yml", ".gitlab-ci.yml", 1)
		if out, err := Export(to, Request{Doc: parse(t, lab), Tag: "v1", Now: now()}); err == nil {
			t.Errorf("%s of a project on GitLab: %s", to, out)
		}
	}
	for _, to := range []string{"cosign", "policy-controller", "kyverno"} {
		out, err := Export(
			to,
			Request{Doc: sample(t), Tag: "w1", Artifact: "widget_1.tar.gz", Rule: "release", Now: now()},
		)
		if err == nil {
			t.Errorf("%s of a tag that the rule does not allow: %s", to, out)
		}
	}
}

// TestSignerExpression: it matches the names that the policy takes, whole.
func TestSignerExpression(t *testing.T) {
	const widget = "https://github.com/acme/widget/.github/workflows/"
	for _, c := range []struct {
		rule     int
		tag, san string
		want     bool
	}{
		{0, "", widget + "release.yml@refs/tags/v1.2.3", true},
		{0, "", "https://github.com/Acme/Widget/.github/workflows/release.yml@refs/tags/v1.2.3", true},
		{0, "", widget + "RELEASE.yml@refs/tags/v1.2.3", false},
		{0, "", widget + "release.yml@refs/heads/main", false},
		{0, "", widget + "release.yml@refs/tags/v1/2", false},
		{0, "", widget + "release.yml@refs/tags/w1", false},
		{0, "", widget + "releaseXyml@refs/tags/v1", false},
		{0, "", "x" + widget + "release.yml@refs/tags/v1", false},
		{0, "", "https://github.com/acme/widgets/.github/workflows/release.yml@refs/tags/v1", false},
		{0, "v1.2.3", widget + "release.yml@refs/tags/v1.2.3", true},
		{0, "v1.2.3", widget + "release.yml@refs/tags/v1.2.30", false},
		{0, "v1.2.3", widget + "release.yml@refs/tags/v1x2.3", false},
		{1, "", widget + "npm.yml@refs/heads/main", true},
		{1, "", widget + "npm.yml@refs/tags/v1.2.3", false},
		{2, "", "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml" +
			"@refs/tags/v2.1.0", true},
		{2, "", "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml" +
			"@refs/tags/v2.1.1", false},
	} {
		doc := sample(t)
		e := &exporter{Request: Request{Doc: doc, Tag: c.tag}, file: doc.Content(), rule: &doc.Content().Rules[c.rule]}
		re := regexp.MustCompile(e.signerExpression(e.rule.Workflow))
		if re.MatchString(c.san) != c.want {
			t.Errorf("%s of %s: not %v", re, c.san, c.want)
		}
	}
}

// TestGHPatterns: without a tag, the expression for gh compares refs with the patterns of the rule.
func TestGHPatterns(t *testing.T) {
	inst := sigstoretest.New(t)
	text, err := Export("gh", Request{Doc: sample(t), Rule: "release", Artifact: "a", Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	words, expr := jqOf(t, text)
	if strings.Contains(strings.Join(words, " "), "--source-ref") {
		t.Error(words)
	}
	request := func(ref string) sigstoretest.Request {
		r := sigstoretest.Workflow("v1.2.3")
		r.Extensions = maps.Clone(r.Extensions)
		r.SAN = "https://github.com/acme/widget/.github/workflows/release.yml@" + ref
		r.Extensions[9], r.Extensions[18], r.Extensions[14] = r.SAN, r.SAN, ref
		return r
	}
	for ref, want := range map[string]bool{
		"refs/tags/v1.2.3": true, "refs/tags/v2": true, "refs/tags/w2": false, "refs/heads/v2": false,
		"refs/tags/v2/x": false, "xrefs/tags/v2": false,
	} {
		if allowed(t, expr, answer(t, inst, request(ref), "widget_1.tar.gz")) != want {
			t.Errorf("%s: not %v", ref, want)
		}
	}
	mixed := request("refs/tags/v2")
	mixed.Extensions[14] = "refs/tags/v3"
	if allowed(t, expr, answer(t, inst, mixed, "widget_1.tar.gz")) {
		t.Error("two refs are allowed")
	}
	delete(mixed.Extensions, 14)
	if allowed(t, expr, answer(t, inst, mixed, "widget_1.tar.gz")) {
		t.Error("no ref is allowed")
	}
}

// TestGitHubScript: the script makes what the settings as they are show not to be there, and
// otherwise changes nothing.
func TestGitHubScript(t *testing.T) {
	text, err := Export("github", Request{Doc: sample(t), Now: now()})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		list  string // what gh says of lists
		want  string
		fails bool
	}{
		"nothing there": {
			`echo other`,
			"POST rulesets;PUT release;POST release v* tag;PUT npm%20it%27s;POST npm%20it%27s main branch;", false,
		},
		"all there": {`printf '%s\n' RELEASE "NPM it's" 'release tags (repopolicy)'`, "", false},
		"no answer": {`echo "HTTP 404" >&2; exit 1`, "", true},
	} {
		dir := t.TempDir()
		fake := "#!/bin/sh\ncase \"$*\" in *--paginate*) " + c.list + "; exit;; esac\n" +
			"for a; do printf '%s ' \"$a\"; done >> calls\n" +
			"echo >> calls\n"
		if err := os.WriteFile(filepath.Join(dir, "gh"), []byte(fake), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh")
		cmd.Dir, cmd.Env, cmd.Stdin = dir, append(
			os.Environ(),
			"PATH="+dir+":"+os.Getenv("PATH"),
		), strings.NewReader(
			text,
		)
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.fails {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
		got := strings.NewReplacer("api --silent -X ", "", "repos/acme/widget/environments/", "", "repos/acme/widget/", "",
			"/deployment-branch-policies -f name=", " ", "-f type=", "", " --input -", "", " \n", ";").
			Replace(string(calls))
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestDocuments: every document of an export for a cluster is an object. policy-controller's tester
// takes one of comments alone for a policy without a kind, and refuses the whole.
func TestDocuments(t *testing.T) {
	for target, want := range map[string]int{"policy-controller": 1, "kyverno": 2} {
		text, err := Export(target, Request{Doc: sample(t), Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(text, "\n---\n")
		for _, part := range parts {
			if !strings.Contains(part, "\nkind: ") {
				t.Errorf("%s: a document without an object:\n%s", target, part)
			}
		}
		if len(parts) != want {
			t.Errorf("%s: %d documents\n%s", target, len(parts), text)
		}
	}
}
