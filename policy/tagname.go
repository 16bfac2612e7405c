// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// version returns the version that is the only tag of the evidence, "" if it names a tag
// itself, or none. A tag in a signed ref or predicate, valid or not, outweighs what TagSource
// says.
func (c *Claims) version() string {
	switch {
	case c.TagSource != spelling.PackageURL || len(c.Tags) == 0:
	case strings.HasPrefix(c.Signer.Ref(), "refs/tags/"):
	case c.GitHubRelease != nil && c.GitHubRelease.Tag != "":
	default:
		return c.Tags[0]
	}
	return ""
}

// spellings returns the spellings of the evidence's tag under the rule (SPEC 5.1). A version
// counts as tag-prefix and version, and as nothing else; as no tag if that is none.
func (r *Rule) spellings(c *Claims) []string {
	v := c.version()
	switch {
	case r.TagPrefix == "" || v == "":
		return c.Tags
	case spelling.ValidTag(r.TagPrefix + v):
		return []string{r.TagPrefix + v}
	}
	return nil
}

// judged returns the spellings of the tag that is judged under the rule, the demanded one
// alone, and false if it is demanded and not one of them.
func (r *Rule) judged(req Request, c *Claims) ([]string, bool) {
	tags := r.spellings(c)
	switch {
	case req.Tag == "":
		return tags, true
	case slices.Contains(tags, req.Tag):
		return []string{req.Tag}, true
	}
	return tags, false
}

// tags returns the spellings of the tag that is judged, under whichever rule, or the reason
// for which none is (SPEC 5.2, step 4).
func (t *Trusted) tags(req Request, c *Claims) (tags []string, why Reason, detail string) {
	tags = c.Tags
	if t.file != nil && c.version() != "" {
		tags = nil
		for i := range t.file.Rules {
			tags = append(tags, t.file.Rules[i].spellings(c)...)
		}
	}
	switch {
	case req.Tag == "":
		return tags, "", ""
	case len(tags) == 0:
		return nil, TagUnknown, ""
	case !slices.Contains(tags, req.Tag):
		detail := fmt.Sprintf("the evidence names %s (%s), asked for %s", tags[0], c.TagSource, req.Tag)
		if strings.TrimPrefix(tags[0], "v") == strings.TrimPrefix(req.Tag, "v") {
			detail += `: write the tag with its "v", or without it, as the project does`
		}
		return nil, TagMismatch, detail
	}
	return []string{req.Tag}, "", ""
}

// nearestTag returns the tag that is judged under the rule that comes nearest, which is what
// an approval that it lacks would be for.
func (t *Trusted) nearestTag(d *Decision, req Request, c *Claims) string {
	near, _ := d.Nearest()
	r := t.rule(near.Rule)
	if req.Tag != "" || r == nil {
		return d.Tag
	}
	return first(r.spellings(c))
}

// tagMismatch compares the tag with the rule's patterns. Asked says that it is the one that
// the user demands, if any.
func (r *Rule) tagMismatch(req Request, tags []string, asked bool) *Mismatch {
	m := &Mismatch{Field: "tag", Kind: "differs", Want: r.Tags.String(), Got: first(tags)}
	switch {
	case !asked:
		m.Want = req.Tag
		if len(tags) == 0 {
			m.Kind = "missing"
		}
		m.Hint = "under this rule the version of a package URL is the tag itself"
		if r.TagPrefix != "" {
			m.Hint = fmt.Sprintf("under this rule %q stands before the version of a package URL", r.TagPrefix)
		}
	case r.Tags.any:
		return nil
	case len(tags) == 0:
		m.Kind = "missing"
		m.Hint = `the signed evidence names no tag; only a rule with tags = "any" takes it`
	case !slices.ContainsFunc(tags, r.Tags.Match):
	default:
		return nil
	}
	return m
}

// spells reports whether the version of a package URL, of an artifact of these names, counts
// as the tag under a rule of the file with a tag-prefix.
func (f *File) spells(tag, version string, names []string) bool {
	return f != nil && version != "" && slices.ContainsFunc(f.Rules, func(r Rule) bool {
		return r.TagPrefix != "" && r.TagPrefix+version == tag &&
			(len(names) == 0 || slices.ContainsFunc(names, r.Artifacts.Match))
	})
}

