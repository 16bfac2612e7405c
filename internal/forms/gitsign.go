// SPDX-License-Identifier: Apache-2.0

package forms

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

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// gitReader reads a Git commit or annotated tag, as `git cat-file` prints it,
// that was signed with gitsign. Who signed is what the certificate says; author,
// committer and tagger are anybody's words.
// https://github.com/sigstore/gitsign/blob/main/docs/verification.md
var gitReader = reader{
	form: "signed Git object",
	read: func(src Source) ([]Piece, bool) {
		switch {
		case bytes.HasPrefix(src.Data, []byte("tree ")):
			return []Piece{gitPiece(git.Commit, src.Data)}, true
		case bytes.HasPrefix(src.Data, []byte("object ")):
			return []Piece{gitPiece(git.Tag, src.Data)}, true
		}
		return nil, false
	},
}

// ReadObject returns how the form is called and the signature in the content of a Git
// commit or tag.
func ReadObject(content []byte) (form string, p Piece) {
	pieces, ok := gitReader.read(Source{Data: content})
	if !ok {
		pieces = badPiece("neither a commit nor a tag")
	}
	return gitReader.form, pieces[0]
}

// gitPiece turns a signed object into a bundle. The bundle's signature is over
// the attributes of the CMS message, these hold the digest of the object without
// its signature, and the object's id is that of the whole.
func gitPiece(t git.Type, content []byte) Piece {
	bad := func(err error) Piece { return badPiece("Git %s: %s", t, err)[0] }
	id, err := git.Hash(t, content)
	if err != nil {
		return bad(err)
	}
	o, err := readObject(t, id, content)
	if err != nil {
		return bad(err)
	}
	if o.signature == "" {
		return Piece{Err: refuse(policy.NoEvidence, "the Git %s is not signed", t)}
	}
	block, rest := pem.Decode([]byte(o.signature))
	if block == nil || block.Type != "SIGNED MESSAGE" || len(bytes.TrimSpace(rest)) > 0 ||
		!strings.HasPrefix(o.signature, "-----BEGIN") {
		return Piece{Err: refuse(policy.KeyUntrusted,
			"the Git %s is signed with OpenPGP or SSH; only signatures with a Fulcio certificate are read", t)}
	}
	m, err := parseCMS(block.Bytes)
	if err != nil {
		return bad(fmt.Errorf("signature: %w", err))
	}
	if sum := sha256.Sum256(o.signed); !bytes.Equal(m.digest, sum[:]) {
		return Piece{Err: refuse(policy.SignatureInvalid, "the signature is over another Git %s", t)}
	}
	p, err := m.bundle()
	if err != nil {
		return bad(err)
	}
	o.inner.Signed = m.signed()
	p.Inner = o.inner
	if m.entry == nil {
		p.Unproven = "gitsign left the log entry for the verifier to search; " +
			"`git config gitsign.rekorMode offline` embeds it"
	}
	return p
}

// gitObject is a commit or a tag as far as its signature is concerned.
type gitObject struct {
	inner     *Inner // what it says
	signature string // armoured; "" if it is not signed
	signed    []byte // what the signature is over
}

func readObject(t git.Type, id git.ID, content []byte) (o gitObject, err error) {
	switch t {
	case git.Commit:
		c, err := git.ParseCommit(content)
		if err != nil {
			return o, err
		}
		digests := []policy.Digest{{Alg: "gitCommit", Hex: string(id)}}
		return gitObject{&Inner{Subject: sigstore.Subject{Digests: digests}}, c.Signature, c.Signed}, nil
	case git.Tag:
		tag, err := git.ParseTag(content)
		if err != nil {
			return o, err
		}
		if tag.ObjectType != git.Commit {
			return o, fmt.Errorf("it names a %s, not a commit", clip.Text(string(tag.ObjectType)))
		}
		if !spelling.ValidTag(tag.Name) {
			return o, fmt.Errorf("%q cannot be a tag", clip.Text(tag.Name))
		}
		digests := []policy.Digest{{Alg: "gitTag", Hex: string(id)}}
		in := &Inner{
			Subject: sigstore.Subject{Name: tagRef + tag.Name, Digests: digests},
			Tag:     tag.Name, Commit: string(tag.Object),
		}
		return gitObject{in, tag.Signature, tag.Signed}, nil
	}
	return gitObject{inner: &Inner{}}, nil
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
	}{"0.0.1", "hashedrekord", spec{data{hash{d.Alg, d.Hex}},
		sig{signature, key{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})}}}})
}

// cms is what is read of a CMS message with one signer and detached content.
type cms struct {
	certificate []byte // DER
	attributes  []byte // DER of the SET that the signature is over
	digest      []byte // SHA-256 of the content
	signature   []byte
	entry       []byte // protobuf of the log entry, nil if there is none
}

// bundle returns the message as a bundle. Its signature is over the attributes.
func (m *cms) bundle() (p Piece, err error) {
	sum := sha256.Sum256(m.attributes)
	material := map[string]any{"certificate": map[string]any{"rawBytes": m.certificate}}
	if m.entry != nil {
		body, err := hashedRekord(m.signed(), m.signature, m.certificate)
		if err != nil {
			return p, err
		}
		entry, err := sigstore.EntryJSON(m.entry, body)
		if err != nil {
			return p, err
		}
		material["tlogEntries"] = []any{entry}
	}
	return newBundle(map[string]any{
		"mediaType":            mediaTypeV03,
		"verificationMaterial": material,
		"messageSignature": map[string]any{
			"messageDigest": map[string]any{"algorithm": protoHashes["sha256"], "digest": sum[:]},
			"signature":     m.signature,
		},
	}), nil
}

