// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/trust"
)

func (a *app) trustAuditCommand() *cobra.Command {
	o := &trustOptions{}
	format := &command.Format{Allowed: []string{"text", "json"}}
	var json bool
	cmd := &cobra.Command{
		Use:   "audit NAME",
		Short: "print the history of a trust root: every version, who signed it, what changed",
		Long: `Audit reads a trust root from its repository, every version from the metadata that you
pin to the newest, and verifies each: it prints whose keys signed it, of the version before
and of its own, what changed, and of the other roles the current metadata, delegations and
targets. The report has nothing of this machine in it, neither time nor paths: whoever pins
the same metadata and reads the same versions gets the same bytes, also years later. Expired
metadata is part of the history; what has expired is said beside the report.`,
		Example: `  repopolicy trust audit public-good
  repopolicy trust audit foundation --format json > foundation.audit.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.trustAudit(cmd.Context(), o, args[0], json || format.JSON())
		},
	}
	o.configFlag(cmd)
	cmd.Flags().Var(format, "format", "form of the output")
	cmd.Flags().BoolVar(&json, "json", false, "the same as --format json")
	_ = cmd.Flags().MarkHidden("json")
	return cmd
}

func (a *app) trustAudit(ctx context.Context, o *trustOptions, name string, json bool) error {
	c, err := a.Finder().TrustConfig(o.Trust())
	if err != nil {
		return err
	}
	if err := isRoot(c, name); err != nil {
		return err
	}
	how := a.Finder().Named(c, trust.Options{})
	audit, err := c.Audit(ctx, name, how)
	if audit == nil {
		return find.RootFault(err)
	}
	if json {
		data, err := audit.Bytes()
		if err != nil {
			return err
		}
		a.Out.Raw(string(data))
	} else {
		a.Out.Audit(audit)
	}
	if err != nil {
		return ended(find.RootFault(err))
	}
	a.expired(audit)
	return nil
}

// ended says what to do about a history that ends too early.
func ended(err error) error {
	f := command.FaultOf(err)
	if f == nil {
		return err
	}
	out := *f
	out.Hint = "what is printed was verified until there; compare it with what another mirror has, " +
		"whose address trust.toml can name"
	return &out
}

// expired says what of a history is no longer good: no client would follow the root.
func (a *app) expired(audit *trust.Audit) {
	newest := audit.Roots[len(audit.Roots)-1]
	say := func(role string, at time.Time) {
		if !a.Now().Before(at) {
			a.Err.Line("note: the %s expired %s", role, at.Format(time.RFC3339))
		}
	}
	say("root", newest.Expires)
	for _, r := range audit.Roles {
		say(r.Role, r.Expires)
	}
}
