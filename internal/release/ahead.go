// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"

	"github.com/repopolicy/repopolicy/policy"
)

// ahead is evidence that is asked for while the content of its artifact is downloaded: neither
// request depends on what the other returns.
type ahead struct {
	done  chan struct{}
	found []*candidate
	stop  context.CancelFunc
}

// askAhead asks for the evidence under the one name that takes no listing, if it will be wanted in
// any case: of an artifact of a place, beside which nothing else is at hand. Nil asks nobody.
func (j *Judge) askAhead(ctx context.Context, res *Result) *ahead {
	a := res.Artifact
	if a.Place == nil || a.listed || a.found != nil || base(a) == "" || a.Tag != "" || a.Commit != "" ||
		len(j.Bundles) > 0 || len(j.Carried) > 0 {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	out := &ahead{done: make(chan struct{}), stop: stop}
	go func() {
		defer close(out.done)
		defer func() {
			if p := recover(); p != nil {
				out.found = []*candidate{failed(a.Arg, "", failf(policy.Internal, "panic: %v", p))}
			}
		}()
		out.found = j.finder.guess(ctx, a.Place, res.hold, base(a))
	}()
	return out
}

// wait returns what was found.
func (a *ahead) wait() []*candidate {
	<-a.done
	return a.found
}

// end ends the request, if nobody waited for it.
func (a *ahead) end() {
	if a != nil {
		a.stop()
		<-a.done
	}
}
