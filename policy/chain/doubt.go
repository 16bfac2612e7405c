// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// This file is about signatures by certificates that were revoked, or of which nobody knows
// whether they were (SPEC 8.9). They complete no quorum. But what was in force is not undone in
// silence: a history that would be another one with them decides nothing.

// Evaluate returns the chain of versions that the history shows for its
// repository. It is a pure function; the order of the lists in h does not matter.
// A history that leaves genesis or head undecided gives a chain that says why
// and allows nothing.
func Evaluate(h History) *Chain {
	c := evaluate(h)
	c.doubt(h)
	return c
}

// doubt compares the chain with the one that there would be if doubtful signatures counted.
func (c *Chain) doubt(h History) {
	var doubtful []SignatureFacts
	h.Signatures = slices.Clone(h.Signatures)
	for i := range h.Signatures {
		s := &h.Signatures[i]
		if !s.verified || s.facts.Doubt == "" || c.disowns(&s.facts) {
			continue
		}
		doubtful = append(doubtful, s.facts)
		s.facts.Doubt = ""
	}
	if c.doubtBy(h, doubtful) || h.Directory == nil {
		return
	}
	var unlisted []SignatureFacts
	h.Directory, unlisted = h.Directory.showing(h.Signatures)
	c.doubtBy(h, append(doubtful, unlisted...))
}

// doubtBy compares the chain with that of a history in which the doubtful signatures count, and
// reports whether that is another one.
func (c *Chain) doubtBy(h History, doubtful []SignatureFacts) bool {
	if len(doubtful) == 0 {
		return false
	}
	other := evaluate(h)
	at := other.departs(c)
	if at == "" && !other.failsElsewhere(c) {
		return false
	}
	bears := func(s SignatureFacts) bool { return other.has(s.Statement) && !c.has(s.Statement) }
	if slices.ContainsFunc(doubtful, bears) {
		doubtful = slices.DeleteFunc(doubtful, func(s SignatureFacts) bool { return !bears(s) })
	}
	worst, reason := doubtful[0], policy.VersionInDoubt
	for _, s := range doubtful {
		if s.Doubt != policy.CertificateRevoked { // nothing is certain then
			worst, reason = s, s.Doubt
			break
		}
	}
	// What is not there because of the doubt is neither no policy nor a rollback.
	c.problems = slices.DeleteFunc(c.problems, func(p Problem) bool {
		return p.Reason == policy.NoBinding || p.Reason == policy.ChainRollback ||
			p.Reason == policy.Undisclosed && p.Statement != "" && other.has(p.Statement)
	})
	c.problems = append(c.problems, Problem{
		Reason: reason, Statement: at, Entries: []policy.Entry{worst.Entry}, Detail: fmt.Sprintf(
			"%sa signature by %s of %s would count but for this: %s (%s)",
			other.versionOf(at), worst.Signer.Value, worst.Signer.Issuer, worst.Why, other.leavesOf(at, doubtful)),
	})
	return true
}

// showing returns the directory as if it showed the signatures by certificates of an authority
// beside Fulcio that it does not show, and those: it may not know the authority, which a
// trusted root names, and then takes none of them.
func (d *Directory) showing(all []Signature) (*Directory, []SignatureFacts) {
	out := *d
	out.Signatures = slices.Clone(d.Signatures)
	type at struct {
		statement string
		Position
	}
	listed := map[at]bool{}
	for _, l := range d.Signatures {
		listed[at{l.Payload, l.Position}] = true
	}
	var unlisted []SignatureFacts
	for _, s := range all {
		f := s.facts
		if !s.verified || !spelling.IsPKI(f.Signer.Issuer) || listed[at{f.Statement, positionOf(f.Entry)}] {
			continue
		}
		f.Doubt = policy.Undisclosed
		f.Why = "the directory does not show it; hand it in, or name a directory that knows " + f.Signer.Issuer
		unlisted = append(unlisted, f)
		out.Signatures = append(out.Signatures, Listed{Payload: f.Statement, Position: positionOf(f.Entry)})
	}
	return &out, unlisted
}

// disowns reports whether a version of the chain declares void the log entry of a signature by a
// certificate that was revoked: nothing that it would have completed was ever in force.
func (c *Chain) disowns(s *SignatureFacts) bool {
	return s.Doubt == policy.CertificateRevoked && c.lists(&leaf{LeafFacts: LeafFacts{Body: s.Body}})
}

// departs returns the first statement in which the chain is another one; "" if it is the same.
func (c *Chain) departs(from *Chain) string {
	for i := range max(len(c.links), len(from.links)) {
		switch {
		case i >= len(c.links):
			return from.links[i].stmt.digest
		case i >= len(from.links) || c.links[i].stmt.digest != from.links[i].stmt.digest:
			return c.links[i].stmt.digest
		}
	}
	return ""
}

// failsElsewhere reports whether the chain is undecided for a reason for which the other is not.
func (c *Chain) failsElsewhere(other *Chain) bool {
	return slices.ContainsFunc(c.problems, func(p Problem) bool {
		return !slices.ContainsFunc(other.problems, func(o Problem) bool { return o.Reason == p.Reason })
	})
}

// leavesOf names the log entries that bind the statement and those of doubtful signatures over it:
// what has to be declared void if nobody wanted it.
func (c *Chain) leavesOf(digest string, doubtful []SignatureFacts) string {
	var out []string
	for _, s := range doubtful {
		if s.Statement == digest && s.Body != "" {
			out = append(out, "sha256:"+s.Body)
		}
	}
	for _, l := range c.links {
		for _, b := range slices.Concat(l.effect.possible, l.effect.mirror) {
			if l.stmt.digest == digest && b.Body != "" {
				out = append(out, "sha256:"+b.Body)
			}
		}
	}
	slices.Sort(out)
	return "leaves " + strings.Join(slices.Compact(out), ", ")
}

func (c *Chain) has(digest string) bool {
	return slices.ContainsFunc(c.links, func(l *link) bool { return l.stmt.digest == digest })
}

// versionOf begins what is said of a version.
func (c *Chain) versionOf(digest string) string {
	for _, l := range c.links {
		if l.stmt.digest == digest {
			return fmt.Sprintf("version %d: ", l.stmt.version)
		}
	}
	return ""
}
