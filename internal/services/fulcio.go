// SPDX-License-Identifier: Apache-2.0

package services

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/strictjson"
)

const (
	pemKey         = "PUBLIC KEY"
	pemCertificate = "CERTIFICATE"
)

// Certificate asks Fulcio to certify a public key for whom an ID token is of, and returns the
// certificate's DER. Proof is a signature by the key over the token's subject, or over its
// e-mail address where it has one. Fulcio is asked once: each certificate shows its name in a
// public log for ever, and one may have been issued whatever came back.
//
// Protocol: https://github.com/sigstore/fulcio/blob/main/fulcio.proto, CreateSigningCertificate.
func (s Service) Certificate(ctx context.Context, token string, key any, proof []byte) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	type publicKey struct {
		Content string `json:"content"`
	}
	type request struct {
		PublicKey publicKey `json:"publicKey"`
		Proof     []byte    `json:"proofOfPossession"`
	}
	a, err := s.ask(ctx, question{
		path: "api/v2/signingCert", kind: jsonType, token: token,
		body: strictjson.Compact(struct {
			Request request `json:"publicKeyRequest"`
		}{request{publicKey{string(inPEM(pemKey, der))}, proof}}),
	})
	if err != nil {
		return nil, err
	}
	if a.failed() {
		return nil, fmt.Errorf("the authority Fulcio returned %d: %s", a.status, a.said())
	}
	return certificate(a.body)
}

func inPEM(name string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})
}

// certificate reads the first certificate of an answer, the signer's.
func certificate(data []byte) ([]byte, error) {
	type signed struct {
		Chain struct{ Certificates []string }
	}
	var reply struct {
		Embedded signed `json:"signedCertificateEmbeddedSct"`
		Detached signed `json:"signedCertificateDetachedSct"`
	}
	if err := (strictjson.Rules{Null: true}).Check(data); err != nil {
		return nil, fmt.Errorf("the authority's answer: %w", err)
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return nil, fmt.Errorf("the authority's answer: %w", err)
	}
	chain := append(reply.Embedded.Chain.Certificates, reply.Detached.Chain.Certificates...)
	if len(chain) == 0 {
		return nil, errors.New("the authority's answer has no certificate")
	}
	block, rest := pem.Decode([]byte(chain[0]))
	if block == nil || block.Type != pemCertificate || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the authority's answer has no certificate in PEM")
	}
	return block.Bytes, nil
}
