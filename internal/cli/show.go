// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) showCommand() *cobra.Command {
	o := &command.Lookup{}
	cmd := &cobra.Command{
		Use:   "show -R URL",
		Short: "print the policy that a repository bound",
		Long: "Show finds the policy of a repository and prints the text of the version in force.\n" +
			"How it was found goes to standard error.",
		Example: "  repopolicy show -R acme/widget",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.found(cmd, o)
			if err != nil {
				return err
			}
			if err := f.Usable(a.Now()); err != nil {
				return err
			}
			vs := f.Versions()
			a.describe(f)
			a.rootKeys(cmd.Context(), f, a.Err, "  key        ")
			a.Out.Text(string(vs[len(vs)-1].Document.Text()))
			return nil
		},
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	return cmd
}

func (a *app) logCommand() *cobra.Command {
	o := &command.Lookup{}
	cmd := &cobra.Command{
		Use:     "log -R URL",
		Short:   "list the versions of a repository's policy and where the log has them",
		Example: "  repopolicy log -R acme/widget",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.found(cmd, o)
			if err != nil {
				return err
			}
			for _, v := range f.Versions() {
				a.Out.Line("version %d  sha256:%s", v.Number, v.Statement)
				field := func(name, format string, args ...any) { a.Out.Line("  %-11s %s", name, fmt.Sprintf(format, args...)) }
				field(
					"policy", "%s, expires %s", v.Document.Digest(),
					v.Document.Content().Expires.Format(time.DateOnly),
				)
				if v.Ids.Repository != "" {
					field("repository", "number %s, owner %s", v.Ids.Repository, v.Ids.Owner)
				}
				for _, e := range v.Bindings {
					at := ""
					if !e.Time.IsZero() {
						at = " at " + e.Time.UTC().Format(time.RFC3339)
					}
					field("bound", "log %.16s…, entry %d%s", e.Log, e.Index, at)
				}
				if v.WithoutV1 {
					field("without", "Rekor v1")
				}
				if !v.From.IsZero() {
					field("recovered", "from %s", v.From.UTC().Format(time.RFC3339))
				}
			}
			return f.Usable(a.Now())
		},
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	return cmd
}

// found resolves the policy for a verb that takes no artifacts.
func (a *app) found(cmd *cobra.Command, o *command.Lookup) (*find.Found, error) {
	if !o.Repo.Given {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "which repository?",
			Hint: "name it with -R, such as -R acme/widget",
		}
	}
	f, err := a.Find(cmd.Context(), o)
	if err != nil {
		return nil, err
	}
	a.Warn(f)
	return f, nil
}

// describe says how a policy was found.
func (a *app) describe(f *find.Found) {
	p := report.SummaryOfFound(f)
	a.Err.Line("%s, version %d, expires %s", p.Repository, p.Version, p.Expires.Format(time.DateOnly))
	a.howFound(p)
	for _, n := range f.Resolution.Chain.Remarks() {
		a.Err.Line("  note       %s", n.Text)
	}
}

// rootKeys says what became of the targets of trust roots that rules take keys from.
func (a *app) rootKeys(ctx context.Context, f *find.Found, to *report.Printer, head string) {
	a.Finder().Inform(ctx, f)
	for _, line := range f.RootKeys() {
		to.Line("%s%s", head, line)
	}
}

func (a *app) howFound(p *report.PolicySummary) {
	a.Err.Line("  policy     %s", p.Digest)
	a.Err.Line("  statement  %s", p.Statement)
	a.known(&report.UnboundSummary{
		Genesis: p.Genesis, Completeness: p.Completeness, KnownAsOf: p.KnownAsOf, InputsOf: p.InputsOf,
		Directory: p.Directory,
	})
}

// known says how a policy is known, or that there is none.
func (a *app) known(p *report.UnboundSummary) {
	at := ""
	if p.KnownAsOf != nil {
		at = ", as of " + p.KnownAsOf.Format(time.RFC3339)
	}
	if p.InputsOf != nil {
		at += ", of logs with entries of " + p.InputsOf.Format(time.RFC3339)
	}
	a.Err.Line("  genesis    %s: %s", p.Genesis, report.GenesisText(p.Genesis))
	a.Err.Line("  complete   %s: %s%s", p.Completeness, report.CompletenessText(p.Completeness), at)
	if p.Directory != "" {
		a.Err.Line("  directory  %s", p.Directory)
	}
}
