// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"
)

// TestReleaseDated: place proofs beside a release say that it was logged before a version in
// another log. Only one that nothing contradicts does, and none allows what is not allowed.
func TestReleaseDated(t *testing.T) {
	at := func(hour, minute int) time.Time { return time.Date(2026, 2, 2, hour, minute, 0, 0, time.UTC) }
	tsa := func(log string, size int64, t time.Time) Moment { return NewMoment(log, size, t, "tsa") }
	for _, v := range vectors(t, "chain") {
		if v.name != "overlap-removed-elsewhere" {
			continue
		}
		in := readChain(t, v)
		release := at(0, 30) // version 2 was certified at 1:00
		for name, x := range map[string]struct {
			moments []Moment
			ok      bool
			change  func(*History)
		}{
			"none":                    {nil, false, nil},
			"before the version":      {[]Moment{tsa("a", 31, at(0, 45))}, true, nil},
			"of a larger tree":        {[]Moment{tsa("a", 3100, at(0, 59))}, true, nil},
			"one of several":          {[]Moment{tsa("a", 31, at(3, 0)), tsa("a", 31, at(0, 45)), tsa("o", 31, at(0, 20))}, true, nil},
			"in the same second":      {[]Moment{tsa("a", 31, at(1, 0))}, false, nil},
			"after the version":       {[]Moment{tsa("a", 31, at(1, 1))}, false, nil},
			"of a smaller tree":       {[]Moment{tsa("a", 30, at(0, 45))}, false, nil},
			"of another log":          {[]Moment{tsa("z", 31, at(0, 45))}, false, nil},
			"of an unknown log":       {[]Moment{tsa("x", 31, at(0, 45))}, false, nil},
			"before its certificate":  {[]Moment{tsa("a", 31, at(0, 29))}, false, nil},
			"nothing":                 {[]Moment{{}}, false, nil},
			"of who lies to the view": {[]Moment{tsa("a", 31, at(0, 45))}, false, func(h *History) { h.Moments = append(h.Moments, tsa("z", 9, at(0, 0).AddDate(-1, 0, 0))) }},
			"contradicted by the view": {[]Moment{tsa("a", 31, at(0, 45))}, false, func(h *History) {
				h.Signatures = append(h.Signatures, NewSignature(SignatureFacts{Statement: "x", Signer: Identity{Kind: KindEmail, Value: "x@example.com"}, Entry: Entry{Log: "a", Index: 5, NotBefore: at(0, 50), NotAfter: at(1, 0)}}))
			}},
		} {
			h := in.h
			if x.change != nil {
				h.Moments, h.Signatures = append([]Moment{}, h.Moments...), append([]Signature{}, h.Signatures...)
				x.change(&h)
			}
			c := *in.in.claims
			e := Entry{Log: "a", Index: 30, NotBefore: release, NotAfter: release.Add(10 * time.Minute)}
			ev := NewEvidence(c, Verification{Times: []time.Time{release}, Logged: true, Proven: true, NotBefore: release, Entries: []Entry{e}, Moments: x.moments})
			d := Decide(Evaluate(h).Trusted(in.demand), in.in.req, ev)
			if (d.Outcome == Permitted) != x.ok {
				t.Errorf("%s: %+v", name, d)
			}
			c.Signer.Value = "mallory@example.com"
			if d := Decide(Evaluate(h).Trusted(in.demand), in.in.req, NewEvidence(c, ev.Verification())); d.Outcome == Permitted {
				t.Errorf("%s: a stranger's", name)
			}
		}
		return
	}
	t.Fatal("no such vector")
}
