// SPDX-License-Identifier: Apache-2.0

// Package account says of every input of a run what became of it. Each thing that
// was named or found has exactly one fate, and the verdict, all forms of output and
// the exit code are made from that list: nothing can be skipped that is not in it.
package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/side"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Fate is what became of an input.
type Fate string

// The fates.
const (
	// Judged: there is a verdict about it.
	Judged Fate = "judged"
	// Evidence: it is of a form of evidence as a whole, and a signature in it is right
	// over what was judged by the certificate or key that comes with it, whether or not
	// a log entry, a time or a rule is there for it. Or it is a place proof beside that.
	Evidence Fate = "evidence"
	// Unverifiable: it is of a form of evidence as a whole and names what was judged,
	// but whose key signed it is not known here.
	Unverifiable Fate = "unverifiable-evidence"
	// SideFile: nothing vouches for it, it belongs to what was allowed, and the user lets files
	// of its kind lie there.
	SideFile Fate = "side-file"
	// PassedOver: it was not judged, and the entry says why.
	PassedOver Fate = "passed-over"
)

// Entry is one input and its fate.
type Entry struct {
	Input string
	Fate  Fate
	For   string // what it is evidence for; "" for other fates
	// Result is the verdict about what was judged, and the denial of what was passed
	// over and is not harmless; nil for the rest.
	Result *release.Result
	Reason policy.Reason // why it was passed over without denying anything
	Detail string

	artifact *release.Artifact // of a side file
}

// Account is what became of the inputs of one run, in their order. Only [Take] makes
// one.
type Account struct{ entries []Entry }

// Entries returns the entries.
func (a *Account) Entries() []Entry { return a.entries }

// Results returns the verdicts: those that decide.
func (a *Account) Results() []*release.Result {
	var out []*release.Result
	for _, e := range a.entries {
		if e.Result != nil {
			out = append(out, e.Result)
		}
	}
	return out
}

// Others returns the entries without a verdict.
func (a *Account) Others() []Entry {
	var out []Entry
	for _, e := range a.entries {
		if e.Result == nil {
			out = append(out, e)
		}
	}
	return out
}

// Close drops what nobody needs any more of what was judged, once all of it is delivered: what is left
// says what became of each input.
func (a *Account) Close() {
	for i := range a.entries {
		e := &a.entries[i]
		e.artifact = nil
		if e.Result != nil {
			e.Result.Artifact.Close()
		}
	}
}

// Class returns the class of the run: OK only if something was judged and every
// verdict is permitted.
func (a *Account) Class() policy.Class {
	class := release.Class(a.Results())
	judged := slices.ContainsFunc(a.entries, func(e Entry) bool { return e.Fate == Judged })
	if class == policy.ClassOK && !judged {
		return policy.ClassInternal
	}
	return class
}

// Run is what an account is taken of.
type Run struct {
	Inputs []*release.Input
	// Named are the inputs that the user named as evidence for all others.
	Named []*release.Input
	Keys  []*sigstore.Key // that policies name
	// Judge returns one result for each artifact. It may be called more than once.
	Judge func(context.Context, []*release.Artifact) []*release.Result
	// Dates reports whether an input is a place proof that verifies; nil for none.
	Dates func(context.Context, *release.Input) bool
	// Sides are the kinds of side files that may lie beside what is allowed.
	Sides []side.Kind
	// Lines returns what checksum files list that serve as evidence for what was
	// judged, or lie beside it.
	Lines func(context.Context, []*release.Result) []release.Line
}

// Expected returns how many of the inputs will be judged, if all that looks like
// evidence is some.
func Expected(inputs []*release.Input) int {
	n := 0
	for _, in := range inputs {
		if !in.Harmless && !in.IsEvidence() {
			n++
		}
	}
	return n
}

// Take judges the inputs and says of each what became of it. Evidence is what is
// right over something that was judged; whatever only looks like evidence is judged
// itself, so that it needs evidence of its own.
func Take(ctx context.Context, r Run) *Account {
	t := &taking{run: r, entries: make([]*Entry, len(r.Inputs))}
	var first, rest, dates []int
	for i, in := range r.Inputs {
		switch {
		case in.Harmless:
			t.entries[i] = &Entry{Fate: PassedOver, Reason: in.Passed.Reason, Detail: in.Passed.Detail}
		case in.IsEvidence():
			rest = append(rest, i)
		case in.IsPlaceProof() && r.Dates != nil:
			dates = append(dates, i)
		default:
			first = append(first, i)
		}
	}
	t.judged = release.NewJudged(r.Keys, slices.Concat(r.Inputs, r.Named))
	t.judge(ctx, first)
	t.settle(ctx, rest)
	t.date(ctx, dates)
	t.sides(ctx)
	return t.account(ctx)
}

