// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// Verdict says of every input of a run what became of it. Only [Client.Verify] makes one that
// is OK.
type Verdict struct {
	class   policy.Class
	policy  *Policy
	account *account.Account
}

// OK reports whether something was judged and everything that was is allowed.
func (v *Verdict) OK() bool { return v != nil && v.class == policy.ClassOK }

// Class returns the class of the run, that of its worst verdict.
func (v *Verdict) Class() policy.Class { return v.class }

// Policy returns the policy that was judged by: as the run had to know it, which may be newer
// than the one that it began with.
func (v *Verdict) Policy() *Policy { return v.policy }

// Entries returns what became of each input, in their order, and of the files that were named
// as evidence.
func (v *Verdict) Entries() []Entry { return slices.Collect(v.Each()) }

// Each yields the entries one by one, so that those of a hundred thousand files need not be held at once.
func (v *Verdict) Each() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if v == nil || v.account == nil {
			return
		}
		for _, e := range v.account.Entries() {
			if !yield(newEntry(&e)) {
				return
			}
		}
	}
}

// Entry is one input and its fate.
type Entry struct {
	Input string
	// Fate is what became of it:
	//   - "judged": there is a verdict about it;
	//   - "evidence": a signature in it is right over what was judged, or it is a place proof
	//     beside that;
	//   - "unverifiable-evidence": it names what was judged, but whose key signed it is not known;
	//   - "side-file": nothing vouches for it, it belongs to what was allowed, and [SideFiles]
	//     lets files of its kind lie there;
	//   - "passed-over": it was not judged, and the entry says why.
	Fate string
	For  string // what it is evidence for; "" for other fates
	// Result is the verdict about what was judged, and the denial of what was passed over and
	// is not harmless; nil for the rest.
	Result *Result
	Reason policy.Reason // why it was passed over without denying anything
	Detail string
}

// Result is the verdict on one artifact.
type Result struct {
	Artifact string
	Digests  []policy.Digest
	Decision policy.Decision
	Evidence *Evidence   // that the decision is about; nil if there is none
	Others   []*Evidence // that were looked at, too
}

// Class returns the class of the result: OK if and only if it is permitted.
func (r *Result) Class() policy.Class {
	c := r.Decision.Reason.Class()
	if (c == policy.ClassOK) != (r.Decision.Permitted) {
		return policy.ClassInternal
	}
	return c
}

// Evidence is one candidate and what came of it.
type Evidence struct {
	Path      string // file or address
	Sum       string // hex SHA-256 of the file as it was read; "" if it is none
	Form      string // how the form in which it was published is called
	Item      int    // which of several in the file, from 1; 0 if it holds one
	Via       string // checksum file that lists the artifact; "" if the evidence is about the artifact itself
	Name      string // that the signed content gives to the artifact; "" if it gives none
	Decision  policy.Decision
	Signer    policy.Identity
	MediaType string
	Predicate string // predicate type; "" for a message signature
	// Verified says that signature, certificate, log and time were verified. Without it the
	// signer and the predicate are only what the evidence claims, and what follows is empty.
	Verified bool
	// Checked says that it was tried to verify it; what its own words rule out never is.
	Checked bool
	Root    string // name of the trusted root
	// Target is what a trust root lists with these digests, in place of a signature and its
	// signer, by metadata of this version; zero for other evidence. Verified says that it does.
	Target        policy.RootTarget
	TargetVersion int64
	TargetExpires time.Time
	Times         []Time
	Log           []LogEntry

	// What follows is set by [Client.Inspect] alone.
	About     bool      // that is signed, whoever signed it: the artifact, or a checksum file that lists it
	NotBefore time.Time // of the certificate, if it is verified; zero for a key
	NotAfter  time.Time
	KeyHint   string // by which the evidence names its key
	// Subjects are what is signed: the signer's word if it is verified, else the evidence's.
	Subjects []struct {
		Name    string
		Digests []policy.Digest
	}
	// Claimed are log entries that the evidence says it has, and that were not verified.
	Claimed []struct {
		LogID string
		Index int64
		Time  time.Time // zero if it says none
	}
}

