// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// question is what flags and arguments ask of verify and explain.
type question struct {
	options  *verifyOptions
	args     []string // what is judged, as it was typed
	client   *repopolicy.Client
	repo     string // whose policy is judged by; "" without one
	asOf     time.Time
	tag      string
	cooldown time.Duration
	carried  *airgap.Bundle // of --airgap; nil without
	pinned   []byte         // text of --policy; nil without
	lock     *find.Lock     // of --lock; nil without
	found    []repopolicy.FindOption
	judged   []repopolicy.VerifyOption
}

// question reads flags and arguments, and the files that they name. What is wrong with them
// is said before anybody is asked anything.
func (a *app) question(o *verifyOptions, args []string) (*question, error) {
	q := &question{options: o, args: args, repo: o.Repo.Value, tag: o.tag.Value}
	a.Quiet = o.quiet
	c, err := a.client(o)
	if err != nil {
		return nil, err
	}
	q.client = c
	if err := q.carry(); err != nil {
		return nil, err
	}
	if err := q.name(args); err != nil {
		return nil, err
	}
	if err := q.checkUnbound(); err != nil {
		return nil, err
	}
	if err := q.check(args); err != nil {
		return nil, err
	}
	if err := q.judge(a, args); err != nil {
		return nil, err
	}
	about := q.repo
	if o.policy.Given {
		if q.pinned, err = command.ReadPolicy(o.policy.Value); err != nil {
			return nil, err
		}
		doc, err := command.ParsePolicy(o.policy.Value, q.pinned)
		if err != nil {
			return nil, err
		}
		about = doc.Content().Repository.String()
		if err := q.isOf(about, args); err != nil {
			return nil, err
		}
	}
	if err := c.Check(about, q.judged...); err != nil {
		return nil, err
	}
	if q.repo != "" {
		if err := q.find(a); err != nil {
			return nil, err
		}
	}
	return q, command.CheckOutputs(&o.report)
}

// isOf refuses the URL of a release of another repository than the policy is for.
func (q *question) isOf(repo string, args []string) error {
	var of []string
	for _, arg := range args {
		if at, err := fetch.ParseAddress(arg); err == nil && fetch.IsURL(arg) &&
			!slices.Contains(of, at.Repository.String()) {
			of = append(of, at.Repository.String())
		}
	}
	if len(of) != 1 || of[0] == repo { // several are refused for that
		return nil
	}
	return policy.Faultf(
		policy.Usage, "--policy: %s is for %s, the release is of %s", q.options.policy.Value, repo, of[0],
	)
}

// client returns what asks as the flags say.
func (a *app) client(o *verifyOptions) (*repopolicy.Client, error) {
	c := &repopolicy.Client{
		HTTP: a.Transport, Clock: clock(a.Now), Agent: command.UserAgent(), Log: func(line string) { a.Err.Line("%s", line) },
		TrustedRoots: o.TrustedRoots, TrustRoot: o.TrustRoot.Value, TrustConfig: o.TrustConfig.Value,
		Require: o.Require.Value, FailOnAlarm: o.FailOnAlarm, Scan: o.Scan, Offline: o.Offline,
		SideFiles: o.sideFiles, Unbound: o.unbound.Value,
	}
	if !o.talks() { // what proves that somebody lied is never lost
		c.Log = func(line string) {
			if strings.HasPrefix(line, "evidence: ") {
				a.Err.Line("%s", line)
			}
		}
	}
	return c, nil
}

// carry reads the file of --airgap, which stands for the repository's refs, the directory, the
// trust root's metadata and evidence, but not for the question: the command line says which
// repository is meant (SPEC 19).
func (q *question) carry() error {
	o := q.options
	if !o.airgap.Given {
		return nil
	}
	data, err := file.Read(o.airgap.Value, airgap.MaxBytes)
	if err != nil {
		return policy.Faultf(policy.Usage, "--airgap: %s", err)
	}
	b, err := airgap.Parse(data)
	switch {
	case err != nil:
		return policy.Faultf(policy.Usage, "--airgap: %s: %s", o.airgap.Value, err)
	case o.policy.Given || o.Git.Given || o.From.Given:
		return policy.Faultf(policy.Usage, "--airgap carries the policy: --policy, --git and --from contradict it")
	}
	q.client.Offline, q.carried = true, b
	q.found = append(q.found, repopolicy.Carried(data))
	return q.demand(b)
}

