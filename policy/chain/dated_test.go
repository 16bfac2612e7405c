// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/policy"
)

// TestReleaseDated: place proofs beside a release say that it was logged before a version in
// another log. Only one that nothing contradicts does, and none allows what is not allowed.
func TestReleaseDated(t *testing.T) {
	at := func(hour, minute int) time.Time { return time.Date(2026, 2, 2, hour, minute, 0, 0, time.UTC) }
	tsa := func(log string, size int64, t time.Time) policy.Moment {
		return policy.Log{ID: log}.Seen(size, t, "tsa")
	}
	for _, v := range vectors.Read(t, "chain") {
		if v.Name != "overlap-removed-elsewhere" {
			continue
		}
		in := readChain(t, v)
		release := at(0, 30) // version 2 was certified at 1:00
		for name, x := range map[string]struct {
			moments []policy.Moment
			ok      bool
			change  func(*History)
		}{
			"none":               {nil, false, nil},
			"before the version": {[]policy.Moment{tsa("a", 31, at(0, 45))}, true, nil},
			"of a larger tree":   {[]policy.Moment{tsa("a", 3100, at(0, 59))}, true, nil},
			"one of several": {
				[]policy.Moment{tsa("a", 31, at(3, 0)), tsa("a", 31, at(0, 45)), tsa("o", 31, at(0, 20))}, true, nil,
			},
			"in the same second":     {[]policy.Moment{tsa("a", 31, at(1, 0))}, false, nil},
			"after the version":      {[]policy.Moment{tsa("a", 31, at(1, 1))}, false, nil},
			"of a smaller tree":      {[]policy.Moment{tsa("a", 30, at(0, 45))}, false, nil},
			"of another log":         {[]policy.Moment{tsa("z", 31, at(0, 45))}, false, nil},
			"of an unknown log":      {[]policy.Moment{tsa("x", 31, at(0, 45))}, false, nil},
			"before its certificate": {[]policy.Moment{tsa("a", 31, at(0, 29))}, false, nil},
			"nothing":                {[]policy.Moment{{}}, false, nil},
			"of who lies to the view": {[]policy.Moment{tsa("a", 31, at(0, 45))}, false, func(h *History) {
				h.Moments = append(h.Moments, tsa("z", 9, at(0, 0).AddDate(-1, 0, 0)))
			}},
			"contradicted by the view": {[]policy.Moment{tsa("a", 31, at(0, 45))}, false, func(h *History) {
				h.Signatures = append(h.Signatures, SignatureFacts{
					Statement: "x", Signer: policy.Identity{Kind: policy.KindEmail, Value: "x@example.com"},
					Entry: policy.Entry{Log: "a", Index: 5, NotBefore: at(0, 50), NotAfter: at(1, 0)},
				}.Verified())
			}},
		} {
			h := in.h
			if x.change != nil {
				h.Moments, h.Signatures = slices.Clone(h.Moments), slices.Clone(h.Signatures)
				x.change(&h)
			}
			c := *in.in.Claims
			e := policy.Entry{Log: "a", Index: 30, NotBefore: release, NotAfter: release.Add(10 * time.Minute)}
			ev := c.Verified(policy.Verification{
				Times: []time.Time{release}, Logged: true, Proven: true, NotBefore: release, Entries: []policy.Entry{e},
				Moments: x.moments,
			})
			d := in.trusted(Evaluate(h)).Decide(in.in.Request, ev)
			if (d.Permitted) != x.ok {
				t.Errorf("%s: %+v", name, d)
			}
			c.Signer.Value = "mallory@example.com"
			if d := in.trusted(Evaluate(h)).Decide(in.in.Request, c.Verified(ev.Verification())); d.Permitted {
				t.Errorf("%s: a stranger's", name)
			}
		}
		return
	}
	t.Fatal("no such vector")
}
