// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

func (a *app) bindCommand() *cobra.Command {
	o := &signOptions{}
	form := &format{allowed: []string{"text", "github"}}
	cmd := &cobra.Command{
		Use:   "bind",
		Short: "bind the committed policy to the repository, as its own workflow",
		Long: `Bind is the one step of the workflow .github/workflows/repopolicy.yml. It checks
that enough maintainers signed the policy of the last commit, signs it as the
repository, logs that, and writes the signature for a later job to push to the
branch "repopolicy". Beside it lie place proofs: the newest checkpoint of every open
log of Rekor v2, and that of its own entry, each with a time stamp, so that releases
can be told to be earlier or later also after the log has changed. It refuses before anything is logged: without a quorum, in a
workflow or event that proves nothing, and for a private repository, whose name
would become public, unless --publish-name is given. What is bound is handed in to the
directory that --hand-in, or else the trust root, names, before anybody else gets it.`,
		Example: "  repopolicy bind --output bound",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.bind(cmd.Context(), o)
			if form.value == "github" {
				a.githubBound(o.version, err)
			}
			return err
		},
	}
	o.signFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	o.handIn.name = "FILE"
	cmd.Flags().Var(&o.handIn, "hand-in", "hand in to the directory that this descriptor names what is bound; it publishes the policy")
	cmd.Flags().BoolVar(&o.publish, "publish-name", false, "publish the name of a private repository")
	cmd.Flags().BoolVar(&o.ifReady, "if-ready", false, "do nothing, and succeed, while signatures are missing")
	o.logFlags(cmd)
	return cmd
}

func (a *app) bind(ctx context.Context, o *signOptions) error {
	if err := o.checkSignatures(); err != nil {
		return err
	}
	if err := a.checkConfigs(o); err != nil {
		return err
	}
	if o.handIn.set {
		var err error
		if o.handsTo, err = readDescriptorOf("--hand-in", o.handIn.value); err != nil {
			return err
		}
	}
	v, err := a.committed(ctx, o)
	if err != nil {
		return err
	}
	o.version = v
	if err := v.answered(); err != nil {
		return err
	}
	if vs := v.res.Chain.Versions(); len(vs) > 0 && vs[len(vs)-1].Statement == policy.Sum(v.statement) && v.res.Chain.Reason() == "" {
		a.err.line("version %d is bound already", vs[len(vs)-1].Number)
		if v.root.Directory != nil && !o.handIn.set {
			o.private = !a.public(ctx)
		}
		a.offer(ctx, o, v, nil) // what an earlier run could not
		return nil
	}
	_, missing, need, err := v.signatures()
	if err != nil {
		return faultf(policy.BelowThreshold, "version %d: %s", v.doc.Content().Version, err)
	}
	if need > 0 && o.ifReady {
		a.err.line("version %d needs %d more %s of %s; nothing is bound", v.doc.Content().Version, need, plural(need, "signature"), strings.Join(missing, ", "))
		o.version = nil
		return nil
	}
	if need > 0 {
		return &fault{reason: policy.BelowThreshold, msg: fmt.Sprintf("version %d needs %d more %s of %s", v.doc.Content().Version, need, plural(need, "signature"), strings.Join(missing, ", ")), hint: "they run `repopolicy sign`, commit and push"}
	}
	s, err := a.services(ctx, o, v.doc.Content().Repository)
	if err != nil {
		return err
	}
	token, err := a.ambient(ctx, sigstoreAudience)
	if err != nil {
		return &fault{reason: policy.LoginNeeded, msg: err.Error(), hint: "bind runs in the repository's workflow, in a job with `id-token: write`"}
	}
	claims, err := oidc.UnverifiedClaims(token)
	if err != nil {
		return faultf(policy.LoginNeeded, "%s", err)
	}
	o.private = claims.Visibility != "" && claims.Visibility != "public"
	if o.private && !o.publish {
		return &fault{reason: policy.Private, msg: fmt.Sprintf("the repository is %s, and its name would become public", claims.Visibility), hint: "say --publish-name if that is meant"}
	}
	o.afterLog = func(made []rekorbind.File) { a.offer(ctx, o, v, made) }
	forges := v.root.Forges
	check := func(id policy.Identity) error {
		b, err := forges.Authority(id)
		if err != nil {
			return &fault{reason: policy.NoAuthority, msg: "this run proves nothing about the repository: " + err.Error(), hint: "nothing was logged; bind runs in .github/workflows/repopolicy.yml of the default branch, started by repository_dispatch or schedule"}
		}
		if b.Repository != v.doc.Content().Repository && !v.wasNamed(b.Repository) {
			return &fault{reason: policy.NoAuthority, msg: fmt.Sprintf("the workflow runs in %s, the policy is about %s", b.Repository, v.doc.Content().Repository), hint: "nothing was logged"}
		}
		return nil
	}
	// The certificate is public, too: what the token already rules out is not asked for.
	may, err := candidates(token, v.doc.Content(), "")
	if err != nil {
		return err
	}
	if may[0].SourceRepositoryURI != "" || may[0].Kind == policy.KindEmail {
		if err := check(may[0]); err != nil {
			return err
		}
	}
	o.places = true
	return a.write(ctx, o, v, s, rekorbind.Request{Signature: rekorbind.Signature{
		Who:   claims.Subject + " " + claims.Issuer,
		Token: func(context.Context) (string, error) { return token, nil },
		// Whatever run of this repository it was, it spoke for it; but one of another
		// branch, where the certificate does not rule that out, did not.
		Mine: func(id policy.Identity) bool {
			b, err := forges.Authority(id)
			return err == nil && claims.RepositoryID != "" && id.SourceRepositoryID == claims.RepositoryID && (b.Ref == "" || b.Ref == v.snapshot.Default)
		},
		Check: check,
	}})
}

// public reports whether the run's token says that its repository is public.
func (a *app) public(ctx context.Context) bool {
	token, err := a.ambient(ctx, sigstoreAudience)
	if err != nil {
		return false
	}
	claims, err := oidc.UnverifiedClaims(token)
	return err == nil && claims.Visibility == "public"
}

// wasNamed reports whether the version in force is about that repository: a
// rename is bound under either name.
func (v *draftVersion) wasNamed(l policy.Locator) bool {
	vs := v.res.Chain.Versions()
	return len(vs) > 0 && vs[len(vs)-1].Document.Content().Repository == l
}
