// SPDX-License-Identifier: Apache-2.0

package release

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/package-url/packageurl-go"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Policy is what artifacts are judged by: one file, a [policy.Trusted], or a chain of
// versions, a Trusted of policy/chain.
type Policy interface {
	Decide(policy.Request, policy.Evidence) policy.Decision
	Precheck(policy.Request, policy.Claims) (policy.Decision, bool)
	DecideAdopted(policy.Request) (policy.Decision, bool)
	Genesis() policy.GenesisLabel
	DigestAlgorithms() []string
	AcceptsUnlogged() bool
	DemandsApprovals() bool
	Keys() []policy.Key
	ApprovalKeys() []policy.Key
	WithoutKey(policy.Request, policy.Claims) policy.Decision
	Targets(name, tag string) ([]policy.Claims, string)
}

// Judge judges artifacts under one policy. Fill in the fields, then call Run
// once. The zero value allows nothing.
type Judge struct {
	Policy Policy
	// Roots returns the trusted roots, each of which is tried alone. It is
	// called when the first signature is to be verified, and only once.
	Roots func(context.Context) ([]*sigstore.Root, error)
	// Recorded returns the roots under which a forge signs what it records of a release. They count
	// for nothing else (SPEC 5.6), and are called for when such evidence is to be verified; nil for
	// none.
	Recorded func(context.Context) ([]*sigstore.Root, error)
	// Keys are the public keys that may have signed.
	Keys []*sigstore.Key
	// Bundles are files with evidence for every artifact, or for a checksum file
	// among them or beside an artifact. If there are none, evidence is looked for
	// beside each artifact, then in Release, then Sources are asked.
	Bundles []string
	// Carried are such files that stand beside what lies there. They are not looked
	// at if there are Bundles.
	Carried []string
	// Named are the inputs of [NamedEvidence] for both, so that they are read once.
	Named []*Input
	// Release is where evidence for artifacts without a Place of their own may be
	// published; nil for nowhere.
	Release Place
	Sources []Source
	Tag     string
	Narrow  *policy.FlagIdentity
	// PlaceProof reads a place proof and verifies it under a root; nil leaves them out.
	PlaceProof func(*sigstore.Root, []byte) (policy.Moment, error)
	// Full keeps what every rule says of the evidence. Without it a denial has the
	// nearest rule, and nothing else.
	Full bool
	// Cooldown is how old evidence has to be; see [policy.Request].
	Cooldown time.Duration
	Now      time.Time
	Skew     time.Duration
	// Listed returns what a trust root says now of a target, nil if it lists none. It may be called
	// from several goroutines, and is nil where no root can be asked.
	Listed func(ctx context.Context, want policy.RootTarget) (*Listed, error)
	// Watch knows what else was seen of the trusted root; nil for nothing.
	Watch Watch
	// Progress, if set, is called with the number of artifacts judged so far.
	// It may be called from several goroutines.
	Progress func(done int)
	// Ignored, if set, is called with each file of an approval that is none, or
	// does not verify. It may be called from several goroutines.
	Ignored func(path string, err error)

	finder *finder
	same   same
	algs   sync.Map // digest algorithms of statements, by *sigstore.Bundle
	once   sync.Once
	roots  []*sigstore.Root
	err    error

	recordedOnce sync.Once
	recorded     []*sigstore.Root
	recordedErr  error
}

// Result is the verdict on one artifact.
type Result struct {
	Artifact *Artifact
	Digests  []policy.Digest
	Decision policy.Decision
	Evidence *Evidence // that the decision is about; nil if there is none
	Others   []*Evidence

	called    string    // the name that signed content gives, where Evidence is that of many
	unreached *Evidence // the first that could not be had
	unlisted  string    // why no trust root was asked that might list it
	hold      *hold     // of what is looked at for it
	ahead     *ahead    // evidence that was asked for already; nil if none was
}

// Evidence is one candidate and what came of it.
type Evidence struct {
	Path     string
	Sum      string // hex SHA-256 of the file as it was read; "" if it is none
	Form     string // how the form in which it was published is called
	Item     int    // which of several in the file, from 1; 0 if it holds one
	Via      string // checksum file that lists the artifact; "" if evidence is about the artifact itself
	Name     string // that the signed content gives to the artifact; "" if it gives none
	Decision policy.Decision
	// Verified is set if signature, certificate, log and time were verified.
	// Without it, Signer and Statement are only what the evidence claims.
	Verified  *sigstore.Verified
	Signer    policy.Identity
	MediaType string
	Predicate string // predicate type; "" for a message signature
	// Target is what a trust root lists, instead of a signature; nil for evidence of another kind.
	// ByRoot says whether it does, with these digests.
	Target *policy.Claims
	ByRoot bool

	open  bool // a trust root gave no answer, which might allow it
	stage stage
	among bool // one of many, most of which are about something else
}

