// SPDX-License-Identifier: Apache-2.0

package formstest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
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

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidLogEntry      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 3, 1} // gitsign's
)

func contextTag(n uint8) cb.Tag { return cb.Tag(n).ContextSpecific().Constructed() }

// CMSOptions are knobs of a CMS message.
type CMSOptions struct {
	Digest     []byte // instead of the content's
	NoEntry    bool
	NoCert     bool
	TwoSigners bool
	Content    []byte
	Twice      bool // each attribute
	Trailing   bool
	NoType     bool
	OtherHash  bool
	EmptyEntry bool
	TwoCerts   bool
}

// gitsign returns what gitsign puts into an object over content.
func gitsign(t testing.TB, inst *sigstoretest.Instance, r sigstoretest.Request, content []byte, o CMSOptions) string {
	t.Helper()
	sum := sha256.Sum256(content)
	if o.Digest == nil {
		o.Digest = sum[:]
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
			if !o.NoType {
				add(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
			}
			add(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(o.Digest) })
			if o.Twice {
				add(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(o.Digest) })
			}
		})
		return b.BytesOrPanic()
	}
	r.Artifact = attrs(cb.SET)
	p := Take(t, inst.Sign(r))
	cert, err := x509.ParseCertificate(p.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(p.Signature)
	if err != nil {
		t.Fatal(err)
	}
	var entry []byte
	if p.Entry != nil && !o.NoEntry {
		e := &protorekor.TransparencyLogEntry{}
		if err := protojson.Unmarshal(p.Entry, e); err != nil {
			t.Fatal(err)
		}
		e.CanonicalizedBody = nil // as gitsign does
		if entry, err = proto.Marshal(e); err != nil {
			t.Fatal(err)
		}
	}
	hash := oidSHA256
	if o.OtherHash {
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
			if entry != nil || o.EmptyEntry {
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
					if o.Content != nil {
						b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(o.Content) })
					}
				})
				b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
					if !o.NoCert {
						b.AddBytes(cert.Raw)
					}
					if o.TwoCerts {
						b.AddBytes(cert.Raw)
					}
				})
				b.AddASN1(cb.SET, func(b *cryptobyte.Builder) {
					signer(b)
					if o.TwoSigners {
						signer(b)
					}
				})
			})
		})
	})
	der := b.BytesOrPanic()
	if o.Trailing {
		der = append(der, 0)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "SIGNED MESSAGE", Bytes: der}))
}

// Thor is who commits and tags.
const Thor = "A U Thor <author@example.com> 1700000000 +0000"

// TagObject returns an annotated tag, signed with gitsign.
func TagObject(t testing.TB, inst *sigstoretest.Instance, r sigstoretest.Request, name string, commit git.ID,
	o CMSOptions) []byte {
	content := fmt.Appendf(nil, "object %s\ntype commit\ntag %s\ntagger %s\n\nrelease\n", commit, name, Thor)
	return append(content, gitsign(t, inst, r, content, o)...)
}

// CommitObject returns a commit, signed with gitsign.
func CommitObject(t testing.TB, inst *sigstoretest.Instance, r sigstoretest.Request, tree git.ID, o CMSOptions) []byte {
	head := fmt.Sprintf("tree %s\nauthor %s\ncommitter %s\n", tree, Thor, Thor)
	const message = "\nrelease\n"
	sig := gitsign(t, inst, r, []byte(head+message), o)
	folded := bytes.ReplaceAll(bytes.TrimSuffix([]byte(sig), []byte("\n")), []byte("\n"), []byte("\n "))
	return []byte(head + "gpgsig " + string(folded) + "\n" + message)
}
