// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"slices"
	"sync"

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
	res.once.Do(func() { res.v, res.err = b.verify(r, key, opt) })
	return res.v, res.err
}

func (b *Bundle) verify(r *Root, key *Key, opt Options) (*Verified, error) {
	if key != nil && !b.madeBy(key) {
		return nil, refuse(policy.KeyUntrusted, "it is no signature by the key sha256:%s", key.id)
	}
	private := r.privateOf(b.leaf)
	alg, refused := b.algorithm(private, key)
	if refused != nil {
		return nil, refused
	}
	entries, why := b.vouched(r, b.signing(key), alg)
	if why != nil && why.Reason == policy.BundleInvalid {
		return nil, why
	}
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
	if err := b.signed(private, alg, key); err != nil {
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

// first returns the first error.
func first(a, b *Error) error {
	if a != nil {
		return a
	}
	return b
}

// signed verifies the signature; that of a bare key was verified before all else.
func (b *Bundle) signed(private *pki.Authority, alg keys.Algorithm, key *Key) *Error {
	pub := crypto.PublicKey(nil)
	switch {
	case key != nil:
		pub = key.pub
	case private != nil:
		if err := b.exactly(alg); err != nil {
			return err
		}
		pub = b.leaf.PublicKey
	case !b.madeByLeaf():
		return refuse(policy.SignatureInvalid, "not a signature by the certificate's key")
	default:
		pub = b.leaf.PublicKey
	}
	if !b.namesKey(pub) {
		return refuse(policy.SignatureInvalid, "the envelope names another key")
	}
	return nil
}
