// SPDX-License-Identifier: Apache-2.0

// Package propose says what a maintainer should write: it looks at a project and makes a draft
// of its policy. All that it reads is a suggestion; where it has to choose, it takes the
// stricter reading, and what it does not know it asks. Values in, values out: it prints nothing
// and knows no environment, clock or network.
package propose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/clone"
	"github.com/repopolicy/repopolicy/internal/propose/names"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Project is what is known of a project.
type Project struct {
	Repository policy.Locator
	Default    string            // the default branch
	Tags       []string          // of the Git repository
	Taggers    []string          // addresses of those who made the newest tags, by their own word
	Files      clone.Files       // that are checked out
	Bundles    map[string][]byte // Sigstore bundles in the tree, by path

	clone   *clone.Clone
	catalog *names.Catalog
}

// name returns the name of the repository without its owner.
func (p *Project) name() string {
	path := p.Repository.Path()
	return path[strings.LastIndexByte(path, '/')+1:]
}

// Options are answers that are known already and win over what is found.
type Options struct {
	Workflow    string // path of the one workflow that releases
	Environment string
	Tags        []string // patterns
	Artifacts   []string // patterns
	Since       time.Time
	KeyTarget   *policy.RootTarget // of a trust root, whose key releases, too; nil for none
}

// Finding is something that was found, with what follows from it.
type Finding struct{ Found, Proposes string }

// String is one line that says what was found and what follows.
func (f Finding) String() string {
	switch {
	case f.Question():
		return "question about " + f.Found + ": " + strings.TrimPrefix(f.Proposes, "question: ")
	case strings.HasPrefix(f.Proposes, "no rule"):
		return "found " + f.Found + " → " + f.Proposes
	}
	return "found " + f.Found + " → proposes " + f.Proposes
}

// Question reports whether the finding asks for an answer.
func (f Finding) Question() bool { return strings.HasPrefix(f.Proposes, "question: ") }

// Any is the one element that stands for the word of the policy language.
const Any = "any"

// Proposal is what a policy could say.
type Proposal struct {
	Rules    []Rule
	People   []string  // who may be maintainers too, as comments
	Since    time.Time // of the user, or of the oldest bundle; zero if there is none
	Findings []Finding

	past Past
}

// Rule is a proposed [[release]] table for one workflow, or for a key that a trust root lists.
type Rule struct {
	Name         string
	Workflow     string // path, or URL of a reusable workflow
	Caller       string // "" if the workflow is not called
	SignerRef    string
	SignerDigest string
	KeyTarget    *policy.RootTarget // of a trust root, whose key signs instead of a workflow; nil for a workflow
	Environment  string
	Triggers     []string
	Refs         []string // patterns; nil if tags release
	TagPrefix    string   // what stands before the version of a package in its tags
	Tags         []string // patterns; the one element [tagset.Semver] or [Any] stands for that word
	Artifacts    []string
	Overlaps     bool     // with others, which is meant
	Runner       string   // "" for the forge's own
	Notes        []string // comments before the rule

	GuessTags, GuessArtifacts, GuessEnvironment bool

	kinds []kind
}

func (p *Proposal) found(what, proposes string, args ...any) {
	p.Findings = append(p.Findings, Finding{what, fmt.Sprintf(proposes, args...)})
}

// From returns what is proposed for a project. Without a rule there is nothing to write: the
// findings say why, and what to do.
func From(p Project, o Options) *Proposal {
	out := &Proposal{}
	p.clone = clone.New(p.Files)
	owner, _, _ := strings.Cut(p.Repository.Path(), "/")
	p.catalog = names.Read(p.clone, owner, p.name())
	s := &survey{
		project: &p, out: out, forced: o.Workflow, families: tagset.Families(p.Tags),
		uploads: map[string][]string{}, quiet: map[string]string{}, forbidden: map[string]string{},
		considered: map[string]bool{},
	}
	if p.Repository.Host() == "gitlab.com" {
		s.gitlab()
	} else {
		s.reader = ci.Read(p.clone, ci.Repository{Path: p.Repository.Path(), Default: p.Default}, binding.Workflow)
		s.run()
	}
	s.decide(o)
	if o.Workflow != "" && len(out.Rules) == 0 {
		s.named(o)
	}
	if o.KeyTarget != nil {
		s.keyed(o)
	}
	if out.Since = o.Since; o.Since.IsZero() {
		out.since(p.Bundles)
	}
	out.markOverlaps(p.Repository)
	out.people(
		p.first(".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"),
		p.first(
			"SECURITY-INSIGHTS.yml",
			".github/SECURITY-INSIGHTS.yml",
			"security-insights.yml",
			".github/security-insights.yml",
		),
	)
	out.past.Taggers = p.Taggers
	out.approvers()
	return out
}

