// SPDX-License-Identifier: Apache-2.0

// Package fulcio runs Sigstore's certificate authority with the production
// configuration of its issuers and a certificate authority kept in files.
package fulcio

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	ctclient "github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/jsonclient"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/sigstore/fulcio/pkg/ca"
	"github.com/sigstore/fulcio/pkg/ca/baseca"
	"github.com/sigstore/fulcio/pkg/config"
	gw "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"github.com/sigstore/fulcio/pkg/identity"
	"github.com/sigstore/fulcio/pkg/identity/base"
	"github.com/sigstore/fulcio/pkg/identity/ciprovider"
	"github.com/sigstore/fulcio/pkg/identity/email"
	fulciolog "github.com/sigstore/fulcio/pkg/log"
	"github.com/sigstore/fulcio/pkg/server"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// configYAML holds the issuers and templates of Fulcio's config/identity/config.yaml
// for GitHub, GitLab and people; %[1]s is the sandbox's own issuer, which stands
// in the place of https://oauth2.sigstore.dev/auth.
//
//go:embed config.yaml
var configYAML string

const (
	maxRequest = 4 << 20 // as upstream
	ctTimeout  = 10 * time.Second
)

// algorithms are the client's algorithms that upstream takes by default.
var algorithms = []protocommon.PublicKeyDetails{
	protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
	protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
	protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256,
	protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
	protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
	protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
	protocommon.PublicKeyDetails_PKIX_ED25519,
}

// quiet replaces upstream's process-wide logger, which prints, once.
var quiet = sync.OnceFunc(func() { fulciolog.Logger = zap.NewNop().Sugar() })

// Options are what Fulcio needs.
type Options struct {
	Issuer       string // URL of the sandbox's own issuer
	Verify       func(ctx context.Context, token string) (*oidc.IDToken, error)
	Intermediate *x509.Certificate
	Root         *x509.Certificate
	Key          *ecdsa.PrivateKey // of the intermediate
	CTLog        string            // URL; certificates have no SCT without
	CTKey        crypto.PublicKey
	Transport    http.RoundTripper
}

// Fulcio is a running certificate authority.
type Fulcio struct {
	http.Handler
	ca *authority
}

// New returns a Fulcio.
func New(ctx context.Context, o Options) (*Fulcio, error) {
	quiet()
	cfg := &config.FulcioConfig{}
	if err := yaml.Unmarshal(fmt.Appendf(nil, configYAML, o.Issuer), cfg); err != nil {
		return nil, err
	}
	pool := identity.IssuerPool{}
	for url, i := range cfg.OIDCIssuers {
		principal := ciprovider.WorkflowPrincipalFromIDToken
		if i.Type == config.IssuerTypeEmail {
			principal = email.PrincipalFromIDToken
		}
		pool = append(pool, issuer{base.Issuer(url), o.Verify, principal})
	}
	var ct *ctclient.LogClient
	if o.CTLog != "" {
		der, err := x509.MarshalPKIXPublicKey(o.CTKey)
		if err != nil {
			return nil, err
		}
		ct, err = ctclient.New(o.CTLog, &http.Client{Transport: o.Transport, Timeout: ctTimeout},
			jsonclient.Options{PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))})
		if err != nil {
			return nil, err
		}
	}
	registry, err := signature.NewAlgorithmRegistryConfig(algorithms)
	if err != nil {
		return nil, err
	}
	f := &Fulcio{ca: &authority{BaseCA: baseca.BaseCA{SignerWithChain: &ca.SignerCerts{Certs: []*x509.Certificate{o.Intermediate, o.Root}, Signer: o.Key}}}}
	gateway := runtime.NewServeMux(
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD {
			return metadata.Pairs(server.MetadataOIDCTokenKey, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}),
		runtime.WithForwardResponseOption(respond))
	if err := gw.RegisterCAHandlerServer(ctx, gateway, server.NewGRPCCAServer(ct, f.ca, registry, pool)); err != nil {
		return nil, err
	}
	f.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		gateway.ServeHTTP(w, r.WithContext(config.With(r.Context(), cfg)))
	})
	return f, nil
}

// Age makes every certificate from now on look as if it had been issued that
// long ago; zero is honest.
func (f *Fulcio) Age(d time.Duration) { f.ca.age.Store(int64(d)) }

func respond(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	md, ok := runtime.ServerMetadataFromContext(ctx)
	if !ok {
		return nil
	}
	for name := range w.Header() {
		if strings.HasPrefix(name, "Grpc-") {
			w.Header().Del(name)
		}
	}
	if v := md.HeaderMD.Get(server.HTTPResponseCodeMetadataKey); len(v) > 0 {
		code, err := strconv.Atoi(v[0])
		if err != nil {
			return err
		}
		w.WriteHeader(code)
	}
	return nil
}

// issuer is upstream's issuer of one kind, but for the way in which a token's
// keys are fetched: upstream knows only the process's default transport, which
// cannot tell one stack from another and would leave this machine for the issuer
// of GitHub.
type issuer struct {
	identity.Issuer
	verify    func(ctx context.Context, token string) (*oidc.IDToken, error)
	principal func(context.Context, *oidc.IDToken) (identity.Principal, error)
}

func (i issuer) Authenticate(ctx context.Context, token string, _ ...config.InsecureOIDCConfigOption) (identity.Principal, error) {
	t, err := i.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	return i.principal(ctx, t)
}

// authority is upstream's authority with a clock that can be wrong.
type authority struct {
	baseca.BaseCA
	age atomic.Int64
}

func (a *authority) CreatePrecertificate(ctx context.Context, principal identity.Principal, key crypto.PublicKey) (*ca.CodeSigningPreCertificate, error) {
	pre, err := a.BaseCA.CreatePrecertificate(ctx, principal, key)
	age := time.Duration(a.age.Load())
	if err != nil || age == 0 {
		return pre, err
	}
	chain, signer := a.GetSignerWithChain()
	template := *pre.PreCert
	template.NotBefore, template.NotAfter = template.NotBefore.Add(-age), template.NotAfter.Add(-age)
	template.ExtraExtensions = template.Extensions
	der, err := x509.CreateCertificate(rand.Reader, &template, chain[0], key, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pre.PreCert = cert
	return pre, nil
}

// RootCertificate returns a self-signed root.
func RootCertificate(key *ecdsa.PrivateKey, notBefore time.Time) ([]byte, error) {
	t, err := authorityTemplate("sandbox-root", notBefore)
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

// IntermediateCertificate returns the certificate of the authority that issues.
func IntermediateCertificate(root *x509.Certificate, rootKey crypto.Signer, key crypto.PublicKey, notBefore time.Time) ([]byte, error) {
	t, err := authorityTemplate("sandbox-intermediate", notBefore)
	if err != nil {
		return nil, err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	t.MaxPathLenZero = true
	return x509.CreateCertificate(rand.Reader, t, root, key, rootKey)
}

func authorityTemplate(name string, notBefore time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"sandbox"}},
		NotBefore: notBefore, NotAfter: notBefore.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true,
	}, nil
}
