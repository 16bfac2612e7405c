// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"strings"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// tagRef is what the name of a tag as an artifact begins with.
const tagRef = "refs/tags/"

// notesRefs are where attestations about commits are kept: SLSA's source track
// writes them as Git notes. https://slsa.dev/spec/v1.1/distributing-provenance
var notesRefs = []string{"refs/notes/commits", "refs/notes/attestations"}

// expandTag returns a tag of a Git repository. The tag's object must call itself
// by the ref's name and lead to a commit at once; the ref alone says nothing.
func expandTag(ctx context.Context, arg, dir string) *Artifact {
	a := &Artifact{Arg: arg, Name: arg, Tag: strings.TrimPrefix(arg, tagRef)}
	if !spelling.ValidTag(a.Tag) {
		a.Err = failf(policy.Usage, "%q cannot be a tag", clip.Text(a.Tag))
		return a
	}
	repo, err := git.Open(ctx, dir)
	if err != nil {
		a.Err = gitFailure(err)
		return a
	}
	defer repo.Close()
	id, err := repo.Ref(arg)
	if err != nil {
		a.Err = gitFailure(err)
		return a
	}
	t, content, err := repo.Object(id)
	if err != nil {
		a.Err = gitFailure(err)
		return a
	}
	commit := id
	if t == git.Tag {
		tag, err := git.ParseTag(content)
		switch {
		case err != nil:
			a.Err = gitFailure(err)
			return a
		case tag.Name != a.Tag:
			a.Err = failf(policy.TagMismatch, "the tag object that %s names calls itself %q", arg, clip.Text(tag.Name))
			return a
		}
		a.Digests = append(a.Digests, policy.Digest{Alg: "gitTag", Hex: string(id)})
		a.found = append(a.found, gitCandidate(arg, content))
		commit = tag.Object
		if t, _, err = repo.Object(commit); err != nil {
			a.Err = gitFailure(err)
			return a
		}
	}
	if t != git.Commit {
		a.Err = failf(policy.GitInvalid, "%s leads to a %s, not to a commit", arg, t)
		return a
	}
	a.Commit = string(commit)
	a.Digests = append(a.Digests, policy.Digest{Alg: "gitCommit", Hex: a.Commit})
	return withNotes(a, repo, dir, commit)
}

// expandCommit returns a commit of a Git repository, to which one of its
// branches or tags must lead.
func expandCommit(ctx context.Context, arg, dir string, d policy.Digest) *Artifact {
	a := &Artifact{Arg: arg, Digests: []policy.Digest{d}}
	repo, err := git.Open(ctx, dir)
	if err != nil {
		a.Err = gitFailure(err)
		return a
	}
	defer repo.Close()
	t, content, err := repo.Object(git.ID(d.Hex))
	if err == nil && t != git.Commit {
		a.Err = failf(policy.GitInvalid, "%s is a %s", d.Hex, t)
		return a
	}
	if err == nil {
		err = repo.Reachable(ctx, git.ID(d.Hex))
	}
	if err != nil {
		a.Err = gitFailure(err)
		return a
	}
	a.found = append(a.found, gitCandidate(arg, content))
	return withNotes(a, repo, dir, git.ID(d.Hex))
}

// gitCandidate returns the signature in an object as evidence.
func gitCandidate(path string, content []byte) *candidate {
	form, p := forms.ReadObject(content)
	return &candidate{path: path, form: form, Piece: p}
}

// withNotes returns the artifact with the attestations in the notes of its commit. Notes
// that cannot be read hold none, unless it is the run that ends.
func withNotes(a *Artifact, repo *git.Repository, dir string, commit git.ID) *Artifact {
	for _, ref := range notesRefs {
		content, err := repo.Note(ref, commit)
		if git.Fatal(err) {
			a.Err = gitFailure(err)
			return a
		} else if err != nil {
			continue
		}
		for _, c := range readForms(local(dir+":"+ref, content), nil) {
			if c.Bundle != nil { // a note may be anything
				a.found = append(a.found, c)
			}
		}
	}
	return a
}

// gitFailure says in which way a repository could not be read.
func gitFailure(err error) *Failure {
	switch {
	case errors.As(err, new(*budget.Exceeded)), errors.Is(err, git.ErrTooMuchWork):
		return failf(policy.BudgetExceeded, "%s", err)
	case errors.Is(err, git.ErrMalformed), errors.Is(err, git.ErrUnsupported):
		return failf(policy.GitInvalid, "%s", err)
	case errors.Is(err, git.ErrUnreachable):
		return failf(policy.CommitUnreachable, "%s", err)
	case errors.Is(err, git.ErrIncomplete), errors.Is(err, git.ErrNotFound):
		return failf(policy.GitIncomplete, "%s", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return failf(policy.Interrupted, "%s", err)
	}
	return failf(policy.ArtifactRead, "%s", err)
}
