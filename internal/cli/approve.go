// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/token"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// maxApprovalFile is the largest file with an approval that is read.
const maxApprovalFile = 8 << 20

// approveOptions are the flags of approve.
type approveOptions struct {
	command.Lookup
	signOptions // key, device, yes, output and the signing configs of it
	tag, commit command.Once
}

func (a *app) approveCommand() *cobra.Command {
	o := &approveOptions{}
	cmd := &cobra.Command{
		Use:   "approve -R URL [flags] FILE|sha256:HEX...",
		Short: "approve exactly these files, as one of the people whose approval the policy demands",
		Long: `Approve signs a statement that exactly these files are to be released: their digests,
the tag, the commit, and the version of the policy. It judges them first, so that
nobody approves what would be denied anyway: their evidence beside them, if it is there
already, must be allowed but for the approvals. The approval is logged and written
beside the first file, to be published with the others; verify and authorize --stage
publish look for it there. It cannot be taken back but by [[yanked]] in the policy.`,
		Example: "  repopolicy approve -R acme/widget --tag v1.2.3 widget_1.2.3.tar.gz SHA256SUMS",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.approve(cmd.Context(), o, args) },
	}
	o.Lookup.Flags(cmd)
	o.tag.Kind, o.commit.Kind, o.output.Kind = "TAG", "COMMIT", "DIR"
	o.KeyFlags(cmd)
	f := cmd.Flags()
	o.Lookup.RootFlags(cmd, "")
	f.Var(
		(*command.List)(&o.Configs), "signing-config",
		"sign with the services that this signing config `FILE` names; may be repeated, one for each generation of the log",
	)
	f.Var(&o.tag, "tag", "approve for this tag; by default the one that the evidence names")
	f.Var(
		&o.commit, "commit",
		"approve for this commit; by default the one that the evidence names, or that the repository has under the tag",
	)
	f.VarP(&o.output, "output", "o", "write the file into this directory instead of beside the first artifact")
	f.BoolVar(&o.Device, "device", false, "sign in with a code that is typed into a browser elsewhere")
	o.ExpectFlag(cmd)
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask whether name and address may become public")
	f.Lookup("max-age").Usage = "refuse what is known from longer ago; 24h unless said otherwise"
	return cmd
}

func (a *app) approve(ctx context.Context, o *approveOptions, args []string) error {
	if o.tag.Given && !spelling.ValidTag(o.tag.Value) {
		return &policy.Fault{
			Reason: policy.Usage, Text: "--tag: " + o.tag.Value + " cannot be a tag",
			Hint: "give the tag's name without refs/tags/",
		}
	}
	if o.commit.Given && !release.IsCommit(o.commit.Value) {
		return policy.Faultf(policy.Usage, "--commit: not the whole id of a commit")
	}
	artifacts, err := filesOf(args)
	if err != nil {
		return err
	}
	if !o.Lookup.Repo.Given {
		if o.Lookup.Repo.Value, err = a.cloned(ctx, "."); err != nil {
			return err
		}
		o.Lookup.Repo.Given = true
	}
	if !o.Lookup.MaxAge.Given {
		o.Lookup.MaxAge.Value, o.Lookup.MaxAge.Given = authorizeMaxAge, true
	}
	o.Lookup.Fresh = true
	o.signOptions.Roots = o.Lookup.Roots
	if err := a.CheckFind(&o.Lookup, false); err != nil {
		return err
	}
	if err := a.checkSigner(&o.signOptions); err != nil {
		return err
	}
	if !o.output.Given {
		if err := file.CheckDir(filepath.Dir(artifacts[0].Path)); err != nil {
			return command.Unwritten(err)
		}
	}
	if !o.tag.Given && !slices.ContainsFunc(artifacts, func(a *release.Artifact) bool { return a.Path != "" }) {
		return &policy.Fault{
			Reason: policy.Usage, Text: "a digest has no evidence beside it that names the tag",
			Hint: "give it with --tag",
		}
	}
	f, err := a.Find(ctx, &o.Lookup)
	if err != nil {
		return err
	}
	f.Demand.Strict = true
	a.Warn(f)
	if err := f.Usable(a.Now()); err != nil {
		return err
	}
	a.Finder().Inform(ctx, f)
	want, err := a.approvable(ctx, o, f, artifacts)
	if err != nil {
		return err
	}
	s, err := a.Services(ctx, &o.Signing, o.signOptions.Trust(), f.Repository)
	if err != nil {
		return err
	}
	who, err := a.approver(ctx, o, f, s)
	if err != nil {
		return err
	}
	id := who.run.Identity()
	if !f.Trusted().MayApprove(want.version, id, want.Tag) {
		return &policy.Fault{
			Reason: policy.NotApprover,
			Text: fmt.Sprintf("no rule counts an approval of %s for %s under version %d", command.NameOf(id), want.Tag,
				want.version),
			Hint: "nothing was signed; sign in as one of those whom `approvals` names",
		}
	}
	a.Err.Line("approving for %s of %s, version %d of the policy", want.Tag, f.Repository, want.version)
	a.Err.Line("  commit     %s", want.Commit)
	for _, x := range want.Subjects {
		a.Err.Line("  file       %s sha256:%s", x.Name, x.SHA256)
	}
	if id.Kind != policy.KindKey {
		how := "signed in at"
		if o.ByKey() {
			how = "certified by"
		}
		err := a.Agree(
			&o.Signing,
			fmt.Sprintf("%s, %s %s, becomes public for ever with the signature. Approve?", id.Value, how, id.Issuer),
		)
		if err != nil {
			return err
		}
	}
	payload, err := release.EncodeApproval(want.Approval)
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	dir := filepath.Dir(artifacts[0].Path) // of a digest, here
	if o.output.Given {
		dir = o.output.Value
	}
	if path := a.approvedAlready(dir, payload, f, id); path != "" {
		a.Err.Line("approved already")
		a.Out.Line("%s", path)
		return nil
	}
	signing := who.signing
	signing.Who = strings.Join([]string{id.Value, id.Issuer}, " ")
	signing.Check = func(cert policy.Identity) error {
		if _, same := who.run.As(cert); !same {
			return &policy.Fault{
				Reason: policy.TokenMismatch,
				Text:   fmt.Sprintf("the certificate names %s, another than who signed in", command.NameOf(cert)),
				Hint:   "nothing was logged",
			}
		}
		return nil
	}
	data, err := a.log(ctx, f, s, sigstore.Content{Statement: payload}, signing)
	if err != nil {
		return err
	}
	// What is written must verify as a consumer verifies it.
	if _, _, err := release.VerifyApproval(data, f.Root.Root, f.Trusted().ApprovalKeys()); err != nil {
		return policy.Faultf(policy.SigningFailed, "the approval does not verify: %s", err)
	}
	draft, err := sigstore.ParseDraft(data)
	if err != nil {
		return err
	}
	name := release.ApprovalName(want.Tag, draft.Signer(), payload)
	path := filepath.Join(dir, name)
	if err := file.WriteBelow(dir, name, data, 0o644); err != nil {
		return command.Unwritten(err)
	}
	a.Out.Line("%s", path)
	return nil
}