// demand demands that the file is about the repository that the command line names: by -R,
// in the file of --lock, or by --pin, which is the digest of a statement that names it.
// Whoever can replace the file would choose it otherwise.
func (q *question) demand(b *airgap.Bundle) error {
	o := q.options
	switch {
	case o.Repo.Given:
	case o.Lock.Given:
		l, err := o.ReadLock()
		if err != nil {
			return err
		}
		q.repo = l.Repository
	case o.Pin.Given:
		q.repo = b.Repository.String()
	default:
		return &policy.Fault{
			Reason: policy.Usage, Text: "--airgap: which repository? " + o.airgap.Value + " must not choose it",
			Hint: fmt.Sprintf(
				"the file says that it is about %s; if that is the one that you mean: repopolicy verify -R %s --airgap FILE …",
				b.Repository, b.Repository,
			),
		}
	}
	repo, err := policy.NormalizeLocator(q.repo)
	switch {
	case err != nil:
		return notLocator(err)
	case repo != b.Repository:
		return &policy.Fault{
			Reason: policy.Usage,
			Text:   fmt.Sprintf("--airgap: %s is about %s, not about %s", o.airgap.Value, b.Repository, repo),
			Hint: "nothing was judged; carry a file of the repository that you mean: repopolicy export-bundle -R " +
				repo.String() + " -o FILE …",
		}
	}
	return nil
}

func notLocator(err error) *policy.Fault {
	return &policy.Fault{
		Reason: policy.Usage, Text: "--repo: " + err.Error(),
		Hint: "write it like https://github.com/acme/widget or acme/widget",
	}
}

// name finds out whose policy is meant where no flag says so: a lock file and the URL of a
// release name the repository, unless another policy or signer was named.
func (q *question) name(args []string) error {
	o := q.options
	if o.Lock.Given && q.repo == "" && !o.policy.Given {
		l, err := o.ReadLock()
		if err != nil {
			return err
		}
		q.repo = l.Repository
	}
	for _, arg := range args {
		if !fetch.IsURL(arg) {
			continue
		}
		a, err := fetch.ParseAddress(arg)
		if err != nil {
			return fetch.RefuseAddress(arg, err)
		}
		if q.tag == "" {
			q.tag = a.Tag
		}
		if q.repo == "" && !o.policy.Given && !o.identity.Given && !o.tuf.Given {
			q.repo = a.Repository.String()
		}
	}
	return nil
}

// check refuses flags that contradict each other.
func (q *question) check(args []string) error {
	o := q.options
	if err := q.checkTUF(args); err != nil {
		return err
	}
	switch {
	case o.quiet && o.verbose:
		return policy.Faultf(policy.Usage, "--quiet and --verbose contradict each other")
	case o.identity.Given != o.issuer.Given:
		return policy.Faultf(
			policy.Usage,
			"--certificate-identity and --certificate-oidc-issuer go together: the same name from another issuer is another "+
				"person",
		)
	case o.policy.Given && q.repo != "":
		return policy.Faultf(
			policy.Usage,
			"--policy and --repo contradict each other: the policy is either the one in the file or the one that the "+
				"repository bound",
		)
	case q.repo == "" && o.Lookup.Any():
		return policy.Faultf(
			policy.Usage,
			"--require, --max-age, --pin, --lock, --from, --scan, --witness-policy and --fail-on-alarm are about the policy "+
				"that --repo finds",
		)
	case !o.policy.Given && q.repo == "" && !o.identity.Given && !o.tuf.Given:
		return &policy.Fault{
			Reason: policy.Usage, Text: "nothing to judge by",
			Hint: "name the repository with --repo, a policy with --policy FILE, one signer with --certificate-identity " +
				"and --certificate-oidc-issuer, or a root of trust.toml with --tuf",
		}
	case len(args) > 0 && o.format.Value == "vsa" && !o.policy.Given && q.repo == "":
		return withoutPolicy()
	}
	if o.identity.Given {
		if _, err := q.client.Signer(o.identity.Value, o.issuer.Value); err != nil {
			return err
		}
	}
	return command.CheckFolders(&o.published.download)
}

