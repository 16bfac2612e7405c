// SPDX-License-Identifier: Apache-2.0

// Package gate decides whether a run may release: it is asked before something is signed or
// published, by whoever does that.
package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/token"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Subject is one thing that is to be released.
type Subject struct {
	Arg, Name, Path string
	Digests         []policy.Digest
	Approvals       []policy.Approval // that lie beside it
}

// Authorization is the answer to a run that asks to release.
type Authorization struct {
	Stage    policy.Stage
	Found    *find.Found
	Version  chain.Version // the head of the chain
	Run      policy.Run
	Verified *token.Verified // nil for a key
	Audience string

	Tag, Commit string
	Statement   string // tag that a release predicate will name; "" without one
	Request     policy.Request
	Subjects    []Subject
	Decisions   []policy.Decision
	Drift       []string
}

// Class is OK only if there is a decision and every one permits.
func (z *Authorization) Class() policy.Class {
	var cs []policy.Class
	for _, d := range z.Decisions {
		c := d.Reason.Class()
		if (c == policy.ClassOK) != (d.Permitted) {
			c = policy.ClassInternal
		}
		cs = append(cs, c)
	}
	return policy.Worst(cs...)
}

// ReceiptSchema is the schema of the receipts of [Authorization.Receipt].
const ReceiptSchema = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/receipt-v1.json"

// Gate is the machine on which a run asks.
type Gate struct {
	Finder *find.Finder
	// Getenv returns what a CI says of the run, which the token must agree with; nil says nothing.
	Getenv func(string) string
	// Elsewhere says that the run is not on this machine, whose environment says nothing of it.
	Elsewhere bool
	// Ignored, if set, is called with each file of an approval that is none, or does not verify.
	Ignored func(path string, err error)
	// Note, if set, hears what decides nothing.
	Note func(line string)
}

// Asked is what a run wants to release, beside what it shows of itself.
type Asked struct {
	Stage     policy.Stage
	Tag       string               // "" for that of the run
	Commit    string               // "" for that of the run
	Statement bool                 // what will be signed is a release statement that names the tag
	Hash      string               // in which the digests of files are wanted, beside SHA-256; "" for none
	Narrow    *policy.FlagIdentity // the one who may, beside what the policy says; nil for any
	// Checkout is a directory of a work tree that has to be of the commit; "" for none, and
	// May says that there need not be one.
	Checkout string
	May      bool
}

// Verify verifies a token by the issuers that are built in and those that
// the bound policy names, and compares it with the environment.
func (g *Gate) Verify(
	ctx context.Context, t *identity.Unverified, f *find.Found, audience, signIn string,
) (*token.Verified, error) {
	v := token.Verifier{
		Issuers:   identity.TrustedIssuers(f.Trusted().Content(), signIn),
		Transport: g.Finder.Transport, Agent: g.Finder.Agent, Now: g.Finder.Now,
	}
	verified, err := v.Verify(ctx, t.Raw, audience)
	if err == nil && !g.Elsewhere {
		err = verified.Agree(verified.Issuer, g.Getenv)
	}
	if err != nil {
		return nil, Refusal(fmt.Errorf("the ID token: %w", err))
	}
	return verified, nil
}

// Find finds the policy by which a run is judged: one that nothing at hand stands for.
func (g *Gate) Find(ctx context.Context, q *find.Query) (*find.Found, error) {
	f, err := g.Finder.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	f.Demand.Strict = true
	g.Finder.Inform(ctx, f)
	return f, nil
}

// Authorize judges a run by the policy that was found. Names are files, package URLs and
// names of files that are not there yet.
func (g *Gate) Authorize(
	ctx context.Context, f *find.Found, verified *token.Verified, a Asked, names []string,
) (*Authorization, error) {
	if err := f.Usable(g.Finder.Now()); err != nil {
		return nil, err
	}
	z := &Authorization{Stage: a.Stage, Found: f, Version: f.Head(), Run: verified.Run}
	if verified.Unverified != nil { // a key has no token
		z.Verified, z.Audience = verified, verified.Audience[0]
	}
	return z, g.decide(ctx, a, z, names)
}

