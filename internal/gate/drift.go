// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
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
	if errors.Is(err, os.ErrNotExist) && a.May {
		return nil, nil
	} else if err != nil {
		return nil, NotCheckedOut(a.Checkout)
	}
	r, err := git.Open(ctx, dir)
	if err != nil {
		return nil, find.GitFault(err)
	}
	defer r.Close()
	head, err := r.Head()
	if errors.Is(err, git.ErrNotFound) {
		return []string{"the work tree has no commit"}, nil
	} else if err != nil {
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
	if n := len(staged); n > 0 {
		more := ""
		if n > 3 {
			more = fmt.Sprintf(" and %d more", n-3)
		}
		out = append(out, "staged changes: "+strings.Join(staged[:min(n, 3)], ", ")+more)
	}
	committed, err := r.File(head, rekorbind.PolicyFile)
	if err != nil && !errors.Is(err, git.ErrNotFound) {
		return nil, find.GitFault(err)
	}
	w, err := worktree.Open(dir)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	defer w.Close()
	here, err := w.Read(rekorbind.PolicyFile, policy.MaxPolicyBytes)
	if err != nil {
		return nil, policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	switch {
	case !bytes.Equal(committed, here):
		out = append(out, rekorbind.PolicyFile+" was changed after the commit")
	case committed != nil && policy.Sum(committed) != z.Version.Document.Digest().Hex && g.Note != nil:
		g.Note(fmt.Sprintf("note: %s of this commit is not version %d, which is in force and decides",
			rekorbind.PolicyFile, z.Version.Number))
	}
	return out, nil
}
