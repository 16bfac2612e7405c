// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a signing service's reply.
const (
	maxServiceReply = 4 << 20
	serviceTimeout  = 30 * time.Second
	maxServiceText  = 200 // bytes of what it says of an error
	stampRetries    = 1
)

// Services are where signatures are made; a URL is "" where there is none.
type Services struct {
	Fulcio  string
	TSA     string // with its path
	RekorV1 string
	RekorV2 string
	Issuer  string // OpenID provider for people
}

// ParseSigningConfigs returns the services that the signing configs of one trust
// root name for a moment: one config usually lists Rekor v1, another one Rekor
// v2. What two of them name differently is taken from the first. The error is an
// [*Error] with reason TrustRootInvalid.
//
// Format: https://github.com/sigstore/protobuf-specs, SigningConfig v0.2.
func ParseSigningConfigs(at time.Time, configs ...[]byte) (Services, error) {
	var out Services
	take := func(to *string, services []root.Service, version uint32) {
		if *to != "" {
			return
		}
		if s, err := root.SelectService(services, []uint32{version}, at); err == nil {
			*to = s.URL
		}
	}
	for _, data := range configs {
		c, err := root.NewSigningConfigFromJSON(data)
		if err != nil {
			return Services{}, &Error{policy.TrustRootInvalid, errors.New(cleanProto(err))}
		}
		take(&out.Fulcio, c.FulcioCertificateAuthorityURLs(), 1)
		take(&out.TSA, c.TimestampAuthorityURLs(), 1)
		take(&out.RekorV1, c.RekorLogURLs(), 1)
		take(&out.RekorV2, c.RekorLogURLs(), 2)
		take(&out.Issuer, c.OIDCProviderURLs(), 1)
	}
	return out, nil
}

// Secret returns an error if an ID token or a sign-in would not stay between this
// machine and the services. It is an [*Error] with reason TrustRootInvalid.
func (s Services) Secret() error {
	for _, address := range []string{s.Fulcio, s.Issuer} {
		if address != "" && !secret(address) {
			return refuse(policy.TrustRootInvalid, "%s: a token is sent to an https URL only", clip.Text(address))
		}
	}
	return nil
}

func secret(address string) bool {
	u, err := url.Parse(address)
	return err == nil && web.Secret(u)
}

// CheckSigningConfig returns an error if the signing config cannot be read.
func CheckSigningConfig(data []byte) error {
	if _, err := root.NewSigningConfigFromJSON(data); err != nil {
		return &Error{policy.TrustRootInvalid, errors.New(cleanProto(err))}
	}
	return nil
}

// Content is what is signed: the payload of an in-toto envelope, or the digest of
// a file, which is never held in memory.
type Content struct {
	Statement []byte
	Digest    []byte // of the file, if there is no statement, by the hash of who signs: of a certificate SHA-256
}

