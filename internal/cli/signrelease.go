// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/token"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// bundleSuffix is what the evidence for a file is called beside it.
const bundleSuffix = ".sigstore.json"

// releaseOptions are the flags of sign-release.
type releaseOptions struct {
	authorizeOptions
	signOptions // key, device, yes and the signing configs of it
	purl        command.Once
}

func (a *app) signReleaseCommand() *cobra.Command {
	o := &releaseOptions{}
	cmd := &cobra.Command{
		Use:   "sign-release [flags] FILE...",
		Short: "sign the files of a release, if the policy allows it",
		Long: `Sign-release authorises first, as repopolicy authorize does, and signs nothing
unless every file may be released by whoever runs it: a CI job by its ID token, a
person by signing in, or a key. Each signature is logged, judged as a consumer would
judge it, and only then written beside its file as FILE.sigstore.json. FILE.place.json, to
be published with it, shows by when it was logged, also after the log has changed. A run that was
interrupted is repeated: nothing is signed or logged twice.

A certificate for a tag names that tag. Where it cannot, because the run is for a
branch or a person or key signs, --statement makes the signature one of an in-toto
release statement that names --tag, and --purl one that names the package with its
version.`,
		Example: `  repopolicy sign-release dist/widget_1.2.3.tar.gz dist/SHA256SUMS
  repopolicy sign-release --purl pkg:npm/%40acme/widget@1.2.3 widget-1.2.3.tgz`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.signRelease(cmd.Context(), o, args)
			var f *policy.Fault
			if o.authorizeOptions.format.Value == "github" && errors.As(err, &f) {
				a.github().Fault(f, report.Output{Name: "authorized", Value: "false"})
			}
			return err
		},
	}
	o.releaseFlags(cmd)
	o.authorizeOptions.format.Allowed = []string{"text", "json", "github"}
	o.purl.Kind, o.report.Kind = "PACKAGE-URL", "FILE"
	o.KeyFlags(cmd)
	f := cmd.Flags()
	f.Var(
		(*command.List)(&o.Configs), "signing-config",
		"sign with the services that this signing config `FILE` names; may be repeated, one for each generation of the log",
	)
	f.BoolVar(&o.statement, "statement", false, "sign a release statement that names --tag instead of the bare file")
	f.Var(&o.purl, "purl", "sign a release statement that names the one file by this package URL")
	f.BoolVar(&o.Device, "device", false, "sign in with a code that is typed into a browser elsewhere")
	o.ExpectFlag(cmd)
	f.BoolVarP(&o.Yes, "yes", "y", false, "do not ask a person whether name and address may become public")
	f.Var(&o.report, "report", "also write the decision as JSON into this file")
	f.Var(&o.authorizeOptions.format, "format", "form of the output")
	return cmd
}

func (a *app) signRelease(ctx context.Context, o *releaseOptions, args []string) error {
	ao := &o.authorizeOptions
	if err := o.checkFiles(args); err != nil {
		return err
	}
	if err := a.checkRelease(ao, args); err != nil {
		return err
	}
	o.signOptions.Roots = ao.Roots
	if err := a.checkReleaser(o); err != nil {
		return err
	}
	who, err := a.releaser(ctx, o)
	if err != nil {
		return err
	}
	ao.hash = "sha256"
	if k := who.signing.Key; k != nil {
		ao.hash = k.Algorithm.HashName()
	}
	names := args
	if o.purl.Given {
		names = []string{o.purl.Value}
	}
	z, err := a.authorization(ctx, ao, policy.StageSign, names, who.verify, who.unverified)
	if err != nil {
		return err
	}
	s, err := a.Services(ctx, &o.Signing, o.signOptions.Trust(), z.Found.Repository)
	if err != nil {
		return err
	}
	if err := o.checkStatement(who.signing.Key, s); err != nil {
		return err
	}
	if o.purl.Given { // the name is the package's, the digest the file's
		if err := a.packageOf(z, args[0]); err != nil {
			return err
		}
	}
	r := report.NewAuthorization(z)
	if z.Class() != policy.ClassOK {
		if err := a.printAuthorization(ao, r); err != nil {
			return err
		}
		return command.Decided{Class: z.Class()}
	}
	if err := a.useReceipts(ao, z); err != nil {
		return err
	}
	if who.person != "" {
		if err := a.Agree(&o.Signing, who.person+" becomes public for ever with the signature. Go on?"); err != nil {
			return err
		}
	}
	for i := range z.Subjects {
		path, err := a.signOne(ctx, o, s, z, who, args, i)
		if err != nil {
			return err
		}
		r.Releases[i].Bundle = path
	}
	return a.printAuthorization(ao, r)
}

