// SPDX-License-Identifier: Apache-2.0

package release

import (
	"slices"
	"sync"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// same keeps one copy of evidence that allows many artifacts: all that a signed checksum file lists,
// or that one statement is about, differs in its name alone.
type same struct {
	mu  sync.Mutex
	all map[sameKey]*Evidence
}

// sameKey is what tells evidence that allows from other evidence, but for the name of the artifact.
type sameKey struct {
	path, sum, form, via, predicate, mediaType string
	item                                       int
	verified                                   *sigstore.Verified
	signer                                     policy.Identity
	reason                                     policy.Reason
	rule, tag, detail                          string
}

// share lets a result have the evidence that others have, and reports whether it does. Only what
// allows is shared, and only if there is nothing else to say of it.
func (s *same) share(r *Result) bool {
	ev := r.Evidence
	if ev == nil || ev.stage != stagePermitted || len(r.Others) > 0 || ev.Verified == nil || ev.Target != nil || ev.open {
		return false
	}
	d := &ev.Decision
	if len(d.Rules) > 0 || len(d.Notes) > 0 || len(d.Compared) > 0 {
		return false
	}
	key := sameKey{
		path: ev.Path, sum: ev.Sum, form: ev.Form, via: ev.Via, predicate: ev.Predicate, mediaType: ev.MediaType,
		item: ev.Item, verified: ev.Verified, signer: ev.Signer, reason: d.Reason, rule: d.Rule, tag: d.Tag,
		detail: d.Detail,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[sameKey]*Evidence{}
	}
	old := s.all[key]
	if old == nil {
		one := *ev
		one.Name = ""
		s.all[key] = &one
		return false // the first of them is counted as a whole
	}
	if !slices.Equal(old.Decision.Versions, d.Versions) {
		return false
	}
	r.called, r.Evidence, r.Decision.Versions = ev.Name, old, old.Decision.Versions
	return true
}

// SignedName returns the name that signed content gives to the artifact; "" if it gives none. It stands
// here, as the results of many artifacts may have the same Evidence.
func (r *Result) SignedName() string {
	if r.Evidence != nil && r.Evidence.Name != "" {
		return r.Evidence.Name
	}
	return r.called
}
