// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	// IntroductionsDir is the directory of the targets that introduce other roots.
	IntroductionsDir = "repopolicy/roots/"
	// MaxIntroductionBytes is the largest introduction that is read.
	MaxIntroductionBytes = 256 << 10

	// maxPrefix is how many elements the place of an introduction has at most, the host
	// among them: so many targets are asked for about a repository.
	maxPrefix = 8
	// maxListed is how many introductions of a root are listed at most.
	maxListed = 100
	// maxAddress is the longest address of an introduced root, in bytes.
	maxAddress = 512

	introductionSchema = schemaBase + "trust-root-v1.json"
)

// What "identities" of an introduction may say.
const (
	identitiesPublic     = string(PublicGood)
	identitiesIntroducer = "introducer"
)

// Introduction lets another trust root judge some repositories in place of the one that
// lists it (SPEC 17.3).
type Introduction struct {
	Name         string
	Repositories []string // patterns, as in a scope
	URL          string   // of its TUF repository: https, or a registry
	Initial      []byte   // root metadata to begin with
	// ByIntroducer says that keys of the introduced root that are OIDC identities sign
	// under the introducer's trusted root, not under that of the public instance.
	ByIntroducer bool
}

type introductionDoc struct {
	Schema       string   `json:"schema"`
	Name         string   `json:"name"`
	Repositories []string `json:"repositories"`
	URL          string   `json:"url"`
	SHA256       string   `json:"sha256"`
	Initial      string   `json:"initial"`
	Identities   *string  `json:"identities,omitempty"`
}

// Bytes returns the introduction as a target, the same bytes for the same introduction.
func (i *Introduction) Bytes() []byte {
	doc := introductionDoc{
		Schema: introductionSchema, Name: i.Name, Repositories: i.Repositories, URL: i.URL,
		SHA256: spelling.Sum(i.Initial), Initial: base64.StdEncoding.EncodeToString(i.Initial),
	}
	if i.ByIntroducer {
		by := identitiesIntroducer
		doc.Identities = &by
	}
	return strictjson.Indented(doc)
}

// ParseIntroduction reads an introduction. A member that is not known, a pattern that can
// match nothing or is on a host for which no introduced root speaks, metadata of another
// digest and an address that only one machine knows are errors.
func ParseIntroduction(data []byte) (*Introduction, error) {
	var doc introductionDoc
	err := strictjson.Document(data, MaxIntroductionBytes, &doc,
		"schema", "name", "repositories", "url", "sha256", "initial", "identities")
	if err != nil {
		return nil, err
	}
	if doc.Schema != introductionSchema {
		return nil, fmt.Errorf("schema %.200q is not %q", doc.Schema, introductionSchema)
	}
	out := &Introduction{Name: doc.Name, Repositories: doc.Repositories, URL: doc.URL}
	if out.Initial, err = canonical.ParseBase64(doc.Initial); err != nil {
		return nil, fmt.Errorf("initial: %w", err)
	}
	if sum := spelling.Sum(out.Initial); len(out.Initial) == 0 || sum != doc.SHA256 {
		return nil, fmt.Errorf("initial: its digest is %s, not that of \"sha256\"", sum)
	}
	if by := doc.Identities; by != nil {
		if out.ByIntroducer = *by == identitiesIntroducer; !out.ByIntroducer && *by != identitiesPublic {
			return nil, fmt.Errorf("identities: %.80q is neither %q nor %q", *by, identitiesPublic, identitiesIntroducer)
		}
	}
	if err := out.check(); err != nil {
		return nil, err
	}
	return out, nil
}

