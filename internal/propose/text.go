// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/propose/tagset"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

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
	if former := p.past.Former; !former.IsZero() {
		line("# Whoever asks for the former name finds this policy, too:")
		line("# formerly   = %s", quote(former.String()))
	}
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
		if a.Member != (Member{}) && p.several() != nil {
			p.approvals(line)
		}
	}
	p.adopted(line)
	return b.String()
}

func (p *Proposal) rule(line func(string, ...any), r *Rule) {
	line("")
	line("[[release]]")
	for _, n := range r.Notes {
		line("# %s", n)
	}
	line("name        = %s", quote(r.Name))
	if len(r.Tags) == 1 && (r.Tags[0] == tagset.Semver || r.Tags[0] == Any) {
		line("tags        = %q%s", r.Tags[0], guess(r.GuessTags))
	} else {
		line("tags        = %s%s", list(r.Tags), guess(r.GuessTags))
	}
	if r.TagPrefix != "" {
		line("tag-prefix  = %s", quote(r.TagPrefix))
	}
	if r.Refs != nil {
		line("refs        = %s", list(r.Refs))
	}
	line("artifacts   = %s%s", list(r.Artifacts), guess(r.GuessArtifacts))
	if t := r.KeyTarget; t != nil {
		line("keys        = [%s]", keyTable(t))
	} else {
		line("workflow    = %s", quote(r.Workflow))
	}
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
		line("environment = %s%s", quote(r.Environment), guess(r.GuessEnvironment))
	}
	if r.Triggers != nil {
		line("triggers    = %s", list(r.Triggers))
	}
	if r.Runner != "" {
		line("runner      = %s", quote(r.Runner))
	}
	if r.Overlaps {
		line("overlaps    = true")
	}
	if !p.Since.IsZero() {
		line("since       = %s", p.Since.Format("2006-01-02T15:04:05Z"))
	}
	p.pastOf(line, r)
}

// guess marks a value that nothing in the clone says.
func guess(is bool) string {
	if is {
		return " # guess"
	}
	return ""
}

func quote(s string) string { return strconv.QuoteToASCII(s) }

func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
