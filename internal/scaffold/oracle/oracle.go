// SPDX-License-Identifier: Apache-2.0

// Package oracle judges bundles with sigstore-go alone, and says where our own verification
// differs from it, for tests and runners only.
//
// It asks the library about one log entry and one time stamp at a time: what does not verify counts
// as absent here, and refuses the bundle there.
package oracle

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/policy"
)

// Facts are what a bundle proves, each as one line, in order and without copies.
type Facts struct {
	Signer  string
	Times   []string
	Entries []string
}

// Root is a trusted root as the library reads it.
type Root struct {
	*root.TrustedRoot
	cas      []root.CertificateAuthority
	own      []root.TimestampingAuthority // of the root
	stampers []root.TimestampingAuthority
	key      *root.ExpiringKey
}

// remembered is an answer of the library that depends on what was asked alone.
type remembered[T any] struct {
	answer T
	err    error
}

// memory remembers answers, up to a number.
type memory[T any] struct {
	mu sync.Mutex
	of map[string]remembered[T]
}

const maxRemembered = 10_000

func (m *memory[T]) ask(question string, ask func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.of[question]
	if !ok {
		if m.of == nil || len(m.of) >= maxRemembered {
			m.of = map[string]remembered[T]{}
		}
		r.answer, r.err = ask()
		m.of[question] = r
	}
	return r.answer, r.err
}

// ca and tsa are authorities whose answers are remembered: most of what is asked of them in a row of
// bundles that differ in little is the same.
type ca struct {
	root.CertificateAuthority
	memory[[][]*x509.Certificate]
}

func (c *ca) Verify(cert *x509.Certificate, at time.Time) ([][]*x509.Certificate, error) {
	return c.ask(at.String()+string(cert.Raw), func() ([][]*x509.Certificate, error) {
		return c.CertificateAuthority.Verify(cert, at)
	})
}

type tsa struct {
	root.TimestampingAuthority
	memory[*root.Timestamp]
}

func (s *tsa) Verify(stamp, data []byte) (*root.Timestamp, error) {
	return s.ask(string(hash(stamp))+string(data), func() (*root.Timestamp, error) {
		return s.TimestampingAuthority.Verify(stamp, data)
	})
}

// FulcioCertificateAuthorities implements [root.TrustedMaterial].
func (r *Root) FulcioCertificateAuthorities() []root.CertificateAuthority { return r.cas }

// ParseRoot reads a trusted_root.json.
func ParseRoot(data []byte) (*Root, error) {
	tr, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, err
	}
	out := &Root{TrustedRoot: tr}
	for _, a := range tr.FulcioCertificateAuthorities() {
		out.cas = append(out.cas, &ca{CertificateAuthority: a})
	}
	for _, a := range tr.TimestampingAuthorities() {
		out.own = append(out.own, &tsa{TimestampingAuthority: a})
	}
	out.stampers = out.own
	return out, nil
}

// TimestampingAuthorities implements [root.TrustedMaterial].
func (r *Root) TimestampingAuthorities() []root.TimestampingAuthority { return r.stampers }

// PublicKeyVerifier implements [root.TrustedMaterial].
func (r *Root) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	if r.key == nil {
		return nil, errors.New("no key")
	}
	return r.key, nil
}

// WithKey returns the root for bundles that a bare key signed, with its lifetime.
func (r *Root) WithKey(pub crypto.PublicKey, start, end time.Time) (*Root, error) {
	v, err := signature.LoadDefaultVerifier(pub, options.WithED25519ph())
	if err != nil {
		return nil, err
	}
	out := *r
	out.key = root.NewExpiringKey(v, start, end)
	return &out, nil
}

// entity is a bundle with some of its log entries, and with moments for its time stamps.
type entity struct {
	*bundle.Bundle
	content verify.VerificationContent
	entries []*tlog.Entry
	stamps  [][]byte
}

func (e *entity) VerificationContent() (verify.VerificationContent, error) { return e.content, nil }
func (e *entity) TlogEntries() ([]*tlog.Entry, error)                      { return e.entries, nil }
func (e *entity) Timestamps() ([][]byte, error)                            { return e.stamps, nil }

// untimed is what signed, valid at any moment: by which times it is judged is found out first.
type untimed struct{ verify.VerificationContent }

func (untimed) ValidAtTime(time.Time, root.TrustedMaterial) bool { return true }

// moments are times in the guise of an authority; a time stamp is the number of one.
type moments []time.Time

func (m moments) Verify(stamp, _ []byte) (*root.Timestamp, error) {
	return &root.Timestamp{Time: m[stamp[0]], URI: fmt.Sprint(stamp[0])}, nil
}

