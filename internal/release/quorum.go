// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// Quorum joins the results of several runs over the same artifacts, each under a
// trusted root of its own: an artifact is allowed if at least k runs allow it. The
// evidence of one run never counts in another. Otherwise the worst result of those
// that do not allow it stands, the first of several. Fewer than k runs, k below 1
// and runs of different lengths are INTERNAL for every artifact.
func Quorum(k int, runs [][]*Result) []*Result {
	if len(runs) == 0 {
		return nil
	}
	out := make([]*Result, len(runs[0]))
	for i := range out {
		out[i] = quorum(k, runs, i)
	}
	return out
}

func quorum(k int, runs [][]*Result, i int) *Result {
	bad := &Result{
		Artifact: runs[0][i].Artifact,
		Decision: deny(policy.Internal, "%d runs for a quorum of %d", len(runs), k),
	}
	if k < 1 || k > len(runs) {
		return bad
	}
	var t tally
	for _, run := range runs {
		if len(run) != len(runs[0]) || run[i] == nil || run[i].Artifact != runs[0][i].Artifact {
			return bad
		}
		if !t.count(run[i]) {
			return &Result{
				Artifact: run[i].Artifact,
				Decision: deny(policy.ArtifactMismatch, "it was not the same each time that it was read"),
			}
		}
	}
	switch {
	case t.n < k && t.worst != nil:
		return t.worst
	case t.n < k:
		return bad
	case len(runs) == 1:
		return t.allowed
	}
	joined := *t.allowed // of the content that all of them judged
	joined.Decision.Notes = append(slices.Clip(joined.Decision.Notes), policy.Note{
		Code: "roots",
		Text: fmt.Sprintf("allowed under %d of %d trusted roots, %d demanded", t.n, len(runs), k),
	})
	return &joined
}

// tally counts the runs that allow an artifact.
type tally struct {
	n       int
	allowed *Result // the first that allows it
	worst   *Result // of those that do not
}

// count counts one run. It reports false if that allows other content than one before it.
func (t *tally) count(r *Result) bool {
	switch c := r.Class(); {
	case c == policy.ClassOK:
		if t.allowed == nil {
			t.allowed = r
		} else if !agree(t.allowed.Digests, r.Digests) {
			return false
		}
		t.n++
	case t.worst == nil || policy.Worst(c, t.worst.Class()) != t.worst.Class():
		t.worst = r
	}
	return true
}

// agree reports whether two results are about the same content.
func agree(a, b []policy.Digest) bool {
	same := false
	for _, x := range a {
		for _, y := range b {
			if x.Alg == y.Alg && x.Hex != y.Hex {
				return false
			}
			same = same || x == y
		}
	}
	return same
}
