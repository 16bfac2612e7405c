// SPDX-License-Identifier: Apache-2.0

package sigstoretest

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"google.golang.org/protobuf/encoding/protojson"
)

// LogKind is where a signature is logged.
type LogKind int

// The first four are honest.
const (
	LogV1   LogKind = iota // a Rekor v1 log
	LogV2                  // a Rekor v2 log; has no time of its own
	LogBoth                // one entry in each
	LogNone
	LogV2BodyInV1 // a body of the second generation in a log of the first
	LogV1BodyInV2 // the reverse
)

// Request says what to sign and how. The zero value of a field is what an honest
// client does.
type Request struct {
	Artifact    []byte // signed as a message, if Statement is nil
	Statement   []byte // signed as an envelope
	PayloadType string // of the envelope
	SAN         string // URI, or an e-mail address if it has no "://"
	// RawSAN, if set, is the whole SubjectAltName extension.
	RawSAN     []byte
	Issuer     string
	Extensions map[int]string   // Fulcio extensions by number
	Extra      []pkix.Extension // further extensions
	// Template changes the certificate before it is signed.
	Template  func(*x509.Certificate)
	At        time.Time     // when the log integrates; zero for Now
	NotBefore time.Time     // of the certificate; zero for one minute before At
	Key       crypto.Signer // that signs; nil for a fresh P-256 key
	BareKey   bool          // no certificate
	// Certificate, if set, is taken instead of one that the instance's authority issues (DER).
	Certificate []byte
	// By, if set, makes the signature over a message instead; what the log says of the key is
	// what it says of one that signs a digest.
	By         func(message []byte) []byte
	SelfSigned bool      // the certificate is its own issuer's
	Issue      *Instance // another instance whose CA and CT log make the certificate
	NoSCT      bool
	SCTBy      *Instance // another instance whose CT log makes the SCT
	SCTAt      time.Time // zero for one minute before At
	Log        LogKind
	Intoto     bool // an intoto entry for an envelope, not a dsse one
	Hashed     bool // a hashedrekord entry for what is signed of an envelope
	NoPromise  bool
	NoProof    bool
	TSA        bool
	TSAAt      time.Time
	TSABy      *Instance
	TSANoCerts bool
	// Mutate changes the bundle before it is marshalled.
	Mutate func(*protobundle.Bundle)
}

// signed is a signature with everything that a log says about it.
type signed struct {
	sig     []byte
	digest  []byte // of what is signed
	payload []byte // of an envelope
	typ     string
	der     []byte // certificate or key
	block   string // its PEM type
	alg     signature.AlgorithmDetails
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
	s := signed{block: "PUBLIC KEY"}
	vm := &protobundle.VerificationMaterial{}
	b := &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", VerificationMaterial: vm}
	old := r.NoProof && (r.Log == LogV1 || r.Log == LogBoth)
	if old {
		b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	}
	if r.BareKey {
		s.der, _ = spki(i.t, r.Key.Public())
		vm.Content = &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: "hint"},
		}
	} else {
		if s.der, s.block = r.Certificate, "CERTIFICATE"; s.der == nil {
			s.der = i.leaf(r, at).Raw
		}
		c := &protocommon.X509Certificate{RawBytes: s.der}
		vm.Content = &protobundle.VerificationMaterial_Certificate{Certificate: c}
		if old {
			vm.Content = &protobundle.VerificationMaterial_X509CertificateChain{
				X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{c}},
			}
		}
	}
	if r.Statement != nil {
		s.payload, s.typ = r.Statement, r.PayloadType
		if s.typ == "" {
			s.typ = "application/vnd.in-toto+json"
		}
		i.sign(&s, r, dsse.PAE(s.typ, s.payload))
		b.Content = &protobundle.Bundle_DsseEnvelope{
			DsseEnvelope: &protodsse.Envelope{
				Payload: s.payload, PayloadType: s.typ, Signatures: []*protodsse.Signature{{Sig: s.sig}},
			},
		}
	} else {
		i.sign(&s, r, r.Artifact)
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: s.alg.GetProtoHashType(), Digest: s.digest}, Signature: s.sig,
		}}
	}
	for _, l := range []struct {
		in   *log
		body func(signed, Request) body
		on   bool
	}{
		{i.v1, i.bodyV1, r.Log == LogV1 || r.Log == LogBoth}, {i.v2, i.bodyV2, r.Log == LogV2 || r.Log == LogBoth},
		{i.v1, i.bodyV2, r.Log == LogV2BodyInV1}, {i.v2, i.bodyV1, r.Log == LogV1BodyInV2},
	} {
		if l.on {
			vm.TlogEntries = append(vm.TlogEntries, l.in.entry(r, l.body(s, r), at))
		}
	}
	if r.TSA {
		when, by := r.TSAAt, r.TSABy
		if when.IsZero() {
			when = at
		}
		if by == nil {
			by = i
		}
		vm.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{
				{SignedTimestamp: by.stamp(s.sig, when, !r.TSANoCerts)},
			},
		}
	}
	if r.Mutate != nil {
		r.Mutate(b)
	}
	out, err := protojson.Marshal(b)
	i.check(err)
	return out
}

