// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

func (a *app) bindCommand() *cobra.Command {
	o := &signOptions{}
	form := &command.Format{Allowed: []string{"text", "github"}}
	cmd := &cobra.Command{
		Use:   "bind",
		Short: "bind the committed policy to the repository, as its own workflow",
		Long: `Bind is the one step of the workflow .github/workflows/repopolicy.yml. It checks
that enough maintainers signed the policy of the last commit, signs it as the
repository, logs that in every open log, and writes the signature for a later job to push to the
branch "repopolicy". Beside it lie place proofs: the newest checkpoint of every open
log of Rekor v2, and that of its own entry, each with a time stamp, so that releases
can be told to be earlier or later also after the log has changed. It refuses before
anything is logged: without a quorum, in a workflow or event that proves nothing, and for
a private repository, whose name would become public, unless --publish-name is given. Where certificates do not prove the
default branch, as on GitLab, and that branch has got another name, it first binds again,
from the branch of today, what does not count any more: at least version 1. What is bound is handed in to the
directory that --hand-in, or else the trust root, names, before anybody else gets it.`,
		Example: "  repopolicy bind --output bound",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.bind(cmd.Context(), o)
			if form.Value == "github" {
				a.tellBound(o.version, err)
			}
			return err
		},
	}
	o.signFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	o.handIn.Kind = "FILE"
	cmd.Flags().
		Var(&o.handIn, "hand-in", "hand in to the directory that this descriptor names what is bound; it publishes the "+
			"policy")
	cmd.Flags().BoolVar(&o.publish, "publish-name", false, "publish the name of a private repository")
	cmd.Flags().BoolVar(&o.ifReady, "if-ready", false, "do nothing, and succeed, while signatures are missing")
	o.LogFlags(cmd)
	return cmd
}

func (a *app) bind(ctx context.Context, o *signOptions) error {
	if err := o.checkSignatures(); err != nil {
		return err
	}
	if err := a.CheckConfigs(&o.Signing, o.Trust()); err != nil {
		return err
	}
	if o.handIn.Given {
		var err error
		if o.handsTo, err = command.ReadDescriptor("--hand-in", o.handIn.Value); err != nil {
			return err
		}
	}
	text, err := a.headPolicy(ctx, o)
	if err != nil {
		return err
	}
	f, err := a.of(ctx, o, text)
	if err != nil {
		return err
	}
	if err := f.Answered(); err != nil {
		return err
	}
	again, err := f.Resolution.Asides(text)
	if err != nil {
		return &policy.Fault{
			Reason: policy.GenesisConflict, Text: err.Error(),
			Hint: "nothing was logged; remove the files of the wrong one from .repopolicy/signatures of both branches",
		}
	}
	if len(again) > 0 {
		return a.bindAgain(ctx, o, f, again)
	}
	v, err := a.following(ctx, o, f, text)
	if err != nil {
		return err
	}
	o.version = v
	if vs := v.Versions(); len(vs) > 0 && vs[len(vs)-1].Statement == spelling.Sum(v.statement) &&
		v.Resolution.Chain.Reason() == "" {
		a.Err.Line("version %d is bound already", vs[len(vs)-1].Number)
		if v.Root.Directory != nil && !o.handIn.Given {
			o.private = !a.public(ctx)
		}
		a.offer(ctx, o, v, nil) // what an earlier run could not
		return a.dateBound(ctx, o, v)
	}
	return a.bindNext(ctx, o, v)
}

// dateBound makes the place proofs that an earlier run could not have.
func (a *app) dateBound(ctx context.Context, o *signOptions, v *draftVersion) error {
	undated := v.undated(a)
	if len(undated) == 0 {
		return nil
	}
	s, err := a.Services(ctx, &o.Signing, o.Trust(), v.doc.Content().Repository)
	if err != nil {
		return err
	}
	d, err := a.dater(v.Root, &sigstore.Client{Services: s, Transport: a.Transport, Timeout: a.Timeout})
	if err != nil {
		return policy.Faultf(policy.TrustRootInvalid, "%s", err)
	}
	var made []bindings.File
	for _, bundle := range undated {
		if proof := d.Of(ctx, bundle); proof != nil {
			made = append(made, bindings.File{Name: bindings.PlaceName(v.doc.Content().Version, proof), Data: proof})
		}
	}
	if err := a.put(o, v, made); err != nil {
		return err
	}
	a.adviseCopy(ctx, o, made)
	return nil
}