// checkTUF refuses flags that say nothing beside --tuf: what a root lists it lists now, of no tag.
func (q *question) checkTUF(args []string) error {
	o := q.options
	no := func(format string, args ...any) error { return policy.Faultf(policy.Usage, format, args...) }
	switch {
	case !o.tuf.Given && o.target.Given:
		return no("--target is the path under which the root of --tuf lists the file")
	case !o.tuf.Given:
		return nil
	case o.policy.Given || q.repo != "" || o.identity.Given:
		return no("--tuf judges by a root alone: a policy, a repository and a signer contradict it")
	case len(o.bundles) > 0 || o.airgap.Given:
		return no("--tuf judges by a root alone: no evidence from elsewhere is looked at")
	case len(o.TrustedRoots) > 0 || o.TrustRoot.Given:
		return no("--tuf names the root: --trusted-root and --trust-root contradict it")
	case o.asOf.Given || o.cooldown.Given:
		return no("--tuf: a root says what it lists now, and not since when: --as-of and --cooldown contradict it")
	case o.tag.Given || slices.ContainsFunc(args, fetch.IsURL):
		return &policy.Fault{
			Reason: policy.Usage, Text: "--tuf: what a root lists names no tag",
			Hint: "leave out --tag; download a release's files first",
		}
	case o.target.Given && len(args) != 1:
		return no("--target is the path of one file, here are %d", len(args))
	}
	return nil
}

// checkUnbound refuses an --unbound that cannot be meant.
func (q *question) checkUnbound() error {
	o := q.options
	switch {
	case !o.unbound.Given:
		return nil
	case q.repo == "":
		return &policy.Fault{
			Reason: policy.Usage, Text: "--unbound is about the policy that --repo does not find",
			Hint: "name the repository with -R, or the release by its URL",
		}
	case o.unbound.Value != unboundRepository:
		return policy.Faultf(policy.Usage, "--unbound: write --unbound %s", unboundRepository)
	case o.format.Value == "vsa":
		return withoutPolicy()
	}
	return nil
}

// unboundRepository is the one value of --unbound.
const unboundRepository = "repository"

func withoutPolicy() *policy.Fault {
	return &policy.Fault{
		Reason: policy.Usage, Text: "--format vsa: a verification summary names the policy that was verified",
		Hint: "judge by a policy with --policy FILE",
	}
}

// judge reads the flags that say what is judged, and how.
func (q *question) judge(a *app, args []string) error {
	o, c, now := q.options, q.client, a.Now()
	q.asOf = now
	if o.asOf.Given {
		t, err := moment(o.asOf.Value)
		if err != nil {
			return &policy.Fault{
				Reason: policy.Usage, Text: "--as-of: " + err.Error(),
				Hint: "write it like 2026-11-22T00:00:00Z",
			}
		}
		if t.After(now.Add(find.Skew)) {
			return policy.Faultf(policy.Usage, "--as-of %s is in the future", o.asOf.Value)
		}
		c.AsOf, q.asOf = t, t
	}
	if o.cooldown.Given {
		d, err := time.ParseDuration(o.cooldown.Value)
		if err != nil || d <= 0 {
			return &policy.Fault{Reason: policy.Usage, Text: "--cooldown: not a duration", Hint: "write it like 72h"}
		}
		q.cooldown = d
	}
	s, err := a.sources(&o.published)
	if err != nil {
		return err
	}
	c.Sources = s
	q.judged = []repopolicy.VerifyOption{
		repopolicy.Artifact(args...), repopolicy.Tag(o.tag.Value), repopolicy.Name(o.name.Value),
		repopolicy.Bundle(o.bundles...),
		repopolicy.Worktree(
			o.Git.Value,
		), repopolicy.Cooldown(q.cooldown), repopolicy.Download(o.published.download.Value),
	}
	if o.ignoreMissing {
		q.judged = append(q.judged, repopolicy.IgnoreMissing())
	}
	return nil
}

// find reads the flags that say how the policy of the repository is found.
func (q *question) find(a *app) error {
	o, c := q.options, q.client
	checked := o.Lookup
	checked.Repo.Value, checked.Repo.Given, checked.Offline = q.repo, true, c.Offline
	checked.Carried = q.carried
	query, err := a.Query(&checked, true)
	if err != nil {
		return err
	}
	c.MaxAge, q.lock = query.MaxAge, query.Lock
	if o.Directory.Given {
		c.Directory, c.DirectoryFile = checked.Read[o.Directory.Value], o.Directory.Value
	}
	if o.Witnesses.Given {
		c.Witnesses = checked.Read[o.Witnesses.Value]
	}
	if o.Lock.Given {
		q.found = append(q.found, repopolicy.Lock(checked.Read[o.Lock.Value]))
	}
	if o.Staple.Given {
		q.found = append(q.found, repopolicy.Staple(checked.Read[o.Staple.Value]))
	}
	if o.Git.Given {
		q.found = append(q.found, repopolicy.Clone(o.Git.Value))
	}
	if o.From.Given {
		q.found = append(q.found, repopolicy.From(o.From.Value))
	}
	if o.Pin.Given {
		q.found = append(q.found, repopolicy.Pin(o.Pin.Value))
	}
	return nil
}