// digest returns what the signature is over.
func (c Content) digest(by keys.Algorithm) ([]byte, error) {
	if c.Statement != nil {
		return by.Input(dsse.PAE(payloadInToto, c.Statement)), nil
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
type Draft struct{ pb *protobundle.Bundle }

// MarshalJSON returns the draft as a bundle.
func (d *Draft) MarshalJSON() ([]byte, error) { return protojson.Marshal(d.pb) }

// ParseDraft reads a draft, or a bundle of which the log entries are left out.
func ParseDraft(data []byte) (*Draft, error) {
	pb := &protobundle.Bundle{}
	if err := protojson.Unmarshal(data, pb); err != nil {
		return nil, refuse(policy.BundleInvalid, "not a draft: %s", cleanProto(err))
	}
	digest := pb.GetMessageSignature().GetMessageDigest().GetDigest()
	if len(pb.GetDsseEnvelope().GetSignatures()) != 1 && len(digest) == 0 || pb.GetVerificationMaterial() == nil {
		return nil, refuse(policy.BundleInvalid, "a draft has an envelope or digest with one signature")
	}
	pb.VerificationMaterial.TlogEntries = nil
	return &Draft{pb}, nil
}

// Content returns what is signed.
func (d *Draft) Content() Content {
	if m := d.pb.GetMessageSignature(); m != nil {
		return Content{Digest: m.GetMessageDigest().GetDigest()}
	}
	return Content{Statement: d.pb.GetDsseEnvelope().GetPayload()}
}

// signature returns the one signature; nil if there is none.
func (d *Draft) signature() []byte {
	if sigs := d.pb.GetDsseEnvelope().GetSignatures(); len(sigs) == 1 {
		return sigs[0].GetSig()
	}
	return d.pb.GetMessageSignature().GetSignature()
}

// Signer returns the DER of the certificate or, without one, of the key.
func (d *Draft) Signer() []byte {
	if c := d.pb.GetVerificationMaterial().GetCertificate(); c != nil {
		return c.GetRawBytes()
	}
	hint, err := keyFromHint(d.pb.GetVerificationMaterial().GetPublicKey().GetHint())
	if err != nil {
		return nil
	}
	return hint
}

// Certificate returns the certificate, nil for a bare key.
func (d *Draft) Certificate() (*x509.Certificate, error) {
	c := d.pb.GetVerificationMaterial().GetCertificate()
	if c == nil {
		return nil, nil
	}
	return x509.ParseCertificate(c.GetRawBytes())
}

// Client signs and logs with the services of one Sigstore instance.
type Client struct {
	Services  Services
	Transport http.RoundTripper // nil for the default one
	Timeout   time.Duration     // of a request; 0 for 30 seconds
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return serviceTimeout
}

// Draft signs the content. With a token the key is fresh, and Fulcio certifies it;
// else key signs, by an algorithm of [keys.Of], perhaps in the name of a certificate. The time
// stamp is for [Client.Stamp] to add, once the draft is kept: a stamp can be had again, a
// certificate would be a second one.
//
// Fulcio is asked once. Each certificate shows its name in a public log for ever, and
// one may have been issued whatever came back.
func (c *Client) Draft(ctx context.Context, content Content, token string, key *keys.Signer) (*Draft, error) {
	pb := &protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{},
	}
	if token != "" {
		fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if key, err = keys.Local(fresh, keys.Of); err != nil {
			return nil, err
		}
		if !secret(c.Services.Fulcio) {
			return nil, fmt.Errorf("certificate: %s: a token is sent to an https URL only", c.Services.Fulcio)
		}
		ca := sign.NewFulcio(&sign.FulcioOptions{
			BaseURL: c.Services.Fulcio, Timeout: c.timeout(), Transport: legible{&until{ctx, c.transport(c.Services.Fulcio)}},
		})
		var der []byte
		err = guarded(c.Services.Fulcio, func() (err error) {
			der, err = ca.GetCertificate(ctx, keypair{fresh}, &sign.CertificateProviderOptions{IDToken: token})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("certificate: %s: %w", c.Services.Fulcio, err)
		}
		if err := asked(der, &fresh.PublicKey, token); err != nil {
			return nil, err
		}
		pb.VerificationMaterial.Content = &protobundle.VerificationMaterial_Certificate{
			Certificate: &protocommon.X509Certificate{RawBytes: der},
		}
	} else if key.Certificate != nil {
		pb.VerificationMaterial.Content = &protobundle.VerificationMaterial_Certificate{
			Certificate: &protocommon.X509Certificate{RawBytes: key.Certificate},
		}
	} else {
		hint, err := hintOf(key.Public)
		if err != nil {
			return nil, err
		}
		pb.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: hint},
		}
	}
	digest, err := content.digest(key.Algorithm)
	if err != nil {
		return nil, err
	}
	sig, err := key.Sign(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if content.Statement != nil {
		pb.Content = &protobundle.Bundle_DsseEnvelope{
			DsseEnvelope: &protodsse.Envelope{
				Payload: content.Statement, PayloadType: payloadInToto, Signatures: []*protodsse.Signature{{Sig: sig}},
			},
		}
	} else {
		pb.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: hashNumbers[key.Algorithm.Hash], Digest: digest},
			Signature:     sig,
		}}
	}
	return &Draft{pb}, nil
}

// asked returns why a certificate is not the one that was asked for: it is for another
// key, or for somebody else than the token. What is logged under it would be public for
// ever.
func asked(der []byte, key *ecdsa.PublicKey, token string) error {
	cert, id, err := claimed(der)
	if err != nil {
		return err
	}
	if !key.Equal(cert.PublicKey) {
		return refuse(policy.CertificateBad, "the certificate authority certified another key than was sent")
	}
	claims, err := jwt.Unverified(token)
	if err != nil {
		return refuse(policy.CertificateBad, "whom the certificate should be for is not known: %w", err)
	}
	if id.Issuer == "" || id.Issuer != claims.Issuer && id.Issuer != claims.Connector ||
		id.Kind == policy.KindEmail && id.Value != claims.Email {
		return refuse(policy.CertificateBad, "the certificate authority certified %s by %s, and the token is of another",
			clip.Text(id.Value), clip.Text(id.Issuer))
	}
	return nil
}

// ErrTooLate is the error of logging a signature whose certificate has expired:
// the entry would prove nothing.
var ErrTooLate = errors.New("the certificate expired before the signature was logged; sign again")

