// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

type signOptions struct {
	command.Roots
	command.Signing
}

func (a *app) signCommand() *cobra.Command {
	o := &signOptions{}
	cmd := &cobra.Command{
		Use:   "sign DIR [--key FILE|--signer PROGRAM --public-key FILE]",
		Short: "sign what is staged of a trust root",
		Long: `Sign signs everything that is staged and waits for the key: one in a file, one that
another program has (docs/maintainer.md), or an OIDC identity, which signs in and whose
signature, certificate and log entry become part of the metadata (TAP 18).`,
		Example: `  repopolicy-trust sign foundation --key alice.pem
  repopolicy-trust sign foundation`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error { return a.sign(cmd.Context(), o, r) })
		},
	}
	signerFlags(cmd, &o.Signing)
	f := cmd.Flags()
	f.BoolVar(&o.Device, "device", false, "sign in on another device")
	o.RootFlags(cmd, "")
	return cmd
}

// signerFlags defines the flags of both verbs that sign.
func signerFlags(cmd *cobra.Command, o *command.Signing) {
	o.KeyFlags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.Var((*command.List)(&o.Configs), "signing-config",
		"sign with the services that this signing config `FILE` names; may be repeated")
	o.ExpectFlag(cmd)
}

func (a *app) sign(ctx context.Context, o *signOptions, r *author.Repository) error {
	if err := a.checkSigner(&o.Signing, o.Trust()); err != nil {
		return err
	}
	s, err := a.signer(ctx, &o.Signing, o.Trust())
	if err != nil {
		return err
	}
	roles, err := r.Sign(ctx, s)
	if err != nil {
		return signFault(err, "nothing was signed; another key or identity is waited for")
	}
	if len(roles) == 0 {
		a.Err.Line("nothing is left for this key to sign")
		return nil
	}
	a.Err.Line("signed: %s", strings.Join(roles, ", "))
	return nil
}

// signFault is the fault of signing; unwanted says what became of it if nobody waits for who
// signs.
func signFault(err error, unwanted string) error {
	var f *policy.Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, author.ErrNotWanted):
		return &policy.Fault{Reason: policy.NotMaintainer, Text: err.Error(), Hint: unwanted}
	}
	return &policy.Fault{Reason: policy.SigningFailed, Text: err.Error(), Hint: "run the command again"}
}
