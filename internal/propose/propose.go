// SPDX-License-Identifier: Apache-2.0

// Package propose looks at a project and proposes a policy for it. All that it
// reads is a suggestion: what it proposes is a draft for the maintainers, and
// where it has to choose, it takes the stricter reading. Bytes in, text out.
package propose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// Project is what is known of a project.
type Project struct {
	Repository policy.Locator
	Tags       []string          // of the Git repository
	Workflows  map[string][]byte // by path
	Bundles    map[string][]byte // Sigstore bundles in the tree, by path
	Owners     []byte            // CODEOWNERS; nil if there is none
	Insights   []byte            // SECURITY-INSIGHTS.yml; nil if there is none
	Package    []byte            // package.json; nil if there is none
}

// Options are answers that are known already and win over what is found.
type Options struct {
	Workflow    string // path of the one workflow that releases
	Environment string
	Tags        []string // patterns
	Artifacts   []string // patterns
}

// Finding is something that was found, with what follows from it.
type Finding struct{ Found, Proposes string }

// Proposal is what a policy could say.
type Proposal struct {
	Tags     []string // patterns; the one element "semver" stands for that word
	Rules    []Rule
	People   []string  // who may be maintainers too, as comments
	Since    time.Time // of the oldest bundle; zero if there is none
	Findings []Finding
}

// Rule is a proposed [[release]] table for one workflow.
type Rule struct {
	Name         string
	Workflow     string // path, or URL of a reusable workflow
	Caller       string // "" if the workflow is not called
	SignerRef    string
	SignerDigest string
	Environment  string
	Triggers     []string
	Branches     []string // full refs; nil if tags release
	Artifacts    []string
}

func (p *Proposal) found(what, proposes string, args ...any) {
	p.Findings = append(p.Findings, Finding{what, fmt.Sprintf(proposes, args...)})
}

// From returns what is proposed for a project.
func From(p Project, o Options) *Proposal {
	out := &Proposal{}
	out.Tags = o.Tags
	if out.Tags == nil {
		out.Tags = out.tags(p.Tags)
	}
	out.rules(p, o)
	out.since(p.Bundles)
	out.people(p.Owners, p.Insights)
	return out
}

// tags proposes patterns for the tags of releases.
func (p *Proposal) tags(names []string) []string {
	v, plain := 0, 0
	prefixes := map[string]int{}
	for _, name := range names {
		i := strings.IndexFunc(name, func(r rune) bool { return r >= '0' && r <= '9' })
		switch {
		case i < 0:
		case i == 0:
			plain++
		case name[:i] == "v":
			v++
		default:
			prefixes[name[:i]]++
		}
	}
	best := ""
	for _, prefix := range sorted(prefixes) {
		if _, err := policy.ParsePattern(prefix + "*"); err == nil && prefixes[prefix] > prefixes[best] {
			best = prefix
		}
	}
	switch most := max(v, plain, prefixes[best]); {
	case most == 0:
		p.found("no tag of a version", `tags = ["v*"]`)
		return []string{"v*"}
	case most == v && plain == 0:
		p.found(tagsLike(v, "v1"), `tags = ["v*"]`)
		return []string{"v*"}
	case most == prefixes[best]:
		p.found(tagsLike(most, best+"1"), "tags = [%q]", best+"*")
		return []string{best + "*"}
	}
	p.found(tagsLike(v+plain, "1.2.3"), `tags = "semver"`)
	return []string{"semver"}
}

func tagsLike(n int, example string) string {
	if n == 1 {
		return "a tag like " + example
	}
	return fmt.Sprintf("%d tags like %s", n, example)
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// artifacts proposes the names of what is released. What is called otherwise is
// denied until the policy names it.
func artifacts(repo policy.Locator) []string {
	_, name, _ := strings.Cut(repo.Path(), "/")
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	return []string{name + "*", "SHA256SUMS"}
}

// npmPackage returns a pattern for the versions of the package of a package.json.
func npmPackage(data []byte) (pattern string, ok bool) {
	var doc struct {
		Name    string `json:"name"`
		Private bool   `json:"private"`
	}
	if json.Unmarshal(data, &doc) != nil || doc.Name == "" || doc.Private {
		return "", false
	}
	pattern = "pkg:npm/" + strings.Replace(doc.Name, "@", "%40", 1) + "@*"
	_, err := policy.ParsePattern(pattern)
	return pattern, err == nil
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
			if at := time.Unix(n, 0).UTC(); err == nil && n > 0 && at.Year() < 10_000 && (p.Since.IsZero() || at.Before(p.Since)) {
				p.Since, oldest = at.Truncate(24*time.Hour), name
			}
		}
	}
	if oldest != "" {
		p.found("bundle "+oldest, "since = %s, for releases from before the policy", p.Since.Format(time.RFC3339))
	}
}
