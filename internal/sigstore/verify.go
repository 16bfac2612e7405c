// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/policy"
)

// Options say what evidence may lack. The zero value demands everything.
type Options struct {
	Unlogged bool // accept an RFC 3161 time stamp without a log entry
}

type resultKey struct {
	root     *Root
	key      *Key
	digest   policy.Digest
	unlogged bool
}

type verification struct {
	once sync.Once
	v    *Verified
	err  error
}

// Verify checks the bundle under one trusted root: signature over digest,
// certificate chain at every trusted time, certificate transparency, log entry
// and time. Digest is that of the artifact; for an envelope it must be one of
// its subjects. Key must be given for a bundle signed with a bare key and only
// then. The result is remembered, so that thousands of subjects of one envelope
// cost one verification.
//
// The error is an [*Error]. Log entries and time stamps that do not verify count as
// absent, and what is left must suffice. Every time of those that verify counts,
// whatever their order and number (SPEC 5.7).
func (b *Bundle) Verify(r *Root, digest policy.Digest, key *Key, opt Options) (*Verified, error) {
	if b == nil || r == nil {
		return nil, refuse(policy.Internal, "no bundle or no trusted root")
	}
	if (b.leaf == nil) != (key != nil) {
		return nil, refuse(policy.KeyUntrusted, "the bundle is not signed with the kind of key that was asked for")
	}
	if b.statement != nil {
		if len(b.statement.Find(digest)) == 0 {
			return nil, refuse(policy.ArtifactMismatch, "no subject has the digest %s", digest)
		}
		// One check of the envelope serves all its subjects; the first digest
		// asked for stands for them.
		digest = b.statement.Subjects[0].Digests[0]
	} else if digest != *b.message {
		return nil, refuse(policy.ArtifactMismatch, "the signature is over %s", b.message)
	}
	k := resultKey{r, key, digest, opt.Unlogged}
	b.mu.Lock()
	res := b.results[k]
	if res == nil {
		res = &verification{}
		b.results[k] = res
	}
	b.mu.Unlock()
	res.once.Do(func() { res.v, res.err = b.verify(r, digest, key, opt) })
	return res.v, res.err
}

// entity is the bundle as sigstore-go's verifier sees it. What the library
// parses anew for every question is parsed once; the entries are those that it is
// asked about, and its time stamps stand for the moments that we found.
type entity struct {
	*bundle.Bundle
	content verify.VerificationContent
	entries []*tlog.Entry
	stamps  [][]byte
	shown   verify.SignatureContent // what an entry shows instead of the envelope; nil for the envelope
}

func (e *entity) VerificationContent() (verify.VerificationContent, error) { return e.content, nil }
func (e *entity) TlogEntries() ([]*tlog.Entry, error)                      { return e.entries, nil }
func (e *entity) Timestamps() ([][]byte, error)                            { return e.stamps, nil }

func (e *entity) SignatureContent() (verify.SignatureContent, error) {
	if e.shown != nil {
		return e.shown, nil
	}
	return e.Bundle.SignatureContent()
}

func (b *Bundle) verify(r *Root, digest policy.Digest, key *Key, opt Options) (*Verified, error) {
	e, err := b.entity()
	if err != nil {
		return nil, err
	}
	if key != nil {
		switch ok, err := b.madeBy(key, digest); {
		case err != nil:
			return nil, err
		case !ok:
			return nil, refuse(policy.KeyUntrusted, "it is no signature by the key sha256:%s", key.id)
		}
	}
	private := r.privateOf(b.leaf)
	tm, err := b.under(r, private, key)
	if err != nil {
		return nil, err
	}
	entries, why := b.vouched(e, tm)
	if len(entries) == 0 && !opt.Unlogged {
		if why == nil {
			why = refuse(policy.NotLogged, "the bundle has no log entry")
		}
		return nil, why
	}
	times, err := b.trustedTimes(r, entries)
	if err != nil {
		return nil, first(why, err)
	}
	if err := b.validAt(r, key, times); err != nil {
		return nil, err
	}
	out := &Verified{Root: r.name, Times: times, Signer: b.SignerUnder(r)}
	if b.leaf != nil && private == nil {
		out.NotBefore, out.NotAfter = b.leaf.NotBefore.UTC(), b.leaf.NotAfter.UTC()
	}
	if key != nil {
		out.KeyID, out.Signer.Value = key.id, key.id
	}
	if out.Entries, why = b.inWindow(r, entries, times); len(out.Entries) == 0 && why != nil && !opt.Unlogged {
		return nil, why
	}
	if len(out.Entries) == 0 && !slices.ContainsFunc(times, func(t Time) bool { return t.Source == sourceTSA }) {
		return nil, first(why, refuse(policy.TimeInvalid, "no time stamp"))
	}
	if err := b.signed(e, tm, digest, times); err != nil {
		return nil, err
	}
	if private == nil {
		return out, nil
	}
	if err := b.unrevoked(private, times); err != nil {
		return nil, &doubtful{err, out}
	}
	return out, nil
}

