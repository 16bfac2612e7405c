// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// signer is what a principal signs as; two token subjects of one signer are two
// accounts that had the same name at different times.
type signer struct {
	kind   Kind
	value  string
	issuer string
}

func signerOf(id *Identity) signer { return signer{id.Kind, id.Value, id.Issuer} }

// is reports whether the identity is this member's.
func (m *Member) is(id *Identity) bool {
	if id.Kind == KindKey {
		return slices.ContainsFunc(m.Keys, func(k Key) bool { return k.ID == id.Value })
	}
	return slices.ContainsFunc(m.Identities, func(p Principal) bool {
		return p.Kind == id.Kind && p.Value == id.Value && p.Issuer == id.Issuer && (p.Subject == "" || p.Subject == id.TokenSubject)
	})
}

func (m *Maintainers) member(id *Identity) bool {
	return slices.ContainsFunc(m.Members, func(x Member) bool { return x.is(id) })
}

// countable returns the signatures over s that can count towards a quorum: by a
// member of the version before or of s itself, under the account that the chain
// knows for that name (SPEC 8.1).
func (w *walk) countable(prev *link, s *Statement) []*signature {
	var out []*signature
	accounts := map[signer][]*signature{}
	for _, sig := range w.sigs[s.digest] {
		id := &sig.Signer
		if !s.file().Maintainers.member(id) && (prev == nil || !prev.file().Maintainers.member(id)) {
			continue
		}
		if pinned := w.subjects[signerOf(id)]; pinned != "" && id.TokenSubject != pinned {
			continue
		}
		out = append(out, sig)
		accounts[signerOf(id)] = append(accounts[signerOf(id)], sig)
	}
	return slices.DeleteFunc(out, func(sig *signature) bool {
		return !w.account(sig, accounts[signerOf(&sig.Signer)])
	})
}

// account reports whether sig is under the account that signed first of all
// those with the same name. Where that is not known, none of them is.
func (w *walk) account(sig *signature, all []*signature) bool {
	mine := sig.Signer.TokenSubject
	other := func(x *signature) bool { return x.Signer.TokenSubject != "" && x.Signer.TokenSubject != mine }
	if mine == "" || !slices.ContainsFunc(all, other) {
		return true
	}
	return slices.ContainsFunc(all, func(x *signature) bool {
		return x.Signer.TokenSubject == mine && !slices.ContainsFunc(all, func(y *signature) bool {
			return other(y) && !w.before(x.at(), y.at())
		})
	})
}

// learn pins the accounts behind the signatures that counted.
func (w *walk) learn(sigs []*signature) {
	for _, sig := range sigs {
		if k := signerOf(&sig.Signer); sig.Signer.TokenSubject != "" && w.subjects[k] == "" {
			w.subjects[k] = sig.Signer.TokenSubject
		}
	}
}

// quorum is rule 1: those signatures that pred takes are by enough distinct
// members of the version itself and of the version before (SPEC 8.1).
func (w *walk) quorum(prev *link, s *Statement, sigs []*signature, pred func(*signature) bool) bool {
	met := func(m *Maintainers) bool {
		if m.Repository { // its workflow's signature is the binding itself
			return w.h.Binder == BoundByWorkflow
		}
		n := 0
		for i := range m.Members {
			if slices.ContainsFunc(sigs, func(sig *signature) bool { return pred(sig) && m.Members[i].is(&sig.Signer) }) {
				n++
			}
		}
		return n >= m.Threshold
	}
	return met(&s.file().Maintainers) && (prev == nil || met(&prev.file().Maintainers))
}
