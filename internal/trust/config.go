// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a configuration.
const (
	MaxConfigBytes = 1 << 20
	maxRoots       = 100
	maxScopes      = 1000
	maxPatterns    = 100
	maxSupers      = 100
)

const configFormat = "repopolicy-trust/v1"

// Config is the user's map: which trusted roots there are and for which
// repositories each of them speaks (SPEC 17). It comes from the user alone.
type Config struct {
	Roots   []NamedRoot
	Scopes  []Scope
	Anchors []Super
	Dir     string // from which relative paths in it start
}

// NamedRoot is a trust root that the user named: a TUF repository and the root
// metadata from which it is followed.
type NamedRoot struct {
	Name    string `toml:"name"`
	URL     string `toml:"url"`     // where the TUF repository is
	Initial string `toml:"initial"` // file with the root metadata to begin with
	SHA256  string `toml:"sha256"`  // hex digest that this file has to have; "" for any
	// Identities names the root under which keys that are OIDC identities sign (SPEC
	// 18.3); "" for that of the public instance.
	Identities string `toml:"identities"`
	// Beside names roots for which this one says what they do not say themselves: a
	// directory and a forge table.
	Beside []string `toml:"beside"`
}

// Super says which root anchors some repositories (SPEC 18.1).
type Super struct {
	Repositories []string `toml:"repositories"` // patterns, as in a scope
	Root         string   `toml:"root"`
}

// Scope says which roots speak for some repositories.
type Scope struct {
	// Repositories are patterns of locators: the host is literal, "*" stands for
	// one segment of the path and "**" at the end for one or more.
	Repositories []string `toml:"repositories"`
	Roots        []string `toml:"roots"`
	// Threshold is how many of the roots have to allow an artifact, each with a
	// chain and evidence of its own.
	Threshold int `toml:"threshold"`
	// Continue says that the next scope is asked where these roots know no policy of the
	// repository.
	Continue bool `toml:"continue"`
}

// ParseConfig reads a configuration. Unknown keys, names that are not listed or
// listed twice, and patterns that can match nothing are errors.
func ParseConfig(data []byte) (*Config, error) {
	if len(data) > MaxConfigBytes {
		return nil, fmt.Errorf("configuration of %d bytes, at most %d are read", len(data), MaxConfigBytes)
	}
	var doc struct {
		Format string      `toml:"format"`
		Root   []NamedRoot `toml:"root"`
		Scope  []Scope     `toml:"scope"`
		Anchor []Super     `toml:"anchor"`
	}
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&doc); err != nil {
		return nil, located(err)
	}
	if err := exactKeys(data); err != nil {
		return nil, err
	}
	if doc.Format != configFormat {
		return nil, fmt.Errorf("format %q is not %q", doc.Format, configFormat)
	}
	if len(doc.Root) > maxRoots || len(doc.Scope) > maxScopes || len(doc.Anchor) > maxSupers {
		return nil, fmt.Errorf("%d roots, %d scopes and %d anchors, at most %d, %d and %d are read",
			len(doc.Root), len(doc.Scope), len(doc.Anchor), maxRoots, maxScopes, maxSupers)
	}
	c := &Config{Roots: doc.Root, Scopes: doc.Scope, Anchors: doc.Anchor}
	names, err := c.checkRoots()
	if err != nil {
		return nil, err
	}
	if err := c.checkBeside(names); err != nil {
		return nil, err
	}
	for i := range c.Scopes {
		if err := c.Scopes[i].check(names); err != nil {
			return nil, fmt.Errorf("scope %d: %w", i+1, err)
		}
	}
	for i, a := range c.Anchors {
		if err := checkPatterns(a.Repositories); err != nil {
			return nil, fmt.Errorf("anchor %d: %w", i+1, err)
		}
		if !names[a.Root] {
			return nil, fmt.Errorf("anchor %d: the root %q is not listed", i+1, a.Root)
		}
	}
	return c, nil
}

