// SPDX-License-Identifier: Apache-2.0

// Package tsa is the time-stamping authority of the sandbox: the calls that
// Sigstore's timestamp-authority makes, without its process-wide state and its
// clients of key management services.
package tsa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"
)

// Path is where clients post their requests.
const Path = "/api/v1/timestamp"

const maxRequest = 64 << 10

// policy is the policy OID of Sigstore's time stamps.
var policy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}

// TSA signs time stamps with one certificate.
type TSA struct {
	Key         *ecdsa.PrivateKey
	Certificate *x509.Certificate
	Root        *x509.Certificate

	// Now is the clock.
	Now func() time.Time
}

// Certify returns the certificate of a time-stamping key. Its extended key usage
// is critical, as RFC 3161, section 2.3 demands.
func Certify(root *x509.Certificate, rootKey crypto.Signer, key crypto.PublicKey, notBefore, notAfter time.Time) ([]byte, error) {
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "sandbox-tsa", Organization: []string{"sandbox"}},
		NotBefore: notBefore, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}, root, key, rootKey)
}

// ServeHTTP answers requests for time stamps and for the certificate chain.
func (t *TSA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == Path+"/certchain":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		for _, c := range []*x509.Certificate{t.Certificate, t.Root} {
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // the client went away
		}
		return
	case r.URL.Path != Path:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	case r.Header.Get("Content-Type") != "application/timestamp-query":
		http.Error(w, "unsupported content type", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req, err := timestamp.ParseRequest(body)
	if err == nil {
		err = verification.VerifyRequest(req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Time: t.Now().UTC(), Nonce: req.Nonce,
		Policy: policy, Accuracy: time.Second, AddTSACertificate: req.Certificates,
	}
	out, err := stamp.CreateResponseWithOpts(t.Certificate, t.Key, crypto.SHA256)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(out) // the client went away
}
