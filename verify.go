// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/side"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// VerifyOption is something that is judged, or a criterion.
type VerifyOption struct{ set func(*request) }

// request is what is judged, and how.
type request struct {
	artifacts           []string
	tag, name, worktree string
	bundles, carried    []string // files with evidence
	cooldown            time.Duration
	full, ignoreMissing bool
	download            string
	targets             *find.Targets // of the trust roots that rules name
}

func newRequest(options []VerifyOption) (*request, error) {
	r := &request{}
	for _, o := range options {
		if o.set == nil {
			return nil, errZero
		}
		o.set(r)
	}
	return r, nil
}

// Artifact judges what the command line takes: a file, every file in a directory, everything
// that a checksum file lists, every image of an OCI layout, a tag (refs/tags/NAME), a digest
// (sha256:HEX), a release or one of its files by its URL, a package (pkg:npm/NAME@VERSION),
// an image (oci://REGISTRY/NAME:TAG).
func Artifact(names ...string) VerifyOption {
	return VerifyOption{func(r *request) { r.artifacts = append(r.artifacts, names...) }}
}

// File judges a file of this machine, whatever its name looks like.
func File(path string) VerifyOption {
	if looksElsewhere(path) {
		path = "./" + path
	}
	return Artifact(path)
}

// Tag demands evidence for a tag, such as v1.2.3.
func Tag(tag string) VerifyOption { return VerifyOption{func(r *request) { r.tag = tag }} }

// Name says what the one artifact is called, if its file has another name here.
func Name(name string) VerifyOption { return VerifyOption{func(r *request) { r.name = name }} }

// Bundle uses a file as evidence for every artifact, or as a checksum file that lists them,
// instead of what lies beside them.
func Bundle(paths ...string) VerifyOption {
	return VerifyOption{func(r *request) { r.bundles = append(r.bundles, paths...) }}
}

// Worktree reads Git tags from the repository in a directory instead of the working directory's.
func Worktree(dir string) VerifyOption { return VerifyOption{func(r *request) { r.worktree = dir }} }

// Cooldown refuses what was signed less than this long ago.
func Cooldown(d time.Duration) VerifyOption { return VerifyOption{func(r *request) { r.cooldown = d }} }

// Explain keeps what every rule of the policy says of the evidence.
func Explain() VerifyOption { return VerifyOption{func(r *request) { r.full = true }} }

// IgnoreMissing leaves out what a checksum file lists and is not there, as long as something is.
func IgnoreMissing() VerifyOption { return VerifyOption{func(r *request) { r.ignoreMissing = true }} }

// Download writes what was downloaded to a directory, if everything is allowed.
func Download(dir string) VerifyOption { return VerifyOption{func(r *request) { r.download = dir }} }

// Check refuses what cannot be meant, before anybody is asked. The repository is that of the
// policy; "" if there is none.
func (c *Client) Check(repository string, options ...VerifyOption) error {
	p := &Policy{}
	if repository != "" {
		var err error
		if p.repo, err = policy.NormalizeLocator(repository); err != nil {
			return policy.Faultf(policy.Usage, "%s", err)
		}
	}
	req, err := newRequest(options)
	if err == nil {
		_, err = c.published(p, req)
	}
	return err
}

// Verify judges what the options name by a policy. It returns a verdict whenever it could
// judge, also one that says no; see [Verdict.OK]. An error is a [*policy.Fault], or one of
// this machine.
func (c *Client) Verify(ctx context.Context, p *Policy, options ...VerifyOption) (*Verdict, error) {
	if !p.made() {
		return nil, errZero
	}
	ctx, done := within(ctx)
	defer done()
	req, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	if err := c.past(); err != nil {
		return nil, err
	}
	pub, err := c.published(p, req)
	if err != nil {
		return nil, err
	}
	removeCarried, err := req.unpackCarried(p)
	if err != nil {
		return nil, err
	}
	defer removeCarried()
	req.targets = c.targets(ctx, p)
	defer req.targets.Close()
	if c.Reading != nil {
		ctx = release.Reading(ctx, c.Reading)
	}
	p, acc, err := c.judgeAll(ctx, p, req, pub)
	if err != nil {
		return nil, err
	}
	v := newVerdict(p, acc)
	if err := pub.folder.Deliver(acc); err != nil {
		return nil, policy.Faultf(policy.ArtifactRead, "--download: %s", err)
	}
	acc.Close()
	return v, nil
}

