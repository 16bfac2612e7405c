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
	fleetOptions
	format command.Format
	fetch  bool
}

// status is the result of status in a clone as JSON.
type status struct {
	Schema     string                `json:"schema"`
	Repository string                `json:"repository"`
	InForce    *report.PolicySummary `json:"in_force"` // null for none
	Committed  statusCommitted       `json:"committed"`
	Bound      bool                  `json:"bound"` // the one in force is the committed one
	SignedBy   []string              `json:"signed_by"`
	Missing    []string              `json:"missing"`
	Needed     int                   `json:"needed"` // signatures that are still missing
	Pushed     bool                  `json:"pushed"`
	Fetched    bool                  `json:"fetched"` // what was bound is in the clone
	RootKeys   []string              `json:"root_keys"`
	Warnings   []string              `json:"warnings"`
	Next       string                `json:"next,omitempty"`
}

// statusCommitted is the policy of the last commit.
type statusCommitted struct {
	Version   int    `json:"version"`
	Digest    string `json:"digest"`
	Statement string `json:"statement"`
}

func (a *app) statusCommand() *cobra.Command {
	o := &statusOptions{format: command.Format{Allowed: []string{"text", "json", "github"}}}
	cmd := &cobra.Command{
		Use:   "status [-R URL... | --repositories FILE | --org OWNER]",
		Short: "say who signed the committed policy, who still has to, and what is in force",
		Long: `Status compares the policy of the last commit with the one in force, as far as this
clone has what was bound; --fetch reads that from the forge. With --format github it also
sets the step's outputs "ready", "true" if enough maintainers signed a version that is not
bound yet, or if a binding has no place proof yet, and "expiry-title" and "expiry-text",
what to tell maintainers from 60 days before the policy expires.

Of repositories that are named with -R, in a file or by their owner it says in a table how
their policies stand for somebody with no clone; the exit code is the worst of all.`,
		Example: `  repopolicy status
  repopolicy status --fetch
  repopolicy status -R acme/widget -R acme/gear
  repopolicy status --org acme --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.fleetOptions.given() {
				return a.fleet(cmd.Context(), o)
			}
			return a.status(cmd.Context(), o)
		},
	}
	o.signFlags(cmd)
	o.fleetOptions.flags(cmd)
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
		o.fetch = a.Agree(&command.Signing{},
			"the branch repopolicy is not in this clone; read it from the forge?") == nil
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
	if o.format.Value == "github" {
		out := []report.Output{{Name: "ready", Value: strconv.FormatBool(v.ready(a))}}
		a.github().Outputs(append(out, expiryOutputs(v.Found, a.Now())...), "")
	}
	doc, err := a.standing(ctx, v, tips, o.fetch)
	if err != nil {
		return err
	}
	if o.format.JSON() {
		return a.Out.JSON(doc)
	}
	a.Warn(v.Found)
	a.printStatus(doc)
	return nil
}

// standing says how the committed policy stands.
func (a *app) standing(ctx context.Context, v *draftVersion, t tips, fetched bool) (*status, error) {
	a.Finder().Inform(ctx, v.Found)
	c := v.doc.Content()
	doc := &status{
		Schema: report.SchemaURL("status-v1"), Repository: c.Repository.String(),
		InForce:   report.SummaryOfFound(v.Found),
		Committed: statusCommitted{c.Version, v.doc.Digest().String(), "sha256:" + spelling.Sum(v.statement)},
		Pushed:    t.pushed, Fetched: t.bound || fetched, RootKeys: list(v.RootKeys()),
		Warnings: list(v.Warnings(a.Now())), SignedBy: []string{}, Missing: []string{},
	}
	if p := doc.InForce; p != nil && p.Statement == doc.Committed.Statement {
		doc.Bound, doc.SignedBy = true, list(v.Resolution.Chain.SignedBy(p.Version))
		return doc, nil
	}
	by, missing, need, err := v.signatures()
	if err != nil {
		return nil, policy.Faultf(policy.BelowThreshold, "version %d: %s", c.Version, err)
	}
	doc.SignedBy, doc.Missing, doc.Needed = list(by), list(missing), need
	switch {
	case need > 0:
		doc.Next = fmt.Sprintf("%d more of %s run repopolicy sign, commit and push", need, strings.Join(missing,
			", "))
	case !t.pushed:
		doc.Next = "push to the default branch; its workflow binds the version"
	case !doc.Fetched:
		doc.Next = "git fetch origin, or repopolicy status --fetch: what was bound is not in this clone"
	default:
		doc.Next = "the workflow binds the version; see its run, then git fetch, and repopolicy status"
	}
	return doc, nil
}

func (a *app) printStatus(doc *status) {
	if p := doc.InForce; p != nil {
		a.Out.Line("in force    version %d, expires %s, genesis %s, completeness %s", p.Version,
			p.Expires.Format(time.DateOnly), p.Genesis, p.Completeness)
		for _, line := range doc.RootKeys {
			a.Out.Line("key         %s", line)
		}
		if doc.Bound {
			a.Out.Line("committed   version %d, the same", p.Version)
			return
		}
	} else {
		a.Out.Line("in force    nothing")
	}
	a.Out.Line("committed   version %d, %s", doc.Committed.Version, doc.Committed.Digest)
	a.Out.Line("signed by   %s", orNobody(doc.SignedBy))
	a.Out.Line("next        %s", doc.Next)
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