// Checked reports whether the evidence was verified, or tried and found wanting: what its own
// words rule out is never tried, nor what there was no trusted root for.
func (ev *Evidence) Checked() bool { return ev.stage >= stageVerify && !ev.Decision.Open() }

// maxOthers is how many further pieces of evidence a result mentions.
const maxOthers = 100

// stage is how far a candidate came. Of several denials, the one that came
// farthest is reported.
type stage int

const (
	stageParse stage = iota
	stageArtifact
	stageClaims
	stageVerify
	stageDecide
	stageStale
	stageUnproven // it would do, but that its log is one is not shown
	stagePermitted
	stageAlarm // and its log is not one
)

// Run judges the artifacts, in parallel and in order. It returns one result for
// each artifact, whatever happens.
func (j *Judge) Run(ctx context.Context, artifacts []*Artifact) []*Result {
	if j.finder == nil {
		j.finder = newFinder(budget.Of(ctx), j.Bundles, j.Carried)
		j.finder.named = j.Named
	}
	out := make([]*Result, len(artifacts))
	var done atomic.Int64
	side(workers(), len(artifacts), func(i int) {
		out[i] = j.counted(ctx, artifacts[i])
		if n := int(done.Add(1)); j.Progress != nil {
			j.Progress(n)
		}
	})
	return j.settle(out)
}

// by returns what judges; without a policy, one that allows nothing.
func (j *Judge) by() Policy {
	if j.Policy == nil {
		return (*policy.Trusted)(nil)
	}
	return j.Policy
}

// Class returns the class of a run: OK only if there is at least one result and
// every one is permitted.
func Class(results []*Result) policy.Class {
	var cs []policy.Class
	for _, r := range results {
		if r == nil {
			return policy.ClassInternal
		}
		cs = append(cs, r.Class())
	}
	return policy.Worst(cs...)
}

// Class returns the class of one result: OK if and only if it is permitted.
func (r *Result) Class() policy.Class {
	c := r.Decision.Reason.Class()
	if (c == policy.ClassOK) != (r.Decision.Permitted) {
		return policy.ClassInternal
	}
	return c
}

func deny(r policy.Reason, format string, args ...any) policy.Decision {
	return policy.Decision{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

func (f *Failure) decision() policy.Decision {
	return policy.Decision{Reason: f.Reason, Detail: f.Detail}
}

// attempt is one way to show that an artifact is allowed: a candidate, and the
// thing that it must be evidence for.
type attempt struct {
	c      *candidate
	target *Artifact // what the candidate must be about: the artifact, or a checksum file
	via    *Listing  // if target is a checksum file
}

// round finds attempts.
type round func(context.Context, *Result) []attempt

// safely judges and turns a panic into the verdict INTERNAL: a goroutine's
// panic would otherwise end the process with an exit code of Go's choice.
func (j *Judge) safely(ctx context.Context, a *Artifact) (res *Result) {
	defer func() {
		if p := recover(); p != nil {
			res = &Result{Artifact: a, Decision: deny(policy.Internal, "panic: %v", p)}
		}
	}()
	return j.judge(ctx, a)
}

// counted judges, and counts what is kept of it.
func (j *Judge) counted(ctx context.Context, a *Artifact) *Result {
	res := j.safely(ctx, a)
	res.hold, res.ahead = nil, nil
	if j.same.share(res) {
		if f := j.finder.hold.take(bytesPerShared); f != nil {
			return &Result{Artifact: a, Decision: f.decision()}
		}
		return res
	}
	n := int64(bytesPerResult)
	for _, ev := range append(res.Others, res.Evidence) {
		if ev == nil {
			continue
		}
		n += bytesPerEvidence
		for _, r := range ev.Decision.Rules {
			n += bytesPerRule + bytesPerMismatch*int64(len(r.Mismatches))
		}
	}
	if f := j.finder.hold.take(n); f != nil {
		return &Result{Artifact: a, Decision: f.decision()}
	}
	return res
}

// brief drops what rules say that nobody asked about.
func (j *Judge) brief(d policy.Decision) policy.Decision {
	if j.Full {
		return d
	}
	if n, ok := d.Nearest(); ok && !d.Permitted {
		d.Rules = []policy.RuleResult{n}
	} else {
		d.Rules = nil
	}
	return d
}

func (j *Judge) judge(ctx context.Context, a *Artifact) *Result {
	res := &Result{Artifact: a, hold: &hold{budget: j.finder.hold.budget}}
	defer res.hold.give()
	if f := j.refuse(ctx, a); f != nil {
		res.Decision = f.decision()
		return res
	}
	if a.Path == "" {
		res.Digests = a.Digests
	}
	if f := j.search(ctx, res); f != nil {
		res.Decision = f.decision()
		return res
	}
	switch {
	case j.adopted(res):
	case res.Evidence == nil:
		res.Decision = deny(policy.NoEvidence, "%s", cmp.Or(res.unlisted, j.whyNothing(ctx, a, res.Digests)))
	default:
		res.Decision = res.Evidence.Decision
		if text := a.signedElsewhere(); text != "" && res.Decision.Reason == policy.ArtifactMismatch {
			res.Decision = deny(policy.NoEvidence, "%s", text)
		}
		res.preferUnreached()
	}
	return res
}

// refuse says why evidence for an artifact is not even looked for; nil if it is.
func (j *Judge) refuse(ctx context.Context, a *Artifact) *Failure {
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx)
	case a.Err != nil:
		return a.Err
	case a.Tag != "" && j.Tag != "" && a.Tag != j.Tag:
		return failf(policy.TagMismatch, "the artifact is the tag %s, asked for %s", a.Tag, j.Tag)
	}
	return nil
}

