// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// This file reads the bodies of log entries, in the one form in which the logs write each kind
// (RFC 8785): whatever has another one is refused.
//
// Kinds: https://github.com/sigstore/rekor/tree/main/pkg/types,
// https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md.

// entryBody is what the body of a log entry shows. Of one that is malformed kind and version may
// be known all the same.
type entryBody struct {
	kind, version string
	generation    int // of the log
	signature     []byte
	verifier      []byte // DER
	certificate   bool   // the verifier is one
	hash          crypto.Hash
	digest        []byte // of a hashedrekord: what is signed, by hash
	payload       string // of an envelope: hex SHA-256 of its payload
	details       string // of Rekor v2: the algorithm
}

// form is text that is read from its front; bad once something else stood there.
type form struct {
	rest string
	bad  bool
}

// lit reads a text that is given.
func (f *form) lit(text string) {
	rest, ok := strings.CutPrefix(f.rest, text)
	f.rest, f.bad = rest, f.bad || !ok
}

// is reads a text that may be there, and reports whether it was.
func (f *form) is(text string) bool {
	rest, ok := strings.CutPrefix(f.rest, text)
	f.rest = rest
	return ok
}

// str reads the rest of text in JSON that has nothing to escape, with the mark at its end.
func (f *form) str() string {
	text, rest, ok := strings.Cut(f.rest, `"`)
	if !ok || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' }) {
		f.bad = true
		return ""
	}
	f.rest = rest
	return text
}

// base64 reads bytes, at least one.
func (f *form) base64() []byte {
	raw, err := canonical.ParseBase64(f.str())
	f.bad = f.bad || err != nil || len(raw) == 0
	return raw
}

// sha256 reads a hash that is named so, in hex.
func (f *form) sha256() string {
	f.lit(`{"algorithm":"sha256","value":"`)
	text := f.str()
	f.lit(`}`)
	f.bad = f.bad || len(text) != 64 || strings.Trim(text, "0123456789abcdef") != ""
	return text
}

// verifier reads PEM in base64: one certificate or key and nothing else.
func (f *form) verifier(b *entryBody) {
	text := f.base64()
	block, rest := pem.Decode(text)
	if block == nil || !bytes.HasPrefix(text, []byte("-----BEGIN")) || len(bytes.TrimSpace(rest)) > 0 ||
		len(block.Headers) > 0 {
		f.bad = true
		return
	}
	b.verifier, b.certificate = block.Bytes, block.Type == "CERTIFICATE"
	f.bad = f.bad || !b.certificate && block.Type != "PUBLIC KEY"
}

// readBody reads the body of a log entry. The error is an [*Error]: BundleInvalid, or
// NeedsNewerVersion if it names an algorithm that nobody here knows (SPEC 3.6).
func readBody(data []byte) (*entryBody, error) {
	f, b := &form{rest: string(data)}, &entryBody{generation: 1}
	f.lit(`{"apiVersion":"`)
	b.version = f.str()
	f.lit(`,"kind":"`)
	b.kind = f.str()
	f.lit(`,"spec":{`)
	switch {
	case f.bad:
	case b.kind == "hashedrekord" && b.version == "0.0.1":
		f.hashedRekord(b)
	case b.kind == "dsse" && b.version == "0.0.1":
		f.dsse(b)
	case b.kind == "intoto" && b.version == "0.0.2":
		f.intoto(b)
	case b.kind == "hashedrekord" && b.version == "0.0.2":
		b.generation = 2
		if f.hashedRekordV2(b); b.details != "" && !bundle.KnownDetails(b.details) {
			return nil, refuse(policy.NeedsNewerVersion, "signed by the algorithm %q, which this program does not know",
				clip.Text(b.details))
		}
	default:
		return nil, refuse(policy.BundleInvalid, "an entry of kind %q, version %q", clip.Text(b.kind), clip.Text(b.version))
	}
	if f.lit("}}"); f.bad || f.rest != "" {
		return nil, refuse(policy.BundleInvalid, "the body of the entry does not have the form in which logs write it")
	}
	return b, nil
}

var rekordHashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// hashedRekord reads a hashedrekord 0.0.1.
func (f *form) hashedRekord(b *entryBody) {
	f.lit(`"data":{"hash":{"algorithm":"`)
	b.hash = rekordHashes[f.str()]
	f.lit(`,"value":"`)
	text := f.str()
	digest, err := hex.DecodeString(text)
	if b.digest = digest; err != nil || b.hash == 0 || len(digest) != b.hash.Size() || hex.EncodeToString(digest) != text {
		f.bad = true
	}
	f.lit(`}},"signature":{"content":"`)
	b.signature = f.base64()
	f.lit(`,"publicKey":{"content":"`)
	f.verifier(b)
	f.lit(`}}`)
}