// checkStatement refuses a statement about a release that no other program could verify: that
// of a key which Rekor v1 shows in a form of our own (SPEC 3.6), where there is no Rekor v2.
func (o *releaseOptions) checkStatement(key *keys.Signer, s sigstore.Services) error {
	if !o.statement && !o.purl.Given || key == nil || key.Algorithm.RekorV1 == keys.DSSE || s.RekorV2 != "" {
		return nil
	}
	return &policy.Fault{
		Reason: policy.Usage, Text: "Rekor v1 takes no statement about a release by a key " + key.Algorithm.Key,
		Hint: "log in Rekor v2, sign the file without --statement, or take a key on P-256",
	}
}

// checkReleaser refuses flags by which nobody can sign a release.
func (a *app) checkReleaser(o *releaseOptions) error {
	if o.ByKey() && (o.tokenOptions.file.Given || o.variable.Given || o.metadata) {
		return policy.Faultf(policy.Usage,
			"--key and an ID token contradict each other: either a key signs, or who the token is of")
	}
	if !o.ByKey() && a.hasOwnToken(&o.tokenOptions) { // a job agrees by being run
		if o.Device {
			return policy.Faultf(policy.Usage, "--device is about people, and a job signs")
		}
		if _, err := o.Expected(); err != nil {
			return err
		}
		return a.CheckConfigs(&o.Signing, o.signOptions.Trust())
	}
	// A token that says that it is a job's is no person's, who could agree.
	if a.Getenv != nil && !o.ByKey() {
		if t, err := identity.ParseToken(a.Getenv("SIGSTORE_ID_TOKEN")); err == nil {
			if issuer, known := identity.TrustedIssuers(nil, "").Find(t.Issuer); known &&
				issuer.Kind != identity.KindEmail {
				return ofJob()
			}
		}
	}
	return a.checkSigner(&o.signOptions)
}

func ofJob() *policy.Fault {
	return &policy.Fault{
		Reason: policy.TokenRefused, Text: "a job is authorised by a token of its own",
		Hint: "give it one with the audience repopolicy: on GitLab, id_tokens sets REPOPOLICY_ID_TOKEN with aud: repopolicy",
	}
}

// checkFiles refuses what cannot be signed before anybody is asked.
func (o *releaseOptions) checkFiles(args []string) error {
	if o.purl.Given {
		if u, err := packageurl.FromString(o.purl.Value); err != nil || u.Version == "" {
			return policy.Faultf(
				policy.Usage, "--purl: not a package URL with a version, such as pkg:npm/%%40acme/widget@1.2.3",
			)
		}
		if len(args) != 1 || o.statement {
			return policy.Faultf(policy.Usage, "--purl names one file, and makes a statement of its own")
		}
	}
	seen := map[string]bool{}
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return policy.Faultf(policy.ArtifactRead, "%s", err)
		case !info.Mode().IsRegular():
			return &policy.Fault{
				Reason: policy.Usage, Text: arg + " is not a regular file", Hint: "name the files in it",
			}
		case release.IsEvidence(arg), strings.HasSuffix(arg, release.PlaceSuffix):
			return policy.Faultf(policy.Usage, "%s is evidence, which nobody signs", arg)
		case seen[filepath.Clean(arg)]:
			return policy.Faultf(policy.Usage, "%s is named twice", arg)
		}
		seen[filepath.Clean(arg)] = true
		if !o.statement && !o.purl.Given {
			if err := noEnvelope(arg); err != nil {
				return err
			}
		}
		path := arg + bundleSuffix
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return policy.Faultf(policy.Usage, "%s is there, and is no regular file", path)
		} else if err != nil {
			if err := file.Check(path); err != nil {
				return command.Unwritten(err)
			}
		}
	}
	return nil
}

