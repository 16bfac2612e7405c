// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// run judges under one trusted root, or under several files each alone.
type run struct {
	judge *release.Judge
	sum   *summary
}

// runs turns the flags into what has to judge, of which at least k have to allow. With
// the user's map it is one run for each root of the repository's scope.
func (a *app) runs(ctx context.Context, o *verifyOptions) (k int, runs []run, err error) {
	repo, err := o.subject()
	if err != nil {
		return 0, nil, err
	}
	var scopes []trust.Scope
	var c *trust.Config
	if !repo.IsZero() {
		if scopes, c, err = a.finder().Scopes(o.trust(), repo); err != nil {
			return 0, nil, err
		}
	}
	if len(scopes) == 0 {
		j, sum, err := a.judge(ctx, o, func(ctx context.Context) ([]trust.Root, error) {
			return a.finder().AnyRoots(ctx, o.trust(), trust.Options{Offline: o.offline})
		})
		return 1, []run{{j, sum}}, err
	}
	for _, s := range scopes {
		var unknown bool
		switch runs, unknown, err = a.scopeRuns(ctx, o, c, s); {
		case !s.Continue || !unknown:
			return s.Threshold, runs, err
		case (o.offline || o.staple.set) && !o.maxAge.set: // whoever has an old answer would choose the root
			return 0, nil, &policy.Fault{Reason: policy.NoBinding, Text: err.Error(), Hint: "the next scope is not asked on account of an answer of any age: name the root with --trust-root, or give --max-age"}
		}
		a.err.line("note: under %s: %s", strings.Join(s.Roots, ", "), err)
	}
	return 0, nil, err
}

// subject returns the repository whose policy is judged by; zero without one.
func (o *verifyOptions) subject() (policy.Locator, error) {
	switch {
	case o.repo.set:
		repo, err := policy.NormalizeLocator(o.repo.value)
		if err != nil {
			return repo, &policy.Fault{Reason: policy.Usage, Text: "--repo: " + err.Error(), Hint: "write it like https://github.com/acme/widget or acme/widget"}
		}
		return repo, nil
	case o.policy.set:
		doc, err := o.document()
		if err != nil {
			return policy.Locator{}, err
		}
		return doc.Content().Repository, nil
	}
	return policy.Locator{}, nil
}

// scopeRuns returns a run for each root of a scope. A root that gives none counts as
// one that does not allow; of several such the worst is the error, and that there is no
// policy only if nothing else is wrong. Unknown says that none of the roots knows one: a
// root that gave no answer might, and dropping its answer must not leave the scope.
func (a *app) scopeRuns(ctx context.Context, o *verifyOptions, c *trust.Config, s trust.Scope) (out []run, unknown bool, err error) {
	var failed []error
	class := func(err error) policy.Class {
		if f := faultOf(err); f != nil {
			return f.Reason.Class()
		}
		return policy.ClassUnset
	}
	for _, name := range s.Roots {
		r, err := a.rootRun(ctx, o, c, name)
		switch {
		case err == nil:
			out = append(out, r)
			continue
		case class(err) == policy.ClassUnset:
			return nil, false, err
		case len(s.Roots) > 1:
			a.err.line("note: under %s: %s", name, err)
		}
		failed = append(failed, err)
	}
	if len(out) < s.Threshold {
		silent := func(err error) bool { return class(err) == policy.ClassNoPolicy }
		others := slices.DeleteFunc(slices.Clone(failed), silent)
		if len(others) == 0 {
			return nil, len(out) == 0, failed[0]
		}
		return nil, false, slices.MaxFunc(others, func(a, b error) int { return cmp.Compare(class(a), class(b)) })
	}
	if len(s.Roots) > 1 {
		for _, r := range out {
			r.sum.Roots, r.sum.Demanded = s.Roots, s.Threshold
		}
	}
	return out, false, nil
}

func (a *app) rootRun(ctx context.Context, o *verifyOptions, c *trust.Config, name string) (run, error) {
	under := *o
	var root *trust.Root
	under.open = func(ctx context.Context) (trust.Root, error) {
		if root == nil {
			q, err := o.query()
			if err != nil {
				return trust.Root{}, err
			}
			r, err := a.finder().OpenRoot(ctx, c, name, q)
			if err != nil {
				return trust.Root{}, err
			}
			root = &r
		}
		return *root, nil
	}
	j, sum, err := a.judge(ctx, &under, func(ctx context.Context) ([]trust.Root, error) {
		r, err := under.open(ctx)
		return []trust.Root{r}, err
	})
	if err == nil {
		sum.Roots = []string{name}
	}
	return run{j, sum}, err
}

// take lets every run judge the inputs, joins what they make of each, and accounts
// for all of them.
func (a *app) take(ctx context.Context, o *verifyOptions, k int, runs []run, inputs []*release.Input) *account.Account {
	r := account.Run{
		Inputs: inputs,
		Judge: func(ctx context.Context, artifacts []*release.Artifact) []*release.Result {
			var all [][]*release.Result
			for _, r := range runs {
				stop := a.progress(r.judge, len(artifacts), o.quiet)
				all = append(all, r.judge.Run(ctx, artifacts))
				stop()
			}
			return release.Quorum(k, all)
		},
		Lines: runs[0].judge.Lines,
		Dates: func(ctx context.Context, in *release.Input) bool {
			return slices.ContainsFunc(runs, func(r run) bool { return r.judge.Dates(ctx, in) })
		},
	}
	for _, path := range slices.Concat(o.bundles, o.evidence) {
		r.Named = append(r.Named, release.NamedEvidence(ctx, path))
	}
	for _, x := range runs {
		r.Keys = append(r.Keys, x.judge.Keys...)
	}
	return account.Take(ctx, r)
}

// plainRoots adapts what opens roots to what a judge wants of them.
func plainRoots(open func(context.Context) ([]trust.Root, error)) func(context.Context) ([]*sigstore.Root, error) {
	return func(ctx context.Context) ([]*sigstore.Root, error) {
		roots, err := open(ctx)
		return trust.Plain(roots), err
	}
}
