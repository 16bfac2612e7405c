// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// parts are the parts of a bundle, as other forms hold them.
type parts struct {
	cert      []byte // DER
	signature string // base64
	payload   string // base64, of an envelope
	entry     json.RawMessage
	body      string
	raw       []byte
}

func take(t testing.TB, bundle []byte) parts {
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
	p := parts{cert: b.VerificationMaterial.Certificate.RawBytes, signature: b.MessageSignature.Signature, payload: b.DsseEnvelope.Payload, raw: bundle}
	for _, c := range b.VerificationMaterial.X509CertificateChain.Certificates {
		p.cert = c.RawBytes
	}
	for _, s := range b.DsseEnvelope.Signatures {
		p.signature = s.Sig
	}
	for _, e := range b.VerificationMaterial.TlogEntries {
		var entry struct{ CanonicalizedBody string }
		if err := json.Unmarshal(e, &entry); err != nil {
			t.Fatal(err)
		}
		p.entry, p.body = e, entry.CanonicalizedBody
	}
	return p
}

func (p parts) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type object = map[string]any

// pypi is a PEP 740 attestation object.
func (p parts) pypi(t testing.TB) []byte {
	return marshal(t, object{
		"version":               1,
		"verification_material": object{"certificate": p.cert, "transparency_entries": []any{p.entry}},
		"envelope":              object{"statement": p.payload, "signature": p.signature},
	})
}

// rekorBundle is the log entry as cosign kept it.
func (p parts) rekorBundle(t testing.TB) object {
	t.Helper()
	var e struct {
		LogIndex, IntegratedTime json.Number
		LogID                    struct{ KeyID []byte }
		InclusionPromise         struct{ SignedEntryTimestamp string }
	}
	if err := json.Unmarshal(bytes.ReplaceAll(bytes.ReplaceAll(p.entry, []byte(`"logId"`), []byte(`"logID"`)), []byte(`"keyId"`), []byte(`"keyID"`)), &e); err != nil {
		t.Fatal(err)
	}
	return object{
		"SignedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp,
		"Payload":              object{"body": p.body, "integratedTime": e.IntegratedTime, "logIndex": e.LogIndex, "logID": hex.EncodeToString(e.LogID.KeyID)},
	}
}

// cosign is what `cosign sign-blob --bundle` wrote.
func (p parts) cosign(t testing.TB) []byte {
	return marshal(t, object{"base64Signature": p.signature, "cert": base64.StdEncoding.EncodeToString(p.pem()), "rekorBundle": p.rekorBundle(t)})
}

// envelope is a bare DSSE envelope.
func (p parts) envelope(t testing.TB) []byte {
	return marshal(t, object{"payloadType": payloadInToto, "payload": p.payload, "signatures": []any{object{"keyid": "", "sig": p.signature, "cert": string(p.pem())}}})
}

// images builds an OCI layout.
type images struct {
	t     testing.TB
	files map[string][]byte
	index []any
}