// noEnvelope refuses a file that is what is signed of an envelope (DSSE, its pre-authentication
// encoding): a signature over its digest would be one of a statement that whoever made
// the file wrote, such as a version of the policy.
func noEnvelope(path string) error {
	f, err := file.Open(path)
	if err != nil {
		return policy.Faultf(policy.ArtifactRead, "%s", err)
	}
	defer f.Close()
	const begin = "DSSEv1 "
	head := make([]byte, len(begin))
	if n, err := io.ReadFull(f, head); err == nil && string(head[:n]) == begin {
		return &policy.Fault{
			Reason: policy.Usage,
			Text:   path + " begins like what is signed of a statement, so that its signature would be one of that",
			Hint:   "put it into an archive, or sign a statement about it with --statement",
		}
	}
	return nil
}

// packageOf gives the package that is to be released the digest of its file.
func (a *app) packageOf(z *gate.Authorization, path string) error {
	digests, err := release.Digests(path, append(z.Found.Trusted().DigestAlgorithms(), "sha256"))
	if err != nil {
		return policy.Faultf(policy.ArtifactRead, "%s", err)
	}
	z.Subjects[0].Path, z.Subjects[0].Digests = path, digests
	if z.Decisions[0].Permitted {
		z.Decisions[0] = z.Decide(z.Run.Identity(), z.Subjects[0])
	}
	return nil
}

// releaser is who is about to sign: a job, a person or a key.
type releaser struct {
	unverified *identity.Unverified // nil for a key
	verify     func(*find.Found) (*token.Verified, error)
	signing    signlog.Signature // without Who and Check
	person     string            // whose name becomes public; "" for jobs and keys
}

// releaser finds out who signs. A job shows a token that was made for authorising;
// a person has none but that with which Sigstore signs.
func (a *app) releaser(ctx context.Context, o *releaseOptions) (*releaser, error) {
	if o.ByKey() {
		key, err := o.By(keys.Of)
		if err != nil {
			return nil, err
		}
		w := &releaser{signing: signlog.Signature{Key: key}}
		w.verify = func(f *find.Found) (*token.Verified, error) {
			k, err := a.keySigner(&o.Signing, &f.Root)
			if err != nil {
				return nil, err
			}
			if id := k.run.Identity(); id.Kind != policy.KindKey {
				w.person = fmt.Sprintf("%s, certified by %s,", id.Value, id.Issuer)
			}
			return &token.Verified{Run: k.run}, nil
		}
		return w, nil
	}
	if a.hasOwnToken(&o.tokenOptions) {
		t, err := a.ownToken(ctx, &o.tokenOptions)
		if err != nil {
			return nil, err
		}
		return &releaser{
			unverified: t,
			verify:     func(f *find.Found) (*token.Verified, error) { return a.gate().Verify(ctx, t, f, oidc.Audience, "") },
			signing: signlog.Signature{Token: func(ctx context.Context) (string, error) {
				raw, err := a.Ambient(ctx, command.Audience)
				if errors.Is(err, oidc.ErrNoToken) {
					err = &policy.Fault{
						Reason: policy.LoginNeeded, Text: "no ID token to sign with",
						Hint: "the job needs a second one, with the audience sigstore, in SIGSTORE_ID_TOKEN",
					}
				}
				return raw, err
			}},
		}, nil
	}
	if at := &o.authorizeOptions.Repo; !at.Given {
		var err error
		if at.Value, err = a.cloned(ctx, cmp.Or(o.checkout.Value, ".")); err != nil {
			return nil, err
		}
		at.Given = true
	}
	repo, err := policy.NormalizeLocator(o.authorizeOptions.Repo.Value)
	if err != nil {
		repo = policy.Locator{} // which authorization reports
	}
	s, err := a.Services(ctx, &o.Signing, o.signOptions.Trust(), repo)
	if err != nil {
		return nil, err
	}
	raw, err := a.Personal(ctx, &o.Signing, s)
	if err != nil {
		return nil, err
	}
	t, err := identity.ParseToken(raw)
	if err != nil {
		return nil, gate.Refusal(err)
	}
	w := &releaser{
		unverified: t, signing: signlog.Signature{Token: func(context.Context) (string, error) { return raw, nil }},
	}
	w.verify = func(f *find.Found) (*token.Verified, error) {
		v, err := a.gate().Verify(ctx, t, f, command.Audience, s.Issuer)
		if err == nil && v.Issuer.Kind != identity.KindEmail {
			return nil, ofJob()
		}
		if err == nil {
			id := v.Run.Identity()
			w.person = fmt.Sprintf("%s, signed in at %s,", id.Value, id.Issuer)
		}
		return v, err
	}
	return w, nil
}

