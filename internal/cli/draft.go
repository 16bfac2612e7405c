// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// draftVersion is a committed policy on its way to become a version.
type draftVersion struct {
	*find.Found
	doc       *policy.Document
	statement []byte
	dir       string // of the repository
}

// committed reads the policy of the last commit, never of the working tree, and
// finds out which statement it is.
func (a *app) committed(ctx context.Context, o *signOptions) (*draftVersion, error) {
	text, err := a.headPolicy(ctx, o)
	if err != nil {
		return nil, err
	}
	return a.draft(ctx, o, text)
}

// headPolicy reads the policy of the last commit.
func (a *app) headPolicy(ctx context.Context, o *signOptions) ([]byte, error) {
	if !o.Git.Given {
		o.Git.Value, o.Git.Given = ".", true
	}
	r, err := git.Open(ctx, o.Git.Value)
	if err != nil {
		return nil, find.GitFault(err)
	}
	defer r.Close()
	var text []byte
	head, err := r.Head()
	if err == nil {
		text, err = r.File(head, bindings.PolicyFile)
	}
	if errors.Is(err, git.ErrNotFound) {
		return nil, &policy.Fault{
			Reason: policy.PolicyUnreadable, Text: bindings.PolicyFile + " is not in the last commit",
			Hint: "write it, `git add` and `git commit` it, then sign",
		}
	} else if err != nil {
		return nil, find.GitFault(err)
	}
	return text, nil
}

// draft finds out which statement a policy is that is, or will be, committed in
// the repository that --git names.
func (a *app) draft(ctx context.Context, o *signOptions, text []byte) (*draftVersion, error) {
	f, err := a.of(ctx, o, text)
	if err != nil {
		return nil, err
	}
	return a.following(ctx, o, f, text)
}

// of finds the policy of the repository that a policy is about.
func (a *app) of(ctx context.Context, o *signOptions, text []byte) (*find.Found, error) {
	doc, err := policy.Parse(text)
	if err != nil {
		return nil, policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
	}
	o.Repo.Value, o.Repo.Given = doc.Content().Repository.String(), true
	o.BranchOf = a.pipelineBranch
	return a.Find(ctx, &o.Lookup)
}

// pipelineBranch is the default branch as a pipeline of the repository on GitLab knows it,
// whose clone has none; "" elsewhere.
func (a *app) pipelineBranch(repo policy.Locator) string {
	if a.Getenv == nil || a.Getenv("GITLAB_CI") == "" || a.Getenv("CI_DEFAULT_BRANCH") == "" {
		return ""
	}
	here, err := policy.NormalizeLocator("https://" + a.Getenv("CI_SERVER_HOST") + "/" + a.Getenv("CI_PROJECT_PATH"))
	if err != nil || here != repo {
		return ""
	}
	return "refs/heads/" + a.Getenv("CI_DEFAULT_BRANCH")
}

// following finds out which statement a policy is that follows what was found of its
// repository.
func (a *app) following(ctx context.Context, o *signOptions, f *find.Found, text []byte) (*draftVersion, error) {
	v := &draftVersion{Found: f, dir: o.Git.Value}
	var err error
	if v.doc, err = policy.Parse(text); err != nil {
		return nil, policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
	}
	if err := a.former(ctx, o, v); err != nil {
		return nil, err
	}
	previous, err := v.previous(text)
	if err != nil {
		return nil, err
	}
	if err := v.renames(); err != nil {
		return nil, err
	}
	if v.statement, err = rekorbind.Encode(text, previous); err != nil {
		return nil, policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
	}
	return v, nil
}

// former finds the chain of a repository that is being renamed under its former
// name: what is bound under the new one is the version that says so, if any.
func (a *app) former(ctx context.Context, o *signOptions, v *draftVersion) error {
	c := v.doc.Content()
	if v.Resolution.Chain.Reason() != policy.NoBinding || c.Version == 1 {
		return nil
	}
	names := v.Resolution.Named(c.Version - 1)
	if len(names) != 1 || names[0] == c.Repository {
		return nil
	}
	o.Repo.Value = names[0].String()
	f, err := a.Find(ctx, &o.Lookup)
	if err != nil {
		return err
	}
	if n := len(f.Versions()); n == c.Version-1 {
		a.Err.Line("note: version %d is about %s", n, names[0])
		v.Found = f
	}
	return nil
}

