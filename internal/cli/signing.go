// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2/maybe"
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

const (
	maxTokenReply    = 64 << 10
	maxSigningConfig = 1 << 20
	sigstoreAudience = "sigstore"
	defaultIssuer    = "https://oauth2.sigstore.dev/auth"
)

// signOptions are the flags of verbs that sign.
type signOptions struct {
	repoOptions
	configs []string
	key     typed
	device  bool
	yes     bool
	publish bool
	ifReady bool
	output  typed
	version *draftVersion // of the last commit, once it is read
	// withoutV1 leaves out Rekor v1, for good: see docs/maintainer.md.
	withoutV1 bool
	signer    signerFlags
}

func (o *signOptions) withoutFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.withoutV1, "without-v1", false, "log in Rekor v2 alone: the version is in no index and never ordered against releases in Rekor v1, also later")
}

func (o *signOptions) signFlags(cmd *cobra.Command) {
	o.git.name, o.output.name = "DIR", "DIR"
	f := cmd.Flags()
	f.Var(&o.git, "git", "work in the repository in this directory instead of the working directory")
	f.StringArrayVar(&o.roots, "trusted-root", nil, "trust this trusted_root.json `FILE` instead of Sigstore's public instance")
	f.StringArrayVar(&o.configs, "signing-config", nil, "sign with the services that this signing config `FILE` names; may be repeated, one for each generation of the log")
	f.BoolVar(&o.scan, "scan", false, "read all entries of Rekor v2 instead of asking an index")
	f.Var(&o.output, "output", "write the signature files below this directory instead of into the repository")
}

// draftVersion is a committed policy on its way to become a version.
type draftVersion struct {
	*found
	doc       *policy.Document
	statement []byte
	dir       string // of the repository
}

// committed reads the policy of the last commit, never of the working tree, and
// finds out which statement it is.
func (a *app) committed(ctx context.Context, o *signOptions) (*draftVersion, error) {
	if !o.git.set {
		o.git.value, o.git.set = ".", true
	}
	r, err := git.Open(o.git.value)
	if err != nil {
		return nil, gitFault(err)
	}
	defer r.Close()
	var text []byte
	head, err := r.Head()
	if err == nil {
		text, err = r.File(head, rekorbind.PolicyFile)
	}
	if errors.Is(err, git.ErrNotFound) {
		return nil, &fault{reason: policy.PolicyUnreadable, msg: rekorbind.PolicyFile + " is not in the last commit", hint: "write it, `git add` and `git commit` it, then sign"}
	} else if err != nil {
		return nil, gitFault(err)
	}
	return a.draft(ctx, o, text)
}

// draft finds out which statement a policy is that is, or will be, committed in
// the repository that --git names.
func (a *app) draft(ctx context.Context, o *signOptions, text []byte) (*draftVersion, error) {
	v := &draftVersion{dir: o.git.value}
	var err error
	if v.doc, err = policy.Parse(text); err != nil {
		return nil, faultf(policy.PolicyValue, "%s: %s", rekorbind.PolicyFile, err)
	}
	o.repo.value, o.repo.set = v.doc.Content().Repository.String(), true
	if v.found, err = a.find(ctx, &o.repoOptions); err != nil {
		return nil, err
	}
	if err := a.former(ctx, o, v); err != nil {
		return nil, err
	}
	previous, err := v.previous(text)
	if err != nil {
		return nil, err
	}
	if v.statement, err = rekorbind.Encode(text, previous); err != nil {
		return nil, faultf(policy.PolicyValue, "%s: %s", rekorbind.PolicyFile, err)
	}
	return v, nil
}

// former finds the chain of a repository that is being renamed under its former
// name: what is bound under the new one is the version that says so, if any.
func (a *app) former(ctx context.Context, o *signOptions, v *draftVersion) error {
	c := v.doc.Content()
	if v.res.Chain.Reason() != policy.NoBinding || c.Version == 1 {
		return nil
	}
	names := v.res.Named(c.Version - 1)
	if len(names) != 1 || names[0] == c.Repository {
		return nil
	}
	o.repo.value = names[0].String()
	f, err := a.find(ctx, &o.repoOptions)
	if err != nil {
		return err
	}
	if n := len(f.res.Chain.Versions()); n == c.Version-1 {
		a.err.line("note: version %d is about %s", n, names[0])
		v.found = f
	}
	return nil
}