// search tries evidence until some allows the artifact: first that for the artifact itself;
// the checksum files around it are read only if that does not do, and others asked only if
// neither does.
func (j *Judge) search(ctx context.Context, res *Result) *Failure {
	targets, why := j.targets(res.Artifact)
	rounds := j.rounds(res.Artifact)
	if j.by().Genesis() == policy.GenesisFlags && (len(targets) > 0 || why != "") {
		rounds = nil // no signature was asked for
	} else {
		res.ahead = j.askAhead(ctx, res)
		defer res.ahead.end()
	}
	for _, attempts := range rounds {
		if f := j.round(ctx, res, attempts(ctx, res)); f != nil {
			return f
		}
		if res.Evidence != nil && res.Evidence.stage >= stagePermitted {
			break
		}
	}
	if res.Evidence == nil || res.Evidence.stage < stagePermitted {
		if f := j.listedBy(ctx, res, targets, why); f != nil {
			return f
		}
	}
	if ctx.Err() != nil { // whatever was found by then is no verdict
		return interrupted(ctx)
	}
	return nil
}

func interrupted(ctx context.Context) *Failure {
	return failf(policy.Interrupted, "%s", context.Cause(ctx))
}

// adopted reports whether the policy adopts the artifact by its digest, and decides by that.
func (j *Judge) adopted(res *Result) bool {
	if res.Evidence != nil && res.Evidence.stage >= stageStale {
		return false
	}
	d, ok := j.by().DecideAdopted(j.request(res.Artifact, nil, res.Digests))
	if !ok {
		return false
	}
	if res.Evidence != nil {
		res.Others = append(res.Others, res.Evidence)
	}
	res.Evidence, res.Decision = nil, d
	return true
}

// whyNothing says what is known of why no evidence for an artifact was found.
func (j *Judge) whyNothing(ctx context.Context, a *Artifact, digests []policy.Digest) string {
	if j.Release == nil && len(j.Sources) > 0 && a.Place == nil && a.Name != "" {
		return "no tag says in which release to look"
	}
	for _, s := range j.sumsAround(ctx, a) {
		if s.err != nil && s.err.Reason == policy.SumsInvalid {
			return fmt.Sprintf("%s beside it is malformed: %s", s.self.Arg, s.err.Detail)
		}
		if e, _ := s.list.Find(base(a)); e != nil && e.Weak != "" {
			return fmt.Sprintf("%s lists it with %s, which confirms nothing", s.self.Arg, e.Weak)
		}
		for _, l := range s.listings(base(a)) {
			if !l.elsewhere || l.isOf(digests) {
				return s.self.Arg + " lists it, without evidence for the list itself"
			}
		}
	}
	return ""
}

// sumsAround returns the checksum files that may list an artifact.
func (j *Judge) sumsAround(ctx context.Context, a *Artifact) []*sumsFile {
	var out []*sumsFile
	for _, p := range j.finder.given() {
		if l := j.finder.givenList(p); l != nil {
			out = append(out, l)
		}
	}
	if a.Path != "" {
		out = append(out, j.finder.sumsBeside(filepath.Dir(a.Path))...)
	}
	if p := j.placeOf(a); p != nil && base(a) != "" && a.found == nil {
		out = append(out, j.finder.sumsIn(ctx, p, base(a)).files...)
	}
	return out
}

// preferUnreached turns a denial into that of whoever gave no answer: they might have had the
// evidence that allows it. Nothing lifts a yank, and nothing renews a policy.
func (r *Result) preferUnreached() {
	u := r.unreached
	if u == nil || r.Evidence.stage >= stageStale || r.Decision.Reason == policy.YankedRelease {
		return
	}
	if r.Evidence != u {
		r.Others = append(slices.DeleteFunc(r.Others, func(e *Evidence) bool { return e == u }), r.Evidence)
	}
	r.Evidence, r.Decision = nil, u.Decision
}

// round tries the attempts and keeps the best of them and of those before.
func (j *Judge) round(ctx context.Context, res *Result, attempts []attempt) *Failure {
	a := res.Artifact
	if err := j.hash(ctx, res, attempts); err != nil {
		return failure(err, policy.ArtifactRead)
	}
	if a.Listed != nil && !a.Listed.isOf(res.Digests) {
		return a.Listed.mismatch()
	}
	for _, at := range attempts {
		res.keep(j.try(ctx, at, a, res.Digests))
		if res.Evidence.stage >= stagePermitted {
			break
		}
	}
	return nil
}

