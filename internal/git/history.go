// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// maxCommits is the number of commits that are looked at when a commit is
// searched among the ancestors of the branches and tags.
const maxCommits = 2_000_000

// Errors of [Repository.Reachable].
var (
	ErrUnreachable = errors.New("no branch and no tag of the repository leads to the commit")
	ErrIncomplete  = errors.New("the repository does not hold the whole history")
)

// Reachable returns nil if a branch, remote branch or tag leads to the commit:
// a forge serves the commits of every fork under every one of them, so having a
// commit says nothing. The error wraps [ErrUnreachable] if none does, and
// [ErrIncomplete] if that cannot be known because history is missing.
func (r *Repository) Reachable(ctx context.Context, want ID) error {
	seen := newIDSet(r.meter) // those that were not looked at yet come last
	defer seen.free()
	if err := r.tips(seen); err != nil {
		return err
	}
	if seen.has(want.raw()) {
		return nil
	}
	shallow, err := r.shallow()
	if err != nil {
		return err
	}
	defer shallow.free()
	incomplete := false
	for i := 0; i < seen.n; i++ {
		if i >= maxCommits {
			return fmt.Errorf("%w: more than %d commits", ErrIncomplete, maxCommits)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		next, known, err := r.behind(seen.at(i), shallow)
		if err != nil {
			return err
		}
		incomplete = incomplete || !known
		for _, n := range next {
			if n == want {
				return nil
			}
			if err := seen.add(n.raw()); err != nil {
				return err
			}
		}
	}
	if incomplete {
		return ErrIncomplete
	}
	return ErrUnreachable
}

// behind returns the parents of a commit, or what a tag is of. It reports false if what lies
// behind is not known: history is missing, or ends with an old commit that nobody would make
// today.
func (r *Repository) behind(id oid, shallow *idSet) (next []ID, known bool, err error) {
	t, content, err := r.Object(id.id())
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	switch t {
	case Commit:
		c, err := ParseCommit(content)
		if err != nil || shallow.has(id) && len(c.Parents) > 0 {
			return nil, false, nil
		}
		return c.Parents, true, nil
	case Tag:
		if tag, err := ParseTag(content); err == nil && (tag.ObjectType == Commit || tag.ObjectType == Tag) {
			return []ID{tag.Object}, true, nil
		}
	}
	return nil, true, nil
}

// shallow returns the commits at which a shallow clone ends.
func (r *Repository) shallow() (*idSet, error) {
	out := newIDSet(r.meter)
	f, err := r.open("shallow")
	if missing(err) {
		return out, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxPackedRefs))
	for lines.Scan() {
		id, err := ParseID(lines.Text())
		if err == nil {
			if err = r.meter.work(entryWork); err == nil {
				err = out.add(id.raw())
			}
		} else {
			err = malformed("shallow: %s", err)
		}
		if err != nil {
			out.free()
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		out.free()
		return nil, malformed("shallow: %s", err)
	}
	return out, nil
}

// Note returns the note of an object under a ref such as "refs/notes/commits",
// and ErrNotFound if it has none. Git spreads the notes over directories named
// by the first digits, to a depth that is nowhere written down.
func (r *Repository) Note(ref string, of ID) ([]byte, error) {
	id, err := r.Ref(ref)
	if err != nil {
		return nil, err
	}
	t, content, err := r.Object(id)
	if err != nil {
		return nil, err
	}
	if t != Commit {
		return nil, malformed("%s names a %s", ref, t)
	}
	c, err := ParseCommit(content)
	if err != nil {
		return nil, err
	}
	tree := c.Tree
	for rest := string(of); len(rest) > 0; rest = rest[2:] {
		e, err := entryOf(r, tree, rest)
		if err == nil {
			t, content, err := r.Object(e.ID)
			if err == nil && t != Blob {
				err = malformed("the note of %s is a %s", of, t)
			}
			if err == nil {
				err = r.meter.hold(int64(len(content)))
			}
			if err != nil {
				return nil, err
			}
			return content, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if e, err = entryOf(r, tree, rest[:2]); err != nil {
			return nil, err
		}
		tree = e.ID
	}
	return nil, ErrNotFound
}