// previous returns the digest of the statement that the policy follows.
func (v *draftVersion) previous(text []byte) (string, error) {
	n := v.doc.Content().Version
	chain := v.res.Chain
	versions := chain.Versions()
	switch reason := chain.Reason(); {
	case reason == policy.NoBinding && n == 1:
		return "", nil
	case reason == policy.NoBinding:
		return "", faultf(policy.NoBinding, "the policy is version %d, and nothing of this repository is bound yet", n)
	case n == 1 && len(versions) == 0 && v.awaited(text):
		return "", nil
	case reason != "" && !(reason == policy.Undisclosed && len(versions) >= n-1 && n > 1):
		f := faultf(reason, "%s: %s", v.repo, reason.Info().Text)
		for _, p := range chain.Problems() {
			f.more = append(f.more, p.Detail)
		}
		if v.local && reason == policy.Undisclosed {
			f.hint = behind
		}
		return "", f
	}
	if len(versions) >= n-1 && n > 1 {
		return versions[n-2].Statement, nil
	}
	if n == 1 && len(versions) > 0 {
		return "", nil
	}
	return "", &fault{reason: policy.Usage, msg: fmt.Sprintf("the policy is version %d, version %d is in force", n, len(versions)), hint: fmt.Sprintf("write version = %d", len(versions)+1)}
}

// awaited reports whether a run that bound the policy as the first version was
// interrupted, and all that is undecided is how far it came.
func (v *draftVersion) awaited(text []byte) bool {
	first, err := rekorbind.Encode(text, "")
	return err == nil && v.res.Chain.Awaits(policy.Sum(first))
}

// signatures says who signed the statement, who has not, and how many signatures
// it needs at least.
func (v *draftVersion) signatures() (by, missing []string, need int, err error) {
	st, err := v.res.Standing(v.statement)
	if err != nil {
		return nil, nil, 0, err
	}
	tallies := []policy.Tally{st.Own}
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

// services returns where to sign.
func (a *app) services(ctx context.Context, o *signOptions) (sigstore.Services, error) {
	var configs [][]byte
	for _, path := range o.configs {
		data, err := file.Read(path, maxSigningConfig)
		if err != nil {
			return sigstore.Services{}, faultf(policy.Usage, "--signing-config: %s", err)
		}
		configs = append(configs, data)
	}
	if len(configs) == 0 {
		if len(o.roots) > 0 {
			return sigstore.Services{}, &fault{reason: policy.Usage, msg: "--trusted-root without --signing-config", hint: "a private instance is named by both"}
		}
		var err error
		if configs, err = a.SigningConfigs(ctx); err != nil {
			return sigstore.Services{}, faultf(policy.TrustRootMissing, "signing config: %s", err)
		}
	}
	s, err := sigstore.ParseSigningConfigs(a.Now(), configs...)
	if err != nil {
		return s, faultf(policy.TrustRootInvalid, "signing config: %s", err)
	}
	if o.withoutV1 {
		if s.RekorV2 == "" {
			return s, &fault{reason: policy.Usage, msg: "--without-v1: the signing config names no Rekor v2", hint: "name one that does with --signing-config"}
		}
		s.RekorV1 = ""
	}
	return s, nil
}

// personal returns the token of a person: the ambient one, or by signing in.
func (a *app) personal(ctx context.Context, o *signOptions, s sigstore.Services) (string, error) {
	token, err := a.ambient(ctx, sigstoreAudience)
	if err == nil || !errors.Is(err, oidc.ErrNoToken) {
		return token, err
	}
	if !a.Terminal && !o.device {
		return "", &fault{reason: policy.LoginNeeded, msg: "nobody can sign in without a terminal", hint: "set SIGSTORE_ID_TOKEN, or use --device or --key"}
	}
	issuer := s.Issuer
	if issuer == "" {
		issuer = defaultIssuer
	}
	say := func(text string) { a.err.line("%s", text) }
	open := func(url string) error {
		a.err.line("sign in in the browser: %s", url)
		return openBrowser(url)
	}
	token, err = sigstore.SignIn(ctx, issuer, o.device, say, open)
	if err != nil {
		return "", faultf(policy.LoginNeeded, "signing in: %s", err)
	}
	return token, nil
}

func openBrowser(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	_ = exec.Command(name, args...).Start() // the URL was printed, too
	return nil
}

// agree asks on a terminal; without one, --yes must have been given.
func (a *app) agree(o *signOptions, question string) error {
	if o.yes {
		return nil
	}
	if !a.Terminal || a.Stdin == nil {
		return &fault{reason: policy.Usage, msg: question, hint: "there is no terminal to answer on; say --yes"}
	}
	a.err.raw(question + " [y/N] ")
	answer, err := io.ReadAll(io.LimitReader(lineReader{a.Stdin}, 16))
	if err != nil || !strings.EqualFold(strings.TrimSpace(string(answer)), "y") {
		return &fault{reason: policy.Usage, msg: "not signed"}
	}
	return nil
}

// lineReader reads up to the end of a line.
type lineReader struct{ r io.Reader }

func (l lineReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:1])
	if n == 1 && p[0] == '\n' {
		return 0, io.EOF
	}
	return n, err
}