// signOne signs one of the files, judges the result and writes it. A file that
// has its evidence already is left as it is.
func (a *app) signOne(
	ctx context.Context, o *releaseOptions, s sigstore.Services, z *gate.Authorization, who *releaser, args []string,
	i int,
) (string, error) {
	subject := z.Subjects[i]
	path := args[i] + bundleSuffix
	if _, err := os.Lstat(path); err == nil {
		if err := a.confirm(ctx, z, i, args[i], path); err != nil {
			return "", &policy.Fault{
				Reason: policy.Usage, Text: path + " is there already, and is no evidence for this release",
				More: []string{err.Error()},
				Hint: "nothing was signed for this file; move the other file away",
			}
		}
		a.Err.Line("%s is signed already", args[i])
		a.dateRelease(ctx, z.Found, s, args[i])
		return path, nil
	}
	content, err := o.content(z, subject)
	if err != nil {
		return "", err
	}
	signing := who.signing
	id := z.Run.Identity()
	if signing.Token != nil {
		signing.Token = func(ctx context.Context) (string, error) { return o.same(ctx, z, s, who.signing.Token) }
	}
	signing.Who = strings.Join([]string{id.Value, id.Issuer, id.RunInvocationURI}, " ")
	signing.Check = func(cert policy.Identity) error {
		run, same := z.Run.As(cert)
		if !same {
			return &policy.Fault{
				Reason: policy.TokenMismatch,
				Text: fmt.Sprintf(
					"the certificate names %s by %s, another than who was authorised", cert.Value, cert.Issuer,
				),
				Hint: "nothing was logged; both tokens must be of the same job",
			}
		}
		checked := *z
		checked.Run = run
		if d := checked.Decide(cert, subject); !d.Permitted {
			return &policy.Fault{
				Reason: d.Reason, Text: "the certificate lacks what the policy wants: " + d.Reason.Text(),
				More: mismatchLines(d),
				Hint: "nothing was logged",
			}
		}
		return nil
	}
	data, err := a.log(ctx, z.Found, s, content, signing)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "repopolicy")
	if err != nil {
		return "", command.Unwritten(err)
	}
	defer os.RemoveAll(dir)
	fresh := filepath.Join(dir, "bundle"+bundleSuffix)
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return "", command.Unwritten(err)
	}
	if err := a.confirm(ctx, z, i, args[i], fresh); err != nil {
		return "", &policy.Fault{
			Reason: policy.SigningFailed, Text: args[i] + ": what was signed is not allowed",
			More: []string{err.Error()},
			Hint: "the policy changed meanwhile; authorise again",
		}
	}
	if err := file.Create(path, data, 0o644); err != nil {
		return "", command.Unwritten(err)
	}
	a.dateRelease(ctx, z.Found, s, args[i])
	return path, nil
}