// unpackCarried writes the evidence that the policy's bundle carries into a new directory,
// unless the caller gave evidence. The returned function removes that directory.
func (r *request) unpackCarried(p *Policy) (remove func(), err error) {
	b := p.carried()
	if b == nil || len(b.Evidence) == 0 || len(r.bundles) > 0 {
		return func() {}, nil
	}
	dir, err := os.MkdirTemp("", "repopolicy-")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if r.carried, err = b.Unpack(dir); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// judgeAll judges what was published by p. If there is evidence about which the staple of p
// cannot say anything, or of a repository without a policy by numbers of which nobody was asked,
// it asks for the policy anew, judges again and returns that policy.
func (c *Client) judgeAll(
	ctx context.Context, p *Policy, req *request, pub *publication,
) (*Policy, *account.Account, error) {
	judges, err := c.judges(ctx, p, req, pub)
	if err != nil {
		return nil, nil, err
	}
	inputs, err := pub.inputs(ctx)
	if err != nil {
		return nil, nil, err
	}
	if c.Progress != nil {
		c.Progress(0, account.Expected(inputs))
	}
	acc := c.take(ctx, req, p.demand, judges, inputs)
	numbers := unasked(p)
	if !beyond(judges) && len(numbers) == 0 {
		return p, acc, nil
	}
	before := p.under[0]
	if p, err = p.again(ctx, func(q *find.Query) { q.Beyond, q.Beside = true, numbers }); err != nil {
		return nil, nil, err
	}
	if before.unbound != nil {
		p.under[0].first = before.first
	}
	if judges, err = c.judges(ctx, p, req, pub); err != nil {
		return nil, nil, err
	}
	return p, c.take(ctx, req, p.demand, judges, inputs), nil
}

// beyond reports whether a run had evidence about which its staple cannot say anything.
func beyond(judges []*release.Judge) bool {
	return slices.ContainsFunc(judges, func(j *release.Judge) bool {
		w, ok := j.Watch.(*find.Watch)
		return ok && w.Beyond()
	})
}

// unasked returns the numbers of repositories of which has to be asked before a release without
// a policy is allowed.
func unasked(p *Policy) (out []string) {
	for _, f := range p.under {
		if f.unbound != nil {
			out = append(out, f.unbound.Unasked()...)
		}
	}
	return out
}

// judges returns what judges under each root.
func (c *Client) judges(
	ctx context.Context, p *Policy, req *request, pub *publication,
) ([]*release.Judge, error) {
	out := make([]*release.Judge, len(p.under))
	for i, f := range p.under {
		j, err := c.judge(ctx, p, req, f)
		if err != nil {
			return nil, err
		}
		j.Release, j.Sources = pub.place, pub.sources
		out[i] = j
	}
	return out, nil
}

// judge returns what judges by a policy under one root.
func (c *Client) judge(ctx context.Context, p *Policy, req *request, f *found) (*release.Judge, error) {
	j := &release.Judge{
		Listed:  req.targets.Listed,
		Bundles: req.bundles, Carried: req.carried, Tag: req.tag, Narrow: p.signer, Full: req.full, Cooldown: req.cooldown,
		PlaceProof: bindings.PlaceMoment, Roots: plain(f.open),
	}
	if c.Log != nil {
		j.Ignored = c.ignored
	}
	if c.followsGitHub(f) && p.carried() == nil {
		j.Recorded = c.recorded
	}
	j.Now, j.Skew = c.asOf()
	called := p.path
	switch {
	case p.pinned != nil:
		t := p.pinned.Pin(policy.Ids{})
		j.Policy = t.Knowing(req.targets.Facts(ctx, t.KeyTargets(), t.Content()))
	case f.Found != nil:
		t := f.Trusted() // of a policy by which others judge at the same time: what roots say is this run's own
		if p.demand > 1 {
			t = t.Among(f.Root.Identity)
		}
		j.Policy = t.Knowing(req.targets.Facts(ctx, t.KeyTargets(), t.Content()))
		j.Watch, called = f.Watch, p.repo.String()
		if f.unbound != nil {
			j.Policy = f.unbound
		}
		root := f.Root.Root // the same root for the release
		j.Roots = func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{root}, nil }
	default:
		j.Policy = p.trusted
	}
	var err error
	j.Keys, err = find.Keys(j.Policy, called)
	return j, err
}

