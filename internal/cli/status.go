// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// statusOptions are those of status.
type statusOptions struct {
	signOptions
	format command.Format
	fetch  bool
}

func (a *app) statusCommand() *cobra.Command {
	o := &statusOptions{format: command.Format{Allowed: []string{"text", "github"}}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "say who signed the committed policy, who still has to, and what is in force",
		Long: `Status compares the policy of the last commit with the one in force, as far as this
clone has what was bound; --fetch reads that from the forge. With --format github it also
sets the step's outputs "ready", "true" if enough maintainers signed a version that is not
bound yet, or if a binding has no place proof yet, and "expiry-title" and "expiry-text",
what to tell maintainers from 60 days before the policy expires.`,
		Example: "  repopolicy status\n  repopolicy status --fetch",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), o) },
	}
	o.signFlags(cmd)
	cmd.Flags().Var(&o.format, "format", "form of the output")
	cmd.Flags().BoolVar(&o.fetch, "fetch", false, "read what is bound from the forge, not from the clone")
	return cmd
}

func (a *app) status(ctx context.Context, o *statusOptions) error {
	text, err := a.headPolicy(ctx, &o.signOptions)
	if err != nil {
		return err
	}
	tips, err := tipsOf(ctx, o.Git.Value)
	if err != nil {
		return err
	}
	if !tips.bound && !o.fetch && a.Terminal && a.Stdin != nil {
		o.fetch = a.Agree(&command.Signing{}, "the branch repopolicy is not in this clone; read it from the forge?") == nil
	}
	dir := o.Git.Value
	if o.fetch {
		o.signOptions.Lookup.Git = command.Once{}
	}
	v, err := a.draft(ctx, &o.signOptions, text)
	if err == nil {
		err = v.Answered()
	}
	if err != nil {
		return err
	}
	v.dir = dir
	a.Warn(v.Found)
	if o.format.Value == "github" {
		out := []report.Output{{Name: "ready", Value: strconv.FormatBool(v.ready(a))}}
		a.github().Outputs(append(out, expiryOutputs(v.Found, a.Now())...), "")
	}
	if p := report.SummaryOfFound(v.Found); p != nil {
		a.Out.Line("in force    version %d, expires %s, genesis %s, completeness %s", p.Version,
			p.Expires.Format(time.DateOnly), p.Genesis, p.Completeness)
		a.rootKeys(ctx, v.Found, a.Out, "key         ")
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
	switch {
	case need > 0:
		a.Out.Line("next        %d more of %s run repopolicy sign, commit and push", need, strings.Join(missing, ", "))
	case !tips.pushed:
		a.Out.Line("next        push to the default branch; its workflow binds the version")
	case !tips.bound && !o.fetch:
		a.Out.Line("next        git fetch origin, or repopolicy status --fetch: what was bound is not in this clone")
	default:
		a.Out.Line("next        the workflow binds the version; see its run, then git fetch, and repopolicy status")
	}
	return nil
}

// tips are what a clone knows of its remote.
type tips struct {
	pushed bool // the last commit is the tip of its branch there
	bound  bool // the branch repopolicy was fetched
}

func tipsOf(ctx context.Context, dir string) (out tips, err error) {
	r, err := git.Open(ctx, dir)
	if err != nil {
		return out, find.GitFault(err)
	}
	defer r.Close()
	head, err := r.Head()
	if err != nil {
		return out, find.GitFault(err)
	}
	branch, err := r.Branch()
	if err != nil {
		return out, find.GitFault(err)
	}
	tip := func(name string) git.ID {
		id, err := r.Ref("refs/remotes/origin/" + name)
		if err != nil {
			return "" // which is as if it was never fetched
		}
		return id
	}
	return tips{pushed: branch != "" && tip(branch) == head, bound: tip("repopolicy") != ""}, nil
}

// expiryOutputs say what to tell the maintainers of a policy that expires soon; nothing of one that
// does not. Days are those at which people want to hear of it again.
func expiryOutputs(f *find.Found, now time.Time) []report.Output {
	c := f.Trusted().Content()
	if c == nil {
		return nil
	}
	days, soon := c.ExpiresSoon(now)
	if !soon {
		return nil
	}
	title := "The release policy has expired"
	if now.Before(c.Expires) {
		within := 60
		for _, n := range []int{30, 7} {
			if days < n {
				within = n
			}
		}
		title = fmt.Sprintf("The release policy expires within %d days", within)
	}
	text := fmt.Sprintf("Version %d of the policy of %s is good for what is signed until %s. What is signed after that is "+
		"denied, and after %s nothing can be verified by it any more, old releases included.\n\n"+
		"A maintainer runs, in a clone:\n\n    git pull\n    repopolicy renew\n    git commit --all --message 'renew the policy'\n"+
		"    repopolicy sign\n    git add .repopolicy\n    git commit --message 'sign the policy'\n    git push\n\n"+
		"`repopolicy status` says whose signatures are still missing. Close this issue once the next version is bound.",
		c.Version, c.Repository, spelling.Stamp(c.Expires), c.JudgesUntil().UTC().Format(time.DateOnly))
	return []report.Output{{Name: "expiry-title", Value: title}, {Name: "expiry-text", Value: text}}
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
