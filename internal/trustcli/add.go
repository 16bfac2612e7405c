// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

const maxTargetFile = 8 << 20

func (a *app) addCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "add DIR PATH=FILE...",
		Short: "stage files that a trust root says",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.change(args[0], func(r *author.Repository) error {
				for _, t := range args[1:] {
					path, data, err := readTarget(t)
					if err != nil {
						return err
					}
					if err := r.Add(role, path, data); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", author.Targets, "let this `ROLE` say it")
	return cmd
}

// target reads PATH=FILE.
func readTarget(text string) (path string, data []byte, err error) {
	path, from, ok := strings.Cut(text, "=")
	if !ok {
		return "", nil, policy.Faultf(policy.Usage, "%s is not written like %s=FILE", text, trust.TrustedRootTarget)
	}
	if data, err = file.Read(from, maxTargetFile); err != nil {
		return "", nil, policy.Faultf(policy.Usage, "%s", err)
	}
	if err := trust.CheckTarget(path, data); err != nil {
		return "", nil, policy.Faultf(policy.TrustRootInvalid, "%s: %s", from, err)
	}
	return path, data, nil
}
