// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"github.com/repopolicy/repopolicy/policy"
)

// RootKey says whether a trust root still lists a key that a rule takes from it, or whether the
// rule says until when it counted.
func RootKey(r *policy.Rule, at policy.RootTarget, fact policy.RootFact) Finding {
	f := Finding{Check: Roots, Subject: "rule " + r.Name}
	state, id, why := fact.State()
	switch state {
	case "active":
		f.Text = "the key " + at.String() + " is active, sha256:" + id
	case "unknown":
		f.Reason, f.Text = policy.DoctorUnread, "not looked at: the key "+at.String()+": "+why
		f.Do = "list the root as a [[root]] of trust.toml, or try again"
	case "useless":
		f.Reason, f.Text = policy.DoctorDrift, "the target "+at.String()+" counts for nothing: "+why
		f.Do = "who keeps the root writes it with `repopolicy-trust add --status active`"
	default: // it has ended
		ended := map[string]string{"expired": "has expired", "withdrawn": "is not listed any more"}[state]
		f.Text = "the key " + at.String() + " " + ended
		if r.Until.IsZero() {
			f.Reason = policy.DoctorDrift
			f.Do = "let a new version say until when it counted, with until, and which key it was, with pem: repopolicy edit"
		}
	}
	return f
}