// dateRelease makes a place proof of the entry that the evidence for a file shows, beside it, if
// there is none. The release is as good without: what cannot be had is said, and a run that is
// repeated makes it.
func (a *app) dateRelease(ctx context.Context, f *find.Found, s sigstore.Services, path string) {
	to := path + release.PlaceSuffix
	if _, err := os.Lstat(to); err == nil {
		return
	}
	bundle, err := file.Read(path+bundleSuffix, release.MaxEvidenceBytes)
	if err != nil {
		return // it was judged a moment ago
	}
	d, err := a.dater(f.Root, &sigstore.Client{Services: s, Transport: a.Transport, Timeout: a.Timeout})
	if err != nil {
		a.Err.Line("warning: no place proof: %s", err)
		return
	}
	if proof := d.Of(ctx, bundle); proof != nil {
		if err := file.Create(to, proof, 0o644); err != nil {
			a.Err.Line("warning: no place proof: %s", command.Unwritten(err))
		}
	}
}

// same returns the token to sign with, if it is of whoever was authorised and expected.
func (o *releaseOptions) same(
	ctx context.Context, z *gate.Authorization, s sigstore.Services, get func(context.Context) (string, error),
) (string, error) {
	raw, err := get(ctx)
	if err != nil {
		return "", err
	}
	may, err := command.Candidates(raw, z.Found.Trusted().Content(), s.Issuer)
	if err != nil {
		return "", err
	}
	expect, err := o.Expected()
	if err == nil {
		err = expect.Check(may)
	}
	if err == nil && !slices.ContainsFunc(may, func(id policy.Identity) bool { _, same := z.Run.As(id); return same }) {
		err = &policy.Fault{
			Reason: policy.TokenMismatch,
			Text: fmt.Sprintf(
				"the token to sign with is of %s, another than who was authorised", command.Whoever(may),
			),
			Hint: "no certificate was asked for, and nothing was logged; both tokens must be of the same job",
		}
	}
	if err != nil {
		return "", err
	}
	return raw, nil
}

// log makes a signature and logs it, once however often it is repeated.
func (a *app) log(
	ctx context.Context, f *find.Found, s sigstore.Services, content sigstore.Content, signing signlog.Signature,
) ([]byte, error) {
	state, err := a.Finder().State(f.Root)
	if err != nil {
		return nil, err
	}
	w := &signlog.Writer{
		Root: f.Root.Root, Client: &sigstore.Client{Services: s, Transport: a.Transport, Timeout: a.Timeout},
		Journal: state, Now: a.Now, Step: a.steps(s),
	}
	data, err := w.Sign(ctx, content, signing)
	var ft *policy.Fault
	switch {
	case errors.As(err, &ft):
		return nil, ft
	case err != nil:
		return nil, &policy.Fault{
			Reason: policy.SigningFailed, Text: err.Error(),
			Hint: "run the command again: it goes on where it stopped",
		}
	}
	return data, nil
}

