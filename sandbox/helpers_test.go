// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// job is the workflow that most tests sign as.
var job = claims.GitHub{Repository: "acme/widget", Ref: "refs/tags/v1.2.3", Environment: "release"}

const (
	jobIssuer = claims.GitHubIssuer
	jobSAN    = "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1.2.3"
)

func start(t testing.TB, o sandbox.Options) *sandbox.Stack {
	t.Helper()
	return startIn(t, t.TempDir(), o)
}

func startIn(t testing.TB, dir string, o sandbox.Options) *sandbox.Stack {
	t.Helper()
	s, err := sandbox.Start(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the stack: %v", err)
		}
	})
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func trustedRoot(t testing.TB, s *sandbox.Stack) *root.TrustedRoot {
	t.Helper()
	tr, err := root.NewTrustedRootFromJSON(s.TrustedRoot())
	check(t, err)
	return tr
}

// statement returns an in-toto statement about an artifact.
func statement(artifact []byte) []byte {
	sum := sha256.Sum256(artifact)
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"widget","digest":{"sha256":"%s"}}],"predicateType":"https://example.com/test/v1","predicate":{}}`,
		hex.EncodeToString(sum[:]))
}

func blob(data []byte) sign.Content { return &sign.PlainData{Data: data} }

func dsse(artifact []byte) sign.Content {
	return &sign.DSSEData{Data: statement(artifact), PayloadType: "application/vnd.in-toto+json"}
}

// signing is how a client signs: by default with everything the stack has, and
// without checking the result itself.
type signing struct {
	claims  claims.Claims
	version uint32 // of Rekor; default 2
	noTSA   bool
	retries uint
	timeout time.Duration
}

func (o signing) sign(ctx context.Context, s *sandbox.Stack, content sign.Content) (*bundle.Bundle, error) {
	if o.claims == nil {
		o.claims = job
	}
	if o.version == 0 {
		o.version = 2
	}
	if o.timeout == 0 {
		o.timeout = 20 * time.Second
	}
	token, err := s.Token(o.claims)
	if err != nil {
		return nil, err
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	config, err := root.NewSigningConfigFromJSON(s.SigningConfig(int(o.version)))
	if err != nil {
		return nil, err
	}
	service, err := root.SelectService(config.RekorLogURLs(), []uint32{o.version}, time.Now())
	if err != nil {
		return nil, err
	}
	opts := sign.BundleOptions{
		Context:                    ctx,
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: config.FulcioCertificateAuthorityURLs()[0].URL, Retries: o.retries, Timeout: o.timeout, Transport: s.Transport()}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: service.URL, Version: o.version, Retries: o.retries, Timeout: o.timeout})},
	}
	if !o.noTSA {
		opts.TimestampAuthorities = []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: config.TimestampAuthorityURLs()[0].URL, Retries: o.retries, Timeout: o.timeout})}
	}
	b, err := sign.Bundle(content, key, opts)
	if err != nil {
		return nil, err
	}
	return bundle.NewBundle(b)
}

func mustSign(t testing.TB, s *sandbox.Stack, content sign.Content, o signing) *bundle.Bundle {
	t.Helper()
	b, err := o.sign(t.Context(), s, content)
	check(t, err)
	return b
}

// judge verifies a bundle over an artifact as sigstore-go does by default for
// the public instance: SCT, log entry, time stamp, identity.
func judge(tm root.TrustedMaterial, b *bundle.Bundle, artifact []byte, san, issuer string) error {
	v, err := verify.NewVerifier(tm, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		return err
	}
	id, err := verify.NewShortCertificateIdentity(issuer, "", san, "")
	if err != nil {
		return err
	}
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(artifact)), verify.WithCertificateIdentity(id)))
	return err
}

func clone(t testing.TB, b *bundle.Bundle, change func(*protobundle.Bundle)) *bundle.Bundle {
	t.Helper()
	data, err := b.MarshalJSON()
	check(t, err)
	c := &bundle.Bundle{Bundle: &protobundle.Bundle{}}
	check(t, c.UnmarshalJSON(data))
	change(c.Bundle)
	return c
}

// repopolicy verifies a bundle over an artifact as repopolicy does, without a
// policy.
func repopolicy(t testing.TB, s *sandbox.Stack, b *bundle.Bundle, artifact []byte) error {
	t.Helper()
	data, err := b.MarshalJSON()
	check(t, err)
	parsed, err := sigstore.ParseBundle(data)
	if err != nil {
		return err
	}
	r, err := sigstore.ParseRoot("sandbox", s.TrustedRoot())
	check(t, err)
	sum := sha256.Sum256(artifact)
	digest, _, err := release.ParseDigestArg("sha256:" + hex.EncodeToString(sum[:]))
	check(t, err)
	_, err = parsed.Verify(r, digest, nil, sigstore.Options{})
	return err
}
