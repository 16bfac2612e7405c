// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/propose/doctor"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what doctor judges.
const (
	releasesJudged = 3
	maxReleases    = 30
	releasesTime   = 5 * time.Minute
)

type doctorOptions struct {
	command.Lookup
	published publishedOptions // of which --github-token and --forge are flags
	releases  command.Once
	format    command.Format
}

func (a *app) doctorCommand() *cobra.Command {
	o := &doctorOptions{}
	cmd := &cobra.Command{
		Use:   "doctor [-R URL]",
		Short: "say whether what the policy leans on is true today",
		Long: `Doctor looks at everything outside of a policy that it leans on: the version in force
and its expiry, the workflow that binds it, the workflows of the clone and whether they
do what the rules say, settings of the forge, and whether the policy allows the newest
releases. For what is wrong it prints one line with what to do.

The clone is that of the working directory, or of --git. Settings are read with
--github-token, whose token may only read; releases are downloaded and judged. Off-line
it does what it can. What could not be looked at is never in order: then it exits 3, and
1 if something is wrong.`,
		Example: `  repopolicy doctor
  repopolicy doctor -R acme/widget --github-token
  repopolicy doctor --offline`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), o) },
	}
	f := cmd.Flags()
	o.Flags(cmd)
	o.SourceFlags(cmd)
	o.releases.Kind, o.published.forge.Kind, o.format.Allowed = "N", "KIND", []string{"text", "json"}
	f.Var(
		&o.releases,
		"releases",
		fmt.Sprintf("judge at most this many of the newest releases (default %d)", releasesJudged),
	)
	f.Var(&o.published.forge, "forge", forgeUsage)
	f.BoolVar(
		&o.published.token,
		"github-token",
		false,
		"read settings, and ask GitHub's API, with the token in GITHUB_TOKEN; nobody else sees it",
	)
	f.Var(&o.format, "format", "form of the output")
	return cmd
}

// visit is one run of doctor.
type visit struct {
	*app
	o         *doctorOptions
	sources   repopolicy.Sources
	judged    int // releases
	repo      policy.Locator
	tree      *worktree.Tree // nil if there is no clone of the repository
	noTree    string         // why
	committed *policy.Document
	found     *find.Found // nil if no version in force can be relied upon
	facts     doctor.Case
	doc       *policy.Document // that is looked at
	out       []doctor.Finding
}

func (a *app) doctor(ctx context.Context, o *doctorOptions) error {
	v := &visit{app: a, o: o, judged: releasesJudged}
	if err := v.flags(); err != nil {
		return err
	}
	defer v.close()
	if err := v.clone(ctx); err != nil {
		return err
	}
	ctx = find.On(ctx, a.Machine())
	if err := v.inForce(ctx); err != nil {
		return err
	}
	if err := v.examine(ctx); err != nil {
		return err
	}
	v.roots(ctx)
	v.releases(ctx)
	return v.report()
}

func (v *visit) flags() (err error) {
	o := v.o
	if o.releases.Given {
		if v.judged, err = strconv.Atoi(o.releases.Value); err != nil || v.judged < 1 || v.judged > maxReleases {
			return policy.Faultf(policy.Usage, "--releases: not a number from 1 to %d", maxReleases)
		}
	}
	if v.sources, err = v.app.sources(&o.published); err != nil {
		return err
	}
	if err := checkForge(v.sources); err != nil {
		return err
	}
	if o.Repo.Given {
		if v.repo, err = policy.NormalizeLocator(o.Repo.Value); err != nil {
			return notLocator(err)
		}
	}
	return nil
}

func (v *visit) close() {
	if v.tree != nil {
		v.tree.Close()
	}
}

// clone opens the clone, if it is one of the repository, and reads the policy in it.
func (v *visit) clone(ctx context.Context) error {
	dir, err := v.o.Git.Value, error(nil)
	if !v.o.Git.Given {
		dir, err = worktree.Find(".")
	}
	if err == nil {
		err = v.open(ctx, dir)
	}
	switch {
	case err != nil && v.o.Git.Given:
		return find.GitFault(err)
	case err != nil:
		v.noTree = "the working directory is in no clone that can be read"
	}
	if !v.o.Repo.Given {
		if v.committed == nil {
			return &policy.Fault{
				Reason: policy.Usage, Text: "which repository? There is no " + bindings.PolicyFile + " here",
				Hint: "name it with -R, such as -R acme/widget",
			}
		}
		v.repo = v.committed.Content().Repository
		v.o.Repo.Value, v.o.Repo.Given = v.repo.String(), true
	}
	if v.tree != nil && v.o.Offline && !v.o.Git.Given && !v.o.From.Given {
		v.o.Git.Value, v.o.Git.Given = dir, true
	}
	return v.CheckFind(&v.o.Lookup, false)
}

