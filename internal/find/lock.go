// SPDX-License-Identifier: Apache-2.0

package find

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// MaxLockBytes is the size of the largest lock file that is read.
const MaxLockBytes = 4 << 20

// maxLockedWorkflows is how many workflows a lock of a repository without a policy names at most.
const maxLockedWorkflows = 100

const lockSchema = "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/lock-v1.json"

// Lock is a file that carries what was found to a machine without memory. It is of one of two
// kinds: the digests of the chain's statements, genesis first, or what was seen of a repository
// without a policy (SPEC 9.3).
type Lock struct {
	Schema     string   `json:"schema"`
	Repository string   `json:"repository"`
	Chain      []string `json:"chain,omitempty"`   // hex SHA-256; nil where nothing was bound
	Unbound    *Seen    `json:"unbound,omitempty"` // nil where there is a chain
}

// Seen is what the releases of a repository without a policy had in common, as their certificates
// said it.
type Seen struct {
	RepositoryID string     `json:"repository_id"` // extension .15
	OwnerID      string     `json:"owner_id"`      // extension .17
	Workflows    []Workflow `json:"workflows"`     // at least one, none twice
}

// Workflow is a file of the repository itself that signed, and the one that started it, which may
// be the same.
type Workflow struct {
	Workflow string `json:"workflow"`
	Caller   string `json:"caller"`
}

// NewLock returns the lock of what was found.
func NewLock(f *Found) *Lock {
	l := &Lock{Schema: lockSchema, Repository: f.Repository.String()}
	for _, v := range f.Versions() {
		l.Chain = append(l.Chain, v.Statement)
	}
	return l
}

// NewUnboundLock returns the lock of a repository without a policy, by those who signed what was
// allowed all the same: every one of them verified. All have to be of one number and one owner. What an older
// lock names stays allowed; nil for none.
func NewUnboundLock(repo policy.Locator, signers []policy.Identity, older *Lock) (*Lock, error) {
	l := &Lock{Schema: lockSchema, Repository: repo.String()}
	if older != nil {
		if older.Unbound == nil || older.Repository != l.Repository {
			return nil, policy.Faultf(policy.Usage, "--lock: it is not of %s without a policy", repo)
		}
		seen := *older.Unbound
		seen.Workflows = slices.Clone(seen.Workflows)
		l.Unbound = &seen
	}
	for _, id := range signers {
		w, ok := repo.WorkflowOf(id)
		if !ok {
			return nil, policy.Faultf(policy.UnboundDenied, "%s is no workflow of %s", id.Value, repo)
		}
		if l.Unbound == nil {
			l.Unbound = &Seen{RepositoryID: id.SourceRepositoryID, OwnerID: id.SourceRepositoryOwnerID}
		}
		if got := (policy.Ids{Repository: id.SourceRepositoryID, Owner: id.SourceRepositoryOwnerID}); got != l.Unbound.ids() {
			return nil, policy.Faultf(policy.UnboundDenied, "not everything is of one repository and owner: there is number "+
				"%s of the owner %s, and number %s of the owner %s", l.Unbound.RepositoryID, l.Unbound.OwnerID,
				got.Repository, got.Owner)
		}
		if x := (Workflow{w.Path, w.Caller}); !slices.Contains(l.Unbound.Workflows, x) {
			l.Unbound.Workflows = append(l.Unbound.Workflows, x)
		}
	}
	if l.Unbound == nil {
		return nil, policy.Faultf(policy.Internal, "nobody signed anything")
	}
	if err := l.check(); err != nil { // a number that no repository has, too many workflows
		return nil, policy.Faultf(policy.UnboundDenied, "no lock can be made of it: %s", err)
	}
	return l, nil
}