// undated returns the bindings of the version that have no place proof and can get one.
func (v *draftVersion) undated(a *app) [][]byte {
	return bindings.Undated(v.Root.Root, v.Root.Forges, v.Files, v.statement, a.Now())
}

// bindNext binds a version that is not bound yet, if it has its quorum.
func (a *app) bindNext(ctx context.Context, o *signOptions, v *draftVersion) error {
	n := v.doc.Content().Version
	_, missing, need, err := v.signatures()
	if err != nil {
		return policy.Faultf(policy.BelowThreshold, "version %d: %s", n, err)
	}
	if need > 0 {
		lacks := fmt.Sprintf(
			"version %d needs %d more %s of %s", n, need, report.Plural(need, "signature"),
			strings.Join(missing, ", "),
		)
		if !o.ifReady {
			return &policy.Fault{
				Reason: policy.BelowThreshold, Text: lacks, Hint: "they run `repopolicy sign`, commit and push",
			}
		}
		a.Err.Line("%s; nothing is bound", lacks)
		o.version = nil
		return nil
	}
	b, err := a.binder(ctx, o, v.Found, v.doc.Content().Repository)
	if err != nil {
		return err
	}
	return b.bind(ctx, a, o, v, func(by chain.Binding) error {
		if by.Repository != v.doc.Content().Repository && !v.wasNamed(by.Repository) {
			return elsewhere(by, v.doc.Content().Repository)
		}
		return nil
	})
}

