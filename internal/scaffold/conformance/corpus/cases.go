// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// judging is one question about a case.
type judging struct {
	root     *sigstore.Root
	key      *sigstore.Key
	bundle   string // path; "" to find the evidence
	artifact *release.Artifact
	policy   *policy.Trusted
}

func (q judging) result() *release.Result {
	j := &release.Judge{
		Policy: q.policy,
		Now:    time.Now(),
		Roots:  func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{q.root}, nil },
	}
	if q.bundle != "" {
		j.Bundles = []string{q.bundle}
	}
	if q.key != nil {
		j.Keys = []*sigstore.Key{q.key}
	}
	return j.Run(context.Background(), []*release.Artifact{q.artifact})[0]
}

func describe(r *release.Result) string {
	return fmt.Sprintf("%s [%s] %s", r.Class(), r.Decision.Reason, r.Decision.Detail)
}

func permitted(r *release.Result) bool { return r.Class() == policy.ClassOK }

// refused reports whether a verdict says no; a panic that the judge caught is
// no verdict.
func refused(r *release.Result) bool { return !permitted(r) && r.Class() != policy.ClassInternal }

// judgeCases judges every case by its exact identity.
func (c *corpus) judgeCases(t *tally) {
	for _, tc := range c.cases { // roots are shared, so parse them first
		_, _ = c.root(tc.Trust.Root)
	}
	parallel(len(c.cases), func(i int) {
		tc := c.cases[i]
		defer func() {
			if p := recover(); p != nil {
				t.check(false, tc.ID, "panic: %v", p)
			}
		}()
		c.judgeCase(t, tc)
	})
}

func (c *corpus) judgeCase(t *tally, tc *testCase) {
	c.parseAll(t, tc)
	if tc.Bundle == nil {
		t.leave("nothing to run", "%s: no bundle: %s", tc.ID, tc.Expected.Reason)
		return
	}
	identity, issuer := "alice@example.com", "https://example.com" // a key's name cannot be given as flags
	if tc.Identity != nil && tc.Identity.Issuer != nil && *tc.Identity.Issuer != "" && tc.Identity.SAN != "" {
		identity, issuer = tc.Identity.SAN, *tc.Identity.Issuer
	}
	c.agree(t, tc.ID+" on the command line", tc, "--certificate-identity", identity, "--certificate-oidc-issuer", issuer)
	q, signer, err := c.question(tc)
	if bad := (*refusal)(nil); errors.As(err, &bad) {
		t.check(tc.Expected.Verdict == "reject", tc.ID, "want %s, refused: %s", tc.Expected.Verdict, err)
		return
	} else if err != nil {
		t.check(false, tc.ID, "%s", err)
		return
	}
	r := q.result()
	switch tc.Expected.Verdict {
	case "accept":
		t.check(permitted(r), tc.ID, "want OK, got %s", describe(r))
		c.mustRefuse(t, tc, q, signer)
	case "reject":
		t.check(refused(r), tc.ID, "want a refusal (%s), got %s", tc.Expected.Reason, describe(r))
		c.monotone(t, tc, q)
	case "lenient-accept":
		c.lenient(t, tc, q, r)
	default:
		t.check(false, tc.ID, "unknown verdict %q", tc.Expected.Verdict)
	}
}

// refusal is a trusted root, key or identity under which nothing can be judged:
// a verdict on the case, unlike a file that cannot be read.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

// question returns what is asked about a case by default: its exact signer
// under its trusted root.
func (c *corpus) question(tc *testCase) (judging, policy.FlagIdentity, error) {
	q := judging{bundle: c.path(tc.Bundle.Path), artifact: c.artifact(tc)}
	var signer policy.FlagIdentity
	if !exists(q.bundle) {
		return q, signer, fmt.Errorf("the bundle %s is not there", tc.Bundle.Path)
	}
	var err error
	if q.root, err = c.root(tc.Trust.Root); err != nil {
		return q, signer, err
	}
	if q.key, err = c.key(tc); err != nil {
		return q, signer, err
	}
	signer = tc.signer(q.key)
	if q.policy, err = signer.Trusted(); err != nil {
		return q, signer, &refusal{fmt.Errorf("no identity to demand: %w", err)}
	}
	return q, signer, nil
}

// parseAll hands every file of a case to every parser: none may panic, whatever
// the file is.
func (c *corpus) parseAll(t *tally, tc *testCase) {
	for _, f := range tc.Files {
		data, err := os.ReadFile(c.path(f.Path))
		if err != nil {
			t.check(false, tc.ID, "%s", err)
			continue
		}
		for name, parse := range map[string]func([]byte){
			"bundle": func(b []byte) { _, _ = sigstore.ParseBundle(b) },
			"root":   func(b []byte) { _, _ = sigstore.ParseRoot(f.Path, b) },
			"key":    func(b []byte) { _, _ = sigstore.ParseKey(b, time.Time{}, time.Time{}) },
			"policy": func(b []byte) { _, _ = policy.Parse(b) },
		} {
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.check(false, tc.ID, "%s read as a %s: panic: %v", f.Path, name, p)
					}
				}()
				parse(data)
			}()
		}
	}
}