// write signs the statement and puts the files where they belong.
func (a *app) write(ctx context.Context, o *signOptions, v *draftVersion, s sigstore.Services, r rekorbind.Request) error {
	state, err := a.state(v.root)
	if err != nil {
		return err
	}
	r.Statement, r.Version = v.statement, v.doc.Content().Version
	var index *web.Client
	if s.RekorV1 != "" {
		if index, err = web.New(s.RekorV1, a.Transport, userAgent()); err != nil {
			return faultf(policy.TrustRootInvalid, "signing config: %s", err)
		}
		if a.Timeout > 0 {
			index.SetTimeout(a.Timeout)
		}
	}
	w := &rekorbind.Writer{Root: v.root, Client: &sigstore.Client{Services: s, Transport: a.Transport, Timeout: a.Timeout}, Journal: state, Index: index, Now: a.Now, Step: a.steps(s)}
	files, err := w.Write(ctx, r)
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case err != nil:
		return &fault{reason: policy.SigningFailed, msg: err.Error(), hint: "run the command again: it goes on where it stopped"}
	}
	dir := v.dir
	if o.output.set {
		dir = o.output.value
	}
	for _, x := range files {
		path := filepath.Join(dir, filepath.FromSlash(x.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return unwritten(err)
		}
		if err := maybe.WriteFile(path, x.Data, 0o644); err != nil {
			return unwritten(err)
		}
		a.out.line("%s", path)
	}
	return nil
}

// steps prints what is done of a signature, after each step that others can see.
func (a *app) steps(s sigstore.Services) func(string) {
	text := map[string]string{
		rekorbind.StepFound: "found the signature of an earlier run in " + s.RekorV1, rekorbind.StepDraft: "signed",
		rekorbind.StepV1: "logged in " + s.RekorV1, rekorbind.StepV2: "logged in " + s.RekorV2,
	}
	return func(step string) {
		a.err.line("done: %s", text[step])
		if a.Step != nil {
			a.Step(step)
		}
	}
}

func (a *app) signCommand() *cobra.Command {
	o := &signOptions{}
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "sign the committed policy as one of its maintainers",
		Long: `Sign makes a maintainer's signature under the policy of the last commit, logs it in
every log of the Sigstore instance and writes it into .repopolicy/signatures. It asks
for a sign-in in the browser, takes the token that the environment offers
(SIGSTORE_ID_TOKEN), or uses a key, or a program that has it. The signer's e-mail address becomes public for
ever. A run that was interrupted is repeated: nothing is signed or logged twice.`,
		Example: "  repopolicy sign",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.sign(cmd.Context(), o) },
	}
	o.signFlags(cmd)
	o.key.name = "FILE"
	f := cmd.Flags()
	f.Var(&o.key, "key", "sign with this PEM private key instead of signing in")
	o.signer.program.name, o.signer.public.name = "PROGRAM", "FILE"
	f.Var(&o.signer.program, "signer", "let this program sign: a SHA-256 on its standard input, an ASN.1 ECDSA signature on its standard output; no shell")
	f.StringArrayVar(&o.signer.args, "signer-arg", nil, "`ARGUMENT` for the program; may be repeated")
	f.Var(&o.signer.public, "public-key", "PEM public key of the program's key")
	f.BoolVar(&o.device, "device", false, "sign in with a code that is typed into a browser elsewhere")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask whether name and address may become public")
	o.withoutFlag(cmd)
	return cmd
}

