// SPDX-License-Identifier: Apache-2.0

package bindings

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	// ForgesTarget is the target of a trust root that holds its forge table.
	ForgesTarget = "repopolicy/forges.json"
	// MaxForgesBytes is the largest forge table that is read.
	MaxForgesBytes = 1 << 20

	ForgesSchema = rekor.SchemaBase + "forges-v1.json"
	maxForges    = 10_000
	maxIssuers   = 16
)

// ForgeKind is how a forge names its workflows in certificates.
type ForgeKind string

// The kinds.
const (
	KindGitHub ForgeKind = "github"
	KindGitLab ForgeKind = "gitlab"
)

// Forge is a host whose certificates prove which repository spoke.
type Forge struct {
	Host    string    `json:"host"`
	Kind    ForgeKind `json:"kind"`
	Issuers []string  `json:"issuers"` // OIDC issuers of the host's workflows, exact
	// Runner is the value of .11 that the host's own runners have; by default
	// "github-hosted" or "gitlab-hosted". A forge without runners of its own
	// says "self-hosted".
	Runner string `json:"runner,omitempty"`
}

func (f *Forge) runner() string {
	switch {
	case f.Runner != "":
		return f.Runner
	case f.Kind == KindGitLab:
		return "gitlab-hosted"
	}
	return "github-hosted"
}

// Forges is a forge table: the only thing beside the certificate that
// [Forges.Authority] depends on. Nil is the table that is built in.
type Forges struct {
	forges []Forge
	digest string
	data   []byte // its file
}

var builtIn = []Forge{
	{Host: "github.com", Kind: KindGitHub, Issuers: []string{"https://token.actions.githubusercontent.com"}},
	{Host: "gitlab.com", Kind: KindGitLab, Issuers: []string{"https://gitlab.com"}},
}

// ParseForges reads a forge table, which is added to the one that is built in.
// It may give github.com and gitlab.com further issuers, and nothing else of
// theirs. Unknown keys, a host or issuer that stands twice and a host that is
// not canonical are errors: a table is taken as a whole or not at all.
func ParseForges(data []byte) (*Forges, error) {
	var doc struct {
		Schema string  `json:"schema"`
		Forges []Forge `json:"forges"`
	}
	known := []string{"schema", "forges", "host", "kind", "issuers", "runner"}
	if err := strictjson.Document(data, MaxForgesBytes, &doc, known...); err != nil {
		return nil, fmt.Errorf("forge table: %w", err)
	}
	if doc.Schema != ForgesSchema {
		return nil, fmt.Errorf("forge table: schema %q is not %q", doc.Schema, ForgesSchema)
	}
	if len(doc.Forges) == 0 || len(doc.Forges) > maxForges {
		return nil, fmt.Errorf("forge table: %d forges, 1 to %d are read", len(doc.Forges), maxForges)
	}
	t := &Forges{digest: spelling.Sum(data), data: bytes.Clone(data)}
	for _, f := range builtIn {
		f.Issuers = slices.Clone(f.Issuers)
		t.forges = append(t.forges, f)
	}
	seen := map[string]bool{}
	for _, f := range doc.Forges {
		if err := t.add(f, seen); err != nil {
			return nil, fmt.Errorf("forge table: host %q: %w", f.Host, err)
		}
	}
	issuers := map[string]bool{}
	for _, f := range t.forges {
		for _, i := range f.Issuers {
			// An issuer of two hosts could make either speak for the other.
			if issuers[i] {
				return nil, fmt.Errorf("forge table: the issuer %q stands twice", i)
			}
			issuers[i] = true
		}
	}
	return t, nil
}

func (t *Forges) add(f Forge, seen map[string]bool) error {
	l, err := policy.ParseLocator("https://" + f.Host + "/a/b")
	switch {
	case err != nil || l.Host() != f.Host:
		return errors.New("not a canonical host")
	case seen[f.Host]:
		return errors.New("stands twice")
	case f.Kind != KindGitHub && f.Kind != KindGitLab:
		return fmt.Errorf("kind %q is not known", f.Kind)
	case len(f.Issuers) == 0 || len(f.Issuers) > maxIssuers:
		return fmt.Errorf("%d issuers, 1 to %d are read", len(f.Issuers), maxIssuers)
	case !slices.Contains([]string{"", "github-hosted", "gitlab-hosted", "self-hosted"}, f.Runner):
		return fmt.Errorf("runner %q is not known", f.Runner)
	}
	seen[f.Host] = true
	for _, i := range f.Issuers {
		if err := spelling.CheckIssuer(i); err != nil {
			return fmt.Errorf("issuer %q: %w", i, err)
		}
	}
	for i := range t.forges {
		own := &t.forges[i]
		if own.Host != f.Host {
			continue
		}
		if own.Kind != f.Kind || f.Runner != "" {
			return errors.New("only issuers can be added to a forge that is built in")
		}
		own.Issuers = append(own.Issuers, f.Issuers...)
		return nil
	}
	t.forges = append(t.forges, f)
	return nil
}

func (t *Forges) find(host string) (*Forge, bool) {
	forges := builtIn
	if t != nil {
		forges = t.forges
	}
	i := slices.IndexFunc(forges, func(f Forge) bool { return f.Host == host })
	if i < 0 {
		return nil, false
	}
	return &forges[i], true
}

// MaintainersBind reports whether the maintainers' own entries bind the versions of a
// repository's policy, because no certificate proves which repository of its host spoke.
func (t *Forges) MaintainersBind(repo policy.Locator) bool {
	_, ok := t.find(repo.Host())
	return !ok
}

// NamesBranch reports whether a binding of the repository counts only on the branch that
// its forge advertises as HEAD (SPEC 7, rule 9).
func (t *Forges) NamesBranch(repo policy.Locator) bool {
	f, ok := t.find(repo.Host())
	return ok && f.Kind == KindGitLab
}

// Bytes returns the table's file, which must not be changed; nil for the built-in one.
func (t *Forges) Bytes() []byte {
	if t == nil {
		return nil
	}
	return t.data
}

// Digest returns the hex SHA-256 of the table's file; "" for the built-in one.
func (t *Forges) Digest() string {
	if t == nil {
		return ""
	}
	return t.digest
}
