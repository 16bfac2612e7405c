// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
)

// NotCheckedOut is the fault that a directory has no work tree.
func NotCheckedOut(dir string) *policy.Fault {
	return policy.Faultf(policy.Usage, "--checkout: %s is in no Git repository", dir)
}

// drift returns in what the work tree is not the commit that is to be released:
// another commit, staged changes, a changed policy. Where there is no work tree
// there is none. The policy in it decides nothing; that it is another one than
// the bound one is only noted.
func (g *Gate) drift(ctx context.Context, a Asked, z *Authorization) ([]string, error) {
	if a.Checkout == "" {
		return nil, nil
	}
	dir, err := worktree.Find(a.Checkout)
	switch {
	case errors.Is(err, os.ErrNotExist) && a.May:
		return nil, nil
	case err != nil:
		return nil, NotCheckedOut(a.Checkout)
	}
	r, err := git.Open(ctx, dir)
	if err != nil {
		return nil, find.GitFault(err)
	}
	defer r.Close()
	head, err := r.Head()
	switch {
	case errors.Is(err, git.ErrNotFound):
		return []string{"the work tree has no commit"}, nil
	case err != nil:
		return nil, find.GitFault(err)
	}
	var out []string
	if z.Commit != "" && string(head) != z.Commit {
		out = append(out, fmt.Sprintf("the commit that is checked out is %s, the release is of %s", head, z.Commit))
	}
	staged, err := r.Staged(head)
	if err != nil {
		return nil, find.GitFault(err)
	}
	if len(staged) > 0 {
		out = append(out, "staged changes: "+firstOf(staged))
	}
	changed, err := g.policyDrift(r, dir, head, z)
	if err != nil {
		return nil, err
	}
	return append(out, changed...), nil
}

// firstOf names the first of the files, and says how many there are besides.
func firstOf(files []string) string {
	const few = 3
	text := strings.Join(files[:min(len(files), few)], ", ")
	if n := len(files) - few; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// policyDrift says whether the policy in the work tree is another one than in the commit, and
// notes that the commit's is another one than decides.
func (g *Gate) policyDrift(r *git.Repository, dir string, head git.ID, z *Authorization) ([]string, error) {
	committed, err := r.File(head, bindings.PolicyFile)
	if err != nil && !errors.Is(err, git.ErrNotFound) {
		return nil, find.GitFault(err)
	}
	w, err := worktree.Open(dir)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	defer w.Close()
	here, err := w.Read(bindings.PolicyFile, spelling.MaxPolicyBytes)
	if err != nil {
		return nil, policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	switch {
	case !bytes.Equal(committed, here):
		return []string{bindings.PolicyFile + " was changed after the commit"}, nil
	case committed != nil && spelling.Sum(committed) != z.Version.Document.Digest().Hex && g.Note != nil:
		g.Note(fmt.Sprintf("note: %s of this commit is not version %d, which is in force and decides",
			bindings.PolicyFile, z.Version.Number))
	}
	return nil, nil
}