// dsse reads a dsse 0.0.1 with one signature.
func (f *form) dsse(b *entryBody) {
	f.lit(`"envelopeHash":`)
	f.sha256()
	f.lit(`,"payloadHash":`)
	b.payload = f.sha256()
	f.lit(`,"signatures":[{"signature":"`)
	b.signature = f.base64()
	f.lit(`,"verifier":"`)
	f.verifier(b)
	f.lit(`}]`)
}

// intoto reads an intoto 0.0.2 with one signature, which stands in base64 twice.
func (f *form) intoto(b *entryBody) {
	f.lit(`"content":{"envelope":{"payloadType":"`)
	f.str()
	f.lit(`,"signatures":[{`)
	if f.is(`"keyid":"`) {
		f.str()
		f.lit(`,`)
	}
	f.lit(`"publicKey":"`)
	f.verifier(b)
	f.lit(`,"sig":"`)
	signature, err := canonical.ParseBase64(string(f.base64()))
	b.signature, f.bad = signature, f.bad || err != nil
	f.lit(`}]},"hash":`)
	f.sha256()
	f.lit(`,"payloadHash":`)
	b.payload = f.sha256()
	f.lit(`}`)
}

var tileHashes = map[string]crypto.Hash{
	"SHA2_256": crypto.SHA256, "SHA2_384": crypto.SHA384, "SHA2_512": crypto.SHA512,
}

// hashedRekordV2 reads a hashedrekord 0.0.2.
func (f *form) hashedRekordV2(b *entryBody) {
	f.lit(`"hashedRekordV002":{"data":{"algorithm":"`)
	b.hash = tileHashes[f.str()]
	f.lit(`,"digest":"`)
	b.digest = f.base64()
	f.lit(`},"signature":{"content":"`)
	b.signature = f.base64()
	f.lit(`,"verifier":{"keyDetails":"`)
	details := f.str()
	if f.bad = f.bad || details == ""; !f.bad {
		b.details = details
	}
	f.lit(`,"`)
	b.certificate = f.is(`x509Certificate":{"rawBytes":"`)
	if !b.certificate {
		f.lit(`publicKey":{"rawBytes":"`)
	}
	b.verifier = f.base64()
	f.lit(`}}}}`)
	f.bad = f.bad || b.hash == 0 || len(b.digest) != b.hash.Size()
}

// bodyV2 returns the body that Rekor v2 writes of a signature over a digest.
func bodyV2(a keys.Algorithm, digest, signature, verifier []byte, certificate bool) []byte {
	name := "publicKey"
	if certificate {
		name = "x509Certificate"
	}
	b := []byte(`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"`)
	b = append(b, strings.Replace(a.HashName(), "sha", "SHA2_", 1)+`","digest":"`...)
	b = base64.StdEncoding.AppendEncode(b, digest)
	b = append(b, `"},"signature":{"content":"`...)
	b = base64.StdEncoding.AppendEncode(b, signature)
	b = append(b, `","verifier":{"keyDetails":"`+a.Name+`","`+name+`":{"rawBytes":"`...)
	b = base64.StdEncoding.AppendEncode(b, verifier)
	return append(b, `"}}}}}}`...)
}

// key returns the public key in a body, nil if it is a certificate or no key.
func (b *entryBody) key() *Key {
	if b.certificate {
		return nil
	}
	pub, err := keys.ParseDER(b.verifier)
	if err != nil {
		return nil
	}
	a, err := keys.Of(pub)
	if err != nil {
		return nil
	}
	return &Key{id: keys.ID(b.verifier), der: b.verifier, pub: pub, alg: a}
}

// sound reports whether a log can have taken the entry: Rekor v1 verifies the signature of each
// hashedrekord. One that is about the bundle's own signature is verified with that.
func (b *entryBody) sound() bool {
	if b.generation != 1 || b.hash == 0 {
		return true
	}
	var pub crypto.PublicKey
	var err error
	if b.certificate {
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(b.verifier); err == nil {
			pub = cert.PublicKey
		}
	} else {
		pub, err = x509.ParsePKIXPublicKey(b.verifier)
	}
	if err != nil {
		return false
	}
	a := keys.Algorithm{Name: b.kind, Key: keys.Kind(pub), Hash: b.hash}
	return a.Verify(pub, b.digest, b.signature)
}

// by returns an error unless the entry shows what signed: a certificate in DER, or a key.
func (b *entryBody) by(leaf *x509.Certificate, key *Key) error {
	if leaf != nil {
		if !b.certificate || !bytes.Equal(b.verifier, leaf.Raw) {
			return errors.New("the entry is of another certificate")
		}
		return nil
	}
	if key == nil || b.certificate || !bytes.Equal(b.verifier, key.der) {
		return errors.New("the entry is of another key")
	}
	return nil
}