// checkRoots checks each root, and returns the names of all.
func (c *Config) checkRoots() (map[string]bool, error) {
	names := map[string]bool{string(PublicGood): true}
	for _, r := range c.Roots {
		if err := r.check(names); err != nil {
			return nil, fmt.Errorf("root %q: %w", r.Name, err)
		}
		names[r.Name] = true
	}
	for _, r := range c.Roots {
		if r.Identities == "" {
			continue
		}
		// Whom a root certifies must not hang on that root.
		by, ok := c.Root(r.Identities)
		if !names[r.Identities] || r.Identities == r.Name || ok && by.Identities != "" {
			return nil, fmt.Errorf("root %q: identities: %q is not a listed root without identities of its own",
				r.Name, r.Identities)
		}
	}
	return names, nil
}

// checkBeside demands that no root has two others beside it, or one that itself has.
func (c *Config) checkBeside(names map[string]bool) error {
	by := map[string]string{}
	for _, r := range c.Roots {
		for _, name := range r.Beside {
			switch {
			case !names[name] || name == r.Name:
				return fmt.Errorf("root %q: beside: %q is not another root that is listed", r.Name, name)
			case by[name] != "":
				return fmt.Errorf("root %q: beside: %q has the root %q beside it", r.Name, name, by[name])
			}
			by[name] = r.Name
		}
	}
	for _, r := range c.Roots {
		if len(r.Beside) > 0 && by[r.Name] != "" {
			return fmt.Errorf("root %q: beside: it has the root %q beside it", r.Name, by[r.Name])
		}
	}
	return nil
}

// exactKeys refuses keys that the library reads though they are written in upper case: a
// second spelling of a key would silently replace the first.
func exactKeys(data []byte) error {
	var doc map[string]any
	if err := toml.Unmarshal(data, &doc); err != nil {
		return located(err)
	}
	for key, value := range doc {
		if key != strings.ToLower(key) {
			return fmt.Errorf("unknown key %s", key)
		}
		tables, _ := value.([]any)
		for _, t := range tables {
			table, _ := t.(map[string]any)
			for inner := range table {
				if inner != strings.ToLower(inner) {
					return fmt.Errorf("unknown key %s.%s", key, inner)
				}
			}
		}
	}
	return nil
}

// located says where a document is at fault.
func located(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		line, column := strict.Errors[0].Position()
		return fmt.Errorf("%d:%d: unknown key %s", line, column, strings.Join(strict.Errors[0].Key(), "."))
	}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		line, column := syntax.Position()
		return fmt.Errorf("%d:%d: %s", line, column, syntax)
	}
	return err
}

func (r *NamedRoot) check(names map[string]bool) error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	switch {
	case names[r.Name]:
		return errors.New("the name stands twice")
	case r.URL == "":
		return errors.New("url is missing")
	case r.Initial == "":
		return errors.New("initial is missing: the root metadata to begin with")
	}
	if r.SHA256 != "" {
		if _, err := policy.ParseDigest("sha256:" + r.SHA256); err != nil {
			return fmt.Errorf("sha256: %w", err)
		}
	}
	return nil
}

// checkName refuses what is no name of a root.
func checkName(name string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || len(name) > 64 {
		return errors.New("a name consists of lower-case letters, digits, '-' and '.'")
	}
	return nil
}

func (s *Scope) check(names map[string]bool) error {
	if err := checkPatterns(s.Repositories); err != nil {
		return err
	}
	if len(s.Roots) == 0 {
		return errors.New("roots is missing")
	}
	for i, r := range s.Roots {
		if !names[r] {
			return fmt.Errorf("the root %q is not listed", r)
		}
		if slices.Contains(s.Roots[:i], r) {
			return fmt.Errorf("the root %q stands twice", r)
		}
	}
	if s.Threshold == 0 && len(s.Roots) == 1 {
		s.Threshold = 1
	}
	if s.Threshold < 1 || s.Threshold > len(s.Roots) {
		return fmt.Errorf("threshold %d of %d roots", s.Threshold, len(s.Roots))
	}
	return nil
}

