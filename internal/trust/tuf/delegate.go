// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
)

const (
	maxPatterns = 1 << 16 // of a delegation
	maxBits     = 32      // of succinct bins
)

// Delegates reports whether the delegation hands a target to its role.
func (d *Delegation) Delegates(target string) bool {
	for _, p := range d.Paths {
		if matchPath(p, target) {
			return true
		}
	}
	if len(d.PathHashPrefixes) == 0 {
		return false
	}
	sum := sha256.Sum256([]byte(target))
	digest := hex.EncodeToString(sum[:])
	for _, p := range d.PathHashPrefixes {
		if strings.HasPrefix(digest, p) {
			return true
		}
	}
	return false
}

// matchPath matches a shell pattern, in which no wildcard matches a "/" (TUF 4.5).
func matchPath(pattern, target string) bool {
	elements := strings.Split(target, "/")
	patterns := strings.Split(pattern, "/")
	if len(patterns) != len(elements) {
		return false
	}
	for i, p := range patterns {
		if ok, err := path.Match(p, elements[i]); !ok || err != nil {
			return false
		}
	}
	return true
}

// checkPattern refuses a pattern that implementations read differently: one that
// is malformed, a negated class, an escape. To take it for one that matches
// nothing would hand its targets to the next role.
func checkPattern(pattern string) error {
	for p := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(p, ""); err != nil || strings.Contains(p, `\`) || strings.Contains(p, "[!") ||
			strings.Contains(p, "[^") {
			return fmt.Errorf("the pattern %q is not understood by all alike", clip.Text(pattern))
		}
	}
	return nil
}

// bins are succinct roles (TAP 15): the first bits of the digest of a target's
// name number the one role, a terminating one, that the target is delegated to.
type bins struct {
	Role
	bits   int64
	prefix string
}

func (f *fields) bins(v value) *bins {
	o := f.object(v, "succinct_roles")
	b := &bins{
		f.role(v, "succinct_roles"), f.number(o["bit_length"], "bit_length", 1), f.text(o["name_prefix"], "name_prefix"),
	}
	if b.bits > maxBits {
		f.fail("bit_length", fmt.Sprintf("it is more than %d", maxBits))
	}
	return b
}

func (b *bins) delegation(target string) Delegation {
	sum := sha256.Sum256([]byte(target))
	return Delegation{
		Role: b.Role, Name: b.name(binary.BigEndian.Uint32(sum[:4]) >> (maxBits - b.bits)), Terminating: true,
	}
}

func (b *bins) name(n uint32) string {
	digits := (b.bits + 3) / 4
	return fmt.Sprintf("%s-%0*x", b.prefix, int(digits), n)
}

// has reports whether a role of that name is one of the bins.
func (b *bins) has(role string) bool {
	n, err := strconv.ParseUint(strings.TrimPrefix(role, b.prefix+"-"), 16, maxBits)
	return err == nil && n < 1<<b.bits && b.name(uint32(n)) == role
}

// named returns the delegation to a role of that name.
func (t *Targets) named(role string) (Delegation, func(target string) bool, bool) {
	if b := t.bins; b != nil {
		d := Delegation{Role: b.Role, Name: role, Terminating: true}
		return d, func(target string) bool { return b.delegation(target).Name == role }, true
	}
	for _, d := range t.Delegations {
		if d.Name == role {
			return d, d.Delegates, true
		}
	}
	return Delegation{}, nil, false
}

// of returns the delegations that a target is handed to, in their order.
func (t *Targets) of(target string) []Delegation {
	if t.bins != nil {
		return []Delegation{t.bins.delegation(target)}
	}
	var out []Delegation
	for _, d := range t.Delegations {
		if d.Delegates(target) {
			out = append(out, d)
		}
	}
	return out
}

var errName = errors.New("not the name of a target")

// checkName refuses a target's name that is no path below a directory (TUF 4.5:
// no leading separator), for whoever keeps files under their names.
func checkName(name string) error {
	for e := range strings.SplitSeq(name, "/") {
		if e == "" || e == "." || e == ".." || strings.ContainsAny(e, "\\\x00") {
			return fmt.Errorf("%w: %q", errName, clip.Text(name))
		}
	}
	return nil
}
