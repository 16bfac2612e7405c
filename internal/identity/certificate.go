// SPDX-License-Identifier: Apache-2.0

// Package identity turns what an identity provider's token or Fulcio certificate
// says into the one identity type of the policy.
package identity

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/sigstore/fulcio/pkg/certificate"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Identity is who signed.
type Identity = policy.Identity

const (
	// MaxCertificateBytes is the largest certificate that is looked at.
	MaxCertificateBytes = 64 << 10
	maxExtensionBytes   = 4 << 10
)

// issuerV2 is when Fulcio had long begun to write the issuer as extension .8.
// Younger certificates without it are refused.
var issuerV2 = time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC)

var (
	oidSAN    = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidFulcio = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1}
)

// FromCertificate returns the identity that a Fulcio certificate names. It
// checks the form of the certificate, not who issued it. It is an error if the
// certificate has not exactly one subject alternative name, if that is of a
// type other than rfc822Name, URI or Fulcio's otherName, if an extension of
// Fulcio's occurs twice or is not one DER UTF8String (.8 and later) without
// trailing bytes, if .1 and .8 name different issuers, or if they name one
// that only a trust root gives. A certificate without
// any issuer is not an error: GitHub signs its releases with such.
//
// Extensions: https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md.
func FromCertificate(cert *x509.Certificate) (Identity, error) {
	if cert == nil {
		return Identity{}, errors.New("no certificate")
	}
	if len(cert.Raw) > MaxCertificateBytes {
		return Identity{}, fmt.Errorf("certificate of %d bytes, at most %d are read", len(cert.Raw), MaxCertificateBytes)
	}
	e, err := readExtensions(cert.Extensions)
	if err != nil {
		return Identity{}, err
	}
	if e.Issuer, err = e.issuer(cert.NotBefore); err != nil {
		return Identity{}, err
	}
	if spelling.IsPKI(e.Issuer) { // a trust root gives such issuers, never a certificate (SPEC 17.5)
		return Identity{}, fmt.Errorf("the certificate itself names the issuer %q", clip.Text(e.Issuer))
	}
	return e.Identity, nil
}

// extensions is what a certificate's extensions say, with the issuer in both of its spellings.
type extensions struct {
	Identity
	issuerV1, issuerV2 *string // nil if they do not stand
}

func readExtensions(list []pkix.Extension) (*extensions, error) {
	if id := twice(list); id != nil {
		return nil, fmt.Errorf("extension %s stands twice", id)
	}
	out := &extensions{}
	for _, e := range list {
		switch {
		case e.Id.Equal(oidSAN):
			var err error
			if out.Kind, out.Value, err = parseSAN(e.Value); err != nil {
				return nil, fmt.Errorf("subject alternative name: %w", err)
			}
		case len(e.Id) == len(oidFulcio)+1 && e.Id[:len(oidFulcio)].Equal(oidFulcio):
			n := e.Id[len(oidFulcio)]
			text, err := textOf(n, e.Value)
			if err != nil {
				return nil, fmt.Errorf("extension %s: %w", e.Id, err)
			}
			switch n {
			case 1:
				out.issuerV1 = &text
			case 8: // the library takes .1 and .8 in the order in which they stand
				out.issuerV2 = &text
			}
		}
	}
	if out.Kind == "" {
		return nil, errors.New("no subject alternative name")
	}
	ext, err := certificate.ParseExtensions(list)
	if err != nil {
		return nil, err
	}
	out.take(ext)
	return out, nil
}

// twice returns what stands twice among the ids of extensions; nil for none.
func twice(list []pkix.Extension) asn1.ObjectIdentifier {
	ids := make([]asn1.ObjectIdentifier, len(list))
	for i, e := range list {
		ids[i] = e.Id
	}
	slices.SortFunc(ids, slices.Compare[asn1.ObjectIdentifier])
	for i := 1; i < len(ids); i++ {
		if ids[i].Equal(ids[i-1]) {
			return ids[i]
		}
	}
	return nil
}