// date says of inputs that are called like place proofs of what was judged whether they are
// some. One that is none is judged itself.
func (t *taking) date(ctx context.Context, which []int) {
	var none []int
	for _, i := range which {
		in := t.run.Inputs[i]
		if about := t.judged.DatedBy(in); about != nil && t.run.Dates(ctx, in) {
			t.entries[i] = &Entry{Fate: Evidence, For: about.Arg}
		} else {
			none = append(none, i)
		}
	}
	t.judge(ctx, none)
	for _, i := range none {
		t.explain(i, "it is called like a place proof, and is none of a log of the trusted root beside what was judged")
	}
}

// taking is an account that is being taken.
type taking struct {
	run     Run
	judged  *release.Judged
	unread  int // artifacts that were denied without having been read
	entries []*Entry
}

// judge judges inputs, each once however often it was named.
func (t *taking) judge(ctx context.Context, which []int) {
	verdicts := map[*release.Artifact]*release.Result{}
	var artifacts []*release.Artifact
	for _, i := range which {
		a := t.run.Inputs[i].Artifact
		if verdicts[a] == nil {
			verdicts[a] = &release.Result{
				Artifact: a, Decision: policy.Decision{Reason: policy.Internal, Detail: "it was not judged"},
			}
			artifacts = append(artifacts, a)
		}
	}
	if len(artifacts) == 0 {
		return
	}
	for _, r := range t.run.Judge(ctx, artifacts) {
		if r != nil && verdicts[r.Artifact] != nil {
			verdicts[r.Artifact] = r
		}
	}
	for _, a := range artifacts {
		t.add(ctx, verdicts[a])
	}
	for _, i := range which {
		in := t.run.Inputs[i]
		t.entries[i] = &Entry{Fate: Judged, Result: verdicts[in.Artifact]}
		if in.Passed != nil {
			t.entries[i].Fate = PassedOver
		}
	}
}

// add lets evidence be about what was judged. A verdict about content that cannot be
// read once more is none. What was denied unread need not be fetched for this.
func (t *taking) add(ctx context.Context, r *release.Result) {
	a, permitted := r.Artifact, r.Class() == policy.ClassOK
	if a.Err != nil || !permitted && a.Place != nil && len(r.Digests) == 0 {
		t.unread++
		return
	}
	err := t.judged.Add(ctx, a)
	if err == nil {
		return
	}
	t.unread++
	if permitted {
		r.Decision = policy.Decision{Reason: policy.Internal, Detail: err.Error()}
		if f := new(release.Failure); errors.As(err, &f) {
			r.Decision.Reason = f.Reason
		}
	}
}

// denied reports whether a verdict is no.
func (t *taking) denied() bool {
	return slices.ContainsFunc(t.entries, func(e *Entry) bool {
		return e != nil && e.Result != nil && e.Result.Class() != policy.ClassOK
	})
}

// settle says of inputs that are of a form of evidence whether they are some. What is
// about nothing that was judged is judged in its turn; what it names waits for that.
func (t *taking) settle(ctx context.Context, which []int) {
	for len(which) > 0 {
		which = slices.DeleteFunc(which, func(i int) bool {
			t.entries[i] = t.evidence(t.run.Inputs[i])
			return t.entries[i] != nil
		})
		if t.unread > 0 && t.denied() {
			// The verdict is no already, and these may be about what was not read.
			for _, i := range which {
				t.entries[i] = &Entry{
					Fate: PassedOver, Reason: policy.PassedOver, Detail: "it may be evidence for what could not be read",
				}
			}
			return
		}
		ends := slices.DeleteFunc(slices.Clone(which), func(i int) bool {
			return slices.ContainsFunc(which, func(k int) bool { return t.run.Inputs[i].Names(t.run.Inputs[k]) })
		})
		if len(ends) == 0 { // two files that name each other's digests
			ends = which
		}
		t.judge(ctx, ends)
		for _, i := range ends {
			t.explain(i, "it is of a form of evidence, but a signature over nothing that was judged")
		}
		which = slices.DeleteFunc(which, func(i int) bool { return t.entries[i] != nil })
	}
}

