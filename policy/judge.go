// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Demand is what must be known before a chain gives a verdict. The zero value
// is the default: a genesis that is not merely claimed, completeness of at least
// "hinted", any age.
type Demand struct {
	Genesis      GenesisLabel // the least that suffices; "" for the default
	Completeness Completeness // the least that suffices; "" for the default
	// MaxAge is how old the view may be; 0 for any age.
	MaxAge time.Duration
	// Strict makes an expired head STALE at once, as before a release.
	Strict bool
	// FailOnAlarm makes every alarm decide.
	FailOnAlarm bool
	// OneLog demands a proof that each log is of one history also where no log is asked.
	OneLog bool
}

// RequireOneLog is the word of --require for [Demand.OneLog].
const RequireOneLog = "one-log"

var completenessRank = map[Completeness]int{CompleteNone: 1, CompleteHinted: 2, CompleteScanned: 3, CompleteSigned: 4, CompleteProven: 5}

// ParseRequire reads the value of --require: a set of labels of genesis and of
// completeness, separated by commas, of which the least of each kind suffices.
func (d Demand) ParseRequire(s string) (Demand, error) {
	for word := range strings.SplitSeq(s, ",") {
		g, c := GenesisLabel(word), Completeness(word)
		switch {
		case word == RequireOneLog:
			d.OneLog = true
		case genesisRank[g] > 0:
			if d.Genesis == "" || genesisRank[g] < genesisRank[d.Genesis] {
				d.Genesis = g
			}
		case completenessRank[c] > 0:
			if d.Completeness == "" || completenessRank[c] < completenessRank[d.Completeness] {
				d.Completeness = c
			}
		default:
			return Demand{}, fmt.Errorf("%q is neither a label of genesis (pinned, anchored, first, claimed) nor of completeness (proven, signed, scanned, hinted, none), nor one-log", clip(word))
		}
	}
	return d, nil
}

func (d Demand) genesis() GenesisLabel {
	if d.Genesis == "" {
		return GenesisFirst
	}
	return d.Genesis
}

func (d Demand) completeness() Completeness {
	if d.Completeness == "" {
		return CompleteHinted
	}
	return d.Completeness
}

// Trusted returns the chain as what artifacts are judged by. It is never nil; if
// the chain is undecided, or less is known than demanded, it allows nothing and
// says why.
func (c *Chain) Trusted(d Demand) *Trusted {
	if c == nil {
		c = &Chain{}
	}
	t := &Trusted{chain: c, demand: d, genesis: c.label, withdrawn: c.withdrawn}
	if n := len(c.links); n > 0 {
		head := c.links[n-1]
		t.file, t.head, t.ids, t.digest = head.file(), head.file(), head.ids, head.stmt.doc.Digest()
	}
	return t
}

// Chain returns the chain that the policy is part of; nil if it has none.
func (t *Trusted) Chain() *Chain {
	if t == nil {
		return nil
	}
	return t.chain
}

// files returns every policy by which something may be judged.
func (t *Trusted) files() []*File {
	switch {
	case t == nil:
		return nil
	case t.chain != nil:
		var out []*File
		for _, l := range t.chain.links {
			out = append(out, l.file())
		}
		return out
	case t.file != nil:
		return []*File{t.file}
	}
	return nil
}