// RepositoryOf returns the repository that a token says it is in, to look up its policy: nothing is
// allowed by that. It is "" if there is no token, or the token does not say.
func RepositoryOf(t *identity.Unverified) (string, error) {
	if t == nil {
		return "", nil
	}
	issuer, ok := identity.TrustedIssuers(nil, "").Find(t.Issuer)
	if !ok {
		return "", nil
	}
	id, _, err := t.Run(issuer)
	if err != nil {
		return "", Refusal(err)
	}
	l, err := policy.NormalizeLocator(id.SourceRepositoryURI)
	if err != nil {
		return "", nil //nolint:nilerr // of a run that is in none
	}
	return l.String(), nil
}

// decide judges everything that is to be released.
func (g *Gate) decide(ctx context.Context, a Asked, z *Authorization, args []string) error {
	var err error
	if z.Subjects, err = subjectsOf(args, append(z.Found.Trusted().DigestAlgorithms(), "sha256", a.Hash)); err != nil {
		return err
	}
	if z.Stage == policy.StagePublish {
		if err := g.collectApprovals(ctx, z); err != nil {
			return err
		}
	}
	id := z.Run.Identity()
	z.Tag, z.Commit = a.Tag, a.Commit
	if a.Statement {
		z.Statement = a.Tag
	}
	if z.Tag == "" {
		z.Tag = id.Tag()
	}
	if z.Commit == "" {
		z.Commit = id.Commit()
	}
	z.Request = policy.Request{Tag: z.Tag, Commit: z.Commit, Now: g.Finder.Now(), Skew: find.Skew, Narrow: a.Narrow}
	subjects := z.Subjects
	if len(subjects) == 0 {
		subjects = []Subject{{}}
	}
	for _, s := range subjects {
		z.Decisions = append(z.Decisions, z.Decide(id, s))
	}
	block := z.moved()
	drift, err := g.drift(ctx, a, z)
	if err != nil {
		return err
	}
	if z.Drift = drift; block == nil && len(drift) > 0 {
		block = &policy.Decision{Reason: policy.CheckoutDiffers, Detail: drift[0]}
	}
	for i := range z.Decisions {
		if d := &z.Decisions[i]; block != nil && d.Permitted {
			d.Permitted, d.Reason, d.Detail, d.Rule = false, block.Reason, block.Detail, ""
		}
	}
	return nil
}

// collectApprovals verifies the approvals that lie beside the files.
func (g *Gate) collectApprovals(ctx context.Context, z *Authorization) error {
	seen := map[string][]policy.Approval{}
	for i := range z.Subjects {
		s := &z.Subjects[i]
		if s.Path == "" {
			continue
		}
		dir := filepath.Dir(s.Path)
		if _, ok := seen[dir]; !ok {
			j, err := g.Judge(z.Found, "")
			if err != nil {
				return err
			}
			if seen[dir], err = j.Approvals(ctx, &release.Artifact{Arg: s.Arg, Name: s.Name, Path: s.Path}); err != nil {
				return errFailure(err)
			}
		}
		s.Approvals = seen[dir]
	}
	return nil
}

// Decide judges one thing for an identity.
func (z *Authorization) Decide(id policy.Identity, s Subject) policy.Decision {
	tags, source := release.RunTags(id, s.Name, z.Statement)
	req := z.Request
	req.Digests, req.Approvals = s.Digests, s.Approvals
	if s.Name != "" {
		req.Names = []string{s.Name}
	}
	return z.Found.Trusted().Authorize(z.Run, z.Stage, req, tags, source)
}

// moved compares the tag with the one that the repository has: one that was
// moved, or taken away, since the run began is released by nobody.
func (z *Authorization) moved() *policy.Decision {
	id := z.Run.Identity()
	spellings := []string{z.Tag}
	if z.Tag == "" {
		for i, s := range z.Subjects {
			tags, _ := release.RunTags(id, s.Name, z.Statement)
			if tag := z.Decisions[i].Tag; tag != "" && !slices.Contains(tags, tag) {
				tags = []string{tag} // by the rule's tag-prefix it counts as no other
			}
			spellings = append(spellings, tags...)
		}
	}
	for _, tag := range spellings {
		at, known := z.Found.Snapshot.Tag(tag)
		switch {
		case tag == "" || !known:
		case at == "" && tag == id.Tag():
			return &policy.Decision{Reason: policy.TagMismatch, Detail: "the repository has no tag " + tag + " any more"}
		case at != "" && z.Commit != "" && string(at) != z.Commit:
			detail := "the tag " + tag + " of the repository is at " + string(at) + ", the run is for " + z.Commit
			return &policy.Decision{Reason: policy.CommitMismatch, Detail: detail}
		}
	}
	return nil
}

