// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"
)

// Trusted is one policy file that somebody vouches for. [Document.Pin] and [IdentityOnly]
// make one; for one version of a chain, policy/chain does with [Document.Bound]. The zero
// value and nil allow nothing.
type Trusted struct {
	file      *File
	ids       Ids
	genesis   GenesisLabel
	digest    Digest
	flags     *FlagIdentity
	withdrawn withdrawals
	legacy    bool    // certificates from before April 2023 may match
	strict    bool    // an expired policy judges nothing
	unbound   Locator // repository without a policy; zero where there is one
	pinned    []Rule  // of which one has to allow where there is none; nil for any workflow of the repository

	// head is the newest version of the chain that the file is part of; nil without one.
	head *File

	// facts are what trust roots say of the targets that rules take keys from, by root and path.
	// history and number say which versions of the chain come after the one that judges.
	facts   map[RootTarget]RootFact
	history *keyHistory
	number  int

	// among is set if more than one trust root has to allow: what another root than own says
	// decides nothing then. An empty own is no root that a rule could name.
	among bool
	own   string
}

// Pin returns the policy as trusted because the user named this very file. Such
// a policy has no chain: no version before or after it is known. Ids may be
// zero; then the numbers in certificates are not compared. Of a nil document
// the result is nil, which allows nothing.
func (d *Document) Pin(ids Ids) *Trusted {
	if d == nil {
		return nil
	}
	return &Trusted{
		file: &d.file, ids: ids, genesis: GenesisPinned, digest: d.Digest(),
		withdrawn: withdrawals{}.add(&d.file), legacy: true,
	}
}

// Bound returns the policy as trusted because a chain shows it to be the newest version of
// the repository's. What the versions before it, oldest first, revoke and yank applies
// unless a later one restores it (SPEC 8.6). It is to be called by policy/chain and nowhere
// else.
func (d *Document) Bound(ids Ids, label GenesisLabel, before []*Document) *Trusted {
	t := &Trusted{file: &d.file, ids: ids, genesis: label, digest: d.Digest(), head: &d.file}
	for _, x := range before {
		t.withdrawn = t.withdrawn.add(&x.file)
	}
	t.withdrawn = t.withdrawn.add(&d.file)
	return t
}

// Earlier returns what a release is judged by that an earlier version of a bound policy
// judges: by the rules and numbers of that one, and by what the newest one says of
// withdrawals and expiry (SPEC 8.5, 8.6).
func (t *Trusted) Earlier(d *Document, ids Ids) *Trusted {
	v := *t
	v.file, v.ids, v.digest = &d.file, ids, d.Digest()
	if v.history != nil {
		v.number = v.history.at[&d.file]
	}
	return &v
}

// BeforeFirst returns what a release is judged by that was logged before version 1 of a
// bound policy, which is t: by those of its rules that say since (SPEC 8.8). Nil if none
// does.
func (t *Trusted) BeforeFirst() *Trusted {
	rules := slices.DeleteFunc(slices.Clone(t.file.Rules), func(r Rule) bool { return r.Since.IsZero() })
	if len(rules) == 0 {
		return nil
	}
	f, v := *t.file, *t
	f.Rules = rules
	v.file, v.legacy = &f, true
	return &v
}

// Strict returns a bound policy that judges nothing once its newest version has expired.
func (t *Trusted) Strict() *Trusted {
	v := *t
	v.strict = true
	return &v
}

// FlagIdentity is a signer named on the command line instead of by a policy.
// Either Identity and one of Issuer and NoIssuer are set, or KeyID, or Target.
type FlagIdentity struct {
	Identity string // exact subject alternative name
	Issuer   string // exact OIDC issuer
	NoIssuer bool   // the certificate must have no issuer, as those of GitHub's releases
	KeyID    string // hex SHA-256 of the DER SubjectPublicKeyInfo
	SetOnly  bool   // accept a promise of inclusion without a proof
	Unlogged bool   // accept evidence without a log entry
	// Target is what a trust root has to list in place of a signer: without a role in whichever,
	// without a path as the artifact is called.
	Target *RootTarget
}

// Trusted returns a policy that allows everything that the one signer
// signed: what cosign verify-blob does with its identity flags.
func (f FlagIdentity) Trusted() (*Trusted, error) {
	if f.Target != nil && f.Target.Root != "" && f == (FlagIdentity{Target: f.Target}) {
		return &Trusted{genesis: GenesisFlags, flags: &f}, nil
	}
	if (f.Identity == "") != (f.Issuer == "" && !f.NoIssuer) || f.NoIssuer && f.Issuer != "" ||
		(f.Identity == "") == (f.KeyID == "") || f.Target != nil {
		return nil, errors.New("name an identity and its issuer, or a key, or what a trust root lists")
	}
	return &Trusted{genesis: GenesisFlags, flags: &f}, nil
}

// Genesis returns why the policy is trusted; "" for nil.
func (t *Trusted) Genesis() GenesisLabel {
	if t == nil {
		return ""
	}
	return t.genesis
}

// Digest returns the SHA-256 of the policy's bytes; zero where there is none.
func (t *Trusted) Digest() Digest {
	if t == nil {
		return Digest{}
	}
	return t.digest
}

// Content returns the policy; nil for nil and [IdentityOnly]. It must not be
// changed.
func (t *Trusted) Content() *File {
	if t == nil {
		return nil
	}
	return t.file
}

// DigestAlgorithms returns the algorithms in which the policy names digests; an
// artifact's digest must be known in each.
func (t *Trusted) DigestAlgorithms() []string {
	var out []string
	if t == nil || t.file == nil {
		return nil
	}
	add := func(d Digest) {
		if d.Alg != "" && d.Alg != "gitCommit" && !slices.Contains(out, d.Alg) {
			out = append(out, d.Alg)
		}
	}
	if t.DemandsApprovals() { // approvals name no other
		out = append(out, "sha256")
	}
	for _, y := range t.withdrawn.yanked {
		add(y.Digest)
	}
	for _, a := range t.file.Adopted {
		for _, d := range a.Digests {
			add(d)
		}
	}
	return out
}

// AcceptsUnlogged reports whether any rule takes evidence that is in no log, so
// that it is worth verifying.
func (t *Trusted) AcceptsUnlogged() bool {
	if t != nil && t.flags != nil {
		return t.flags.Unlogged
	}
	return t.Content().AcceptsUnlogged()
}

// DemandsApprovals reports whether any rule wants approvals, so that they are worth
// verifying.
func (t *Trusted) DemandsApprovals() bool { return t.Content().DemandsApprovals() }

// Keys returns the keys that may release, with those that trust roots are known to have listed
// for that (SPEC 5.12), whether they still count or not.
func (t *Trusted) Keys() []Key {
	out := t.Content().Keys()
	if t == nil || t.file == nil {
		return out
	}
	return t.withRootKeys(out, t.file)
}

// KeysOf returns [Trusted.Keys] of a version of the chain.
func (t *Trusted) KeysOf(f *File) []Key { return t.withRootKeys(f.Keys(), f) }

// ApprovalKeys returns the keys with which approvals may be signed.
func (t *Trusted) ApprovalKeys() []Key { return t.Content().ApprovalKeys() }