// open reads a clone.
func (v *visit) open(ctx context.Context, dir string) error {
	repo, err := git.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer repo.Close()
	tree, err := worktree.Open(dir)
	if err != nil {
		return err
	}
	text, err := tree.Read(bindings.PolicyFile, spelling.MaxPolicyBytes)
	if err == nil && text != nil {
		v.committed, err = command.ParsePolicy(bindings.PolicyFile, text)
	}
	var of policy.Locator
	if err == nil && v.committed != nil {
		of = v.committed.Content().Repository
	} else if err == nil {
		remotes, _ := repo.Remotes()
		of, _ = policy.NormalizeLocator(withoutUser(remotes["origin"]))
	}
	if err != nil || v.o.Repo.Given && of != v.repo {
		tree.Close()
		v.committed, v.noTree = nil, "the clone is of another repository"
		return err
	}
	v.tree, v.facts.Files = tree, tree
	if v.facts.Tags, err = repo.Tags(); err != nil {
		return err
	}
	snapshot, err := repo.Local()
	if err == nil {
		v.facts.Branch = strings.TrimPrefix(snapshot.Default, "refs/heads/")
	}
	return err
}

// inForce finds the version in force. Without one that can be relied upon, the policy of the
// clone is looked at.
func (v *visit) inForce(ctx context.Context) error {
	v.o.BranchOf = v.pipelineBranch
	f, err := v.Find(ctx, &v.o.Lookup)
	if err == nil {
		v.Warn(f)
		err = f.Usable(v.Now())
	}
	version := doctor.Finding{Check: doctor.Version}
	var fault *policy.Fault
	switch {
	case err == nil:
		v.found, v.doc = f, f.Head().Document
		version.Text = fmt.Sprintf("version %d is in force", f.Head().Number)
	case v.committed == nil || !errors.As(err, &fault) || fault.Reason.Class() == policy.ClassUsage:
		return err
	default:
		v.doc = v.committed
		version.Reason, version.Text = fault.Reason, "which version is in force: "+fault.Text
		version.Do = cmp.Or(fault.Hint, fault.Reason.Hint())
	}
	if v.found != nil && v.committed != nil && v.committed.Digest() != v.doc.Digest() {
		version.Reason, version.Do = policy.DoctorDrift, "see who still has to sign it: repopolicy status"
		version.Text += fmt.Sprintf(
			", and the policy of the clone, version %d, is another",
			v.committed.Content().Version,
		)
	}
	v.out = append(v.out, version)
	return nil
}

// examine looks at everything but releases.
func (v *visit) examine(ctx context.Context) error {
	c := &v.facts
	c.File, c.Now, c.NoFiles = v.doc.Content(), v.Now(), v.noTree
	c.Program, _, _ = strings.Cut(cmp.Or(v.Version, report.Version()), "+")
	switch {
	case v.o.Offline:
		c.NoAsk = "off-line"
	case !v.o.published.token:
		c.NoAsk = "settings are read with --github-token"
	default:
		ask, err := fetch.API(v.repo, v.forge(), v.net())
		if err != nil {
			return err
		}
		c.Ask = ask
	}
	v.out = append(v.out, doctor.Examine(ctx, c)...)
	return nil
}

// roots looks at the trust roots that rules name: whether they list the keys, and can be followed.
func (v *visit) roots(ctx context.Context) {
	t := v.Finder().Targets(&find.Query{Trust: *v.o.Trust(), Offline: v.o.Offline})
	defer t.Close()
	f := v.doc.Content()
	for i := range f.Rules {
		r := &f.Rules[i]
		for _, k := range r.RootKeys {
			fact := t.Facts(ctx, []policy.RootTarget{k.From}, f)[0]
			x := doctor.RootKey(r, k.From, fact)
			x.Path = fmt.Sprintf("release[%d].keys", i)
			v.out = append(v.out, x)
		}
		if r.Target == nil {
			continue
		}
		x := doctor.Finding{Check: doctor.Roots, Subject: "rule " + r.Name, Path: fmt.Sprintf("release[%d].tuf", i)}
		if err := t.Reach(ctx, *r.Target); err != nil {
			x.Reason, x.Text = policy.DoctorUnread, "not looked at: "+err.Error()
			x.Do = "list the root as a [[root]] of trust.toml, or try again"
		} else {
			x.Path, x.Text = "", "the root "+r.Target.Root+" can be followed"
		}
		v.out = append(v.out, x)
	}
}

