// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/trust/author"
)

func (a *app) removeCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "remove DIR PATH...",
		Short: "stage that a trust root does not say files any more",
		Long: `Remove stages that a role does not list targets any more: what it listed by TUF is
denied from then on, and a key is withdrawn, so that it counts under a rule only for what was
signed before the until of that rule.`,
		Example: `  repopolicy-trust remove foundation artifact.pub
  repopolicy-trust remove foundation --role widget widget/v1.2.3/widget.tar.gz`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error {
				for _, path := range args[1:] {
					if err := r.Remove(role, path); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", author.Targets, "let this `ROLE` not say it any more")
	return cmd
}
