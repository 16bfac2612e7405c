// SPDX-License-Identifier: Apache-2.0

// Package tagset finds out how a project names its tags, and which patterns match those of a
// release and nothing wider. Names in, patterns out.
package tagset

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// newest is how many tags of a family count: how a project named its first releases says
// nothing of the next.
const newest = 40

// Family are the tags that differ in their version alone.
type Family struct {
	Prefix string   // what stands before the version, such as v or core-v
	Tags   []string // newest versions first
	moving []string // that name another release from time to time
}

// Sample is the newest tag.
func (f Family) Sample() string { return f.Tags[0] }

// Families divides tags by what stands before their versions. Left out are what has no version,
// and tags that move: v6 beside v6.2.0, and 2.3.x. If no version has dots, other ways of writing
// one count.
func Families(tags []string) []Family {
	if out := families(tags, versionAt); len(out) > 0 {
		return out
	}
	return families(tags, otherVersionAt)
}

func families(tags []string, at func(string) int) (out []Family) {
	byPrefix := map[string][]string{}
	for _, tag := range tags {
		if i := at(tag); i >= 0 && spelling.ValidTag(tag) {
			byPrefix[tag[:i]] = append(byPrefix[tag[:i]], tag)
		}
	}
	for prefix, all := range byPrefix {
		dotted := func(tag string) string {
			version := tag[len(prefix):]
			return strings.ReplaceAll(version, string(separatorOf(version)), ".")
		}
		arrange.By(all, func(a, b string) int { return cmp.Or(compare(dotted(b), dotted(a)), cmp.Compare(b, a)) })
		all = slices.Compact(all)
		f := Family{Prefix: prefix}
		for _, tag := range all {
			if moves(tag[len(prefix):], prefix, all) {
				f.moving = append(f.moving, tag)
			} else if len(f.Tags) < newest {
				f.Tags = append(f.Tags, tag)
			}
		}
		if len(f.Tags) > 0 {
			out = append(out, f)
		}
	}
	arrange.By(out, func(a, b Family) int { return cmp.Compare(a.Prefix, b.Prefix) })
	return out
}

// otherVersionAt is like versionAt for versions such as 1_2_3 and 2026-01-31, and b1234.
func otherVersionAt(tag string) int {
	if len(tag) > 1 && !digit(tag[0]) && strings.Trim(tag[1:], "0123456789") == "" {
		return 1
	}
	for i := lastPart(tag); i < len(tag); i++ {
		if !digit(tag[i]) || i > 0 && digit(tag[i-1]) {
			continue
		}
		separator := separatorOf(tag[i:])
		if n := parts(tag[i:], separator); (n > 1 || n > 0 && separator == '_') && !between(tag[:i]) {
			return i
		}
	}
	return -1
}

// lastPart returns where the last part of a tag's path begins. A version stands there, since no * of a
// pattern is for a slash.
func lastPart(tag string) int { return strings.LastIndexByte(tag, '/') + 1 }

// between reports whether what stands before a version says that it is none of a release.
func between(prefix string) bool {
	return slices.ContainsFunc(
		[]string{"nightly", "weekly", "daily", "snapshot", "canary", "edge", "dev", "ci", "test", "staging"},
		func(word string) bool { return strings.TrimRight(strings.ToLower(prefix), "-_./") == word })
}

// separatorOf returns what stands after the first number of a version.
func separatorOf(version string) byte {
	rest := strings.TrimLeft(version, "0123456789")
	if rest != "" && (rest[0] == '_' || rest[0] == '-') {
		return rest[0]
	}
	return '.'
}

// versionAt returns where the version of a tag begins; -1 if there is none. Two numbers with a
// dot between them are a version wherever they stand, one number only at the end.
func versionAt(tag string) int {
	weak := -1
	for i := lastPart(tag); i < len(tag); i++ {
		if !digit(tag[i]) || i > 0 && digit(tag[i-1]) {
			continue
		}
		end := i
		for end < len(tag) && digit(tag[end]) {
			end++
		}
		if dotted(tag[end:]) {
			return i
		}
		if weak < 0 && end == len(tag) && parted(tag, i) {
			weak = i
		}
	}
	return weak
}

// dotted reports whether a version goes on after its first number.
func dotted(rest string) bool {
	return len(rest) > 1 && rest[0] == '.' && (digit(rest[1]) || rest[1:] == "x")
}

// parted reports whether a number alone can be a version: it does not end a word or a date.
func parted(tag string, i int) bool {
	return i == 0 || strings.IndexByte("v-_/@.", tag[i-1]) >= 0 && !dated(tag, i)
}

