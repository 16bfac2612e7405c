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
	"time"
	"unicode/utf8"

	"github.com/sigstore/fulcio/pkg/certificate"

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
	id := Identity{Kind: e.kind, Value: e.value}
	// ParseExtensions takes .1 and .8 in the order in which they stand: compare
	// and choose ourselves.
	ext, err := certificate.ParseExtensions(cert.Extensions)
	if err != nil {
		return Identity{}, err
	}
	if id.Issuer, err = e.issuer(cert.NotBefore); err != nil {
		return Identity{}, err
	}
	if spelling.IsPKI(id.Issuer) { // a trust root gives such issuers, never a certificate (SPEC 17.5)
		return Identity{}, fmt.Errorf("the certificate itself names the issuer %q", clip.Text(id.Issuer))
	}
	id.WorkflowTrigger = ext.GithubWorkflowTrigger
	id.WorkflowSHA = ext.GithubWorkflowSHA
	id.WorkflowName = ext.GithubWorkflowName
	id.WorkflowRepository = ext.GithubWorkflowRepository
	id.WorkflowRef = ext.GithubWorkflowRef
	id.BuildSignerURI = ext.BuildSignerURI
	id.BuildSignerDigest = ext.BuildSignerDigest
	id.RunnerEnvironment = ext.RunnerEnvironment
	id.SourceRepositoryURI = ext.SourceRepositoryURI
	id.SourceRepositoryDigest = ext.SourceRepositoryDigest
	id.SourceRepositoryRef = ext.SourceRepositoryRef
	id.SourceRepositoryID = ext.SourceRepositoryIdentifier
	id.SourceRepositoryOwner = ext.SourceRepositoryOwnerURI
	id.SourceRepositoryOwnerID = ext.SourceRepositoryOwnerIdentifier
	id.BuildConfigURI = ext.BuildConfigURI
	id.BuildConfigDigest = ext.BuildConfigDigest
	id.BuildTrigger = ext.BuildTrigger
	id.RunInvocationURI = ext.RunInvocationURI
	id.Visibility = ext.SourceRepositoryVisibilityAtSigning
	id.DeploymentEnvironment = ext.DeploymentEnvironment
	id.TokenSubject = ext.Subject
	return id, nil
}

// extensions is what is read of a certificate's extensions without a library: who it is of, and
// the issuer in both of its spellings.
type extensions struct {
	kind               policy.Kind
	value              string
	issuerV1, issuerV2 []byte // as they stand; nil if they do not
}

func readExtensions(list []pkix.Extension) (*extensions, error) {
	out := &extensions{}
	seen := map[string]bool{}
	for _, e := range list {
		oid := e.Id.String()
		if seen[oid] {
			return nil, fmt.Errorf("extension %s stands twice", oid)
		}
		seen[oid] = true
		switch {
		case e.Id.Equal(oidSAN):
			var err error
			if out.kind, out.value, err = parseSAN(e.Value); err != nil {
				return nil, fmt.Errorf("subject alternative name: %w", err)
			}
		case len(e.Id) == len(oidFulcio)+1 && e.Id[:len(oidFulcio)].Equal(oidFulcio):
			n := e.Id[len(oidFulcio)]
			if err := checkExtension(n, e.Value); err != nil {
				return nil, fmt.Errorf("extension %s: %w", oid, err)
			}
			switch n {
			case 1:
				out.issuerV1 = e.Value
			case 8:
				out.issuerV2 = e.Value
			}
		}
	}
	if !seen[oidSAN.String()] {
		return nil, errors.New("no subject alternative name")
	}
	return out, nil
}

// issuer returns the issuer of the ID token, "" if the certificate names none.
func (e *extensions) issuer(notBefore time.Time) (string, error) {
	switch {
	case e.issuerV2 == nil && e.issuerV1 != nil && !notBefore.Before(issuerV2):
		return "", errors.New("no issuer extension .8")
	case e.issuerV2 == nil:
		return string(e.issuerV1), nil
	}
	var issuer string
	if err := certificate.ParseDERString(e.issuerV2, &issuer); err != nil {
		return "", err
	}
	if e.issuerV1 != nil && issuer != string(e.issuerV1) {
		return "", fmt.Errorf("extensions .1 and .8 name different issuers: %q and %q", e.issuerV1, issuer)
	}
	return issuer, nil
}

// checkExtension refuses what a lenient parser would take: other string types,
// trailing bytes, invalid UTF-8, and anything too long to be an identity.
func checkExtension(n int, value []byte) error {
	if len(value) > maxExtensionBytes {
		return fmt.Errorf("%d bytes, at most %d are read", len(value), maxExtensionBytes)
	}
	switch {
	case n >= 1 && n <= 6: // raw text
		if !utf8.Valid(value) {
			return errors.New("not UTF-8")
		}
	case n >= 8 && n <= 24:
		var raw asn1.RawValue
		rest, err := asn1.Unmarshal(value, &raw)
		if err != nil {
			return fmt.Errorf("not DER: %w", err)
		}
		if len(rest) > 0 {
			return errors.New("trailing bytes")
		}
		if raw.Class != asn1.ClassUniversal || raw.Tag != asn1.TagUTF8String || raw.IsCompound {
			return errors.New("not a UTF8String")
		}
		if !utf8.Valid(raw.Bytes) {
			return errors.New("not UTF-8")
		}
	}
	return nil // extensions that do not exist yet are ignored and satisfy nothing
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
