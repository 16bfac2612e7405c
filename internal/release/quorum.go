// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"

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
	bad := &Result{Artifact: runs[0][i].Artifact, Decision: deny(policy.Internal, "%d runs for a quorum of %d", len(runs), k)}
	if k < 1 || k > len(runs) {
		return bad
	}
	var allowed, worst *Result
	n := 0
	for _, run := range runs {
		if len(run) != len(runs[0]) || run[i] == nil || run[i].Artifact != runs[0][i].Artifact {
			return bad
		}
		r := run[i]
		switch c := r.Class(); {
		case c == policy.ClassOK:
			if allowed == nil {
				allowed = r
			} else if !agree(allowed.Digests, r.Digests) {
				return &Result{Artifact: r.Artifact, Decision: deny(policy.ArtifactMismatch, "it was not the same each time that it was read")}
			}
			n++
		case worst == nil || policy.Worst(c, worst.Class()) != worst.Class():
			worst = r
		}
	}
	switch {
	case n < k && worst != nil:
		return worst
	case n < k:
		return bad
	case len(runs) == 1:
		return allowed
	}
	joined := *allowed // of the content that all of them judged
	joined.Decision.Notes = append(joined.Decision.Notes[:len(joined.Decision.Notes):len(joined.Decision.Notes)],
		policy.Note{Code: "roots", Text: fmt.Sprintf("allowed under %d of %d trusted roots, %d demanded", n, len(runs), k)})
	return &joined
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