// confirm judges a file with one bundle as `verify -R` does. Approvals come
// later, so that their lack alone is no objection; and the bundle must be of this
// run's releaser and commit, and name the package that was asked for.
func (a *app) confirm(ctx context.Context, z *gate.Authorization, i int, path, bundle string) error {
	j, err := a.gate().Judge(z.Found, z.Tag)
	if err != nil {
		return err
	}
	j.Bundles = []string{bundle}
	if id := z.Run.Identity(); id.Kind != policy.KindKey {
		j.Narrow = &policy.FlagIdentity{Identity: id.Value, Issuer: id.Issuer}
	}
	subject := z.Subjects[i]
	art := &release.Artifact{Arg: path, Name: subject.Name, Path: path, Commit: z.Commit}
	if strings.HasPrefix(subject.Name, "pkg:") {
		art.Subject = subject.Name
	}
	res := j.Run(ctx, []*release.Artifact{art})[0]
	if ev := res.Evidence; ev != nil && !sameSigner(ev.Signer, z.Run.Identity()) {
		return errors.New("it was signed by " + command.NameOf(ev.Signer))
	}
	if res.Class() == policy.ClassOK && res.Evidence != nil {
		return nil
	}
	d := res.Decision
	if onlyApprovals(res) {
		return nil
	}
	return errors.New(strings.Join(append([]string{d.Reason.Text() + " " + d.Detail}, mismatchLines(d)...), "; "))
}

func sameSigner(a, b policy.Identity) bool {
	return a.Kind == b.Kind && a.Value == b.Value && a.Issuer == b.Issuer
}

// mismatchLines are the fields in which the nearest rule differs.
func mismatchLines(d policy.Decision) []string {
	n, ok := d.Nearest()
	if !ok {
		return nil
	}
	var out []string
	for _, m := range n.Mismatches {
		out = append(
			out, fmt.Sprintf("rule %s: %s is %s, the rule says %s", n.Rule, m.Field, report.OrMissing(m.Got), m.Want),
		)
	}
	return out
}

// releasePredicate is the predicate of a release statement. The tag is what a
// verdict rests on; in-toto leaves further fields to whoever needs them.
// https://github.com/in-toto/attestation/blob/main/spec/predicates/release.md
type releasePredicate struct {
	PURL string `json:"purl"`
	Tag  string `json:"tag,omitempty"`
}

// content returns what is signed of a file: its digest, or a release statement
// about it.
func (o *releaseOptions) content(z *gate.Authorization, s gate.Subject) (sigstore.Content, error) {
	alg := o.hash
	if o.statement || o.purl.Given {
		alg = "sha256" // of its subject, whatever signs it
	}
	i := slices.IndexFunc(s.Digests, func(d policy.Digest) bool { return d.Alg == alg })
	if i < 0 {
		return sigstore.Content{}, policy.Faultf(policy.Internal, "%s has no digest", s.Arg)
	}
	var c sigstore.Content
	var err error
	if !o.statement && !o.purl.Given {
		c.Digest, err = hex.DecodeString(s.Digests[i].Hex)
		return c, err
	}
	p := releasePredicate{PURL: o.purl.Value}
	if o.statement {
		p = releasePredicate{PURL: repositoryPURL(z.Found.Repository, z.Statement), Tag: z.Statement}
	}
	c.Statement, err = json.Marshal(map[string]any{
		"_type": report.StatementType, "predicateType": sigstore.PredicateGitHubRelease, "predicate": p,
		"subject": []any{map[string]any{"name": s.Name, "digest": map[string]string{"sha256": s.Digests[i].Hex}}},
	})
	return c, err
}

// repositoryPURL names a tag of a repository as a package URL.
// https://github.com/package-url/purl-spec
func repositoryPURL(repo policy.Locator, tag string) string {
	dir, name := "", repo.Path()
	if i := strings.LastIndex(name, "/"); i >= 0 {
		dir, name = name[:i], name[i+1:]
	}
	switch repo.Host() {
	case "github.com":
		return packageurl.NewPackageURL("github", dir, name, tag, nil, "").ToString()
	case "gitlab.com":
		return packageurl.NewPackageURL("gitlab", dir, name, tag, nil, "").ToString()
	}
	return packageurl.NewPackageURL(
		"generic", "", name, tag, packageurl.QualifiersFromMap(map[string]string{"vcs_url": "git+" + repo.String()}), "",
	).
		ToString()
}
