// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) statusCommand() *cobra.Command {
	o := &signOptions{}
	form := &command.Format{Allowed: []string{"text", "github"}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "say who signed the committed policy, who still has to, and what is in force",
		Long: `Status compares the policy of the last commit with the one in force. With --format
github it also sets the step's output "ready": "true" if enough maintainers signed a
version that is not bound yet, or if a binding has no place proof yet.`,
		Example: "  repopolicy status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.committed(cmd.Context(), o)
			if err == nil {
				err = v.Answered()
			}
			if err != nil {
				return err
			}
			a.Warn(v.Found)
			if form.Value == "github" {
				a.github().Outputs([]report.Output{{Name: "ready", Value: strconv.FormatBool(v.ready(a))}}, "")
			}
			if p := report.SummaryOfFound(v.Found); p != nil {
				a.Out.Line("in force    version %d, expires %s, genesis %s, completeness %s", p.Version,
					p.Expires.Format(time.DateOnly), p.Genesis, p.Completeness)
				a.rootKeys(cmd.Context(), v.Found, a.Out, "key         ")
				if p.Statement == "sha256:"+spelling.Sum(v.statement) {
					a.Out.Line("committed   version %d, the same", p.Version)
					return nil
				}
			} else {
				a.Out.Line("in force    nothing")
			}
			c := v.doc.Content()
			a.Out.Line("committed   version %d, %s", c.Version, v.doc.Digest())
			by, missing, need, err := v.signatures()
			if err != nil {
				return policy.Faultf(policy.BelowThreshold, "version %d: %s", c.Version, err)
			}
			a.Out.Line("signed by   %s", orNobody(by))
			if need > 0 {
				a.Out.Line("next        %d more of %s run repopolicy sign, commit and push", need, strings.Join(missing, ", "))
			} else {
				a.Out.Line("next        push to the default branch; its workflow binds the version")
			}
			return nil
		},
	}
	o.signFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	return cmd
}

// ready reports whether the draft is a new version that enough maintainers
// signed, or one in force of which a binding has no place proof.
func (v *draftVersion) ready(a *app) bool {
	if p := report.SummaryOfFound(v.Found); p != nil && p.Statement == "sha256:"+spelling.Sum(v.statement) {
		return len(v.undated(a)) > 0
	}
	_, _, need, err := v.signatures()
	return err == nil && need == 0
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