func (p *Project) first(names ...string) []byte {
	_, data := p.clone.First(names...)
	return data
}

// named makes a rule for a file that the user named and that says nothing itself.
func (s *survey) named(o Options) {
	r := Rule{
		Name:        s.out.name(o.Workflow, ""),
		Workflow:    o.Workflow,
		Environment: o.Environment,
		Tags:        o.Tags,
		Artifacts:   o.Artifacts,
	}
	if r.Tags == nil {
		if r.Tags = tagset.Patterns(s.main(), s.project.Tags); len(r.Tags) == 0 {
			r.Tags = []string{"v*"}
		}
		r.GuessTags = true
	}
	if r.Artifacts == nil {
		r.Artifacts, r.GuessArtifacts = s.project.catalog.Guess(), true
	}
	s.out.Rules = append(s.out.Rules, r)
	s.out.found("--workflow "+o.Workflow, "rule %s%s", r.Name, r.detail())
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func valid(pattern string) bool {
	_, err := policy.ParsePattern(pattern)
	return err == nil
}

// since finds the time of the oldest bundle. It is not verified: a release from
// that time on is judged like every other.
func (p *Proposal) since(bundles map[string][]byte) {
	oldest := ""
	for _, name := range sorted(bundles) {
		var doc struct {
			VerificationMaterial struct {
				TlogEntries []struct {
					IntegratedTime string `json:"integratedTime"`
				} `json:"tlogEntries"`
			} `json:"verificationMaterial"`
		}
		if json.Unmarshal(bundles[name], &doc) != nil {
			continue
		}
		for _, e := range doc.VerificationMaterial.TlogEntries {
			n, err := strconv.ParseInt(e.IntegratedTime, 10, 64)
			at := time.Unix(n, 0).UTC()
			if err == nil && n > 0 && at.Year() < 10_000 && (p.Since.IsZero() || at.Before(p.Since)) {
				p.Since, oldest = at.Truncate(24*time.Hour), name
			}
		}
	}
	if oldest != "" {
		p.found("bundle "+oldest, "since = %s, for releases from before the policy", p.Since.Format(time.RFC3339))
	}
}

// detail says of a rule what its name does not.
func (r *Rule) detail() string {
	out := ""
	if r.SignerRef != "" {
		out = ", signed by a reusable workflow at " + r.SignerRef
	} else if r.SignerDigest != "" {
		out = ", signed by a reusable workflow at commit " + r.SignerDigest
	}
	if r.Environment != "" {
		out += ", environment " + r.Environment
	}
	return out
}

// calls makes the rule one for a reusable workflow of another repository, whose certificate
// names the callee. It is false if the ref is neither a commit nor the name of a tag or branch.
func (r *Rule) calls(f ci.Foreign) bool {
	r.Workflow = "https://github.com/" + f.Repository + "/" + f.Path
	return r.at(f.Ref)
}

// at sets the ref or commit at which a workflow is called.
func (r *Rule) at(ref string) bool {
	switch {
	case len(ref) == 40 && strings.Trim(ref, "0123456789abcdef") == "":
		r.SignerDigest = ref
		return true
	case strings.HasPrefix(ref, "refs/"):
		r.SignerRef = ref
	case ref[0] >= '0' && ref[0] <= '9', len(ref) > 1 && ref[0] == 'v' && ref[1] >= '0' && ref[1] <= '9':
		r.SignerRef = "refs/tags/" + ref
	default:
		r.SignerRef = "refs/heads/" + ref
	}
	return spelling.ValidRef(r.SignerRef)
}

// name returns a name for a rule, from that of its file, or else with its environment.
func (p *Proposal) name(path, environment string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	base = slug(strings.TrimSuffix(strings.TrimSuffix(base, ".yml"), ".yaml"))
	if base == "" || len(base) > maxName {
		base = "release"
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Name == name })
	}
	longer := base + "-" + slug(environment)
	if environment != "" && environment != base && taken(base) && len(longer) <= maxName {
		base = longer
	}
	name := base
	for n := 2; taken(name); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// maxName is how long a name of a rule may be before a number is added.
const maxName = 60

// slug keeps what the name of a rule may hold.
func slug(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, text), "-._")
}
