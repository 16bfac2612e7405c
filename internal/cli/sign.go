// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

func (a *app) signCommand() *cobra.Command {
	o := &signOptions{}
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "sign the committed policy as one of its maintainers",
		Long: `Sign makes a maintainer's signature under the policy of the last commit, logs it in
every log of the Sigstore instance and writes it into .repopolicy/signatures. It asks
for a sign-in in the browser, takes the token that the environment offers
(SIGSTORE_ID_TOKEN), or uses a key, or a program that has it. The signer's e-mail
address becomes public for ever; before it is sent anywhere it is compared with
--expect-identity and with the members of this version and the one before. A run
that was interrupted is repeated: nothing is signed or logged twice.`,
		Example: "  repopolicy sign",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.sign(cmd.Context(), o) },
	}
	o.signFlags(cmd)
	o.KeyFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.Device, "device", false, "sign in with a code that is typed into a browser elsewhere")
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask whether name and address may become public")
	o.ExpectFlag(cmd)
	o.LogFlags(cmd)
	return cmd
}

func (a *app) sign(ctx context.Context, o *signOptions) error {
	if err := a.checkSigner(o); err != nil {
		return err
	}
	if err := o.checkSignatures(); err != nil {
		return err
	}
	v, err := a.committed(ctx, o)
	if err != nil {
		return err
	}
	if err := v.Answered(); err != nil {
		return err
	}
	s, err := a.Services(ctx, &o.Signing, o.Trust(), v.doc.Content().Repository)
	if err != nil {
		return err
	}
	content := v.doc.Content()
	a.Err.Line("signing version %d of the policy of %s", content.Version, content.Repository)
	a.Err.Line("  policy     %s", v.doc.Digest())
	a.Err.Line("  statement  sha256:%s", spelling.Sum(v.statement))
	r := signlog.Request{}
	if r.Key, err = o.By(keys.Of); err != nil {
		return err
	}
	if r.Key != nil {
		id, err := a.keyHolder(&v.Root, r.Key)
		if err == nil {
			err = v.member(id) // before a token is touched
		}
		if err == nil && id.Kind != policy.KindKey {
			err = a.agreeToName(&o.Signing, id)
		}
		if err != nil {
			return err
		}
		r.Who, r.Check = whoSigns(r.Key), v.member
		return a.write(ctx, o, v, s, r)
	}
	token, err := a.Personal(ctx, &o.Signing, s)
	if err != nil {
		return err
	}
	return a.signAs(ctx, o, v, s, token)
}

// signAs signs the draft as the person to whom the token belongs.
func (a *app) signAs(ctx context.Context, o *signOptions, v *draftVersion, s sigstore.Services, token string) error {
	r, err := a.requestAs(o, v, s, token)
	if err != nil {
		return err
	}
	return a.write(ctx, o, v, s, r)
}

// requestAs checks that the person to whom the token belongs may sign the draft, and
// asks whether that may become public.
func (a *app) requestAs(o *signOptions, v *draftVersion, s sigstore.Services, token string) (signlog.Request, error) {
	r := signlog.Request{}
	claims, err := jwt.Unverified(token)
	if err != nil {
		return r, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	expect, err := o.Expected()
	if err != nil {
		return r, err
	}
	may, err := command.Candidates(token, v.doc.Content(), s.Issuer)
	if err == nil {
		err = expect.Check(may)
	}
	if err == nil && !slices.ContainsFunc(may, func(id policy.Identity) bool { return v.member(id) == nil }) {
		err = v.member(may[0])
	}
	if err != nil {
		return r, err
	}
	who := claims.Email
	if who == "" {
		who = claims.Subject
	}
	err = a.Agree(
		&o.Signing,
		fmt.Sprintf("%s, signed in at %s, becomes public for ever with the signature. Go on?", who, claims.Issuer),
	)
	if err != nil {
		return r, err
	}
	r.Who = who + " " + claims.Issuer + " " + claims.Connector
	r.Mine = func(id policy.Identity) bool {
		return id.Kind == policy.KindEmail && id.Value == claims.Email &&
			slices.Contains([]string{claims.Issuer, claims.Connector}, id.Issuer)
	}
	r.Token = func(context.Context) (string, error) { return token, nil }
	r.Check = v.member
	return r, nil
}

// member returns why an identity cannot sign the draft, before that is public.
func (v *draftVersion) member(id policy.Identity) error {
	if v.doc.Content().Maintainers.Names(id) || v.beforeNames(id) {
		return nil
	}
	who := id.Value + " by " + id.Issuer
	if id.Kind == policy.KindKey {
		who = "the key sha256:" + id.Value
	}
	return &policy.Fault{
		Reason: policy.NotMaintainer, Text: who + " is no maintainer in this version or the one before",
		Hint: "nothing was logged; sign in as a member, or add this identity to the policy",
	}
}

// beforeNames reports whether the version that the draft follows, or the one in force,
// names the identity as a maintainer.
func (v *draftVersion) beforeNames(id policy.Identity) bool {
	vs, n := v.Versions(), v.doc.Content().Version
	return slices.ContainsFunc(vs, func(x chain.Version) bool {
		return (x.Number == n-1 || x.Number == len(vs)) && x.Document.Content().Maintainers.Names(id)
	})
}