func (a *app) sign(ctx context.Context, o *signOptions) error {
	if o.key.set && o.signer.set() {
		return faultf(policy.Usage, "--key and --signer contradict each other")
	}
	v, err := a.committed(ctx, o)
	if err != nil {
		return err
	}
	s, err := a.services(ctx, o)
	if err != nil {
		return err
	}
	content := v.doc.Content()
	a.err.line("signing version %d of the policy of %s", content.Version, content.Repository)
	a.err.line("  policy     %s", v.doc.Digest())
	a.err.line("  statement  sha256:%s", policy.Sum(v.statement))
	r := rekorbind.Request{}
	if o.key.set {
		data, err := file.Read(o.key.value, maxTokenReply)
		if err != nil {
			return faultf(policy.Usage, "--key: %s", err)
		}
		if r.Key, err = sigstore.ParsePrivateKey(data); err != nil {
			return faultf(policy.Usage, "--key: %s: %s", o.key.value, err)
		}
	} else if o.signer.set() {
		if r.Key, err = o.signer.signer(); err != nil {
			return err
		}
	}
	if r.Key != nil {
		id, err := sigstore.KeyOf(r.Key)
		if err != nil {
			return faultf(policy.Usage, "%s", err)
		}
		r.Who, r.Check = "key "+id, v.member
		return a.write(ctx, o, v, s, r)
	}
	token, err := a.personal(ctx, o, s)
	if err != nil {
		return err
	}
	return a.signAs(ctx, o, v, s, token)
}

// signAs signs the draft as the person to whom the token belongs.
func (a *app) signAs(ctx context.Context, o *signOptions, v *draftVersion, s sigstore.Services, token string) error {
	claims, err := oidc.UnverifiedClaims(token)
	if err != nil {
		return faultf(policy.LoginNeeded, "%s", err)
	}
	r := rekorbind.Request{}
	who := claims.Email
	if who == "" {
		who = claims.Subject
	}
	if err := a.agree(o, fmt.Sprintf("%s, signed in at %s, becomes public for ever with the signature. Go on?", who, claims.Issuer)); err != nil {
		return err
	}
	r.Who = who + " " + claims.Issuer + " " + claims.Connector
	r.Mine = func(id policy.Identity) bool {
		return id.Kind == policy.KindEmail && id.Value == claims.Email && slices.Contains([]string{claims.Issuer, claims.Connector}, id.Issuer)
	}
	r.Token = func(context.Context) (string, error) { return token, nil }
	r.Check = v.member
	return a.write(ctx, o, v, s, r)
}

// member returns why an identity cannot sign the draft, before that is public.
func (v *draftVersion) member(id policy.Identity) error {
	if v.doc.Content().Maintainers.Names(id) || v.headNames(id) {
		return nil
	}
	who := id.Value + " by " + id.Issuer
	if id.Kind == policy.KindKey {
		who = "the key sha256:" + id.Value
	}
	return &fault{reason: policy.NotMaintainer, msg: who + " is no maintainer in this version or the one before", hint: "nothing was logged; sign in as a member, or add this identity to the policy"}
}

// headNames reports whether the version in force names the identity as a
// maintainer.
func (v *draftVersion) headNames(id policy.Identity) bool {
	vs := v.res.Chain.Versions()
	return len(vs) > 0 && vs[len(vs)-1].Document.Content().Maintainers.Names(id)
}

func (a *app) bindCommand() *cobra.Command {
	o := &signOptions{}
	form := &format{allowed: []string{"text", "github"}}
	cmd := &cobra.Command{
		Use:   "bind",
		Short: "bind the committed policy to the repository, as its own workflow",
		Long: `Bind is the one step of the workflow .github/workflows/repopolicy.yml. It checks
that enough maintainers signed the policy of the last commit, signs it as the
repository, logs that, and writes the signature for a later job to push to the
branch "repopolicy". It refuses before anything is logged: without a quorum, in a
workflow or event that proves nothing, and for a private repository, whose name
would become public, unless --publish-name is given.`,
		Example: "  repopolicy bind --output bound",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.bind(cmd.Context(), o)
			if form.value == "github" {
				a.githubBound(o.version, err)
			}
			return err
		},
	}
	o.signFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	cmd.Flags().BoolVar(&o.publish, "publish-name", false, "publish the name of a private repository")
	cmd.Flags().BoolVar(&o.ifReady, "if-ready", false, "do nothing, and succeed, while signatures are missing")
	o.withoutFlag(cmd)
	return cmd
}

