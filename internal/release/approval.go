// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// ApprovalSuffix is what the names of files with an approval end in.
const ApprovalSuffix = ".approval.sigstore.json"

const (
	// MaxApprovalBytes is the largest payload of an approval that is read.
	MaxApprovalBytes = 2 << 20

	maxApprovalSubjects = 1024
	maxApprovalName     = 1024
	maxApprovalFile     = 8 << 20
	statementV1         = "https://in-toto.io/Statement/v1"
)

// Approval is what an approval says (SPEC 14.1).
type Approval struct {
	Repository policy.Locator
	Tag        string
	Commit     string // whole id
	Policy     string // hex SHA-256 of the text of the version
	Subjects   []Approved
}

// Approved is one file that is approved.
type Approved struct {
	Name   string
	SHA256 string // hex
}

type approvalStatement struct {
	Type          string            `json:"_type"`
	Subject       []approvalSubject `json:"subject"`
	PredicateType string            `json:"predicateType"`
	Predicate     approvalPredicate `json:"predicate"`
}

type approvalSubject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

type approvalPredicate struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Commit     string `json:"commit"`
	Policy     string `json:"policy"`
}

// EncodeApproval returns the payload of an approval: RFC 8785 JSON, with the
// subjects in order. The error says what can be in no approval.
func EncodeApproval(a Approval) ([]byte, error) {
	a.Subjects = slices.Clone(a.Subjects)
	arrange.By(a.Subjects, func(x, y Approved) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.SHA256, y.SHA256))
	})
	if err := a.check(); err != nil {
		return nil, err
	}
	s := approvalStatement{
		Type:          statementV1,
		PredicateType: spelling.ApprovalPredicate,
		Predicate:     approvalPredicate{a.Repository.String(), a.Tag, a.Commit, a.Policy},
	}
	for _, x := range a.Subjects {
		s.Subject = append(s.Subject, approvalSubject{x.Name, map[string]string{"sha256": x.SHA256}})
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	out := jsontext.Value(raw)
	err = out.Canonicalize()
	return out, err
}

func (a *Approval) check() error {
	if a.Repository.IsZero() {
		return errors.New("no repository")
	}
	if !spelling.ValidTag(a.Tag) {
		return fmt.Errorf("%q cannot be a tag", clip.Text(a.Tag))
	}
	if !IsCommit(a.Commit) {
		return fmt.Errorf("%q is not the whole id of a commit", clip.Text(a.Commit))
	}
	if _, err := policy.ParseDigest("sha256:" + a.Policy); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if len(a.Subjects) == 0 || len(a.Subjects) > maxApprovalSubjects {
		return fmt.Errorf("%d subjects, 1 to %d are read", len(a.Subjects), maxApprovalSubjects)
	}
	for i, x := range a.Subjects {
		switch _, err := policy.ParseDigest("sha256:" + x.SHA256); {
		case err != nil:
			return err
		case x.Name == "" || len(x.Name) > maxApprovalName ||
			strings.ContainsFunc(x.Name, func(r rune) bool { return r < ' ' || r > '~' }):
			return fmt.Errorf("%q cannot be the name of a subject", clip.Text(x.Name))
		case i > 0 && x == a.Subjects[i-1]:
			return fmt.Errorf("%s stands twice", x.Name)
		}
	}
	return nil
}

// IsCommit reports whether s is the whole id of a Git commit, in lower-case hex.
func IsCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// ParseApproval reads the payload of an approval. It must be what
// [EncodeApproval] makes of it, byte for byte, so that two readings of one
// payload cannot differ.
func ParseApproval(payload []byte) (Approval, error) {
	var a Approval
	if len(payload) > MaxApprovalBytes {
		return a, fmt.Errorf("an approval of %d bytes, at most %d are read", len(payload), MaxApprovalBytes)
	}
	var s approvalStatement
	if err := json.Unmarshal(payload, &s); err != nil {
		return a, fmt.Errorf("not an approval: %w", err)
	}
	repo, err := policy.ParseLocator(s.Predicate.Repository)
	if err != nil {
		return a, fmt.Errorf("repository: %w", err)
	}
	out := Approval{Repository: repo, Tag: s.Predicate.Tag, Commit: s.Predicate.Commit, Policy: s.Predicate.Policy}
	if len(s.Subject) > maxApprovalSubjects {
		return a, fmt.Errorf("more than %d subjects", maxApprovalSubjects)
	}
	for _, x := range s.Subject {
		out.Subjects = append(out.Subjects, Approved{x.Name, x.Digest["sha256"]})
	}
	canonical, err := EncodeApproval(out)
	if err != nil {
		return a, err
	}
	if !bytes.Equal(canonical, payload) {
		return a, errors.New("not the canonical encoding of an approval")
	}
	return out, nil
}

