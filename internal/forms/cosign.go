// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// cosignBundleReader reads the file that `cosign sign-blob --bundle` wrote
// before it wrote Sigstore bundles: a signature, a certificate or key, and the
// log's promise to include the entry.
var cosignBundleReader = reader{
	form: "cosign bundle",
	read: func(src Source) ([]Piece, bool) {
		if src.object["base64Signature"] == nil {
			return nil, false
		}
		p, err := cosignBundle(src.object)
		if err != nil {
			return badPiece("cosign bundle: %s", err), true
		}
		return []Piece{p}, true
	},
}

func cosignBundle(object map[string]json.RawMessage) (Piece, error) {
	sig, err := strictjson.Text(object, "base64Signature")
	if err != nil {
		return Piece{}, err
	}
	cert, err := strictjson.Text(object, "cert")
	if err != nil {
		return Piece{}, err
	}
	if object["rekorBundle"] == nil || string(object["rekorBundle"]) == "null" {
		return unlogged(sig, cert), nil
	}
	entry, err := rekorBundle(object["rekorBundle"])
	if err != nil {
		return Piece{}, err
	}
	return promised(sig, cert, entry)
}

// unlogged is what cosign kept of a signature that it put into no log.
func unlogged(sig, cert string) Piece {
	p := Piece{Err: refuse(policy.NoLogProof, "the cosign bundle has no log entry")}
	raw, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		return p
	}
	if m, err := strictjson.Members(raw); err == nil && isDSSE(m) {
		return p
	}
	b := &Bare{Signature: raw}
	if block, err := decodePEM([]byte(cert)); err == nil && block.Type == "CERTIFICATE" {
		b.Certificate = block.Bytes
	}
	p.Bare = b
	return p
}

// promisedEntry is a log entry with the log's promise and no proof, as cosign
// keeps it.
type promisedEntry struct {
	entry     map[string]any // as it stands in a bundle
	hash, alg string         // that the entry says is signed; "" if it names none
}

// rekorBundle reads cosign's rekorBundle: a signed entry timestamp and what it
// is over.
func rekorBundle(raw json.RawMessage) (*promisedEntry, error) {
	m, err := strictjson.Members(raw)
	if err != nil {
		return nil, fmt.Errorf("rekorBundle: %w", err)
	}
	payload, err := strictjson.Members(m["Payload"])
	if err != nil {
		return nil, fmt.Errorf("rekorBundle: %w", err)
	}
	var promise, body, logID string
	for _, f := range []struct {
		in   map[string]json.RawMessage
		name string
		to   *string
	}{{m, "SignedEntryTimestamp", &promise}, {payload, "body", &body}, {payload, "logID", &logID}} {
		if *f.to, err = strictjson.Text(f.in, f.name); err != nil {
			return nil, fmt.Errorf("rekorBundle: %w", err)
		}
	}
	var numbers [2]int64
	for i, name := range []string{"integratedTime", "logIndex"} {
		if numbers[i], err = canonical.ParseNumber(string(payload[name])); err != nil {
			return nil, fmt.Errorf("rekorBundle: %s is not a number", name)
		}
	}
	id, err := hex.DecodeString(logID)
	if err != nil {
		return nil, fmt.Errorf("rekorBundle: logID: %w", err)
	}
	if _, err := canonical.ParseBase64(promise); err != nil {
		return nil, fmt.Errorf("rekorBundle: SignedEntryTimestamp: %w", err)
	}
	logged, err := canonical.ParseBase64(body)
	if err != nil {
		return nil, fmt.Errorf("rekorBundle: body: %w", err)
	}
	var b struct {
		APIVersion, Kind string
		Spec             struct {
			Data struct {
				Hash struct{ Algorithm, Value string }
			}
		}
	}
	if err := json.Unmarshal(logged, &b); err != nil {
		return nil, fmt.Errorf("rekorBundle: body: %w", err)
	}
	return &promisedEntry{map[string]any{
		"logIndex":          strconv.FormatInt(numbers[1], 10),
		"logId":             map[string]any{"keyId": id},
		"kindVersion":       map[string]any{"kind": b.Kind, "version": b.APIVersion},
		"integratedTime":    strconv.FormatInt(numbers[0], 10),
		"inclusionPromise":  map[string]any{"signedEntryTimestamp": promise},
		"canonicalizedBody": body,
	}, b.Spec.Data.Hash.Value, b.Spec.Data.Hash.Algorithm}, nil
}

