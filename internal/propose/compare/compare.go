// SPDX-License-Identifier: Apache-2.0

// Package compare says what changes between two versions of a policy, and which
// of the changes allow something that the old version did not.
package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// Kind is how something changed.
type Kind string

// The kinds.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

// Change is one difference.
type Change struct {
	Path string // such as "maintainers.threshold" or "release.binaries.tags"
	Kind Kind
	Old  string // "" if added
	New  string // "" if removed
	// Loosens is false only where the change cannot allow anything new. A later
	// expiry is not counted: that is what renewing is.
	Loosens bool
}

// Policies returns the differences from one policy to the next, in the order of
// the file. A nil old policy is one that allows nothing.
func Policies(before, after *policy.File) []Change {
	if before == nil {
		before = &policy.File{}
	}
	c := &comparison{}
	c.scalar("repository", locator(before.Repository), locator(after.Repository), anyChange)
	c.scalar("expires", moment(before.Expires), moment(after.Expires), never)
	c.scalar("tombstone", flag(before.Tombstone), flag(after.Tombstone), unlessSet)
	c.scalar("owner-changed", flag(before.OwnerChanged), flag(after.OwnerChanged), whenSet)
	c.scalar("recovers", before.Recovers, after.Recovers, whenSet)
	c.scalar("recovery.delay", days(before.Recovery), days(after.Recovery), func(string, string) bool {
		return after.Recovery > 0 && (before.Recovery == 0 || after.Recovery < before.Recovery)
	})
	c.scalar("handover.repository-id", before.Handover, after.Handover, whenSet)
	c.maintainers(&before.Maintainers, &after.Maintainers)
	c.named(
		"release",
		ruleNames(before.Rules),
		ruleNames(after.Rules),
		func(name string) string { return describe(ruleOf(after.Rules, name)) },
		func(name string) {
			c.rule("release."+name, ruleOf(before.Rules, name), ruleOf(after.Rules, name))
		},
	)
	c.set("revoked", revoked(before), revoked(after), never) // removing one lifts nothing
	c.set("yanked", yanked(before), yanked(after), never)
	c.set("restored", restored(before), restored(after), whenSet)
	c.set("adopted", adopted(before), adopted(after), whenSet)
	c.set("void", before.Void, after.Void, whenSet)
	c.set("acknowledged", before.Acknowledged, after.Acknowledged, whenSet)
	return c.out
}

type comparison struct{ out []Change }

// loosens says whether going from a value to another, each "" if there is none,
// can allow something new.
type loosens func(before, after string) bool

func anyChange(string, string) bool      { return true }
func never(string, string) bool          { return false }
func whenSet(_, after string) bool       { return after != "" }
func unlessSet(before, _ string) bool    { return before != "" }
func fewer(before, after string) bool    { return number(after) < number(before) }
func number(s string) int                { n, _ := strconv.Atoi(s); return n }
func unlessAny(before, _ string) bool    { return before != "any" }
func laterOrNone(before, to string) bool { return before != "" && (to == "" || to > before) }
func earlierOrNew(before, to string) bool {
	return before == "" || to == "" || to < before
}

func (c *comparison) scalar(path, before, after string, l loosens) {
	if before == after {
		return
	}
	kind := Changed
	if before == "" {
		kind = Added
	} else if after == "" {
		kind = Removed
	}
	c.out = append(c.out, Change{path, kind, before, after, l(before, after)})
}

// set compares values of which the order means nothing.
func (c *comparison) set(path string, before, after []string, l loosens) {
	for _, v := range before {
		if !slices.Contains(after, v) {
			c.out = append(c.out, Change{path, Removed, v, "", l(v, "")})
		}
	}
	for _, v := range after {
		if !slices.Contains(before, v) {
			c.out = append(c.out, Change{path, Added, "", v, l("", v)})
		}
	}
}

// patterns compares what may match: all that is new loosens, unless everything
// matched before.
func (c *comparison) patterns(path string, before, after policy.PatternSet) {
	l := whenSet
	if before.Any() {
		l = never
	}
	c.set(path, patterns(before), patterns(after), l)
}

// named compares lists of things with a name.
func (c *comparison) named(path string, before, after []string, describe func(string) string, both func(name string)) {
	for _, name := range before {
		if !slices.Contains(after, name) {
			c.out = append(c.out, Change{path, Removed, name, "", false})
		}
	}
	for _, name := range after {
		if slices.Contains(before, name) {
			both(name)
		} else {
			c.out = append(c.out, Change{path, Added, "", name + ": " + describe(name), true})
		}
	}
}

func (c *comparison) maintainers(before, after *policy.Maintainers) {
	c.scalar("maintainers.threshold", count(before.Threshold), count(after.Threshold), fewer)
	c.scalar("maintainers.repository", flag(before.Repository), flag(after.Repository), whenSet)
	find := func(m *policy.Maintainers, name string) policy.Member {
		return m.Members[slices.IndexFunc(m.Members, func(x policy.Member) bool { return x.Name == name })]
	}
	names := func(m *policy.Maintainers) (out []string) {
		for _, x := range m.Members {
			out = append(out, x.Name)
		}
		return out
	}
	c.named("maintainers.member", names(before), names(after), func(name string) string {
		m := find(after, name)
		return strings.Join(append(principals(m.Identities), keys(m.Keys)...), ", ")
	}, func(name string) {
		x, y := find(before, name), find(after, name)
		c.set("maintainers.member."+name+".identities", principals(x.Identities), principals(y.Identities), whenSet)
		c.set("maintainers.member."+name+".keys", keys(x.Keys), keys(y.Keys), whenSet)
	})
}

func flag(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func days(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

func locator(l policy.Locator) string {
	if l.IsZero() {
		return ""
	}
	return l.String()
}

func patterns(s policy.PatternSet) []string {
	switch {
	case s.Any():
		return []string{"any"}
	case s.Semver():
		return []string{"semver"}
	}
	var out []string
	for _, p := range s.Patterns() {
		out = append(out, p.String())
	}
	return out
}

func principals(ps []policy.Principal) []string {
	var out []string
	for _, p := range ps {
		out = append(out, principal(p))
	}
	return out
}

func principal(p policy.Principal) string {
	s := fmt.Sprintf("%s %s by %s", p.Kind, p.Value, p.Issuer)
	if p.Subject != "" {
		s += ", subject " + p.Subject
	}
	return s
}

func keys(ks []policy.Key) []string {
	var out []string
	for _, k := range ks {
		out = append(out, "key sha256:"+k.ID)
	}
	return out
}
