// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
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
	k, err := o.By(keys.OfTUF)
	if err != nil {
		return nil, err
	}
	return author.NewSigner(k)
}

func fileSigner(path string) (author.Signer, error) {
	k, err := command.ReadKey(path, keys.OfTUF)
	if err != nil {
		return nil, err
	}
	return author.NewSigner(k)
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
	journal, err := a.Finder().State(roots[0])
	if err != nil {
		return nil, err
	}
	token, err := a.Personal(ctx, o, services)
	if err != nil {
		return nil, err
	}
	claims, err := jwt.Unverified(token)
	if err != nil {
		return nil, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	may, err := mayBe(o, token, services)
	if err != nil {
		return nil, err
	}
	if services.RekorV1 != "" { // one log is enough
		services.RekorV2 = ""
	}
	l := &logger{
		writer: &signlog.Writer{
			Root: roots[0].Root, Client: &sigstore.Client{Services: services, Transport: a.Transport, Timeout: a.Timeout},
			Journal: journal, Now: a.Now, Step: a.Step,
		},
		who:   claims.Email + " " + claims.Subject + " " + claims.Issuer + " " + claims.Connector,
		token: a.consent(o, claims, token),
	}
	return &author.IdentitySigner{May: may, Log: l.log}, nil
}

// consent returns what asks whoever a token is of whether that may become public, and returns the
// token then. It is called for what waits for them alone, and asks once.
func (a *app) consent(o *command.Signing, claims jwt.Claims, token string) func(context.Context) (string, error) {
	agree := sync.OnceValue(func() error {
		return a.Agree(o, fmt.Sprintf("%s, signed in at %s, becomes public for ever with the signature. Go on?",
			cmp.Or(claims.Email, claims.Subject), claims.Issuer))
	})
	return func(context.Context) (string, error) { return token, agree() }
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

// logger signs as whom a token is of, with a certificate that names them, and logs that. What a
// run that was interrupted signed or logged is in the journal, and is not made again.
type logger struct {
	writer *signlog.Writer
	who    string // to find in the journal what they began
	token  func(context.Context) (string, error)
}

// log implements [author.IdentitySigner].
func (l *logger) log(
	ctx context.Context, digest [sha256.Size]byte, wanted func(author.Key) error,
) (bundle []byte, by author.Key, err error) {
	bundle, err = l.writer.Sign(ctx, sigstore.Content{Digest: digest[:]}, signlog.Signature{
		Who: l.who, Token: l.token,
		Check: func(id policy.Identity) error {
			k, err := author.Identity(id.Value, id.Issuer)
			if err == nil {
				err = wanted(k)
			}
			return err
		},
	})
	if err != nil {
		return nil, by, err
	}
	b, err := sigstore.ParseBundle(bundle)
	if err != nil {
		return nil, by, err
	}
	by, err = author.Identity(b.Signer().Value, b.Signer().Issuer)
	return bundle, by, err
}