// artifact returns what the case's bundle is about: the file if it is there,
// else its digest.
func (c *corpus) artifact(tc *testCase) *release.Artifact {
	a := &release.Artifact{Arg: tc.ID}
	if tc.Artifact == nil {
		return a
	}
	a.Name = tc.Artifact.Name
	if s := tc.Statement; s != nil && len(s.Subjects) > 0 {
		// The corpus gives files names of its own: say what they are called, as a user
		// does with --name.
		switch named := slices.ContainsFunc(s.Subjects, func(s subjectOf) bool { return s.Name == a.Name }); {
		case !named && s.Subjects[0].Name != "":
			a.Name, a.Expected = s.Subjects[0].Name, true
		case named && strings.HasPrefix(a.Name, "pkg:"):
			a.Subject = a.Name
		}
	}
	if tc.Artifact.Path != nil {
		if p := c.path(*tc.Artifact.Path); exists(p) {
			a.Path = p
			return a
		}
	}
	if d, ok := tc.digest(); ok {
		a.Digests = []policy.Digest{d}
	}
	return a
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// signer returns the exact signer that the manifest demands, with what the
// case's thresholds let evidence lack.
func (tc *testCase) signer(key *sigstore.Key) policy.FlagIdentity {
	f := policy.FlagIdentity{Unlogged: tc.Verify.Tlog == 0, SetOnly: tc.promised()}
	switch {
	case key != nil:
		f.KeyID = key.ID()
	case tc.Identity != nil:
		f.Identity = tc.Identity.SAN
		if tc.Identity.Issuer != nil {
			f.Issuer = *tc.Identity.Issuer
		}
		f.NoIssuer = f.Issuer == ""
	}
	return f
}

// promised reports whether the manifest knows no proof of inclusion for the
// case, only a log's promise.
func (tc *testCase) promised() bool {
	for _, e := range tc.TransparencyLog {
		if e.LogType != "rekor-v1-set" {
			return false
		}
	}
	return len(tc.TransparencyLog) > 0
}

// mustRefuse asks the same with one thing wrong.
func (c *corpus) mustRefuse(t *tally, tc *testCase, q judging, signer policy.FlagIdentity) {
	other := &release.Artifact{Arg: q.artifact.Arg, Name: q.artifact.Name, Subject: q.artifact.Subject}
	other.Digests = []policy.Digest{{Alg: "sha256", Hex: strings.Repeat("0a", 32)}}
	if d, ok := tc.digest(); ok {
		other.Digests = []policy.Digest{{Alg: d.Alg, Hex: flipHex(d.Hex)}}
	}
	wrong := q
	wrong.artifact = other
	t.check(refused(wrong.result()), tc.ID, "another artifact must be refused")

	ask := func(what string, q judging, f policy.FlagIdentity) {
		var err error
		if q.policy, err = f.Trusted(); err != nil {
			t.check(false, tc.ID, "%s: %s", what, err)
			return
		}
		t.check(refused(q.result()), tc.ID, "%s must be refused", what)
	}
	f := signer
	if signer.KeyID != "" {
		other, err := otherKey()
		if err != nil {
			t.check(false, tc.ID, "%s", err)
			return
		}
		f.KeyID = other.ID()
		ask("another key's name", q, f)
		q.key = other
		ask("another key", q, f)
		return
	}
	f.Identity += "x"
	ask("another identity", q, f)
	f = signer
	f.Issuer, f.NoIssuer = f.Issuer+"/x", false
	ask("another issuer", q, f)
}

// otherKey returns a key that signed nothing.
var otherKey = sync.OnceValues(func() (*sigstore.Key, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, err
	}
	return sigstore.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), time.Time{}, time.Time{})
})

func flipHex(s string) string {
	if s == "" {
		return s
	}
	last := "0"
	if s[len(s)-1] == '0' {
		last = "1"
	}
	return s[:len(s)-1] + last
}

// lenient judges a case that a verifier may refuse: refused by default, and one
// whose log merely promised inclusion accepted by a rule with set-only.
func (c *corpus) lenient(t *tally, tc *testCase, q judging, r *release.Result) {
	data, err := os.ReadFile(q.bundle)
	if err != nil {
		t.check(false, tc.ID, "%s", err)
		return
	}
	b, err := sigstore.ParseBundle(data)
	if err != nil || !b.Unchecked() {
		t.check(permitted(r) || refused(r), tc.ID, "may be either, is %s", describe(r))
		return
	}
	t.check(refused(r), tc.ID, "without set-only: want a refusal, got %s", describe(r))
	for _, setOnly := range []bool{false, true} {
		p, err := identityPolicy(b.Signer(), setOnly)
		if err != nil {
			t.leave("not expressible", "%s: %s", tc.ID, err)
			return
		}
		q.policy = p
		r := q.result()
		t.check(permitted(r) == setOnly, tc.ID, "set-only = %v: got %s", setOnly, describe(r))
	}
}

// identityPolicy returns a policy whose only rule is the one identity.
func identityPolicy(id policy.Identity, setOnly bool) (*policy.Trusted, error) {
	d := newDocument("https://example.com/acme/widget")
	d.rule(ruleText{identities: []policy.Identity{id}, setOnly: setOnly})
	doc, err := policy.Parse([]byte(d.text()))
	if err != nil {
		return nil, err
	}
	return doc.Pin(policy.Ids{}), nil
}