// evidence returns the entry of an input that is evidence, nil for another one.
func (t *taking) evidence(in *release.Input) *Entry {
	switch standing, about := t.judged.About(in); standing {
	case release.Vouching:
		return &Entry{Fate: Evidence, For: about.Arg}
	case release.Unverifiable:
		return &Entry{Fate: Unverifiable, For: about.Arg, Detail: "whose key signed it is not known here"}
	}
	return nil
}

// explain adds to a denial for want of evidence why the input is none itself.
func (t *taking) explain(i int, why string) {
	r := t.entries[i].Result
	if r.Decision.Reason == policy.NoEvidence && !strings.Contains(r.Decision.Detail, why) {
		if r.Decision.Detail != "" {
			why = r.Decision.Detail + "; " + why
		}
		r.Decision.Detail = why
	}
}

// explainNames says of what is denied for want of evidence that a file is some, under a name by
// which none is looked for.
func (t *taking) explainNames() {
	by := map[string]string{} // evidence, by what it is for
	for i, e := range t.entries {
		if e.Fate == Evidence && by[e.For] == "" {
			by[e.For] = t.run.Inputs[i].Artifact.Arg
		}
	}
	for i, e := range t.entries {
		if e.Result == nil {
			continue
		}
		if file := by[e.Result.Artifact.Arg]; file != "" {
			t.explain(i, fmt.Sprintf("%s is signed evidence about it, and not called so: name it with -b", file))
		}
	}
}

// account closes the list.
func (t *taking) account(ctx context.Context) *Account {
	out := &Account{entries: make([]Entry, 0, len(t.entries)+len(t.run.Named))}
	results := make([]*release.Result, 0, len(t.entries))
	for i, e := range t.entries {
		in := t.run.Inputs[i]
		e.Input = in.Artifact.Arg
		if in.Vague() != "" && e.Result != nil {
			t.explain(i, "it is called like evidence and is none: "+in.Vague())
		}
		e.refuseLate(ctx, in)
		if e.Result != nil {
			results = append(results, e.Result)
		}
		out.entries = append(out.entries, *e)
	}
	t.explainNames()
	t.explainSides(ctx, results)
	for _, in := range t.run.Named {
		out.entries = append(out.entries, t.named(in, results))
	}
	if t.run.Lines != nil {
		for _, l := range t.run.Lines(ctx, results) {
			out.entries = append(out.entries, Entry{
				Input: l.Name, Fate: PassedOver, Reason: policy.PassedOver,
				Detail: fmt.Sprintf("%s lists it; it was not asked for", l.Sums),
			})
		}
	}
	return out
}

// refuseLate takes back an OK for a file that was changed since it was read, or in a run that was
// interrupted. A changed file that nobody judged is refused, too, unless it is harmless.
func (e *Entry) refuseLate(ctx context.Context, in *release.Input) {
	isOK := func() bool { return e.Result != nil && e.Result.Class() == policy.ClassOK }
	if f := in.Artifact.Unchanged(); f != nil && (e.Result == nil && !in.Harmless || isOK()) {
		e.Fate, e.Result = Judged, refused(e.Result, in.Artifact, f.Reason, f.Detail)
	}
	if isOK() && ctx.Err() != nil {
		e.Result = refused(e.Result, in.Artifact, policy.Interrupted, context.Cause(ctx).Error())
	}
}

// named returns the entry of a file that the user named as evidence. If it is none it
// denies nothing: it was never asked about.
func (t *taking) named(in *release.Input, results []*release.Result) Entry {
	e := t.evidence(in)
	for _, r := range results {
		ev := r.Evidence
		if e == nil && ev != nil && ev.Verified != nil && (ev.Path == in.Artifact.Arg || ev.Via == in.Artifact.Arg) {
			e = &Entry{Fate: Evidence, For: r.Artifact.Arg}
		}
	}
	if e == nil {
		e = &Entry{Fate: PassedOver, Reason: policy.PassedOver, Detail: "it is evidence for nothing that was judged"}
		if in.Vague() != "" {
			e.Detail = in.Vague()
		}
	}
	e.Input = in.Artifact.Arg
	return *e
}

// refused turns a verdict into a denial.
func refused(old *release.Result, a *release.Artifact, r policy.Reason, detail string) *release.Result {
	out := &release.Result{}
	if old != nil {
		*out = *old
	}
	out.Artifact = a
	out.Decision = policy.Decision{Reason: r, Detail: detail}
	return out
}
