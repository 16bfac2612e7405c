// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// denial is all that is printed of an artifact that is not allowed, but for its name.
type denial struct {
	verdict                     string
	reason                      policy.Reason
	message, detail, hint, next string
	path, via, differs, seen    string
	item                        int
	signer                      Signer
}

// ofEvidence are the reasons that say what is wrong with a file of evidence, whatever it is about.
var ofEvidence = []policy.Reason{
	policy.BundleInvalid, policy.BundleTooLarge, policy.StatementInvalid, policy.LayoutInvalid, policy.SumsInvalid,
}

// alike counts denials of which all but the name is the same.
type alike struct {
	of    map[denial]*denied
	order []*denied
}

// denied are artifacts of which the same is said.
type denied struct {
	verdict, first string // the first of them
	reason         policy.Reason
	n, most        int // how many they are, and of how many it is said
}

// has reports whether enough was said of what an artifact shares with those before it: what is wrong
// with a file of evidence once, whatever else differs five times.
func (a *alike) has(x *Artifact) bool {
	key := denial{
		verdict: x.Verdict, reason: x.Reason, message: x.Message, detail: x.Detail, hint: x.Hint, next: x.Next,
	}
	if len(x.Others) > 0 {
		key.seen = fmt.Sprint(x.Others)
	}
	if n := x.Nearest; n != nil {
		key.differs = fmt.Sprint(*n)
	}
	most := briefAfter
	if ev := x.Evidence; ev != nil {
		key.path, key.via, key.item = ev.Path, ev.Via, ev.Item
		if ev.Signer != nil {
			key.signer = *ev.Signer
		}
		if slices.Contains(ofEvidence, x.Reason) {
			most = 1
		}
	}
	if a.of == nil {
		a.of = map[denial]*denied{}
	}
	d := a.of[key]
	if d == nil {
		d = &denied{verdict: x.Verdict, first: x.Artifact, reason: x.Reason, most: most}
		a.of[key], a.order = d, append(a.order, d)
	}
	d.n++
	return d.n > d.most
}

// alike says how many artifacts are denied as others are.
func (p *Printer) alike(a *alike) {
	for _, d := range a.order {
		if more := d.n - d.most; more > 0 {
			p.Head(Bad, d.verdict, "%s%d more as %s is [%s]; -v names them", pad(d.verdict), more, Named(d.first), d.reason)
		}
	}
}
