// SPDX-License-Identifier: Apache-2.0

package find

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// MaxLockBytes is the size of the largest lock file that is read.
const MaxLockBytes = 4 << 20

const lockSchema = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/lock-v1.json"

// Lock is a file that carries what was found to a machine without memory: the
// digests of the chain's statements, genesis first.
type Lock struct {
	Schema     string   `json:"schema"`
	Repository string   `json:"repository"`
	Chain      []string `json:"chain"` // hex SHA-256
}

// NewLock returns the lock of what was found.
func NewLock(f *Found) *Lock {
	l := &Lock{Schema: lockSchema, Repository: f.Repository.String()}
	for _, v := range f.Versions() {
		l.Chain = append(l.Chain, v.Statement)
	}
	return l
}

// ParseLock reads a lock file.
func ParseLock(data []byte) (*Lock, error) {
	l := &Lock{}
	if err := lockRules.Decode(data, l); err != nil {
		return nil, fmt.Errorf("it is not a lock file: %w", err)
	}
	return l, l.check()
}

// Bytes returns the lock as a file.
func (l *Lock) Bytes() ([]byte, error) {
	data, err := json.MarshalIndent(l, "", "  ")
	return append(data, '\n'), err
}

// Kept implements bindings.Keeper.
func (l *Lock) Kept(policy.Locator) (chain.Kept, error) { return chain.Kept{Chain: l.Chain}, nil }

// Keep implements bindings.Keeper: a lock file is never changed by what it is
// checked against.
func (l *Lock) Keep(policy.Locator, chain.Kept, chain.Kept) (bool, error) { return true, nil }

// beside returns what has to be continued where the machine remembers something as
// well: the longer of both, one of which is the beginning of the other.
func (l *Lock) beside(kept chain.Kept) (*Lock, error) {
	n := min(len(l.Chain), len(kept.Chain))
	switch {
	case !slices.Equal(l.Chain[:n], kept.Chain[:n]):
		return nil, policy.Faultf(policy.ChainForked,
			"--lock: the file names another chain of %s than this machine has seen", l.Repository)
	case n == len(l.Chain):
		return &Lock{l.Schema, l.Repository, kept.Chain}, nil
	}
	return l, nil
}

// lockRules: a lock file is reviewed by people, who must see the pin that is enforced.
var lockRules = strictjson.Rules{Known: []string{"schema", "repository", "chain"}}

func (l *Lock) check() error {
	if l.Schema != lockSchema {
		return fmt.Errorf("the schema is %q", l.Schema)
	}
	if _, err := policy.ParseLocator(l.Repository); err != nil {
		return fmt.Errorf("the repository: %w", err)
	}
	if len(l.Chain) == 0 {
		return errors.New("it names no statement")
	}
	malformed := func(d string) bool { return len(d) != 64 || strings.Trim(d, "0123456789abcdef") != "" }
	if slices.ContainsFunc(l.Chain, malformed) {
		return errors.New("a digest is malformed")
	}
	return nil
}
