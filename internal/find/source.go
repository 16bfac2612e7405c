// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// SecondRef stands before the names of carried files that the second ref has otherwise than
// the first.
const SecondRef = "2/"

// Read reads the signature files of a repository's policy and the trusted root, and nothing
// that says what else there is.
func (f *Finder) Read(ctx context.Context, q *Query) (*Found, *answers.Descriptor, error) {
	out, descriptor, err := f.begin(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	return out, descriptor, f.read(ctx, out, descriptor != nil, nil)
}

// read reads the signature files of the policy: those of the repository, those that are
// carried, or those of a registry; and the staple, if there is a directory.
func (f *Finder) read(ctx context.Context, out *Found, staples bool, begun *ahead) (err error) {
	q := out.query
	switch {
	case q.Carried != nil:
		out.Snapshot, out.Files = &git.Snapshot{Default: q.Carried.Default}, carriedFiles(q.Carried)
		return nil
	case q.From != nil:
		return f.fromRegistry(ctx, out)
	}
	if out.Snapshot, err = f.snapshot(ctx, out, staples, begun); err != nil {
		return err
	}
	if out.Files, err = policyFiles(out.Snapshot); err != nil {
		return GitFault(err)
	}
	return nil
}

// snapshot returns the newest state of the repository's refs: from a clone, or from its
// server.
func (f *Finder) snapshot(ctx context.Context, out *Found, staples bool, begun *ahead) (*git.Snapshot, error) {
	q := out.query
	switch {
	case q.Clone != "":
		return cloned(ctx, q, out.Repository)
	case f.Repositories != nil:
		s, err := f.Repositories(ctx, out.Repository)
		if err != nil {
			return nil, GitFault(err)
		}
		return s, nil
	case q.Offline:
		return nil, unfetched()
	}
	staple := ""
	if staples {
		staple = bindings.StapleName(out.Root.Root, out.Root.Forges)
	}
	s, err := begun.take(ctx, f, out.Repository, staple)
	if err == nil && s.MovedTo != "" {
		f.say("note: %s has moved to %s", out.Repository, s.MovedTo)
	}
	return s, err
}

// cloned is snapshot for a clone.
func cloned(ctx context.Context, q *Query, repo policy.Locator) (*git.Snapshot, error) {
	r, err := git.Open(ctx, q.Clone)
	if err != nil {
		return nil, GitFault(err)
	}
	s, err := r.Local()
	if err != nil {
		return nil, GitFault(err)
	}
	if s.Default == "" && q.BranchOf != nil {
		s.Default = q.BranchOf(repo)
	}
	return s, nil
}

// fetched is snapshot for a server. Staple returns the name of the staple, "" for none, and is called
// when it is known which files there are.
func (f *Finder) fetched(ctx context.Context, repo policy.Locator, staple func() string) (*git.Snapshot, error) {
	// What was fetched is read later, and ends with the run alone.
	fetching := ctx
	if f.Timeout > 0 {
		limited, cancel := context.WithCancelCause(ctx)
		timer := time.AfterFunc(f.Timeout, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
		fetching = limited
	}
	wanted := func(name string) bool { return bindings.IsPolicyName(name) || name == staple() }
	refs := []string{"refs/heads/" + bindings.BindingBranch}
	s, err := git.Fetch(fetching, repo.String(), f.Agent, f.Transport, refs, bindings.Dir, wanted)
	if err != nil && context.Cause(fetching) == context.DeadlineExceeded {
		return nil, policy.Faultf(policy.RepositoryUnreachable, "no answer within %s", f.Timeout)
	}
	if err != nil {
		return nil, GitFault(err)
	}
	return s, nil
}

// GitFault returns the fault that a repository could not be read.
func GitFault(err error) *policy.Fault {
	reason := policy.RepositoryUnreachable
	switch {
	case errors.As(err, new(*budget.Exceeded)), errors.Is(err, git.ErrTooMuchWork):
		reason = policy.BudgetExceeded
	case errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, git.ErrUnreachableServer):
		reason = policy.Interrupted
	case errors.Is(err, git.ErrMalformed), errors.Is(err, git.ErrUnsupported):
		reason = policy.GitInvalid
	case errors.Is(err, git.ErrNotFound):
		reason = policy.GitIncomplete
	case errors.Is(err, os.ErrNotExist):
		reason = policy.Usage
	}
	return policy.Faultf(reason, "%s", err)
}

// policyFiles returns the signature files and place proofs of both refs.
func policyFiles(s *git.Snapshot) ([]bindings.File, error) {
	var out []bindings.File
	for _, ref := range []string{s.Default, "refs/heads/" + bindings.BindingBranch} {
		files, err := s.Dir(ref, bindings.SignaturesDir, bindings.IsPolicyName)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			out = append(out, bindings.File(f))
		}
	}
	return out, nil
}

// carriedFiles returns the signature files and place proofs of both refs.
func carriedFiles(b *airgap.Bundle) []bindings.File {
	var out []bindings.File
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		out = append(out, bindings.File{Name: strings.TrimPrefix(name, SecondRef), Data: b.Files[name]})
	}
	return out
}

// Registry says how registries are reached.
func (f *Finder) Registry() oci.Options {
	return oci.Options{Transport: f.Transport, Agent: f.Agent, Credential: f.Credential}
}

// fromRegistry reads the policy's files from a registry. It is trusted no more than the
// repository is, and asked nothing that only the forge knows.
func (f *Finder) fromRegistry(ctx context.Context, out *Found) error {
	q := out.query
	if out.Root.Forges.NamesBranch(out.Repository) {
		if q.Offline {
			return &policy.Fault{
				Reason: policy.Usage,
				Text: "--offline: only " + out.Repository.Host() + " can say which branch of " + out.Repository.String() +
					" is the default one",
				Hint: "name a clone of it with --git DIR",
			}
		}
		var err error
		if out.Snapshot.Default, err = git.Default(ctx, out.Repository.String(), f.Agent, f.Transport); err != nil {
			return GitFault(err)
		}
	}
	p, err := oci.ReadPolicy(ctx, *q.From, f.Registry(), out.Repository.String())
	switch {
	case errors.Is(err, oci.ErrNoPolicy):
		return &policy.Fault{
			Reason: policy.RepositoryUnreachable, Text: "--from: " + err.Error(),
			Hint: "`repopolicy export --oci` puts it there",
		}
	case err != nil:
		return policy.Faultf(policy.RepositoryUnreachable, "--from: %s", err)
	}
	for _, s := range p.Signatures {
		out.Files = append(out.Files, bindings.File(s))
	}
	for _, s := range p.Places {
		if !bindings.IsPlaceName(s.Name) { // a registry need not keep names
			s.Name = bindings.PlaceName(0, s.Data)
		}
		out.Files = append(out.Files, bindings.File(s))
	}
	for _, s := range p.Answers {
		out.answers = append(out.answers, bindings.File(s))
	}
	return nil
}