// followsGitHub reports whether what GitHub records of releases is believed beside a root.
func (c *Client) followsGitHub(f *found) bool {
	return len(c.TrustedRoots) == 0 && (f.name == "" || f.name == string(trust.PublicGood))
}

// recorded returns the roots under which GitHub signs what it records of releases.
func (c *Client) recorded(ctx context.Context) ([]*sigstore.Root, error) {
	roots, err := c.finder(ctx).GitHub(ctx, trust.Options{Offline: c.Offline})
	return trust.Plain(roots), err
}

// targets returns what asks the trust roots that the rules of a policy name, or the user.
func (c *Client) targets(ctx context.Context, p *Policy) *find.Targets {
	q := &find.Query{Repository: p.repo, Trust: c.trust(), Offline: c.Offline, Carried: p.carried()}
	if q.Carried != nil {
		q.Moment = c.AsOf
	}
	if p.byName {
		return c.finder(ctx).TargetsOf(q)
	}
	return c.finder(ctx).Targets(q)
}

// plain adapts what opens roots to what a judge wants of them.
func plain(open func(context.Context) ([]trust.Root, error)) func(context.Context) ([]*sigstore.Root, error) {
	return func(ctx context.Context) ([]*sigstore.Root, error) {
		roots, err := open(ctx)
		return trust.Plain(roots), err
	}
}

// sides returns the kinds of side files that may lie beside what is allowed.
func (c *Client) sides() ([]side.Kind, error) {
	var out []side.Kind
	for _, name := range c.SideFiles {
		k := side.Kind(name)
		if !slices.Contains(side.Kinds, k) {
			return nil, &policy.Fault{
				Reason: policy.Usage, Text: fmt.Sprintf("--side-files: %q is no kind of side files", name),
				Hint: "the kinds are openpgp, signature, certificate and checksums",
			}
		}
		out = append(out, k)
	}
	return out, nil
}

// take lets every judge judge the inputs, joins what they make of each, and accounts for all
// of them.
func (c *Client) take(
	ctx context.Context, req *request, demand int, judges []*release.Judge, inputs []*release.Input,
) *account.Account {
	kinds, _ := c.sides()
	r := account.Run{
		Inputs: inputs,
		Judge: func(ctx context.Context, artifacts []*release.Artifact) []*release.Result {
			var all [][]*release.Result
			for _, j := range judges {
				if c.Progress != nil {
					j.Progress = func(done int) { c.Progress(done, len(artifacts)) }
				}
				all = append(all, j.Run(ctx, artifacts))
			}
			return release.Quorum(demand, all)
		},
		Sides: kinds,
		Lines: judges[0].Lines,
		Dates: func(ctx context.Context, in *release.Input) bool {
			return slices.ContainsFunc(judges, func(j *release.Judge) bool { return j.Dates(ctx, in) })
		},
	}
	for _, path := range slices.Concat(req.bundles, req.carried) {
		r.Named = append(r.Named, release.NamedEvidence(ctx, path))
	}
	for _, j := range judges {
		r.Keys, j.Named = append(r.Keys, j.Keys...), r.Named
	}
	return account.Take(ctx, r)
}

