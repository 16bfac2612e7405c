// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

func notCheckedOut(dir string) *policy.Fault {
	return policy.Faultf(policy.Usage, "--checkout: %s is in no Git repository", dir)
}

// drift returns in what the work tree is not the commit that is to be released:
// another commit, staged changes, a changed policy. Where there is no work tree
// there is none. The policy in it decides nothing; that it is another one than
// the bound one is only noted.
func (a *app) drift(ctx context.Context, o *authorizeOptions, z *authorization) ([]string, error) {
	dir := "."
	if o.checkout.set {
		dir = o.checkout.value
	}
	dir, err := findWorktree(dir)
	if errors.Is(err, os.ErrNotExist) && !o.checkout.set {
		return nil, nil
	} else if err != nil {
		return nil, notCheckedOut(o.checkout.value)
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
	if z.commit != "" && string(head) != z.commit {
		out = append(out, fmt.Sprintf("the commit that is checked out is %s, the release is of %s", head, z.commit))
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
	w, err := openWorktree(dir)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s", err)
	}
	defer w.root.Close()
	here, err := w.read(rekorbind.PolicyFile, policy.MaxPolicyBytes)
	if err != nil {
		return nil, policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	switch {
	case !bytes.Equal(committed, here):
		out = append(out, rekorbind.PolicyFile+" was changed after the commit")
	case committed != nil && policy.Sum(committed) != z.version.Document.Digest().Hex && !o.format.document():
		a.err.line("note: %s of this commit is not version %d, which is in force and decides", rekorbind.PolicyFile, z.version.Number)
	}
	return out, nil
}
