// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/propose/compare"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// lockOptions are the flags of lock: those of verify that say what is judged are for --unbound.
type lockOptions struct {
	verifyOptions
	out command.Once
}

func (a *app) lockCommand() *cobra.Command {
	o := &lockOptions{out: command.Once{Kind: "FILE"}}
	judged := pflag.NewFlagSet("judged", pflag.ContinueOnError)
	cmd := &cobra.Command{
		Use:   "lock -R URL -o FILE [--unbound repository --tag TAG ARTIFACT|URL...]",
		Short: "write down what was found, for machines without memory",
		Long: `Lock finds the policy of a repository and writes the digests of its versions to a
file. With --lock FILE, verify accepts only a continuation of what the file names:
no other first version and nothing older. A lock file belongs into version
control, beside what pins the project's own version. With --lock, the repository
need not be named again, and lock itself writes a file that continues the old one.

With --unbound repository, lock takes the arguments of verify and judges like it. If the
repository has no policy and everything is allowed all the same, the file names the
numbers of the repository and of its owner and the workflows that signed. With such a
file, verify --unbound repository lets nothing else pass; without --unbound the file
lets nothing pass, and a policy that is bound later judges alone and has to be of these
numbers. With --lock, the numbers of the old file are demanded, and workflows are added.`,
		Example: `  repopolicy lock -R acme/widget -o widget.lock
  repopolicy verify --lock widget.lock --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy lock -R acme/widget --lock widget.lock -o widget.lock
  repopolicy lock -R acme/widget --unbound repository --tag v1.2.3 -o widget.lock widget_1.2.3.tar.gz
  repopolicy verify --lock widget.lock --unbound repository --tag v1.2.4 widget_1.2.4.tar.gz`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.unbound.Given {
				return a.lockUnbound(cmd.Context(), o, args)
			}
			more := len(args) > 0
			judged.VisitAll(func(f *pflag.Flag) { more = more || f.Changed })
			if more {
				return &policy.Fault{
					Reason: policy.Usage, Text: "lock judges nothing: it writes down which policy is bound",
					Hint: "of a repository without a policy, --unbound repository writes down who signed what is named",
				}
			}
			return a.lock(cmd.Context(), o)
		},
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	o.judgedFlags(judged)
	cmd.Flags().AddFlagSet(judged)
	cmd.Flags().VarP(&o.out, "output", "o", "file to write")
	return cmd
}

// lock writes down the versions of the policy.
func (a *app) lock(ctx context.Context, o *lockOptions) error {
	if o.Lock.Given && !o.Repo.Given {
		l, err := o.ReadLock()
		if err != nil {
			return err
		}
		o.Repo.Value, o.Repo.Given = l.Repository, true
	}
	if !o.Repo.Given || !o.out.Given {
		return &policy.Fault{
			Reason: policy.Usage, Text: "which repository, and where to?",
			Hint: "repopolicy lock -R acme/widget -o widget.lock",
		}
	}
	if err := command.CheckOutputs(&o.out); err != nil {
		return err
	}
	f, err := a.InForce(ctx, &o.Lookup)
	if err != nil {
		return err
	}
	l := find.NewLock(f)
	before := o.before()
	if err := o.write(l); err != nil {
		return err
	}
	a.Err.Line("wrote %s: %d %s, first sha256:%s", o.out.Value, len(l.Chain), report.Plural(len(l.Chain), "version"),
		l.Chain[0])
	a.sayLocked(f, before, l)
	return nil
}

// before returns the lock file that this one comes after: that of --lock, or what lies where it is
// written; nil if there is none.
func (o *lockOptions) before() *find.Lock {
	at := o.Lock
	if !at.Given {
		at = o.out
	}
	look := command.Lookup{Lock: command.Once{Value: at.Value, Given: true}}
	l, err := look.ReadLock()
	if err != nil {
		return nil // the file is none yet, and of --lock that was said before
	}
	return l
}

// sayLocked says what a new lock file names that the one before did not.
func (a *app) sayLocked(f *find.Found, before, now *find.Lock) {
	switch {
	case before == nil:
		return
	case before.Repository != now.Repository:
		a.Err.Line("note: the file was of %s before", before.Repository)
		return
	case len(before.Chain) > len(now.Chain) || !slices.Equal(before.Chain, now.Chain[:len(before.Chain)]):
		a.Err.Line("note: the file named another history before; with --lock it would have been demanded")
		return
	case len(before.Chain) == len(now.Chain):
		a.Err.Line("  nothing has changed since the file before")
		return
	}
	versions := f.Versions()
	var old *policy.File
	if n := len(before.Chain); n > 0 {
		old = versions[n-1].Document.Content()
	}
	for _, v := range versions[len(before.Chain):] {
		a.Err.Line("  version %d is new, signed by %s", v.Number, orNobody(f.Resolution.Chain.SignedBy(v.Number)))
		for _, c := range compare.Policies(old, v.Document.Content()) {
			a.Err.Line("    %s", diffChange(c).text())
		}
		old = v.Document.Content()
	}
}

