// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	maxSuggestion = 1 << 20 // of a file that only suggests something
	defaultExpiry = "1y"
)

type initOptions struct {
	signOptions
	email, issuer, maintainers, name, workflow, environment command.Once
	expires, recovery, branch, program, since               command.Once
	keyTarget, keyURL                                       command.Once
	published                                               publishedOptions // of which two are flags
	tags, artifacts                                         []string
	noSign, noIssue                                         bool
}

func (a *app) initCommand() *cobra.Command {
	o := &initOptions{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "write a first policy for a repository and the workflow that binds it",
		Long: `Init looks at the repository in the working directory: what its workflows run, its
manifests and tags. It says what it finds and what follows from it, shows the policy that
it proposes, and writes .repopolicy/policy.toml, the workflow that binds it and a line of
.gitattributes. It overwrites nothing: what is there already stays.

A rule is proposed for each job that leaves evidence of a release by its identity. What the
clone does not say is marked as a guess, or asked together with the flag that answers it. Where
no job releases, nothing is written.

The last releases are then judged by the proposal, as verify would, and init says which of them
it allows and why not the others. It takes a minute at most; --offline leaves it out. What
the releases suggest stands in the policy as comments: since, names of files, digests to adopt, a
former name, approvals.

The first maintainer is who signs in, on a terminal or with the token that the
environment offers; init then also makes the first signature, so that one commit
and one push are left. It asks before it writes anything, and a run that was
interrupted on the same day is repeated. --email and --issuer name somebody without a sign-in;
"--maintainers repository" names nobody: the repository's own workflow is then the
only maintainer, and every verdict says so.

At the end init says which settings of the forge the policy leans on. With --github-token it
reads them first and prints commands for what is missing, which only add and replace nothing.`,
		Example: `  repopolicy init
  repopolicy init --github-token
  repopolicy init --email alice@example.com --issuer https://accounts.google.com
  repopolicy init --maintainers repository --workflow .github/workflows/release.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context(), o) },
	}
	f := cmd.Flags()
	for _, x := range []struct {
		value            *command.Once
		flag, name, text string
	}{
		{&o.Git, "git", "DIR", "work in the repository in this directory instead of the working directory"},
		{&o.email, "email", "ADDRESS", "e-mail address of the first maintainer, with --issuer"},
		{&o.issuer, "issuer", "URL",
			"who vouches for the address: https://accounts.google.com, https://github.com/login/oauth, " +
				"https://login.microsoftonline.com"},
		{&o.maintainers, "maintainers", "repository", "let the repository's own workflow be the only maintainer"},
		{&o.name, "name", "NAME", "name of the first maintainer, by default the beginning of the address"},
		{&o.workflow, "workflow", "PATH", "the workflow that releases"},
		{&o.environment, "environment", "NAME", "the environment of the job that signs"},
		{&o.keyTarget, "key-target", "ROOT:PATH",
			"let the key release that a trust root lists under this path: public-good:artifact.pub, or " +
				"sha256:HEX:PATH by the digest of the root's first metadata"},
		{&o.keyURL, "key-url", "URL", "where the root of --key-target is followed"},
		{&o.expires, "expires", "DURATION", "life of the policy, such as 1y or 90d (default 1y)"},
		{&o.recovery, "recovery", "DURATION", "let a new version 1 take over this long after nobody answers, such as 90d"},
		{&o.since, "since", "DATE",
			"let the rules judge releases from this day on, too, such as 2025-01-31; by default from the policy on"},
		{&o.published.forge, "forge", "KIND", forgeUsage},
		{&o.branch, "branch", "NAME", "the default branch, instead of that of the remote or the checked out one"},
		{&o.program, "program", "PACKAGE@VERSION", "the version of this program that the workflow runs, by default this one"},
	} {
		x.value.Kind = x.name
		f.Var(x.value, x.flag, x.text)
	}
	o.Repo.Kind = "URL"
	f.VarP(&o.Repo, "repo", "R", "the repository's address, instead of that of the remote origin")
	f.Var((*command.List)(&o.tags), "tags", "`PATTERN` of the tags of releases, or semver; may be repeated")
	f.Var((*command.List)(&o.artifacts), "artifacts", "`PATTERN` of the names of what is released; may be repeated")
	f.BoolVar(&o.noSign, "no-sign", false, "do not sign")
	f.BoolVar(&o.noIssue, "no-expiry-issue", false, "leave out the job that opens an issue before the policy expires")
	f.BoolVar(&o.Offline, "offline", false, "do not use the network: no release is judged, and nobody can sign in")
	f.BoolVar(&o.published.token, "github-token", false,
		"look at the last releases and the settings of github.com with the token in GITHUB_TOKEN; nobody else sees it")
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.BoolVar(&o.publish, "publish-name", false, "let the workflow publish the name of a private repository")
	o.ExpectFlag(cmd)
	o.RootFlags(cmd, "")
	f.Var((*command.List)(&o.Configs), "signing-config",
		"sign with the services that this signing config `FILE` names; may be repeated")
	return cmd
}

// initRun is one run of init.
type initRun struct {
	*app
	o        *initOptions
	tree     *worktree.Tree
	project  propose.Project
	origin   policy.Locator // of the remote, whatever the repository is called; zero if it names none
	sources  repopolicy.Sources
	branch   string
	proposal *propose.Proposal
	member   propose.Member // the first one, if the policy is new
	example  propose.Member // who stands for it while it is not known
	until    time.Time
	since    time.Time // of --since
	policy   []byte    // as it stands or will stand in the tree
	fresh    bool      // the policy is new
	signs    bool      // who signs in makes the first signature, too
	bind     []textFile
	token    string // of who signed in
	signing  sigstore.Services
	found    *find.Found     // if a signature is made
	version  *draftVersion   // that is signed
	request  signlog.Request // for the signature
	github   string          // token that may read settings; "" for none
}

// init goes from what the clone and the last releases show to a policy: look, propose, judge, show,
// ask, write, sign.
func (a *app) init(ctx context.Context, o *initOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if !o.email.Given && !o.maintainers.Given {
		if err := a.CheckConfigs(&o.Signing, o.signOptions.Trust()); err != nil {
			return err
		}
	}
	r, err := a.initRun(o)
	if err != nil {
		return err
	}
	defer r.tree.Close()
	for _, step := range []func(context.Context) error{r.look, r.propose, r.writable, r.past, r.settle, r.agreed} {
		if err := step(ctx); err != nil {
			return err // whoever says no, or may not, finds everything as it was
		}
	}
	// What is signed is in the tree before it is public: another run goes on with it.
	written, err := r.write()
	if err != nil {
		return command.Unwritten(err)
	}
	if r.signs {
		if err := r.sign(ctx); err != nil {
			return err
		}
	}
	if !written && !r.signs {
		a.Err.Line("nothing to write: what init writes is there already")
		if r.github == "" {
			return nil
		}
	} else {
		r.next(ctx, r.signs)
	}
	r.settings(ctx)
	return nil
}

// initRun opens the working tree, once there is a token to read settings with, if one is wanted.
func (a *app) initRun(o *initOptions) (*initRun, error) {
	r := &initRun{app: a, o: o}
	if err := r.flags(); err != nil {
		return nil, err
	}
	if err := o.here(); err != nil {
		return nil, err
	}
	tree, err := worktree.Open(o.Git.Value)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	r.tree, r.github = tree, r.sources.GitHubToken
	return r, nil
}

// flags reads the flags about the last releases.
func (r *initRun) flags() (err error) {
	if r.sources, err = r.app.sources(&r.o.published); err != nil {
		return err
	}
	if err := checkForge(r.sources); err != nil || !r.o.since.Given {
		return err
	}
	if r.since, err = day(r.o.since.Value); err == nil && r.since.After(r.Now()) {
		err = errors.New("it is in the future")
	}
	if err != nil {
		return policy.Faultf(policy.Usage, "--since: %s", err)
	}
	return nil
}

// day reads a day, or a moment.
func day(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil && bounded(t) {
		return t, nil
	}
	t, err := moment(s)
	if err != nil {
		return t, fmt.Errorf("%q is no day like 2025-01-31", s)
	}
	return t.UTC().Truncate(time.Second), nil
}

// here finds the repository around the working directory, unless --git names one.
func (o *initOptions) here() error {
	if o.Git.Given {
		return nil
	}
	dir, err := worktree.Find(".")
	if err != nil {
		return &policy.Fault{
			Reason: policy.Usage, Text: "this is not a Git repository",
			Hint: "run `git init` and add the remote origin first, or name the repository's directory with --git",
		}
	}
	o.Git.Value, o.Git.Given = dir, true
	return nil
}

// settle lets the first maintainer sign in, where that is to be known, and shows a new policy.
func (r *initRun) settle(ctx context.Context) error {
	if r.signs || r.fresh && !r.o.email.Given && !r.o.maintainers.Given {
		if err := r.signIn(ctx); err != nil {
			return err
		}
	}
	if !r.fresh {
		if r.signs {
			r.show("signs")
		}
		return nil
	}
	r.policy = r.text(r.member)
	r.show("proposes")
	return r.mayWrite()
}

// agreed asks whether the first signature may become public, where one is made.
func (r *initRun) agreed(ctx context.Context) (err error) {
	if !r.signs {
		return nil
	}
	if r.version, err = r.following(ctx, &r.o.signOptions, r.found, r.policy); err != nil {
		return err
	}
	r.request, err = r.requestAs(&r.o.signOptions, r.version, r.signing, r.token)
	if f := (*policy.Fault)(nil); errors.As(err, &f) && f.Reason == policy.Usage && f.Hint == "" {
		f.Hint = "nothing was written; --no-sign writes the policy without a signature"
	}
	return err
}

// sign makes the first signature, over what was agreed to and nothing else.
func (r *initRun) sign(ctx context.Context) error {
	data, err := r.tree.Read(bindings.PolicyFile, spelling.MaxPolicyBytes)
	if err != nil || !bytes.Equal(data, r.policy) {
		return &policy.Fault{
			Reason: policy.Usage, Text: bindings.PolicyFile + " is another one than you agreed to",
			Hint: "nothing was signed; somebody wrote it meanwhile: read it, and run the command again",
		}
	}
	err = r.app.write(ctx, &r.o.signOptions, r.version, r.signing, r.request)
	if f := (*policy.Fault)(nil); errors.As(err, &f) {
		f.Hint = "the policy is written: run the command again, or commit it and run `repopolicy sign`"
	}
	return err
}

func (o *initOptions) check() error {
	switch {
	case o.maintainers.Given && o.maintainers.Value != "repository":
		return policy.Faultf(policy.Usage, "--maintainers: the one value is repository; name people with --email")
	case o.maintainers.Given && (o.email.Given || o.name.Given):
		return policy.Faultf(policy.Usage, "--maintainers repository: then there are no other maintainers")
	case o.maintainers.Given && o.recovery.Given:
		return policy.Faultf(policy.Usage, "--recovery: the repository cannot lose its own account")
	case strings.Contains(o.workflow.Value, "://"):
		return &policy.Fault{
			Reason: policy.Usage, Text: "--workflow: name a file of this repository",
			Hint: "a reusable workflow is found through the one that calls it",
		}
	case o.Expect.Given && (o.email.Given || o.maintainers.Given):
		return policy.Faultf(policy.Usage, "--expect-identity is about who signs in, and nobody does")
	case o.email.Given != o.issuer.Given:
		return &policy.Fault{
			Reason: policy.Usage, Text: "--email and --issuer go together",
			Hint: "the issuer is https://accounts.google.com, https://github.com/login/oauth or " +
				"https://login.microsoftonline.com on Sigstore's public instance",
		}
	}
	if _, err := o.Expected(); err != nil {
		return err
	}
	if _, err := o.keyOf(); err != nil {
		return err
	}
	return o.fits()
}

// keyOf reads which target of a trust root is the key that releases; nil without --key-target.
func (o *initOptions) keyOf() (*policy.RootTarget, error) {
	if !o.keyTarget.Given {
		if o.keyURL.Given {
			return nil, policy.Faultf(policy.Usage, "--key-url is about the root of --key-target")
		}
		return nil, nil
	}
	t, err := propose.ParseKeyTarget(o.keyTarget.Value, o.keyURL.Value)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--key-target: %s", err)
	}
	return t, nil
}

// fits refuses values that no policy could hold, whether one is there already or not.
func (o *initOptions) fits() error {
	if o.expires.Given {
		if _, err := expiry(time.Unix(0, 0), o.expires.Value); err != nil {
			return policy.Faultf(policy.Usage, "--expires: %s", err)
		}
	}
	repo, err := policy.NormalizeLocator("https://github.com/acme/widget")
	if err != nil {
		return err
	}
	r := propose.Rule{
		Name: "release", Workflow: ".github/workflows/release.yml", Environment: o.environment.Value,
		Tags: o.tags, Artifacts: o.artifacts,
	}
	if r.Tags == nil {
		r.Tags = []string{propose.Any}
	}
	if r.Artifacts == nil {
		r.Artifacts = []string{"*.tar"}
	}
	a := propose.Answers{Repository: repo, Expires: time.Unix(0, 0), Recovery: o.recovery.Value}
	a.Member = propose.Member{Name: "member", Email: "maintainer@example.com", Issuer: "https://accounts.google.com"}
	if o.name.Given {
		a.Member.Name = o.name.Value
	}
	p := &propose.Proposal{Rules: []propose.Rule{r}}
	if _, err := policy.Parse([]byte(p.Policy(a))); err != nil {
		return unfitting(err)
	}
	return nil
}

// unused says which answers change nothing, because the policy is there already.
func (r *initRun) unused() {
	var names []string
	for name, set := range map[string]bool{
		"--tags": r.o.tags != nil, "--artifacts": r.o.artifacts != nil, "--workflow": r.o.workflow.Given,
		"--environment": r.o.environment.Given, "--expires": r.o.expires.Given, "--recovery": r.o.recovery.Given,
		"--name": r.o.name.Given, "--since": r.o.since.Given, "--key-target": r.o.keyTarget.Given,
	} {
		if set {
			names = append(names, name)
		}
	}
	if slices.Sort(names); len(names) > 0 {
		r.Err.Line("note: %s: not used, %s is there already", strings.Join(names, ", "), bindings.PolicyFile)
	}
}

// look reads what the repository says about itself.
func (r *initRun) look(ctx context.Context) error {
	o := r.o
	repo, err := git.Open(ctx, o.Git.Value)
	if err != nil {
		return find.GitFault(err)
	}
	defer repo.Close()
	p := &r.project
	if r.policy, err = r.tree.Read(bindings.PolicyFile, spelling.MaxPolicyBytes); err != nil {
		return policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	address, source, err := r.locate(repo)
	if err != nil {
		return err
	}
	if r.github != "" && p.Repository.Host() != "github.com" {
		return policy.Faultf(policy.Usage, "--github-token: settings are read on github.com only")
	}
	snapshot, err := repo.Local()
	if err != nil {
		return find.GitFault(err)
	}
	if err := r.unsigned(repo); err != nil {
		return err
	}
	if r.branch = strings.TrimPrefix(snapshot.Default, "refs/heads/"); o.branch.Given {
		r.branch = o.branch.Value
	} else if r.branch == "" {
		r.branch = "main"
	}
	if r.policy != nil && !r.signs {
		return nil
	}
	r.Err.Line("found %s %s → proposes repository = %q", source, address, p.Repository)
	if p.Tags, err = repo.Tags(); err != nil {
		return find.GitFault(err)
	}
	p.Taggers = taggers(repo, p.Tags)
	remotes, err := repo.Remotes()
	if err != nil {
		return find.GitFault(err)
	}
	r.origin, _ = policy.NormalizeLocator(withoutUser(remotes["origin"]))
	r.readFiles()
	return nil
}

// locate finds out which repository it is, and from where that is known.
func (r *initRun) locate(repo *git.Repository) (address, source string, err error) {
	o, p := r.o, &r.project
	address, source = o.Repo.Value, "--repo"
	if !o.Repo.Given {
		source = "the remote origin"
		if address, err = r.remote(repo); err != nil {
			return "", "", err
		}
	}
	if r.policy != nil {
		doc, err := policy.Parse(r.policy)
		if err != nil {
			return "", "", policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
		}
		p.Repository = doc.Content().Repository
		if l, err := policy.NormalizeLocator(address); o.Repo.Given && (err != nil || l != p.Repository) {
			return "", "", policy.Faultf(policy.Usage, "--repo: %s is about %s", bindings.PolicyFile, p.Repository)
		}
		return address, source, nil
	}
	if p.Repository, err = policy.NormalizeLocator(address); err != nil {
		return "", "", &policy.Fault{
			Reason: policy.Usage, Text: fmt.Sprintf("%s names no repository: %s", source, err),
			Hint: "name it with --repo https://github.com/acme/widget",
		}
	}
	return address, source, nil
}

// remote returns the address of the repository, or what to ask where that would be a guess. For
// a policy that is there it says itself what it is about.
func (r *initRun) remote(repo *git.Repository) (string, error) {
	address, question, answer, err := remoteOf(repo)
	if err != nil {
		return "", err
	}
	if question != "" && r.policy == nil {
		return "", &policy.Fault{
			Reason: policy.Usage, Text: question, Hint: strings.TrimSpace("name it with --repo " + answer),
		}
	}
	return address, nil
}

// unsigned finds out whether a first signature is to be made. A policy that is there may
// be of a run that was interrupted if nothing of it is committed, nobody signed it, and
// one person is its maintainer; propose compares it with what init would write.
func (r *initRun) unsigned(repo *git.Repository) error {
	o := r.o
	if o.noSign || o.email.Given || o.maintainers.Given || !o.Yes && !r.Terminal {
		return nil // without an answer there is no signature, but a policy that can be signed later
	}
	if r.policy == nil {
		r.signs = true
		return nil
	}
	doc, err := policy.Parse(r.policy)
	if err != nil || r.tree.Exists(bindings.SignaturesDir) {
		return nil
	}
	members := doc.Content().Maintainers.Members
	if len(members) != 1 || len(members[0].Identities) != 1 {
		return nil
	}
	id := members[0].Identities[0]
	r.member = propose.Member{Name: members[0].Name, Email: id.Value, Issuer: id.Issuer}
	head, err := repo.Head()
	if err == nil {
		_, err = repo.File(head, bindings.PolicyFile)
	}
	if r.signs = errors.Is(err, git.ErrNotFound); !r.signs && err != nil {
		return find.GitFault(err)
	}
	return nil
}

// withoutUser takes a password or token out of the URL of a remote.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil || u.Scheme != "https" && u.Scheme != "http" {
		return address
	}
	u.User = nil
	return u.String()
}

// readFiles reads the files that suggest something. One that cannot be read
// suggests nothing.
func (r *initRun) readFiles() {
	p, t := &r.project, r.tree
	p.Files, p.Default = t, r.branch
	p.Bundles = t.Bundles()
}

// propose finds out what the policy will say, unless there is one, and refuses answers
// that make none before anybody has to sign in for it.
func (r *initRun) propose(context.Context) error {
	if r.policy != nil && !r.signs {
		r.unused()
		return nil
	}
	o := r.o
	r.fresh = r.policy == nil
	expires := o.expires.Value
	if !o.expires.Given {
		expires = defaultExpiry
	}
	var err error
	if r.until, err = expiry(r.Now(), expires); err != nil {
		return policy.Faultf(policy.Usage, "--expires: %s", err)
	}
	if o.workflow.Given {
		o.workflow.Value = path.Clean(strings.ReplaceAll(o.workflow.Value, `\`, "/"))
	}
	keyTarget, err := o.keyOf()
	if err != nil {
		return err
	}
	r.proposal = propose.From(r.project, propose.Options{Workflow: o.workflow.Value, Environment: o.environment.Value,
		Tags: o.tags, Artifacts: o.artifacts, Since: r.since, KeyTarget: keyTarget})
	for _, f := range r.proposal.Findings {
		r.Err.Line("%s", f)
	}
	if !r.fresh { // what somebody else may have put there is not signed by init
		if r.signs = sameButComments(r.text(r.member), r.policy); !r.signs {
			r.Err.Line("note: %s is not what init writes today; `repopolicy sign` signs it once it is committed",
				bindings.PolicyFile)
		}
		return nil
	}
	if len(r.proposal.Rules) == 0 {
		return nothingReleases(r.proposal)
	}
	r.member = r.named(propose.Member{Email: o.email.Value, Issuer: o.issuer.Value})
	r.example = r.member
	if !o.email.Given { // whoever signs in has an address, too
		r.example = r.named(propose.Member{Email: "maintainer@example.com", Issuer: "https://accounts.google.com"})
	}
	if _, err := policy.Parse(r.text(r.example)); err != nil {
		return unfitting(err)
	}
	if o.email.Given {
		r.sayMember()
	}
	return nil
}

// sameButComments reports whether two policies are the same but for comments: those about the last
// releases are not the same the next time.
func sameButComments(a, b []byte) bool {
	x, err := policy.Parse(a)
	if err != nil {
		return false
	}
	y, err := policy.Parse(b)
	return err == nil && reflect.DeepEqual(x.Content(), y.Content())
}

// nothingReleases says what to do where no rule can be proposed: without one a policy would
// forbid every release.
func nothingReleases(p *propose.Proposal) error {
	f := &policy.Fault{
		Reason: policy.Usage, Text: "nothing is written: no job is known to leave evidence of a release by its identity",
		Hint: "sign or attest in the job that publishes, or name its file with --workflow; " +
			"for releases that people sign, write " + bindings.PolicyFile + " and run `repopolicy init` again",
	}
	if slices.ContainsFunc(p.Findings, propose.Finding.Question) {
		f.Text = "nothing is written: which job releases is asked above"
	}
	return f
}

func unfitting(err error) error {
	f := policy.Faultf(policy.Usage, "the answers make no valid policy: %s", err)
	if pe := (*policy.ParseError)(nil); errors.As(err, &pe) {
		f.Hint = pe.Problems[0].Hint
	}
	return f
}

// show prints the policy before anything is asked, written or signed.
func (r *initRun) show(does string) {
	lines := strings.Split(strings.TrimSuffix(string(r.policy), "\n"), "\n")
	r.Err.Text(fmt.Sprintf("%s %s:\n  %s\n", does, bindings.PolicyFile, strings.Join(lines, "\n  ")))
}

// mayWrite asks on a terminal whether that may be written; before a signature that is asked
// together with what becomes public.
func (r *initRun) mayWrite() error {
	if r.signs || r.o.Yes || !r.Terminal {
		return nil
	}
	if err := r.Agree(&r.o.Signing, "Write it?"); err != nil {
		return &policy.Fault{Reason: policy.Usage, Text: "nothing was written"}
	}
	return nil
}

// text returns the policy with that first maintainer.
func (r *initRun) text(m propose.Member) []byte {
	answers := propose.Answers{Repository: r.project.Repository, Expires: r.until, Recovery: r.o.recovery.Value}
	if !r.o.maintainers.Given {
		answers.Member = m
	}
	return []byte(r.proposal.Policy(answers))
}

func (r *initRun) sayMember() {
	r.Err.Line("found one maintainer, %s by %s → proposes [recovery], as a comment; --recovery 90d writes it",
		r.member.Email, r.member.Issuer)
}

// signIn lets the first maintainer sign in, after all that can be known without them.
func (r *initRun) signIn(ctx context.Context) error {
	o := r.o
	if o.Offline {
		return &policy.Fault{
			Reason: policy.Usage, Text: "--offline: nobody can sign in",
			Hint: "name the first maintainer with --email and --issuer, or use --maintainers repository",
		}
	}
	services, err := r.Services(ctx, &o.Signing, o.signOptions.Trust(), r.project.Repository)
	if err != nil {
		return err
	}
	if r.signing = services; r.signs {
		o.Repo.Value, o.Repo.Given = r.project.Repository.String(), true
		if r.found, err = r.Find(ctx, &o.Lookup); err == nil {
			err = r.found.Answered()
		}
		if err != nil {
			return err
		}
	}
	token, err := r.Personal(ctx, &o.Signing, services)
	if err != nil {
		var f *policy.Fault
		if errors.As(err, &f) && f.Reason == policy.LoginNeeded {
			f.Hint = "set SIGSTORE_ID_TOKEN, or name the first maintainer with --email and --issuer"
		}
		return err
	}
	r.token = token
	claims, err := jwt.Unverified(token)
	if err != nil {
		return policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	if err := r.expects(token, services.Issuer); err != nil || !r.fresh {
		return err
	}
	if claims.Email == "" {
		return &policy.Fault{
			Reason: policy.Usage, Text: "the token of " + claims.Issuer + " names no e-mail address",
			Hint: "name the first maintainer with --email and --issuer, or use --maintainers repository",
		}
	}
	m := propose.Member{Email: claims.Email, Issuer: claims.Issuer}
	if claims.Connector != "" {
		m.Issuer = claims.Connector
	}
	r.member = r.named(m)
	if _, err := policy.Parse(r.text(r.member)); err != nil {
		return unfitting(err)
	}
	r.sayMember()
	return nil
}

// expects compares who signed in with who is to sign.
func (r *initRun) expects(token, issuer string) error {
	expect, err := r.o.Expected()
	if err != nil {
		return err
	}
	may, err := command.Candidates(token, nil, issuer)
	if err == nil {
		err = expect.Check(may)
	}
	return err
}

// named gives a maintainer the name of --name, or the beginning of the address.
func (r *initRun) named(m propose.Member) propose.Member {
	if m.Name = r.o.name.Value; !r.o.name.Given {
		m.Name, _, _ = strings.Cut(m.Email, "@")
		m.Name = strings.Trim(strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._", c) {
				return c
			}
			return '-'
		}, m.Name), "-._")
	}
	return m
}

// expiry returns the moment a duration of years ("1y") or days ("90d") later, at
// the beginning of its day.
func expiry(now time.Time, s string) (time.Time, error) {
	now = now.UTC().Truncate(24 * time.Hour)
	n, err := strconv.Atoi(strings.TrimRight(s, "yd"))
	switch {
	case err != nil || n < 1 || n > 3650:
	case s == strconv.Itoa(n)+"y" && n <= 10:
		return now.AddDate(n, 0, 0), nil
	case s == strconv.Itoa(n)+"d":
		return now.AddDate(0, 0, n), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time like 1y or 90d", s)
}
