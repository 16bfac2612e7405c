// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

// TestInForce: a decision names the version that judged, of many, and when it was in force: for
// evidence of several times each its own.
func TestInForce(t *testing.T) {
	h := longChain(t, 4)
	c := Evaluate(h)
	p := c.Trusted(Demand{})
	start := h.Logs[1].Start
	bound := func(version int) time.Time { // when it was logged
		return start.Add(time.Duration(version-1)*10*time.Hour + 5*time.Hour)
	}
	want := func(version int) policy.InForce {
		out := policy.InForce{Number: version, Newest: 4}
		if version > 0 {
			out.Digest, out.From = c.Versions()[version-1].Document.Digest(), bound(version)
		}
		if version < 4 {
			out.Until = bound(version + 1)
		}
		return out
	}
	at := func(hours int) policy.Entry { // index and moment agree, one entry an hour
		return policy.Entry{Log: "v2", Index: int64(hours), NotBefore: start.Add(time.Duration(hours) * time.Hour)}
	}
	vague := policy.Entry{Log: "another", Index: 1, NotBefore: start.Add(16 * time.Hour)}
	for name, x := range map[string]struct {
		entry policy.Entry
		by    []int
		want  policy.Reason
	}{
		"before version 1":          {at(3), []int{0}, policy.BeforeGenesis},
		"just after version 1":      {at(6), []int{1}, policy.Allowed},
		"just before version 2":     {at(14), []int{1}, policy.Allowed},
		"version 2":                 {at(17), []int{2}, policy.Allowed},
		"version 3":                 {at(29), []int{3}, policy.Allowed},
		"the newest":                {at(99), []int{4}, policy.Allowed},
		"a log that does not count": {vague, nil, policy.EntryLate},
	} {
		d := p.Decide(policy.Request{Now: h.Now}, carol(x.entry))
		var versions []policy.InForce
		for _, n := range x.by {
			versions = append(versions, want(n))
		}
		if diff := cmp.Diff(versions, d.Versions, cmp.AllowUnexported(policy.Digest{})); diff != "" || d.Reason != x.want ||
			!slices.Equal(d.Numbers(), x.by) {
			t.Errorf("%s: %s %v\n%s", name, d.Reason, d.Numbers(), diff)
		}
	}
	// What the claims alone deny was judged by no version in particular.
	mallory := policy.Claims{Signer: person("mallory@example.com")}
	if d, denied := p.Precheck(policy.Request{Now: h.Now}, mallory); !denied || d.Versions != nil {
		t.Errorf("%v %v", denied, d.Versions)
	}
}
