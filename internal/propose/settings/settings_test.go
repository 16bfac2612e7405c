// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/itchyny/gojq"

	"github.com/repopolicy/repopolicy/policy"
)

const head = `format = "repopolicy/v1"
repository = "https://HOST/acme/widget"
version = 1
expires = 2030-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "a"
identities = [{email = "a@example.com", issuer = "https://accounts.google.com"}]
`

// TestFor: what is proposed to run only adds, and everything says what it protects.
func TestFor(t *testing.T) {
	const main = "refs = [\"refs/heads/main\"]\n"
	for _, c := range []struct {
		what, host, rule string
		want             []string
		mute             string
	}{
		{
			"tags", "github.com", `tags = ["v*.*.*"]`,
			[]string{`"include":["refs/tags/v*.*.*"]`, `"type":"deletion"`, `"include":["refs/heads/main"]`}, "environment",
		},
		{"tags that may move", "github.com", `tags = ["v*"]`, []string{"keeps tags v* from being moved"}, `"tag"`},
		{"semantic versions", "github.com", `tags = "semver"`, []string{`"include":["refs/tags/*.*.*"]`}, "environment"},
		{
			"any tag", "github.com", main + "tags = \"any\"\ntriggers = [\"push\"]",
			[]string{"refs/heads/main"}, `"target":"tag"`,
		},
		{
			"an environment", "github.com", "tags = [\"v*.*.*\"]\nenvironment = \"it's\"",
			[]string{"environment it's", "deployments from tags v*.*.* and from nothing else"}, "",
		},
		{
			"an environment of main", "github.com", "tags = \"any\"\nenvironment = \"prod\"\nrefs = [\"refs/heads/main\"]",
			[]string{"deployments from refs/heads/main and from nothing else"}, "deployments from tags",
		},
		{
			"protections of execution", "github.com", `tags = ["v1.*"]`,
			[]string{"run by repository_dispatch and schedule"}, "",
		},
		{
			"gitlab", "gitlab.com", "tags = [\"v*\"]\nenvironment = \"prod\"",
			[]string{"these tags are protected: v*", "environment prod", "job tokens"}, "gh api",
		},
		{"elsewhere", "codeberg.org", "", nil, "look"},
	} {
		text := strings.Replace(head, "HOST", c.host, 1)
		if c.rule != "" {
			path := ".github/workflows/r.yml"
			if c.host == "gitlab.com" {
				path = ".gitlab-ci.yml"
			}
			text += "[[release]]\nname = \"r\"\nartifacts = [\"x\"]\nworkflow = \"" + path + "\"\n" + c.rule + "\n"
		}
		doc, err := policy.Parse([]byte(text))
		if err != nil {
			t.Fatal(c.what, err)
		}
		var all strings.Builder
		for _, a := range For(doc.Content(), "main") {
			if a.Protects == "" || (a.Command == "") == (a.Look == "") {
				t.Errorf("%s: %+v", c.what, a)
			}
			all.WriteString(a.Protects + "\n" + a.Command + a.Look + "\n")
			if a.Command != "" {
				body := strings.TrimPrefix(
					strings.Split(a.Command, "' | gh api -X POST repos/acme/widget/rulesets")[0],
					"printf %s '",
				)
				if !json.Valid([]byte(body)) {
					t.Errorf("%s: %s", c.what, a.Command)
				}
			}
		}
		for _, w := range c.want {
			if !strings.Contains(all.String(), w) {
				t.Errorf("%s: no %q in\n%s", c.what, w, all.String())
			}
		}
		for _, bad := range []string{"PUT", "PATCH", "DELETE", "null", c.mute} {
			if bad != "" && strings.Contains(all.String(), bad) {
				t.Errorf("%s: %q in\n%s", c.what, bad, all.String())
			}
		}
	}
}

// TestEnvironment: the command makes an environment only where the list of them is whole and has
// none of the name, in capitals or not. GitHub's program runs the same filters.
func TestEnvironment(t *testing.T) {
	rule := func(more string) *policy.File {
		doc, err := policy.Parse([]byte(strings.Replace(head, "HOST", "github.com", 1) + "[[release]]\nname = \"r\"\n" +
			"artifacts = [\"x\"]\nworkflow = \".github/workflows/r.yml\"\n" + more))
		if err != nil {
			t.Fatal(err)
		}
		return doc.Content()
	}
	const name = `It's "a\(1)"`
	f := rule("tags = [\"v*\"]\nenvironment = " + strconv.Quote(name) + "\n")
	command := Environment(f, name)
	_, rest, ok := strings.Cut(command, " --jq '")
	filter, _, ended := strings.Cut(rest, `')" = true && printf`)
	if !ok || !ended {
		t.Fatal(command)
	}
	query, err := gojq.Parse(strings.ReplaceAll(filter, `'\''`, "'"))
	if err != nil {
		t.Fatalf("%v in %s", err, filter)
	}
	for what, c := range map[string]struct {
		list string
		want any
	}{
		"none":     {`{"total_count":0,"environments":[]}`, true},
		"another":  {`{"total_count":1,"environments":[{"name":"It's"}]}`, true},
		"it":       {`{"total_count":1,"environments":[{"name":"It's \"a\\(1)\""}]}`, false},
		"capitals": {`{"total_count":2,"environments":[{"name":"x"},{"name":"IT'S \"A\\(1)\""}]}`, false},
		"more":     {`{"total_count":101,"environments":[]}`, false},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.list), &v); err != nil {
			t.Fatal(err)
		}
		if got, _ := query.Run(v).Next(); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
	if command := Environment(rule("tags = \"any\"\nenvironment = \"e\"\n"), "e"); command != "" {
		t.Errorf("every ref: %s", command)
	}
}
