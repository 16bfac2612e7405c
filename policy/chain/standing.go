// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// Standing says how far a version is from its quorum: which members of it have signed. The
// zero value is not met.
type Standing struct {
	Repository bool // the repository's own workflow is the only maintainer: the binding is its signature
	Threshold  int
	Signed     []string // names of members, in the order of the policy
	Missing    []string
	Before     *Standing // the same of the version before; nil for a genesis or a recovery
}

// Met reports whether the quorum is complete, so that the version may be bound.
func (s Standing) Met() bool {
	return (s.Repository || s.Threshold > 0 && len(s.Signed) >= s.Threshold) && (s.Before == nil || s.Before.Met())
}

// Awaits reports whether all that leaves the chain undecided is that the statement
// with the digest is bound in part: what lacks is more bindings of it, or more
// signatures, such as a run that binds it and was interrupted goes on to make, or new ones in
// place of those by certificates that were revoked.
func (c *Chain) Awaits(digest string) bool {
	return len(c.problems) > 0 && !slices.ContainsFunc(c.problems, func(p Problem) bool {
		return p.Reason != policy.Undisclosed && !p.anew() || p.Statement != digest || digest == ""
	})
}

// Anew names why the statement with the digest has to be bound again although a binding of it is
// at hand, which will never do: the signatures before that no longer count, or the version before
// came into force later. It is "" if there is no such reason.
func (c *Chain) Anew(digest string) string {
	for _, p := range c.problems {
		if p.anew() && p.Statement == digest && digest != "" {
			return string(p.Reason) + ": " + p.Detail
		}
	}
	return ""
}

func (p *Problem) anew() bool {
	return slices.Contains([]policy.Reason{
		policy.VersionInDoubt, policy.RevocationUnknown, policy.EffectUndecided,
	}, p.Reason)
}

// Standing returns who signed the statement with the digest, which is to follow
// the head of the chain or, where there is no chain, to be the genesis. A
// statement that can be neither is an error, and so is a chain that is undecided,
// unless all that it awaits is this very statement, or this statement declares
// bindings void. Where the repository's own workflow maintains a version, nobody has
// to sign.
func (c *Chain) Standing(h History, digest string) (Standing, error) {
	e := newEvaluator(&h, newOrder(h.Logs))
	s := e.statements[digest]
	if s == nil || s.doc == nil {
		return Standing{}, errors.New("the statement is not at hand or cannot be judged")
	}
	voids := len(s.file().Void) > 0 && (c.Reason() == policy.Undisclosed || c.Reason() == policy.VersionInDoubt)
	halfway := c.Awaits(digest) || voids
	if p := c.worst(); p != nil && p.Reason != policy.NoBinding && !halfway {
		return Standing{}, fmt.Errorf("the chain is undecided: %s", p.Reason)
	}
	w := &walk{evaluator: e, subjects: map[signer]string{}}
	var prev *link
	switch {
	case c.walk != nil:
		w.subjects = c.walk.subjects
		head := c.walk.head()
		if s.version == 1 {
			if s.file().Recovers != head.stmt.digest || !recoverable(head.stmt, s) {
				return Standing{}, errors.New("the repository has a policy; this version 1 does not recover it")
			}
			break
		}
		if n := len(c.walk.links); head.stmt.digest == digest && c.Anew(digest) != "" {
			if n > 1 {
				prev = c.walk.links[n-2]
			}
			break
		}
		if !follows(head.stmt, s) {
			return Standing{}, fmt.Errorf("it does not follow version %d, the newest one", head.stmt.version)
		}
		prev = head
	case s.version != 1 || s.file().Recovers != "":
		return Standing{}, errors.New("the repository has no policy that it could follow")
	}
	sigs := w.countable(prev, s)
	out := tally(&s.file().Maintainers, sigs)
	if prev != nil {
		t := tally(&prev.file().Maintainers, sigs)
		out.Before = &t
	}
	return out, nil
}

// SignedBy returns the names of the members whose signatures let a version of the chain count, of that
// version and of the one before it, each once; none where the repository's own workflow is the only
// maintainer, and of a version that there is not.
func (c *Chain) SignedBy(number int) (names []string) {
	if c == nil || c.walk == nil || number < 1 || number > len(c.links) {
		return nil
	}
	var prev *link
	at := c.links[number-1]
	if number > 1 {
		prev = c.links[number-2]
	}
	sigs := c.walk.countable(prev, at.stmt)
	names = tally(&at.file().Maintainers, sigs).Signed
	if prev != nil {
		for _, name := range tally(&prev.file().Maintainers, sigs).Signed {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func tally(m *policy.Maintainers, sigs []*signature) Standing {
	if m.Repository {
		return Standing{Repository: true}
	}
	t := Standing{Threshold: m.Threshold}
	for i := range m.Members {
		signed := false
		for _, sig := range sigs {
			signed = signed || sig.Doubt == "" && m.Members[i].Is(&sig.Signer)
		}
		if signed {
			t.Signed = append(t.Signed, m.Members[i].Name)
		} else {
			t.Missing = append(t.Missing, m.Members[i].Name)
		}
	}
	return t
}