func (v *visit) forge() fetch.Forge { return forgeOf(v.repo, v.sources) }

func (v *visit) net() fetch.Net { return v.netOf(v.sources) }

// releases judges the newest releases since the version in force.
func (v *visit) releases(ctx context.Context) {
	add := func(subject string, why policy.Reason, do, text string) {
		v.out = append(v.out, doctor.Finding{
			Check: doctor.Releases, Subject: subject, Reason: why, Do: do, Text: text,
		})
	}
	const verify = "judge one: repopolicy verify "
	page := v.repo.String() + "/releases"
	if v.o.Offline {
		add("", policy.DoctorUnread, verify+page+"/tag/TAG", "not looked at: off-line")
		return
	}
	for _, p := range unlisted(v.doc.Content()) {
		add(
			p,
			policy.DoctorUnread,
			verify+"-R "+v.repo.String()+" "+p,
			"not looked at: what it names is not listed by the forge",
		)
	}
	list, err := fetch.Releases(ctx, v.repo, v.forge(), v.judged, v.net())
	if err != nil {
		add("", policy.DoctorUnread, verify+page+"/tag/TAG", "not looked at: "+err.Error())
		return
	}
	if v.found != nil {
		if bound := v.found.Head().Bindings; len(bound) > 0 {
			list = slices.DeleteFunc(list, func(p fetch.Published) bool { return p.Time.Before(bound[0].Time) })
		}
	}
	if len(list) == 0 {
		add("", "", "", "the forge lists none since the version in force")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releasesTime)
	defer cancel()
	p, client, err := v.judge(ctx)
	for _, listed := range list {
		r := released{at: fetch.Address{Repository: v.repo, Tag: listed.Tag}}
		if r.page = r.at.Page(v.forge()); err == nil {
			r = judgeRelease(ctx, client, p, r.at, v.forge())
		} else {
			r.fail(err)
		}
		do := ""
		if r.reason != "" {
			do = "see which rule is nearest: " + r.explain()
		}
		add("release "+listed.Tag, r.reason, do, r.text)
	}
}

// unlisted returns what rules allow that is published elsewhere than in releases of the forge.
func unlisted(f *policy.File) (out []string) {
	for i := range f.Rules {
		for _, p := range f.Rules[i].Artifacts.Patterns() {
			s := p.String()
			if host, _, ok := strings.Cut(s, "/"); ok && strings.Contains(host, ".") {
				s = "oci://" + s
			}
			if (strings.HasPrefix(s, "pkg:") || strings.HasPrefix(s, "oci://")) && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// judge returns the policy by which releases are judged, and who judges.
func (v *visit) judge(ctx context.Context) (*repopolicy.Policy, *repopolicy.Client, error) {
	o := &verifyOptions{Lookup: v.o.Lookup, quiet: true}
	c, err := v.client(o)
	if err != nil {
		return nil, nil, err
	}
	c.Sources = v.sources
	if v.found == nil {
		p, err := c.Pinned(ctx, bindings.PolicyFile, v.doc.Text())
		return p, c, err
	}
	q := &question{options: o, client: c, repo: v.repo.String(), asOf: v.Now()}
	if err := q.find(v.app); err != nil {
		return nil, nil, err
	}
	p, err := q.policy(ctx)
	return p, c, err
}

// report prints what was found.
func (v *visit) report() error {
	d := &report.Doctor{
		Schema: report.SchemaURL("doctor-v1"), Repository: v.repo.String(), Version: v.doc.Content().Version,
		Digest: v.doc.Digest().String(),
	}
	for _, f := range v.out {
		x := report.Diagnosis{
			Check: f.Check, Subject: f.Subject, Code: f.Reason, Path: f.Path, Message: f.Text, Do: f.Do,
		}
		if f.Path != "" {
			pos := v.doc.Pos(f.Path)
			x.Line, x.Column = pos.Line, pos.Column
		}
		d.Findings = append(d.Findings, x)
	}
	class := d.Judge()
	if v.o.format.JSON() {
		if err := v.Out.JSON(d); err != nil {
			return err
		}
	} else {
		v.Out.Doctor(d)
	}
	if class != policy.ClassOK {
		return command.Decided{Class: class}
	}
	return nil
}
