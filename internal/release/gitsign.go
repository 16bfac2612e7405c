// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// gitReader reads a Git commit or annotated tag, as `git cat-file` prints it,
// that was signed with gitsign. Who signed is what the certificate says; author,
// committer and tagger are anybody's words.
// https://github.com/sigstore/gitsign/blob/main/docs/verification.md
var gitReader = reader{
	form: "signed Git object",
	read: func(src source) ([]piece, bool) {
		switch {
		case bytes.HasPrefix(src.data, []byte("tree ")):
			return []piece{gitPiece(git.Commit, src.data)}, true
		case bytes.HasPrefix(src.data, []byte("object ")):
			return []piece{gitPiece(git.Tag, src.data)}, true
		}
		return nil, false
	},
}

// gitPiece turns a signed object into a bundle. The bundle's signature is over
// the attributes of the CMS message, these hold the digest of the object without
// its signature, and the object's id is that of the whole.
func gitPiece(t git.Type, content []byte) piece {
	bad := func(err error) piece { return badPiece("Git %s: %s", t, err)[0] }
	id, err := git.Hash(t, content)
	if err != nil {
		return bad(err)
	}
	in := &inner{}
	var signature string
	var signed []byte
	switch t {
	case git.Commit:
		c, err := git.ParseCommit(content)
		if err != nil {
			return bad(err)
		}
		signature, signed = c.Signature, c.Signed
		in.subject = sigstore.Subject{Digests: []policy.Digest{{Alg: "gitCommit", Hex: string(id)}}}
	case git.Tag:
		tag, err := git.ParseTag(content)
		if err != nil {
			return bad(err)
		}
		if tag.ObjectType != git.Commit {
			return bad(fmt.Errorf("it names a %s, not a commit", clip(string(tag.ObjectType))))
		}
		if !policy.ValidTag(tag.Name) {
			return bad(fmt.Errorf("%q cannot be a tag", clip(tag.Name)))
		}
		signature, signed = tag.Signature, tag.Signed
		in.subject = sigstore.Subject{Name: tagRef + tag.Name, Digests: []policy.Digest{{Alg: "gitTag", Hex: string(id)}}}
		in.tag, in.commit = tag.Name, string(tag.Object)
	}
	if signature == "" {
		return piece{err: failf(policy.NoEvidence, "the Git %s is not signed", t)}
	}
	block, rest := pem.Decode([]byte(signature))
	if block == nil || block.Type != "SIGNED MESSAGE" || len(bytes.TrimSpace(rest)) > 0 || !strings.HasPrefix(signature, "-----BEGIN") {
		return piece{err: failf(policy.KeyUntrusted, "the Git %s is signed with OpenPGP or SSH; only signatures with a Fulcio certificate are read", t)}
	}
	m, err := parseCMS(block.Bytes)
	if err != nil {
		return bad(fmt.Errorf("signature: %w", err))
	}
	if sum := sha256.Sum256(signed); !bytes.Equal(m.digest, sum[:]) {
		return piece{err: failf(policy.SignatureInvalid, "the signature is over another Git %s", t)}
	}
	sum := sha256.Sum256(m.attributes)
	in.signed = policy.Digest{Alg: "sha256", Hex: hex.EncodeToString(sum[:])}
	material := map[string]any{"certificate": map[string]any{"rawBytes": m.certificate}}
	if m.entry != nil {
		body, err := hashedRekord(in.signed, m.signature, m.certificate)
		if err != nil {
			return bad(err)
		}
		entry, err := sigstore.EntryJSON(m.entry, body)
		if err != nil {
			return bad(err)
		}
		material["tlogEntries"] = []any{entry}
	}
	p := newBundle(map[string]any{
		"mediaType":            mediaTypeV03,
		"verificationMaterial": material,
		"messageSignature": map[string]any{
			"messageDigest": map[string]any{"algorithm": protoHashes["sha256"], "digest": sum[:]},
			"signature":     m.signature,
		},
	})
	p.inner = in
	if m.entry == nil {
		p.unproven = "gitsign left the log entry for the verifier to search; `git config gitsign.rekorMode offline` embeds it"
	}
	return p
}

// tagRef is what the name of a tag as an artifact begins with.
const tagRef = "refs/tags/"

// hashedRekord returns the canonical body of a Rekor v1 hashedrekord entry
// (0.0.1), which gitsign leaves out because it follows from the signature.
func hashedRekord(d policy.Digest, signature, certificate []byte) ([]byte, error) {
	type key struct {
		Content []byte `json:"content"`
	}
	type sig struct {
		Content   []byte `json:"content"`
		PublicKey key    `json:"publicKey"`
	}
	type hash struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	}
	type data struct {
		Hash hash `json:"hash"`
	}
	type spec struct {
		Data      data `json:"data"`
		Signature sig  `json:"signature"`
	}
	return json.Marshal(struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       spec   `json:"spec"`
	}{"0.0.1", "hashedrekord", spec{data{hash{d.Alg, d.Hex}}, sig{signature, key{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})}}}})
}

// cms is what is read of a CMS message with one signer and detached content.
type cms struct {
	certificate []byte // DER
	attributes  []byte // DER of the SET that the signature is over
	digest      []byte // SHA-256 of the content
	signature   []byte
	entry       []byte // protobuf of the log entry, nil if there is none
}

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidLogEntry      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 3, 1} // gitsign's
)