// previous returns the digest of the statement that the policy follows.
func (v *draftVersion) previous(text []byte) (string, error) {
	n := v.doc.Content().Version
	resolved := v.Resolution.Chain
	versions := resolved.Versions()
	switch reason := resolved.Reason(); {
	case reason == policy.NoBinding && n == 1:
		return "", nil
	case reason == policy.NoBinding && v.BranchHint() == "":
		return "", policy.Faultf(
			policy.NoBinding, "the policy is version %d, and nothing of this repository is bound yet", n,
		)
	case n == 1 && len(versions) == 0 && v.awaited(text):
		return "", nil
	case reason != "" && !(v.mends(text, reason) && len(versions) >= n-1 && n > 1):
		f := policy.Faultf(reason, "%s: %s", v.Repository, reason.Text())
		for _, p := range resolved.Problems() {
			f.More = append(f.More, p.Detail)
		}
		if f.Hint = v.BranchHint(); f.Hint == "" && reason == policy.Undisclosed {
			f.Hint = v.MayLag()
		}
		return "", f
	}
	if len(versions) >= n-1 && n > 1 {
		return versions[n-2].Statement, nil
	}
	if n == 1 && len(versions) > 0 {
		return "", nil
	}
	return "", &policy.Fault{
		Reason: policy.Usage, Text: fmt.Sprintf("the policy is version %d, version %d is in force", n, len(versions)),
		Hint: fmt.Sprintf("write version = %d", len(versions)+1),
	}
}

// mends reports whether what is undecided can be what the policy decides: how far its own binding
// came, or that its signatures or its binding no longer count.
func (v *draftVersion) mends(text []byte, reason policy.Reason) bool {
	if reason == policy.Undisclosed || reason == policy.VersionInDoubt {
		return true
	}
	n, versions := v.doc.Content().Version, v.Resolution.Chain.Versions()
	if n < 2 || len(versions) < n-1 {
		return false
	}
	same, err := rekorbind.Encode(text, versions[n-2].Statement)
	return err == nil && v.Resolution.Chain.Awaits(spelling.Sum(same))
}

// renames demands that a version by another name than the one before says that, so that who
// asks for the former name finds it.
func (v *draftVersion) renames() error {
	c := v.doc.Content()
	versions := v.Versions()
	if n := c.Version - 1; n < 1 || n > len(versions) {
		return nil
	}
	before := versions[c.Version-2].Document.Content().Repository
	if before == c.Repository || c.Formerly == before {
		return nil
	}
	return &policy.Fault{
		Reason: policy.PolicyValue,
		Text: fmt.Sprintf(
			"%s: version %d was about %s, and this one does not say that the repository had that name",
			bindings.PolicyFile, c.Version-1, before,
		),
		Hint: fmt.Sprintf("write formerly = %q", before),
	}
}

// awaited reports whether a run that bound the policy as the first version was
// interrupted, and all that is undecided is how far it came.
func (v *draftVersion) awaited(text []byte) bool {
	first, err := rekorbind.Encode(text, "")
	return err == nil && v.Resolution.Chain.Awaits(spelling.Sum(first))
}

// signatures says who signed the statement, who has not, and how many signatures
// it needs at least.
func (v *draftVersion) signatures() (by, missing []string, need int, err error) {
	st, err := v.Resolution.Standing(v.statement)
	if err != nil {
		return nil, nil, 0, err
	}
	tallies := []chain.Standing{st}
	if st.Before != nil {
		tallies = append(tallies, *st.Before)
	}
	for _, t := range tallies {
		by, missing = append(by, t.Signed...), append(missing, t.Missing...)
		if !t.Met() {
			need = max(need, t.Threshold-len(t.Signed), 1)
		}
	}
	for _, names := range []*[]string{&by, &missing} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	if st.Met() != (need == 0) {
		return nil, nil, 0, errors.New("the count of signatures contradicts itself")
	}
	return by, missing, need, nil
}