// bindAgain binds once more what does not count for the branch that it was bound from. That
// the policy of the last commit rests on it is what the default branch says by that.
func (a *app) bindAgain(ctx context.Context, o *signOptions, f *find.Found, again []bindings.Again) error {
	b, err := a.binder(ctx, o, f, f.Repository)
	if err != nil {
		return err
	}
	for _, x := range again {
		v := &draftVersion{Found: f, statement: x.Payload, dir: o.Git.Value}
		s, err := rekorbind.ParseStatement(x.Payload)
		if err != nil {
			return err
		}
		v.doc = s.Document()
		a.Err.Line(
			"version %d was bound from another branch than %s, and is bound again", x.Version, f.Snapshot.Default,
		)
		err = b.bind(ctx, a, o, v, func(by chain.Binding) error {
			if by.Repository != f.Repository {
				return elsewhere(by, f.Repository)
			}
			if by.RepositoryID != x.Number {
				return &policy.Fault{
					Reason: policy.NoAuthority,
					Text: fmt.Sprintf(
						"version %d was bound by repository number %s, and this run is of number %s", x.Version,
						x.Number, by.RepositoryID,
					),
					Hint: "nothing was logged; only that repository can bind it again: give the default branch its old name instead",
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// binder is a run of the repository's own workflow.
type binder struct {
	services sigstore.Services
	token    string
	claims   jwt.Claims
}

// binder finds out who binds, and refuses to publish the name of a private repository.
func (a *app) binder(ctx context.Context, o *signOptions, f *find.Found, repo policy.Locator) (*binder, error) {
	b := &binder{}
	var err error
	if b.services, err = a.Services(ctx, &o.Signing, o.Trust(), repo); err != nil {
		return nil, err
	}
	if b.token, err = a.Ambient(ctx, command.Audience); err != nil {
		return nil, &policy.Fault{
			Reason: policy.LoginNeeded, Text: err.Error(),
			Hint: "bind runs in the repository's workflow, in a job with `id-token: write`",
		}
	}
	if b.claims, err = jwt.Unverified(b.token); err != nil {
		return nil, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	o.private = b.claims.Visibility != "" && b.claims.Visibility != "public"
	if o.private && !o.publish {
		return nil, &policy.Fault{
			Reason: policy.Private,
			Text:   fmt.Sprintf("the repository is %s, and its name would become public", b.claims.Visibility),
			Hint:   "say --publish-name if that is meant",
		}
	}
	return b, nil
}

// bind binds one statement, if the run speaks for a repository that may.
func (b *binder) bind(
	ctx context.Context, a *app, o *signOptions, v *draftVersion, may func(chain.Binding) error,
) error {
	o.afterLog = func(made []bindings.File) { a.offer(ctx, o, v, made) }
	forges, head := v.Root.Forges, v.Snapshot.Default
	check := func(id policy.Identity) error {
		by, err := forges.Authority(id)
		if err != nil {
			return &policy.Fault{
				Reason: policy.NoAuthority, Text: "this run proves nothing about the repository: " + err.Error(),
				Hint: "nothing was logged; bind runs in .github/workflows/repopolicy.yml of the default branch, started by " +
					"repository_dispatch or schedule",
			}
		}
		if by.Ref != "" && by.Ref != head {
			return &policy.Fault{
				Reason: policy.NoAuthority,
				Text: fmt.Sprintf(
					"this run is of %s, and the default branch is %s", by.Ref, cmp.Or(head, "not known"),
				),
				Hint: "nothing was logged; bind runs in a pipeline of the default branch",
			}
		}
		return may(by)
	}
	// The certificate is public, too: what the token already rules out is not asked for.
	ids, err := command.Candidates(b.token, v.doc.Content(), "")
	if err != nil {
		return err
	}
	if ids[0].SourceRepositoryURI != "" || ids[0].Kind == policy.KindEmail {
		if err := check(ids[0]); err != nil {
			return err
		}
	}
	o.places = true
	s := signlog.Signature{
		Who:   b.claims.Subject + " " + b.claims.Issuer,
		Token: func(context.Context) (string, error) { return b.token, nil },
		// Whatever run of this repository it was, it spoke for it; but one of another
		// branch, where the certificate does not rule that out, did not.
		Mine: func(id policy.Identity) bool {
			by, err := forges.Authority(id)
			return err == nil && b.claims.RepositoryID != "" && id.SourceRepositoryID == b.claims.RepositoryID &&
				(by.Ref == "" || by.Ref == head)
		},
		Check: check,
	}
	if why := v.Resolution.Chain.Anew(spelling.Sum(v.statement)); why != "" { // what was bound is not the one to make
		s.Who, s.Mine = s.Who+" "+why, nil
	}
	return a.write(ctx, o, v, b.services, signlog.Request{Signature: s})
}

func elsewhere(by chain.Binding, repo policy.Locator) error {
	return &policy.Fault{
		Reason: policy.NoAuthority, Text: fmt.Sprintf("the workflow runs in %s, the policy is about %s", by.Repository, repo),
		Hint: "nothing was logged",
	}
}

// public reports whether the run's token says that its repository is public.
func (a *app) public(ctx context.Context) bool {
	token, err := a.Ambient(ctx, command.Audience)
	if err != nil {
		return false
	}
	claims, err := jwt.Unverified(token)
	return err == nil && claims.Visibility == "public"
}

// wasNamed reports whether the version in force is about that repository: a
// rename is bound under either name.
func (v *draftVersion) wasNamed(l policy.Locator) bool {
	vs := v.Versions()
	return len(vs) > 0 && vs[len(vs)-1].Document.Content().Repository == l
}

// tellBound tells the runner how bind ended; v is nil if nothing was to be bound.
func (a *app) tellBound(v *draftVersion, err error) {
	switch f := command.FaultOf(err); {
	case f != nil:
		a.github().Fault(f)
	case err == nil && v != nil:
		a.github().VersionBound(v.doc.Content().Version, v.doc.Digest())
	}
}
