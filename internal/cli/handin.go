// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// offerTimeout is how long bind waits for a directory before it hands over what it has made.
const offerTimeout = 2 * time.Minute

func (a *app) handInCommand() *cobra.Command {
	o := &command.Lookup{}
	out := command.Once{Kind: "DIR"}
	cmd := &cobra.Command{
		Use:   "hand-in [-R URL | --git DIR]",
		Short: "hand the bound policy in to a directory, so that no forge can hide it",
		Long: `Hand-in gives a directory what is at hand of the versions of a repository's policy and
what it does not list yet: statements, signatures and bindings. A directory takes only
what a binding in the log shows, from anybody; what nobody hands in, and what it does
not find by itself, within the grace of 8 days lapses. It becomes public, with the text
of the policy. What it answers is a receipt, which is verified and kept: its word by
which leaf of its log it lists the version.`,
		Example: "  repopolicy hand-in --git . --directory directory.json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.handIn(cmd.Context(), o, &out) },
	}
	f := cmd.Flags()
	o.Repo.Kind, o.Git.Kind, o.Directory.Kind = "URL", "DIR", "FILE"
	f.VarP(&o.Repo, "repo", "R", "hand in the policy of this repository: a URL, or OWNER/NAME on github.com")
	f.Var(&o.Git, "git", "read the repository from this clone instead of fetching it")
	f.Var(&o.Directory, "directory",
		"hand in to the directory that this descriptor names, instead of that of the trust root")
	o.RootFlags(cmd, "")
	f.VarP(&out, "output", "o", "write the receipts into this directory, too")
	return cmd
}

func (a *app) handIn(ctx context.Context, o *command.Lookup, out *command.Once) error {
	if !o.Repo.Given && !o.Git.Given {
		return &policy.Fault{
			Reason: policy.Usage, Text: "which repository?",
			Hint: "repopolicy hand-in -R acme/widget --directory directory.json",
		}
	}
	if err := command.CheckFolders(out); err != nil {
		return err
	}
	if !o.Repo.Given {
		text, err := a.headPolicy(ctx, &signOptions{Lookup: *o})
		if err != nil {
			return err
		}
		doc, err := policy.Parse(text)
		if err != nil {
			return policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
		}
		o.Repo.Value, o.Repo.Given = doc.Content().Repository.String(), true
	}
	q, err := a.Query(o, false)
	if err != nil {
		return err
	}
	if !o.Directory.Given && len(o.TrustedRoots) > 0 {
		return whichDirectory()
	}
	f, d, err := a.Finder().Read(ctx, q)
	if err != nil {
		return err
	}
	if d == nil {
		return whichDirectory()
	}
	n, err := a.giveTo(ctx, d, f.Root, f.Repository, f.Files, out)
	if err == nil && n == 0 {
		a.Err.Line("nothing to hand in: the directory lists what is at hand and bound")
	}
	return err
}

func whichDirectory() *policy.Fault {
	return &policy.Fault{
		Reason: policy.Usage, Text: "which directory? The trust root names none",
		Hint: "name one with --directory FILE",
	}
}