// ParseLock reads a lock file.
func ParseLock(data []byte) (*Lock, error) {
	l := &Lock{}
	if err := lockRules.Decode(data, l); err != nil {
		return nil, fmt.Errorf("it is not a lock file: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

// Bytes returns the lock as a file, which [ParseLock] reads as the same.
func (l *Lock) Bytes() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
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
		return &Lock{Schema: l.Schema, Repository: l.Repository, Chain: kept.Chain}, nil
	}
	return l, nil
}

// fits refuses a lock that is not of the repository that a question is about.
func (l *Lock) fits(q *Query) error {
	switch err := l.check(); {
	case err != nil:
		return policy.Faultf(policy.Usage, "--lock: %s", err)
	case l.Repository != q.Repository.String():
		return policy.Faultf(policy.Usage, "--lock: it is about %s", l.Repository)
	case l.Unbound == nil && q.Pin != "" && q.Pin != l.Chain[0]:
		return policy.Faultf(policy.Usage, "--pin and --lock name different first statements")
	}
	return nil
}

// demand lets a policy be found that continues the chain of the lock, beside what the machine
// remembers in state, or that is of the repository of which nothing was bound. Nil demands nothing.
func (l *Lock) demand(r *bindings.Resolver, repo policy.Locator, state *memory.State) error {
	switch {
	case l == nil:
		return nil
	case l.Unbound != nil:
		r.Ids = l.Unbound.ids()
		return nil
	}
	kept, err := state.Kept(repo)
	if err != nil {
		return fmt.Errorf("what was kept of %s: %w", repo, err)
	}
	longest, err := l.beside(kept)
	if err != nil {
		return err
	}
	r.Keeper, r.Pin = longest, l.Chain[0]
	return nil
}

// lockRules: a lock file is reviewed by people, who must see the pin that is enforced.
var lockRules = strictjson.Rules{Known: []string{
	"schema", "repository", "chain", "unbound", "repository_id", "owner_id", "workflows", "workflow", "caller",
}}

// check says what is wrong with a lock. One that names both kinds, or neither, is none.
func (l *Lock) check() error {
	if l.Schema != lockSchema {
		return fmt.Errorf("the schema is %q", l.Schema)
	}
	repo, err := policy.ParseLocator(l.Repository)
	switch {
	case err != nil:
		return fmt.Errorf("the repository: %w", err)
	case l.Chain != nil && l.Unbound != nil:
		return errors.New("it names a chain and is of a repository without a policy")
	case l.Unbound != nil:
		return l.Unbound.check(repo)
	case len(l.Chain) == 0:
		return errors.New("it names no statement")
	}
	malformed := func(d string) bool { return len(d) != 64 || strings.Trim(d, "0123456789abcdef") != "" }
	if slices.ContainsFunc(l.Chain, malformed) {
		return errors.New("a digest is malformed")
	}
	return nil
}

func (s *Seen) check(repo policy.Locator) error {
	for _, n := range [][2]string{{"repository_id", s.RepositoryID}, {"owner_id", s.OwnerID}} {
		if v, err := canonical.ParseNumber(n[1]); err != nil || v == 0 {
			return fmt.Errorf("%s is %.80q, which is no number from 1 to 2^63-1", n[0], n[1])
		}
	}
	switch n := len(s.Workflows); {
	case n == 0:
		return errors.New("it names no workflow")
	case n > maxLockedWorkflows:
		return fmt.Errorf("it names %d workflows, at most %d are read", n, maxLockedWorkflows)
	}
	for i, w := range s.Workflows {
		if slices.Contains(s.Workflows[:i], w) {
			return fmt.Errorf("the workflow %.80q stands twice", w.Workflow)
		}
		if repo.Unbound(s.ids(), policy.Workflow{Path: w.Workflow, Caller: w.Caller}) == nil {
			return fmt.Errorf("%.80q, started by %.80q, is no workflow that %s can have", w.Workflow, w.Caller, repo)
		}
	}
	return nil
}

// ids returns the numbers of repository and owner.
func (s *Seen) ids() policy.Ids { return policy.Ids{Repository: s.RepositoryID, Owner: s.OwnerID} }

// withoutPolicy returns what a repository without a policy is judged by: by what the lock names,
// if there is one. Nil, which allows nothing, for a lock that is not of it, and for a host whose CI is not
// known.
func (l *Lock) withoutPolicy(repo policy.Locator) *policy.Trusted {
	if l == nil {
		return repo.Unbound(policy.Ids{})
	}
	if l.check() != nil || l.Unbound == nil || l.Repository != repo.String() {
		return nil
	}
	var by []policy.Workflow
	for _, w := range l.Unbound.Workflows {
		by = append(by, policy.Workflow{Path: w.Workflow, Caller: w.Caller})
	}
	return repo.Unbound(l.Unbound.ids(), by...)
}