// policy returns what is judged by.
func (q *question) policy(ctx context.Context) (p *repopolicy.Policy, err error) {
	o := q.options
	switch {
	case o.policy.Given:
		p, err = q.client.Pinned(ctx, o.policy.Value, q.pinned)
	case q.repo != "":
		p, err = q.client.Find(ctx, q.repo, q.found...)
	case o.tuf.Given:
		return q.client.Root(ctx, o.tuf.Value, o.target.Value)
	default:
		return q.client.Signer(o.identity.Value, o.issuer.Value)
	}
	if err == nil && o.identity.Given {
		p, err = p.Only(o.identity.Value, o.issuer.Value)
	}
	return p, err
}

type clock func() time.Time

func (c clock) Now() time.Time { return c() }

// moment reads a time on the command line. What was before Unix or is beyond RFC 3339,
// which can only be a mistake, is an error.
func moment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, errors.New("not a time")
	}
	if !bounded(t) {
		return t, errors.New("only times of the years 1970 to 9999 are taken")
	}
	return t, nil
}

// publishedOptions are the flags about what is looked for in releases and
// elsewhere.
type publishedOptions struct {
	download, maxSize, forge, npm, pypi command.Once
	hosts                               []string
	token                               bool
}

const forgeUsage = "what runs at the repository's host: github, gitlab or forgejo, which is Gitea too;" +
	" known for github.com and gitlab.com"

func (o *publishedOptions) flags(f *pflag.FlagSet) {
	o.maxSize.Kind, o.forge.Kind, o.npm.Kind, o.pypi.Kind = "BYTES", "KIND", "URL", "URL"
	f.Var(&o.maxSize, "max-size", "the largest file to download, such as 500M; by default 4G")
	f.Var(&o.forge, "forge", forgeUsage)
	f.Var(&o.npm, "npm-registry", "the registry of pkg:npm packages, by default "+fetch.NPMRegistry)
	f.Var(
		&o.pypi, "pypi-index",
		"the index that is asked about wheels and, if it is given, source distributions; by default "+fetch.PyPIIndex+
			" about wheels",
	)
	f.BoolVar(
		&o.token, "github-token", false,
		"show the token in GITHUB_TOKEN to GitHub's API, which lets those it knows ask more often; nobody else sees it",
	)
	f.Var(
		(*command.List)(&o.hosts), "redirect-host",
		"let a forge or registry send downloads on to this `HOST`; may be repeated, known for github.com and the large "+
			"registries",
	)
}

// sources reads the flags that say how services are asked about what is published.
func (a *app) sources(o *publishedOptions) (s repopolicy.Sources, err error) {
	s = repopolicy.Sources{
		Forge: o.forge.Value, NPMRegistry: o.npm.Value, PyPIIndex: o.pypi.Value, RedirectHosts: o.hosts,
	}
	if o.maxSize.Given {
		if s.MaxBytes, err = command.ParseSize(o.maxSize.Value); err != nil {
			return s, policy.Faultf(policy.Usage, "--max-size: %s", err)
		}
	}
	if o.token {
		if a.Getenv != nil {
			s.GitHubToken = a.Getenv("GITHUB_TOKEN")
		}
		if s.GitHubToken == "" {
			return s, policy.Faultf(policy.Usage, "--github-token: GITHUB_TOKEN is not set")
		}
	}
	return s, nil
}

// summary is what a run judges by.
func (q *question) summary(p *repopolicy.Policy) *report.Summary {
	o, k := q.options, p.Knowledge()
	s := &report.Summary{
		AsOf: q.asOf, Roots: k.Roots, Demanded: k.Demanded, Offline: q.client.Offline, Tag: q.tag, Unknown: k.Unknown,
		Alarms:   k.Alarms,
		Identity: o.identity.Value, Issuer: o.issuer.Value, TUF: o.tuf.Value, Target: o.target.Value,
	}
	if q.cooldown != 0 {
		s.Cooldown = q.cooldown.String()
	}
	s.Policy = report.SummaryOf(p, k)
	if s.Policy == nil && p.Repository() != "" {
		s.Unbound = report.UnboundSummaryOf(p.Repository(), k)
		s.Unbound.Locked = o.Lock.Given
	}
	return s
}