// dated reports whether the number at i ends a date or version written with other separators.
func dated(tag string, i int) bool {
	return i > 1 && (tag[i-1] == '-' || tag[i-1] == '_') && digit(tag[i-2])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// dots returns how many dots the numbers of a version have between them.
func dots(version string) int { return parts(version, '.') }

// parts is like dots for any separator.
func parts(version string, separator byte) int {
	n := 0
	for i := 0; i < len(version); i++ {
		if version[i] == separator && i+1 < len(version) && digit(version[i+1]) {
			n++
		} else if !digit(version[i]) {
			break
		}
	}
	return n
}

// moves reports whether a version is the beginning of others of its family, or ends in x.
func moves(version, prefix string, all []string) bool {
	if strings.HasSuffix(version, ".x") {
		return true
	}
	if strings.Trim(version, "0123456789.") != "" || dots(version) > 1 {
		return false
	}
	longer := false
	for _, other := range all {
		rest, ok := strings.CutPrefix(other, prefix+version+".")
		if ok && rest == "0" && dots(version) == 1 {
			return true // v4.2 beside v4.2.0
		}
		longer = longer || ok && rest != "x" && dots(other[len(prefix):]) == 2
	}
	// 26.2 beside 26.2.1 is a release of two parts, unless most have three.
	return longer && (dots(version) == 0 || mostlyThree(prefix, all))
}

func mostlyThree(prefix string, all []string) bool {
	three := 0
	for _, t := range all {
		if dots(t[len(prefix):]) >= 2 {
			three++
		}
	}
	return 5*three >= 4*len(all)
}

// compare orders versions by their numbers; a pre-release comes before what it leads to.
func compare(a, b string) int {
	for a != "" && b != "" {
		x, restA := number(a)
		y, restB := number(b)
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		a, b = restA, restB
		if a == "" || b == "" || a[0] != '.' || b[0] != '.' {
			break
		}
		a, b = a[1:], b[1:]
	}
	switch {
	case a == b:
		return 0
	case a == "" && b[0] == '.':
		return -1
	case a == "":
		return 1
	case b == "":
		return -compare(b, a)
	}
	return cmp.Compare(a, b)
}

func number(s string) (int, string) {
	i := 0
	for i < len(s) && digit(s[i]) {
		i++
	}
	n, _ := strconv.Atoi(s[:min(i, 15)])
	return n, s[i:]
}

// Semver is the word of the policy language for versions of Semantic Versioning.
const Semver = "semver"

// Patterns returns patterns for the tags of some families, and the likes of them to come, that
// match none of the others. The one element [Semver] stands for that word.
func Patterns(families []Family, tags []string) []string {
	if allSemver(families) &&
		!slices.ContainsFunc(tags, func(t string) bool { return isSemver(t) && !covered(families, t) }) {
		return []string{Semver}
	}
	var out []string
	for _, f := range families {
		for _, p := range f.patterns(families, tags) {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// allSemver reports whether the word fits: some tags have no v, and all are versions by it.
func allSemver(families []Family) bool {
	bare := false
	for _, f := range families {
		bare = bare || f.Prefix == ""
		if slices.ContainsFunc(f.Tags, func(t string) bool { return !isSemver(t) }) {
			return false
		}
	}
	return bare
}

// covered reports whether a tag belongs to one of the families.
func covered(families []Family, tag string) bool {
	i := versionAt(tag)
	if i < 0 {
		i = otherVersionAt(tag)
	}
	return i >= 0 && slices.ContainsFunc(families, func(f Family) bool { return f.Prefix == tag[:i] })
}

func (f Family) patterns(families []Family, tags []string) []string {
	least, separator := 2, separatorOf(f.Tags[0][len(f.Prefix):])
	for _, t := range f.Tags {
		least = min(least, parts(t[len(f.Prefix):], separator))
	}
	shape := strings.Repeat(string(separator)+"*", least)
	wide := f.Prefix + "*" + shape
	others := func(p string) bool {
		foreign := func(t string) bool { return matches(p, t) && (!covered(families, t) || slices.Contains(f.moving, t)) }
		return slices.ContainsFunc(tags, foreign)
	}
	if valid(wide) && f.Prefix != "" && !others(wide) {
		return []string{wide}
	}
	var out []string
	for _, d := range f.digits() {
		if p := f.Prefix + string(d) + "*" + shape; valid(p) {
			out = append(out, p)
		}
	}
	if f.Prefix != "" && valid(wide) && slices.ContainsFunc(out, others) {
		return []string{wide} // digits tell them apart no better
	}
	return out
}

// digits returns with which digits versions begin, and with which the next will.
func (f Family) digits() []byte {
	seen := map[byte]bool{}
	for i, t := range f.Tags {
		version := t[len(f.Prefix):]
		seen[version[0]] = true
		if n, _ := number(version); i == 0 {
			seen[strconv.Itoa(n + 1)[0]] = true
		}
	}
	var out []byte
	for d := range seen {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

// isSemver reports whether a tag is a version of Semantic Versioning, with or without a v.
func isSemver(tag string) bool {
	version := strings.TrimPrefix(tag, "v")
	return dots(version) == 2 && semver.IsValid("v"+version)
}

func valid(pattern string) bool {
	_, err := policy.ParsePattern(pattern)
	return err == nil
}

func matches(pattern, name string) bool {
	p, err := policy.ParsePattern(pattern)
	return err == nil && p.Match(name)
}