// take takes what Fulcio's own library reads, of extensions that were looked at. Those that it does
// not know are ignored and satisfy nothing.
func (e *extensions) take(ext certificate.Extensions) {
	e.WorkflowTrigger = ext.GithubWorkflowTrigger
	e.WorkflowSHA = ext.GithubWorkflowSHA
	e.WorkflowName = ext.GithubWorkflowName
	e.WorkflowRepository = ext.GithubWorkflowRepository
	e.WorkflowRef = ext.GithubWorkflowRef
	e.BuildSignerURI = ext.BuildSignerURI
	e.BuildSignerDigest = ext.BuildSignerDigest
	e.RunnerEnvironment = ext.RunnerEnvironment
	e.SourceRepositoryURI = ext.SourceRepositoryURI
	e.SourceRepositoryDigest = ext.SourceRepositoryDigest
	e.SourceRepositoryRef = ext.SourceRepositoryRef
	e.SourceRepositoryID = ext.SourceRepositoryIdentifier
	e.SourceRepositoryOwner = ext.SourceRepositoryOwnerURI
	e.SourceRepositoryOwnerID = ext.SourceRepositoryOwnerIdentifier
	e.BuildConfigURI = ext.BuildConfigURI
	e.BuildConfigDigest = ext.BuildConfigDigest
	e.BuildTrigger = ext.BuildTrigger
	e.RunInvocationURI = ext.RunInvocationURI
	e.Visibility = ext.SourceRepositoryVisibilityAtSigning
	e.DeploymentEnvironment = ext.DeploymentEnvironment
	e.TokenSubject = ext.Subject
}

// issuer returns the issuer of the ID token, "" if the certificate names none.
func (e *extensions) issuer(notBefore time.Time) (string, error) {
	one, two := e.issuerV1, e.issuerV2
	switch {
	case one == nil && two == nil:
		return "", nil
	case two == nil && !notBefore.Before(issuerV2):
		return "", errors.New("no issuer extension .8")
	case two == nil:
		return *one, nil
	case one != nil && *one != *two:
		return "", fmt.Errorf("extensions .1 and .8 name different issuers: %q and %q", *one, *two)
	}
	return *two, nil
}

// textOf returns the text of an extension of Fulcio's, "" for one that does not exist yet. It refuses what
// a lenient parser would take: other string types, trailing bytes, invalid UTF-8, and anything too long to
// be an identity.
func textOf(n int, value []byte) (string, error) {
	if len(value) > maxExtensionBytes {
		return "", fmt.Errorf("%d bytes, at most %d are read", len(value), maxExtensionBytes)
	}
	text := cryptobyte.String(value)
	switch {
	case n >= 1 && n <= 6: // as it stands
	case n >= 8 && n <= 24:
		if in := text; !in.ReadASN1(&text, cryptobyteasn1.UTF8String) || !in.Empty() {
			return "", errors.New("not one UTF8String in DER")
		}
	default:
		return "", nil
	}
	if !utf8.Valid(text) {
		return "", errors.New("not UTF-8")
	}
	return string(text), nil
}

// GeneralName tags, RFC 5280 section 4.2.1.6.
const (
	tagOtherName = 0
	tagRFC822    = 1
	tagURI       = 6
)

// parseSAN returns the one name of a SubjectAltName extension. The name's bytes
// are returned as they stand: crypto/x509 would hand a URI through net/url,
// which does not keep them.
func parseSAN(der []byte) (policy.Kind, string, error) {
	name, err := onlyName(der)
	if err != nil {
		return "", "", err
	}
	var kind policy.Kind
	value := name.Bytes
	switch name.Tag {
	case tagRFC822:
		kind = policy.KindEmail
	case tagURI:
		kind = policy.KindURI
	case tagOtherName:
		kind = policy.KindUsername
		if value, err = otherName(name.FullBytes); err != nil {
			return "", "", err
		}
	default:
		return "", "", fmt.Errorf("a name of type %d is not an identity", name.Tag)
	}
	if name.IsCompound != (kind == policy.KindUsername) || len(value) == 0 || len(value) > maxExtensionBytes {
		return "", "", errors.New("empty or malformed name")
	}
	if i := bytes.IndexFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }); i >= 0 {
		return "", "", errors.New("a name with control characters")
	}
	return kind, string(value), nil
}

// onlyName returns the one GeneralName of a SubjectAltName extension.
func onlyName(der []byte) (name asn1.RawValue, err error) {
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(der, &seq)
	isSequence := seq.Class == asn1.ClassUniversal && seq.Tag == asn1.TagSequence && seq.IsCompound
	if err != nil || len(rest) > 0 || !isSequence {
		return name, errors.New("not one DER sequence")
	}
	rest, err = asn1.Unmarshal(seq.Bytes, &name)
	switch {
	case err != nil:
		return name, errors.New("no name")
	case len(rest) > 0:
		return name, errors.New("more than one name")
	case name.Class != asn1.ClassContextSpecific:
		return name, errors.New("not a GeneralName")
	}
	return name, nil
}

func otherName(der []byte) ([]byte, error) {
	var other struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}
	rest, err := asn1.UnmarshalWithParams(der, &other, "tag:0")
	if err != nil || len(rest) > 0 {
		return nil, errors.New("malformed otherName")
	}
	if !other.ID.Equal(certificate.OIDOtherName) {
		return nil, fmt.Errorf("otherName of type %s is not an identity", other.ID)
	}
	return []byte(other.Value), nil
}