var errCMS = errors.New("not a CMS message with one signer, as gitsign writes it")

// contextTag returns a context-specific, constructed tag.
func contextTag(n uint8) cb.Tag { return cb.Tag(n).ContextSpecific().Constructed() }

// parseCMS reads SignedData (RFC 5652, section 5) in DER: version, SHA-256, no
// content, certificates, one signer with signed attributes.
func parseCMS(der []byte) (*cms, error) {
	var (
		info, wrapped, sd, algs, content, certs, signers, signer cryptobyte.String
		oid                                                      asn1.ObjectIdentifier
		version                                                  int
		hasCerts                                                 bool
	)
	in := cryptobyte.String(der)
	if !in.ReadASN1(&info, cb.SEQUENCE) || !in.Empty() ||
		!info.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidSignedData) ||
		!info.ReadASN1(&wrapped, contextTag(0)) || !info.Empty() ||
		!wrapped.ReadASN1(&sd, cb.SEQUENCE) || !wrapped.Empty() ||
		!sd.ReadASN1Integer(&version) || !sd.ReadASN1(&algs, cb.SET) ||
		!sd.ReadASN1(&content, cb.SEQUENCE) || !content.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidData) || !content.Empty() ||
		!sd.ReadOptionalASN1(&certs, &hasCerts, contextTag(0)) || !hasCerts ||
		!sd.ReadASN1(&signers, cb.SET) || !sd.Empty() ||
		!signers.ReadASN1(&signer, cb.SEQUENCE) || !signers.Empty() {
		return nil, errCMS
	}
	m := &cms{}
	var id, idValue, alg, signed, sigAlg, unsigned cryptobyte.String
	var idTag cb.Tag
	var hasUnsigned bool
	if !signer.ReadASN1Integer(&version) ||
		!signer.ReadAnyASN1Element(&id, &idTag) ||
		!signer.ReadASN1(&alg, cb.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidSHA256) ||
		!signer.ReadASN1Element(&signed, contextTag(0)) ||
		!signer.ReadASN1(&sigAlg, cb.SEQUENCE) ||
		!signer.ReadASN1Bytes(&m.signature, cb.OCTET_STRING) ||
		!signer.ReadOptionalASN1(&unsigned, &hasUnsigned, contextTag(1)) || !signer.Empty() {
		return nil, errCMS
	}
	// The signature is over the attributes as a SET, whatever their tag here.
	m.attributes = append([]byte{byte(cb.SET)}, signed[1:]...)
	if !signed.ReadASN1(&signed, contextTag(0)) {
		return nil, errCMS
	}
	attrs, err := attributes(signed)
	if err != nil {
		return nil, err
	}
	var contentType asn1.ObjectIdentifier
	ct, md := attrs[oidContentType.String()], attrs[oidMessageDigest.String()]
	if !ct.ReadASN1ObjectIdentifier(&contentType) || !ct.Empty() || !contentType.Equal(oidData) ||
		!md.ReadASN1Bytes(&m.digest, cb.OCTET_STRING) || !md.Empty() {
		return nil, errCMS
	}
	if hasUnsigned {
		if attrs, err = attributes(unsigned); err != nil {
			return nil, err
		}
		if e, ok := attrs[oidLogEntry.String()]; ok && (!e.ReadASN1Bytes(&m.entry, cb.OCTET_STRING) || !e.Empty() || len(m.entry) == 0) {
			return nil, errCMS
		}
	}
	if !id.ReadASN1(&idValue, cb.SEQUENCE) {
		return nil, errors.New("the signer is not named by issuer and serial number")
	}
	m.certificate, err = signerCertificate(certs, idValue)
	return m, err
}

// attributes returns the one value of each attribute by its object identifier.
func attributes(set cryptobyte.String) (map[string]cryptobyte.String, error) {
	out := map[string]cryptobyte.String{}
	for !set.Empty() {
		var attr, values, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var tag cb.Tag
		if !set.ReadASN1(&attr, cb.SEQUENCE) || !attr.ReadASN1ObjectIdentifier(&oid) ||
			!attr.ReadASN1(&values, cb.SET) || !attr.Empty() ||
			!values.ReadAnyASN1Element(&value, &tag) || !values.Empty() {
			return nil, errCMS
		}
		if _, twice := out[oid.String()]; twice {
			return nil, fmt.Errorf("the attribute %s stands twice", oid)
		}
		out[oid.String()] = value
	}
	return out, nil
}

// signerCertificate returns the one certificate that the signer's issuer and
// serial number name.
func signerCertificate(certs, id cryptobyte.String) ([]byte, error) {
	var issuer, serial cryptobyte.String
	if !id.ReadASN1Element(&issuer, cb.SEQUENCE) || !id.ReadASN1Element(&serial, cb.INTEGER) || !id.Empty() {
		return nil, errCMS
	}
	var found []byte
	for !certs.Empty() {
		var der cryptobyte.String
		if !certs.ReadASN1Element(&der, cb.SEQUENCE) {
			return nil, errCMS
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		var n cryptobyte.Builder
		n.AddASN1BigInt(c.SerialNumber)
		raw, err := n.Bytes()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(c.RawIssuer, issuer) || !bytes.Equal(raw, serial) {
			continue
		}
		if found != nil {
			return nil, errors.New("two certificates of one signer")
		}
		found = der
	}
	if found == nil {
		return nil, errors.New("the signer's certificate is missing")
	}
	return found, nil
}
