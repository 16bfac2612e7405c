// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/token"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// authorizeMaxAge is how old what is known about the policy may be before a
// release.
const authorizeMaxAge = "24h"

// authorizeOptions are the flags of authorize.
type authorizeOptions struct {
	repoOptions
	tokenOptions
	tag, commit, checkout, receipt, after, report typed

	stage     format
	preflight bool
	statement bool
	format    format
}

// releaseFlags are those that every verb has which authorises a release.
func (o *authorizeOptions) releaseFlags(cmd *cobra.Command) {
	o.repoOptions.flags(cmd)
	o.tokenOptions.flags(cmd)
	o.tag.name, o.commit.name, o.checkout.name, o.after.name = "TAG", "COMMIT", "DIR", "FILE"
	f := cmd.Flags()
	f.Var(&o.tag, "tag", "release under this tag; by default the one that the run is for")
	f.Var(&o.commit, "commit", "demand that the release is of this commit")
	f.Var(&o.checkout, "checkout", "compare the work tree in this directory with the commit, instead of the working directory's")
	f.Var(&o.after, "after", "demand that nothing has changed since this receipt of an earlier step")
	o.rootFlags(cmd, "")
	f.Lookup("max-age").Usage = "refuse what is known from longer ago; 24h unless said otherwise"
	f.Lookup("repo").Usage = "authorise by the policy that this repository bound; by default the one that the run is in"
}

func (a *app) authorizeCommand() *cobra.Command {
	o := &authorizeOptions{}
	cmd := &cobra.Command{
		Use:   "authorize [flags] [FILE|NAME|PACKAGE-URL...]",
		Short: "ask before signing whether this run may release",
		Long: `Authorize is the first step of the job that signs. It takes the run's ID token, made
for the audience "repopolicy", verifies it with its issuer's keys, and judges the
identity that a certificate would name by the policy that the repository bound, never
by the one that is checked out. Tag and commit are those of the token; the environment
must agree with it, the repository must have the tag there, and what is checked out must
be that commit, with nothing staged and the policy as it was committed.

Files are judged by name and digest, names of files that are not there yet by name
alone, packages by their package URL (pkg:npm/...). With --preflight, earlier in the
run, what only the signing job's token will show is listed and left open. With --stage
publish, after the last approval, the approvals that the rule demands must lie beside
the files.

The exit code is 0 only if everything may be released; docs/errors.md explains the
others.`,
		Example: `  repopolicy authorize dist/*
  repopolicy authorize --preflight
  repopolicy authorize --stage publish --after receipt.json dist/*`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.authorize(cmd.Context(), o, args)
			if f := faultOf(err); f != nil && o.format.value == "github" {
				a.githubFault(f, output{"authorized", "false"})
			}
			return err
		},
	}
	o.releaseFlags(cmd)
	o.stage.allowed, o.format.allowed = []string{"sign", "publish"}, []string{"text", "json", "github"}
	o.receipt.name, o.report.name = "FILE", "FILE"
	f := cmd.Flags()
	f.Var(&o.stage, "stage", "what is about to happen")
	f.BoolVar(&o.preflight, "preflight", false, "leave open what only the job that signs can show")
	f.BoolVar(&o.statement, "statement", false, "what will be signed is a release statement that names --tag, as sign-release --statement makes it")
	f.Var(&o.receipt, "receipt", "write a receipt, for --after of later steps, into this file")
	f.Var(&o.report, "report", "also write the decision as JSON into this file")
	f.Var(&o.format, "format", "form of the output")
	cmd.MarkFlagsMutuallyExclusive("preflight", "stage")
	cmd.MarkFlagsMutuallyExclusive("preflight", "receipt")
	return cmd
}

// subject is one thing that is to be released.
type subject struct {
	arg, name, path string
	digests         []policy.Digest
	approvals       []policy.Approval // that lie beside it
}

// authorization is the answer to a run that asks to release.
type authorization struct {
	stage    policy.Stage
	found    *found
	version  chain.Version // the head of the chain
	run      policy.Run
	verified *token.Verified // nil for a key
	audience string

	tag, commit string
	statement   string // tag that a release predicate will name; "" without one
	request     policy.Request
	subjects    []subject
	decisions   []policy.Decision
	drift       []string
}

// class is OK only if there is a decision and every one permits.
func (z *authorization) class() policy.Class {
	var cs []policy.Class
	for _, d := range z.decisions {
		c := d.Reason.Class()
		if (c == policy.ClassOK) != (d.Outcome == policy.Permitted) {
			c = policy.ClassInternal
		}
		cs = append(cs, c)
	}
	return policy.Worst(cs...)
}