// Inspect returns what evidence there is for what the options name, as they name it for
// [Client.Verify], or what is in a file that is evidence itself. Who signed, when and in which log is
// verified under the roots that speak for the repository; "" for the client's. It is no verdict, and nothing
// is allowed by it. Of each result, Others are the pieces of evidence, in the order in which they were found,
// and Decision says why there is none to show, or may be more; its Reason is "" if all is shown. Decision of a
// piece says why it is not verified. An error is a [*policy.Fault], or one of this machine.
func (c *Client) Inspect(ctx context.Context, repository string, options ...VerifyOption) ([]*Result, error) {
	ctx, done := within(ctx)
	defer done()
	p, err := c.unjudged(ctx, repository)
	if err != nil {
		return nil, err
	}
	req, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	req.download = ""
	pub, err := c.published(p, req)
	if err != nil {
		return nil, err
	}
	j := &release.Judge{
		Roots: plain(p.everyRoot), Bundles: req.bundles, Tag: req.tag, Release: pub.place, Sources: pub.sources,
		PlaceProof: bindings.PlaceMoment,
	}
	j.Now, j.Skew = c.asOf()
	if slices.ContainsFunc(p.under, c.followsGitHub) {
		j.Recorded = c.recorded
	}
	for i, pem := range c.Keys {
		key, err := sigstore.ParseKey(pem, time.Time{}, time.Time{})
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "key %d: %s", i+1, err)
		}
		j.Keys = append(j.Keys, key)
	}
	inputs, err := pub.inputs(ctx)
	if err != nil {
		return nil, err
	}
	var out []*Result
	for _, x := range j.Inspect(ctx, inputs) {
		out = append(out, newInspection(x))
	}
	return out, nil
}

// unjudged returns the roots that speak for a repository, without a policy; for "" the client's.
func (c *Client) unjudged(ctx context.Context, repository string) (*Policy, error) {
	if repository == "" {
		return &Policy{under: []*found{{open: c.anyRoots}}}, nil
	}
	repo, err := policy.NormalizeLocator(withScheme(repository))
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	q := &find.Query{Repository: repo, Trust: c.trust(), Offline: c.Offline}
	return c.underRoots(ctx, &Policy{repo: repo}, q, func(context.Context, *found) error { return nil })
}

// Limits of what [Client.Signed] looks at: a person reads it, and it decides nothing.
const (
	mostSigned      = 8        // artifacts, the first ones
	mostSignedBytes = 64 << 20 // of each
	mostSignedTime  = time.Minute
)

// Signed says who signed what the options name, for a person to see who asks about a repository
// without a policy: evidence that is verified under the trusted roots is so marked, and nothing is
// allowed. Of many artifacts it looks at the first few. An error is a [*policy.Fault], or one of
// this machine.
func (c *Client) Signed(ctx context.Context, repository string, options ...VerifyOption) ([]*Result, error) {
	ctx, done := within(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, mostSignedTime)
	defer cancel()
	req, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	req.download = ""
	little := *c
	little.Sources.MaxBytes = min(cmp.Or(c.Sources.MaxBytes, mostSignedBytes), mostSignedBytes)
	p, err := little.unjudged(ctx, repository)
	if err != nil {
		return nil, err
	}
	pub, err := little.published(p, req)
	if err != nil {
		return nil, err
	}
	inputs, err := pub.inputs(ctx)
	if err != nil {
		return nil, err
	}
	var artifacts []*release.Artifact
	for _, in := range inputs {
		if !in.IsEvidence() && !in.Harmless {
			artifacts = append(artifacts, in.Artifact)
		}
	}
	if n := len(artifacts); n > mostSigned {
		c.say(fmt.Sprintf("note: of %d artifacts the first %d are looked at", n, mostSigned))
		artifacts = artifacts[:mostSigned]
	}
	j := &release.Judge{
		Policy: noPolicy{}, Roots: plain(p.everyRoot), Bundles: req.bundles, Tag: req.tag, Release: pub.place,
		Sources: pub.sources,
	}
	j.Now, j.Skew = c.asOf()
	var out []*Result
	for _, r := range j.Run(ctx, artifacts) {
		out = append(out, newResult(r))
	}
	return out, nil
}

// everyRoot opens the roots that speak for the repository, each of which is tried alone.
func (p *Policy) everyRoot(ctx context.Context) (out []trust.Root, err error) {
	for _, f := range p.under {
		roots, err := f.open(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, roots...)
	}
	return out, nil
}

// noPolicy is what evidence is verified for where there is nothing to judge by. It allows nothing.
type noPolicy struct{ *policy.Trusted }

// Precheck knows nothing in advance.
func (noPolicy) Precheck(policy.Request, policy.Claims) (policy.Decision, bool) {
	return policy.Decision{}, false
}

// Decide denies.
func (noPolicy) Decide(policy.Request, policy.Evidence) policy.Decision {
	return policy.Decision{Reason: policy.NoBinding}
}
