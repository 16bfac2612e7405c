// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// Limits of a history.
const (
	maxHistory      = 16 << 20 // bytes of all metadata
	maxHistoryRoles = 1000     // delegations
	// maxProbes is how many versions beyond the newest root are asked for: one that is there
	// shows that one before it is withheld.
	maxProbes = 8
)

// ErrWithheld says that a root is there and one before it is not.
var ErrWithheld = errors.New("withheld")

// History is what a repository shows of itself, all of it verified: every root from the one
// that is pinned, and what is current.
type History struct {
	Roots []RootVersion // at least the one that is pinned
	// Timestamp, Snapshot and the top-level targets; what could not be read is left out.
	Current []RoleVersion
	Roles   []RoleVersion // that are delegated to, each once for each role that delegates to it
}

// Signers are whose signatures a file needs, and whose of these it has. What else has signed
// it counts for nothing, and is left out.
type Signers struct {
	Role
	Signed []string // key IDs, in their order
}

// RootVersion is one root.
type RootVersion struct {
	*Root
	// Before is the root before it, as its own keys signed this one; nil for the one that is
	// pinned.
	Before *Signers
	Own    Signers
}

// RoleVersion is the current metadata of a role other than the root.
type RoleVersion struct {
	Name    string
	Digest  string // SHA-256 of its file, in hex
	By      string // role that delegates to it; "root" for the top-level roles
	Signers Signers
	Header
	*Targets               // nil of timestamp and snapshot
	Delegation *Delegation // to it; nil for the top-level roles
	// Answers are the files of which this role has the last word: whoever looks for another
	// one that it lists finds another role's, or none.
	Answers map[string]bool
}

// HistoryError says at which file a history ends, and why: it wraps an error of this
// package, or what the source said.
type HistoryError struct {
	File string
	Err  error
}

// Error implements error.
func (e *HistoryError) Error() string { return e.Err.Error() }

// Unwrap returns why.
func (e *HistoryError) Unwrap() error { return e.Err }

// ReadHistory reads the history of a repository from the source, whatever is kept. Nothing
// depends on the time: what has expired is part of it. After a [*HistoryError] what is
// returned is what was verified until then; after another error it is nil.
func ReadHistory(ctx context.Context, o Options) (*History, error) {
	o.Cache, o.Now = "", func() time.Time { return time.Time{} }
	kept := &lastRead{Source: o.Source, files: map[string][]byte{}}
	o.Source = kept
	c, err := New(o)
	if err != nil {
		return nil, err
	}
	c.state = state{root: c.initial, delegated: map[[2]string]*Targets{}}
	h := &historian{Client: c, kept: kept}
	for _, step := range []func(context.Context) error{h.roots, h.current, h.delegations} {
		if err := step(ctx); err != nil {
			return &h.History, err
		}
	}
	return &h.History, nil
}

// lastRead keeps the metadata that was read last under each name, and bounds all of it.
type lastRead struct {
	Source
	files map[string][]byte
	size  int64
}

func (l *lastRead) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := l.Source.Metadata(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	if l.size += int64(len(data)); l.size > maxHistory {
		return nil, fmt.Errorf("%w: more than %d bytes of metadata in all", ErrMismatch, maxHistory)
	}
	l.files[name] = data
	return data, nil
}

// historian reads a history.
type historian struct {
	*Client
	History
	kept *lastRead
}

func (h *historian) ends(file string, err error) error {
	if err == nil {
		return nil
	}
	return &HistoryError{clip.Text(file), err}
}

// signers returns who of a role signed a document.
func (h *historian) signers(d *document, role Role, keys map[string]Key) Signers {
	out := Signers{Role: role}
	for _, s := range d.signatures {
		if !slices.Contains(role.KeyIDs, s.KeyID) {
			continue
		}
		if _, err := h.verifyOne(keys, s.KeyID, d.signed, s); err == nil {
			out.Signed = append(out.Signed, s.KeyID)
		}
	}
	slices.Sort(out.Signed)
	return out
}

// roots follows the roots one by one.
func (h *historian) roots(ctx context.Context) error {
	d, root, err := h.readRoot(h.options.Root)
	if err != nil {
		return err
	}
	h.Roots = []RootVersion{{Root: root, Own: h.signers(d, root.Roles[roleRoot], root.Keys)}}
	for range maxRotations {
		name := rootFileName(h.root.Version + 1)
		data, err := h.options.Source.Metadata(ctx, name, maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return h.probe(ctx, h.root.Version+1)
		}
		if err != nil {
			return h.ends(name, fmt.Errorf("%s: %w", name, err))
		}
		before := h.root
		if err := h.nextRoot(name, data); err != nil {
			return h.ends(name, err)
		}
		if d, _, err = h.readRoot(data); err != nil {
			return h.ends(name, err)
		}
		old := h.signers(d, before.Roles[roleRoot], before.Keys)
		h.Roots = append(h.Roots, RootVersion{
			Root: h.root, Before: &old, Own: h.signers(d, h.root.Roles[roleRoot], h.root.Keys),
		})
	}
	return h.ends(rootFileName(h.root.Version+1), fmt.Errorf("%w: more than %d roots", ErrMismatch, maxRotations))
}