// facts returns what the policy judges an approval by.
func (a *Approval) facts() policy.ApprovalFacts {
	f := policy.ApprovalFacts{
		Repository: a.Repository, Tag: a.Tag, Commit: a.Commit,
		Policy: policy.Digest{Alg: "sha256", Hex: a.Policy},
	}
	for _, x := range a.Subjects {
		f.Digests = append(f.Digests, policy.Digest{Alg: "sha256", Hex: x.SHA256})
	}
	return f
}

// ApprovalName returns the name of the file for an approval by a signer, which no
// other approval has: a key approves more than once.
func ApprovalName(tag string, signer, payload []byte) string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return r
		}
		return '-'
	}, tag)
	return strings.TrimLeft(plain, ".-") + "-" + spelling.Sum(slices.Concat(signer, payload))[:12] + ApprovalSuffix
}

// VerifyApproval verifies a bundle with an approval under one trusted root, with
// one of the keys if it is signed by a bare key. The second result is the
// approval that it holds, also beside an error of the verification.
func VerifyApproval(data []byte, root *sigstore.Root, keys []policy.Key) (policy.Approval, Approval, error) {
	v, signer, a, err := verifyApproval(data, root, keys)
	if err != nil {
		return policy.Approval{}, a, err
	}
	return a.facts().Verified(signer, v.Verification()), a, nil
}

func verifyApproval(
	data []byte, root *sigstore.Root, keys []policy.Key,
) (*sigstore.Verified, policy.Identity, Approval, error) {
	b, err := sigstore.ParseBundle(data)
	if err != nil {
		return nil, policy.Identity{}, Approval{}, err
	}
	signer := b.SignerUnder(root)
	a, err := ParseApproval(b.Payload())
	if err != nil {
		return nil, signer, a, err
	}
	digest := policy.Digest{Alg: "sha256", Hex: a.Subjects[0].SHA256}
	if signer.Kind != policy.KindKey {
		v, err := b.Verify(root, digest, nil, sigstore.Options{})
		return v, signer, a, err
	}
	err = errors.New("signed by a key that the policy does not name")
	for _, k := range keys {
		key, keyErr := sigstore.ParseKey([]byte(k.PEM), time.Time{}, time.Time{})
		if keyErr != nil {
			continue
		}
		v, verifyErr := b.Verify(root, digest, key, sigstore.Options{})
		if verifyErr == nil {
			signer.Value = v.KeyID
			return v, signer, a, nil
		}
		err = verifyErr
	}
	return nil, signer, a, err
}

// isApproval reports whether a piece of evidence is an approval, which is
// evidence of no release.
func isApproval(ev *Evidence) bool { return ev.Predicate == spelling.ApprovalPredicate }

