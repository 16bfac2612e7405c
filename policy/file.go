// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"
)

// File is the content of a policy file (SPEC 3), with every value checked. A
// File says what a text says, not that anybody may rely on it: see [Trusted].
type File struct {
	Repository  Locator
	Version     int       // 1, 2, 3, …
	Expires     time.Time // UTC, whole seconds
	Maintainers Maintainers
	Rules       []Rule
	Revoked     []Withdrawal
	Yanked      []Withdrawal
	Restored    []Withdrawal
	Adopted     []Adoption

	// What follows concerns the chain of versions only (SPEC 6.2).
	Tombstone    bool
	OwnerChanged bool
	Formerly     Locator       // name that the repository had, under which it is found, too; or zero
	Recovers     string        // hex SHA-256 of the head that this version 1 recovers, or ""
	Recovery     time.Duration // delay of a recovery, 0 if none is allowed
	Handover     string        // repository id that may take over, or ""
	Void         []string      // hex SHA-256 of leaves declared void
	Acknowledged []string      // hex SHA-256 of evidence files that are known
}

// AcceptsUnlogged reports whether any rule takes evidence that is in no log, so that it is
// worth verifying.
func (f *File) AcceptsUnlogged() bool {
	return f != nil && slices.ContainsFunc(f.Rules, func(r Rule) bool { return r.Unlogged })
}

// DemandsApprovals reports whether any rule wants approvals, so that they are worth
// verifying.
func (f *File) DemandsApprovals() bool {
	return f != nil && slices.ContainsFunc(f.Rules, func(r Rule) bool { return r.Approvals != nil })
}