// giveTo hands in what files show of a repository and the directory does not list, and
// returns of how many versions. Receipts are kept, and written into out if that is set.
func (a *app) giveTo(
	ctx context.Context,
	d *answers.Descriptor,
	root trust.Root,
	repo policy.Locator,
	files []bindings.File,
	out *command.Once,
) (int, error) {
	state, err := a.Finder().State(root)
	if err != nil {
		return 0, err
	}
	client, err := web.New(d.URL, a.Transport, command.UserAgent())
	if err != nil {
		return 0, policy.Faultf(policy.Usage, "--directory: %s", err)
	}
	if a.Timeout > 0 {
		client.SetTimeout(a.Timeout)
	}
	done := 0
	var failed error // first; the other versions are handed in all the same
	for _, o := range a.unlisted(ctx, d, client, root, repo, files, state) {
		receipt, signed, err := d.HandIn(ctx, client, o)
		if errors.Is(err, answers.ErrNotBound) {
			a.Err.Line(
				"note: version %d, sha256:%s: no binding of it is known", o.Statement.Version(), o.Statement.Digest(),
			)
			continue
		}
		if err != nil {
			f := &refusedHandIn{
				policy.Fault{
					Reason: policy.HandInFailed,
					Text:   fmt.Sprintf("version %d: %s", o.Statement.Version(), saidBy(err)),
				},
				err,
			}
			if failed == nil {
				failed = f
			} else {
				a.Err.Line("note: %s", f)
			}
			if errors.As(err, new(*web.StatusError)) && !endpointless(err) {
				continue
			}
			return done, failed
		}
		path, err := state.WriteReceipt(d.Origin(), receipt, signed)
		if err == nil && out != nil && out.Given {
			path = filepath.Join(out.Value, receipt.Statement+".note")
			err = file.WriteBelow(out.Value, receipt.Statement+".note", signed, 0o644)
		}
		if err != nil {
			return done, command.Unwritten(err)
		}
		done++
		a.Err.Line("handed in: version %d, which %s lists by its leaf %d", o.Statement.Version(), d.URL, receipt.Leaf)
		a.Err.Line("receipt: %s", path)
	}
	return done, failed
}

// refusedHandIn is the fault that a directory did not take something, and why.
type refusedHandIn struct {
	policy.Fault
	err error
}

func (r *refusedHandIn) Unwrap() []error { return []error{&r.Fault, r.err} }

// unlisted returns what the directory does not list. If it gives no answer, as before its
// first build, that is all.
func (a *app) unlisted(
	ctx context.Context, d *answers.Descriptor, client *web.Client, root trust.Root, repo policy.Locator,
	files []bindings.File, state *memory.State,
) []bindings.Offer {
	all := answers.Unlisted(root.Root, root.Forges, files, nil)
	names := []policy.Locator{repo}
	for _, o := range all {
		if r := o.Statement.Repository(); !slices.Contains(names, r) {
			names = append(names, r)
		}
	}
	dir := &answers.Directory{
		Root: root.Root, Forges: root.Forges, Descriptor: d, Client: client, Heads: state, Now: a.Now,
	}
	found, err := dir.Find(ctx, bindings.Query{Repository: repo, Names: names})
	if err != nil {
		a.Err.Line("note: no answer from the %s: %s", dir.Name(), err)
		return all
	}
	return answers.Unlisted(root.Root, root.Forges, files, found.Directory)
}

// saidBy returns an error with what the service said, which nobody vouches for.
func saidBy(err error) string {
	var status *web.StatusError
	if !errors.As(err, &status) || status.Text == "" {
		return err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(status.Text), "\n")
	return fmt.Sprintf("%s: %q", err, line)
}

// endpointless reports whether a directory takes nothing that is handed in to it: one that is
// files on a web server.
func endpointless(err error) bool {
	var status *web.StatusError
	return errors.As(err, &status) && (status.Missing() || status.Code == 405 || status.Code == 501)
}

// offer hands in what bind has made, and what was there before, before anybody else gets it. That
// fails nothing: the version is bound.
func (a *app) offer(ctx context.Context, o *signOptions, v *draftVersion, made []bindings.File) {
	d := v.Root.Directory
	if o.handIn.Given {
		d = o.handsTo
	}
	if d == nil || o.private && !o.handIn.Given {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, offerTimeout)
	defer cancel()
	_, err := a.giveTo(ctx, d, v.Root, v.doc.Content().Repository, slices.Concat(v.Files, made), nil)
	if err == nil || !o.handIn.Given && endpointless(err) {
		return
	}
	a.Err.Line("warning: not handed in to the directory: %s", err)
	again := "repopolicy hand-in --git " + cmp.Or(o.Git.Value, ".")
	if o.handIn.Given {
		again += " --directory " + o.handIn.Value
	}
	a.Err.Line("hint: the version is bound; when its files are pushed: `%s`", again)
}
