// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// checkSigner refuses flags with which nothing can be signed.
func (a *app) checkSigner(o *command.Signing, t *find.Trust) error {
	if !o.ByKey() {
		return a.CheckSigner(o, t)
	}
	if err := o.CheckKey(); err != nil {
		return err
	}
	_, err := keySigner(o)
	return err
}

// signer returns who the flags say signs.
func (a *app) signer(ctx context.Context, o *command.Signing, t *find.Trust) (author.Signer, error) {
	if o.ByKey() {
		return keySigner(o)
	}
	return a.identitySigner(ctx, o, t)
}

// keySigner returns the key that signs, at hand or behind a program.
func keySigner(o *command.Signing) (author.Signer, error) {
	if o.Key.Given {
		return fileSigner(o.Key.Value)
	}
	s, err := o.Signer.Signer()
	if err != nil {
		return nil, err
	}
	out, err := author.NewRemoteSigner(s.Public(), s.Sign)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--public-key: %s", err)
	}
	return out, nil
}

func fileSigner(path string) (author.Signer, error) {
	data, err := file.Read(path, command.MaxPublicKey)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--key: %s", err)
	}
	private, err := author.ParsePrivateKey(data)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--key: %s: %s", path, err)
	}
	s, err := author.NewSigner(private)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--key: %s: %s", path, err)
	}
	return s, nil
}

// identitySigner returns the signer for whoever signs in.
func (a *app) identitySigner(ctx context.Context, o *command.Signing, t *find.Trust) (author.Signer, error) {
	services, err := a.Services(ctx, o, t, policy.Locator{})
	if err != nil {
		return nil, err
	}
	roots, err := a.Finder().AnyRoots(ctx, t, trust.Options{})
	if err != nil {
		return nil, find.RootFault(err)
	}
	token, err := a.Personal(ctx, o, services)
	if err != nil {
		return nil, err
	}
	agree, err := a.consent(o, token)
	if err != nil {
		return nil, err
	}
	may, err := mayBe(o, token, services)
	if err != nil {
		return nil, err
	}
	c := &certifier{
		client: &sigstore.Client{Services: services, Transport: a.Transport, Timeout: a.Timeout},
		root:   roots[0].Root, token: token, agree: agree, now: a.Now,
	}
	return &author.IdentitySigner{May: may, Certify: c.certify}, nil
}

// consent returns what asks whoever a token is of whether that may become public. Only who is
// wanted is asked, and only once.
func (a *app) consent(o *command.Signing, token string) (func() error, error) {
	claims, err := oidc.UnverifiedClaims(token)
	if err != nil {
		return nil, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	who := cmp.Or(claims.Email, claims.Subject)
	return sync.OnceValue(func() error {
		return a.Agree(o, fmt.Sprintf(
			"%s, signed in at %s, becomes public for ever with the signature. Go on?", who, claims.Issuer))
	}), nil
}

// mayBe returns whom a certificate for the token could name, if that is who is expected.
func mayBe(o *command.Signing, token string, s sigstore.Services) ([]author.Key, error) {
	expect, err := o.Expected()
	if err != nil {
		return nil, err
	}
	ids, err := command.Candidates(token, nil, s.Issuer)
	if err == nil {
		err = expect.Check(ids)
	}
	if err != nil {
		return nil, err
	}
	var may []author.Key
	for _, id := range ids {
		if k, err := author.Identity(id.Value, id.Issuer); err == nil {
			may = append(may, k)
		}
	}
	return may, nil
}

// certifier signs as whom a token is of, with a certificate that names them.
type certifier struct {
	client *sigstore.Client
	root   *sigstore.Root
	token  string
	agree  func() error
	now    func() time.Time
}

// certify implements [author.IdentitySigner].
func (c *certifier) certify(ctx context.Context, digest [sha256.Size]byte) (
	name, issuer string, log func(context.Context) ([]byte, error), err error,
) {
	if err := c.agree(); err != nil {
		return "", "", nil, err
	}
	d, err := c.client.Draft(ctx, sigstore.Content{SHA256: digest}, c.token, nil)
	if err != nil {
		return "", "", nil, err
	}
	cert, err := d.Certificate()
	if err != nil {
		return "", "", nil, err
	}
	id, err := identity.FromCertificate(cert)
	if err != nil {
		return "", "", nil, err
	}
	return id.Value, id.Issuer, func(ctx context.Context) ([]byte, error) { return c.log(ctx, d) }, nil
}

// log logs what was signed, in Rekor v1 where there is one.
func (c *certifier) log(ctx context.Context, d *sigstore.Draft) ([]byte, error) {
	generation := 1
	if c.client.Services.RekorV1 == "" {
		generation = 2
	}
	if err := c.client.Stamp(ctx, d); err != nil {
		return nil, err
	}
	return c.client.Log(ctx, c.root, d, generation, c.now())
}
