// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) lockCommand() *cobra.Command {
	o := &command.Lookup{}
	out := command.Once{Kind: "FILE"}
	cmd := &cobra.Command{
		Use:   "lock -R URL -o FILE",
		Short: "write down the policy that was found, for machines without memory",
		Long: `Lock finds the policy of a repository and writes the digests of its versions to a
file. With --lock FILE, verify accepts only a continuation of what the file names:
no other first version and nothing older. A lock file belongs into version
control, beside what pins the project's own version. With --lock, the repository
need not be named again, and lock itself writes a file that continues the old one.`,
		Example: `  repopolicy lock -R acme/widget -o widget.lock
  repopolicy verify --lock widget.lock --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy lock -R acme/widget --lock widget.lock -o widget.lock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.Repo.Given || !out.Given {
				return &policy.Fault{
					Reason: policy.Usage, Text: "which repository, and where to?",
					Hint: "repopolicy lock -R acme/widget -o widget.lock",
				}
			}
			if err := command.CheckOutputs(&out); err != nil {
				return err
			}
			f, err := a.InForce(cmd.Context(), o)
			if err != nil {
				return err
			}
			l := find.NewLock(f)
			data, err := l.Bytes()
			if err != nil {
				return err
			}
			if err := file.Write(out.Value, data, 0o644); err != nil {
				return command.Unwritten(err)
			}
			a.Err.Line("wrote %s: %d %s, first sha256:%s", out.Value, len(l.Chain), report.Plural(len(l.Chain), "version"),
				l.Chain[0])
			return nil
		},
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	cmd.Flags().VarP(&out, "output", "o", "file to write")
	return cmd
}