// keep keeps evidence: as what the result is about if it came farther than what was, else
// among the others. Of a collection, what is about something else is no news.
func (r *Result) keep(ev *Evidence) {
	reason := ev.Decision.Reason
	if (ev.open || reason == policy.EvidenceUnreachable || reason == policy.BudgetExceeded) && r.unreached == nil {
		r.unreached = ev
	}
	if r.Evidence == nil || ev.stage > r.Evidence.stage {
		r.Evidence, ev = ev, r.Evidence
	}
	if ev == nil || ev.among && ev.stage == stageArtifact || isApproval(ev) || len(r.Others) >= maxOthers {
		return
	}
	r.Others = append(r.Others, ev)
}

// direct returns the attempts with evidence for the artifact itself.
func (j *Judge) direct(ctx context.Context, res *Result) []attempt {
	return about(res.Artifact, j.finder.find(ctx, res.Artifact, res.hold, false))
}

// listed returns the attempts with evidence for a checksum file that lists the
// artifact.
func (j *Judge) listed(ctx context.Context, res *Result) []attempt {
	var out []attempt
	if res.Artifact.Path != "" && res.Artifact.Listed == nil {
		for _, s := range j.finder.sumsBeside(filepath.Dir(res.Artifact.Path)) {
			if s.err != nil && s.err.Reason == policy.BudgetExceeded {
				out = append(out, about(res.Artifact, []*candidate{failed(s.self.Arg, "checksum file", s.err)})...)
			}
		}
	}
	for _, l := range j.finder.listings(res.Artifact) {
		if l.Sums.Arg == res.Artifact.Arg {
			continue
		}
		for _, c := range j.finder.find(ctx, l.Sums, nil, true) {
			if j.finder.isGiven(c) && !l.isSignedBy(c) {
				continue
			}
			out = append(out, attempt{c: c, target: l.Sums, via: l})
		}
	}
	return out
}

// hash adds the artifact's digests in every algorithm that a candidate, a
// checksum file or the policy speaks about and that are not known yet, reading
// the file once.
func (j *Judge) hash(ctx context.Context, res *Result, attempts []attempt) error {
	a := res.Artifact
	algs := j.by().DigestAlgorithms()
	for _, at := range attempts {
		if at.via != nil {
			algs = append(algs, at.via.algorithms()...)
		} else if at.c.Bundle != nil {
			algs = append(algs, j.algorithms(at.c.Bundle)...)
		}
	}
	if a.Listed != nil {
		algs = append(algs, a.Listed.algorithms()...)
	}
	return j.digest(ctx, res, algs)
}

// digest adds the digests in these algorithms that are not known yet.
func (j *Judge) digest(ctx context.Context, res *Result, algs []string) error {
	digests, err := res.Artifact.Digest(ctx, algs...)
	if err != nil {
		return err
	}
	res.Digests = digests
	return nil
}

// algorithms returns those of a bundle, found out once: a statement may be about 10,000 artifacts.
func (j *Judge) algorithms(b *sigstore.Bundle) []string {
	if known, ok := j.algs.Load(b); ok {
		return known.([]string)
	}
	out := slices.Clip(algorithms(b))
	j.algs.Store(b, out)
	return out
}

// algorithms returns a smallest set of digest algorithms in which the bundle
// names each of its subjects.
func algorithms(b *sigstore.Bundle) []string {
	if d, ok := b.Message(); ok {
		return []string{d.Alg}
	}
	var out []string
	for _, s := range b.Statement().Subjects {
		has := func(alg string) bool {
			return slices.ContainsFunc(s.Digests, func(d policy.Digest) bool { return d.Alg == alg })
		}
		if slices.ContainsFunc(out, has) {
			continue
		}
		for _, alg := range []string{"sha256", "sha512", "sha384"} {
			if has(alg) {
				out = append(out, alg)
				break
			}
		}
	}
	return out
}

func (j *Judge) request(a *Artifact, names []string, digests []policy.Digest) policy.Request {
	tag := j.Tag
	if a.Tag != "" {
		tag = a.Tag
	}
	return policy.Request{
		Names: names, Digests: digests, Tag: tag, Commit: a.Commit,
		Now: j.Now, Skew: j.Skew, Narrow: j.Narrow, Cooldown: j.Cooldown,
	}
}

