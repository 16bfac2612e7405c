// SPDX-License-Identifier: Apache-2.0

// Package formstest writes signatures in the forms in which producers publish them, and
// what stands around them, for tests only.
package formstest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
)

// Parts are the parts of a bundle, as other forms hold them.
type Parts struct {
	Certificate []byte // DER
	Signature   string // base64
	Payload     string // base64, of an envelope
	Entry       json.RawMessage
	Body        string // of the entry
	Bundle      []byte
}

// Take takes a bundle apart.
func Take(t testing.TB, bundle []byte) Parts {
	t.Helper()
	type cert struct{ RawBytes []byte }
	var b struct {
		VerificationMaterial struct {
			Certificate          cert
			X509CertificateChain struct{ Certificates []cert }
			TlogEntries          []json.RawMessage
		}
		MessageSignature struct{ Signature string }
		DsseEnvelope     struct {
			Payload    string
			Signatures []struct{ Sig string }
		}
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	p := Parts{
		Certificate: b.VerificationMaterial.Certificate.RawBytes, Signature: b.MessageSignature.Signature,
		Payload: b.DsseEnvelope.Payload, Bundle: bundle,
	}
	for _, c := range b.VerificationMaterial.X509CertificateChain.Certificates {
		p.Certificate = c.RawBytes
	}
	for _, s := range b.DsseEnvelope.Signatures {
		p.Signature = s.Sig
	}
	for _, e := range b.VerificationMaterial.TlogEntries {
		var entry struct{ CanonicalizedBody string }
		if err := json.Unmarshal(e, &entry); err != nil {
			t.Fatal(err)
		}
		p.Entry, p.Body = e, entry.CanonicalizedBody
	}
	return p
}

// PEM is the certificate in PEM.
func (p Parts) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate})
}

// Marshal writes JSON.
func Marshal(t testing.TB, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Object is a JSON object.
type Object = map[string]any

// PyPI is a PEP 740 attestation object.
func (p Parts) PyPI(t testing.TB) []byte {
	return Marshal(t, Object{
		"version":               1,
		"verification_material": Object{"certificate": p.Certificate, "transparency_entries": []any{p.Entry}},
		"envelope":              Object{"statement": p.Payload, "signature": p.Signature},
	})
}

// RekorBundle is the log entry as cosign kept it.
func (p Parts) RekorBundle(t testing.TB) Object {
	t.Helper()
	var e struct {
		LogIndex, IntegratedTime json.Number
		LogID                    struct{ KeyID []byte }
		InclusionPromise         struct{ SignedEntryTimestamp string }
	}
	if err := json.Unmarshal(bytes.ReplaceAll(bytes.ReplaceAll(p.Entry, []byte(`"logId"`), []byte(`"logID"`)),
		[]byte(`"keyId"`), []byte(`"keyID"`)), &e); err != nil {
		t.Fatal(err)
	}
	return Object{
		"SignedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp,
		"Payload": Object{"body": p.Body, "integratedTime": e.IntegratedTime, "logIndex": e.LogIndex,
			"logID": hex.EncodeToString(e.LogID.KeyID)},
	}
}

// Cosign is what `cosign sign-blob --bundle` wrote.
func (p Parts) Cosign(t testing.TB) []byte {
	return Marshal(t, Object{"base64Signature": p.Signature, "cert": base64.StdEncoding.EncodeToString(p.PEM()),
		"rekorBundle": p.RekorBundle(t)})
}

// Envelope is a bare DSSE envelope.
func (p Parts) Envelope(t testing.TB) []byte {
	return Marshal(t, Object{"payloadType": "application/vnd.in-toto+json", "payload": p.Payload,
		"signatures": []any{Object{"keyid": "", "sig": p.Signature, "cert": string(p.PEM())}}})
}

// Lines joins the elements of a collection.
func Lines(elements ...[]byte) []byte {
	return append(bytes.Join(elements, []byte("\n")), '\n')
}

// Collection returns a document of some kind that holds bundles.
func Collection(kind string, bundles ...[]byte) []byte {
	var elements [][]byte
	for _, b := range bundles {
		switch kind {
		case "npm":
			elements = append(elements, fmt.Appendf(nil,
				`{"predicateType":"https://slsa.dev/provenance/v1","bundle":%s}`, b))
		case "github":
			elements = append(elements, fmt.Appendf(nil,
				`{"bundle":%s,"repository_id":1,"bundle_url":"https://example.com/x"}`, b))
		case "provenance":
			elements = append(elements, fmt.Appendf(nil,
				`{"publisher":{"kind":"GitHub","repository":"somebody/else"},"attestations":[%s]}`, b))
		default:
			elements = append(elements, b)
		}
	}
	joined := bytes.Join(elements, []byte(","))
	switch kind {
	case "provenance":
		return fmt.Appendf(nil, `{"version":1,"attestation_bundles":[%s]}`, joined)
	case "list":
		return fmt.Appendf(nil, `[%s]`, joined)
	}
	return fmt.Appendf(nil, `{"attestations":[%s]}`, joined)
}