// Time is a trusted time of a signature.
type Time struct {
	Time   time.Time
	Source string // what proves it
	URI    string // of the service; "" if it is not known
}

// LogEntry is an entry of a transparency log.
type LogEntry struct {
	LogID         string
	Origin        string
	Proven        bool  // its inclusion, in a tree of that size
	TreeIndex     int64 // -1 if it is not proven
	TreeSize      int64
	PromisedIndex int64     // that the log promised; -1 for none
	Time          time.Time // when the log promised it; zero if it did not
}

func newVerdict(p *Policy, acc *account.Account) *Verdict {
	return &Verdict{class: acc.Class(), policy: p, account: acc}
}

func newEntry(e *account.Entry) Entry {
	out := Entry{Input: e.Input, Fate: string(e.Fate), For: e.For, Reason: e.Reason, Detail: e.Detail}
	if e.Result != nil {
		out.Result = newResult(e.Result)
	}
	return out
}

func newResult(r *release.Result) *Result {
	out := &Result{Artifact: r.Artifact.Arg, Digests: r.Digests, Decision: r.Decision}
	if r.Evidence != nil {
		out.Evidence = newEvidence(r.Evidence)
		out.Evidence.Name = r.SignedName()
	}
	for _, e := range r.Others {
		out.Others = append(out.Others, newEvidence(e))
	}
	return out
}

func newEvidence(e *release.Evidence) *Evidence {
	out := &Evidence{
		Path: e.Path, Sum: e.Sum, Form: e.Form, Item: e.Item, Via: e.Via, Name: e.Name, Decision: e.Decision,
		Signer: e.Signer, MediaType: e.MediaType, Predicate: e.Predicate, Checked: e.Checked(),
	}
	if e.Target != nil {
		out.Target, out.Verified = *e.Target.Target, e.ByRoot
		out.TargetVersion, out.TargetExpires = e.Target.TargetVersion, e.Target.TargetExpires
	}
	if e.Verified == nil {
		return out
	}
	out.Verified, out.Root = true, e.Verified.Root
	for _, t := range e.Verified.Times {
		out.Times = append(out.Times, Time{t.Time, t.Source, t.URI})
	}
	for _, l := range e.Verified.Entries {
		out.Log = append(out.Log, LogEntry{l.LogID, l.Origin, l.Proven, l.TreeIndex, l.TreeSize, l.PromisedIndex, l.Time})
	}
	return out
}

func newInspection(x *release.Inspection) *Result {
	out := &Result{Artifact: x.Artifact.Arg, Digests: x.Digests}
	if x.Why != nil {
		out.Decision = policy.Decision{Reason: x.Why.Reason, Detail: x.Why.Detail}
	}
	if x.More > 0 {
		out.Decision.Notes = append(out.Decision.Notes, policy.Note{
			Code: "more-evidence", Text: fmt.Sprintf("%d more pieces of evidence are not shown", x.More),
		})
	}
	for _, p := range x.Pieces {
		out.Others = append(out.Others, newInspected(p))
	}
	return out
}

func newInspected(p *release.Inspected) *Evidence {
	out := newEvidence(p.Evidence)
	out.About, out.KeyHint = p.About, p.KeyHint
	if v := p.Verified; v != nil {
		out.NotBefore, out.NotAfter = v.NotBefore, v.NotAfter
	}
	if m := p.Moment; m != nil {
		log, size, at, by := m.Facts()
		out.Times = []Time{{Time: at, Source: "tsa", URI: by}}
		out.Log = []LogEntry{{LogID: log, TreeIndex: -1, TreeSize: size, PromisedIndex: -1}}
	}
	for _, s := range p.Subjects {
		out.Subjects = append(out.Subjects, struct {
			Name    string
			Digests []policy.Digest
		}(s))
	}
	for _, e := range p.Claimed {
		out.Claimed = append(out.Claimed, struct {
			LogID string
			Index int64
			Time  time.Time
		}{e.LogID, e.Index, e.Time})
	}
	return out
}
