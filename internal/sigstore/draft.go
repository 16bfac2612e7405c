// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/services"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Content is what is signed: the payload of an in-toto envelope, or the digest of
// a file, which is never held in memory.
type Content struct {
	Statement []byte
	Digest    []byte // of the file, if there is no statement, by the hash of who signs: of a certificate SHA-256
}

// digest returns what the signature is over.
func (c Content) digest(by keys.Algorithm) ([]byte, error) {
	if c.Statement != nil {
		return by.Input(pae(payloadInToto, c.Statement)), nil
	}
	if len(c.Digest) != by.Hash.Size() {
		return nil, fmt.Errorf("a digest of %d bytes, and %s signs one of %d", len(c.Digest), by.Name, by.Hash.Size())
	}
	return c.Digest, nil
}

// Same reports whether it is the same that is signed.
func (c Content) Same(o Content) bool {
	return bytes.Equal(c.Statement, o.Statement) && bytes.Equal(c.Digest, o.Digest)
}

// Draft is a signature with its certificate and time stamp that is not logged
// yet. Its JSON form is a bundle without log entry; everything that is needed to
// log it, now or after a crash, is in it.
type Draft struct{ form *bundle.Bundle }

// messageHashNames are the hashes of the registry in a bundle.
var messageHashNames = map[crypto.Hash]string{
	crypto.SHA256: "SHA2_256", crypto.SHA384: "SHA2_384", crypto.SHA512: "SHA2_512",
}

// newDraft returns the draft of a signature over a digest of the content.
func newDraft(m *bundle.Material, content Content, by keys.Algorithm, digest, sig []byte) *Draft {
	form := &bundle.Bundle{MediaType: mediaType03, Material: m}
	if content.Statement != nil {
		form.Envelope = &bundle.Envelope{
			Payload: content.Statement, PayloadType: payloadInToto, Signatures: []bundle.Signature{{Sig: sig}},
		}
	} else {
		form.Message = &bundle.Message{
			Digest: &bundle.Digest{Algorithm: messageHashNames[by.Hash], Digest: digest}, Signature: sig,
		}
	}
	return &Draft{form}
}

// MarshalJSON returns the draft as a bundle.
func (d *Draft) MarshalJSON() ([]byte, error) { return d.form.JSON(), nil }

// ParseDraft reads a draft, or a bundle of which the log entries are left out.
func ParseDraft(data []byte) (*Draft, error) {
	form, err := bundle.Parse(data)
	if err != nil {
		return nil, refuse(policy.BundleInvalid, "not a draft: %w", err)
	}
	env, msg := form.Envelope, form.Message
	if (env == nil || len(env.Signatures) != 1) && (msg == nil || msg.Digest == nil || len(msg.Digest.Digest) == 0) ||
		form.Material == nil {
		return nil, refuse(policy.BundleInvalid, "a draft has an envelope or digest with one signature")
	}
	form.Material.Entries = nil
	return &Draft{form}, nil
}

// Content returns what is signed.
func (d *Draft) Content() Content {
	if d.form.Message != nil {
		return Content{Digest: d.form.Message.Digest.Digest}
	}
	return Content{Statement: d.form.Envelope.Payload}
}

// signature returns the one signature.
func (d *Draft) signature() []byte {
	if d.form.Message != nil {
		return d.form.Message.Signature
	}
	return d.form.Envelope.Signatures[0].Sig
}

// Signer returns the DER of the certificate or, without one, of the key.
func (d *Draft) Signer() []byte {
	if c := d.form.Material.Certificate; c != nil {
		return c.Raw
	}
	if d.form.Material.PublicKey == nil {
		return nil
	}
	der, err := keyFromHint(d.form.Material.PublicKey.Hint)
	if err != nil {
		return nil
	}
	return der
}

// Certificate returns the certificate, nil for a bare key.
func (d *Draft) Certificate() (*x509.Certificate, error) {
	c := d.form.Material.Certificate
	if c == nil {
		return nil, nil
	}
	return x509.ParseCertificate(c.Raw)
}

// Identity returns whom the certificate is for, by a root; a bare key has kind and id.
func (d *Draft) Identity(r *Root) (policy.Identity, error) {
	cert, err := d.Certificate()
	if err != nil {
		return policy.Identity{}, err
	}
	if cert == nil {
		return policy.Identity{Kind: policy.KindKey, Value: spelling.Sum(d.Signer())}, nil
	}
	if a := r.privateOf(cert); a != nil {
		return a.Identity(cert)
	}
	return identity.FromCertificate(cert)
}

// Stamped reports whether the draft has a time stamp.
func (d *Draft) Stamped() bool { return len(d.form.Material.Stamps) > 0 }

func (d *Draft) stamp(stamp []byte) { d.form.Material.Stamps = [][]byte{stamp} }

// A bare key is named in a bundle by its own DER in hex, so that whoever has the
// file can log it again: the bundle itself carries no key.
func hintOf(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(der), nil
}

func keyFromHint(hint string) ([]byte, error) {
	der, err := hex.DecodeString(hint)
	if err == nil {
		_, err = keys.ParseDER(der)
	}
	return der, err
}

// proposal returns what a log is asked to show, if the draft's signature verifies: what is logged
// is public for ever. Rekor v1 takes envelopes that are signed over a SHA-256 alone; of other keys
// it is shown the signature over the digest of the pre-authentication encoding, as if that were a
// file (SPEC 3.6). Keys are a bare one, and that of a certificate that is not Fulcio's.
func (d *Draft) proposal(generation int, private bool) (*services.Proposal, error) {
	cert, err := d.Certificate()
	if err != nil {
		return nil, err
	}
	p := &services.Proposal{Signature: d.signature(), Verifier: d.Signer(), Certificate: cert != nil}
	var pub crypto.PublicKey
	if cert != nil {
		pub = cert.PublicKey
	} else if pub, err = keys.ParseDER(p.Verifier); err != nil {
		return nil, err
	}
	a, err := keys.Of(pub)
	if err != nil {
		return nil, err
	}
	p.Details = a.Name
	if p.Digest, err = d.Content().digest(a); err != nil {
		return nil, err
	}
	if !a.Verify(pub, p.Digest, p.Signature) {
		return nil, errors.New("the signature is not by the key that comes with it")
	}
	if env := d.form.Envelope; env != nil && generation == 1 && (a.RekorV1 == keys.DSSE || cert != nil && !private) {
		p.Envelope = env
	}
	return p, nil
}

// logged returns the file of the bundle that the draft and a log entry are, if it verifies.
func (d *Draft) logged(r *Root, e *bundle.Entry) ([]byte, error) {
	form, material := *d.form, *d.form.Material
	material.Entries = []*bundle.Entry{e}
	form.Material = &material
	data := form.JSON()
	if err := selfCheck(r, data, d); err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