func (a *app) authorize(ctx context.Context, o *authorizeOptions, args []string) error {
	stage := policy.StageSign
	switch {
	case o.preflight:
		stage = policy.StagePreflight
	case o.stage.value == "publish":
		stage = policy.StagePublish
	}
	if err := a.checkRelease(o, args); err != nil {
		return err
	}
	t, err := a.ownToken(ctx, &o.tokenOptions)
	if err != nil {
		return err
	}
	z, err := a.authorization(ctx, o, stage, args, func(f *found) (*token.Verified, error) {
		return a.verifyToken(ctx, t, f, oidc.Audience, "")
	}, t)
	if err != nil {
		return err
	}
	r := newAuthorizationReport(z)
	if z.class() == policy.ClassOK {
		if err := a.useReceipts(o, z); err != nil {
			return err
		}
	}
	if err := a.printAuthorization(o, z, r); err != nil {
		return err
	}
	if class := z.class(); class != policy.ClassOK {
		return decided{class}
	}
	return nil
}

// verifyToken verifies a token by the issuers that are built in and those that
// the bound policy names, and compares it with the environment.
func (a *app) verifyToken(ctx context.Context, t *oidc.Unverified, f *found, audience, signIn string) (*token.Verified, error) {
	v := token.Verifier{Issuers: oidc.TrustedIssuers(f.trusted().Content(), signIn), Transport: a.Transport, Agent: userAgent(), Now: a.Now}
	verified, err := v.Verify(ctx, t.Raw, audience)
	if err == nil {
		err = verified.Agree(verified.Issuer, a.Getenv)
	}
	if err != nil {
		return nil, refusal(fmt.Errorf("the ID token: %w", err))
	}
	return verified, nil
}

// authorization finds the bound policy and judges the run by it. Verify returns
// the verified token once the policy is known; t is the same, unverified.
func (a *app) authorization(ctx context.Context, o *authorizeOptions, stage policy.Stage, args []string, verify func(*found) (*token.Verified, error), t *oidc.Unverified) (*authorization, error) {
	if !o.repo.set {
		repo, err := repositoryOf(t)
		if err != nil {
			return nil, err
		}
		o.repo.value, o.repo.set = repo, true
	}
	f, err := a.find(ctx, &o.repoOptions)
	if err != nil {
		return nil, err
	}
	f.demand.Strict = true
	if !o.format.document() {
		a.warn(f)
	}
	if err := f.usable(a); err != nil {
		return nil, err
	}
	verified, err := verify(f)
	if err != nil {
		return nil, err
	}
	z := &authorization{stage: stage, found: f, version: f.head(), run: verified.Run}
	if verified.Unverified != nil { // a key has no token
		z.verified, z.audience = verified, verified.Audience[0]
	}
	return z, a.decideRelease(ctx, o, z, args)
}

// check refuses flags that cannot be meant.
func (o *authorizeOptions) check() error {
	switch {
	case o.tag.set && !policy.ValidTag(o.tag.value):
		return &fault{reason: policy.Usage, msg: "--tag: " + o.tag.value + " cannot be a tag", hint: "give the tag's name without refs/tags/"}
	case o.statement && !o.tag.set:
		return faultf(policy.Usage, "--statement: the statement names a tag; give it with --tag")
	}
	if o.commit.set && !release.IsCommit(o.commit.value) {
		return faultf(policy.Usage, "--commit: not the whole id of a commit")
	}
	return nil
}

// repositoryOf returns the repository that a token says it is in, to look up its
// policy: nothing is allowed by that.
func repositoryOf(t *oidc.Unverified) (string, error) {
	no := &fault{reason: policy.Usage, msg: "the run does not say in which repository it is", hint: "name it with --repo"}
	if t == nil {
		return "", no
	}
	issuer, ok := oidc.TrustedIssuers(nil, "").Find(t.Issuer)
	if !ok {
		return "", no
	}
	id, _, err := t.Run(issuer)
	if err != nil {
		return "", refusal(err)
	}
	l, err := policy.NormalizeLocator(id.SourceRepositoryURI)
	if err != nil {
		return "", no
	}
	return l.String(), nil
}

// head returns the version in force.
func (f *found) head() chain.Version {
	vs := f.res.Chain.Versions()
	return vs[len(vs)-1]
}

// decideRelease judges everything that is to be released.
func (a *app) decideRelease(ctx context.Context, o *authorizeOptions, z *authorization, args []string) error {
	var err error
	if z.subjects, err = subjectsOf(args, z.found.trusted().DigestAlgorithms()); err != nil {
		return err
	}
	if z.stage == policy.StagePublish {
		if err := a.collectApprovals(ctx, z); err != nil {
			return err
		}
	}
	id := z.run.Identity()
	z.tag, z.commit = o.tag.value, o.commit.value
	if o.statement {
		z.statement = o.tag.value
	}
	if z.tag == "" {
		z.tag = id.Tag()
	}
	if z.commit == "" {
		z.commit = id.Commit()
	}
	z.request = policy.Request{Tag: z.tag, Commit: z.commit, Now: a.Now(), Skew: clockSkew}
	subjects := z.subjects
	if len(subjects) == 0 {
		subjects = []subject{{}}
	}
	for _, s := range subjects {
		z.decisions = append(z.decisions, z.decide(id, s))
	}
	block := z.moved()
	drift, err := a.drift(ctx, o, z)
	if err != nil {
		return err
	}
	if z.drift = drift; block == nil && len(drift) > 0 {
		block = &policy.Decision{Reason: policy.CheckoutDiffers, Detail: drift[0]}
	}
	for i := range z.decisions {
		if d := &z.decisions[i]; block != nil && d.Outcome == policy.Permitted {
			d.Outcome, d.Reason, d.Detail, d.Rule = policy.Denied, block.Reason, block.Detail, ""
		}
	}
	return nil
}