// try judges the artifact by one candidate. What is cheap is looked at first:
// digest, name and identity, then the signature.
func (j *Judge) try(ctx context.Context, at attempt, a *Artifact, digests []policy.Digest) *Evidence {
	ev := newEvidence(at)
	c := at.c.over(digests)
	if c.Err != nil {
		return ev.fail(stageParse, c.failure())
	}
	b := c.Bundle
	ev.describe(b)
	if f := j.refuseStatement(b); f != nil {
		return ev.fail(stageParse, f)
	}
	signed := digests
	if at.via != nil {
		if s, f := at.refuseListing(a, digests); f != nil {
			return ev.fail(s, f)
		}
		signed = at.via.signed
		digests = append(slices.Clone(digests), signed...)
	}
	matches, f := match(c, at.target, signed)
	if f != nil {
		return ev.fail(stageClaims, f)
	}
	if len(matches) == 0 {
		return ev.fail(stageArtifact, failf(policy.ArtifactMismatch, "%s", aboutText(c)))
	}
	if b.Unchecked() && j.by().Genesis() == policy.GenesisFlags {
		return ev.fail(stageParse, failf(policy.LogInvalid, "the inclusion proof comes without a checkpoint "+
			"to check it against; a policy's rule may say set-only = true"))
	}
	t := trial{c: c, a: a, via: at.via, digests: digests}
	t.approvals, t.notes, t.unseen = j.approvals(ctx, a)
	for _, m := range matches {
		for _, key := range j.keys(b) {
			if ev.improve(j.read(ctx, t, m, key)); ev.stage >= stagePermitted {
				return ev
			}
		}
	}
	return j.withoutKey(ev, t, matches)
}

// withoutKey says of a signature by a bare key that no key at hand verifies whether a trust root
// that gave no answer may have the key, and else why no rule takes it.
func (j *Judge) withoutKey(ev *Evidence, t trial, matches []matched) *Evidence {
	if t.c.Bundle.Signer().Kind != policy.KindKey || ev.stage >= stageDecide {
		return ev
	}
	why := "signed with a bare key, and the policy names none"
	if ev.Decision.Reason == policy.KeyUntrusted {
		why = "it is no signature by any key that the policy names"
	}
	for _, m := range matches {
		req := j.request(t.a, t.names(m), t.digests)
		req.Approvals = t.approvals
		d := j.by().WithoutKey(req, m.claims)
		if d.Open() {
			ev.open = true
			return ev.fail(stageClaims, &Failure{d.Reason, d.Detail})
		}
		if n, ok := d.Nearest(); ok && len(n.Mismatches) == 1 && n.Mismatches[0].Kind == "missing" {
			x := n.Mismatches[0]
			why = fmt.Sprintf("rule %s wants %s; %s", n.Rule, x.Want, x.Got)
		}
	}
	switch ev.Decision.Reason {
	case "":
		return ev.fail(stageClaims, failf(policy.KeyUntrusted, "%s", why))
	case policy.KeyUntrusted: // whose it is, it does not say
		ev.Signer = t.c.Bundle.Signer()
		return ev.fail(stageVerify, failf(policy.KeyUntrusted, "%s", why))
	}
	return ev
}

// names returns the names of the artifact by one reading.
func (t *trial) names(m matched) []string {
	if t.via != nil {
		return append(slices.Clone(m.names), t.a.Name)
	}
	return m.names
}

func newEvidence(at attempt) *Evidence {
	ev := &Evidence{
		Path: at.c.path, Sum: at.c.sum, Form: at.c.form,
		Item: at.c.Item, among: at.c.among || at.c.Item > 0,
	}
	if at.via != nil {
		ev.Via = at.target.Arg
	}
	return ev
}

// fail says how far the evidence came, and why no farther.
func (ev *Evidence) fail(s stage, f *Failure) *Evidence {
	ev.stage, ev.Decision = s, f.decision()
	return ev
}

// describe sets what the bundle claims of itself.
func (ev *Evidence) describe(b *sigstore.Bundle) {
	ev.Signer, ev.MediaType = b.Signer(), b.MediaType()
	if st := b.Statement(); st != nil {
		ev.Predicate = st.PredicateType
	}
}

// improve takes the outcome of a reading that came farther than those before it.
func (ev *Evidence) improve(one Evidence) {
	if one.stage > ev.stage || ev.Decision.Reason == "" {
		ev.stage, ev.Decision, ev.Verified, ev.open = one.stage, one.Decision, one.Verified, one.open
		ev.Signer, ev.Name = one.Signer, one.Name
	}
}

// over returns the candidate as a bundle over an artifact, if it is a signature that does not
// say itself what it is over.
func (c *candidate) over(digests []policy.Digest) *candidate {
	if c.Err != nil || c.Bare == nil {
		return c
	}
	return &candidate{path: c.path, sum: c.sum, form: c.form, Piece: c.Bare.Over(digestIn(digests, "sha256"))}
}