func rootFileName(version int64) string { return strconv.FormatInt(version, 10) + ".root.json" }

// probe looks for roots behind one that is not there.
func (h *historian) probe(ctx context.Context, missing int64) error {
	at := rootFileName(missing)
	for v := missing + 1; v <= missing+maxProbes; v++ {
		name := rootFileName(v)
		_, err := h.options.Source.Metadata(ctx, name, maxRoot)
		switch {
		case err == nil:
			return h.ends(at, fmt.Errorf("%s: %w: %s is there", at, ErrWithheld, name))
		case !errors.Is(err, fs.ErrNotExist):
			return h.ends(name, fmt.Errorf("%s: %w", name, err))
		}
	}
	return nil
}

// current reads timestamp, snapshot and the top-level targets.
func (h *historian) current(ctx context.Context) error {
	for _, step := range []struct {
		role   string
		update func(context.Context) error
	}{
		{roleTimestamp, h.updateTimestamp}, {roleSnapshot, h.updateSnapshot}, {roleTargets, h.updateTargets},
	} {
		if err := step.update(ctx); err != nil {
			return h.ends(step.role+".json", err)
		}
		v, err := h.version(step.role, h.root.Roles[step.role], h.root.Keys)
		if err != nil {
			return h.ends(step.role+".json", err)
		}
		v.By = roleRoot
		if step.role == roleTargets {
			v.Targets = h.targets
		}
		h.Current = append(h.Current, v)
		if step.role == roleSnapshot {
			if newest := h.snapshot.meta[roleRoot+".json"].version; newest > h.root.Version {
				return h.ends(rootFileName(h.root.Version+1), fmt.Errorf("%s: %w: the snapshot names root %d",
					rootFileName(h.root.Version+1), ErrWithheld, newest))
			}
		}
	}
	return nil
}

// version describes the metadata of a role that was read last, and was verified.
func (h *historian) version(role string, by Role, keys map[string]Key) (RoleVersion, error) {
	data := h.kept.files[h.fileName(role)]
	kind := role
	if role != roleTimestamp && role != roleSnapshot {
		kind = roleTargets
	}
	d, err := read(data, kind)
	if err != nil {
		return RoleVersion{}, err
	}
	return RoleVersion{Name: role, Digest: d.sum(), Header: d.Header, Signers: h.signers(d, by, keys)}, nil
}

// fileName returns how the current metadata of a role is called at the source.
func (h *historian) fileName(role string) string {
	name := role + ".json"
	if role == roleTimestamp || !h.root.ConsistentSnapshot {
		return name
	}
	info := h.timestamp.snapshot()
	if role != roleSnapshot {
		info = h.snapshot.meta[name]
	}
	return strconv.FormatInt(info.version, 10) + "." + name
}

// delegations reads the roles that are delegated to, breadth first, and says which role
// answers for which file.
func (h *historian) delegations(ctx context.Context) error {
	seen := map[[2]string]bool{}
	for left := []*Targets{h.targets}; len(left) > 0; left = left[1:] {
		from := left[0]
		for _, d := range h.Client.delegations(from) {
			at := [2]string{from.Role, d.Name}
			if seen[at] {
				continue
			}
			if seen[at] = true; len(seen) > maxHistoryRoles {
				return h.ends(d.Name+".json", fmt.Errorf("%w: there are more than %d", ErrTooManyRoles, maxHistoryRoles))
			}
			t, err := h.delegate(ctx, from, d)
			if err != nil {
				return h.ends(d.Name+".json", err)
			}
			v, err := h.version(d.Name, d.Role, from.Keys)
			if err != nil {
				return h.ends(d.Name+".json", err)
			}
			v.By, v.Targets, v.Delegation = from.Role, t, &d
			h.Roles = append(h.Roles, v)
			left = append(left, t)
		}
	}
	if err := h.answers(ctx, &h.Current[len(h.Current)-1]); err != nil {
		return err
	}
	for i := range h.Roles {
		if err := h.answers(ctx, &h.Roles[i]); err != nil {
			return err
		}
	}
	return nil
}

// answers finds out which of the files that a role lists a client would find there.
func (h *historian) answers(ctx context.Context, v *RoleVersion) error {
	v.Answers = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(v.Files)) {
		f, err := h.Find(ctx, name)
		switch {
		case err == nil:
			v.Answers[name] = f.Role == v.Name
		case !errors.Is(err, ErrNoTarget) && !errors.Is(err, ErrTooManyRoles) && !errors.Is(err, errName):
			return h.ends(v.Name+".json", err)
		}
	}
	return nil
}