// check refuses what nobody may introduce.
func (i *Introduction) check() error {
	switch err := checkName(i.Name); {
	case err != nil:
		return fmt.Errorf("name: %.80q: %w", i.Name, err)
	case slices.Contains([]Instance{PublicGood, Staging, GitHub}, Instance(i.Name)):
		return fmt.Errorf("name: %q is the name of a root that is built in", i.Name)
	}
	if err := CheckScope(i.Repositories); err != nil {
		return err
	}
	if err := checkAddress(i.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	return nil
}

// CheckScope refuses patterns for which no root can be introduced: those that can match
// nothing, and those on a host that belongs to the public instance.
func CheckScope(patterns []string) error {
	if err := checkPatterns(patterns); err != nil {
		return err
	}
	for _, p := range patterns {
		if host := elements(p)[0]; slices.Contains(publicHosts, host) {
			return fmt.Errorf("repositories: %q: no introduced root speaks for %s", p, host)
		}
	}
	return nil
}

// checkAddress accepts an address at which everybody finds the same: the URL of a server or
// a reference to a registry. A path would be read on the machine of whoever verifies.
func checkAddress(address string) error {
	if len(address) > maxAddress {
		return fmt.Errorf("it has %d bytes, at most %d are read", len(address), maxAddress)
	}
	if strings.HasPrefix(address, oci.SchemeRegistry) {
		_, err := oci.ParseReference(address)
		return err
	}
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, "https://") || u.User != nil || strings.HasSuffix(address, "/") ||
		strings.ContainsAny(address, "?#%\\ ") {
		return fmt.Errorf("%.200q is neither a plain https URL, without a slash at its end, nor like oci:REGISTRY/NAME",
			address)
	}
	return spelling.CheckHost(u.Hostname())
}

// Is reports whether two introductions are of one root, whatever their scopes.
func (i *Introduction) Is(other *Introduction) bool {
	return i.Name == other.Name && i.URL == other.URL && i.ByIntroducer == other.ByIntroducer &&
		bytes.Equal(i.Initial, other.Initial)
}

func (i *Introduction) matches(repo policy.Locator) bool {
	return slices.ContainsFunc(i.Repositories, func(p string) bool { return matches(p, repo) })
}

// elements returns the host of a locator or pattern, and what follows it.
func elements(locator string) []string {
	return strings.Split(strings.TrimPrefix(locator, "https://"), "/")
}

// introductionTarget returns the path for the beginning of locators. A port follows the host
// after "_", which no host has, so that files can have the name everywhere.
func introductionTarget(prefix []string) string {
	return IntroductionsDir + strings.Replace(prefix[0], ":", "_", 1) +
		strings.Join(append([]string{""}, prefix[1:]...), "/") + ".json"
}

// IntroductionTarget returns the path of the target that introduces a root for the
// repositories that a pattern matches: it names the elements with which all of them begin.
func IntroductionTarget(pattern string) string {
	all := elements(pattern)
	n := slices.IndexFunc(all, func(e string) bool { return strings.Contains(e, "*") })
	if n < 0 {
		n = len(all)
	}
	return introductionTarget(all[:min(n, maxPrefix)])
}

// introductionTargets returns the paths of the targets that may introduce a root for a
// repository: one for each beginning of its locator, the host's first.
func introductionTargets(repo policy.Locator) []string {
	all := elements(repo.String())
	var out []string
	for n := 1; n <= min(len(all), maxPrefix); n++ {
		out = append(out, introductionTarget(all[:n]))
	}
	return out
}

// below returns an error if an introduction speaks for more than its path says: who was
// delegated the path was delegated no more.
func (i *Introduction) below(path string) error {
	n := strings.Count(strings.TrimPrefix(path, IntroductionsDir), "/") + 1
	for _, p := range i.Repositories {
		if e := elements(p); len(e) < n || introductionTarget(e[:n]) != path {
			return fmt.Errorf("it speaks for %q, of which %s does not speak", p, path)
		}
	}
	return nil
}

// within returns an error if an introduction speaks for more than patterns match.
func (i *Introduction) within(patterns []string) error {
	for _, p := range i.Repositories {
		if !slices.ContainsFunc(patterns, func(outer string) bool { return covers(outer, p) }) {
			return fmt.Errorf("it speaks for %q, and its introducer for %s alone", p, strings.Join(patterns, ", "))
		}
	}
	return nil
}

// covers reports whether everything that a pattern matches is matched by another, outer one.
func covers(outer, pattern string) bool {
	o, p := elements(outer), elements(pattern)
	for i, e := range o {
		switch {
		case i >= len(p):
			return false
		case e == "**":
			return true
		case p[i] == "**", e != "*" && e != p[i]:
			return false
		}
	}
	return len(o) == len(p)
}