// refuseStatement says why a statement is evidence of no release; nil if it may be.
func (j *Judge) refuseStatement(b *sigstore.Bundle) *Failure {
	st := b.Statement()
	if st == nil {
		return nil
	}
	own := func(prefix string) bool { return strings.HasPrefix(st.PredicateType, prefix) }
	switch {
	case slices.ContainsFunc(ownPredicates, own), st.PredicateType == predicatePackslips,
		st.PredicateType == predicateNPMPublish && j.by().Genesis() != policy.GenesisFlags:
		return failf(policy.PredicateType, "%s", st.PredicateType)
	case st.Result != "" && st.Result != "PASSED":
		return failf(policy.PredicateType, "the statement itself says %s", clip.Text(st.Result))
	}
	return nil
}

// refuseListing says how far a checksum file comes that does not list the artifact with one of
// these digests, and why.
func (at attempt) refuseListing(a *Artifact, digests []policy.Digest) (stage, *Failure) {
	if a.Subject != "" { // a list names files, never a package
		return stageClaims, a.differs(at.via.Name)
	}
	if !at.via.isOf(digests) {
		return stageArtifact, at.via.mismatch()
	}
	return 0, nil
}

// trial is a candidate that is about an artifact, and what its readings are judged with.
type trial struct {
	c       *candidate
	a       *Artifact
	via     *Listing // if the candidate is about a checksum file
	digests []policy.Digest

	approvals []policy.Approval
	notes     []policy.Note
	unseen    *Failure // why there may be more approvals
}

// read judges one reading of a candidate: one way in which it is about the artifact, under one
// key.
func (j *Judge) read(ctx context.Context, t trial, m matched, key *sigstore.Key) Evidence {
	claims := m.claims
	if key != nil {
		claims.Signer.Value = key.ID()
	}
	called := m.signed
	if t.via != nil {
		called = t.via.Name
	}
	req := j.request(t.a, t.names(m), t.digests)
	req.Approvals = t.approvals
	ev := j.one(ctx, t.c, t.a, m.digest, key, claims, req)
	ev.Name = called
	ev.Decision = j.brief(ev.Decision)
	if ev.stage == stagePermitted {
		ev.Decision.Notes = append(ev.Decision.Notes, t.notes...)
		if l := cmp.Or(t.via, t.a.Listed); l != nil && l.elsewhere {
			ev.Decision.Notes = append(ev.Decision.Notes, l.elsewhereNote())
		}
	}
	if t.unseen != nil && lacksApprovals(ev.Decision) { // there may be more
		ev.Decision = t.unseen.decision()
	}
	return ev
}

// ownPredicates are the beginnings of repopolicy's own predicate types that
// must never pass for evidence of a release: a maintainer's signature under a
// policy or an approval is about something else.
var ownPredicates = []string{"https://" + spelling.Name + "/policy/", "https://" + spelling.Name + "/approval/"}

// predicateNPMPublish is the predicate type of the attestation that npm's
// registry makes with its own key when it takes a package. It says that the
// registry has the package, not who released it, and is never evidence under a
// policy.
const predicateNPMPublish = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"

// predicatePackslips is the predicate type of a list of releases (https://packslip.dev/release/v1/):
// which there are, not who released one. The type of one release, without the second "s", is evidence.
const predicatePackslips = "https://packslip.dev/releases/v1"

// one judges one reading of a candidate.
func (j *Judge) one(
	ctx context.Context, c *candidate, a *Artifact, digest policy.Digest, key *sigstore.Key,
	claims policy.Claims, req policy.Request,
) Evidence {
	// Without an issuer in it, whose a certificate is only a root says.
	if key != nil || c.Bundle.NamesIssuer() || claims.Signer.SignsReleases() {
		if d, final := j.by().Precheck(req, claims); final {
			return Evidence{stage: stageClaims, Decision: d, Signer: claims.Signer}
		}
	}
	v, root, err := j.verify(ctx, c.Bundle, digest, key)
	if err != nil {
		d := failure(err, policy.SignatureInvalid).decision()
		if c.Unproven != "" && (d.Reason == policy.NotLogged || d.Reason == policy.TimeInvalid) {
			d = deny(policy.NoLogProof, "%s", c.Unproven)
		}
		return Evidence{stage: stageVerify, Decision: d, Signer: j.signer(c.Bundle, claims.Signer)}
	}
	claims.Signer = v.Signer
	ev := Evidence{Signer: v.Signer, Verified: v, Decision: j.decide(ctx, a, root, req, claims, v.Verification())}
	switch {
	case ev.Decision.Permitted:
		ev.stage = stagePermitted
	case ev.Decision.Reason == policy.PolicyStale:
		ev.stage = stageStale
	default:
		ev.stage = stageDecide
	}
	ev.open = ev.Decision.Open()
	j.watch(ctx, v, &ev)
	return ev
}

// signer returns whom a bundle that does not verify claims to be by: under a root that knows the
// certificate's authority the issuer is that one's.
func (j *Judge) signer(b *sigstore.Bundle, claimed policy.Identity) policy.Identity {
	for _, r := range j.roots {
		if id := b.SignerUnder(r); id.Issuer != b.Signer().Issuer {
			return id
		}
	}
	return claimed
}

