// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// maxRemembered is of how many entries it is remembered what they are; beyond that the
// oldest are forgotten. An index lists no more than that in one reply.
const maxRemembered = 100_000

// lineOf is how an entry is kept.
func lineOf(l lookup.Looked) string {
	if len(l.Keys) == 0 {
		return l.Name
	}
	at := strconv.FormatInt(l.Index, 10)
	if l.Late {
		at += " late"
	}
	return l.Name + " " + strings.Join(l.Keys, " ") + " " + at
}

// parseLooked reads a line.
func parseLooked(line string) (l lookup.Looked, err error) {
	f := strings.Split(line, " ")
	l.Name = f[0]
	if len(f) > 3 {
		l.Late = len(f) > 4
		l.Keys = f[1:3]
		l.Index, err = canonical.ParseNumber(f[3])
	}
	_, ok := rekor.LeafOfUUID(l.Name)
	for _, k := range l.Keys {
		ok = ok && len(k) == bindings.KeyDigits && strings.Trim(k, "0123456789abcdef") == ""
	}
	if err != nil || !ok || lineOf(l) != line {
		return lookup.Looked{}, fmt.Errorf("%q is no entry that was looked at", clip.Text(line))
	}
	return l, nil
}

// Entries returns what is remembered of the entries of a service under a trusted root and a
// forge table: another one may see bindings in what is none here.
func (s *State) Entries(service string, root *sigstore.Root, forges *bindings.Forges) (lookup.Remembered, error) {
	about := fmt.Sprintf("%s %d %s %s", service, bindings.MapVersion, root.Digest().Hex, forges.Digest())
	lines, err := load[[]string](s, name("entries", about), about)
	if err != nil {
		return nil, err
	}
	out := &looked{
		state: s, about: about, entries: make(map[string]lookup.Looked, len(lines)),
		age: make(map[string]int, len(lines)),
	}
	for i, line := range lines {
		l, err := parseLooked(line)
		if err != nil {
			return nil, fmt.Errorf("entries of %s: %w", service, err)
		}
		out.entries[l.Name], out.age[l.Name] = l, len(lines)-1-i
	}
	return out, nil
}

type looked struct {
	state   *State
	about   string
	entries map[string]lookup.Looked
	age     map[string]int
}

func (s *looked) Get(name string) (lookup.Looked, bool) {
	l, ok := s.entries[name]
	return l, ok
}

func (s *looked) Age(name string) int { return s.age[name] }

// Add remembers entries, the latest last.
func (s *looked) Add(entries []lookup.Looked) error {
	fresh := map[string]bool{}
	var lines []string
	for _, l := range entries {
		if !fresh[l.Name] {
			fresh[l.Name], lines = true, append(lines, lineOf(l))
		}
		s.entries[l.Name], s.age[l.Name] = l, 0
	}
	for range 10 { // others may add at the same time
		old, err := load[[]string](s.state, name("entries", s.about), s.about)
		if err != nil {
			return err
		}
		next := slices.DeleteFunc(slices.Clone(old), func(line string) bool {
			of, _, _ := strings.Cut(line, " ")
			return fresh[of]
		})
		next = append(next, lines...)
		if len(next) > maxRemembered {
			next = next[len(next)-maxRemembered:]
		}
		if ok, err := swap(s.state, name("entries", s.about), s.about, old, next); ok || err != nil {
			return err
		}
	}
	return nil // they are only looked at once more
}