// Log logs the draft in Rekor v1 or v2 and returns the bundle with that entry. A
// draft that is in the log already gives the entry that is there. It is checked
// under the root before it is returned, so that what is kept verifies.
func (c *Client) Log(ctx context.Context, r *Root, d *Draft, generation int, now time.Time) ([]byte, error) {
	cert, err := d.Certificate()
	if err != nil {
		return nil, err
	}
	if cert != nil && now.After(cert.NotAfter) {
		return nil, ErrTooLate
	}
	if err := r.Check(d, now); err != nil { // else it is logged, and then refused
		return nil, err
	}
	pemType := "CERTIFICATE"
	if cert == nil {
		pemType = "PUBLIC KEY"
	}
	verifier := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: d.Signer()})
	base := c.Services.RekorV1
	if generation == 2 {
		base = c.Services.RekorV2
	}
	if base == "" {
		return nil, fmt.Errorf("the instance has no Rekor v%d", generation)
	}
	opts := &sign.RekorOptions{BaseURL: base, Timeout: c.timeout(), Version: uint32(generation)}
	if generation == 2 {
		w := &rekorV2{base: base, http: &http.Client{Transport: c.transport(base), Timeout: c.timeout()}, root: r}
		opts.ClientV2 = w
	} else if opts.Client, err = rekorV1Client(ctx, base, strictV1{c.transport(base)}, c.timeout()); err != nil {
		return nil, err
	}
	shown, err := d.shown(generation, r.privateOf(cert) != nil)
	if err != nil {
		return nil, err
	}
	if err := guarded(base, func() error {
		return sign.NewRekor(opts).GetTransparencyLogEntry(ctx, verifier, shown)
	}); err != nil {
		return nil, fmt.Errorf("logging in %s: %w", base, err)
	}
	pb := proto.Clone(d.pb).(*protobundle.Bundle)
	pb.VerificationMaterial.TlogEntries = shown.VerificationMaterial.TlogEntries
	out, err := finish(r, pb, d)
	if err != nil {
		return nil, fmt.Errorf("what %s answered does not verify: %w", base, err)
	}
	return out, nil
}

// LogIn logs the draft in one of the root's Rekor v2 logs, whichever the signing config names,
// as [Client.Log] does.
func (c *Client) LogIn(ctx context.Context, r *Root, d *Draft, l Log, now time.Time) ([]byte, error) {
	at := *c
	at.Services.RekorV2 = l.URL
	out, err := at.Log(ctx, r, d, 2, now)
	if err != nil {
		return nil, err
	}
	if log, _, err := CheckpointOf(out); err != nil || log != l.ID {
		return nil, refuse(policy.LogInvalid, "what %s answered is of another log", l.URL)
	}
	return out, nil
}

// selfCheck verifies a bundle that was just made.
func selfCheck(r *Root, data []byte, d *Draft) error {
	b, err := ParseBundle(data)
	if err != nil {
		return err
	}
	var key *Key
	if b.leaf == nil {
		if key, err = ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: d.Signer()}), time.Time{},
			time.Time{}); err != nil {
			return err
		}
	}
	digest, message := b.Message()
	if !message {
		digest = b.statement.Subjects[0].Digests[0]
	}
	_, err = b.Verify(r, digest, key, Options{})
	return err
}

// transport returns what requests to a service go through: only to its own
// origin, without redirects, and with a cap on the reply.
func (c *Client) transport(base string) http.RoundTripper {
	u, err := url.Parse(base)
	if err != nil {
		u = &url.URL{} // no request is to that origin
	}
	return &web.OneOrigin{Scheme: u.Scheme, Host: u.Host, Limit: maxServiceReply, Next: c.Transport}
}

// until ends the requests of a client that knows no context, when the context does.
type until struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (u *until) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(u.ctx, cancel)
	resp, err := u.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &untilRead{resp.Body, func() { stop(); cancel() }}
	return resp, nil
}

// untilRead is a body whose request ends when it is closed.
type untilRead struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *untilRead) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// A bare key is named in a bundle by its own DER in hex, so that whoever has the
// file can log it again: the bundle itself carries no key.
func hintOf(pub crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", der), nil
}

func keyFromHint(hint string) ([]byte, error) {
	der, err := hex.DecodeString(hint)
	if err == nil {
		_, err = keys.ParseDER(der)
	}
	return der, err
}

// keypair is a fresh key as the client of Fulcio wants it: the library's own would
// sign whole files only, in memory.
type keypair struct{ key *ecdsa.PrivateKey }

func (k keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}

func (k keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}

func (k keypair) GetHint() []byte                { return nil }
func (k keypair) GetKeyAlgorithm() string        { return "ECDSA" }
func (k keypair) GetPublicKey() crypto.PublicKey { return k.key.Public() }

func (k keypair) GetPublicKeyPem() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.key.Public())
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

// SignData signs the proof of possession; see [sign.Keypair].
func (k keypair) SignData(_ context.Context, data []byte) (sig, digest []byte, err error) {
	sum := sha256.Sum256(data)
	sig, err = ecdsa.SignASN1(rand.Reader, k.key, sum[:])
	return sig, sum[:], err
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
