// SPDX-License-Identifier: Apache-2.0

package detect

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Attributes keep Git from changing the bytes that are signed.
const Attributes = ".repopolicy/** -text -filter -ident"

// Member is the first maintainer.
type Member struct {
	Name, Email, Issuer string
}

// Answers complete a proposal to a policy.
type Answers struct {
	Repository policy.Locator
	Expires    time.Time
	Member     Member // zero: the repository's own workflow is the only maintainer
	Recovery   string // a delay like "90d"; "" for none
}

// Policy returns the text of version 1.
func (p *Proposal) Policy(a Answers) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("#:schema https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/policy-v1.json")
	line("format     = %q", spelling.Format)
	line("repository = %s", quote(a.Repository.String()))
	line("version    = 1")
	line("expires    = %s", a.Expires.UTC().Format("2006-01-02T15:04:05Z"))
	line("")
	line("[maintainers]")
	line("threshold  = 1")
	if a.Member == (Member{}) {
		line("repository = true # whoever can push to the default branch can change the policy")
	} else {
		line("[[maintainers.member]]")
		line("name       = %s", quote(a.Member.Name))
		line("identities = [{ email = %s, issuer = %s }]", quote(a.Member.Email), quote(a.Member.Issuer))
	}
	if len(p.People) > 0 {
		line("# Maybe maintainers too: %s", strings.Join(p.People, ", "))
	}
	switch {
	case a.Recovery != "":
		line("")
		line("[recovery]")
		line("delay = %s", quote(a.Recovery))
	case a.Member != Member{}:
		line("")
		line("# If the only maintainer loses the account, this lets a new version 1 of the")
		line("# repository take over after 90 days in which the old maintainer says nothing.")
		line("# [recovery]")
		line("# delay = \"90d\"")
	}
	for i := range p.Rules {
		p.rule(line, &p.Rules[i])
	}
	return b.String()
}

func (p *Proposal) rule(line func(string, ...any), r *Rule) {
	line("")
	line("[[release]]")
	line("name        = %s", quote(r.Name))
	if len(p.Tags) == 1 && p.Tags[0] == "semver" {
		line("tags        = \"semver\"")
	} else {
		line("tags        = %s", list(p.Tags))
	}
	if r.Branches != nil {
		line("refs        = %s", list(r.Branches))
	}
	line("artifacts   = %s", list(r.Artifacts))
	line("workflow    = %s", quote(r.Workflow))
	if r.Caller != "" {
		line("caller      = %s", quote(r.Caller))
	}
	if r.SignerDigest != "" {
		line("signer-digest = %s", quote(r.SignerDigest))
	}
	if r.SignerRef != "" {
		line("signer-ref  = %s", quote(r.SignerRef))
	}
	if r.Environment != "" {
		line("environment = %s", quote(r.Environment))
	}
	if r.Triggers != nil {
		line("triggers    = %s", list(r.Triggers))
	}
	if !p.Since.IsZero() {
		line("since       = %s", p.Since.Format("2006-01-02T15:04:05Z"))
	}
}

func quote(s string) string { return strconv.QuoteToASCII(s) }

func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

var (
	//go:embed repopolicy.yml
	bindTemplate string
	//go:embed gitlab.yml
	gitlabTemplate string
)

// Workflow returns the text of [BindWorkflow] for a repository on GitHub with
// that default branch. Program is the Go package of this program with its
// version; both must be of characters that mean nothing in YAML or in a filter
// of branches. The name of a private repository becomes public.
func Workflow(repo policy.Locator, branch, program string, private bool) (string, error) {
	return fill(bindTemplate, repo, branch, program, private)
}

// Pipeline returns the text of [GitLabBind] for a project on GitLab, like
// [Workflow].
func Pipeline(repo policy.Locator, program string, private bool) (string, error) {
	return fill(gitlabTemplate, repo, "-", program, private)
}

// GitLabCI returns a [GitLabConfig] that does nothing but include [GitLabBind].
func GitLabCI() string { return "include: [{local: " + GitLabBind + "}]\n" }

func fill(template string, repo policy.Locator, branch, program string, private bool) (string, error) {
	for _, s := range []string{repo.Path(), branch, program} {
		if s == "" || strings.Trim(s, safe) != "" {
			return "", fmt.Errorf("%q cannot stand in a workflow", s)
		}
	}
	publish := ""
	if private {
		publish = " --publish-name"
	}
	return strings.NewReplacer("<REPOSITORY>", repo.Path(), "<BRANCH>", branch, "<PROGRAM>", program, "<PUBLISH>", publish).Replace(template), nil
}

const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/@-"
