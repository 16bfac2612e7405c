// SPDX-License-Identifier: Apache-2.0

// Package sigstoretest is a small Sigstore instance with knobs, for tests only:
// it signs what is asked for, also what no honest instance would, at any moment.
// Certificates and their SCTs, log entries, proofs, promises and time stamps are
// real and verify under the trusted root that it hands out.
package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Now is the moment at which everything is signed unless a request says
// otherwise.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// Instance is one Sigstore deployment.
type Instance struct {
	t                 testing.TB
	root, ca, tsaCert *x509.Certificate
	middle            []*x509.Certificate // between the two
	rootKey, caKey    *ecdsa.PrivateKey
	tsaKey, ctKey     *ecdsa.PrivateKey
	v1, v2            *log
}

// Authority changes the certificates of a certificate authority before they are
// signed. With Middle there is one between the root and the one that issues.
type Authority struct{ Root, Middle, Issuer func(*x509.Certificate) }

// New returns an instance with fresh keys.
func New(t testing.TB) *Instance {
	t.Helper()
	return NewWith(t, Authority{})
}

// NewWith returns an instance with another certificate authority than an honest one.
func NewWith(t testing.TB, a Authority) *Instance {
	t.Helper()
	i := &Instance{
		t: t, rootKey: newKey(t, elliptic.P384()), caKey: newKey(t, elliptic.P384()),
		tsaKey: newKey(t, elliptic.P256()), ctKey: newKey(t, elliptic.P256()),
	}
	ca := func(name string, change func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"sigstoretest"}},
			NotBefore: Now.AddDate(
				-3, 0, 0,
			), NotAfter: Now.AddDate(7, 0, 0), KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		}
		if name == "intermediate" {
			c.ExtKeyUsage, c.MaxPathLenZero = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, true
		}
		if change != nil {
			change(c)
		}
		return c
	}
	root := ca("root", a.Root)
	i.root = i.certify(root, root, i.rootKey.Public(), i.rootKey)
	above, aboveKey := i.root, i.rootKey
	if a.Middle != nil {
		key := newKey(t, elliptic.P384())
		above, aboveKey = i.certify(ca("middle", a.Middle), above, key.Public(), aboveKey), key
		i.middle = []*x509.Certificate{above}
	}
	i.ca = i.certify(ca("intermediate", a.Issuer), above, i.caKey.Public(), aboveKey)
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	i.check(err)
	i.tsaCert = i.certify(&x509.Certificate{
		SerialNumber: big.NewInt(
			2,
		), Subject: pkix.Name{CommonName: "tsa"}, NotBefore: Now.AddDate(-3, 0, 0), NotAfter: Now.AddDate(7, 0, 0),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}, i.root, i.tsaKey.Public(), i.rootKey)
	i.v1 = newLog(t, "rekor.example", false)
	i.v2 = newLog(t, "log2026-1.rekor.example", true)
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

func (i *Instance) certify(
	template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer,
) *x509.Certificate {
	i.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	i.check(err)
	cert, err := x509.ParseCertificate(der)
	i.check(err)
	return cert
}

// spki returns the DER form of a public key, and the id that logs derive from
// it.
func spki(t testing.TB, pub crypto.PublicKey) (der, id []byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return der, sum[:]
}

// Window changes the validity that the trusted root gives to a key. A zero End
// is none.
type Window struct{ Start, End time.Time }

// RootOptions are knobs of the trusted root.
type RootOptions struct {
	Log, LogV2, CA, TSA, CT *Window
	NoLog, NoTSA, NoCT      bool
	NoLogStart              bool
	// Mutate changes the root before it is marshalled.
	Mutate func(*prototrust.TrustedRoot)
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
	authority := func(uri string, w *Window, certs ...*x509.Certificate) []*prototrust.CertificateAuthority {
		c := &protocommon.X509CertificateChain{}
		for _, x := range certs {
			c.Certificates = append(c.Certificates, &protocommon.X509Certificate{RawBytes: x.Raw})
		}
		return []*prototrust.CertificateAuthority{{Uri: uri, CertChain: c, ValidFor: window(w)}}
	}
	instance := func(uri string, key *ecdsa.PrivateKey, w *Window) *prototrust.TransparencyLogInstance {
		der, id := spki(i.t, key.Public())
		return &prototrust.TransparencyLogInstance{
			BaseUrl: uri, HashAlgorithm: protocommon.HashAlgorithm_SHA2_256, LogId: &protocommon.LogId{KeyId: id},
			PublicKey: &protocommon.PublicKey{
				RawBytes: der, KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, ValidFor: window(w),
			},
		}
	}
	tr := &prototrust.TrustedRoot{
		MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		CertificateAuthorities: authority(
			"https://fulcio.example",
			o.CA,
			slices.Concat([]*x509.Certificate{i.ca}, i.middle, []*x509.Certificate{i.root})...),
	}
	if !o.NoTSA {
		tr.TimestampAuthorities = authority("https://tsa.example", o.TSA, i.tsaCert, i.root)
	}
	if !o.NoCT {
		tr.Ctlogs = append(tr.Ctlogs, instance("https://ct.example", i.ctKey, o.CT))
	}
	if !o.NoLog {
		tr.Tlogs = append(
			tr.Tlogs, instance("https://"+i.v1.host, i.v1.key, o.Log),
			instance("https://"+i.v2.host, i.v2.key, o.LogV2),
		)
		if o.NoLogStart {
			tr.Tlogs[0].PublicKey.ValidFor.Start = nil
		}
	}
	if o.Mutate != nil {
		o.Mutate(tr)
	}
	out, err := protojson.Marshal(tr)
	i.check(err)
	return out
}

// Stamp returns an RFC 3161 response over a signature.
func (i *Instance) Stamp(sig []byte, at time.Time) []byte {
	i.t.Helper()
	return i.stamp(sig, at, true)
}

func (i *Instance) stamp(sig []byte, at time.Time, certs bool) []byte {
	i.t.Helper()
	sum := sha256.Sum256(sig)
	ts := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: certs,
	}
	out, err := ts.CreateResponseWithOpts(i.tsaCert, i.tsaKey, crypto.SHA256)
	i.check(err)
	return out
}

// TSA answers requests for time stamps (RFC 3161) as the instance's authority, with the
// moment that at returns.
func (i *Instance) TSA(at func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		q, err := timestamp.ParseRequest(data)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ts := timestamp.Timestamp{
			HashAlgorithm: q.HashAlgorithm, HashedMessage: q.HashedMessage, Time: at(),
			Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: true,
		}
		out, err := ts.CreateResponseWithOpts(i.tsaCert, i.tsaKey, crypto.SHA256)
		i.check(err)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(out)
	})
}