// protoHashes are the names of digest algorithms in a bundle.
var protoHashes = map[string]string{"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}

// promised puts a bundle of version 0.1 together, the last that may rest on a
// promise: sig is a signature or an envelope in base64, cert a certificate or
// key in PEM or in base64 of that.
func promised(sig, cert string, entry *promisedEntry) (Piece, error) {
	material, err := keyMaterial(cert)
	if err != nil {
		return Piece{}, err
	}
	material["tlogEntries"] = []any{entry.entry}
	v := map[string]any{"mediaType": mediaTypeV01, "verificationMaterial": material}
	raw, err := canonical.ParseBase64(sig)
	if err != nil {
		return Piece{}, fmt.Errorf("signature: %w", err)
	}
	if m, err := strictjson.Members(raw); err == nil && isDSSE(m) { // of `cosign attest-blob`
		if v["dsseEnvelope"], err = envelope(m); err != nil {
			return Piece{}, err
		}
		return newBundle(v), nil
	}
	digest, err := hex.DecodeString(entry.hash)
	if err != nil || protoHashes[entry.alg] == "" {
		return Piece{}, errors.New("the log entry does not say what is signed")
	}
	v["messageSignature"] = map[string]any{
		"messageDigest": map[string]any{"algorithm": protoHashes[entry.alg], "digest": digest},
		"signature":     sig,
	}
	return newBundle(v), nil
}

// keyMaterial returns the verification material of a bundle of version 0.1 for a
// certificate or public key.
func keyMaterial(cert string) (map[string]any, error) {
	block, err := decodePEM([]byte(cert))
	if err != nil {
		return nil, err
	}
	if block.Type == "PUBLIC KEY" {
		return map[string]any{"publicKey": map[string]any{"hint": ""}}, nil
	}
	chain := []any{map[string]any{"rawBytes": block.Bytes}}
	return map[string]any{"x509CertificateChain": map[string]any{"certificates": chain}}, nil
}

// decodePEM returns the first PEM block of a certificate or public key, which
// may be wrapped in base64 once more, as cosign does.
func decodePEM(data []byte) (*pem.Block, error) {
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(data)))
		if err != nil {
			return nil, errors.New("neither PEM nor base64")
		}
		data = raw
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" && block.Type != "PUBLIC KEY" {
		return nil, errors.New("no certificate and no public key in PEM")
	}
	return block, nil
}

// signatureReader reads the bare signature that `cosign sign-blob
// --output-signature` wrote, with the certificate beside it. Without a log entry
// nothing off-line shows that the certificate was valid when it signed.
var signatureReader = reader{
	form:     "bare signature",
	suffixes: []string{".sig"},
	parts:    certificateSuffixes,
	read: func(src Source) ([]Piece, bool) {
		if block, err := decodePEM(src.Data); err == nil && block.Type == "CERTIFICATE" {
			for _, s := range certificateSuffixes {
				if strings.HasSuffix(src.Path, s) {
					sig, err := src.beside(s, ".sig")
					if err != nil {
						return nil, false
					}
					return []Piece{barePiece(src, sig, src.Data)}, true
				}
			}
			return nil, false
		}
		if !strings.HasSuffix(src.Path, ".sig") {
			return nil, false
		}
		cert, err := src.beside(".sig", certificateSuffixes...)
		if err != nil {
			p := Piece{Err: refuse(policy.NoLogProof, "a bare signature without certificate and log entry")}
			if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(src.Data))); err == nil {
				p.Bare = &Bare{Signature: raw}
			}
			return []Piece{p}, true
		}
		return []Piece{barePiece(src, src.Data, cert)}, true
	},
}

var certificateSuffixes = []string{".pem", ".crt", ".cert", ".cer"}

// Bare is a signature without anything around it.
type Bare struct {
	Signature   []byte
	Certificate []byte // DER; nil if a key signed
}

// barePiece reads a signature and its certificate.
func barePiece(src Source, sig, cert []byte) Piece {
	block, err := decodePEM(cert)
	if err != nil {
		return badPiece("certificate: %s", err)[0]
	}
	signature, err := canonical.ParseBase64(strings.TrimSpace(string(sig)))
	if err != nil {
		return badPiece("signature: %s", err)[0]
	}
	p := Piece{Bare: &Bare{Signature: signature, Certificate: block.Bytes}}
	if block.Type != "CERTIFICATE" {
		p.Bare.Certificate = nil
	}
	if src.Remote { // to say who signed, the artifact would have to be downloaded
		p.Err = refuse(policy.NoLogProof, "a bare signature and its certificate, without a log entry")
	}
	return p
}

// Over puts a bundle without log entry together, so that it can be said who claims
// to have signed the content with that hex SHA-256.
func (b *Bare) Over(sha256 string) Piece {
	digest, err := hex.DecodeString(sha256)
	if err != nil || b.Certificate == nil {
		return Piece{Err: refuse(policy.NoLogProof, "a bare signature without certificate and log entry")}
	}
	p := newBundle(map[string]any{
		"mediaType":            mediaTypeV03,
		"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": b.Certificate}},
		"messageSignature": map[string]any{
			"messageDigest": map[string]any{"algorithm": protoHashes["sha256"], "digest": digest},
			"signature":     b.Signature,
		},
	})
	p.Unproven = "the signature and its certificate come without a log entry"
	return p
}
