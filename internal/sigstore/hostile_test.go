// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

type (
	request = sigstoretest.Request
	roots   = sigstoretest.RootOptions
	bundlep = protobundle.Bundle
)

var artifact = []byte("artifact")

func sha(data []byte) policy.Digest {
	return policy.Digest{Alg: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(data))}
}

func subjectOf(digest string) string { return fmt.Sprintf(`{"name":"widget_1","digest":{%s}}`, digest) }

func statementOf(subjects ...string) []byte {
	return []byte(
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},` +
			`"subject":[` + strings.Join(subjects, ",") + `]}`,
	)
}

var goodSubject = subjectOf(fmt.Sprintf(`"sha256":"%x"`, sha256.Sum256(artifact)))

// message and envelope are honest requests, changed by f.
func message(f func(*request)) request {
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = artifact
	if f != nil {
		f(&r)
	}
	return r
}

func envelope(f func(*request)) request {
	return message(func(r *request) {
		r.Statement = statementOf(goodSubject)
		if f != nil {
			f(r)
		}
	})
}

func mutated(f func(*bundlep)) request { return message(func(r *request) { r.Mutate = f }) }

// entry, proof and v2 shorten the tables.
func entry(b *bundlep) *protorekor.TransparencyLogEntry { return b.VerificationMaterial.TlogEntries[0] }
func proofOf(b *bundlep) *protorekor.InclusionProof     { return entry(b).InclusionProof }

func v2(f func(*bundlep)) request {
	return message(func(r *request) { r.Log, r.TSA, r.Mutate = sigstoretest.LogV2, true, f })
}

func chainOf(ders ...[]byte) func(*bundlep) {
	return func(b *bundlep) {
		c := &protocommon.X509CertificateChain{}
		for _, d := range ders {
			c.Certificates = append(c.Certificates, &protocommon.X509Certificate{RawBytes: d})
		}
		b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: c}
	}
}

func decode(t testing.TB, data []byte) *bundlep {
	t.Helper()
	b := &bundlep{}
	if err := protojson.Unmarshal(data, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// judgeBundle parses and verifies, and returns the reason of a refusal, ""
// where there is none.
func judgeBundle(t testing.TB, data, root []byte, d policy.Digest, o Options) (*Verified, policy.Reason) {
	t.Helper()
	r, err := ParseRoot("test", root)
	if err != nil {
		return nil, reasonOf(t, err)
	}
	b, err := ParseBundle(data)
	if err != nil {
		return nil, reasonOf(t, err)
	}
	v, err := b.Verify(r, d, nil, o)
	if err != nil {
		if v != nil {
			t.Error("a result beside an error")
		}
		return nil, reasonOf(t, err)
	}
	return v, ""
}

func reasonOf(t testing.TB, err error) policy.Reason {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Error() == "" || strings.Contains(e.Error(), "<nil>") ||
		e.Reason.Class() == policy.ClassInternal {
		t.Fatalf("not a plain refusal: %T %v", err, err)
	}
	return e.Reason
}

// ended and notYet are validity windows that Now is not in; just ends with it.
func ended() *sigstoretest.Window {
	return &sigstoretest.Window{Start: sigstoretest.Now.AddDate(-2, 0, 0), End: sigstoretest.Now.AddDate(-1, 0, 0)}
}
func notYet() *sigstoretest.Window {
	return &sigstoretest.Window{Start: sigstoretest.Now.AddDate(0, 0, 1)}
}
func just() *sigstoretest.Window {
	return &sigstoretest.Window{Start: sigstoretest.Now, End: sigstoretest.Now}
}

// hostileCase is one signature that somebody could try. Reason is that of the
// refusal, "" for none.
type hostileCase struct {
	name   string
	req    request
	root   roots
	opt    Options
	reason policy.Reason
	// removable says that less evidence is accepted, see TestHostileMonotone.
	removable string
}

// hostile returns every case that needs nothing but one instance and a
// stranger. The numbers are those of the catalogue of negative cases.
func hostile(t testing.TB, inst, stranger *sigstoretest.Instance) []hostileCase {
	now := sigstoretest.Now
	other := decode(t, inst.Sign(message(nil)))     // same artifact, another signature
	otherV2 := decode(t, inst.Sign(v2(nil)))        // the same in the other log
	otherEnv := decode(t, inst.Sign(envelope(nil))) // and for an envelope
	unlogged := Options{Unlogged: true}
	early := func(r *request) { r.NotBefore = now.Add(time.Minute) }
	late := func(r *request) { r.NotBefore = now.Add(-11 * time.Minute) }
	tsaOnly := func(f func(*request)) request {
		return message(func(r *request) {
			r.Log, r.TSA = sigstoretest.LogNone, true
			if f != nil {
				f(r)
			}
		})
	}
	proofAndTSA := func(f func(*request)) request {
		return message(func(r *request) {
			r.TSA, r.NoPromise = true, true
			if f != nil {
				f(r)
			}
		})
	}
	return []hostileCase{
		{name: "message", req: message(nil)},
		{name: "envelope", req: envelope(nil)},
		{name: "envelope with an intoto entry", req: envelope(func(r *request) { r.Intoto = true })},
		{name: "rekor v2 message", req: v2(nil)},
		{name: "rekor v2 envelope", req: envelope(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2, true })},
		{name: "both logs", req: message(func(r *request) { r.Log, r.TSA = sigstoretest.LogBoth, true })},
		{name: "set only", req: message(func(r *request) { r.NoProof = true })},
		{name: "proof and time stamp", req: proofAndTSA(nil)},
		{name: "time stamp only", req: tsaOnly(nil), opt: unlogged},
		{name: "no ct log known", req: message(func(r *request) { r.NoSCT = true }), root: roots{NoCT: true}},

		{
			name: "case-107-payload-type-empty", req: envelope(func(r *request) { r.PayloadType = " " }),
			reason: policy.StatementInvalid,
		},
		{
			name: "case-107-payload-type-other", req: envelope(func(r *request) { r.PayloadType = "application/json" }),
			reason: policy.StatementInvalid,
		},
		{
			name: "case-107-payload-type-case",
			req:  envelope(func(r *request) { r.PayloadType = "application/vnd.in-toto+JSON" }), reason: policy.StatementInvalid,
		},
		{
			name:   "case-107-payload-type-parameter",
			req:    envelope(func(r *request) { r.PayloadType = "application/vnd.in-toto+json; charset=utf-8" }),
			reason: policy.StatementInvalid,
		},
		{
			name: "case-108-predicate-parse-fail", req: envelope(func(r *request) { r.Statement = []byte(`{"_type"`) }),
			reason: policy.StatementInvalid,
		},
		{
			name: "case-108-not-json", req: envelope(func(r *request) { r.Statement = []byte("widget_1") }),
			reason: policy.StatementInvalid,
		},
		{
			name:   "case-108-two-documents",
			req:    envelope(func(r *request) { r.Statement = append(statementOf(goodSubject), "{}"...) }),
			reason: policy.StatementInvalid,
		},
		{
			name:   "case-110-dsse-zero-sig",
			req:    envelope(func(r *request) { r.Mutate = func(b *bundlep) { b.GetDsseEnvelope().Signatures = nil } }),
			reason: policy.BundleInvalid,
		},
		{name: "case-110-two-sigs", req: envelope(func(r *request) {
			r.Mutate = func(b *bundlep) {
				b.GetDsseEnvelope().Signatures = append(b.GetDsseEnvelope().Signatures, b.GetDsseEnvelope().Signatures[0])
			}
		}), reason: policy.BundleInvalid, removable: "signatures"},
		{
			name:   "case-110-empty-sig",
			req:    envelope(func(r *request) { r.Mutate = func(b *bundlep) { b.GetDsseEnvelope().Signatures[0].Sig = nil } }),
			reason: policy.LogInvalid,
		},
		{
			name: "case-110-empty-message-sig", req: mutated(func(b *bundlep) { b.GetMessageSignature().Signature = nil }),
			reason: policy.BundleInvalid,
		},
		{
			name: "case-112-no-subject", req: envelope(func(r *request) { r.Statement = statementOf() }),
			reason: policy.StatementInvalid,
		},
		{
			name: "case-114-empty-digest-map", req: envelope(func(r *request) { r.Statement = statementOf(subjectOf("")) }),
			reason: policy.StatementInvalid,
		},
		{
			name:   "case-114-empty-digest",
			req:    envelope(func(r *request) { r.Statement = statementOf(subjectOf(`"sha256":""`)) }),
			reason: policy.StatementInvalid,
		},
		{
			name:   "case-114-short-digest",
			req:    envelope(func(r *request) { r.Statement = statementOf(subjectOf(`"sha256":"abcd"`)) }),
			reason: policy.StatementInvalid,
		},
		{
			name: "case-114-digest-not-hex",
			req: envelope(func(r *request) {
				r.Statement = statementOf(subjectOf(`"sha256":"` + strings.Repeat("zz", 32) + `"`))
			}), reason: policy.StatementInvalid,
		},
		{name: "case-115-subject-name-only", req: envelope(func(r *request) {
			r.Statement = statementOf(subjectOf(`"sha256":"` + strings.Repeat("00", 32) + `"`))
		}), reason: policy.ArtifactMismatch},
		{name: "case-115-digest-under-another-algorithm", req: envelope(func(r *request) {
			r.Statement = statementOf(subjectOf(fmt.Sprintf(`"sha3_256":"%x"`, sha256.Sum256(artifact))))
		}), reason: policy.ArtifactMismatch},
		{
			name:   "case-116-too-many-subjects",
			req:    envelope(func(r *request) { r.Statement = statementOf(slices.Repeat([]string{goodSubject}, 10_001)...) }),
			reason: policy.StatementInvalid,
		},
		{name: "case-116-too-many-digests", req: envelope(func(r *request) {
			var ds []string
			for n := range 33 {
				ds = append(ds, fmt.Sprintf(`"x%d":"00"`, n))
			}
			r.Statement = statementOf(subjectOf(strings.Join(ds, ",")))
		}), reason: policy.StatementInvalid},

		{name: "case-117-ts-after-notafter", req: message(late), reason: policy.TimeInvalid},
		{name: "case-117-tsa-after-notafter", req: tsaOnly(late), opt: unlogged, reason: policy.TimeInvalid},
		{
			name:   "case-117-v2-tsa-after-notafter",
			req:    message(func(r *request) { r.Log, r.TSA, r.TSAAt = sigstoretest.LogV2, true, now.Add(time.Hour) }),
			reason: policy.TimeInvalid,
		},
		{
			name: "case-117-tsa-after-although-log-within",
			req:  message(func(r *request) { r.TSA, r.TSAAt = true, now.Add(time.Hour) }), reason: policy.TimeInvalid,
			removable: "timestamp",
		},
		{name: "case-118-ts-before-notbefore", req: message(early), reason: policy.TimeInvalid},
		{name: "case-118-tsa-before-notbefore", req: tsaOnly(early), opt: unlogged, reason: policy.TimeInvalid},
		{
			name:   "case-118-log-before-although-tsa-within",
			req:    message(func(r *request) { early(r); r.TSA, r.TSAAt = true, now.Add(2*time.Minute) }),
			reason: policy.TimeInvalid, removable: "promise",
		},

		{
			name: "case-120-self-signed-san", req: message(func(r *request) { r.SelfSigned = true }),
			reason: policy.CertificateChain,
		},
		{name: "case-120-other-ca", req: message(func(r *request) { r.Issue = stranger }), reason: policy.CertificateChain},
		{name: "case-123-sct-none", req: message(func(r *request) { r.NoSCT = true }), reason: policy.SCTInvalid},
		{
			name:   "case-123-sct-none-v2",
			req:    message(func(r *request) { r.NoSCT, r.Log, r.TSA = true, sigstoretest.LogV2, true }),
			reason: policy.SCTInvalid,
		},
		{name: "case-124-sct-unknown-log", req: message(func(r *request) { r.SCTBy = stranger }), reason: policy.SCTInvalid},
		{name: "case-124-sct-log-key-ended", req: message(nil), root: roots{CT: ended()}, reason: policy.SCTInvalid},
		{name: "case-124-sct-log-key-not-yet", req: message(nil), root: roots{CT: notYet()}, reason: policy.SCTInvalid},
		{
			name: "sct after the log's end", req: message(func(r *request) { r.SCTAt = now.AddDate(1, 0, 0) }),
			root: roots{CT: &sigstoretest.Window{Start: now.AddDate(-1, 0, 0), End: now}}, reason: policy.SCTInvalid,
		},

		{
			name:   "case-127-set-other-entry",
			req:    mutated(func(b *bundlep) { b.VerificationMaterial.TlogEntries = other.VerificationMaterial.TlogEntries }),
			reason: policy.LogInvalid,
		},
		{
			name:   "case-127-set-of-another-entry",
			req:    mutated(func(b *bundlep) { entry(b).InclusionPromise = entry(other).InclusionPromise }),
			reason: policy.LogInvalid, removable: "promise",
		},
		{
			name: "case-127-proof-of-another-entry", req: mutated(func(b *bundlep) { entry(b).InclusionProof = proofOf(other) }),
			reason: policy.LogInvalid, removable: "proof",
		},
		{
			name:   "case-127-v2-other-entry",
			req:    v2(func(b *bundlep) { b.VerificationMaterial.TlogEntries = otherV2.VerificationMaterial.TlogEntries }),
			reason: policy.LogInvalid,
		},
		{
			name:   "case-127-v2-body-of-another-entry",
			req:    v2(func(b *bundlep) { entry(b).CanonicalizedBody = entry(otherV2).CanonicalizedBody }),
			reason: policy.LogFields,
		},
		{name: "case-127-envelope-other-entry", req: envelope(func(r *request) {
			r.Mutate = func(b *bundlep) { b.VerificationMaterial.TlogEntries = otherEnv.VerificationMaterial.TlogEntries }
		}), reason: policy.LogInvalid},
		{name: "case-127-message-entry-for-an-envelope", req: envelope(func(r *request) {
			r.Mutate = func(b *bundlep) { b.VerificationMaterial.TlogEntries = other.VerificationMaterial.TlogEntries }
		}), reason: policy.LogInvalid},
		{
			name:   "case-128-entry-cert-mismatch",
			req:    mutated(func(b *bundlep) { b.VerificationMaterial.Content = other.VerificationMaterial.Content }),
			reason: policy.LogInvalid,
		},
		{
			name:   "case-128-v2-entry-cert-mismatch",
			req:    v2(func(b *bundlep) { b.VerificationMaterial.Content = otherV2.VerificationMaterial.Content }),
			reason: policy.LogInvalid,
		},
		{
			name: "case-128-signature-of-another", req: mutated(func(b *bundlep) { b.Content = other.Content }),
			reason: policy.LogInvalid,
		},
		{name: "case-128-everything-but-the-certificate", req: mutated(func(b *bundlep) {
			b.Content, b.VerificationMaterial.TlogEntries = other.Content, other.VerificationMaterial.TlogEntries
		}), reason: policy.LogInvalid},
		{
			name: "v2 body in a v1 log", req: message(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2BodyInV1, true }),
			reason: policy.LogFields,
		},
		{name: "v2 body of another signature in a v1 log", req: message(func(r *request) {
			b := decode(t, inst.Sign(message(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2BodyInV1, true })))
			r.TSA, r.Mutate = true, func(to *bundlep) {
				to.VerificationMaterial.TlogEntries = b.VerificationMaterial.TlogEntries
			}
		}), reason: policy.LogFields},
		{
			name: "v1 body in a v2 log", req: message(func(r *request) { r.Log, r.TSA = sigstoretest.LogV1BodyInV2, true }),
			reason: policy.LogFields,
		},

		{name: "case-130-tsa-imprint", req: tsaOnly(func(r *request) {
			r.Mutate = func(b *bundlep) { stampsOf(b)[0].SignedTimestamp = inst.Stamp([]byte("other"), now) }
		}), opt: unlogged, reason: policy.TimeInvalid},
		{
			name:   "case-130-v2-tsa-imprint",
			req:    v2(func(b *bundlep) { stampsOf(b)[0].SignedTimestamp = inst.Stamp([]byte("other"), now) }),
			reason: policy.TimeInvalid,
		},
		{name: "tsa imprint beside a promise counts as absent", req: message(func(r *request) {
			r.TSA, r.Mutate = true, func(b *bundlep) { stampsOf(b)[0].SignedTimestamp = inst.Stamp([]byte("other"), now) }
		})},
		{
			name: "case-131-tsa-untrusted", req: tsaOnly(func(r *request) { r.TSABy = stranger }), opt: unlogged,
			reason: policy.TimeInvalid,
		},
		{
			name: "case-131-tsa-untrusted-without-certs",
			req:  tsaOnly(func(r *request) { r.TSABy, r.TSANoCerts = stranger, true }), opt: unlogged,
			reason: policy.TimeInvalid,
		},
		{
			name:   "case-131-v2-tsa-untrusted",
			req:    message(func(r *request) { r.Log, r.TSA, r.TSABy = sigstoretest.LogV2, true, stranger }),
			reason: policy.TimeInvalid,
		},
		{name: "case-131-tsa-none-known", req: v2(nil), root: roots{NoTSA: true}, reason: policy.TimeInvalid},
		{
			name: "v2 without time stamp", req: message(func(r *request) { r.Log = sigstoretest.LogV2 }),
			reason: policy.TimeInvalid,
		},
		{name: "v2 with a time of its own", req: message(func(r *request) {
			r.Log, r.Mutate = sigstoretest.LogV2, func(b *bundlep) { entry(b).IntegratedTime = now.Unix() }
		}), reason: policy.LogFields},
		{name: "v2 with a v1 promise", req: message(func(r *request) {
			r.Log, r.Mutate = sigstoretest.LogV2, func(b *bundlep) { inst.Promise(entry(b)) }
		}), reason: policy.LogFields},
		{name: "v2 without proof", req: v2(func(b *bundlep) { entry(b).InclusionProof = nil }), reason: policy.BundleInvalid},
		{
			name: "time of a log entry without promise", req: message(func(r *request) { r.NoPromise = true }),
			reason: policy.TimeInvalid,
		},

		{
			name: "case-134-time-zero", req: mutated(func(b *bundlep) { entry(b).IntegratedTime = 0; inst.Promise(entry(b)) }),
			reason: policy.LogInvalid,
		},
		{
			name:   "case-134-time-negative",
			req:    mutated(func(b *bundlep) { entry(b).IntegratedTime = -1; inst.Promise(entry(b)) }),
			reason: policy.BundleInvalid,
		},
		{
			name:   "case-134-time-2263",
			req:    mutated(func(b *bundlep) { entry(b).IntegratedTime = 9246182400; inst.Promise(entry(b)) }),
			reason: policy.TimeInvalid,
		},
		{
			name:   "case-134-time-max",
			req:    mutated(func(b *bundlep) { entry(b).IntegratedTime = 1<<63 - 1; inst.Promise(entry(b)) }),
			reason: policy.LogInvalid,
		},
		{
			name: "case-134-time-unsigned", req: mutated(func(b *bundlep) { entry(b).IntegratedTime++ }),
			reason: policy.LogInvalid,
		},
		{name: "case-135-empty-chain", req: mutated(chainOf()), reason: policy.CertificateBad},
		{name: "case-135-empty-certificate", req: mutated(chainOf(nil)), reason: policy.CertificateBad},
		{name: "case-135-garbage-der", req: mutated(chainOf([]byte("garbage"))), reason: policy.CertificateBad},
		{name: "case-135-pem-for-der", req: mutated(func(b *bundlep) {
			chainOf(pem.EncodeToMemory(&pem.Block{
				Type: "CERTIFICATE", Bytes: b.VerificationMaterial.GetCertificate().RawBytes,
			}))(b)
		}), reason: policy.CertificateBad},
		{name: "case-135-trailing-bytes", req: mutated(func(b *bundlep) {
			c := b.VerificationMaterial.GetCertificate()
			c.RawBytes = append(bytes.Clone(c.RawBytes), 0)
		}), reason: policy.CertificateBad},
		{
			name: "case-135-no-key-material", req: mutated(func(b *bundlep) { b.VerificationMaterial.Content = nil }),
			reason: policy.BundleInvalid,
		},
		{
			name: "case-135-no-material", req: mutated(func(b *bundlep) { b.VerificationMaterial = nil }),
			reason: policy.BundleInvalid,
		},
		{name: "no content", req: mutated(func(b *bundlep) { b.Content = nil }), reason: policy.BundleInvalid},
		{
			name: "case-136-bundle-media-type-missing", req: mutated(func(b *bundlep) { b.MediaType = "" }),
			reason: policy.BundleInvalid,
		},
		{
			name:   "case-136-bundle-media-type-unknown",
			req:    mutated(func(b *bundlep) { b.MediaType = "application/vnd.dev.sigstore.bundle.v9.9+json" }),
			reason: policy.BundleInvalid,
		},
		{
			name:   "case-136-bundle-media-type-old",
			req:    mutated(func(b *bundlep) { b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.0" }),
			reason: policy.BundleInvalid,
		},
		{name: "case-138-key-signed", req: message(func(r *request) { r.BareKey = true }), reason: policy.KeyUntrusted},

		{name: "case-145-log-key-ended", req: message(nil), root: roots{Log: ended()}, reason: policy.LogInvalid},
		{name: "case-145-log-key-not-yet", req: message(nil), root: roots{Log: notYet()}, reason: policy.LogInvalid},
		{
			name: "case-145-log-key-ended-without-promise", req: proofAndTSA(nil), root: roots{Log: ended()},
			reason: policy.TimeInvalid,
		},
		{name: "case-145-v2-log-key-ended", req: v2(nil), root: roots{LogV2: ended()}, reason: policy.TimeInvalid},
		{name: "case-145-v2-log-key-not-yet", req: v2(nil), root: roots{LogV2: notYet()}, reason: policy.TimeInvalid},
		{name: "case-145-ca-ended", req: message(nil), root: roots{CA: ended()}, reason: policy.CertificateChain},
		{name: "case-145-ca-not-yet", req: message(nil), root: roots{CA: notYet()}, reason: policy.CertificateChain},
		{name: "case-145-tsa-ended", req: v2(nil), root: roots{TSA: ended()}, reason: policy.TimeInvalid},
		{name: "case-145-tsa-not-yet", req: v2(nil), root: roots{TSA: notYet()}, reason: policy.TimeInvalid},
		{
			name: "windows that end with the signature",
			req:  message(func(r *request) { r.Log, r.TSA = sigstoretest.LogBoth, true }),
			root: roots{Log: just(), LogV2: just(), TSA: just(), CA: just()},
		},
		{name: "log not in the root", req: message(nil), root: roots{NoLog: true}, reason: policy.LogInvalid},
		{
			name: "one of two logs not in the root", req: message(func(r *request) { r.Log = sigstoretest.LogBoth }),
			root: roots{Mutate: func(tr *prototrust.TrustedRoot) { tr.Tlogs = tr.Tlogs[:1] }},
		},
		{name: "log of a stranger", req: mutated(func(b *bundlep) {
			b.VerificationMaterial.TlogEntries = decode(t, stranger.Sign(message(nil))).VerificationMaterial.TlogEntries
		}), reason: policy.LogInvalid},

		{
			name: "ordering: v1 tree size", req: mutated(func(b *bundlep) { proofOf(b).TreeSize++ }), reason: policy.LogFields,
			removable: "proof",
		},
		{
			name: "ordering: v1 root", req: mutated(func(b *bundlep) { proofOf(b).RootHash[0] ^= 1 }), reason: policy.LogFields,
			removable: "proof",
		},
		{
			name: "ordering: v1 index", req: mutated(func(b *bundlep) { proofOf(b).LogIndex-- }), reason: policy.LogInvalid,
			removable: "proof",
		},
		{
			name: "ordering: v1 index negative", req: mutated(func(b *bundlep) { proofOf(b).LogIndex = -1 }),
			reason: policy.BundleInvalid, removable: "proof",
		},
		{
			name: "ordering: v1 promised index", req: mutated(func(b *bundlep) { entry(b).LogIndex++ }),
			reason: policy.LogInvalid, removable: "promise",
		},
		{name: "ordering: v2 tree size", req: v2(func(b *bundlep) { proofOf(b).TreeSize++ }), reason: policy.LogFields},
		{name: "ordering: v2 root", req: v2(func(b *bundlep) { proofOf(b).RootHash[0] ^= 1 }), reason: policy.LogFields},
		{name: "ordering: v2 proof index", req: v2(func(b *bundlep) { proofOf(b).LogIndex-- }), reason: policy.LogFields},
		{name: "ordering: v2 entry index", req: v2(func(b *bundlep) { entry(b).LogIndex-- }), reason: policy.LogFields},
		{
			name: "ordering: v2 both indexes", req: v2(func(b *bundlep) { entry(b).LogIndex--; proofOf(b).LogIndex-- }),
			reason: policy.LogFields,
		},
		{
			name: "ordering: v2 missing tree size is the checkpoint's",
			req:  v2(func(b *bundlep) { proofOf(b).TreeSize, proofOf(b).RootHash = 0, nil }),
		},
		{
			name: "kind of another body", req: mutated(func(b *bundlep) { entry(b).KindVersion.Kind = "dsse" }),
			reason: policy.LogFields,
		},
		{
			name: "version of another body", req: mutated(func(b *bundlep) { entry(b).KindVersion.Version = "0.0.2" }),
			reason: policy.LogFields,
		},
		{
			name: "v2 called v1", req: v2(func(b *bundlep) { entry(b).KindVersion.Version = "0.0.1" }), reason: policy.LogFields,
		},
		{name: "case-218-cp-ext-lines", req: v2(func(b *bundlep) {
			p := proofOf(b)
			p.Checkpoint.Envelope = string(inst.SignV2(p.TreeSize, [32]byte(p.RootHash), "999999", "AAAA",
				"— log2026-1.rekor.example AAAA")) +
				"— witness.example AAAAAAAA\n"
		})},
		{name: "case-218-size-in-extension", req: v2(func(b *bundlep) {
			p := proofOf(b)
			p.Checkpoint.Envelope = string(inst.SignV2(p.TreeSize+1, [32]byte(p.RootHash), fmt.Sprint(p.TreeSize)))
		}), reason: policy.LogFields},
		{name: "checkpoint with another origin", req: v2(func(b *bundlep) {
			c := proofOf(b).Checkpoint
			c.Envelope = strings.Replace(c.Envelope, "log2026-1", "log2026-2", 1)
		}), reason: policy.LogInvalid},
		{name: "checkpoint of a stranger", req: v2(func(b *bundlep) {
			proofOf(b).Checkpoint = proofOf(decode(t, stranger.Sign(v2(nil)))).Checkpoint
		}), reason: policy.LogFields},
		{name: "not logged", req: message(func(r *request) { r.Log = sigstoretest.LogNone }), reason: policy.NotLogged},
		{name: "unlogged without being allowed to", req: tsaOnly(nil), reason: policy.NotLogged},
		{
			name: "unlogged without time", req: message(func(r *request) { r.Log = sigstoretest.LogNone }), opt: unlogged,
			reason: policy.TimeInvalid,
		},
	}
}

func stampsOf(b *bundlep) []*protocommon.RFC3161SignedTimestamp {
	return b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps
}

func TestHostile(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	for _, c := range hostile(t, inst, stranger) {
		t.Run(c.name, func(t *testing.T) {
			v, reason := judgeBundle(t, inst.Sign(c.req), inst.Root(c.root), sha(artifact), c.opt)
			if reason != c.reason {
				t.Fatalf("got %q, want %q", reason, c.reason)
			}
			if v != nil && (v.Root != "test" || len(v.Times) == 0 || len(v.Entries) == 0 && !c.opt.Unlogged) {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestWeakKeys signs with keys that must not count, and with all that may.
func TestWeakKeys(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	inst := sigstoretest.New(t)
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	bits := func(n int) crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, n)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		key    crypto.Signer
		v2     policy.Reason // of an envelope in a Rekor v2 log
		reason policy.Reason // of everything else
	}{
		{"P-256", ec(elliptic.P256()), "", ""},
		{"P-384", ec(elliptic.P384()), "", ""},
		{"P-521", ec(elliptic.P521()), "", ""},
		{"Ed25519", ed, policy.BundleInvalid, ""}, // no log writes an entry without a hash
		{"RSA-2048", bits(2048), "", ""},
		{"case-143-weak-alg-p224", ec(elliptic.P224()), policy.CertificateBad, policy.CertificateBad},
		{"case-143-weak-alg-rsa1024", bits(1024), policy.CertificateBad, policy.CertificateBad},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, req := range map[string]request{
				"message": message(nil), "envelope": envelope(nil), "message v2": v2(nil),
				"envelope v2": envelope(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2, true }),
			} {
				req.Key = c.key
				data, want := inst.Sign(req), c.reason
				if name == "envelope v2" {
					want = c.v2
				}
				d := sha(artifact)
				if b, err := ParseBundle(data); err == nil {
					if m, ok := b.Message(); ok {
						d = m // in the algorithm that goes with the key
					}
				}
				if _, reason := judgeBundle(t, data, inst.Root(roots{}), d, Options{}); reason != want {
					t.Errorf("%s: got %q, want %q", name, reason, want)
				}
			}
		})
	}
}