// refuse returns why nothing at all can be allowed: the chain is undecided, or
// less is known than was demanded (SPEC 9).
func (t *Trusted) refuse(req Request) (Decision, bool) {
	c := t.chain
	no := func(r Reason, detail string) (Decision, bool) { return Decision{Reason: r, Detail: detail}, true }
	worst := c.worst()
	if worst != nil && worst.Reason != NoBinding {
		return no(worst.Reason, worst.Detail)
	}
	var missing []string
	if genesisRank[c.label] < genesisRank[t.demand.genesis()] && worst == nil {
		missing = append(missing, string(c.label))
	}
	if completenessRank[c.view.Completeness] < completenessRank[t.demand.completeness()] {
		missing = append(missing, string(cmpOr(c.view.Completeness, CompleteNone)))
	}
	if len(missing) > 0 {
		return no(BelowRequired, "to proceed with what is known: --require "+strings.Join(missing, ","))
	}
	frozen := t.demand.MaxAge > 0 && !c.view.Inputs.IsZero() && req.Now.Sub(c.view.Inputs) > t.demand.MaxAge
	stale := frozen || t.demand.MaxAge > 0 && (c.view.AsOf.IsZero() || req.Now.Sub(c.view.AsOf) > t.demand.MaxAge)
	switch {
	case stale && worst != nil: // there was no binding then
		return no(ViewStale, c.view.age())
	case worst != nil:
		return no(worst.Reason, worst.Detail)
	case len(c.links) == 0 || req.Now.IsZero():
		return no(Internal, "there is no chain, or no moment of judging")
	case c.youngest().After(req.Now.Add(req.Skew)):
		return no(ClockBehind, "a binding is of "+stamp(c.youngest()))
	case stale:
		return no(ViewStale, c.view.age())
	}
	if t.demand.OneLog && len(c.unasked) > 0 {
		return no(LogUnproven, c.unasked[0])
	}
	if i := slices.IndexFunc(c.alarms, func(a Alarm) bool { return !a.Acknowledged }); t.demand.FailOnAlarm && i >= 0 {
		return no(AlarmRaised, c.alarms[i].Text)
	}
	return Decision{}, false
}

