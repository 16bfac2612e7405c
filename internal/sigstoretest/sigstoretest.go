// SPDX-License-Identifier: Apache-2.0

// Package sigstoretest is a small Sigstore instance with knobs, for tests only:
// it signs what is asked for, also what no honest instance would, at any moment.
// Certificates, log entries, proofs, promises and time stamps are real and
// verify under the trusted root that it hands out.
package sigstoretest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Now is the moment at which everything is signed unless a request says
// otherwise.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const treeID = 4711

// Instance is one Sigstore deployment.
type Instance struct {
	t                 testing.TB
	root, ca, tsaCert *x509.Certificate
	rootKey, caKey    *ecdsa.PrivateKey
	tsaKey, logKey    *ecdsa.PrivateKey
	logID             []byte
	hashes            []tlog.Hash // stored hashes of the log
	size              int64
}

// New returns an instance with fresh keys.
func New(t testing.TB) *Instance {
	t.Helper()
	i := &Instance{t: t, rootKey: newKey(t, elliptic.P384()), caKey: newKey(t, elliptic.P384()), tsaKey: newKey(t, elliptic.P256()), logKey: newKey(t, elliptic.P256())}
	ca := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"sigstoretest"}},
			NotBefore: Now.AddDate(-3, 0, 0), NotAfter: Now.AddDate(7, 0, 0), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		}
	}
	i.root = i.certify(ca("root"), ca("root"), i.rootKey.Public(), i.rootKey)
	inter := ca("intermediate")
	inter.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	inter.MaxPathLenZero = true
	i.ca = i.certify(inter, i.root, i.caKey.Public(), i.rootKey)
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	i.check(err)
	i.tsaCert = i.certify(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "tsa"}, NotBefore: Now.AddDate(-3, 0, 0), NotAfter: Now.AddDate(7, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}, i.root, i.tsaKey.Public(), i.rootKey)
	spki, err := x509.MarshalPKIXPublicKey(i.logKey.Public())
	i.check(err)
	id := sha256.Sum256(spki)
	i.logID = id[:]
	for n := range 3 { // a log is never empty
		i.append([]byte{byte(n)})
	}
	return i
}

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (i *Instance) check(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

func (i *Instance) certify(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	i.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	i.check(err)
	cert, err := x509.ParseCertificate(der)
	i.check(err)
	return cert
}

// Window changes the validity that the trusted root gives to a key.
type Window struct{ Start, End time.Time }

// RootOptions are knobs of the trusted root.
type RootOptions struct {
	Log, CA, TSA *Window
	NoLog, NoTSA bool
	NoLogStart   bool
}

// Root returns the instance's trusted_root.json.
func (i *Instance) Root(o RootOptions) []byte {
	i.t.Helper()
	window := func(w *Window) *protocommon.TimeRange {
		r := &protocommon.TimeRange{Start: timestamppb.New(Now.AddDate(-3, 0, 0))}
		if w != nil {
			r = &protocommon.TimeRange{Start: timestamppb.New(w.Start)}
			if !w.End.IsZero() {
				r.End = timestamppb.New(w.End)
			}
		}
		return r
	}
	chain := func(certs ...*x509.Certificate) *protocommon.X509CertificateChain {
		c := &protocommon.X509CertificateChain{}
		for _, x := range certs {
			c.Certificates = append(c.Certificates, &protocommon.X509Certificate{RawBytes: x.Raw})
		}
		return c
	}
	spki, err := x509.MarshalPKIXPublicKey(i.logKey.Public())
	i.check(err)
	tr := &prototrust.TrustedRoot{
		MediaType:              "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		CertificateAuthorities: []*prototrust.CertificateAuthority{{Uri: "https://fulcio.example", CertChain: chain(i.ca, i.root), ValidFor: window(o.CA)}},
	}
	if !o.NoTSA {
		tr.TimestampAuthorities = []*prototrust.CertificateAuthority{{Uri: "https://tsa.example", CertChain: chain(i.tsaCert, i.root), ValidFor: window(o.TSA)}}
	}
	if !o.NoLog {
		w := window(o.Log)
		if o.NoLogStart {
			w.Start = nil
		}
		tr.Tlogs = []*prototrust.TransparencyLogInstance{{
			BaseUrl: "https://rekor.example", HashAlgorithm: protocommon.HashAlgorithm_SHA2_256, LogId: &protocommon.LogId{KeyId: i.logID},
			PublicKey: &protocommon.PublicKey{RawBytes: spki, KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, ValidFor: w},
		}}
	}
	out, err := protojson.Marshal(tr)
	i.check(err)
	return out
}

// Request says what to sign and how. The zero value of a field is what an honest
// client does.
type Request struct {
	Artifact  []byte // signed as a message, if Statement is nil
	Statement []byte // signed as an envelope
	SAN       string // URI, or an e-mail address if it has no "://"
	// RawSAN, if set, is the whole SubjectAltName extension.
	RawSAN     []byte
	Issuer     string
	Extensions map[int]string   // Fulcio extensions by number
	Extra      []pkix.Extension // further extensions
	At         time.Time        // when the log integrates; zero for Now
	NotBefore  time.Time        // of the certificate; zero for one minute before At
	Key        *ecdsa.PrivateKey
	BareKey    bool // no certificate
	Issue      *Instance
	NoLog      bool
	NoPromise  bool
	NoProof    bool
	TSA        bool
	TSAAt      time.Time
	// Mutate changes the bundle before it is marshalled.
	Mutate func(*protobundle.Bundle)
}

// Sign returns a bundle of version 0.3, or 0.1 if it has no proof.
func (i *Instance) Sign(r Request) []byte {
	i.t.Helper()
	at := r.At
	if at.IsZero() {
		at = Now
	}
	if r.Key == nil {
		r.Key = newKey(i.t, elliptic.P256())
	}
	vm := &protobundle.VerificationMaterial{}
	var verifier []byte // as the log keeps it, PEM
	if r.BareKey {
		spki, err := x509.MarshalPKIXPublicKey(r.Key.Public())
		i.check(err)
		verifier = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
		vm.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "hint"}}
	} else {
		cert := i.leaf(r, at)
		verifier = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
		c := &protocommon.X509Certificate{RawBytes: cert.Raw}
		vm.Content = &protobundle.VerificationMaterial_Certificate{Certificate: c}
		if r.NoProof && !r.NoLog {
			vm.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{c}}}
		}
	}
	b := &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", VerificationMaterial: vm}
	if r.NoProof && !r.NoLog {
		b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	}
	var sig, body []byte
	kind := "hashedrekord"
	if r.Statement != nil {
		const payloadType = "application/vnd.in-toto+json"
		sig = i.sign(r.Key, dsse.PAE(payloadType, r.Statement))
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{Payload: r.Statement, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: sig}}}}
		kind = "dsse"
		body = i.json(map[string]any{"apiVersion": "0.0.1", "kind": kind, "spec": map[string]any{
			"envelopeHash": hash(r.Statement), "payloadHash": hash(r.Statement),
			"signatures": []any{map[string]any{"signature": base64.StdEncoding.EncodeToString(sig), "verifier": base64.StdEncoding.EncodeToString(verifier)}},
		}})
	} else {
		sig = i.sign(r.Key, r.Artifact)
		sum := sha256.Sum256(r.Artifact)
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: sig,
		}}
		body = i.json(map[string]any{"apiVersion": "0.0.1", "kind": kind, "spec": map[string]any{
			"data": map[string]any{"hash": hash(r.Artifact)},
			"signature": map[string]any{
				"content":   base64.StdEncoding.EncodeToString(sig),
				"publicKey": map[string]any{"content": base64.StdEncoding.EncodeToString(verifier)},
			},
		}})
	}
	if !r.NoLog {
		vm.TlogEntries = []*protorekor.TransparencyLogEntry{i.entry(r, kind, body, at)}
	}
	if r.TSA {
		when := r.TSAAt
		if when.IsZero() {
			when = at
		}
		vm.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: i.Stamp(sig, when)}}}
	}
	if r.Mutate != nil {
		r.Mutate(b)
	}
	out, err := protojson.Marshal(b)
	i.check(err)
	return out
}