// NamedSubjects reads the arguments: files, package URLs, and names of files that
// are not there yet.
func NamedSubjects(args []string) ([]Subject, error) {
	if len(args) > release.MaxArtifacts {
		return nil, policy.Faultf(policy.Usage, "more than %d artifacts", release.MaxArtifacts)
	}
	var out []Subject
	for _, arg := range args {
		s := Subject{Arg: arg, Name: arg}
		info, err := os.Stat(arg)
		switch {
		case strings.HasPrefix(arg, "pkg:"):
		case errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(arg, `/\`) && arg != "":
		case err != nil:
			return nil, policy.Faultf(policy.ArtifactRead, "%s", err)
		case !info.Mode().IsRegular():
			return nil, &policy.Fault{Reason: policy.Usage, Text: arg + " is not a regular file", Hint: "name the files in it"}
		default:
			s.Name, s.Path = filepath.Base(arg), arg
		}
		out = append(out, s)
	}
	return out, nil
}

// subjectsOf reads the arguments and the digests of files.
func subjectsOf(args, algs []string) ([]Subject, error) {
	algs = slices.DeleteFunc(algs, func(alg string) bool { return alg == "" })
	out, err := NamedSubjects(args)
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		if s.Path == "" {
			continue
		}
		if s.Digests, err = release.Digests(s.Path, algs); err != nil {
			return nil, policy.Faultf(policy.ArtifactRead, "%s", err)
		}
	}
	return out, nil
}

// Receipt returns the receipt of an authorisation.
func (z *Authorization) Receipt(now time.Time) *identity.Receipt {
	id := z.Run.Identity()
	r := &identity.Receipt{
		Schema: ReceiptSchema, Repository: z.Found.Repository.String(), Tag: z.Tag, Commit: z.Commit,
		PolicyVersion: z.Version.Number, Policy: z.Version.Document.Digest().String(),
		Statement: "sha256:" + z.Version.Statement,
		Stage:     string(z.Stage), Identity: id.Value, Issuer: id.Issuer, Audience: z.Audience,
		Issued: now.UTC().Truncate(time.Second), Artifacts: []identity.ReceiptArtifact{},
	}
	r.Expires = r.Issued.Add(identity.MaxLifetime)
	if v := z.Verified; v != nil {
		r.Run, r.Attempt, _ = v.RunID(v.Issuer) // a person has none
	}
	if e := z.Version.Document.Content().Expires; e.Before(r.Expires) {
		r.Expires = e
	}
	for i, s := range z.Subjects {
		x := identity.ReceiptArtifact{Name: s.Name, Rule: z.Decisions[i].Rule}
		for _, d := range s.Digests {
			if d.Alg == "sha256" {
				x.Digest = d.String()
			}
		}
		r.Artifacts = append(r.Artifacts, x)
	}
	return r
}

// Judge returns what judges files by the policy that was found.
func (g *Gate) Judge(f *find.Found, tag string) (*release.Judge, error) {
	j := &release.Judge{
		Policy: f.Trusted(), Tag: tag, Now: g.Finder.Now(), Skew: find.Skew, Watch: f.Watch,
		Roots:   func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{f.Root.Root}, nil },
		Ignored: g.Ignored, PlaceProof: bindings.PlaceMoment,
	}
	var err error
	j.Keys, err = find.Keys(j.Policy, f.Repository.String())
	return j, err
}

// errFailure turns a failure of the evidence's room into a fault.
func errFailure(err error) error {
	var f *release.Failure
	if errors.As(err, &f) {
		return policy.Faultf(f.Reason, "%s", f.Detail)
	}
	return err
}

// Refusal returns what is wrong with a token or receipt as a fault.
func Refusal(err error) error {
	var r *identity.Refusal
	if errors.As(err, &r) {
		return policy.Faultf(r.Reason, "%s", err)
	}
	return err
}