// sign signs msg as Sigstore's clients do with this kind of key. Keys that are
// too weak for the library sign like a P-256 key.
func (i *Instance) sign(s *signed, r Request, msg []byte) {
	i.t.Helper()
	key := r.Key
	var opts []signature.LoadOption
	if s.payload == nil || r.By != nil {
		opts = append(opts, options.WithED25519ph())
	}
	alg, err := signature.GetDefaultAlgorithmDetails(key.Public(), opts...)
	if err != nil {
		sum := sha256.Sum256(msg)
		s.alg, err = signature.GetAlgorithmDetails(protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256)
		i.check(err)
		s.digest = sum[:]
		s.sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
		i.check(err)
		return
	}
	s.alg = alg
	signer, err := signature.LoadSignerFromAlgorithmDetails(key, alg, opts...)
	i.check(err)
	s.sig, err = signer.SignMessage(bytes.NewReader(msg))
	i.check(err)
	if r.By != nil {
		s.sig = r.By(msg)
	}
	h := crypto.SHA256
	if alg.GetHashType() != 0 {
		h = alg.GetHashType()
	}
	d := h.New()
	d.Write(msg)
	s.digest = d.Sum(nil)
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func hash(data []byte) map[string]any {
	sum := sha256.Sum256(data)
	return map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}
}

// bodyV1 is a canonical entry of Rekor v1.
func (i *Instance) bodyV1(s signed, r Request) body {
	verifier := pem.EncodeToMemory(&pem.Block{Type: s.block, Bytes: s.der})
	b := body{kind: "hashedrekord", version: "0.0.1"}
	var spec map[string]any
	switch {
	case s.payload == nil || r.Hashed:
		alg := strings.ToLower(strings.TrimPrefix(s.alg.GetProtoHashType().String(), "SHA2_"))
		spec = map[string]any{
			"data": map[string]any{
				"hash": map[string]any{"algorithm": "sha" + alg, "value": hex.EncodeToString(s.digest)},
			},
			"signature": map[string]any{"content": b64(s.sig), "publicKey": map[string]any{"content": b64(verifier)}},
		}
	case r.Intoto:
		b.kind, b.version = "intoto", "0.0.2"
		env := map[string]any{
			"payloadType": s.typ,
			"signatures":  []any{map[string]any{"publicKey": b64(verifier), "sig": b64([]byte(b64(s.sig)))}},
		}
		spec = map[string]any{
			"content": map[string]any{"envelope": env, "hash": hash(s.payload), "payloadHash": hash(s.payload)},
		}
	default:
		b.kind = "dsse"
		spec = map[string]any{
			"envelopeHash": hash(s.payload), "payloadHash": hash(s.payload),
			"signatures": []any{map[string]any{"signature": b64(s.sig), "verifier": b64(verifier)}},
		}
	}
	b.json = i.v1.json(map[string]any{"apiVersion": b.version, "kind": b.kind, "spec": spec})
	return b
}

// bodyV2 is a canonical entry of Rekor v2.
func (i *Instance) bodyV2(s signed, _ Request) body {
	verifier := map[string]any{"keyDetails": s.alg.GetSignatureAlgorithm().String()}
	if s.block == "CERTIFICATE" {
		verifier["x509Certificate"] = map[string]any{"rawBytes": b64(s.der)}
	} else {
		verifier["publicKey"] = map[string]any{"rawBytes": b64(s.der)}
	}
	spec := map[string]any{"hashedRekordV002": map[string]any{
		"data":      map[string]any{"algorithm": s.alg.GetProtoHashType().String(), "digest": b64(s.digest)},
		"signature": map[string]any{"content": b64(s.sig), "verifier": verifier},
	}}
	return body{
		"hashedrekord", "0.0.2",
		i.v2.json(map[string]any{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}),
	}
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
			2: "push", 3: sha, 4: "release", 5: "acme/widget", 6: ref, 9: san, 10: sha, 11: "github-hosted", 12: repo,
			13: sha, 14: ref, 15: "1001", 16: "https://github.com/acme", 17: "2002", 18: san, 19: sha,
			20: "push", 21: repo + "/actions/runs/1/attempts/1", 22: "public", 23: "release",
		},
	}
}
