// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
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
	handIn  typed
	handsTo *rekorbind.Descriptor // that handIn names
	private bool                  // the repository is not public
	version *draftVersion         // of the last commit, once it is read
	places  bool                  // it binds: every open log has it, and place proofs are made
	// withoutV1 leaves out Rekor v1, for good: see docs/maintainer.md.
	withoutV1 bool
	// withV2 asks the public instance for the services of Rekor v2, too.
	withV2 bool
	signer signerFlags
	// afterLog, if set, gets what was signed and logged before it is written.
	afterLog func(made []rekorbind.File)
	expect   typed // who is to sign in
}

func (o *signOptions) logFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.withV2, "with-v2", false, "log in Rekor v2 of Sigstore's public instance, too")
	cmd.Flags().BoolVar(&o.withoutV1, "without-v1", false, "log in Rekor v2 alone: the version is in no index and never ordered against releases in Rekor v1, also later")
}

func (o *signOptions) signFlags(cmd *cobra.Command) {
	o.git.name, o.output.name = "DIR", "DIR"
	f := cmd.Flags()
	f.Var(&o.git, "git", "work in the repository in this directory instead of the working directory")
	o.rootFlags(cmd, "")
	f.StringArrayVar(&o.configs, "signing-config", nil, "sign with the services that this signing config `FILE` names; may be repeated, one for each generation of the log")
	f.BoolVar(&o.scan, "scan", false, "read all entries of Rekor v2 instead of asking an index")
	o.directoryFlags(f)
	f.Var(&o.output, "output", "write the signature files below this directory instead of into the repository")
}

// readConfigs reads the signing configs that are named; none for those of the instance.
func (o *signOptions) readConfigs() ([][]byte, error) {
	if o.withV2 && (o.withoutV1 || len(o.configs) > 0) {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--with-v2 is about Sigstore's public instance, beside Rekor v1",
			Hint: "of another instance name both signing configs with --signing-config; --without-v1 implies Rekor v2",
		}
	}
	var configs [][]byte
	for _, path := range o.configs {
		data, err := file.Read(path, maxSigningConfig)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "--signing-config: %s", err)
		}
		configs = append(configs, data)
	}
	if len(configs) == 0 && len(o.roots) > 0 {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--trusted-root without --signing-config",
			Hint: "a private instance is named by both",
		}
	}
	return configs, nil
}

// services returns where to sign for a repository.
func (a *app) services(ctx context.Context, o *signOptions, repo policy.Locator) (sigstore.Services, error) {
	configs, err := o.readConfigs()
	if err != nil {
		return sigstore.Services{}, err
	}
	if len(configs) == 0 {
		name, c, err := a.finder().RootOf(o.trust(), repo)
		if err != nil {
			return sigstore.Services{}, err
		}
		switch v2 := o.withV2 || o.withoutV1; {
		case name == string(trust.PublicGood) && a.SigningConfigs != nil:
			configs, err = a.SigningConfigs(ctx, v2)
		case name == string(trust.PublicGood):
			configs, err = trust.SigningConfigs(ctx, a.finder().Followed(trust.Options{}), v2)
		default:
			configs, err = c.SigningConfigs(ctx, name, a.finder().Named(c, trust.Options{}))
		}
		if err != nil {
			return sigstore.Services{}, policy.Faultf(policy.TrustRootMissing, "signing config: %s", err)
		}
	}
	return a.parseConfigs(o, configs)
}

