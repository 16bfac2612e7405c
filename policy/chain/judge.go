// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Trusted is a chain as what artifacts are judged by. Only [Chain.Trusted] makes one. The
// zero value and nil allow nothing.
type Trusted struct {
	chain  *Chain
	demand Demand
	newest *policy.Trusted // version; nil if there is none
}

// Trusted returns the chain as what artifacts are judged by. It is never nil; if
// the chain is undecided, or less is known than demanded, it allows nothing and
// says why.
func (c *Chain) Trusted(d Demand) *Trusted {
	if c == nil {
		c = &Chain{}
	}
	t := &Trusted{chain: c, demand: d, newest: c.newest}
	if d.Strict && t.newest != nil {
		t.newest = t.newest.Strict()
	}
	return t
}

// Chain returns the chain; nil for nil.
func (t *Trusted) Chain() *Chain {
	if t == nil {
		return nil
	}
	return t.chain
}

// Genesis returns why the first version is believed to be the repository's; "" for nil.
func (t *Trusted) Genesis() policy.GenesisLabel {
	if t == nil || t.chain == nil {
		return ""
	}
	return t.chain.label
}

// Digest returns the SHA-256 of the newest version; zero where there is none.
func (t *Trusted) Digest() policy.Digest { return t.head().Digest() }

// Content returns the newest version; nil where there is none. It must not be changed.
func (t *Trusted) Content() *policy.File { return t.head().Content() }

// head returns the newest version; nil if there is none.
func (t *Trusted) head() *policy.Trusted {
	if t == nil {
		return nil
	}
	return t.newest
}

// files returns every version by which something may be judged, the first one first.
func (t *Trusted) files() []*policy.File {
	if t == nil || t.chain == nil {
		return nil
	}
	var out []*policy.File
	for _, l := range t.chain.links {
		out = append(out, l.file())
	}
	return out
}

// AcceptsUnlogged reports whether a rule of any version takes evidence that is in no log, so
// that it is worth verifying.
func (t *Trusted) AcceptsUnlogged() bool {
	return slices.ContainsFunc(t.files(), (*policy.File).AcceptsUnlogged)
}

// DemandsApprovals reports whether a rule of any version wants approvals, so that they are
// worth verifying.
func (t *Trusted) DemandsApprovals() bool {
	return slices.ContainsFunc(t.files(), (*policy.File).DemandsApprovals)
}

// DigestAlgorithms returns the algorithms in which the chain names digests; an artifact's
// digest must be known in each.
func (t *Trusted) DigestAlgorithms() []string {
	out := t.head().DigestAlgorithms()
	if t.DemandsApprovals() && !slices.Contains(out, "sha256") { // approvals name no other
		out = append(out, "sha256")
	}
	return out
}

// Keys returns the keys that may release by any version, with those of trust roots as
// [policy.Trusted.Keys].
func (t *Trusted) Keys() []policy.Key { return t.union(nil, t.head().KeysOf) }

// KeyTargets returns the targets from which the rules of any version take keys, each once. A root
// is followed from where the newest version says that names it.
func (t *Trusted) KeyTargets() []policy.RootTarget {
	var out []policy.RootTarget
	urls := map[string]string{}
	for _, f := range slices.Backward(t.files()) {
		for _, k := range f.KeyTargets() {
			urls[k.Root] = cmp.Or(urls[k.Root], k.URL)
			same := func(o policy.RootTarget) bool { return o.Root == k.Root && o.Path == k.Path }
			if !slices.ContainsFunc(out, same) {
				out = append(out, k)
			}
		}
	}
	for i := range out {
		out[i].URL = urls[out[i].Root]
	}
	return out
}

// Knowing returns the chain as it judges with what trust roots say of the targets that rules take
// keys from; see [policy.Trusted.Knowing].
func (t *Trusted) Knowing(facts []policy.RootFact) *Trusted {
	if t == nil || t.newest == nil {
		return t
	}
	v := *t
	v.newest = t.newest.Knowing(facts, t.files()...)
	return &v
}

