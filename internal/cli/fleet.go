// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what status looks at.
const (
	mostRepositories    = 1000
	maxRepositoriesFile = 1 << 20
	repositoryRequests  = 1000 // of one
	repositoryTime      = 2 * time.Minute
)

// fleetOptions say of which repositories status is asked.
type fleetOptions struct {
	repos     []string
	list, org command.Once
	token     bool
}

func (o *fleetOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.list.Kind, o.org.Kind = "FILE", "OWNER"
	f.VarP((*command.List)(&o.repos), "repo", "R",
		"say how the policy of this `REPOSITORY` stands, with no clone; may be repeated")
	f.Var(&o.list, "repositories", "of the repositories in this file, one on each line")
	f.Var(&o.org, "org",
		"of the repositories of this organisation or user on github.com that are neither archived nor forks")
	f.BoolVar(&o.token, "github-token", false, "list with the token in GITHUB_TOKEN; nobody else sees it")
}

// given reports whether repositories are named instead of a clone.
func (o *fleetOptions) given() bool { return len(o.repos) > 0 || o.list.Given || o.org.Given }

// fleet is the result of status over repositories, in the order in which they were named.
type fleet struct {
	Schema       string        `json:"schema"`
	Verdict      string        `json:"verdict"` // the worst class
	Repositories []fleetStands `json:"repositories"`
}

// fleetStands is how the policy of one repository stands.
type fleetStands struct {
	Repository string                `json:"repository"`
	Verdict    string                `json:"verdict"`          // OK, or the class of the reason
	Reason     policy.Reason         `json:"reason,omitempty"` // for which nothing can be judged by it
	Text       string                `json:"text,omitempty"`
	Policy     *report.PolicySummary `json:"policy,omitempty"`
	Days       *int                  `json:"expires_in_days,omitempty"` // from 60 days before it expires
	Warnings   []string              `json:"warnings"`
}

// repositories returns which are named, each once and as the tool writes them.
func (a *app) repositories(ctx context.Context, o *fleetOptions) ([]string, error) {
	named := slices.Clone(o.repos)
	if o.list.Given {
		data, err := file.Read(o.list.Value, maxRepositoriesFile)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "--repositories: %s", err)
		}
		for line := range strings.Lines(string(data)) {
			if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
				named = append(named, strings.TrimSpace(line))
			}
		}
	}
	var out []string
	for _, name := range named {
		l, err := policy.NormalizeLocator(name)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "%q names no repository: %s", name, err)
		}
		out = append(out, l.String())
	}
	if o.org.Given {
		s, err := a.sources(&publishedOptions{token: o.token})
		if err != nil {
			return nil, err
		}
		owned, err := fetch.Owned(ctx, o.org.Value, mostRepositories, a.netOf(s))
		if err != nil {
			return nil, &policy.Fault{
				Reason: policy.ReleaseUnreachable, Text: fmt.Sprintf("--org: %s", err),
				Hint: "list them yourself, and name the file with --repositories",
			}
		}
		for _, l := range owned {
			out = append(out, l.String())
		}
	}
	var once []string
	for _, name := range out {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	switch {
	case len(once) == 0:
		return nil, policy.Faultf(policy.Usage, "no repository is named")
	case len(once) > mostRepositories:
		return nil, policy.Faultf(policy.Usage, "at most %d repositories are looked at, and %d are named",
			mostRepositories, len(once))
	}
	return once, nil
}

// fleet says how the policies of repositories stand.
func (a *app) fleet(ctx context.Context, o *statusOptions) error {
	const what = "asking about repositories"
	if o.Git.Given || o.fetch || o.output.Given || o.format.Value == "github" {
		return policy.Faultf(policy.Usage,
			"--git, --fetch, --output and --format github are about a clone, and repositories are named")
	}
	names, err := a.repositories(ctx, &o.fleetOptions)
	if err != nil {
		return err
	}
	doc := &fleet{Schema: report.SchemaURL("fleet-v1"), Repositories: []fleetStands{}}
	worst := policy.ClassOK
	for i, name := range names {
		a.Meter().Tell(what, command.Repositories, int64(i), int64(len(names)))
		one, class := a.stands(ctx, o, name)
		if err := ctx.Err(); err != nil {
			return policy.Faultf(policy.Interrupted, "%s", context.Cause(ctx))
		}
		worst = policy.Worst(worst, class)
		doc.Repositories = append(doc.Repositories, one)
	}
	a.Meter().Done(what)
	if doc.Verdict = worst.String(); o.format.JSON() {
		err = a.Out.JSON(doc)
	} else {
		a.printFleet(doc)
	}
	if err == nil && worst != policy.ClassOK {
		err = command.Decided{Class: worst}
	}
	return err
}

// stands finds the policy of one repository, as verify would. What it does not come to in its part
// of the run is an answer about that repository alone.
func (a *app) stands(ctx context.Context, o *statusOptions, name string) (fleetStands, policy.Class) {
	ctx, cancel := command.Part(ctx, repositoryTime, repositoryRequests)
	defer cancel()
	out := fleetStands{Repository: name, Verdict: policy.ClassOK.String(), Warnings: []string{}}
	look := o.Lookup
	look.Repo = command.Once{Value: name, Given: true}
	f, err := a.Find(ctx, &look)
	if err == nil {
		out.Policy, out.Warnings = report.SummaryOfFound(f), list(f.Warnings(a.Now()))
		if c := f.Trusted().Content(); c != nil {
			if days, soon := c.ExpiresSoon(a.Now()); soon {
				out.Days = &days
			}
		}
		err = f.Usable(a.Now())
	}
	fault := command.FaultOf(err)
	if fault == nil {
		return out, policy.ClassOK
	}
	out.Verdict, out.Reason, out.Text = fault.Reason.Class().String(), fault.Reason, fault.Text
	return out, fault.Reason.Class()
}

func (a *app) printFleet(doc *fleet) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REPOSITORY\tVERDICT\tVERSION\tEXPIRES\tFIRST\tCOMPLETE\tWHY")
	for _, r := range doc.Repositories {
		version, expires, genesis, complete := "-", "-", "-", "-"
		if p := r.Policy; p != nil {
			version, expires = fmt.Sprint(p.Version), p.Expires.Format(time.DateOnly)
			genesis, complete = p.Genesis, p.Completeness
		}
		why := string(r.Reason)
		if r.Days != nil {
			why = strings.TrimSpace(why + fmt.Sprintf(" expires in %d days", *r.Days))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(r.Repository), r.Verdict, version, expires, cell(genesis),
			cell(complete), cmp.Or(why, "-"))
	}
	_ = w.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		a.Out.Line("%s", strings.TrimRight(line, " \n"))
	}
}

// cell keeps a tab out of a cell of a table.
func cell(s string) string { return strings.ReplaceAll(report.Escape(s), "\t", " ") }