// Keys returns the keys that may release and that the file itself holds.
func (f *File) Keys() []Key {
	if f == nil {
		return nil
	}
	var out []Key
	for _, r := range f.Rules {
		for _, k := range r.Keys {
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	return out
}

// ApprovalKeys returns the keys with which approvals may be signed.
func (f *File) ApprovalKeys() []Key {
	if f == nil {
		return nil
	}
	out := f.Keys()
	for _, m := range f.Maintainers.Members {
		for _, k := range m.Keys {
			if k.PEM != "" && !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	return out
}

// Maintainers are the principals that may change the policy.
type Maintainers struct {
	Threshold  int      // of distinct members; 1 to len(Members)
	Members    []Member // none if Repository is set
	Repository bool     // the repository's own binding workflow is the only principal
}

// Member is one principal: a person or machine with its identities and keys.
type Member struct {
	Name       string
	Identities []Principal
	Keys       []Key
}

// Names reports whether the identity is one of a member's.
func (m *Maintainers) Names(id Identity) bool {
	return slices.ContainsFunc(m.Members, func(x Member) bool { return x.Is(&id) })
}

// Is reports whether the identity is this member's.
func (m *Member) Is(id *Identity) bool {
	if id.Kind == KindKey {
		return slices.ContainsFunc(m.Keys, func(k Key) bool { return k.ID == id.Value })
	}
	return slices.ContainsFunc(m.Identities, func(p Principal) bool {
		return p.Kind == id.Kind && p.Value == id.Value && p.Issuer == id.Issuer &&
			(p.Subject == "" || p.Subject == id.TokenSubject)
	})
}

// Principal is how an identity stands in a policy: kind, exact value, exact
// issuer, and optionally the exact token subject (extension .24).
type Principal struct {
	Kind    Kind
	Value   string
	Issuer  string
	Subject string // "" if not pinned
}

// Key is a public key of a policy.
type Key struct {
	PEM string // as written; "" where only the digest was written
	ID  string // hex SHA-256 of the DER SubjectPublicKeyInfo
	// Algorithm is the one by which it signs, in the registry (SPEC 3.6); "" where only the
	// digest was written.
	Algorithm string
	// From is the target of a trust root that the key is; zero for one that the policy itself
	// names. Then PEM and ID are empty unless the policy says which key it is.
	From RootTarget
}

// Rule is one [[release]] table: one way in which a release is allowed. A field
// that is not set constrains nothing beyond the defaults that SPEC 5 lists.
type Rule struct {
	Name      string
	Tags      PatternSet
	TagPrefix string     // what stands before the version of a package URL; "" if nothing does
	Refs      PatternSet // zero: exactly the tag being verified
	Artifacts PatternSet
	Since     time.Time // zero: no lower bound
	Until     time.Time // zero: no upper bound

	// Exactly one of Workflow, Identities with Keys and RootKeys, GitHubRelease, and Target is set.
	Workflow      *Workflow
	Identities    []Principal
	Keys          []Key
	RootKeys      []Key // that targets of trust roots are (SPEC 5.12)
	GitHubRelease bool
	Target        *RootTarget // by which a trust root lists the artifacts (SPEC 5.13)

	SetOnly   bool // accept a promise of inclusion without a proof
	Unlogged  bool // accept a time stamp without a log entry
	Overlaps  bool // says that another rule may allow the same release
	Approvals *Approvals
	Preflight *Preflight
}

// Workflow is the part of a rule that names a CI workflow.
type Workflow struct {
	Path         string   // in the signer's repository, for example ".github/workflows/release.yml"
	Signer       Locator  // repository that holds Path; zero: the policy's own
	Caller       string   // path in the policy's repository of the workflow that started
	SignerRef    string   // exact ref of the signer; "" means the ref of the run
	SignerDigest string   // exact commit of the signer, hex; "" if not pinned
	Issuer       string   // exact OIDC issuer
	Environment  string   // "" if not demanded
	Triggers     []string // never empty
	Runner       string   // "github-hosted", "gitlab-hosted", "self-hosted" or "any"
}

// Approvals demands that people approve exactly the digests released.
type Approvals struct {
	Threshold int
	From      string // "maintainers" or "releasers"
}

// Preflight holds claims of the job's token that only `authorize` can see.
type Preflight struct {
	Actors       []string
	RefProtected bool
}

// selector names what [[revoked]], [[yanked]] and [[restored]] are about.
// Exactly one field is set.
type selector struct {
	Identity *Principal
	Rule     string
	Key      string // hex SHA-256 of the DER SubjectPublicKeyInfo
	Tag      string
	Digest   Digest
}

// Withdrawal names whom or what is not trusted any more, also for the past: a signer that is
// revoked, a release that is yanked; or, among what a version restores, is trusted again.
type Withdrawal struct {
	selector
	Since time.Time // of a revocation, compromised-since; zero: always
}

// Adoption takes over releases from before the policy, digest by digest.
type Adoption struct {
	Tag     string
	Digests []Digest
}

// Document is a policy file that was parsed without error and that nobody has
// vouched for yet. Its content can be shown and linted; to decide by it, make
// it [Trusted].
type Document struct {
	file  File
	bytes []byte
	sum   Digest // of bytes
	at    map[string]Pos
}

// Content returns what the document says. It must not be changed.
func (d *Document) Content() *File { return &d.file }

// Text returns the exact bytes that were parsed. They must not be changed.
func (d *Document) Text() []byte { return d.bytes }

// Digest returns the SHA-256 of the exact bytes that were parsed.
func (d *Document) Digest() Digest { return d.sum }

// Pos returns where a path such as "release[0].tags" stands, or the place of
// the nearest table around it, or the beginning of the file.
func (d *Document) Pos(path string) Pos { return nearest(d.at, path) }

// Ids are the immutable numbers of a repository and its owner, as its forge
// assigned them and a genesis certificate shows them (DESIGN 4, rule 7).
type Ids struct {
	Repository string // extension .15; "" if not known
	Owner      string // extension .17; "" if not known
}

// GenesisLabel says why a policy is believed to be the repository's (DESIGN 6).
type GenesisLabel string

// Labels of a genesis.
const (
	GenesisPinned   GenesisLabel = "pinned"   // the user named it
	GenesisAnchored GenesisLabel = "anchored" // a super root names it
	GenesisFirst    GenesisLabel = "first"    // the log shows it
	GenesisClaimed  GenesisLabel = "claimed"  // only the chain says so
	GenesisFlags    GenesisLabel = "flags"    // no policy: the user named the identity
)