// Among returns the chain as it judges under one of several trust roots, more than one of which
// has to allow; see [policy.Trusted.Among].
func (t *Trusted) Among(identity string) *Trusted {
	if t == nil || t.newest == nil {
		return t
	}
	v := *t
	v.newest = t.newest.Among(identity)
	return &v
}

// Targets returns what evidence by trust roots will claim of an artifact, by the newest version,
// which judges what a root says now (SPEC 5.13); see [policy.Trusted.Targets].
func (t *Trusted) Targets(name, tag string) (out []policy.Claims, why string) {
	return t.head().Targets(name, tag)
}

// ApprovalKeys returns the keys with which approvals may be signed by any version.
func (t *Trusted) ApprovalKeys() []policy.Key {
	return t.union(t.union(nil, (*policy.File).Keys), (*policy.File).ApprovalKeys)
}

// union adds to keys those of every version, none of them twice.
func (t *Trusted) union(keys []policy.Key, of func(*policy.File) []policy.Key) []policy.Key {
	for _, f := range t.files() {
		for _, k := range of(f) {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// Missing returns the labels that are less than was demanded, as --require would take them.
func (t *Trusted) Missing() (out []string) {
	c := t.chain
	if genesisRank[c.label] < genesisRank[t.demand.genesis()] && c.worst() == nil {
		out = append(out, string(c.label))
	}
	if completenessRank[c.view.Completeness] < completenessRank[t.demand.completeness()] {
		out = append(out, string(cmp.Or(c.view.Completeness, CompleteNone)))
	}
	return out
}

// refuse returns why nothing at all can be allowed: the chain is undecided, or
// less is known than was demanded (SPEC 9).
func (t *Trusted) refuse(req policy.Request) (policy.Decision, bool) {
	c := t.chain
	no := func(r policy.Reason, detail string) (policy.Decision, bool) {
		return policy.Decision{Reason: r, Detail: detail}, true
	}
	worst := c.worst()
	if worst != nil && worst.Reason != policy.NoBinding {
		return no(worst.Reason, worst.Detail)
	}
	if missing := t.Missing(); len(missing) > 0 {
		return no(policy.BelowRequired, "to proceed with what is known: --require "+strings.Join(missing, ","))
	}
	frozen := t.demand.MaxAge > 0 && !c.view.Inputs.IsZero() && req.Now.Sub(c.view.Inputs) > t.demand.MaxAge
	stale := frozen || t.demand.MaxAge > 0 && (c.view.AsOf.IsZero() || req.Now.Sub(c.view.AsOf) > t.demand.MaxAge)
	switch {
	case stale && worst != nil: // there was no binding then
		return no(policy.ViewStale, c.view.age())
	case worst != nil:
		return no(worst.Reason, worst.Detail)
	case len(c.links) == 0 || req.Now.IsZero():
		return no(policy.Internal, "there is no chain, or no moment of judging")
	case c.youngest().After(req.Now.Add(req.Skew)):
		return no(policy.ClockBehind, "a binding is of "+spelling.Stamp(c.youngest()))
	case stale:
		return no(policy.ViewStale, c.view.age())
	}
	if t.demand.OneLog && len(c.unasked) > 0 {
		return no(policy.LogUnproven, c.unasked[0])
	}
	if i := slices.IndexFunc(c.alarms, func(a Alarm) bool { return !a.Acknowledged }); t.demand.FailOnAlarm && i >= 0 {
		return no(policy.AlarmRaised, c.alarms[i].Text)
	}
	return policy.Decision{}, false
}

// age says of when a view is, and of when what it rests on, if that is older.
func (v View) age() string {
	text := "as of " + spelling.Stamp(v.AsOf)
	if !v.Inputs.IsZero() && v.Inputs.Before(v.AsOf) {
		text += ", the newest entry that was read of an open log is of " + spelling.Stamp(v.Inputs)
	}
	return text
}

// Acknowledge names the evidence file about each alarm, by the hex SHA-256 that f
// returns, "" for none. An alarm counts as acknowledged if a version of the chain
// lists exactly that file (SPEC 12): it is still an alarm, and FailOnAlarm lets it
// pass.
func (c *Chain) Acknowledge(f func(Alarm) string) {
	for i := range c.alarms {
		a := &c.alarms[i]
		a.Evidence = f(*a)
		a.Acknowledged = a.Evidence != "" && slices.ContainsFunc(c.links, func(l *link) bool {
			return slices.Contains(l.file().Acknowledged, a.Evidence)
		})
	}
}

// youngest returns the latest moment before which the chain cannot have been
// bound as it is.
func (c *Chain) youngest() time.Time {
	var youngest time.Time
	for _, l := range c.links {
		var first time.Time
		for i, b := range l.effect.possible {
			if i == 0 || b.Entry.NotBefore.Before(first) {
				first = b.Entry.NotBefore
			}
		}
		if first.After(youngest) {
			youngest = first
		}
	}
	return youngest
}

// worst returns the problem that decides, the first of the worst class.
func (c *Chain) worst() *Problem {
	var out *Problem
	for i := range c.problems {
		p := &c.problems[i]
		if out == nil {
			out = p
			continue
		}
		if a, b := p.Reason.Class(), out.Reason.Class(); a != b && policy.Worst(a, b) == a {
			out = p
		}
	}
	return out
}

// before is the index of the time before version 1 in a list of candidates.
const before = -1

// candidates is the second half of rule 4: the indexes of all versions that can
// have been in force at p, from the last that certainly was to the last that may
// have been (SPEC 8.4).
func (c *Chain) candidates(p policy.Entry) []int {
	sure, possible := before, before
	for i, l := range c.links {
		if l.effect.surelyBy(c.order, p) || l.effect.mirrored(c.order, p) {
			sure = i
		}
		if l.effect.possiblyBy(c.order, p) || l.effect.mayMirror(c.order, p) {
			possible = i
		}
	}
	out := []int{sure}
	for i := sure + 1; i <= possible; i++ {
		out = append(out, i)
	}
	return out
}

// version returns what evidence from the time of version i is judged by; nil if nothing of
// version 1 reaches to before it.
func (t *Trusted) version(i int) *policy.Trusted {
	l := t.chain.links[max(i, 0)]
	v := t.newest.Earlier(l.stmt.doc, l.ids)
	if i == before {
		return v.BeforeFirst()
	}
	return v
}

// at judges evidence from a place: every version that can have been in force
// must allow it.
func (t *Trusted) at(p policy.Entry, req policy.Request, ev policy.Evidence) policy.Decision {
	var versions []policy.InForce
	var out policy.Decision
	candidates := t.chain.candidates(p)
	for _, i := range candidates {
		versions = append(versions, t.chain.inForce(i))
	}
	for k, i := range candidates {
		d := policy.Decision{Reason: policy.BeforeGenesis}
		if v := t.version(i); v != nil {
			d = v.Decide(req, ev)
		}
		d.Versions = versions
		if k > 0 && !out.Permitted && (d.Permitted || d.Open() && !out.Open()) {
			continue // what one denies no other allows
		}
		out = d
	}
	return out
}

// nobody is what a chain that nobody made says.
var nobody *policy.Trusted

// Decide judges one artifact by verified evidence: by the versions that were in force where
// it was logged. It is deterministic.
func (t *Trusted) Decide(req policy.Request, ev policy.Evidence) policy.Decision {
	if t == nil || t.chain == nil {
		return nobody.Decide(req, ev)
	}
	if d, unfit := ev.Unfit(); unfit {
		return d
	}
	if d, refused := t.refuse(req); refused {
		return d
	}
	var d policy.Decision
	if c := ev.Claims(); c.Target != nil {
		d = t.listed(t.place(req), ev)
	} else {
		d = t.logged(t.place(req), ev)
	}
	if d.Permitted {
		d.Notes = append(d.Notes, t.chain.Remarks()...)
	}
	return d
}

// listed judges what a trust root lists now: by the newest version, whenever that took effect.
func (t *Trusted) listed(req policy.Request, ev policy.Evidence) policy.Decision {
	d := t.newest.Decide(req, ev)
	d.Versions = []policy.InForce{t.chain.inForce(len(t.chain.links) - 1)}
	return d
}

// logged judges evidence from each place where it was logged.
func (t *Trusted) logged(req policy.Request, ev policy.Evidence) policy.Decision {
	v := ev.Verification()
	if !v.Logged { // only rules with unlogged = true will take it
		_, upper := v.Bounds()
		return t.at(policy.Entry{Time: upper, NotBefore: v.NotBefore}, req, ev)
	}
	var out policy.Decision
	for _, e := range v.Entries {
		if !t.chain.order.counts(e) {
			continue
		}
		d := t.at(t.chain.order.dated(e, v.Moments), req, ev.At(e))
		if d.Permitted {
			return d
		}
		if out.Reason == "" || d.Open() && !out.Open() { // where it may be allowed, it is not denied
			out = d
		}
	}
	if out.Reason == "" {
		out = policy.Decision{Reason: policy.EntryLate}
	}
	return out
}

// Precheck judges by every version what unverified evidence claims; see
// [policy.Trusted.Precheck]. What none of them allows need not be verified.
func (t *Trusted) Precheck(req policy.Request, c policy.Claims) (policy.Decision, bool) {
	if t == nil || t.chain == nil {
		return nobody.Precheck(req, c)
	}
	if d, refused := t.refuse(req); refused {
		return final(d)
	}
	if c.Target != nil {
		return t.newest.Precheck(req, c)
	}
	out := policy.Decision{}
	for i := before; i < len(t.chain.links); i++ {
		d, denied := policy.Decision{Reason: policy.BeforeGenesis}, true
		if v := t.version(i); v != nil {
			d, denied = v.Precheck(req, c)
		}
		if !denied {
			return policy.Decision{}, false
		}
		out = d
	}
	return out, true
}

// WithoutKey judges what evidence claims whose key nothing at hand knows; see
// [policy.Trusted.WithoutKey]. It is open if it is under any version.
func (t *Trusted) WithoutKey(req policy.Request, c policy.Claims) policy.Decision {
	if t == nil || t.chain == nil {
		return nobody.WithoutKey(req, c)
	}
	if d, refused := t.refuse(req); refused {
		return d
	}
	out := policy.Decision{Reason: policy.BeforeGenesis}
	for i := before; i < len(t.chain.links) && !out.Open(); i++ {
		if v := t.version(i); v != nil {
			out = v.WithoutKey(req, c)
		}
	}
	return out
}

// final returns a refusal, unless time may cure it: then nothing is known.
func final(d policy.Decision) (policy.Decision, bool) {
	if d.Reason.Class() == policy.ClassStale {
		return policy.Decision{}, false
	}
	return d, true
}

// DecideAdopted judges an artifact without evidence; see [policy.Trusted.DecideAdopted].
func (t *Trusted) DecideAdopted(req policy.Request) (policy.Decision, bool) {
	if t == nil || t.chain == nil {
		return policy.Decision{}, false
	}
	if d, refused := t.refuse(req); refused {
		return d, true
	}
	d, adopted := t.newest.DecideAdopted(req)
	if adopted {
		d.Versions = []policy.InForce{t.chain.inForce(len(t.chain.links) - 1)}
	}
	return d, adopted
}

// Authorize judges whether a run may release what the request names, by the newest version
// alone; see [policy.Trusted.Authorize].
func (t *Trusted) Authorize(
	run policy.Run, stage policy.Stage, req policy.Request, tags []string, tagSource string,
) policy.Decision {
	if t == nil || t.chain == nil {
		return nobody.Authorize(run, stage, req, tags, tagSource)
	}
	if d, unfit := run.Unfit(stage, req); unfit {
		return d
	}
	if d, refused := t.refuse(req); refused {
		return d
	}
	d := t.newest.Authorize(run, stage, t.place(req), tags, tagSource)
	d.Versions = []policy.InForce{t.chain.inForce(len(t.chain.links) - 1)}
	if d.Permitted {
		d.Notes = append(d.Notes, t.chain.Remarks()...)
	}
	return d
}

// Remarks says what a verdict by the chain rests on where that is less than
// usual.
func (c *Chain) Remarks() []policy.Note {
	var out []policy.Note
	say := func(code, text string) { out = append(out, policy.Note{Code: code, Text: text}) }
	head := c.links[len(c.links)-1]
	for _, l := range c.links {
		if slices.ContainsFunc(l.effect.possible, func(b *leaf) bool { return b.Binding.Ref != "" }) {
			say("default-branch", "that the policy was bound from the default branch is the forge's word")
			break
		}
	}
	if head.file().Maintainers.Repository {
		say("repository-maintained", "the repository's own workflow is the only maintainer of the policy")
	}
	if head.stmt.repository != c.repository {
		say("renamed", "the repository is now "+head.stmt.repository.String())
	}
	if len(c.unasked) > 0 {
		out = append(out, unshown(c.unasked[0]))
	}
	return out
}

// unshown is the note that nothing shows a log to be of one history, where it was not asked.
func unshown(why string) policy.Note { return policy.Note{Code: string(policy.LogUnproven), Text: why} }

// Versions returns the versions of the chain, the first one first.
func (c *Chain) Versions() []Version {
	if c == nil {
		return nil
	}
	var out []Version
	for _, l := range c.links {
		v := Version{
			Number: l.stmt.version, Statement: l.stmt.digest, Document: l.stmt.doc, Ids: l.ids,
			Bindings: entriesOf(l.effect.possible), From: l.effect.from,
		}
		if len(l.effect.sure) > 0 {
			v.Bindings = entriesOf(l.effect.sure)
		}
		v.WithoutV1 = len(l.effect.mirror) == 0 && c.order.v2Alone(v.Bindings)
		out = append(out, v)
	}
	return out
}

// Repository returns the repository that was asked for.
func (c *Chain) Repository() policy.Locator { return c.repository }

// Genesis returns why the first version is believed to be the repository's.
func (c *Chain) Genesis() policy.GenesisLabel { return c.label }

// View returns how much is known about what else exists.
func (c *Chain) View() View { return c.view }

// Alarms returns what the owners of the repository should know.
func (c *Chain) Alarms() []Alarm { return slices.Clone(c.alarms) }

// Seen returns how many versions of the chain an earlier run kept; 0 on a first use.
func (c *Chain) Seen() int { return len(c.kept.Chain) }

// Problems returns why the chain gives no verdict; none if it does.
func (c *Chain) Problems() []Problem { return slices.Clone(c.problems) }

// Reason returns the reason of the worst problem; "" if there is none.
func (c *Chain) Reason() policy.Reason {
	if p := c.worst(); p != nil {
		return p.Reason
	}
	return ""
}

// Keep returns what to remember for the next run: the chain if it is decided, as far as
// a directory that takes part shows it, else what was kept before, so that a failure never
// changes what is trusted.
func (c *Chain) Keep() Kept {
	if len(c.problems) > 0 || len(c.links) == 0 {
		return c.kept
	}
	var k Kept
	shown := true
	for i, l := range c.links {
		shown = shown && !c.walk.watch.beyond(l)
		if before := c.kept.Chain; !shown && (i >= len(before) || before[i] != l.stmt.digest) {
			break
		}
		k.Chain = append(k.Chain, l.stmt.digest)
	}
	return k
}