// filesOf returns the files, or digests of images, that are to be approved.
func filesOf(args []string) ([]*release.Artifact, error) {
	var out []*release.Artifact
	for _, arg := range args {
		if d, ok, err := release.ParseDigestArg(arg); ok {
			if err != nil || d.Alg != "sha256" {
				return nil, policy.Faultf(policy.Usage, "%s is not a digest that an approval can name: sha256:…", arg)
			}
			out = append(out, &release.Artifact{Arg: arg, Digests: []policy.Digest{d}})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, policy.Faultf(policy.ArtifactRead, "%s", err)
		case !info.Mode().IsRegular():
			return nil, &policy.Fault{
				Reason: policy.Usage, Text: arg + " is not a regular file", Hint: "name the files in it",
			}
		case release.IsEvidence(arg):
			return nil, policy.Faultf(policy.Usage, "%s is evidence; approve the files of the release", arg)
		}
		out = append(out, &release.Artifact{Arg: arg, Name: filepath.Base(arg), Path: arg})
	}
	return out, nil
}

// approvable is what is about to be approved.
type approvable struct {
	release.Approval
	version int // of the policy
}

// approvable judges the files and returns what to approve: for the version by which
// their evidence is judged, or for the newest one where there is none yet.
func (a *app) approvable(
	ctx context.Context, o *approveOptions, f *find.Found, artifacts []*release.Artifact,
) (*approvable, error) {
	j, err := a.gate().Judge(f, o.tag.Value)
	if err != nil {
		return nil, err
	}
	head := f.Head()
	out := &approvable{
		Approval: release.Approval{
			Repository: head.Document.Content().Repository,
			Tag:        o.tag.Value,
			Commit:     o.commit.Value,
		},
	}
	for i, res := range j.Run(ctx, artifacts) {
		digest, err := artifacts[i].Digest(ctx) // of the bytes that were judged
		if err != nil {
			return nil, policy.Faultf(policy.ArtifactRead, "%s", err)
		}
		d := res.Decision
		versions, tag, commit := []int{head.Number}, "", ""
		switch {
		case d.Reason == policy.NoEvidence:
			a.Err.Line("note: there is no evidence for %s yet", artifacts[i].Arg)
		case res.Class() != policy.ClassOK && !onlyApprovals(res):
			return nil, &policy.Fault{
				Reason: d.Reason, Text: artifacts[i].Arg + ": " + d.Reason.Text(),
				More: append([]string{d.Detail}, mismatchLines(d)...),
				Hint: "nothing was signed: no approval would make this release allowed",
			}
		default:
			versions, tag = d.Numbers(), d.Tag
			if res.Evidence != nil {
				commit = res.Evidence.Signer.Commit()
			}
		}
		if len(versions) != 1 || versions[0] < 1 || out.version != 0 && out.version != versions[0] {
			return nil, &policy.Fault{
				Reason: policy.EffectUndecided,
				Text: fmt.Sprintf(
					"%s is judged by versions %v of the policy, and an approval is for one", artifacts[i].Arg,
					versions,
				),
				Hint: "sign the release again under the newest version",
			}
		}
		out.version = versions[0]
		for _, p := range []struct {
			what   string
			to     *string
			value  string
			reason policy.Reason
		}{{"tag", &out.Tag, tag, policy.TagMismatch}, {"commit", &out.Commit, commit, policy.CommitMismatch}} {
			if p.value == "" || p.value == *p.to {
				continue
			}
			if *p.to != "" {
				return nil, &policy.Fault{
					Reason: p.reason, Text: fmt.Sprintf("%s is for the %s %s, not for %s", artifacts[i].Arg, p.what, p.value, *p.to),
					Hint: "nothing was signed",
				}
			}
			*p.to = p.value
		}
		sum := slices.IndexFunc(digest, func(d policy.Digest) bool { return d.Alg == "sha256" })
		out.Subjects = append(
			out.Subjects,
			release.Approved{Name: cmp.Or(artifacts[i].Name, artifacts[i].Arg), SHA256: digest[sum].Hex},
		)
	}
	if out.Tag == "" {
		return nil, &policy.Fault{Reason: policy.Usage, Text: "the evidence names no tag", Hint: "give it with --tag"}
	}
	at, known := f.Snapshot.Tag(out.Tag)
	switch {
	case known && at != "" && out.Commit != "" && string(at) != out.Commit:
		return nil, policy.Faultf(policy.CommitMismatch,
			"the tag %s of the repository is at %s, the release is of %s", out.Tag, at, out.Commit)
	case out.Commit == "" && at != "":
		out.Commit = string(at)
	case out.Commit == "":
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "nothing says of which commit the release is",
			Hint: "give it with --commit",
		}
	}
	for _, v := range f.Versions() {
		if v.Number == out.version {
			out.Policy, out.Repository = v.Document.Digest().Hex, v.Document.Content().Repository
		}
	}
	return out, nil
}