// signed returns the digest of what the signature is over.
func (m *cms) signed() policy.Digest {
	sum := sha256.Sum256(m.attributes)
	return policy.Digest{Alg: "sha256", Hex: hex.EncodeToString(sum[:])}
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

// der reads elements one after another. The first that is not as it should be makes it
// bad; what is read from then on is empty.
type der struct{ bad bool }

func (d *der) must(ok bool) { d.bad = d.bad || !ok }

// in returns the content of the next element.
func (d *der) in(s *cryptobyte.String, tag cb.Tag) (out cryptobyte.String) {
	d.must(!d.bad && s.ReadASN1(&out, tag))
	return out
}

// whole returns the next element with its tag and length.
func (d *der) whole(s *cryptobyte.String, tag cb.Tag) (out cryptobyte.String) {
	d.must(!d.bad && s.ReadASN1Element(&out, tag))
	return out
}

// optional returns the content of the next element if it has the tag; nil otherwise.
func (d *der) optional(s *cryptobyte.String, tag cb.Tag) cryptobyte.String {
	var out cryptobyte.String
	var there bool
	if d.must(!d.bad && s.ReadOptionalASN1(&out, &there, tag)); !there {
		return nil
	}
	return append(cryptobyte.String{}, out...) // never nil
}

// bytes returns the content of an octet string.
func (d *der) bytes(s *cryptobyte.String) (out []byte) {
	d.must(!d.bad && s.ReadASN1Bytes(&out, cb.OCTET_STRING))
	return out
}

// integer passes over a small integer.
func (d *der) integer(s *cryptobyte.String) {
	var n int
	d.must(!d.bad && s.ReadASN1Integer(&n))
}

// oid passes over an object identifier, which must be this one.
func (d *der) oid(s *cryptobyte.String, want asn1.ObjectIdentifier) {
	var got asn1.ObjectIdentifier
	d.must(!d.bad && s.ReadASN1ObjectIdentifier(&got) && got.Equal(want))
}

// end demands that nothing is left.
func (d *der) end(s cryptobyte.String) { d.must(s.Empty()) }

// parseCMS reads SignedData (RFC 5652, section 5) in DER: version, SHA-256, no
// content, certificates, one signer with signed attributes.
func parseCMS(data []byte) (*cms, error) {
	var d der
	in := cryptobyte.String(data)
	info := d.in(&in, cb.SEQUENCE)
	d.end(in)
	d.oid(&info, oidSignedData)
	wrapped := d.in(&info, contextTag(0))
	d.end(info)
	sd := d.in(&wrapped, cb.SEQUENCE)
	d.end(wrapped)
	d.integer(&sd)
	d.in(&sd, cb.SET) // digest algorithms
	content := d.in(&sd, cb.SEQUENCE)
	d.oid(&content, oidData)
	d.end(content)
	certs := d.optional(&sd, contextTag(0))
	d.must(certs != nil)
	signers := d.in(&sd, cb.SET)
	d.end(sd)
	signer := d.in(&signers, cb.SEQUENCE)
	d.end(signers)
	if d.bad {
		return nil, errCMS
	}
	return parseSigner(signer, certs)
}

// parseSigner reads SignerInfo (RFC 5652, section 5.3).
func parseSigner(signer, certs cryptobyte.String) (*cms, error) {
	var d der
	m := &cms{}
	d.integer(&signer)
	var id cryptobyte.String
	var idTag cb.Tag
	d.must(signer.ReadAnyASN1Element(&id, &idTag))
	alg := d.in(&signer, cb.SEQUENCE)
	d.oid(&alg, oidSHA256)
	signed := d.whole(&signer, contextTag(0))
	d.in(&signer, cb.SEQUENCE) // signature algorithm
	m.signature = d.bytes(&signer)
	unsigned := d.optional(&signer, contextTag(1))
	d.end(signer)
	if d.bad {
		return nil, errCMS
	}
	// The signature is over the attributes as a SET, whatever their tag here.
	m.attributes = append([]byte{byte(cb.SET)}, signed[1:]...)
	if err := m.readSigned(d.in(&signed, contextTag(0))); err != nil {
		return nil, err
	}
	if unsigned != nil {
		if err := m.readUnsigned(unsigned); err != nil {
			return nil, err
		}
	}
	name := id
	if name = d.in(&name, cb.SEQUENCE); d.bad {
		return nil, errors.New("the signer is not named by issuer and serial number")
	}
	var err error
	m.certificate, err = signerCertificate(certs, name)
	return m, err
}

func (m *cms) readSigned(set cryptobyte.String) error {
	attrs, err := attributes(set)
	if err != nil {
		return err
	}
	var d der
	contentType, digest := attrs[oidContentType.String()], attrs[oidMessageDigest.String()]
	d.oid(&contentType, oidData)
	d.end(contentType)
	m.digest = d.bytes(&digest)
	d.end(digest)
	if d.bad {
		return errCMS
	}
	return nil
}

func (m *cms) readUnsigned(set cryptobyte.String) error {
	attrs, err := attributes(set)
	if err != nil {
		return err
	}
	entry, ok := attrs[oidLogEntry.String()]
	if !ok {
		return nil
	}
	var d der
	m.entry = d.bytes(&entry)
	d.end(entry)
	if d.must(len(m.entry) > 0); d.bad {
		return errCMS
	}
	return nil
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