// Overlap reports whether a repository is matched by both of two patterns.
func Overlap(one, other string) bool {
	a, b := elements(one), elements(other)
	for i := 0; i < len(a) && i < len(b); i++ {
		switch {
		case a[i] == "**", b[i] == "**":
			return true
		case a[i] != b[i] && a[i] != "*" && b[i] != "*":
			return false
		}
	}
	return len(a) == len(b)
}

// FindIntroduction returns the root that a root introduces for a repository; nil if it
// introduces none. The client must have been refreshed. The error is a [*sigstore.Error]:
// what cannot be read or does not belong there is never taken for nothing, and of several
// roots none is chosen.
func FindIntroduction(ctx context.Context, c *tuf.Client, repo policy.Locator) (*Introduction, error) {
	var found *Introduction
	at := ""
	for _, path := range introductionTargets(repo) {
		in, err := readIntroduction(ctx, c, path)
		switch {
		case err != nil:
			return nil, err
		case in == nil || !in.matches(repo):
		case found != nil && !found.Is(in):
			return nil, invalid(fmt.Errorf("%s introduces %s for %s, and %s introduces %s", at, found.Name, repo, path,
				in.Name))
		case found == nil:
			found, at = in, path
		}
	}
	return found, nil
}

// readIntroduction reads the introduction at a path; nil if nobody lists one. Errors are
// those of [FindIntroduction].
func readIntroduction(ctx context.Context, c *tuf.Client, path string) (*Introduction, error) {
	f, err := c.Find(ctx, path)
	if errors.Is(err, tuf.ErrNoTarget) {
		return nil, nil
	}
	if err != nil {
		return nil, missing(err)
	}
	if f.Length > MaxIntroductionBytes { // not fetched for that
		return nil, invalid(fmt.Errorf("%s: %d bytes, at most %d are read", path, f.Length, MaxIntroductionBytes))
	}
	data, err := c.Fetch(ctx, f)
	if err != nil {
		return nil, missing(err)
	}
	in, err := ParseIntroduction(data)
	if err == nil {
		err = in.below(path)
	}
	if err != nil {
		return nil, invalid(fmt.Errorf("%s: %w", path, err))
	}
	return in, nil
}

// listed returns the first of the targets that may introduce a root for a repository that is
// listed; "" for none. It is for what nothing hangs on: what cannot be asked is none.
func listed(ctx context.Context, c *tuf.Client, repo policy.Locator) string {
	for _, path := range introductionTargets(repo) {
		if _, err := c.Find(ctx, path); err == nil {
			return path
		}
	}
	return ""
}

// ListedIntroduction is an introduction that a root lists.
type ListedIntroduction struct {
	Path, Role    string
	*Introduction       // nil if it cannot be read
	Err           error // why
}

// ListIntroductions returns what a root introduces, for people: what its own targets list, and
// what is at the places that it delegates one by one, in the order of their paths. The client must have been
// refreshed. Of more than a hundred none is listed, which is an error.
func ListIntroductions(ctx context.Context, c *tuf.Client) ([]ListedIntroduction, error) {
	top, err := c.Targets(ctx)
	if err != nil {
		return nil, missing(err)
	}
	places := map[string]bool{}
	for path := range top.Files {
		places[path] = true
	}
	for _, d := range top.Delegations {
		for _, p := range d.Paths {
			places[p] = !strings.ContainsAny(p, "*?[")
		}
	}
	maps.DeleteFunc(places, func(path string, literal bool) bool {
		return !literal || !strings.HasPrefix(path, IntroductionsDir)
	})
	if len(places) > maxListed {
		return nil, missing(fmt.Errorf("%d introductions, at most %d are listed", len(places), maxListed))
	}
	var out []ListedIntroduction
	for _, path := range slices.Sorted(maps.Keys(places)) {
		l := ListedIntroduction{Path: path}
		f, err := c.Find(ctx, path)
		if errors.Is(err, tuf.ErrNoTarget) {
			continue
		}
		if l.Role = f.Role; err != nil {
			l.Err = missing(err)
		} else {
			l.Introduction, l.Err = readIntroduction(ctx, c, path)
		}
		out = append(out, l)
	}
	return out, nil
}

func invalid(err error) error { return &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err} }
