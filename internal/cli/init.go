// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/detect"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

const (
	maxSuggestion = 1 << 20 // of a file that only suggests something
	maxWorkflows  = 500
	defaultExpiry = "1y"
)

type initOptions struct {
	signOptions
	email, issuer, maintainers, name, workflow, environment typed
	expires, recovery, branch, program                      typed
	tags, artifacts                                         []string
	noSign                                                  bool
}

func (a *app) initCommand() *cobra.Command {
	o := &initOptions{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "write a first policy for a repository and the workflow that binds it",
		Long: `Init looks at the repository in the working directory, says what it finds and what
follows from it, and writes .repopolicy/policy.toml, the workflow that binds it and a
line of .gitattributes. It overwrites nothing: what is there already stays.

The first maintainer is who signs in, on a terminal or with the token that the
environment offers; init then also makes the first signature, so that one commit
and one push are left. --email and --issuer name somebody without a sign-in;
"--maintainers repository" names nobody: the repository's own workflow is then the
only maintainer, and every verdict says so.`,
		Example: `  repopolicy init
  repopolicy init --email alice@example.com --issuer https://accounts.google.com
  repopolicy init --maintainers repository --workflow .github/workflows/release.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context(), o) },
	}
	f := cmd.Flags()
	for _, x := range []struct {
		value            *typed
		flag, name, text string
	}{
		{&o.git, "git", "DIR", "work in the repository in this directory instead of the working directory"},
		{&o.repo, "repository", "URL", "the repository's address, instead of that of the remote origin"},
		{&o.email, "email", "ADDRESS", "e-mail address of the first maintainer, with --issuer"},
		{&o.issuer, "issuer", "URL", "who vouches for the address: https://accounts.google.com, https://github.com/login/oauth, https://login.microsoftonline.com"},
		{&o.maintainers, "maintainers", "repository", "let the repository's own workflow be the only maintainer"},
		{&o.name, "name", "NAME", "name of the first maintainer, by default the beginning of the address"},
		{&o.workflow, "workflow", "PATH", "the workflow that releases"},
		{&o.environment, "environment", "NAME", "the environment of the job that signs"},
		{&o.expires, "expires", "DURATION", "life of the policy, such as 1y or 90d (default 1y)"},
		{&o.recovery, "recovery", "DURATION", "let a new version 1 take over this long after nobody answers, such as 90d"},
		{&o.branch, "branch", "NAME", "the default branch, instead of that of the remote or the checked out one"},
		{&o.program, "program", "PACKAGE@VERSION", "the version of this program that the workflow runs, by default this one"},
	} {
		x.value.name = x.name
		f.Var(x.value, x.flag, x.text)
	}
	f.StringArrayVar(&o.tags, "tags", nil, "`PATTERN` of the tags of releases, or semver; may be repeated")
	f.StringArrayVar(&o.artifacts, "artifacts", nil, "`PATTERN` of the names of what is released; may be repeated")
	f.BoolVar(&o.noSign, "no-sign", false, "do not sign")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.BoolVar(&o.publish, "publish-name", false, "let the workflow publish the name of a private repository")
	o.expectFlag(cmd)
	o.rootFlags(cmd, "")
	f.StringArrayVar(&o.configs, "signing-config", nil, "sign with the services that this signing config `FILE` names; may be repeated")
	return cmd
}

// initRun is one run of init.
type initRun struct {
	*app
	o       *initOptions
	tree    *worktree
	project detect.Project
	branch  string
	policy  []byte // as it stands or will stand in the tree
	fresh   bool   // the policy is new
	token   string // of who signed in
	signing sigstore.Services
}

func (a *app) init(ctx context.Context, o *initOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if !o.git.set {
		dir, err := findWorktree(".")
		if err != nil {
			return &fault{reason: policy.Usage, msg: "this is not a Git repository", hint: "run `git init` and add the remote origin first, or name the repository's directory with --git"}
		}
		o.git.value, o.git.set = dir, true
	}
	r := &initRun{app: a, o: o}
	var err error
	if r.tree, err = openWorktree(o.git.value); err != nil {
		return faultf(policy.Usage, "%s", err)
	}
	defer r.tree.root.Close()
	if err := r.look(ctx); err != nil {
		return err
	}
	if err := r.draft(ctx); err != nil {
		return err
	}
	written, err := r.write()
	if err != nil {
		return unwritten(err)
	}
	signed := false
	if r.token != "" && r.fresh && !o.noSign {
		v, err := a.draft(ctx, &o.signOptions, r.policy)
		if err == nil {
			err = v.looked()
		}
		if err == nil {
			err = a.signAs(ctx, &o.signOptions, v, r.signing, r.token)
		}
		if f := (*fault)(nil); errors.As(err, &f) { // a second init would change nothing
			f.hint = "the files are written: commit them and run `repopolicy sign`"
		}
		if err != nil {
			return err
		}
		signed = true
	}
	if !written {
		a.err.line("nothing to write: what init writes is there already")
		return nil
	}
	r.next(signed)
	return nil
}

func (o *initOptions) check() error {
	switch {
	case o.maintainers.set && o.maintainers.value != "repository":
		return faultf(policy.Usage, "--maintainers: the one value is repository; name people with --email")
	case o.maintainers.set && (o.email.set || o.name.set):
		return faultf(policy.Usage, "--maintainers repository: then there are no other maintainers")
	case o.maintainers.set && o.recovery.set:
		return faultf(policy.Usage, "--recovery: the repository cannot lose its own account")
	case strings.Contains(o.workflow.value, "://"):
		return &fault{reason: policy.Usage, msg: "--workflow: name a file of this repository", hint: "a reusable workflow is found through the one that calls it"}
	case o.expect.set && (o.email.set || o.maintainers.set):
		return faultf(policy.Usage, "--expect-identity is about who signs in, and nobody does")
	case o.email.set != o.issuer.set:
		return &fault{reason: policy.Usage, msg: "--email and --issuer go together", hint: "the issuer is https://accounts.google.com, https://github.com/login/oauth or https://login.microsoftonline.com on Sigstore's public instance"}
	}
	if o.expires.set {
		if _, err := expiry(time.Unix(0, 0), o.expires.value); err != nil {
			return faultf(policy.Usage, "--expires: %s", err)
		}
	}
	if _, err := o.expected(); err != nil {
		return err
	}
	if !o.email.set && !o.maintainers.set {
		_, err := o.readConfigs()
		return err
	}
	return nil
}

// look reads what the repository says about itself.
func (r *initRun) look(ctx context.Context) error {
	o := r.o
	repo, err := git.Open(ctx, o.git.value)
	if err != nil {
		return gitFault(err)
	}
	defer repo.Close()
	p := &r.project
	if r.policy, err = r.tree.read(rekorbind.PolicyFile, policy.MaxPolicyBytes); err != nil {
		return faultf(policy.PolicyUnreadable, "%s", err)
	}
	address, source := o.repo.value, "--repository"
	if !o.repo.set {
		if address, err = repo.Origin(); err != nil {
			return gitFault(err)
		}
		address, source = withoutUser(address), "the remote origin"
	}
	if r.policy != nil {
		doc, err := policy.Parse(r.policy)
		if err != nil {
			return faultf(policy.PolicyValue, "%s: %s", rekorbind.PolicyFile, err)
		}
		p.Repository = doc.Content().Repository
		if l, err := policy.NormalizeLocator(address); o.repo.set && (err != nil || l != p.Repository) {
			return faultf(policy.Usage, "--repository: %s is about %s", rekorbind.PolicyFile, p.Repository)
		}
	} else if p.Repository, err = policy.NormalizeLocator(address); err != nil {
		msg := fmt.Sprintf("%s names no repository: %s", source, err)
		if address == "" {
			msg = "which repository? It has no remote origin"
		}
		return &fault{reason: policy.Usage, msg: msg, hint: "name it with --repository https://github.com/acme/widget"}
	}
	snapshot, err := repo.Local()
	if err != nil {
		return gitFault(err)
	}
	if r.branch = strings.TrimPrefix(snapshot.Default, "refs/heads/"); o.branch.set {
		r.branch = o.branch.value
	} else if r.branch == "" {
		r.branch = "main"
	}
	if r.policy != nil {
		return nil
	}
	r.err.line("found %s %s → proposes repository = %q", source, address, p.Repository)
	if p.Tags, err = repo.Tags(); err != nil {
		return gitFault(err)
	}
	r.readFiles()
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
	p.Workflows = map[string][]byte{}
	entries, _ := fs.ReadDir(t.root.FS(), ".github/workflows")
	for _, e := range entries {
		name := ".github/workflows/" + e.Name()
		if ext := path.Ext(name); (ext == ".yml" || ext == ".yaml") && len(p.Workflows) < maxWorkflows {
			if data, err := t.read(name, detect.MaxWorkflowBytes); err == nil && data != nil {
				p.Workflows[name] = data
			}
		}
	}
	first := func(names ...string) []byte {
		for _, name := range names {
			if data, err := t.read(name, maxSuggestion); err == nil && data != nil {
				return data
			}
		}
		return nil
	}
	p.Owners = first(".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
	p.Insights = first("SECURITY-INSIGHTS.yml", ".github/SECURITY-INSIGHTS.yml", "security-insights.yml", ".github/security-insights.yml")
	p.Package = first("package.json")
	p.Bundles = t.bundles()
}

// draft makes the policy, unless there is one.
func (r *initRun) draft(ctx context.Context) error {
	if r.policy != nil {
		return nil
	}
	o := r.o
	expires := o.expires.value
	if !o.expires.set {
		expires = defaultExpiry
	}
	until, err := expiry(r.Now(), expires)
	if err != nil {
		return faultf(policy.Usage, "--expires: %s", err)
	}
	if o.workflow.set {
		o.workflow.value = path.Clean(strings.ReplaceAll(o.workflow.value, `\`, "/"))
	}
	p := detect.From(r.project, detect.Options{Workflow: o.workflow.value, Environment: o.environment.value, Tags: o.tags, Artifacts: o.artifacts})
	for _, f := range p.Findings {
		r.err.line("found %s → proposes %s", f.Found, f.Proposes)
	}
	answers := detect.Answers{Repository: r.project.Repository, Expires: until, Recovery: o.recovery.value}
	if !o.maintainers.set {
		if answers.Member, err = r.member(ctx); err != nil {
			return err
		}
		r.err.line("found one maintainer, %s by %s → proposes [recovery], as a comment; --recovery 90d writes it", answers.Member.Email, answers.Member.Issuer)
	}
	text := []byte(p.Policy(answers))
	if _, err := policy.Parse(text); err != nil {
		f := faultf(policy.Usage, "the answers make no valid policy: %s", err)
		if pe := (*policy.ParseError)(nil); errors.As(err, &pe) {
			f.hint = pe.Problems[0].Hint
		}
		return f
	}
	r.policy, r.fresh = text, true
	return nil
}

// member returns the first maintainer: who the flags name, or who signs in.
func (r *initRun) member(ctx context.Context) (detect.Member, error) {
	o := r.o
	m := detect.Member{Email: o.email.value, Issuer: o.issuer.value}
	if !o.email.set {
		services, err := r.services(ctx, &o.signOptions, r.project.Repository)
		if err != nil {
			return m, err
		}
		token, err := r.personal(ctx, &o.signOptions, services)
		if err != nil {
			var f *fault
			if errors.As(err, &f) && f.reason == policy.LoginNeeded {
				f.hint = "set SIGSTORE_ID_TOKEN, or name the first maintainer with --email and --issuer"
			}
			return m, err
		}
		claims, err := oidc.UnverifiedClaims(token)
		if err != nil {
			return m, faultf(policy.LoginNeeded, "%s", err)
		}
		expect, err := o.expected()
		if err != nil {
			return m, err
		}
		may, err := candidates(token, nil, services.Issuer)
		if err == nil {
			err = expect.check(may)
		}
		if err != nil {
			return m, err
		}
		if claims.Email == "" {
			return m, &fault{reason: policy.Usage, msg: "the token of " + claims.Issuer + " names no e-mail address", hint: "name the first maintainer with --email and --issuer, or use --maintainers repository"}
		}
		if m.Email, m.Issuer = claims.Email, claims.Issuer; claims.Connector != "" {
			m.Issuer = claims.Connector
		}
		// Without an answer there is no signature, but a policy that can be signed
		// later.
		if r.signing = services; o.yes || r.Terminal {
			r.token = token
		}
	}
	if m.Name = o.name.value; !o.name.set {
		m.Name, _, _ = strings.Cut(m.Email, "@")
		m.Name = strings.Trim(strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._", c) {
				return c
			}
			return '-'
		}, m.Name), "-._")
	}
	return m, nil
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