func hash(data []byte) map[string]any {
	sum := sha256.Sum256(data)
	return map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}
}

func (i *Instance) json(v any) []byte {
	out, err := json.Marshal(v)
	i.check(err)
	return out
}

func (i *Instance) sign(key *ecdsa.PrivateKey, msg []byte) []byte {
	sum := sha256.Sum256(msg)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	i.check(err)
	return sig
}

// leaf issues the certificate of a request.
func (i *Instance) leaf(r Request, at time.Time) *x509.Certificate {
	i.t.Helper()
	nb := r.NotBefore
	if nb.IsZero() {
		nb = at.Add(-time.Minute)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: nb, NotAfter: nb.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	raw := r.RawSAN
	if raw == nil {
		raw = SAN(r.SAN)
	}
	tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: raw})
	if r.Issuer != "" {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, Extension(1, r.Issuer), Extension(8, r.Issuer))
	}
	for n := range 30 {
		if v, ok := r.Extensions[n]; ok {
			tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, Extension(n, v))
		}
	}
	tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, r.Extra...)
	issuer := i
	if r.Issue != nil {
		issuer = r.Issue
	}
	return i.certify(tmpl, issuer.ca, r.Key.Public(), issuer.caKey)
}

// SAN returns a SubjectAltName extension with each of the names: a URI if it has
// a scheme, else an e-mail address.
func SAN(names ...string) []byte {
	var all []asn1.RawValue
	for _, n := range names {
		tag := 1
		for k := range n {
			if k+3 <= len(n) && n[k:k+3] == "://" {
				tag = 6
			}
		}
		all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(n)})
	}
	out, err := asn1.Marshal(all)
	if err != nil {
		panic(err)
	}
	return out
}

