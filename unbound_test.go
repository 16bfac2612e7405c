// SPDX-License-Identifier: Apache-2.0

package repopolicy

import (
	"context"
	"errors"
	"testing"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/policy"
)

// TestUnboundRefused: another word than the one that there is allows nothing, and a run is never
// authorised without a policy.
func TestUnboundRefused(t *testing.T) {
	for _, word := range []string{"Repository", "signer", " ", "repository,signer"} {
		_, err := (&Client{Unbound: word, Offline: true}).Find(t.Context(), "acme/widget")
		if reasonOf(err) != policy.Usage {
			t.Errorf("%q: %v", word, err)
		}
	}
	p := &Policy{under: []*found{{unbound: &find.Unbound{}}}, demand: 1}
	p.again = func(context.Context, func(*find.Query)) (*Policy, error) { return p, nil }
	_, err := (&Client{Unbound: "repository"}).Authorize(t.Context(), p, "token", "widget")
	if reasonOf(err) != policy.NoBinding {
		t.Error(err)
	}
}

// TestUnboundUnderOneRoot: what several roots say is not joined to that there is no policy.
func TestUnboundUnderOneRoot(t *testing.T) {
	c := &Client{Unbound: "repository"}
	none := policy.Faultf(policy.NoBinding, "none")
	for _, asked := range [][]*found{nil, {{}, {}}} {
		p, err := c.withoutPolicy(&find.Query{}, asked, none)
		var f *policy.Fault
		if p != nil || !errors.As(err, &f) || f.Reason != policy.NoBinding {
			t.Errorf("%d roots: %v %v", len(asked), p, err)
		}
	}
}