// parseConfigs returns where signing configs say that is signed.
func (a *app) parseConfigs(o *signOptions, configs [][]byte) (sigstore.Services, error) {
	s, err := sigstore.ParseSigningConfigs(a.Now(), configs...)
	if err != nil {
		return s, policy.Faultf(policy.TrustRootInvalid, "signing config: %s", err)
	}
	if err := s.Secret(); err != nil {
		return s, policy.Faultf(policy.TrustRootInvalid, "signing config: %s", err)
	}
	if o.withoutV1 {
		if s.RekorV2 == "" {
			return s, &policy.Fault{
				Reason: policy.Usage, Text: "--without-v1: the signing config names no Rekor v2",
				Hint: "name one that does with --signing-config",
			}
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
		return "", &policy.Fault{
			Reason: policy.LoginNeeded, Text: "nobody can sign in without a terminal",
			Hint: "set SIGSTORE_ID_TOKEN, or use --device or --key",
		}
	}
	issuer := s.Issuer
	if issuer == "" {
		issuer = defaultIssuer
	}
	say := func(text string) { a.err.Line("%s", text) }
	open := func(url string) error {
		a.err.Line("sign in in the browser: %s", url)
		return openBrowser(url)
	}
	resume := budget.Pause(ctx) // people take the time they need
	defer resume()
	token, err = sigstore.SignIn(ctx, issuer, o.device, a.Transport, say, open)
	if err != nil {
		return "", policy.Faultf(policy.LoginNeeded, "signing in: %s", err)
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
		return &policy.Fault{Reason: policy.Usage, Text: question, Hint: "there is no terminal to answer on; say --yes"}
	}
	a.err.Ask(question + " [y/N]")
	answer, err := io.ReadAll(io.LimitReader(lineReader{a.Stdin}, 16))
	if err != nil || !strings.EqualFold(strings.TrimSpace(string(answer)), "y") {
		return &policy.Fault{Reason: policy.Usage, Text: "not signed"}
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
	state, err := a.finder().State(v.Root)
	if err != nil {
		return err
	}
	r.Statement, r.Version = v.statement, v.doc.Content().Version
	if v.Root.Forges.Binder(v.doc.Content().Repository) == chain.BoundByMaintainers {
		o.places = true // what they sign binds
	}
	var index *web.Client
	if s.RekorV1 != "" {
		if index, err = web.New(s.RekorV1, a.Transport, userAgent()); err != nil {
			return policy.Faultf(policy.TrustRootInvalid, "signing config: %s", err)
		}
		if a.Timeout > 0 {
			index.SetTimeout(a.Timeout)
		}
	}
	w := &rekorbind.Writer{Root: v.Root.Root, Client: &sigstore.Client{Services: s, Transport: a.Transport, Timeout: a.Timeout}, Journal: state, Index: index, Now: a.Now, Step: a.steps(s), Everywhere: o.places, Warn: func(text string) { a.err.Line("warning: %s", text) }}
	if o.places {
		if w.Places, err = a.dater(v.Root, w.Client); err != nil {
			return policy.Faultf(policy.TrustRootInvalid, "%s", err)
		}
	}
	files, err := w.Write(ctx, r)
	var f *policy.Fault
	switch {
	case errors.As(err, &f):
		return f
	case err != nil:
		return &policy.Fault{
			Reason: policy.SigningFailed, Text: err.Error(),
			Hint: "run the command again: it goes on where it stopped",
		}
	}
	if o.afterLog != nil {
		o.afterLog(files)
	}
	if err := a.put(o, v, files); err != nil {
		return err
	}
	a.adviseCopy(ctx, o, files)
	return nil
}

// adviseCopy says how to change a workflow that was written before there were place proofs, and
// leaves them behind.
func (a *app) adviseCopy(ctx context.Context, o *signOptions, files []rekorbind.File) {
	if !slices.ContainsFunc(files, func(f rekorbind.File) bool { return rekorbind.IsPlaceName(f.Name) }) {
		return
	}
	r, err := git.Open(ctx, o.git.value)
	if err != nil {
		return
	}
	defer r.Close()
	head, err := r.Head()
	if err != nil {
		return
	}
	for _, name := range []string{binding.Workflow, binding.GitLabBind} {
		text, err := r.File(head, name)
		if err != nil {
			continue
		}
		if n, line := binding.LeavesPlaces(text); n > 0 {
			a.err.Line("warning: %s:%d leaves the place proofs behind", name, n)
			a.err.Line("hint: write there: %s", line)
		}
	}
}

// put writes files where they belong.
func (a *app) put(o *signOptions, v *draftVersion, files []rekorbind.File) error {
	dir, write := v.dir, file.WriteIn
	if o.output.set {
		dir, write = o.output.value, file.WriteBelow
	}
	for _, x := range files {
		if err := write(dir, x.Name, x.Data, 0o644); err != nil {
			return unwritten(err)
		}
		a.out.Line("%s", filepath.Join(dir, filepath.FromSlash(x.Name)))
	}
	return nil
}

// dater returns what makes place proofs of the logs of a root.
func (a *app) dater(root trust.Root, c *sigstore.Client) (*rekorbind.Dater, error) {
	d := &rekorbind.Dater{Root: root.Root, Client: c, Logs: map[string]*web.Client{}, Now: a.Now, Warn: func(text string) { a.err.Line("warning: %s", text) }}
	for _, l := range root.Logs() {
		client, err := web.New(l.URL, a.Transport, userAgent())
		if err != nil {
			return nil, err
		}
		if a.Timeout > 0 {
			client.SetTimeout(a.Timeout)
		}
		d.Logs[l.ID] = client
	}
	return d, nil
}

// steps prints what is done of a signature, after each step that others can see.
func (a *app) steps(s sigstore.Services) func(string) {
	text := map[string]string{
		rekorbind.StepFound: "found the signature of an earlier run in " + s.RekorV1, rekorbind.StepDraft: "signed",
		rekorbind.StepV1: "logged in " + s.RekorV1, rekorbind.StepV2: "logged in " + s.RekorV2,
		rekorbind.StepMore: "logged in another open log of Rekor v2",
	}
	return func(step string) {
		a.err.Line("done: %s", text[step])
		if a.Step != nil {
			a.Step(step)
		}
	}
}
