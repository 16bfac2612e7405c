// SPDX-License-Identifier: Apache-2.0

// Package names reads from the manifests of a clone what a project calls its releases: packages,
// files and images. What it returns are patterns of the policy language.
package names

import (
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

// Package is what one manifest says of a package.
type Package struct {
	Name    string
	Dir     string
	Private bool // it is not published
}

// Catalog is what the manifests of a clone say.
type Catalog struct {
	NPM    []Package
	Python []Package
	Crates []Package
	Gems   []Package
	Maven  []Package
	Charts []Package
	NuGet  []Package
	Apps   []Package // of desktops
	Conda  []Package
	Bins   []Package // programs that crates name
	Module string    // path of the Go module
	Go     []*GoReleaser
	Repo   string // name of the repository
	Owner  string
}

// Read reads the manifests of a clone of owner/repo.
func Read(c *clone.Clone, owner, repo string) *Catalog {
	return &Catalog{
		NPM: npmPackages(c), Python: pythonPackages(c), Crates: crates(c), Gems: gems(c), Maven: artifacts(c),
		Charts: charts(c), NuGet: nugets(c), Apps: apps(c), Conda: recipes(c), Bins: programs(c), Go: goreleasers(c),
		Module: moduleOf(c), Owner: owner, Repo: repo,
	}
}

// published returns the packages that are not private.
func published(all []Package) (out []Package) {
	for _, p := range all {
		if !p.Private && p.Name != "" {
			out = append(out, p)
		}
	}
	return out
}

// each returns patterns for the published packages, each once.
func each(all []Package, patterns ...func(name string) string) (out []string) {
	for _, p := range published(all) {
		for _, pattern := range patterns {
			if s := pattern(p.Name); s != "" && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// NPMPackage is the pattern for all versions of a package.
func NPMPackage(name string) string { return "pkg:npm/" + strings.Replace(name, "@", "%40", 1) + "@*" }

// NPMPatterns returns patterns for the packages of npm.
func (c *Catalog) NPMPatterns() []string { return each(c.NPM, NPMPackage) }

// PythonPatterns returns patterns for distributions, which are named by files.
func (c *Catalog) PythonPatterns() []string {
	return each(c.Python,
		func(n string) string { return normal(n, "_") + "-*.whl" },
		func(n string) string { return normal(n, "_") + "-*.tar.gz" },
		func(n string) string {
			if n = normal(n, "-"); strings.Contains(n, "-") {
				return n + "-*.tar.gz" // as older tools name it
			}
			return ""
		})
}

// normal is the name of a Python distribution as files have it.
//
// https://packaging.python.org/en/latest/specifications/name-normalization/
func normal(name, separator string) string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_.", r) })
	return strings.Join(parts, separator)
}

// CratePatterns returns patterns for crates: the file, and the package's address.
func (c *Catalog) CratePatterns() []string {
	return each(c.Crates,
		func(n string) string { return n + "-*.crate" },
		func(n string) string { return "pkg:cargo/" + n + "@*" })
}

// CondaPatterns returns patterns for packages of conda.
func (c *Catalog) CondaPatterns() []string {
	return each(c.Conda, func(n string) string { return n + "-*.conda" })
}

// GemPatterns returns patterns for gems.
func (c *Catalog) GemPatterns() []string {
	return each(c.Gems, func(n string) string { return n + "-*.gem" })
}

// NuGetPatterns returns patterns for packages of NuGet.
func (c *Catalog) NuGetPatterns() []string {
	return each(c.NuGet, func(n string) string { return n + ".*" })
}

// MavenPatterns returns patterns for the files of Maven's artifacts.
func (c *Catalog) MavenPatterns() []string {
	return each(c.Maven, func(n string) string { return n + "-*" })
}

// Guess returns patterns for files whose names nothing says: what Python builds, if that is all
// that there is, or what begins like the project.
func (c *Catalog) Guess() []string {
	if python := c.PythonPatterns(); len(python) > 0 && len(c.Go)+len(c.Crates)+len(published(c.NPM)) == 0 {
		return python
	}
	stems := []string{c.Repo, normal(c.Repo, "_")}
	for _, list := range [][]Package{c.Crates, c.Python, c.NPM} {
		for _, p := range published(list) {
			if p.Dir == "." {
				name := p.Name[strings.LastIndexByte(p.Name, '/')+1:]
				stems = append(stems, name, normal(name, "_"))
			}
		}
	}
	for _, b := range c.Bins {
		stems = append(stems, b.Name)
	}
	for _, a := range c.Apps {
		stems = append(stems, strings.Join(strings.Fields(a.Name), "*"))
	}
	var out []string
	for _, g := range c.Go {
		if g.Dir == "." {
			stems = append(stems, g.Project)
			out = append(out, g.Files...)
		}
	}
	for _, s := range stems {
		if s != "" && !slices.ContainsFunc(out, func(o string) bool { return o == s+"*" }) {
			out = append(out, s+"*")
		}
	}
	return out
}

// Below returns what of the packages lies in a directory or under it; all if none does.
func Below(all []Package, dir string) (out []Package) {
	dir = path.Clean(dir)
	for _, p := range all {
		if p.Dir == dir || strings.HasPrefix(p.Dir, dir+"/") {
			out = append(out, p)
		}
	}
	if out == nil {
		return all
	}
	return out
}