func (a *app) bind(ctx context.Context, o *signOptions) error {
	v, err := a.committed(ctx, o)
	if err != nil {
		return err
	}
	o.version = v
	if vs := v.res.Chain.Versions(); len(vs) > 0 && vs[len(vs)-1].Statement == policy.Sum(v.statement) && v.res.Chain.Reason() == "" {
		a.err.line("version %d is bound already", vs[len(vs)-1].Number)
		return nil
	}
	_, missing, need, err := v.signatures()
	if err != nil {
		return faultf(policy.BelowThreshold, "version %d: %s", v.doc.Content().Version, err)
	}
	if need > 0 && o.ifReady {
		a.err.line("version %d needs %d more %s of %s; nothing is bound", v.doc.Content().Version, need, plural(need, "signature"), strings.Join(missing, ", "))
		o.version = nil
		return nil
	}
	if need > 0 {
		return &fault{reason: policy.BelowThreshold, msg: fmt.Sprintf("version %d needs %d more %s of %s", v.doc.Content().Version, need, plural(need, "signature"), strings.Join(missing, ", ")), hint: "they run `repopolicy sign`, commit and push"}
	}
	s, err := a.services(ctx, o)
	if err != nil {
		return err
	}
	token, err := a.ambient(ctx, sigstoreAudience)
	if err != nil {
		return &fault{reason: policy.LoginNeeded, msg: err.Error(), hint: "bind runs in the repository's workflow, in a job with `id-token: write`"}
	}
	claims, err := oidc.UnverifiedClaims(token)
	if err != nil {
		return faultf(policy.LoginNeeded, "%s", err)
	}
	if claims.Visibility != "" && claims.Visibility != "public" && !o.publish {
		return &fault{reason: policy.Private, msg: fmt.Sprintf("the repository is %s, and its name would become public", claims.Visibility), hint: "say --publish-name if that is meant"}
	}
	var forges *rekorbind.Forges
	return a.write(ctx, o, v, s, rekorbind.Request{Signature: rekorbind.Signature{
		Who:   claims.Subject + " " + claims.Issuer,
		Token: func(context.Context) (string, error) { return token, nil },
		// Whatever run of this repository it was, it spoke for it; but one of another
		// branch, where the certificate does not rule that out, did not.
		Mine: func(id policy.Identity) bool {
			b, err := forges.Authority(id)
			return err == nil && claims.RepositoryID != "" && id.SourceRepositoryID == claims.RepositoryID && (b.Ref == "" || b.Ref == v.snapshot.Default)
		},
		Check: func(id policy.Identity) error {
			b, err := forges.Authority(id)
			if err != nil {
				return &fault{reason: policy.NoAuthority, msg: "this run proves nothing about the repository: " + err.Error(), hint: "nothing was logged; bind runs in .github/workflows/repopolicy.yml of the default branch, started by repository_dispatch or schedule"}
			}
			if b.Repository != v.doc.Content().Repository && !v.wasNamed(b.Repository) {
				return &fault{reason: policy.NoAuthority, msg: fmt.Sprintf("the workflow runs in %s, the policy is about %s", b.Repository, v.doc.Content().Repository), hint: "nothing was logged"}
			}
			return nil
		},
	}})
}

// wasNamed reports whether the version in force is about that repository: a
// rename is bound under either name.
func (v *draftVersion) wasNamed(l policy.Locator) bool {
	vs := v.res.Chain.Versions()
	return len(vs) > 0 && vs[len(vs)-1].Document.Content().Repository == l
}

func (a *app) statusCommand() *cobra.Command {
	o := &signOptions{}
	form := &format{allowed: []string{"text", "github"}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "say who signed the committed policy, who still has to, and what is in force",
		Long: `Status compares the policy of the last commit with the one in force. With --format
github it also sets the step's output "ready": "true" if enough maintainers signed a
version that is not bound yet.`,
		Example: "  repopolicy status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.committed(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.warn(v.found)
			if form.value == "github" {
				a.writeRunnerFiles([]output{{"ready", strconv.FormatBool(v.ready())}}, "")
			}
			if p := v.summary(); p != nil {
				a.out.line("in force    version %d, expires %s, genesis %s, completeness %s", p.Version, p.Expires.Format(time.DateOnly), p.Genesis, p.Completeness)
				if p.Statement == "sha256:"+policy.Sum(v.statement) {
					a.out.line("committed   version %d, the same", p.Version)
					return nil
				}
			} else {
				a.out.line("in force    nothing")
			}
			c := v.doc.Content()
			a.out.line("committed   version %d, %s", c.Version, v.doc.Digest())
			by, missing, need, err := v.signatures()
			if err != nil {
				return faultf(policy.BelowThreshold, "version %d: %s", c.Version, err)
			}
			a.out.line("signed by   %s", orNobody(by))
			if need > 0 {
				a.out.line("next        %d more of %s run repopolicy sign, commit and push", need, strings.Join(missing, ", "))
			} else {
				a.out.line("next        push to the default branch; its workflow binds the version")
			}
			return nil
		},
	}
	o.signFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	return cmd
}

// ready reports whether the draft is a new version that enough maintainers
// signed.
func (v *draftVersion) ready() bool {
	if p := v.summary(); p != nil && p.Statement == "sha256:"+policy.Sum(v.statement) {
		return false
	}
	_, _, need, err := v.signatures()
	return err == nil && need == 0
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
