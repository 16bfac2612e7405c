// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
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
	if !o.Certificate.Given {
		_, err := keySigner(o)
		return err
	}
	if _, err := certificateKey(o); err != nil {
		return err
	}
	if err := a.CheckConfigs(o, t); err != nil {
		return err
	}
	return a.CheckConsent(o)
}

// certificateKey returns the key that signs in the name of a certificate: by an algorithm that
// signs what is logged, with the hash that TAP 18 has for all metadata.
func certificateKey(o *command.Signing) (*keys.Signer, error) {
	k, err := o.By(keys.Of)
	if err == nil && k.Algorithm.HashName() != "sha256" {
		err = &policy.Fault{
			Reason: policy.Usage,
			Text:   "a certificate for a key " + k.Algorithm.Key + " signs no metadata of TUF, which is over a SHA-256",
			Hint:   "take a certificate for a key on P-256, or of RSA",
		}
	}
	return k, err
}

// signer returns who the flags say signs.
func (a *app) signer(ctx context.Context, o *command.Signing, t *find.Trust) (author.Signer, error) {
	if o.ByKey() && !o.Certificate.Given {
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
	l := &logger{writer: &signlog.Writer{Root: roots[0].Root, Journal: journal, Now: a.Now, Step: a.Step}}
	may, err := a.whoLogs(ctx, o, services, l)
	if err != nil {
		return nil, err
	}
	if services.RekorV1 != "" { // one log is enough
		services.RekorV2 = ""
	}
	l.writer.Client = &sigstore.Client{Services: services, Transport: a.Transport, Timeout: a.Timeout}
	return &author.IdentitySigner{May: may, Log: l.log}, nil
}

// whoLogs finds out as whom the logger signs: as whoever signs in, or in the name of a certificate.
func (a *app) whoLogs(
	ctx context.Context, o *command.Signing, services sigstore.Services, l *logger,
) ([]author.Key, error) {
	if o.Certificate.Given {
		return a.certified(o, l)
	}
	token, err := a.Personal(ctx, o, services)
	if err != nil {
		return nil, err
	}
	claims, err := jwt.Unverified(token)
	if err != nil {
		return nil, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	l.by.Who = claims.Email + " " + claims.Subject + " " + claims.Issuer + " " + claims.Connector
	l.by.Token = a.consent(o, claims, token)
	return mayBe(o, token, services)
}

// certified has the logger sign in the name of a certificate, if what it signs now counts.
func (a *app) certified(o *command.Signing, l *logger) ([]author.Key, error) {
	k, err := certificateKey(o)
	if err != nil {
		return nil, err
	}
	id, err := l.writer.Root.Certified(k.Certificate, a.Now())
	if err != nil {
		var refused *sigstore.Error
		if errors.As(err, &refused) {
			err = &policy.Fault{Reason: refused.Reason, Text: "--certificate: " + err.Error(), Hint: "nothing was signed"}
		}
		return nil, err
	}
	l.by.Who, l.by.Key = "certificate "+spelling.Sum(k.Certificate), k
	l.agree = sync.OnceValue(func() error {
		return a.Agree(o, fmt.Sprintf("%s, certified by %s, becomes public for ever with the signature. Go on?",
			id.Value, id.Issuer))
	})
	key, err := author.Identity(id.Value, id.Issuer)
	return []author.Key{key}, err
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

// logger signs as whom a token is of, or a certificate, which names them, and logs that. What a
// run that was interrupted signed or logged is in the journal, and is not made again.
type logger struct {
	writer *signlog.Writer
	by     signlog.Signature // without Check
	agree  func() error      // asks whether the name in a certificate may become public; nil without one
}

// log implements [author.IdentitySigner].
func (l *logger) log(
	ctx context.Context, digest [sha256.Size]byte, wanted func(author.Key) error,
) (bundle []byte, by author.Key, err error) {
	signature := l.by
	signature.Check = func(id policy.Identity) error {
		k, err := author.Identity(id.Value, id.Issuer)
		if err == nil {
			err = wanted(k)
		}
		if err == nil && l.agree != nil {
			err = l.agree()
		}
		return err
	}
	bundle, err = l.writer.Sign(ctx, sigstore.Content{Digest: digest[:]}, signature)
	if err != nil {
		return nil, by, err
	}
	b, err := sigstore.ParseBundle(bundle)
	if err != nil {
		return nil, by, err
	}
	id := b.SignerUnder(l.writer.Root)
	by, err = author.Identity(id.Value, id.Issuer)
	return bundle, by, err
}
