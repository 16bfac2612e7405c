// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// signer is what a principal signs as; two token subjects of one signer are two
// accounts that had the same name at different times.
type signer struct {
	kind   policy.Kind
	value  string
	issuer string
}

func signerOf(id *policy.Identity) signer { return signer{id.Kind, id.Value, id.Issuer} }

// countable returns the signatures over s that can count towards a quorum: by a
// member of the version before or of s itself, under the account that the chain
// knows for that name (SPEC 8.1).
func (w *walk) countable(prev *link, s *Statement) []*signature {
	var out []*signature
	byName := map[signer][]*signature{}
	for _, sig := range w.sigs[s.digest] {
		id := &sig.Signer
		if !s.file().Maintainers.Names(*id) && (prev == nil || !prev.file().Maintainers.Names(*id)) {
			continue
		}
		if pinned := w.subjects[signerOf(id)]; pinned != "" && id.TokenSubject != pinned {
			continue
		}
		out = append(out, sig)
		byName[signerOf(id)] = append(byName[signerOf(id)], sig)
	}
	accounts := map[signer]account{}
	for name, sigs := range byName {
		accounts[name] = w.accountOf(sigs)
	}
	return slices.DeleteFunc(out, func(sig *signature) bool {
		a := accounts[signerOf(&sig.Signer)]
		return sig.Signer.TokenSubject != "" && (!a.known || sig.Signer.TokenSubject != a.subject)
	})
}

// account is the account behind a name, as its token subject.
type account struct {
	subject string
	known   bool
}

// accountOf returns the account that signed first of all that used one name; not
// known if there is no order between it and another.
func (w *walk) accountOf(sigs []*signature) account {
	var first *signature
	for _, x := range sigs {
		if x.Signer.TokenSubject != "" && (first == nil || w.before(x.Entry, first.Entry)) {
			first = x
		}
	}
	if first == nil {
		return account{}
	}
	for _, y := range sigs {
		other := y.Signer.TokenSubject != "" && y.Signer.TokenSubject != first.Signer.TokenSubject
		if other && !w.before(first.Entry, y.Entry) {
			return account{}
		}
	}
	return account{first.Signer.TokenSubject, true}
}

// learn pins the accounts behind the signatures that a binding does not precede.
func (w *walk) learn(sigs []*signature, e *effect) {
	for _, sig := range sigs {
		counted := slices.ContainsFunc(e.possible, func(l *leaf) bool { return !w.before(l.Entry, sig.Entry) })
		if k := signerOf(&sig.Signer); counted && sig.Signer.TokenSubject != "" && w.subjects[k] == "" {
			w.subjects[k] = sig.Signer.TokenSubject
		}
	}
}

// quorum is rule 1: those signatures that pred takes are by enough distinct
// members of the version itself and of the version before (SPEC 8.1). None counts whose
// certificate may have been revoked (SPEC 8.9).
func (w *walk) quorum(prev *link, s *Statement, sigs []*signature, pred func(*signature) bool) bool {
	met := func(m *policy.Maintainers) bool {
		if m.Repository { // its workflow's signature is the binding itself
			return !w.h.MaintainersBind
		}
		n := 0
		for i := range m.Members {
			x := &m.Members[i]
			signed := func(sig *signature) bool { return sig.Doubt == "" && pred(sig) && x.Is(&sig.Signer) }
			if slices.ContainsFunc(sigs, signed) {
				n++
			}
		}
		return n >= m.Threshold
	}
	return met(&s.file().Maintainers) && (prev == nil || met(&prev.file().Maintainers))
}
