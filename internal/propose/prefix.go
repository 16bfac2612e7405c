// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/names"
	"github.com/repopolicy/repopolicy/internal/propose/tagset"
)

// prefixed are packages whose tags have the same beginning, and the patterns of these tags.
type prefixed struct {
	prefix   string // "" for tags that are a version, with or without v
	tags     []string
	packages []string // patterns
}

// byPrefix divides packages by the tags that a project makes for them. Evidence of such a package
// names its version alone, so that a rule has to say what stands before it in the tag.
func (s *survey) byPrefix(patterns []string) (out []prefixed) {
	for _, p := range patterns {
		prefix, tags := s.prefixOf(p)
		i := slices.IndexFunc(out, func(x prefixed) bool { return x.prefix == prefix })
		if i < 0 {
			i = len(out)
			out = append(out, prefixed{prefix: prefix, tags: tags})
		}
		out[i].packages = append(out[i].packages, p)
	}
	return out
}

// prefixOf returns what stands before the version in the tags of a package.
func (s *survey) prefixOf(pattern string) (string, []string) {
	plain := []string{tagset.Semver}
	all := s.project.catalog.NPM
	i := slices.IndexFunc(all, func(p names.Package) bool { return names.NPMPackage(p.Name) == pattern })
	if i < 0 {
		return "", plain
	}
	// Packages for single platforms have the tags of the one whose manifest names them.
	i = slices.IndexFunc(all, func(p names.Package) bool { return p.Dir == all[i].Dir })
	name := all[i].Name
	for _, stem := range []string{name, path.Base(name), path.Base(all[i].Dir)} {
		for _, tail := range []string{"@", "@v", "-v", "-", "/v", "/"} {
			for _, f := range s.families {
				if f.Prefix == stem+tail {
					return f.Prefix, tagset.Patterns([]tagset.Family{f}, s.project.Tags)
				}
			}
		}
	}
	hasAny := func(fits func(prefix string) bool) bool {
		return slices.ContainsFunc(s.families, func(f tagset.Family) bool { return fits(f.Prefix) })
	}
	named := hasAny(func(p string) bool { return len(p) > 1 && strings.HasSuffix(p, "@") })
	if named && !hasAny(func(p string) bool { return p == "" || p == "v" }) {
		return name + "@", []string{name + "@*.*.*"} // as the others are called
	}
	return "", plain
}
