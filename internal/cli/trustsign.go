// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) trustSignCommand() *cobra.Command {
	o := &signOptions{}
	cmd := &cobra.Command{
		Use:   "sign DIR [--key FILE|--signer PROGRAM --public-key FILE]",
		Short: "sign what is staged of a trust root",
		Long: `Sign signs everything that is staged and waits for the key: one in a file, one that
another program has (docs/maintainer.md), or an OIDC identity, which signs in and whose
signature, certificate and log entry become part of the metadata (TAP 18).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error { return a.trustSign(cmd.Context(), o, r) })
		},
	}
	o.Key.Kind, o.Signer.Program.Kind, o.Signer.Public.Kind = "FILE", "PROGRAM", "FILE"
	f := cmd.Flags()
	f.Var(&o.Key, "key", "sign with the private key in this PEM file")
	f.Var(&o.Signer.Program, "signer", "let this program sign")
	f.StringArrayVar(&o.Signer.Args, "signer-arg", nil, "an `ARGUMENT` of the program; may be repeated")
	f.Var(&o.Signer.Public, "public-key", "the public key of --signer, PEM")
	f.BoolVar(&o.Device, "device", false, "sign in on another device")
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.StringArrayVar(&o.Configs, "signing-config", nil, "sign with the services that this signing config `FILE` names; may be repeated")
	o.ExpectFlag(cmd)
	o.RootFlags(cmd, "")
	return cmd
}

func (a *app) trustSign(ctx context.Context, o *signOptions, r *author.Repository) error {
	if err := a.checkAuthor(o); err != nil {
		return err
	}
	s, err := a.authorSigner(ctx, o)
	if err != nil {
		return err
	}
	roles, err := r.Sign(ctx, s)
	var f *policy.Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, author.ErrNotWanted):
		return &policy.Fault{
			Reason: policy.NotMaintainer, Text: err.Error(),
			Hint: "nothing was signed; another key or identity is waited for",
		}
	case err != nil:
		return &policy.Fault{Reason: policy.SigningFailed, Text: err.Error(), Hint: "run the command again"}
	}
	if len(roles) == 0 {
		a.Err.Line("nothing is left for this key to sign")
		return nil
	}
	a.Err.Line("signed: %s", strings.Join(roles, ", "))
	return nil
}

// checkAuthor refuses flags with which nothing can be signed.
func (a *app) checkAuthor(o *signOptions) error {
	switch {
	case !o.Key.Given && !o.Signer.Given():
		return a.checkSigner(o)
	case o.Key.Given && o.Signer.Given():
		return policy.Faultf(policy.Usage, "--key and --signer contradict each other")
	case o.Expect.Given:
		return policy.Faultf(policy.Usage, "--expect-identity is about who signs in, and a key signs")
	case o.Device:
		return policy.Faultf(policy.Usage, "--device is about signing in, and a key signs")
	}
	_, err := a.authorSigner(context.Background(), o)
	return err
}

// authorSigner returns who the flags say signs.
func (a *app) authorSigner(ctx context.Context, o *signOptions) (author.Signer, error) {
	switch {
	case o.Key.Given:
		return fileSigner(o.Key.Value)
	case o.Signer.Given():
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
	services, err := a.Services(ctx, o, policy.Locator{})
	if err != nil {
		return nil, err
	}
	roots, err := a.Finder().AnyRoots(ctx, o.Trust(), trust.Options{})
	if err != nil {
		return nil, find.RootFault(err)
	}
	token, err := a.Personal(ctx, o, services)
	if err != nil {
		return nil, err
	}
	claims, err := oidc.UnverifiedClaims(token)
	if err != nil {
		return nil, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	expect, err := o.Expected()
	if err != nil {
		return nil, err
	}
	ids, err := Candidates(token, nil, services.Issuer)
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
	who := claims.Email
	if who == "" {
		who = claims.Subject
	}
	// Only who is wanted is asked, and only once: the signer calls Certify for what waits
	// for one of those that the token can be certified as.
	agree := sync.OnceValue(func() error {
		return a.Agree(o, fmt.Sprintf("%s, signed in at %s, becomes public for ever with the signature. Go on?", who, claims.Issuer))
	})
	client := &sigstore.Client{Services: services, Transport: a.Transport, Timeout: a.Timeout}
	return &author.IdentitySigner{May: may, Certify: func(ctx context.Context, digest [sha256.Size]byte) (string, string, func(context.Context) ([]byte, error), error) {
		if err := agree(); err != nil {
			return "", "", nil, err
		}
		d, err := client.Draft(ctx, sigstore.Content{SHA256: digest}, token, nil)
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
		generation := 1
		if services.RekorV1 == "" {
			generation = 2
		}
		log := func(ctx context.Context) ([]byte, error) {
			if err := client.Stamp(ctx, d); err != nil {
				return nil, err
			}
			return client.Log(ctx, roots[0].Root, d, generation, a.Now())
		}
		return id.Value, id.Issuer, log, nil
	}}, nil
}

func fileSigner(path string) (author.Signer, error) {
	data, err := file.Read(path, MaxPublicKey)
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

func (a *app) trustPublishCommand() *cobra.Command {
	o := &trustOptions{}
	var keys []string
	cmd := &cobra.Command{
		Use:   "publish DIR --key FILE [--to DIR|oci:REGISTRY/NAME[:TAG]|oci-layout:DIR]",
		Short: "publish a trust root: as a directory, from a web server or from a registry",
		Long: `Publish makes what is staged and signed current, with snapshot and timestamp signed by the
key of the machine. Run without changes it renews these before they expire, so that a
scheduled job can do it. What our own client would refuse is not published. DIR/repository
is what a web server serves; --to copies it elsewhere or pushes it into a registry, one
manifest for one consistent snapshot, whose digest is printed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.trustPublish(cmd.Context(), o, args[0], keys) },
	}
	o.output.Kind = "PLACE"
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "sign snapshot and timestamp with the private key in this PEM `FILE`; may be repeated")
	f.Var(&o.output, "to", "write it here, too")
	o.RootFlags(cmd, "")
	return cmd
}

func (a *app) trustPublish(ctx context.Context, o *trustOptions, dir string, keys []string) error {
	var signers []author.Signer
	for _, path := range keys {
		s, err := fileSigner(path)
		if err != nil {
			return err
		}
		signers = append(signers, s)
	}
	if o.output.Given {
		if err := checkPlace(o.output.Value); err != nil {
			return err
		}
	}
	r, err := author.Open(dir, a.Now())
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	types := trust.Identities(ctx, string(trust.PublicGood), func(ctx context.Context, _ string) (*sigstore.Root, error) {
		roots, err := a.Finder().AnyRoots(ctx, o.Trust(), trust.Options{})
		if err != nil {
			return nil, err
		}
		return roots[0].Root, nil
	})
	err = r.Publish(ctx, signers, types)
	var incomplete *author.Incomplete
	switch {
	case errors.As(err, &incomplete):
		for _, s := range incomplete.Roles {
			a.Err.Line("%s version %d needs %d more of %s", s.Role, s.Version, s.Need, keyNames(s.Missing))
		}
		return &policy.Fault{
			Reason: policy.BelowThreshold, Text: incomplete.Error(),
			Hint: "they run `repopolicy trust sign`; the machine's own key is named with --key",
		}
	case err != nil:
		return policy.Faultf(policy.TrustRootInvalid, "%s", err)
	}
	if !o.output.Given {
		a.Err.Line("published in %s", author.Tree(dir))
		return nil
	}
	files, err := r.Files(ctx)
	if err != nil {
		return err
	}
	return a.deliver(ctx, o.output.Value, files)
}