// onlyApprovals reports whether a release whose evidence was verified would be
// allowed with enough approvals.
func onlyApprovals(res *release.Result) bool {
	d := res.Decision
	n, ok := d.Nearest()
	return ok && res.Evidence != nil && res.Evidence.Verified != nil && d.Reason == policy.RuleMismatch &&
		len(n.Mismatches) > 0 &&
		!slices.ContainsFunc(n.Mismatches, func(m policy.Mismatch) bool { return m.Field != "approvals" })
}

// signerRun is who signs, verified before anything is signed.
type signerRun struct {
	run     policy.Run
	signing signlog.Signature // without Who and Check
}

// approver finds out who approves: a key, or whoever the token is of.
func (a *app) approver(ctx context.Context, o *approveOptions, f *find.Found, s sigstore.Services) (*signerRun, error) {
	if o.ByKey() {
		return a.keySigner(&o.Signing, &f.Root)
	}
	raw, err := a.Personal(ctx, &o.Signing, s)
	if err != nil {
		return nil, err
	}
	expect, err := o.Expected()
	if err != nil {
		return nil, err
	}
	may, err := command.Candidates(raw, f.Trusted().Content(), s.Issuer)
	if err == nil {
		err = expect.Check(may)
	}
	if err != nil {
		return nil, err
	}
	v := token.Verifier{
		Issuers:   identity.TrustedIssuers(f.Trusted().Content(), s.Issuer),
		Transport: a.Transport,
		Agent:     command.UserAgent(),
		Now:       a.Now,
	}
	verified, err := v.Verify(ctx, raw, command.Audience)
	if err != nil {
		return nil, gate.Refusal(fmt.Errorf("the ID token: %w", err))
	}
	return &signerRun{
		verified.Run, signlog.Signature{Token: func(context.Context) (string, error) { return raw, nil }},
	}, nil
}

// keySigner returns the key that --key or --signer names as who signs, as whom it signs by the
// root.
func (a *app) keySigner(o *command.Signing, root *trust.Root) (*signerRun, error) {
	key, err := o.By(keys.Of)
	if err != nil {
		return nil, err
	}
	id, err := a.keyHolder(root, key)
	if err != nil {
		return nil, err
	}
	return &signerRun{policy.RunFacts{}.Verified(id), signlog.Signature{Key: key}}, nil
}

// approvedAlready returns the file of an approval by the same signer over the
// same, "" if there is none in the directory.
func (a *app) approvedAlready(dir string, payload []byte, f *find.Found, id policy.Identity) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	looked := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), release.ApprovalSuffix) || looked == spelling.MaxApprovals {
			continue
		}
		looked++
		path := filepath.Join(dir, e.Name())
		data, err := file.Read(path, maxApprovalFile)
		if err != nil {
			continue
		}
		approval, what, err := release.VerifyApproval(data, f.Root.Root, f.Trusted().ApprovalKeys())
		if err != nil {
			continue
		}
		own, err := release.EncodeApproval(what)
		if err == nil && string(own) == string(payload) && sameSigner(approval.Signer(), id) {
			return path
		}
	}
	return ""
}

// ignored prints which file is no approval, or does not verify.
func (a *app) ignored(path string, err error) { a.Err.Line("note: ignored %s: %s", path, err) }
