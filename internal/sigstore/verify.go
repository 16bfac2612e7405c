// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/policy"
)

// Verified is what the verification of a bundle established, in plain values.
type Verified struct {
	Root    string     // name of the trusted root under which it verified
	KeyID   string     // of the key that signed; "" for a certificate
	Times   []Time     // at least one
	Entries []LogEntry // none if the evidence is unlogged
	// NotBefore and NotAfter are the window of the certificate; zero for a key.
	NotBefore, NotAfter time.Time
}

// Time is one trusted time of a signature.
type Time struct {
	Time   time.Time // UTC
	Source string    // "log" for a signed entry timestamp, "tsa" for an RFC 3161 time stamp
	URI    string    // the log or authority, as the trusted root names it
}

// LogEntry is the place of a verified log entry. Only values that a signature
// or proof covers are in it (DESIGN 6).
type LogEntry struct {
	LogID  string // hex of the log's key id
	Origin string // of the checkpoint; "" without one
	Proven bool   // included under a signed checkpoint
	// TreeIndex and TreeSize are what the inclusion proof covers; -1 without one.
	TreeIndex, TreeSize int64
	// PromisedIndex is the index that the signed entry timestamp of a Rekor v1
	// log covers, counted over all its shards; -1 without one.
	PromisedIndex int64
	// Generation is 1 for Rekor v1, 2 for Rekor v2.
	Generation int
	// Time is what the signed entry timestamp covers; zero without one.
	Time     time.Time
	Body     string // hex SHA-256 of the canonical body
	LeafHash string // hex hash of the leaf (RFC 6962, section 2.1)
	// Readable says that, of an entry that a workflow's certificate signed, those
	// who read the log see as much as those who have the bundle.
	Readable bool
	// Checkpoint is the one that the inclusion proof ends at; nil without one.
	Checkpoint *Checkpoint
}

// Place returns the entry as chains of versions are judged by: its index is the
// one that proof or promise covers; negative where neither does.
func (v *Verified) Place(e LogEntry) policy.Entry {
	out := policy.Entry{Log: e.LogID, Index: e.TreeIndex, Time: e.Time, NotBefore: v.NotBefore, NotAfter: v.NotAfter}
	if e.Generation == 1 {
		out.Index = e.PromisedIndex
	}
	return out
}

// Placed is an entry that has a place in the order of its log.
type Placed struct {
	LogEntry
	At policy.Entry
}

// Placed returns the entries that have a place in the order of their logs. An
// entry of Rekor v1 whose promise is missing has none.
func (v *Verified) Placed() []Placed {
	var out []Placed
	for _, e := range v.Entries {
		if at := v.Place(e); at.Index >= 0 {
			out = append(out, Placed{e, at})
		}
	}
	return out
}

// Verification returns the result in the policy's terms.
func (v *Verified) Verification() policy.Verification {
	out := policy.Verification{Logged: len(v.Entries) > 0, NotBefore: v.NotBefore}
	for _, p := range v.Placed() {
		out.Entries = append(out.Entries, p.At)
	}
	for _, t := range v.Times {
		out.Times = append(out.Times, t.Time)
	}
	for _, e := range v.Entries {
		out.Proven = out.Proven || e.Proven
		out.Entries = append(out.Entries, v.Place(e))
	}
	return out
}

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
// The error is an [*Error]. Elements that do not verify count as absent: what
// is left must suffice, so that removing an element never helps.
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
// parses anew for every question is parsed once; entries are those chosen for
// this verification.
type entity struct {
	*bundle.Bundle
	content verify.VerificationContent
	entries []*tlog.Entry
	leaf    *x509.Certificate // nil for a bare key
}

func (e *entity) VerificationContent() (verify.VerificationContent, error) { return e.content, nil }
func (e *entity) TlogEntries() ([]*tlog.Entry, error)                      { return e.entries, nil }

