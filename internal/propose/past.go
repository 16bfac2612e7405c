// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what is said of the past.
const (
	maxPastNames = 20
	maxAdopted   = 40
)

// Past is what the last releases show. Whoever published them, or serves them today, wrote it:
// it becomes comments that a person reads, and changes no rule.
type Past struct {
	Since      map[string]time.Time // by rule: of the oldest evidence that it allows; empty for none
	Names      []string             // of the files of the releases, as patterns
	Adoptable  []Adoptable
	Publishers []string       // of the releases
	Taggers    []string       // of the newest tags
	Former     policy.Locator // that the forge sends on to the repository; zero for none
}

// Adoptable is a release of which the rules deny files that could be adopted (SPEC 5.8).
type Adoptable struct {
	Tag   string
	Files []AdoptableFile
}

// AdoptableFile is a file with its digest as it is served today.
type AdoptableFile struct{ Name, Digest string }

// oldest returns when the oldest evidence was made that a rule allows; zero for none.
func (p *Past) oldest() (t time.Time) {
	for _, at := range p.Since {
		if t.IsZero() || at.Before(t) {
			t = at
		}
	}
	return t
}

// Remember adds what the last releases show to a proposal, as comments, and says so in findings.
func (p *Proposal) Remember(past Past) {
	alone := p.several() == nil
	past.Taggers = p.past.Taggers
	past.Names = slices.Compact(slices.Sorted(slices.Values(past.Names)))
	past.Names = withoutCovered(slices.DeleteFunc(past.Names, func(s string) bool { return !valid(s) }))
	p.Findings, p.past = nil, past
	if alone {
		p.approvers()
	}
	for name, at := range past.Since {
		past.Since[name] = at.UTC().Truncate(24 * time.Hour)
	}
	if t := past.oldest(); !t.IsZero() && p.Since.IsZero() {
		p.found("releases from before the policy that its rules allow",
			"since = %s, as a comment; --since %s writes it", t.Format(time.RFC3339), t.Format(time.DateOnly))
	}
	if !past.Former.IsZero() {
		p.found("a former name, "+past.Former.String(), "formerly, as a comment")
	}
	for i := range p.Rules {
		if r := &p.Rules[i]; len(p.unnamed(r, past.Names)) > 0 {
			p.found("names of files in the last releases that rule "+r.Name+" only guesses",
				"artifacts, as a comment; --artifacts writes them")
		}
	}
	if n := past.files(); n > 0 {
		p.found(fmt.Sprintf("%d files of the last releases that no rule allows", n), "[[adopted]], as a comment")
	}
}

// files counts what could be adopted.
func (p *Past) files() (n int) {
	for _, a := range p.Adoptable {
		n += len(a.Files)
	}
	return n
}

// unnamed returns patterns that a rule does not cover, whose names of files are a guess.
func (p *Proposal) unnamed(r *Rule, patterns []string) (out []string) {
	if !r.GuessArtifacts || !slices.ContainsFunc(r.kinds, fileKind) && r.kinds != nil {
		return nil
	}
	for _, s := range patterns {
		sample := strings.ReplaceAll(s, "*", "0")
		covered := slices.ContainsFunc(r.Artifacts, func(a string) bool {
			pattern, err := policy.ParsePattern(a)
			return err == nil && pattern.Match(sample)
		})
		if !covered && len(out) < maxPastNames {
			out = append(out, s)
		}
	}
	return out
}

// NamePattern returns the name of a file of a release with the version in it left open, which is
// what follows the first digit of the tag. It is the name itself where that would say too little.
func NamePattern(name, tag string) string {
	version := tag[strings.LastIndexByte(tag, '/')+1:]
	i := strings.IndexAny(version, "0123456789")
	if i < 0 || strings.Contains(name, "*") {
		return name
	}
	version = version[i:]
	var b strings.Builder
	for at := 0; at < len(name); {
		if end := at + len(version); strings.HasPrefix(name[at:], version) && apart(name, at, end) {
			b.WriteByte('*')
			at = end
			continue
		}
		b.WriteByte(name[at])
		at++
	}
	out := b.String()
	if strings.Trim(out, "*.-_") == "" || strings.HasPrefix(out, "*") && strings.HasSuffix(out, "*") {
		return name
	}
	return out
}

// apart reports whether a part of a name stands apart from what is around it, as versions do.
func apart(name string, from, to int) bool {
	const word = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return (from == 0 || !strings.Contains(word, name[from-1:from])) && (to == len(name) ||
		!strings.Contains(word, name[to:to+1]))
}

// several returns the people who own the project, publish its releases or make its tags, if it
// is more than one.
func (p *Proposal) several() []string {
	for _, names := range [][]string{p.People, p.past.Publishers, p.past.Taggers} {
		if len(names) > 1 {
			return names
		}
	}
	return nil
}

// approvers says that approvals are proposed, if several people could give them.
func (p *Proposal) approvers() {
	if who := p.several(); who != nil {
		p.found(fmt.Sprintf("%d people who own, publish or tag", len(who)), "approvals, as a comment")
	}
}

// pastOf writes what the past suggests for one rule.
func (p *Proposal) pastOf(line func(string, ...any), r *Rule) {
	if at := p.past.Since[r.Name]; p.Since.IsZero() && !at.IsZero() {
		line("# Without it the rule says nothing of releases from before this policy:")
		line("# since       = %s", at.Format("2006-01-02T15:04:05Z"))
	}
	if names := p.unnamed(r, p.past.Names); len(names) > 0 {
		line("# The last releases hold files of these names:")
		line("# artifacts   = %s", list(names))
	}
}

// approvals proposes that people approve releases.
func (p *Proposal) approvals(line func(string, ...any)) {
	line("# A hijacked workflow signs as validly as yours does. With several maintainers this")
	line("# demands that one of them approves each release:")
	line("# approvals   = { threshold = 1, from = \"maintainers\" }")
}

// adopted proposes to adopt what rules deny.
func (p *Proposal) adopted(line func(string, ...any)) {
	left := maxAdopted
	for _, a := range p.past.Adoptable {
		files := a.Files[:min(len(a.Files), left)]
		if left -= len(files); len(files) == 0 {
			continue
		}
		line("")
		line("# These files were served when this was written, and no rule allows them. If your own")
		line("# records have the same digests, this allows them for ever:")
		line("# [[adopted]]")
		line("# tag     = %s", quote(a.Tag))
		line("# digests = [")
		for _, f := range files {
			line("#   %s, # %s", quote(f.Digest), quote(f.Name))
		}
		line("# ]")
	}
	if n := p.past.files() - maxAdopted; n > 0 {
		line("# … and %d more files", n)
	}
}