// age says of when a view is, and of when what it rests on, if that is older.
func (v View) age() string {
	text := "as of " + stamp(v.AsOf)
	if !v.Inputs.IsZero() && v.Inputs.Before(v.AsOf) {
		text += ", the newest entry that was read of an open log is of " + stamp(v.Inputs)
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

func cmpOr(c, other Completeness) Completeness {
	if c == "" {
		return other
	}
	return c
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
func (c *Chain) worst() *ChainProblem {
	var out *ChainProblem
	for i := range c.problems {
		p := &c.problems[i]
		if out == nil || p.Reason.Class() != out.Reason.Class() && Worst(p.Reason.Class(), out.Reason.Class()) == p.Reason.Class() {
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
func (c *Chain) candidates(p Entry) []int {
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

// version returns what evidence from the time of version i is judged by.
func (t *Trusted) version(i int) *Trusted {
	c := t.chain
	l := c.links[max(i, 0)]
	v := &Trusted{file: l.file(), ids: l.ids, genesis: c.label, digest: l.stmt.doc.Digest(), withdrawn: c.withdrawn, head: t.file, demand: t.demand, within: c}
	if i == before {
		v.file, v.legacy = c.past, true
	}
	return v
}

// pastOf is rule 8: of version 1, the rules that say since also judge what was
// logged before it (SPEC 8.8). Nil if there are none.
func pastOf(first *File) *File {
	rules := slices.DeleteFunc(slices.Clone(first.Rules), func(r Rule) bool { return r.Since.IsZero() })
	if len(rules) == 0 {
		return nil
	}
	f := *first
	f.Rules = rules
	return &f
}

// at judges evidence from a place: every version that can have been in force
// must allow it.
func (t *Trusted) at(p Entry, req Request, c *Claims, v *Verification) Decision {
	var numbers []int
	var out Decision
	candidates := t.chain.candidates(p)
	for _, i := range candidates {
		number := 0
		if i != before {
			number = t.chain.links[i].stmt.version
		}
		numbers = append(numbers, number)
	}
	for k, i := range candidates {
		d := t.decideBy(i, req, c, v)
		d.Versions = numbers
		if k > 0 && out.Outcome != Permitted && d.Outcome == Permitted {
			continue // what one denies no other allows
		}
		out = d
	}
	return out
}

func (t *Trusted) decideBy(i int, req Request, c *Claims, v *Verification) Decision {
	if i == before && t.chain.past == nil {
		return Decision{Reason: BeforeGenesis}
	}
	return decide(t.version(i), req, c, v)
}

// inForce judges verified evidence by the versions that were in force when it
// was logged.
func (t *Trusted) inForce(req Request, c *Claims, v *Verification) Decision {
	if d, refused := t.refuse(req); refused {
		return d
	}
	d := t.logged(req, c, v)
	if d.Outcome == Permitted {
		d.Notes = append(d.Notes, t.chain.Remarks()...)
	}
	return d
}

// logged judges evidence from each place where it was logged.
func (t *Trusted) logged(req Request, c *Claims, v *Verification) Decision {
	if !v.Logged { // only rules with unlogged = true will take it
		_, upper := v.bounds()
		return t.at(Entry{Time: upper, NotBefore: v.NotBefore}, req, c, v)
	}
	var out Decision
	for _, e := range v.Entries {
		if !t.chain.order.counts(e) {
			continue
		}
		here := *v
		here.Proven = v.Proven && !v.promisedOnly(e)
		d := t.at(t.chain.order.dated(e, v.Moments), req, c, &here)
		if d.Outcome == Permitted {
			return d
		}
		if out.Reason == "" {
			out = d
		}
	}
	if out.Reason == "" {
		out = Decision{Reason: EntryLate}
	}
	return out
}

// Remarks says what a verdict by the chain rests on where that is less than
// usual.
func (c *Chain) Remarks() []Note {
	var out []Note
	head := c.links[len(c.links)-1]
	for _, l := range c.links {
		if slices.ContainsFunc(l.effect.possible, func(b *leaf) bool { return b.Binding.Ref != "" }) {
			out = append(out, Note{"default-branch", "that the policy was bound from the default branch is the forge's word"})
			break
		}
	}
	if head.file().Maintainers.Repository {
		out = append(out, Note{"repository-maintained", "the repository's own workflow is the only maintainer of the policy"})
	}
	if head.stmt.repository != c.repository {
		out = append(out, Note{"renamed", "the repository is now " + head.stmt.repository.String()})
	}
	if len(c.unasked) > 0 {
		out = append(out, Unshown(c.unasked[0]))
	}
	return out
}

// Unshown is the note that nothing shows a log to be of one history, where it was not asked.
func Unshown(why string) Note { return Note{string(LogUnproven), why} }

// everDenied judges claims by every version: what none of them allows need not
// be verified. The zero decision says nothing.
func (t *Trusted) everDenied(req Request, c *Claims) Decision {
	if d, refused := t.refuse(req); refused {
		return d
	}
	out := Decision{}
	for i := before; i < len(t.chain.links); i++ {
		d := t.decideBy(i, req, c, nil)
		if d.Outcome == Permitted || d.Reason.Class() == ClassStale {
			return Decision{}
		}
		out = d
	}
	return out
}

// Versions returns the versions of the chain, the first one first.
func (c *Chain) Versions() []Version {
	if c == nil {
		return nil
	}
	var out []Version
	for _, l := range c.links {
		v := Version{Number: l.stmt.version, Statement: l.stmt.digest, Document: l.stmt.doc, Ids: l.ids, Bindings: entriesOf(l.effect.possible), From: l.effect.from}
		if len(l.effect.sure) > 0 {
			v.Bindings = entriesOf(l.effect.sure)
		}
		v.WithoutV1 = len(l.effect.mirror) == 0 && c.order.v2Alone(v.Bindings)
		out = append(out, v)
	}
	return out
}

// Repository returns the repository that was asked for.
func (c *Chain) Repository() Locator { return c.repository }

// Genesis returns why the first version is believed to be the repository's.
func (c *Chain) Genesis() GenesisLabel { return c.label }

// View returns how much is known about what else exists.
func (c *Chain) View() View { return c.view }

// Alarms returns what the owners of the repository should know.
func (c *Chain) Alarms() []Alarm { return slices.Clone(c.alarms) }

// Problems returns why the chain gives no verdict; none if it does.
func (c *Chain) Problems() []ChainProblem { return slices.Clone(c.problems) }

// Reason returns the reason of the worst problem; "" if there is none.
func (c *Chain) Reason() Reason {
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