// Verify judges a bundle, of which the digest is that of the artifact. With unlogged it may have no
// log entry.
func (r *Root) Verify(data []byte, digest policy.Digest, unlogged bool) (*Facts, error) {
	b, err := parse(data)
	if err != nil {
		return nil, err
	}
	all, err := b.TlogEntries()
	if err != nil {
		return nil, err
	}
	content, err := b.VerificationContent()
	if err != nil {
		return nil, err
	}
	if (content.Certificate() == nil) != (r.key != nil) {
		return nil, errors.New("signed with another kind of key")
	}
	f := &Facts{}
	var times moments
	var why error
	for _, e := range all {
		one := &entity{Bundle: b, content: untimed{content}, entries: []*tlog.Entry{e}}
		if _, err := verify.VerifyTlogEntry(one, r, 1, true); err != nil {
			why = err
			continue
		}
		f.Entries = append(f.Entries, entryFact(e))
		if e.HasInclusionPromise() {
			times = append(times, e.IntegratedTime())
			log := r.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))]
			f.Times = append(f.Times, timeFact("log", e.IntegratedTime(), log.BaseURL))
		}
	}
	if len(f.Entries) == 0 && !unlogged {
		return nil, fmt.Errorf("no log entry: %w", why)
	}
	stamps, err := b.Timestamps()
	if err != nil {
		return nil, err
	}
	sig, err := b.SignatureContent()
	if err != nil {
		return nil, err
	}
	for _, s := range stamps {
		for _, a := range r.own {
			if t, err := a.Verify(s, sig.Signature()); err == nil {
				times = append(times, t.Time)
				f.Times = append(f.Times, timeFact("tsa", t.Time, t.URI))
				break
			}
		}
	}
	if len(times) == 0 {
		return nil, errors.New("no time")
	}
	if f.Signer, err = r.signed(b, content, digest, times); err != nil {
		return nil, err
	}
	return f.sorted(), nil
}

// signed verifies signature and certificate at every time.
func (r *Root) signed(
	b *bundle.Bundle, content verify.VerificationContent, digest policy.Digest, times moments,
) (string, error) {
	e := &entity{Bundle: b, content: content}
	for i := range min(len(times), 32) {
		e.stamps = append(e.stamps, []byte{byte(i)})
	}
	under := *r
	under.stampers = []root.TimestampingAuthority{times}
	opts := []verify.VerifierOption{verify.WithSignedTimestamps(1), verify.WithoutStatementPredicate()}
	who := verify.WithKey()
	if r.key == nil {
		who = verify.WithoutIdentitiesUnsafe()
		if len(r.CTLogs()) > 0 {
			opts = append(opts, verify.WithSignedCertificateTimestamps(1))
		}
	}
	v, err := verify.NewVerifier(&under, opts...)
	if err != nil {
		return "", err
	}
	raw, err := hex.DecodeString(digest.Hex)
	if err != nil {
		return "", err
	}
	got, err := v.Verify(e, verify.NewPolicy(verify.WithArtifactDigest(digest.Alg, raw), who))
	if err != nil {
		return "", err
	}
	if c := got.Signature.Certificate; c != nil {
		return c.SubjectAlternativeName + " by " + c.Issuer, nil
	}
	return "key", nil
}

// parse reads a bundle. Of one of version 0.1 an inclusion proof that nothing signs is left aside.
func parse(data []byte) (*bundle.Bundle, error) {
	pb := &protobundle.Bundle{}
	if err := protojson.Unmarshal(data, pb); err != nil {
		return nil, err
	}
	for _, e := range pb.GetVerificationMaterial().GetTlogEntries() {
		if strings.HasSuffix(pb.GetMediaType(), "version=0.1") && e.GetInclusionProof() != nil &&
			e.GetInclusionProof().GetCheckpoint().GetEnvelope() == "" &&
			len(e.GetInclusionPromise().GetSignedEntryTimestamp()) > 0 {
			e.InclusionProof = nil
		}
	}
	return bundle.NewBundle(pb)
}

func timeFact(source string, t time.Time, uri string) string {
	return source + " " + t.UTC().Format(time.RFC3339Nano) + " " + uri
}

func entryFact(e *tlog.Entry) string {
	tle := e.TransparencyLogEntry()
	generation, promised, index := 1, int64(-1), int64(-1)
	if e.IsRekorV2() {
		generation = 2
	}
	if e.HasInclusionPromise() {
		promised = tle.GetLogIndex()
	}
	if e.HasInclusionProof() {
		index = tle.GetInclusionProof().GetLogIndex()
	}
	return fmt.Sprintf("%x %d promised %d, index %d, body %x", e.LogKeyID(), generation, promised, index,
		hash(tle.GetCanonicalizedBody()))
}

func hash(data []byte) []byte {
	h := crypto.SHA256.New()
	h.Write(data)
	return h.Sum(nil)
}

func (f *Facts) sorted() *Facts {
	slices.Sort(f.Times)
	slices.Sort(f.Entries)
	f.Times, f.Entries = slices.Compact(f.Times), slices.Compact(f.Entries)
	return f
}