// approvals returns the verified approvals for an artifact: those among the files
// that the user named, those that lie beside it, and those that its release
// holds. Which of them count is for the policy to say. None is verified where no
// rule demands any. The failure beside them says that others could not be had.
func (j *Judge) approvals(
	ctx context.Context, a *Artifact,
) (out []policy.Approval, notes []policy.Note, missing *Failure) {
	if !j.by().DemandsApprovals() {
		return nil, nil, nil
	}
	if err := j.loadRoots(ctx); err != nil {
		return nil, nil, failure(err, policy.TrustRootMissing)
	}
	add := func(path string, read func() ([]byte, error)) {
		if len(out) == spelling.MaxApprovals {
			return
		}
		l := j.finder.approval(path)
		l.once.Do(func() { l.v = j.readApproval(ctx, path, read) })
		if l.v.approval != nil {
			out, notes = append(out, *l.v.approval), append(notes, l.v.notes...)
		}
		if l.v.missing != nil {
			missing = l.v.missing
		}
	}
	for _, path := range j.finder.approvalFiles(a) {
		add(path, func() ([]byte, error) { return file.Read(path, maxApprovalFile) })
	}
	p := a.Place
	if p == nil {
		p = j.Release
	}
	if p == nil {
		return out, notes, missing
	}
	s := j.finder.shelf(ctx, p)
	if s.err != nil && !errors.Is(s.err, fs.ErrNotExist) {
		return out, notes, failf(policy.EvidenceUnreachable, "%s: %s", p.URL(""), s.err)
	}
	for _, name := range s.all {
		if strings.HasSuffix(name, ApprovalSuffix) {
			add(p.URL(name), func() ([]byte, error) { return p.Read(ctx, name, maxApprovalFile) })
		}
	}
	return out, notes, missing
}

// readApproval verifies the approval in a file under the first trusted root that
// takes it, each alone. One of which the log is not shown to be one could not be had.
func (j *Judge) readApproval(ctx context.Context, path string, read func() ([]byte, error)) approvalSlot {
	data, err := read()
	if err != nil {
		return approvalSlot{missing: failf(policy.EvidenceUnreachable, "%s", err)}
	}
	var unknown *Failure // why it may count all the same
	for _, r := range j.roots {
		v, signer, what, verifyErr := verifyApproval(data, r, j.by().ApprovalKeys())
		if err = verifyErr; err != nil {
			if f := failure(err, policy.SignatureInvalid); f.Reason == policy.RevocationUnknown {
				unknown = failf(f.Reason, "the approval %s: %s", path, f.Detail)
			}
			continue
		}
		out := what.facts().Verified(signer, v.Verification())
		if j.Watch == nil {
			return approvalSlot{approval: &out}
		}
		j.Watch.Date(v)
		notes, f := j.Watch.Same(ctx, v)
		if f != nil {
			return approvalSlot{missing: f}
		}
		return approvalSlot{approval: &out, notes: notes}
	}
	if j.Ignored != nil {
		j.Ignored(path, err)
	}
	return approvalSlot{missing: unknown}
}

// approvalSlot is what a file with an approval holds: nothing if that does not
// verify.
type approvalSlot struct {
	approval *policy.Approval
	notes    []policy.Note
	missing  *Failure
}

// Approvals returns the approvals for an artifact that a judge finds beside it, or
// in its release.
func (j *Judge) Approvals(ctx context.Context, a *Artifact) ([]policy.Approval, error) {
	j.finder = newFinder(budget.Of(ctx), j.Bundles, j.Carried)
	out, _, err := j.approvals(ctx, a)
	if err != nil {
		return nil, err
	}
	if j.Watch != nil {
		if f := j.Watch.Verdict(); f != nil {
			return nil, f
		}
	}
	return out, nil
}

// approvalFiles returns the files with approvals that may be for an artifact, at
// most as many as are looked at.
func (f *finder) approvalFiles(a *Artifact) []string {
	var out []string
	for _, p := range f.given() {
		if strings.HasSuffix(p, ApprovalSuffix) {
			out = append(out, p)
		}
	}
	for _, p := range f.list(dirOf(a)).approvals {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out[:min(len(out), spelling.MaxApprovals)]
}

// approval returns the slot of a file that is read once.
func (f *finder) approval(path string) *lazy[approvalSlot] {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.approved[path]
	if l == nil {
		l = &lazy[approvalSlot]{}
		f.approved[path] = l
	}
	return l
}

// lacksApprovals reports whether approvals are what the nearest rule misses.
func lacksApprovals(d policy.Decision) bool {
	n, ok := d.Nearest()
	return ok && d.Reason == policy.RuleMismatch &&
		slices.ContainsFunc(n.Mismatches, func(m policy.Mismatch) bool { return m.Field == "approvals" })
}
