// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
)

// Signed is who signed a statement that may become the next version of a chain.
type Signed struct {
	Statement string // hex digest
	Version   int
	By        []string // members whose signatures count, of the version itself and of the one before
	Missing   []string // members who have not signed
	Need      int      // how many signatures more are needed at least; 0 if the quorum is met
}

// Next returns who signed the statement with that digest, which must be at hand
// and be a version 1 where there is no chain, else a successor of its head. The
// error says why it cannot become the next version, whoever signs it.
func (c *Chain) Next(digest string) (Signed, error) {
	e := c.evaluator
	if e == nil {
		return Signed{}, errors.New("there is no history")
	}
	s := e.statements[digest]
	switch {
	case s == nil:
		return Signed{}, errors.New("the statement is not at hand")
	case s.err != nil:
		return Signed{}, s.err
	case s.newer:
		return Signed{}, errors.New("the policy has a newer format")
	}
	w := &walk{evaluator: e, subjects: map[signer]string{}, settled: map[*leaf]bool{}, owner: map[*leaf]bool{}}
	var prev *link
	if c.walk != nil {
		w = c.walk
		prev = w.head()
		if prev.stmt.digest == digest {
			return Signed{}, fmt.Errorf("version %d is in force already", s.version)
		}
		if !follows(prev.stmt, s) && !(s.file().Recovers == prev.stmt.digest && recoverable(prev.stmt, s)) {
			return Signed{}, fmt.Errorf("it does not follow version %d, the head of the chain", prev.stmt.version)
		}
	} else if s.version != 1 || s.file().Recovers != "" {
		return Signed{}, fmt.Errorf("it is version %d, and nothing is bound yet", s.version)
	}
	out := Signed{Statement: digest, Version: s.version}
	sigs := w.countable(prev, s)
	count := func(m *Maintainers) {
		if m.Repository {
			return
		}
		n := 0
		for i := range m.Members {
			x := &m.Members[i]
			if slices.ContainsFunc(sigs, func(sig *signature) bool { return x.is(&sig.Signer) }) {
				n++
				out.By = append(out.By, x.Name)
			} else {
				out.Missing = append(out.Missing, x.Name)
			}
		}
		out.Need = max(out.Need, m.Threshold-n)
	}
	count(&s.file().Maintainers)
	if prev != nil && s.version > 1 {
		count(&prev.file().Maintainers)
	}
	for _, names := range []*[]string{&out.By, &out.Missing} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return out, nil
}