// collectApprovals verifies the approvals that lie beside the files.
func (a *app) collectApprovals(ctx context.Context, z *authorization) error {
	seen := map[string][]policy.Approval{}
	for i := range z.subjects {
		s := &z.subjects[i]
		if s.path == "" {
			continue
		}
		dir := filepath.Dir(s.path)
		if _, ok := seen[dir]; !ok {
			j, err := z.found.judge(a, "")
			if err != nil {
				return err
			}
			if seen[dir], err = j.Approvals(ctx, &release.Artifact{Arg: s.arg, Name: s.name, Path: s.path}); err != nil {
				return errFailure(err)
			}
		}
		s.approvals = seen[dir]
	}
	return nil
}

// decide judges one thing for an identity.
func (z *authorization) decide(id policy.Identity, s subject) policy.Decision {
	tags, source := release.RunTags(id, s.name, z.statement)
	req := z.request
	req.Digests, req.Approvals = s.digests, s.approvals
	if s.name != "" {
		req.Names = []string{s.name}
	}
	return z.found.trusted().Authorize(z.run, z.stage, req, tags, source)
}

// moved compares the tag with the one that the repository has: one that was
// moved, or taken away, since the run began is released by nobody.
func (z *authorization) moved() *policy.Decision {
	id := z.run.Identity()
	spellings := []string{z.tag}
	if z.tag == "" {
		for _, s := range z.subjects {
			tags, _ := release.RunTags(id, s.name, z.statement)
			spellings = append(spellings, tags...)
		}
	}
	for _, tag := range spellings {
		at, known := z.found.snapshot.Tag(tag)
		switch {
		case tag == "" || !known:
		case at == "" && tag == id.Tag():
			return &policy.Decision{Reason: policy.TagMismatch, Detail: "the repository has no tag " + tag + " any more"}
		case at != "" && z.commit != "" && string(at) != z.commit:
			return &policy.Decision{Reason: policy.CommitMismatch, Detail: "the tag " + tag + " of the repository is at " + string(at) + ", the run is for " + z.commit}
		}
	}
	return nil
}

// namedSubjects reads the arguments: files, package URLs, and names of files that
// are not there yet.
func namedSubjects(args []string) ([]subject, error) {
	if len(args) > release.MaxArtifacts {
		return nil, faultf(policy.Usage, "more than %d artifacts", release.MaxArtifacts)
	}
	var out []subject
	for _, arg := range args {
		s := subject{arg: arg, name: arg}
		info, err := os.Stat(arg)
		switch {
		case strings.HasPrefix(arg, "pkg:"):
		case errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(arg, `/\`) && arg != "":
		case err != nil:
			return nil, faultf(policy.ArtifactRead, "%s", err)
		case !info.Mode().IsRegular():
			return nil, &fault{reason: policy.Usage, msg: arg + " is not a regular file", hint: "name the files in it"}
		default:
			s.name, s.path = filepath.Base(arg), arg
		}
		out = append(out, s)
	}
	return out, nil
}

// subjectsOf reads the arguments and the digests of files.
func subjectsOf(args, algs []string) ([]subject, error) {
	if !slices.Contains(algs, "sha256") {
		algs = append(algs, "sha256")
	}
	out, err := namedSubjects(args)
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		if s.path == "" {
			continue
		}
		if s.digests, err = release.Digests(s.path, algs); err != nil {
			return nil, faultf(policy.ArtifactRead, "%s", err)
		}
	}
	return out, nil
}

// receiptOf returns the receipt of an authorisation.
func receiptOf(z *authorization, now time.Time) *oidc.Receipt {
	id := z.run.Identity()
	r := &oidc.Receipt{
		Schema: schemaURL("receipt-v1"), Repository: z.found.repo.String(), Tag: z.tag, Commit: z.commit,
		PolicyVersion: z.version.Number, Policy: z.version.Document.Digest().String(), Statement: "sha256:" + z.version.Statement,
		Stage: string(z.stage), Identity: id.Value, Issuer: id.Issuer, Audience: z.audience,
		Issued: now.UTC().Truncate(time.Second), Artifacts: []oidc.ReceiptArtifact{},
	}
	r.Expires = r.Issued.Add(oidc.MaxLifetime)
	if v := z.verified; v != nil {
		r.Run, r.Attempt, _ = v.RunID(v.Issuer) // a person has none
	}
	if e := z.version.Document.Content().Expires; e.Before(r.Expires) {
		r.Expires = e
	}
	for i, s := range z.subjects {
		x := oidc.ReceiptArtifact{Name: s.name, Rule: z.decisions[i].Rule}
		for _, d := range s.digests {
			if d.Alg == "sha256" {
				x.Digest = d.String()
			}
		}
		r.Artifacts = append(r.Artifacts, x)
	}
	return r
}