// decide decides by verified evidence. Where several versions may have been in force, place
// proofs may tell which.
func (j *Judge) decide(
	ctx context.Context, a *Artifact, r *sigstore.Root, req policy.Request, c policy.Claims, v policy.Verification,
) policy.Decision {
	d := j.by().Decide(req, c.Verified(v))
	if d.Permitted || len(d.Versions) < 2 {
		return d
	}
	if v.Moments = j.moments(ctx, a, r); len(v.Moments) == 0 {
		return d
	}
	return j.by().Decide(req, c.Verified(v))
}

// verify verifies the bundle under the first trusted root that takes it, each
// alone, and returns that one.
func (j *Judge) verify(
	ctx context.Context, b *sigstore.Bundle, digest policy.Digest, key *sigstore.Key,
) (*sigstore.Verified, *sigstore.Root, error) {
	if err := j.loadRoots(ctx); err != nil {
		return nil, nil, err
	}
	roots, unread := j.rootsFor(ctx, b)
	var first error
	for _, r := range roots {
		v, err := b.Verify(r, digest, key, sigstore.Options{Unlogged: j.by().AcceptsUnlogged()})
		if err == nil {
			return v, r, nil
		}
		if len(j.roots) > 1 {
			err = &sigstore.Error{
				Reason: failure(err, policy.SignatureInvalid).Reason,
				Err:    fmt.Errorf("under %s: %w", r.Name(), err),
			}
		}
		if first == nil {
			first = err
		}
	}
	if unread != nil { // under which it may be right
		return nil, nil, unread
	}
	return nil, nil, j.otherInstance(b, first)
}

// rootsFor returns the roots under which a bundle is tried. The error says that those of the forge
// could not be had, which speak only for what it records of releases.
func (j *Judge) rootsFor(ctx context.Context, b *sigstore.Bundle) ([]*sigstore.Root, error) {
	st, signer := b.Statement(), b.Signer()
	if j.Recorded == nil || st == nil || st.GitHubRelease == nil || !signer.SignsReleases() ||
		!j.by().AcceptsUnlogged() {
		return j.roots, nil
	}
	j.recordedOnce.Do(func() { j.recorded, j.recordedErr = j.Recorded(ctx) })
	return slices.Concat(j.roots, j.recorded), j.recordedErr
}

// otherInstance adds to the failure of a bundle of which nothing is of the trusted roots that it
// is of another instance, and where the root of that is.
func (j *Judge) otherInstance(b *sigstore.Bundle, err error) error {
	why := ""
	for _, r := range j.roots {
		if why = b.Foreign(r); why == "" {
			return err
		}
	}
	if err == nil || why == "" {
		return err
	}
	where := "if you trust that instance, name its trusted_root.json with --trusted-root, or list it in trust.toml"
	if b.OfGitHub() {
		where = "GitHub's own instance signed it, whose trusted root `gh attestation trusted-root` prints: give it with " +
			"--trusted-root"
	}
	f := failure(err, policy.SignatureInvalid)
	return failf(f.Reason, "%s; %s: %s", f.Detail, why, where)
}

// loadRoots gets the trusted roots, once.
func (j *Judge) loadRoots(ctx context.Context) error {
	j.once.Do(func() {
		if j.Roots == nil {
			j.err = &Failure{policy.TrustRootMissing, "no trusted root was given"}
			return
		}
		j.roots, j.err = j.Roots(ctx)
		if j.err == nil && len(j.roots) == 0 {
			j.err = &Failure{policy.TrustRootMissing, "no trusted root was given"}
		}
	})
	return j.err
}

// keys returns the keys that may have signed b; for a certificate the one
// element nil.
func (j *Judge) keys(b *sigstore.Bundle) []*sigstore.Key {
	if b.Signer().Kind != policy.KindKey {
		return []*sigstore.Key{nil}
	}
	return j.Keys
}

// matched is one way in which a candidate is about an artifact.
type matched struct {
	digest policy.Digest // that the signature is over
	signed string        // name that the signed content gives to it; "" if none
	names  []string
	claims policy.Claims
}

// match returns how the candidate is about the artifact: by a digest that it
// signs, or that the document names which it signs. Names come from what is
// signed where that gives one, else from the artifact. The error says that what
// is signed contradicts itself, or is about the content under other names only.
func match(c *candidate, a *Artifact, digests []policy.Digest) ([]matched, *Failure) {
	m := matching{c: c, a: a}
	for _, d := range digests {
		m.digest(d)
	}
	if len(m.found) == 0 && m.differs {
		return nil, a.differs(m.other)
	}
	if len(m.found) == 0 || c.Inner == nil {
		return m.found, nil
	}
	if f := contradiction(c, a); f != nil {
		return nil, f
	}
	return m.found, nil
}

// matching collects the ways in which a candidate is about an artifact.
type matching struct {
	c       *candidate
	a       *Artifact
	found   []matched
	differs bool
	other   string // a name that is not the artifact's, if differs
}

