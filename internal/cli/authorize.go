// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/token"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// authorizeMaxAge is how old what is known about the policy may be before a
// release.
const authorizeMaxAge = "24h"

// authorizeOptions are the flags of authorize.
type authorizeOptions struct {
	command.Lookup
	tokenOptions
	tag, commit, checkout, receipt, after, report command.Once
	hash                                          string // that is signed of a file, by a key

	stage     command.Format
	preflight bool
	statement bool
	format    command.Format
}

// releaseFlags are those that every verb has which authorises a release.
func (o *authorizeOptions) releaseFlags(cmd *cobra.Command) {
	o.Lookup.Flags(cmd)
	o.tokenOptions.flags(cmd)
	o.tag.Kind, o.commit.Kind, o.checkout.Kind, o.after.Kind = "TAG", "COMMIT", "DIR", "FILE"
	f := cmd.Flags()
	f.Var(&o.tag, "tag", "release under this tag; by default the one that the run is for")
	f.Var(&o.commit, "commit", "demand that the release is of this commit")
	f.Var(
		&o.checkout, "checkout",
		"compare the work tree in this directory with the commit, instead of the working directory's",
	)
	f.Var(&o.after, "after", "demand that nothing has changed since this receipt of an earlier step")
	o.RootFlags(cmd, "")
	f.Lookup("max-age").Usage = "refuse what is known from longer ago; 24h unless said otherwise"
	f.Lookup("repo").Usage = "authorise by the policy that this repository bound; by default the one that the run is in"
}

func (a *app) authorizeCommand() *cobra.Command {
	o := &authorizeOptions{}
	cmd := &cobra.Command{
		Use:   "authorize [flags] [FILE|NAME|PACKAGE-URL...]",
		Short: "ask before signing whether this run may release",
		Long: `Authorize is the first step of the job that signs. It takes the run's ID token, made
for the audience "repopolicy", verifies it with its issuer's keys, and judges the
identity that a certificate would name by the policy that the repository bound, never
by the one that is checked out. Tag and commit are those of the token; the environment
must agree with it, the repository must have the tag there, and what is checked out must
be that commit, with nothing staged and the policy as it was committed.

Files are judged by name and digest, names of files that are not there yet by name
alone, packages by their package URL (pkg:npm/...). With --preflight, earlier in the
run, what only the signing job's token will show is listed and left open. With --stage
publish, after the last approval, the approvals that the rule demands must lie beside
the files.

The exit code is 0 only if everything may be released; docs/errors.md explains the
others.`,
		Example: `  repopolicy authorize dist/*
  repopolicy authorize --preflight
  repopolicy authorize --stage publish --after receipt.json dist/*`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.authorize(cmd.Context(), o, args)
			if f := command.FaultOf(err); f != nil && o.format.Value == "github" {
				a.github().Fault(f, report.Output{Name: "authorized", Value: "false"})
			}
			return err
		},
	}
	o.releaseFlags(cmd)
	o.stage.Allowed, o.format.Allowed = []string{"sign", "publish"}, []string{"text", "json", "github"}
	o.receipt.Kind, o.report.Kind = "FILE", "FILE"
	f := cmd.Flags()
	f.Var(&o.stage, "stage", "what is about to happen")
	f.BoolVar(&o.preflight, "preflight", false, "leave open what only the job that signs can show")
	f.BoolVar(
		&o.statement, "statement", false,
		"what will be signed is a release statement that names --tag, as sign-release --statement makes it",
	)
	f.Var(&o.receipt, "receipt", "write a receipt, for --after of later steps, into this file")
	f.Var(&o.report, "report", "also write the decision as JSON into this file")
	f.Var(&o.format, "format", "form of the output")
	cmd.MarkFlagsMutuallyExclusive("preflight", "stage")
	cmd.MarkFlagsMutuallyExclusive("preflight", "receipt")
	return cmd
}

func (a *app) authorize(ctx context.Context, o *authorizeOptions, args []string) error {
	stage := policy.StageSign
	switch {
	case o.preflight:
		stage = policy.StagePreflight
	case o.stage.Value == "publish":
		stage = policy.StagePublish
	}
	if err := a.checkRelease(o, args); err != nil {
		return err
	}
	t, err := a.ownToken(ctx, &o.tokenOptions)
	if err != nil {
		return err
	}
	z, err := a.authorization(ctx, o, stage, args, func(f *find.Found) (*token.Verified, error) {
		return a.gate().Verify(ctx, t, f, oidc.Audience, "")
	}, t)
	if err != nil {
		return err
	}
	r := report.NewAuthorization(z)
	if z.Class() == policy.ClassOK {
		if err := a.useReceipts(o, z); err != nil {
			return err
		}
	}
	if err := a.printAuthorization(o, r); err != nil {
		return err
	}
	if class := z.Class(); class != policy.ClassOK {
		return command.Decided{Class: class}
	}
	return nil
}