// Extension returns Fulcio's extension n as Fulcio writes it: raw text up to .6,
// a DER UTF8String from .8.
func Extension(n int, value string) pkix.Extension {
	e := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}, Value: []byte(value)}
	if n >= 8 {
		der, err := asn1.MarshalWithParams(value, "utf8")
		if err != nil {
			panic(err)
		}
		e.Value = der
	}
	return e
}

func (i *Instance) append(record []byte) {
	h, err := tlog.StoredHashes(i.size, record, i.reader())
	i.check(err)
	i.hashes = append(i.hashes, h...)
	i.size++
}

func (i *Instance) reader() tlog.HashReaderFunc {
	return func(idx []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, n := range idx {
			out = append(out, i.hashes[n])
		}
		return out, nil
	}
}

// shardOffset is how far the index over all shards is ahead of the tree's own.
const shardOffset = 1000

// entry adds the body to the log and returns the entry.
func (i *Instance) entry(r Request, kind string, body []byte, at time.Time) *protorekor.TransparencyLogEntry {
	i.t.Helper()
	index := i.size
	i.append(body)
	e := &protorekor.TransparencyLogEntry{
		LogIndex: index + shardOffset, LogId: &protocommon.LogId{KeyId: i.logID}, KindVersion: &protorekor.KindVersion{Kind: kind, Version: "0.0.1"},
		IntegratedTime: at.Unix(), CanonicalizedBody: body,
	}
	if !r.NoPromise {
		payload := i.json(map[string]any{
			"body": base64.StdEncoding.EncodeToString(body), "integratedTime": at.Unix(), "logID": hex.EncodeToString(i.logID), "logIndex": e.LogIndex,
		})
		e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: i.sign(i.logKey, payload)}
	}
	if r.NoProof {
		return e
	}
	proof, err := tlog.ProveRecord(i.size, index, i.reader())
	i.check(err)
	th, err := tlog.TreeHash(i.size, i.reader())
	i.check(err)
	signer, err := signature.LoadECDSASigner(i.logKey, crypto.SHA256)
	i.check(err)
	cp, err := util.CreateAndSignCheckpoint(context.Background(), "rekor.example", treeID, uint64(i.size), th[:], signer)
	i.check(err)
	e.InclusionProof = &protorekor.InclusionProof{LogIndex: index, TreeSize: i.size, RootHash: th[:], Checkpoint: &protorekor.Checkpoint{Envelope: string(cp)}}
	for _, h := range proof {
		e.InclusionProof.Hashes = append(e.InclusionProof.Hashes, h[:])
	}
	return e
}

// Stamp returns an RFC 3161 response over a signature.
func (i *Instance) Stamp(sig []byte, at time.Time) []byte {
	i.t.Helper()
	sum := sha256.Sum256(sig)
	ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: true}
	out, err := ts.CreateResponseWithOpts(i.tsaCert, i.tsaKey, crypto.SHA256)
	i.check(err)
	return out
}

// Workflow returns a request as a GitHub workflow of acme/widget would make it
// for a tag.
func Workflow(tag string) Request {
	ref := "refs/tags/" + tag
	const repo, sha = "https://github.com/acme/widget", "1111111111111111111111111111111111111111"
	san := repo + "/.github/workflows/release.yml@" + ref
	return Request{
		SAN: san, Issuer: "https://token.actions.githubusercontent.com",
		Extensions: map[int]string{
			2: "push", 3: sha, 4: "release", 5: "acme/widget", 6: ref, 9: san, 10: sha, 11: "github-hosted", 12: repo, 13: sha, 14: ref,
			15: "1001", 16: "https://github.com/acme", 17: "2002", 18: san, 19: sha, 20: "push", 21: repo + "/actions/runs/1/attempts/1", 22: "public", 23: "release",
		},
	}
}
