// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) rotateCommand() *cobra.Command {
	o := &keyOptions{}
	var roles []string
	cmd := &cobra.Command{
		Use:   "rotate DIR [--role ROLE... --key FILE|--identity NAME=ISSUER...]",
		Short: "give roles of a trust root other keys, or renew its root",
		Long: `Rotate stages another version of the root, which those of the version before and
those of the new one have to sign. Without --role the keys stay and the root is good for
another year.`,
		Example: `  repopolicy-trust rotate foundation
  repopolicy-trust rotate foundation --role root --key alice.pub --key carol.pub`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error {
				setups := map[string]author.Setup{}
				for _, role := range roles {
					s, err := o.setup()
					if err != nil {
						return err
					}
					setups[role] = s
				}
				if len(roles) == 0 && len(o.keyFiles)+len(o.identities) > 0 {
					return policy.Faultf(policy.Usage, "--key and --identity without --role: which role do they sign for?")
				}
				return r.Rotate(setups)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().Var((*command.List)(&roles), "role",
		"give this `ROLE` other keys: root, targets, snapshot or timestamp; may be repeated")
	return cmd
}