func (b *Bundle) verify(r *Root, digest policy.Digest, key *Key, opt Options) (*Verified, error) {
	tm := &trusted{TrustedRoot: r.material, cas: r.cas, stampers: r.stampers, key: key}
	e := &entity{Bundle: b.lib, leaf: b.leaf}
	if b.leaf == nil {
		var err error
		if e.content, err = b.lib.VerificationContent(); err != nil {
			return nil, refuse(policy.BundleInvalid, "key material: %w", err)
		}
	} else {
		leaf := *b.leaf // the library writes into the certificate that it is given
		e.content = bundle.NewCertificate(&leaf)
	}

	// What does not verify counts as absent.
	var why error
	var good []*tlog.Entry
	for _, entry := range b.entries {
		if err := checkFields(entry); err != nil {
			why = &Error{policy.LogFields, err}
			continue
		}
		if len(b.entries) > 1 { // a single entry is verified below
			e.entries = []*tlog.Entry{entry}
			if _, err := verify.VerifyTlogEntry(e, tm, 1, true); err != nil {
				why = classify(err, policy.LogInvalid)
				continue
			}
		}
		good = append(good, entry)
	}
	for _, e.entries = range choices(good) {
		v, err := b.run(r, e, tm, digest, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
		if err == nil {
			return v, nil
		}
		why = err
	}
	if opt.Unlogged {
		e.entries = nil
		v, err := b.run(r, e, tm, digest, verify.WithSignedTimestamps(1))
		if err == nil {
			return v, nil
		}
		if why == nil {
			why = err
		}
	}
	switch {
	case why != nil:
		return nil, why
	case len(b.entries) == 0:
		return nil, refuse(policy.NotLogged, "the bundle has no log entry")
	}
	return nil, refuse(policy.LogInvalid, "no log entry verifies")
}

// choices returns the sets of entries to try: all together, then each alone.
func choices(entries []*tlog.Entry) [][]*tlog.Entry {
	if len(entries) == 0 {
		return nil
	}
	out := [][]*tlog.Entry{entries}
	for i := range entries {
		if len(entries) > 1 {
			out = append(out, entries[i:i+1])
		}
	}
	return out
}

// run verifies the bundle with the entries in e.
func (b *Bundle) run(r *Root, e *entity, tm *trusted, digest policy.Digest, opts ...verify.VerifierOption) (*Verified, error) {
	opts = append(opts, verify.WithoutStatementPredicate())
	who := verify.WithKey()
	if b.leaf != nil {
		who = verify.WithoutIdentitiesUnsafe() // the policy decides about identities
		if len(tm.CTLogs()) > 0 {
			opts = append(opts, verify.WithSignedCertificateTimestamps(1))
		}
	}
	v, err := verify.NewVerifier(tm, opts...)
	if err != nil {
		return nil, &Error{policy.Internal, err}
	}
	what := verify.WithoutArtifactUnsafe() // subjects of an envelope are compared by Verify
	if b.statement == nil {
		raw, err := hex.DecodeString(digest.Hex)
		if err != nil {
			return nil, &Error{policy.Internal, err}
		}
		what = verify.WithArtifactDigest(digest.Alg, raw)
	}
	res, err := v.Verify(e, verify.NewPolicy(what, who))
	if err != nil {
		return nil, classify(err, policy.SignatureInvalid)
	}
	out, err := result(r, e, tm, res)
	if err == nil && b.leaf != nil {
		out.NotBefore, out.NotAfter = b.leaf.NotBefore.UTC(), b.leaf.NotAfter.UTC()
	}
	return out, err
}

// stages are the beginnings of sigstore-go's errors. They choose the reason
// that is reported, never the outcome.
var stages = []struct {
	prefix string
	reason policy.Reason
}{
	{"failed to verify log inclusion: integrated time outside", policy.TimeInvalid},
	{"failed to verify log inclusion", policy.LogInvalid},
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

// result turns what the library verified into plain values and checks what it
// does not.
func result(r *Root, e *entity, tm *trusted, res *verify.VerificationResult) (*Verified, error) {
	out := &Verified{Root: r.name}
	if e.leaf != nil {
		out.NotBefore, out.NotAfter = e.leaf.NotBefore.UTC(), e.leaf.NotAfter.UTC()
	}
	if tm.key != nil {
		out.KeyID = tm.key.id
	}
	for _, t := range res.VerifiedTimestamps {
		src := "tsa"
		if t.Type == "Tlog" {
			src = "log"
		}
		out.Times = append(out.Times, Time{t.Timestamp.UTC(), src, t.URI})
	}
	if len(out.Times) == 0 {
		return nil, refuse(policy.TimeInvalid, "no trusted time")
	}
	for _, entry := range e.entries {
		le := logEntry(entry)
		log := tm.RekorLogs()[le.LogID]
		if log == nil {
			return nil, refuse(policy.LogInvalid, "the log %s is not in the trusted root", le.LogID)
		}
		for _, t := range out.Times {
			if !within(t.Time, log) {
				return nil, refuse(policy.TimeInvalid, "signed %s, when the trusted root did not trust this log's key", t.Time.Format(time.RFC3339))
			}
		}
		if e.leaf != nil && len(e.leaf.URIs) > 0 {
			le.Readable = readable(le.Generation, entry.TransparencyLogEntry().GetCanonicalizedBody())
		}
		out.Entries = append(out.Entries, le)
	}
	return out, nil
}

// within reports whether the log's key was trusted at t; the end is inclusive.
// sigstore-go checks this for signed entry timestamps only.
func within(t time.Time, log *root.TransparencyLog) bool {
	return !t.Before(log.ValidityPeriodStart) && (log.ValidityPeriodEnd.IsZero() || !t.After(log.ValidityPeriodEnd))
}

func logEntry(entry *tlog.Entry) LogEntry {
	tle := entry.TransparencyLogEntry()
	body := tle.GetCanonicalizedBody()
	le := LogEntry{
		LogID: hex.EncodeToString([]byte(entry.LogKeyID())), TreeIndex: -1, TreeSize: -1, PromisedIndex: -1, Generation: 1,
		Body: policy.Sum(body), LeafHash: LeafHash(body),
	}
	if entry.IsRekorV2() {
		le.Generation = 2
	}
	if entry.HasInclusionPromise() {
		le.PromisedIndex, le.Time = tle.GetLogIndex(), time.Unix(tle.GetIntegratedTime(), 0).UTC()
	}
	if p := tle.GetInclusionProof(); p != nil {
		cp, err := parseCheckpoint(p.GetCheckpoint().GetEnvelope())
		if err == nil {
			le.Proven, le.Origin, le.TreeSize, le.TreeIndex = true, cp.origin, cp.size, p.GetLogIndex()
			le.Checkpoint = &Checkpoint{Origin: cp.origin, Size: cp.size, Root: cp.root, Note: []byte(p.GetCheckpoint().GetEnvelope())}
		}
	}
	return le
}

// checkFields refuses an entry whose fields disagree with those that its proof
// covers. sigstore-go v1.3.0 leaves some of them unread: the tree size beside a
// Rekor v1 proof, index and root beside a v2 proof, which kind of log the kind
// of body belongs to, kind and version of the body, which it compares with
// themselves, and the body of a v2 entry, instead of which it takes what it
// rebuilds from the bundle.
func checkFields(entry *tlog.Entry) error {
	tle := entry.TransparencyLogEntry()
	var body struct{ Kind, APIVersion string }
	if err := json.Unmarshal(tle.GetCanonicalizedBody(), &body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if kv := tle.GetKindVersion(); kv.GetKind() != body.Kind || kv.GetVersion() != body.APIVersion {
		return fmt.Errorf("called %s %s, but the body is %s %s", kv.GetKind(), kv.GetVersion(), body.Kind, body.APIVersion)
	}
	p := tle.GetInclusionProof()
	if p == nil {
		if entry.IsRekorV2() {
			return errors.New("a Rekor v2 entry without an inclusion proof")
		}
		return nil
	}
	cp, err := parseCheckpoint(p.GetCheckpoint().GetEnvelope())
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if entry.IsRekorV2() == cp.rekorV1() {
		return errors.New("a Rekor v2 entry under a v1 checkpoint, or the reverse")
	}
	if p.GetTreeSize() != 0 && p.GetTreeSize() != cp.size {
		return fmt.Errorf("tree size %d, but the checkpoint says %d", p.GetTreeSize(), cp.size)
	}
	if len(p.GetRootHash()) > 0 && !bytes.Equal(p.GetRootHash(), cp.root) {
		return errors.New("the root hash is not the checkpoint's")
	}
	if p.GetLogIndex() < 0 || p.GetLogIndex() >= cp.size {
		return fmt.Errorf("index %d in a tree of %d", p.GetLogIndex(), cp.size)
	}
	if entry.IsRekorV2() {
		if p.GetLogIndex() != tle.GetLogIndex() {
			return fmt.Errorf("two indexes, %d and %d", tle.GetLogIndex(), p.GetLogIndex())
		}
		if tle.GetIntegratedTime() != 0 || entry.HasInclusionPromise() {
			return errors.New("a Rekor v2 entry has neither a time nor a promise")
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(tle.GetCanonicalizedBody())
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.GetLogIndex()), uint64(cp.size), leaf, p.GetHashes(), cp.root); err != nil {
			return fmt.Errorf("body: %w", err)
		}
	}
	return nil
}

type checkpoint struct {
	origin string
	size   int64
	root   []byte
}

// parseCheckpoint reads the three lines that a checkpoint's signatures cover
// (C2SP tlog-checkpoint). It does not verify them.
func parseCheckpoint(envelope string) (checkpoint, error) {
	lines := strings.SplitN(envelope, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return checkpoint{}, errors.New("fewer than three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, errors.New("the size is not a number")
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != 32 {
		return checkpoint{}, errors.New("the root is not a SHA-256 hash")
	}
	return checkpoint{lines[0], size, root}, nil
}

// rekorV1 reports whether the origin is that of a Rekor v1 shard, "name - tree
// id".
func (c checkpoint) rekorV1() bool { return TreeID(c.origin) != "" }

// TreeID returns the tree id in the origin of a Rekor v1 shard's checkpoint, ""
// for another origin.
func TreeID(origin string) string {
	_, id, ok := strings.Cut(origin, " - ")
	if !ok {
		return ""
	}
	id = id[strings.LastIndex(id, " - ")+1:]
	id = strings.TrimPrefix(id, "- ")
	if strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}
