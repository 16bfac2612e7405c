// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
)

// cloned names the repository in whose clone somebody works, as init does: the one that the
// policy in it is about, else the remote origin. It says so.
func (a *app) cloned(ctx context.Context, dir string) (string, error) {
	asked := func(text, hint string) error {
		return &policy.Fault{Reason: policy.Usage, Text: text, Hint: hint}
	}
	root, err := worktree.Find(dir)
	if err != nil {
		return "", asked("in which repository?", "name it with --repo, or run this in a clone of it")
	}
	repo, err := git.Open(ctx, root)
	if err != nil {
		return "", find.GitFault(err)
	}
	defer repo.Close()
	tree, err := worktree.Open(root)
	if err != nil {
		return "", policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	defer tree.Close()
	text, err := tree.Read(bindings.PolicyFile, spelling.MaxPolicyBytes)
	if err != nil {
		return "", policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	if text != nil {
		doc, err := policy.Parse(text)
		if err != nil {
			return "", policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
		}
		name := doc.Content().Repository.String()
		a.Err.Line("repository %s, as %s says", name, bindings.PolicyFile)
		return name, nil
	}
	address, question, answer, err := remoteOf(repo)
	switch {
	case err != nil:
		return "", err
	case question != "":
		return "", asked(question, strings.TrimSpace("name it with --repo "+answer))
	}
	l, err := policy.NormalizeLocator(address)
	if err != nil {
		return "", asked(fmt.Sprintf("the remote origin names no repository: %s", err), "name it with --repo")
	}
	a.Err.Line("repository %s, as the remote origin says", l)
	return l.String(), nil
}

// remoteOf returns the address of the repository that a clone is of, or what to ask where that would
// be a guess, and the likely answer.
func remoteOf(repo *git.Repository) (address, question, answer string, err error) {
	remotes, err := repo.Remotes()
	if err != nil {
		return "", "", "", find.GitFault(err)
	}
	for name, address := range remotes {
		remotes[name] = withoutUser(address)
	}
	address, question, answer = propose.Remote(remotes)
	return address, question, answer, nil
}
