// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"encoding/json"
	"strings"
	"testing"

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