// gate returns what decides on this machine whether a run may release.
func (a *app) gate() *gate.Gate {
	return &gate.Gate{Finder: a.Finder(), Getenv: a.Getenv, Ignored: a.ignored}
}

// authorization finds the bound policy and judges the run by it. Verify returns
// the verified token once the policy is known; t is the same, unverified.
func (a *app) authorization(
	ctx context.Context, o *authorizeOptions, stage policy.Stage, args []string,
	verify func(*find.Found) (*token.Verified, error), t *identity.Unverified,
) (*gate.Authorization, error) {
	if !o.Repo.Given {
		repo, err := gate.RepositoryOf(t)
		if err == nil && repo == "" {
			repo, err = a.cloned(ctx, cmp.Or(o.checkout.Value, "."))
		}
		if err != nil {
			return nil, err
		}
		o.Repo.Value, o.Repo.Given = repo, true
	}
	q, err := a.Query(&o.Lookup, false)
	if err != nil {
		return nil, err
	}
	g := a.gate()
	f, err := g.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	if !o.format.Document() {
		a.Warn(f)
		g.Note = func(line string) { a.Err.Line("%s", line) }
	}
	if err := f.Usable(a.Now()); err != nil {
		return nil, err
	}
	verified, err := verify(f)
	if err != nil {
		return nil, err
	}
	asked := gate.Asked{
		Stage: stage, Tag: o.tag.Value, Commit: o.commit.Value, Statement: o.statement, Hash: o.hash,
		Checkout: cmp.Or(o.checkout.Value, "."), May: !o.checkout.Given,
	}
	return g.Authorize(ctx, f, verified, asked, args)
}

// check refuses flags that cannot be meant.
func (o *authorizeOptions) check() error {
	switch {
	case o.tag.Given && !spelling.ValidTag(o.tag.Value):
		return &policy.Fault{
			Reason: policy.Usage, Text: "--tag: " + o.tag.Value + " cannot be a tag",
			Hint: "give the tag's name without refs/tags/",
		}
	case o.statement && !o.tag.Given:
		return policy.Faultf(policy.Usage, "--statement: the statement names a tag; give it with --tag")
	}
	if o.commit.Given && !release.IsCommit(o.commit.Value) {
		return policy.Faultf(policy.Usage, "--commit: not the whole id of a commit")
	}
	return nil
}

// useReceipts compares the authorisation with the receipt of an earlier step, and
// writes its own. Only what is allowed gets one.
func (a *app) useReceipts(o *authorizeOptions, z *gate.Authorization) error {
	own := z.Receipt(a.Now())
	if o.after.Given {
		data, err := o.readAfter()
		if err != nil {
			return err
		}
		before, err := identity.ParseReceipt(data, gate.ReceiptSchema)
		if err == nil {
			err = before.Covers(own, a.Now())
		}
		if err != nil {
			return gate.Refusal(fmt.Errorf("--after %s: %w", o.after.Value, err))
		}
	}
	if !o.receipt.Given {
		return nil
	}
	return writeJSON(o.receipt.Value, own)
}

func (o *authorizeOptions) readAfter() ([]byte, error) {
	data, err := file.Read(o.after.Value, identity.MaxReceiptBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--after: %s", err)
	}
	return data, nil
}

func (a *app) printAuthorization(o *authorizeOptions, r *report.Authorization) error {
	if o.report.Given {
		if err := writeJSON(o.report.Value, r); err != nil {
			return err
		}
	}
	switch o.format.Value {
	case "json":
		return a.Out.JSON(r)
	case "github":
		var more []report.Output
		if o.report.Given {
			more = append(more, report.Output{Name: "report-path", Value: o.report.Value})
		}
		a.github().Authorization(r, more...)
	default:
		a.Out.Authorization(r)
	}
	return nil
}

// github tells a step of a workflow how a run ended.
func (a *app) github() report.GitHub { return report.GitHub{Out: a.Out, Getenv: a.Getenv} }

// writeJSON writes a document into a file.
func writeJSON(path string, v any) error {
	if err := report.WriteJSON(path, v); err != nil {
		return command.Unwritten(err)
	}
	return nil
}