// under returns the root as the library sees it, for a certificate of an authority beside Fulcio
// with that authority alone.
func (b *Bundle) under(r *Root, private *pki.Authority, key *Key) (*trusted, *Error) {
	alg, err := b.algorithm(private, key)
	if err != nil {
		return nil, err
	}
	tm := &trusted{TrustedRoot: r.material, cas: r.cas, key: key, alg: alg, private: private != nil}
	if private != nil {
		tm.cas = []root.CertificateAuthority{privateCA{private}}
	}
	return tm, nil
}

// algorithm returns the one by which a key signs; the zero value for certificates of Fulcio, of
// which a log shows everything in one way.
func (b *Bundle) algorithm(private *pki.Authority, key *Key) (keys.Algorithm, *Error) {
	switch {
	case key != nil:
		return key.alg, nil
	case private == nil:
		return keys.Algorithm{}, nil
	}
	if _, err := private.Identity(b.leaf); err != nil { // which demands a key that has one
		return keys.Algorithm{}, ofPKI(err)
	}
	alg, err := keys.Of(b.leaf.PublicKey)
	if err != nil {
		return alg, &Error{policy.CertificateBad, err}
	}
	return alg, nil
}

// unrevoked returns why a signature does not count by which everything else is as it must be.
func (b *Bundle) unrevoked(a *pki.Authority, times []Time) *Error {
	paths, err := a.Paths(b.leaf, momentsOf(times))
	if err == nil {
		err = a.Revoked(paths, momentsOf(times))
	}
	if err != nil {
		return ofPKI(err)
	}
	return nil
}

// entity returns the bundle as the library wants it.
func (b *Bundle) entity() (*entity, *Error) {
	e := &entity{Bundle: b.lib}
	if b.leaf != nil {
		leaf := *b.leaf // the library writes into the certificate that it is given
		e.content = bundle.NewCertificate(&leaf)
		return e, nil
	}
	var err error
	if e.content, err = b.lib.VerificationContent(); err != nil {
		return nil, refuse(policy.BundleInvalid, "key material: %w", err)
	}
	return e, nil
}

// first returns the first error.
func first(a, b *Error) error {
	if a != nil {
		return a
	}
	return b
}

// signed has the library verify the signature over the digest, and once more the
// certificate at every moment, with its place in certificate transparency.
func (b *Bundle) signed(e *entity, tm *trusted, digest policy.Digest, times []Time) *Error {
	if tm.private { // which it does by further algorithms
		if err := b.exactly(tm.alg, digest); err != nil {
			return err
		}
	}
	found := moments{}
	for _, t := range times {
		if len(found) < maxTimestamps && !slices.ContainsFunc(found, t.Time.Equal) { // more it does not take
			e.stamps = append(e.stamps, []byte{byte(len(found))})
			found = append(found, t.Time)
		}
	}
	tm.stampers = []root.TimestampingAuthority{found}
	opts := []verify.VerifierOption{verify.WithSignedTimestamps(1), verify.WithoutStatementPredicate()}
	who := verify.WithKey()
	if b.leaf != nil {
		who = verify.WithoutIdentitiesUnsafe()   // the policy decides about identities
		if len(tm.CTLogs()) > 0 && !tm.private { // others than Fulcio log no certificate
			opts = append(opts, verify.WithSignedCertificateTimestamps(1))
		}
	}
	v, err := verify.NewVerifier(tm, opts...)
	if err != nil {
		return &Error{policy.Internal, err}
	}
	what := verify.WithoutArtifactUnsafe() // subjects of an envelope are compared by Verify
	if b.statement == nil {
		raw, err := hex.DecodeString(digest.Hex)
		if err != nil {
			return &Error{policy.Internal, err}
		}
		what = verify.WithArtifactDigest(digest.Alg, raw)
	}
	if _, err := v.Verify(e, verify.NewPolicy(what, who)); err != nil {
		return classify(err, policy.SignatureInvalid)
	}
	return nil
}

// stages are the beginnings of sigstore-go's errors. They choose the reason
// that is reported, never the outcome.
var stages = []struct {
	prefix string
	reason policy.Reason
}{
	{"failed to verify timestamps", policy.TimeInvalid},
	{"failed to verify leaf certificate", policy.CertificateChain},
	{"failed to verify signed certificate timestamp", policy.SCTInvalid},
	{"signature time outside of public key", policy.TimeInvalid},
	{"failed to verify signature", policy.SignatureInvalid},
	{"failed to summarize certificate", policy.CertificateBad},
}

func classify(err error, fallback policy.Reason) *Error {
	text := err.Error()
	for _, s := range stages {
		if strings.HasPrefix(text, s.prefix) {
			text = strings.TrimPrefix(strings.TrimPrefix(text, s.prefix), ": ")
			if text == "" {
				text = err.Error()
			}
			// An error of the library formats a missing cause like this.
			text = strings.TrimSuffix(strings.TrimSuffix(text, ": %!w(<nil>)"), "; error")
			return &Error{s.reason, errors.New(text)}
		}
	}
	return &Error{fallback, err}
}