func newImages(t testing.TB) *images {
	return &images{t: t, files: map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

func (i *images) blob(mediaType string, content []byte, annotations object) object {
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	i.files["blobs/sha256/"+sum] = content
	d := object{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(content)}
	if annotations != nil {
		d["annotations"] = annotations
	}
	return d
}

const typeManifest = "application/vnd.oci.image.manifest.v1+json"

// image adds a manifest to the index and returns its digest.
func (i *images) image(layers ...any) string {
	m := marshal(i.t, object{"schemaVersion": 2, "mediaType": typeManifest, "config": i.blob("application/vnd.oci.image.config.v1+json", []byte("{}"), nil), "layers": layers})
	d := i.blob(typeManifest, m, nil)
	i.index = append(i.index, d)
	return d["digest"].(string)
}

func (i *images) layout() map[string][]byte {
	i.files["index.json"] = marshal(i.t, object{"schemaVersion": 2, "manifests": i.index})
	return i.files
}

// simple is a layer with cosign's signature of an image.
func (i *images) simple(inst *sigstoretest.Instance, r sigstoretest.Request, name, digest string, change func(object)) any {
	payload := marshal(i.t, object{"critical": object{"identity": object{"docker-reference": name}, "image": object{"docker-manifest-digest": digest}, "type": "cosign container image signature"}, "optional": nil})
	r.Artifact, r.NoProof = payload, true
	p := take(i.t, inst.Sign(r))
	a := object{
		annotationSignature: p.signature, annotationCertificate: string(p.pem()), annotationBundle: string(marshal(i.t, p.rekorBundle(i.t))),
	}
	if change != nil {
		change(a)
	}
	return i.blob(typeSimpleSigning, payload, a)
}

// cmsOptions are knobs of a CMS message.
type cmsOptions struct {
	digest     []byte // instead of the content's
	noEntry    bool
	noCert     bool
	twoSigners bool
	content    []byte
	twice      bool // each attribute
	trailing   bool
	noType     bool
	otherHash  bool
	emptyEntry bool
	twoCerts   bool
}

// gitsign returns what gitsign puts into an object over content.
func gitsign(t testing.TB, inst *sigstoretest.Instance, r sigstoretest.Request, content []byte, o cmsOptions) string {
	t.Helper()
	sum := sha256.Sum256(content)
	if o.digest == nil {
		o.digest = sum[:]
	}
	attrs := func(tag cb.Tag) []byte {
		var b cryptobyte.Builder
		b.AddASN1(tag, func(b *cryptobyte.Builder) {
			add := func(oid asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
				b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oid)
					b.AddASN1(cb.SET, value)
				})
			}
			if !o.noType {
				add(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
			}
			add(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(o.digest) })
			if o.twice {
				add(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(o.digest) })
			}
		})
		return b.BytesOrPanic()
	}
	r.Artifact = attrs(cb.SET)
	p := take(t, inst.Sign(r))
	cert, err := x509.ParseCertificate(p.cert)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(p.signature)
	if err != nil {
		t.Fatal(err)
	}
	var entry []byte
	if p.entry != nil && !o.noEntry {
		e := &protorekor.TransparencyLogEntry{}
		if err := protojson.Unmarshal(p.entry, e); err != nil {
			t.Fatal(err)
		}
		e.CanonicalizedBody = nil // as gitsign does
		if entry, err = proto.Marshal(e); err != nil {
			t.Fatal(err)
		}
	}
	hash := oidSHA256
	if o.otherHash {
		hash = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	}
	signer := func(b *cryptobyte.Builder) {
		b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(1)
			b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(cert.RawIssuer)
				b.AddASN1BigInt(cert.SerialNumber)
			})
			b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(hash) })
			b.AddBytes(attrs(contextTag(0)))
			b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
			})
			b.AddASN1OctetString(sig)
			if entry != nil || o.emptyEntry {
				b.AddASN1(contextTag(1), func(b *cryptobyte.Builder) {
					b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidLogEntry)
						b.AddASN1(cb.SET, func(b *cryptobyte.Builder) { b.AddASN1OctetString(entry) })
					})
				})
			}
		})
	}
	var b cryptobyte.Builder
	b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(cb.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(hash) })
				})
				b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidData)
					if o.content != nil {
						b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(o.content) })
					}
				})
				b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
					if !o.noCert {
						b.AddBytes(cert.Raw)
					}
					if o.twoCerts {
						b.AddBytes(cert.Raw)
					}
				})
				b.AddASN1(cb.SET, func(b *cryptobyte.Builder) {
					signer(b)
					if o.twoSigners {
						signer(b)
					}
				})
			})
		})
	})
	der := b.BytesOrPanic()
	if o.trailing {
		der = append(der, 0)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "SIGNED MESSAGE", Bytes: der}))
}

const thor = "A U Thor <author@example.com> 1700000000 +0000"

// tagObject returns an annotated tag, signed with gitsign.
func tagObject(t testing.TB, inst *sigstoretest.Instance, r sigstoretest.Request, name string, commit git.ID, o cmsOptions) []byte {
	content := fmt.Appendf(nil, "object %s\ntype commit\ntag %s\ntagger %s\n\nrelease\n", commit, name, thor)
	return append(content, gitsign(t, inst, r, content, o)...)
}

// commitObject returns a commit, signed with gitsign.
func commitObject(t testing.TB, inst *sigstoretest.Instance, r sigstoretest.Request, tree git.ID, o cmsOptions) []byte {
	head := fmt.Sprintf("tree %s\nauthor %s\ncommitter %s\n", tree, thor, thor)
	const message = "\nrelease\n"
	sig := gitsign(t, inst, r, []byte(head+message), o)
	folded := bytes.ReplaceAll(bytes.TrimSuffix([]byte(sig), []byte("\n")), []byte("\n"), []byte("\n "))
	return []byte(head + "gpgsig " + string(folded) + "\n" + message)
}
