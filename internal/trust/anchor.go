// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	// AnchorsDir is the directory of the targets that anchor repositories.
	AnchorsDir = "repopolicy/anchors/"
	// MaxAnchorBytes is the largest anchor that is read.
	MaxAnchorBytes = 4 << 10

	schemaBase   = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/"
	anchorSchema = schemaBase + "anchor-v1.json"
)

// Anchor says which chain is that of a repository: the one that begins with this
// statement (SPEC 18.1).
type Anchor struct {
	Repository policy.Locator
	Statement  string // hex SHA-256 of statement 1
}

// AnchorTarget returns the path of the target that anchors a repository.
func AnchorTarget(repo policy.Locator) string {
	return AnchorsDir + strings.TrimPrefix(repo.String(), "https://") + ".json"
}

// AnchorPattern returns the pattern of the targets that anchor the repositories
// that a pattern of locators names, in which "*" stands for what no "/" is in.
func AnchorPattern(pattern string) (string, error) {
	rest, ok := strings.CutPrefix(pattern, "https://")
	if !ok || strings.ContainsAny(rest, `?[]\{}`) || strings.Contains(rest, "**") {
		return "", fmt.Errorf("%q is no pattern like https://github.com/acme/*", pattern)
	}
	// Whatever "*" stands for, the rest has to be a locator as it is written.
	if l, err := policy.ParseLocator(strings.ReplaceAll(pattern, "*", "x")); err != nil ||
		l.String() != strings.ReplaceAll(pattern, "*", "x") {
		return "", fmt.Errorf("%q is no pattern like https://github.com/acme/*: %w", pattern, err)
	}
	if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "*") {
		return "", fmt.Errorf("%q: a pattern names its host", pattern)
	}
	return AnchorsDir + rest + ".json", nil
}

// Bytes returns the anchor as a target, the same bytes for the same anchor.
func (a Anchor) Bytes() []byte {
	return fmt.Appendf(nil, "{\n  \"schema\": %q,\n  \"repository\": %q,\n  \"statement\": %q\n}\n", anchorSchema,
		a.Repository, "sha256:"+a.Statement)
}

var anchorRules = strictjson.Rules{Known: []string{"schema", "repository", "statement"}}

// ParseAnchor reads an anchor. Anything else than its three members is an error.
func ParseAnchor(data []byte) (Anchor, error) {
	var out Anchor
	if len(data) > MaxAnchorBytes {
		return out, fmt.Errorf("an anchor of %d bytes, at most %d are read", len(data), MaxAnchorBytes)
	}
	var doc struct {
		Schema     string `json:"schema"`
		Repository string `json:"repository"`
		Statement  string `json:"statement"`
	}
	if err := anchorRules.Decode(data, &doc); err != nil {
		return out, err
	}
	if doc.Schema != anchorSchema {
		return out, fmt.Errorf("schema %q is not %q", doc.Schema, anchorSchema)
	}
	var err error
	if out.Repository, err = policy.ParseLocator(doc.Repository); err != nil {
		return out, fmt.Errorf("repository: %w", err)
	}
	d, err := policy.ParseDigest(doc.Statement)
	if err != nil || d.Alg != "sha256" {
		return out, errors.New("statement: not a digest like sha256:…")
	}
	out.Statement = d.Hex
	return out, nil
}

// FindAnchor returns what a super root says of a repository; nil if it says
// nothing. The client must have been refreshed. The error is a [*sigstore.Error]:
// what cannot be read or does not belong there is never taken for nothing.
func FindAnchor(ctx context.Context, c *tuf.Client, repo policy.Locator) (*Anchor, error) {
	path := AnchorTarget(repo)
	data, err := c.Target(ctx, path)
	if errors.Is(err, tuf.ErrNoTarget) {
		return nil, nil
	}
	if err != nil {
		return nil, missing(err)
	}
	a, err := ParseAnchor(data)
	if err == nil && a.Repository != repo {
		err = fmt.Errorf("it is about %s", a.Repository)
	}
	if err != nil {
		return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: fmt.Errorf("%s: %w", path, err)}
	}
	return &a, nil
}

// CheckTarget returns an error if data must not be published under a path at a moment because
// those who read it would refuse it. Paths of which nothing is known are free. Listed returns
// what the top-level role lists already; nil for nothing.
func CheckTarget(path string, data []byte, now time.Time, listed func(target string) ([]byte, error)) error {
	switch {
	case path == PKITarget:
		return checkPKI(data, listed)
	case strings.HasPrefix(path, pki.CRLTargets):
		return checkCRL(path, data, now, listed)
	case path == TrustedRootTarget:
		_, err := sigstore.ParseRoot(path, data)
		return err
	case path == ForgesTarget:
		_, err := bindings.ParseForges(data)
		return err
	case path == SigningConfigTarget, path == SigningConfigV2Target:
		return sigstore.CheckSigningConfig(data)
	case path == DirectoryTarget:
		_, err := answers.ParseDescriptor(data)
		return err
	case strings.HasPrefix(path, AnchorsDir):
		a, err := ParseAnchor(data)
		if err == nil && AnchorTarget(a.Repository) != path {
			err = fmt.Errorf("it is about %s", a.Repository)
		}
		return err
	case strings.HasPrefix(path, IntroductionsDir):
		in, err := ParseIntroduction(data)
		if err == nil {
			err = in.below(path)
		}
		return err
	}
	return nil
}

// checkPKI refuses certificate authorities that the trusted root cannot have beside its own.
func checkPKI(data []byte, listed func(string) ([]byte, error)) error {
	all, err := pki.Parse(data)
	if err != nil {
		return err
	}
	root, err := listed(TrustedRootTarget)
	if err != nil || root == nil {
		return err
	}
	r, err := sigstore.ParseRoot(TrustedRootTarget, root)
	if err != nil {
		return err
	}
	_, err = r.WithPKI(all)
	return err
}

// checkCRL refuses a list of revoked certificates that would leave their status unknown.
func checkCRL(path string, data []byte, now time.Time, listed func(string) ([]byte, error)) error {
	doc, err := listed(PKITarget)
	if err != nil {
		return err
	}
	if doc == nil {
		return fmt.Errorf("add %s first, which names the certificate authorities", PKITarget)
	}
	all, err := pki.Parse(doc)
	if err != nil {
		return fmt.Errorf("%s: %w", PKITarget, err)
	}
	return all.CheckCRL(path, data, now)
}
