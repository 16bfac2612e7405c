// SPDX-License-Identifier: Apache-2.0

package find

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Unbound is what a repository without a policy is judged by (SPEC 9.3): the look-up says each
// time that nothing is bound, and only then the certificate decides. It implements
// [release.Policy].
type Unbound struct {
	*policy.Trusted
	chain *chain.Trusted
	found *Found

	mu      sync.Mutex
	unasked []string // numbers of repositories that certificates name, of which nobody was asked
}

// maxNumbers is of how many numbers a run asks: a repository that was made anew under the same
// name has another one.
const maxNumbers = 8

// Decide judges one artifact by verified evidence. The repository that it is from must have no
// policy under a name that it had before, either: until that was asked for it is denied.
func (u *Unbound) Decide(req policy.Request, ev policy.Evidence) policy.Decision {
	if d := u.chain.Decide(req, ev); d.Reason != policy.NoBinding {
		return d
	}
	d := u.Trusted.Decide(req, ev)
	number := ev.Claims().Signer.SourceRepositoryID
	if !d.Permitted || slices.Contains(u.found.query.Beside, number) && !u.found.Resolution.BoundBy(number) {
		return d
	}
	detail := "the repository with the number " + number + " has bound a policy under another name"
	if !u.found.Resolution.BoundBy(number) {
		detail = "nobody was asked whether the repository with the number " + number + " has a policy under another name"
		u.mu.Lock()
		defer u.mu.Unlock()
		if !slices.Contains(u.unasked, number) && len(u.unasked) < maxNumbers {
			u.unasked = append(u.unasked, number)
		}
	}
	return policy.Decision{Reason: policy.UnboundDenied, Detail: detail, Tag: d.Tag}
}

// Unasked returns the numbers of repositories whose releases would be allowed if it were known
// that they bound nothing under another name: the question has to be asked again with them.
func (u *Unbound) Unasked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.unasked)
}

// Precheck judges what unverified evidence claims; see [policy.Trusted.Precheck].
func (u *Unbound) Precheck(req policy.Request, c policy.Claims) (policy.Decision, bool) {
	if d, final := u.chain.Precheck(req, c); !final || d.Reason != policy.NoBinding {
		return d, final
	}
	return u.Trusted.Precheck(req, c)
}

// Unbound returns what is judged by where no policy is bound: by what the lock names, if there is
// one. The error says why that must not be; it is nil only if the look-up said so, and nothing else
// speaks of a policy.
func (f *Found) Unbound(now time.Time) (*Unbound, error) {
	c := f.Resolution.Chain
	if f.Repository.Unbound(policy.Ids{}) == nil {
		return nil, fmt.Errorf("it is for github.com and gitlab.com, whose CI is known, not for %s", f.Repository.Host())
	}
	if why := f.named(); why != "" {
		return nil, errors.New(why)
	}
	u := &Unbound{Trusted: f.query.Lock.withoutPolicy(f.Repository), chain: f.Trusted(), found: f}
	if u.Trusted == nil {
		return nil, errors.New("the lock is not of the repository")
	}
	problems, view := c.Problems(), c.View()
	d, refused := u.chain.DecideAdopted(policy.Request{Now: now, Skew: Skew})
	switch {
	case len(c.Versions()) > 0 || !refused || d.Reason != policy.NoBinding || len(problems) != 1:
		return nil, errors.New("whether there is a policy is not decided")
	case problems[0].Detail != "":
		return nil, errors.New(problems[0].Detail)
	case len(c.Alarms()) > 0:
		return nil, fmt.Errorf("there is an alarm: %s", AlarmText(c.Alarms()[0]))
	case f.missed() != "":
		return nil, fmt.Errorf("no answer from the %s", f.missed())
	case !view.Completeness.Beats(chain.CompleteHinted):
		return nil, fmt.Errorf("what is known is %s, and an index promises nothing by silence: ask a directory, or add "+
			"--scan if the trusted root has no Rekor v1", view.Completeness)
	case f.Demand.MaxAge == 0 || view.AsOf.IsZero():
		return nil, errors.New("what is known may be of any age: add --max-age")
	}
	return u, nil
}

// named returns what names a policy already, or that nobody can be asked whether there is one by
// now; "" for neither.
func (f *Found) named() string {
	q := f.query
	switch {
	case q.Lock != nil && q.Lock.Unbound == nil || q.Pin != "" || f.AnchoredBy != "":
		return "a pin, lock or anchor names a policy"
	case q.Offline || q.Carried != nil:
		return "nobody is asked off-line whether there is a policy by now"
	case len(f.Resolution.Chain.Keep().Chain) > 0:
		return "this machine has seen a policy of the repository"
	}
	return ""
}

// missed returns who gave no answer, "" if everybody did. A log of Rekor v2 has no index to ask.
func (f *Found) missed() string {
	for _, name := range f.Silent() {
		if !errors.Is(f.Resolution.Failed[name], bindings.ErrNoIndex) {
			return name
		}
	}
	return ""
}

// Proved reports whether a directory said what is known.
func (f *Found) Proved() bool {
	return f.Directory != nil && f.Resolution.Chain.View().Completeness.Beats(chain.CompleteScanned)
}