// lockUnbound judges a release of a repository without a policy as verify does, and writes down by
// whom it is if everything is allowed (SPEC 9.3).
func (a *app) lockUnbound(ctx context.Context, o *lockOptions, args []string) error {
	if !o.out.Given {
		return &policy.Fault{
			Reason: policy.Usage, Text: "where to?",
			Hint: "repopolicy lock -R acme/widget --unbound repository --tag v1.2.3 -o widget.lock FILE",
		}
	}
	if err := command.CheckOutputs(&o.out); err != nil {
		return err
	}
	older, err := o.older()
	if err != nil {
		return err
	}
	q, err := a.question(&o.verifyOptions, args)
	if err != nil {
		return err
	}
	ctx = find.On(ctx, a.Machine())
	p, err := a.judgedBy(ctx, q, args)
	if err != nil {
		return err
	}
	if p.Document() != nil {
		return boundByNow(p)
	}
	v, err := a.judge(ctx, q, p, false)
	if err != nil {
		return err
	}
	if v.Policy().Document() != nil { // it was asked for once more
		return boundByNow(v.Policy())
	}
	if err := a.conclude(ctx, q, v, false); err != nil {
		return err
	}
	return a.writeSeen(o, v, older)
}

// older reads the file of --lock, whose repository is meant where no flag names one. It is not what
// is judged by: workflows that it does not name are added.
func (o *lockOptions) older() (*find.Lock, error) {
	if !o.Lock.Given {
		return nil, nil
	}
	l, err := o.ReadLock()
	if err != nil {
		return nil, err
	}
	if l.Unbound == nil {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--lock: " + o.Lock.Value + " names a policy, which alone counts",
			Hint: "do without --unbound: repopolicy lock -R " + l.Repository + " --lock FILE -o FILE",
		}
	}
	if !o.Repo.Given {
		o.Repo.Value, o.Repo.Given = l.Repository, true
	} else if repo, err := policy.NormalizeLocator(o.Repo.Value); err == nil && repo.String() != l.Repository {
		return nil, policy.Faultf(policy.Usage, "--lock: %s is about %s", o.Lock.Value, l.Repository)
	}
	o.Lock = command.Once{Kind: o.Lock.Kind}
	return l, nil
}

// boundByNow refuses to write down that nothing is bound.
func boundByNow(p *repopolicy.Policy) error {
	return &policy.Fault{
		Reason: policy.Usage, Text: "--unbound: " + p.Repository() + " has bound a policy, which alone counts",
		Hint: "do without --unbound, and with --lock if you have a file of before: repopolicy lock -R " + p.Repository() +
			" -o FILE",
	}
}

// writeSeen writes down who signed what was allowed.
func (a *app) writeSeen(o *lockOptions, v *repopolicy.Verdict, older *find.Lock) error {
	repo, err := policy.ParseLocator(v.Policy().Repository())
	if err != nil {
		return err
	}
	var signers []policy.Identity
	for _, e := range v.Entries() {
		if e.Result == nil {
			continue // it is evidence, or harmless
		}
		ev := e.Result.Evidence
		if d := e.Result.Decision; !d.Permitted || d.Reason != policy.AllowedUnbound || ev == nil || !ev.Verified {
			return policy.Faultf(policy.Internal, "%s is not allowed as without a policy", e.Input)
		}
		signers = append(signers, ev.Signer)
	}
	l, err := find.NewUnboundLock(repo, signers, older)
	if err != nil {
		return err
	}
	if err := o.write(l); err != nil {
		return err
	}
	a.Err.Line("wrote %s: no policy is bound to %s, number %s of the owner %s", o.out.Value, repo,
		l.Unbound.RepositoryID,
		l.Unbound.OwnerID)
	for i, w := range l.Unbound.Workflows {
		text := w.Workflow
		if w.Caller != w.Workflow {
			text += ", started by " + w.Caller
		}
		if older != nil && i >= len(older.Unbound.Workflows) {
			text += ", which the old file does not name"
		}
		a.Err.Line("  workflow   %s", text)
	}
	return nil
}

// write writes the lock file.
func (o *lockOptions) write(l *find.Lock) error {
	data, err := l.Bytes()
	if err != nil {
		return err
	}
	if err := file.Write(o.out.Value, data, 0o644); err != nil {
		return command.Unwritten(err)
	}
	return nil
}