// tagPrefix returns the beginning of a tag at k, "" if there is none. It has the bytes that a
// pattern may have, and a tag, so no '*'.
func (n *node) tagPrefix(k string) string {
	s := n.asciiKey(k, false)
	if s == "" {
		return ""
	}
	if _, err := ParsePattern(s + "0"); err != nil || !spelling.ValidTag(s+"0") {
		n.bad(k, `write what stands before the version, such as "widget@"`, "is not how a tag can begin, literally")
		return ""
	}
	return s
}

// namesVersions reports whether evidence that the rule takes may name no tag but the version
// of a package URL: not where a run for a tag or a release of GitHub names one.
func (r *Rule) namesVersions() bool {
	return !r.GitHubRelease && r.Target == nil && (r.Workflow == nil || r.branches())
}

// branches reports whether refs name a branch.
func (r *Rule) branches() bool {
	return slices.ContainsFunc(r.Refs.list, func(p Pattern) bool { return strings.HasPrefix(p.text, "refs/heads/") })
}

// branchesOnly reports whether refs name branches and no tag.
func (r *Rule) branchesOnly() bool {
	return r.branches() && !slices.ContainsFunc(r.Refs.list, func(p Pattern) bool {
		return strings.HasPrefix(p.text, "refs/tags/")
	})
}

// plainVersions begin the package URLs of registries in which every version begins with a digit.
var plainVersions = []string{"pkg:npm/", "pkg:pypi/", "pkg:cargo/", "pkg:gem/", "pkg:nuget/"}

// noVersion returns the first pattern of tags if no version of a package can match any of
// them, as far as that is known; else "".
func (r *Rule) noVersion() string {
	plain := !slices.ContainsFunc(r.Artifacts.list, func(p Pattern) bool {
		return !slices.ContainsFunc(plainVersions, func(s string) bool { return strings.HasPrefix(p.text, s) })
	})
	for _, p := range r.Tags.list {
		literal, _, _ := strings.Cut(p.text, "*")
		switch c := strings.TrimPrefix(literal, "v"); {
		case c == "" || '0' <= c[0] && c[0] <= '9':
			return ""
		case !strings.ContainsAny(literal, "@/") && (r.Artifacts.any || !plain):
			return ""
		}
	}
	if len(r.Tags.list) == 0 {
		return ""
	}
	return r.Tags.list[0].text
}

// sameTags reports whether evidence may have a tag that both rules match, or a version that
// counts as one tag under one rule and as one under the other.
func (r *Rule) sameTags(o *Rule) bool {
	return r.Tags.overlaps(o.Tags) ||
		(r.TagPrefix != "" || o.TagPrefix != "") && r.namesVersions() && o.namesVersions() &&
			r.versions().overlaps(o.versions())
}

// versions returns patterns that match at least the versions of package URLs that count as
// tags of the rule.
func (r *Rule) versions() PatternSet {
	switch {
	case r.TagPrefix != "":
		return r.Tags.after(r.TagPrefix)
	case r.Tags.any || r.Tags.semver:
		return r.Tags
	}
	return PatternSet{list: append(r.Tags.after("v").list, r.Tags.list...)}
}

// after returns patterns that match at least what follows the prefix in names that the set
// matches, and nothing if none begins so.
func (s PatternSet) after(prefix string) PatternSet {
	if s.any {
		return s
	}
	if s.semver {
		if c := strings.TrimPrefix(prefix, "v"); c != "" && (c[0] < '0' || c[0] > '9') {
			return PatternSet{}
		}
	}
	var out PatternSet
	for _, p := range s.spread() {
		out.list = append(out.list, p.after(prefix)...)
	}
	return out
}

// after returns patterns that together match what follows the prefix in the names that p
// matches, if that is not empty.
func (p Pattern) after(prefix string) []Pattern {
	at := []int{0} // places in the pattern that the prefix can lead to
	for i := range len(prefix) {
		var next []int
		for _, k := range p.open(at) {
			switch c := p.text[k]; {
			case c == '*' && prefix[i] != '/':
				next = append(next, k)
			case c == prefix[i] && c != '*':
				next = append(next, k+1)
			}
		}
		slices.Sort(next)
		at = slices.Compact(next)
	}
	var out []Pattern
	for _, k := range at {
		if k < len(p.text) {
			out = append(out, Pattern{p.text[k:]})
		}
	}
	return out
}

// open adds to places in the pattern those that an empty run of '*' leads to, and leaves out
// its end.
func (p Pattern) open(at []int) []int {
	var out []int
	for _, k := range at {
		for ; k < len(p.text); k++ {
			if out = append(out, k); p.text[k] != '*' {
				break
			}
		}
	}
	return out
}