func checkPatterns(patterns []string) error {
	if len(patterns) == 0 || len(patterns) > maxPatterns {
		return fmt.Errorf("%d repositories, 1 to %d are read", len(patterns), maxPatterns)
	}
	for _, p := range patterns {
		if err := checkPattern(p); err != nil {
			return fmt.Errorf("repositories: %q: %w", p, err)
		}
	}
	return nil
}

// checkPattern demands that a pattern can match a canonical locator.
func checkPattern(p string) error {
	sample := p
	if start, ok := strings.CutSuffix(p, "/**"); ok {
		sample = start + "/x"
		if _, err := policy.ParseLocator(strings.ReplaceAll(sample, "/*", "/x")); err != nil {
			sample += "/x" // some hosts have owners
		}
	}
	sample = strings.ReplaceAll(sample, "/*", "/x")
	if parts := strings.Split(p, "/"); len(parts) > 2 && strings.Contains(parts[2], "*") {
		return errors.New("the host is literal")
	}
	if strings.Contains(sample, "*") {
		return errors.New("'*' stands for one whole segment of the path, '**' for the last ones")
	}
	_, err := policy.ParseLocator(sample)
	return err
}

// matches reports whether a pattern that was checked matches a repository.
func matches(pattern string, repo policy.Locator) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(repo.String(), "/")
	for i, w := range want {
		if w == "**" {
			return len(have) > i
		}
		if i >= len(have) || w != "*" && w != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

// For returns the scopes that apply to a repository, in the order in which they are
// asked, of which all but the last have Continue set. Without a word of the user that is
// the root of Sigstore's public instance alone.
func (c *Config) For(repo policy.Locator) []Scope {
	var out []Scope
	if c != nil {
		for _, s := range c.Scopes {
			if !slices.ContainsFunc(s.Repositories, func(p string) bool { return matches(p, repo) }) {
				continue
			}
			if out = append(out, s); !s.Continue {
				return out
			}
		}
	}
	return append(out, Scope{Roots: []string{string(PublicGood)}, Threshold: 1})
}

// SuperOf names the root that anchors a repository, the first that the user's map says;
// "" for none.
func (c *Config) SuperOf(repo policy.Locator) string {
	if c == nil {
		return ""
	}
	for _, a := range c.Anchors {
		if slices.ContainsFunc(a.Repositories, func(p string) bool { return matches(p, repo) }) {
			return a.Root
		}
	}
	return ""
}

// SpeaksFor reports whether a root may be named for a repository: any root where the
// user's map says so, and a root of the user's for every host but those that belong to
// the public instance, whose repositories any private certificate authority could
// otherwise claim.
func (c *Config) SpeaksFor(root string, repo policy.Locator) bool {
	for _, s := range c.For(repo) {
		if slices.Contains(s.Roots, root) {
			return true
		}
	}
	return !slices.Contains(publicHosts, repo.Host())
}

// publicHosts are the hosts of which the public instance's certificates speak.
var publicHosts = []string{"github.com", "gitlab.com"}

// Beside names the root that stands beside another; "" for none.
func (c *Config) Beside(name string) string {
	if c == nil {
		return ""
	}
	for _, r := range c.Roots {
		if slices.Contains(r.Beside, name) {
			return r.Name
		}
	}
	return ""
}

// Root returns the root of a name.
func (c *Config) Root(name string) (NamedRoot, bool) {
	if c == nil {
		return NamedRoot{}, false
	}
	i := slices.IndexFunc(c.Roots, func(r NamedRoot) bool { return r.Name == name })
	if i < 0 {
		return NamedRoot{}, false
	}
	return c.Roots[i], true
}
