// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// defaultPolicy is where a repository keeps its policy.
func (a *app) checkCommand() *cobra.Command {
	f := &command.Format{Allowed: []string{"text", "json", "sarif", "github"}}
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "check a policy file and point at what is wrong or weak in it",
		Long: "Check reads a policy file, by default " + command.DefaultPolicy + ", and prints every fault and\n" +
			"every piece of advice with its place. It exits 0 if the policy is valid, whatever\n" +
			"the advice, and 6 if it is not. It uses no network: which certificate authorities your\n" +
			"trust roots name it says by what is kept of them.",
		Example: "  repopolicy check\n  repopolicy check policy.toml --format json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := command.DefaultPolicy
			if len(args) == 1 {
				path = args[0]
			}
			return a.check(cmd.Context(), path, f.Value)
		},
	}
	cmd.Flags().Var(f, "format", "form of the output")
	return cmd
}

func (a *app) check(ctx context.Context, path, form string) error {
	src, err := command.ReadPolicy(path)
	if err != nil {
		return err
	}
	doc, class, err := a.checked(ctx, path, src)
	if err != nil {
		return err
	}
	switch form {
	case "json":
		err = a.Out.JSON(doc)
	case "sarif":
		err = a.Out.JSON(report.CheckSARIF(&doc))
	case "github":
		a.github().Check(&doc)
	default:
		a.Out.Check(&doc)
	}
	if err != nil {
		return err
	}
	if class != policy.ClassOK {
		return command.Decided{Class: class}
	}
	return nil
}

// checked returns the faults of a policy and the advice about it, with its class.
func (a *app) checked(ctx context.Context, path string, src []byte) (report.Check, policy.Class, error) {
	doc := report.Check{Schema: report.SchemaURL("check-v1"), File: path, Problems: []report.Problem{}}
	class := policy.ClassOK
	d, err := policy.Parse(src)
	var pe *policy.ParseError
	switch {
	case errors.As(err, &pe):
		class, doc.Reason = pe.Reason().Class(), pe.Reason()
		doc.Add("error", pe.Problems)
	case err != nil:
		return doc, class, err
	default:
		doc.Digest = d.Digest().String()
		doc.Add("warning", d.Lint(a.Now()))
		doc.Add("warning", a.unknownAuthorities(ctx, d))
		doc.AddKeys(d)
	}
	doc.Verdict, doc.Exit = class.String(), class.Exit()
	return doc, class, nil
}
