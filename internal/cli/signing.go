// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// signOptions are the flags of verbs that sign.
type signOptions struct {
	command.Lookup
	command.Signing
	publish bool
	ifReady bool
	output  command.Once
	handIn  command.Once
	handsTo *answers.Descriptor // that handIn names
	private bool                // the repository is not public
	version *draftVersion       // of the last commit, once it is read
	places  bool                // it binds: every open log has it, and place proofs are made
	// afterLog, if set, gets what was signed and logged before it is written.
	afterLog func(made []bindings.File)
}

func (o *signOptions) signFlags(cmd *cobra.Command) {
	o.Git.Kind, o.output.Kind = "DIR", "DIR"
	f := cmd.Flags()
	f.Var(&o.Git, "git", "work in the repository in this directory instead of the working directory")
	o.RootFlags(cmd, "")
	f.Var(
		(*command.List)(&o.Configs), "signing-config",
		"sign with the services that this signing config `FILE` names; may be repeated, one for each generation of the log",
	)
	f.BoolVar(&o.Scan, "scan", false, "read all entries of Rekor v2 instead of asking an index")
	o.DirectoryFlags(f)
	f.VarP(&o.output, "output", "o", "write the signature files below this directory instead of into the repository")
}

// checkSigner refuses flags with which nothing can be signed, or not be written.
func (a *app) checkSigner(o *signOptions) error {
	if err := command.CheckFolders(&o.output); err != nil {
		return err
	}
	return a.CheckSigner(&o.Signing, o.Trust())
}

// write signs the statement and puts the files where they belong.
func (a *app) write(
	ctx context.Context, o *signOptions, v *draftVersion, s sigstore.Services, r signlog.Request,
) error {
	state, err := a.Finder().State(v.Root)
	if err != nil {
		return err
	}
	r.Statement, r.Version = v.statement, v.doc.Content().Version
	if v.Root.Forges.MaintainersBind(v.doc.Content().Repository) {
		o.places = true // what they sign binds
	}
	var index *web.Client
	if s.RekorV1 != "" {
		if index, err = web.New(s.RekorV1, a.Transport, command.UserAgent()); err != nil {
			return policy.Faultf(policy.TrustRootInvalid, "signing config: %s", err)
		}
		if a.Timeout > 0 {
			index.SetTimeout(a.Timeout)
		}
	}
	w := &signlog.Writer{
		Root:       v.Root.Root,
		Client:     &sigstore.Client{Services: s, Transport: a.Transport, Timeout: a.Timeout},
		Journal:    state,
		Index:      index,
		Now:        a.Now,
		Step:       a.steps(s),
		Everywhere: o.places,
		Warn:       func(text string) { a.Err.Line("warning: %s", text) },
	}
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
func (a *app) adviseCopy(ctx context.Context, o *signOptions, files []bindings.File) {
	if !slices.ContainsFunc(files, func(f bindings.File) bool { return bindings.IsPlaceName(f.Name) }) {
		return
	}
	r, err := git.Open(ctx, o.Git.Value)
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
			a.Err.Line("warning: %s:%d leaves the place proofs behind", name, n)
			a.Err.Line("hint: write there: %s", line)
		}
	}
}

// put writes files where they belong.
func (a *app) put(o *signOptions, v *draftVersion, files []bindings.File) error {
	dir, write := v.dir, file.WriteIn
	if o.output.Given {
		dir, write = o.output.Value, file.WriteBelow
	}
	for _, x := range files {
		if err := write(dir, x.Name, x.Data, 0o644); err != nil {
			return command.Unwritten(err)
		}
		a.Out.Line("%s", filepath.Join(dir, filepath.FromSlash(x.Name)))
	}
	return nil
}

// dater returns what makes place proofs of the logs of a root.
func (a *app) dater(root trust.Root, c *sigstore.Client) (*bindings.Dater, error) {
	d := &bindings.Dater{
		Root:   root.Root,
		Client: c,
		Logs:   map[string]*web.Client{},
		Now:    a.Now,
		Warn:   func(text string) { a.Err.Line("warning: %s", text) },
	}
	for _, l := range root.Logs() {
		client, err := web.New(l.URL, a.Transport, command.UserAgent())
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
		signlog.StepFound: "found the signature of an earlier run in " + s.RekorV1, signlog.StepDraft: "signed",
		signlog.StepV1: "logged in " + s.RekorV1, signlog.StepV2: "logged in " + s.RekorV2,
		signlog.StepMore: "logged in another open log of Rekor v2",
	}
	return func(step string) {
		a.Err.Line("done: %s", text[step])
		if a.Step != nil {
			a.Step(step)
		}
	}
}

// keyHolder returns as whom a key signs: as itself, or as whom its certificate names by the root,
// if what it signs now counts.
func (a *app) keyHolder(root *trust.Root, key *keys.Signer) (policy.Identity, error) {
	if key.Certificate == nil {
		return policy.Identity{Kind: policy.KindKey, Value: key.ID()}, nil
	}
	id, err := root.Certified(key.Certificate, a.Now())
	var refused *sigstore.Error
	if errors.As(err, &refused) {
		hint := "nothing was signed; `repopolicy trust show` says which authorities the root names"
		if refused.Reason == policy.RevocationUnknown {
			hint = "nothing was signed; " + refused.Reason.Hint()
		}
		return id, &policy.Fault{Reason: refused.Reason, Text: "--certificate: " + err.Error(), Hint: hint}
	}
	return id, err
}

// agreeToName asks whether the name in a certificate may become public.
func (a *app) agreeToName(o *command.Signing, id policy.Identity) error {
	return a.Agree(o, fmt.Sprintf("%s, certified by %s, becomes public for ever with the signature. Go on?", id.Value,
		id.Issuer))
}

// whoSigns names a key, or the certificate in whose name it signs, in the journal.
func whoSigns(key *keys.Signer) string {
	if key.Certificate != nil {
		return "certificate " + spelling.Sum(key.Certificate)
	}
	return "key " + key.ID()
}