// digest adds the ways in which the candidate is about that digest.
func (m *matching) digest(d policy.Digest) {
	message, isMessage := m.c.Bundle.Message()
	inner := m.c.Inner
	switch {
	case inner != nil:
		if isMessage && message == inner.Signed && slices.Contains(inner.Subject.Digests, d) {
			m.add(message, inner.Subject.Name)
		}
	case isMessage:
		if message == d {
			m.add(d, "")
		}
	default:
		for _, s := range m.c.Bundle.Statement().Find(d) {
			m.add(d, s.Name)
		}
	}
}

// add adds a way: what is signed calls the artifact so, "" for not at all.
func (m *matching) add(signed policy.Digest, name string) {
	if !m.a.calls(name) {
		m.other, m.differs = name, true
		return
	}
	var names []string
	if n := cmp.Or(name, m.a.Name); n != "" {
		names = []string{n}
	}
	m.found = append(m.found, matched{signed, name, names, claims(m.c, name)})
}

// contradiction says where the document that is signed says something else than the
// certificate, or than the ref that led to it.
func contradiction(c *candidate, a *Artifact) *Failure {
	signer := c.Bundle.Signer()
	if tag := signer.Tag(); tag != "" && c.Inner.Tag != "" && tag != c.Inner.Tag {
		return failf(policy.TagMismatch, "the certificate is for the tag %s, the tag object calls itself %s",
			tag, c.Inner.Tag)
	}
	if commit := signer.Commit(); commit != "" && c.Inner.Commit != "" && commit != c.Inner.Commit {
		return failf(policy.CommitMismatch, "the certificate is for the commit %s, the tag names %s",
			commit, c.Inner.Commit)
	}
	if a.Commit != "" && c.Inner.Commit != "" && a.Commit != c.Inner.Commit {
		return failf(policy.CommitMismatch, "the tag object names the commit %s, the ref leads to %s",
			c.Inner.Commit, a.Commit)
	}
	return nil
}

// claims returns what the candidate claims about the subject of that name. The
// tag comes from signed content only: the certificate's ref, a release
// predicate, a tag object, or the version in a package URL.
func claims(cand *candidate, subject string) policy.Claims {
	c := policy.Claims{Signer: cand.Bundle.Signer()}
	if st := cand.Bundle.Statement(); st != nil {
		c.GitHubRelease = st.GitHubRelease
	}
	switch tag := c.Signer.Tag(); {
	case tag != "":
		c.Tags, c.TagSource = []string{tag}, "certificate"
	case c.GitHubRelease != nil && spelling.ValidTag(c.GitHubRelease.Tag):
		c.Tags, c.TagSource = []string{c.GitHubRelease.Tag}, "release predicate"
	case cand.Inner != nil && cand.Inner.Tag != "":
		c.Tags, c.TagSource = []string{cand.Inner.Tag}, "tag object"
	default:
		if c.Tags = versionTags(subject); len(c.Tags) > 0 {
			c.TagSource = spelling.PackageURL
		}
	}
	return c
}

// RunTags returns the spellings of the tag that evidence by a signer about a
// subject of that name will name, and where they will stand; none if it names no
// tag. Statement is the tag that a release predicate will name, "" without one.
func RunTags(signer policy.Identity, subject, statement string) ([]string, string) {
	switch tag := signer.Tag(); {
	case tag != "":
		return []string{tag}, "certificate"
	case statement != "":
		return []string{statement}, "release predicate"
	}
	tags := versionTags(subject)
	if len(tags) == 0 {
		return nil, ""
	}
	return tags, spelling.PackageURL
}

// versionTags returns the spellings of the tag that belongs to the version of a
// package URL, the version itself first; none if subject is something else.
func versionTags(subject string) []string {
	if len(subject) < len("pkg:") || subject[:len("pkg:")] != "pkg:" {
		return nil
	}
	u, err := packageurl.FromString(subject)
	if err != nil || !spelling.ValidTag(u.Version) {
		return nil
	}
	tags := []string{u.Version}
	if c := u.Version[0]; c >= '0' && c <= '9' {
		tags = append(tags, "v"+u.Version)
	}
	return tags
}

// aboutText says what a candidate is about, for a message.
func aboutText(c *candidate) string {
	b := c.Bundle
	if c.Inner != nil {
		s := c.Inner.Subject
		return strings.TrimSpace("what is signed is about " + s.Name + " " + s.Digests[0].String())
	}
	if d, ok := b.Message(); ok {
		return "the signature is over " + d.String()
	}
	s := b.Statement().Subjects
	text := fmt.Sprintf("the statement is about %s", s[0].Digests[0])
	if s[0].Name != "" {
		text = fmt.Sprintf("the statement is about %s with %s", s[0].Name, s[0].Digests[0])
	}
	if len(s) > 1 {
		text += fmt.Sprintf(" and %d more", len(s)-1)
	}
	return text
}
