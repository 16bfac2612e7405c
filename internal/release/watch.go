// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Watch knows what else this run and earlier ones have seen of the logs of a trusted root,
// and of time (SPEC 9.1, 9.2). It may be used by several goroutines.
type Watch interface {
	// Date takes the times that verified evidence proves, whatever it is worth.
	Date(v *sigstore.Verified)
	// Same returns why verified evidence counts for nothing: what its entries show of a log
	// contradicts what is known, or nothing shows that it does not. The notes say where
	// nobody was asked.
	Same(ctx context.Context, v *sigstore.Verified) ([]policy.Note, *Failure)
	// Verdict returns why nothing at all can be allowed, once everything was seen; nil if
	// nothing is in the way.
	Verdict() *Failure
}

// watch says what evidence that would do is worth beside all else that is known.
func (j *Judge) watch(ctx context.Context, v *sigstore.Verified, ev *Evidence) {
	if j.Watch == nil {
		return
	}
	j.Watch.Date(v)
	if ev.stage != stagePermitted {
		return
	}
	notes, f := j.Watch.Same(ctx, v)
	switch {
	case f == nil:
		ev.Decision.Notes = append(ev.Decision.Notes, notes...)
	case f.Reason.Class() == policy.ClassAlarm:
		ev.stage, ev.Decision = stageAlarm, f.decision()
	default:
		ev.stage, ev.Decision = stageUnproven, f.decision()
	}
}

// settle takes back what was allowed, if what was seen since is in the way.
func (j *Judge) settle(results []*Result) []*Result {
	if j.Watch == nil {
		return results
	}
	f := j.Watch.Verdict()
	for _, r := range results {
		if f != nil && r != nil && r.Class() == policy.ClassOK {
			r.Decision = f.decision()
		}
	}
	return results
}
