// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
)

type editOptions struct {
	signOptions
	expires  command.Once
	noEditor bool
}

func (o *editOptions) flags(cmd *cobra.Command) {
	o.Git.Kind, o.expires.Kind = "DIR", "DURATION"
	f := cmd.Flags()
	f.Var(&o.Git, "git", "work in the repository in this directory instead of the working directory")
	f.Var(&o.expires, "expires", "life of the new version, such as 1y or 90d (default 1y)")
	o.RootFlags(cmd, "")
	f.BoolVar(&o.Scan, "scan", false, "read all entries of Rekor v2 instead of asking an index")
	o.DirectoryFlags(f)
}

func (a *app) editCommand() *cobra.Command {
	o := &editOptions{}
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "begin the next version of the policy",
		Long: `Edit takes the policy of the last commit, counts its version up by one, moves its
expiry, and opens the editor that VISUAL or EDITOR names, if there is a terminal. What
comes back is written into the working tree only if it is a valid policy. Comments and
layout stay as they are. The committed version must be in force: what follows a version
that nobody bound would bind nothing.`,
		Example: "  repopolicy edit\n  repopolicy edit --no-editor --expires 90d",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.edit(cmd.Context(), o) },
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.noEditor, "no-editor", false, "open no editor: change version and expiry only")
	return cmd
}

func (a *app) renewCommand() *cobra.Command {
	o := &editOptions{noEditor: true}
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "begin a next version that differs in its expiry only",
		Long: "Renew is edit without an editor: it changes version and expiry of the policy, nothing\n" +
			"else. The new version has to be signed and bound like every other.",
		Example: "  repopolicy renew",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.edit(cmd.Context(), o) },
	}
	o.flags(cmd)
	return cmd
}

func (a *app) edit(ctx context.Context, o *editOptions) error {
	if !o.expires.Given {
		o.expires.Value = defaultExpiry
	}
	until, err := expiry(a.Now(), o.expires.Value)
	if err != nil {
		return policy.Faultf(policy.Usage, "--expires: %s", err)
	}
	if !o.Git.Given {
		dir, err := worktree.Find(".")
		if err != nil {
			return policy.Faultf(policy.Usage, "this is not a Git repository")
		}
		o.Git.Value, o.Git.Given = dir, true
	}
	committed, err := a.headPolicy(ctx, &o.signOptions)
	if err != nil {
		return err
	}
	old, err := policy.Parse(committed)
	if err != nil {
		return policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
	}
	tree, err := worktree.Open(o.Git.Value)
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	defer tree.Close()
	if err := unchanged(tree, old); err != nil {
		return err
	}
	text, err := bump(old, until)
	if err != nil {
		return err
	}
	var editor []string
	if !o.noEditor && a.Terminal && a.Stdin != nil {
		if editor, err = a.editorOf(); err != nil {
			return err
		}
	}
	v, err := a.draft(ctx, &o.signOptions, committed)
	if err != nil {
		return err
	}
	a.Warn(v.Found)
	if p := report.SummaryOfFound(v.Found); p == nil || v.Resolution.Chain.Reason() != "" ||
		p.Statement != "sha256:"+spelling.Sum(v.statement) {
		return &policy.Fault{
			Reason: policy.Usage, Text: fmt.Sprintf("the committed version %d is not in force yet", old.Content().Version),
			Hint: "`repopolicy status` says what it lacks; to change it before it is bound, edit the file itself and sign again",
		}
	}
	if len(editor) > 0 {
		if text, err = a.editor(ctx, editor, text); err != nil {
			return err
		}
	}
	doc, err := policy.Parse(text)
	if err != nil {
		return policy.Faultf(policy.PolicyValue, "%s: %s", bindings.PolicyFile, err)
	}
	if n := old.Content().Version + 1; doc.Content().Version != n {
		return policy.Faultf(policy.Usage, "the version must be %d, not %d", n, doc.Content().Version)
	}
	if err := unchanged(tree, old); err != nil { // meanwhile
		return err
	}
	if err := tree.Replace(bindings.PolicyFile, text); err != nil {
		return command.Unwritten(err)
	}
	name := fmt.Sprintf("%s, version ", bindings.PolicyFile)
	was, is := name+strconv.Itoa(old.Content().Version), name+strconv.Itoa(doc.Content().Version)
	a.Out.Text(string(diff.Diff(was, old.Text(), is, text)))
	for _, p := range doc.Lint(a.Now()) {
		a.Err.Line("warning: %s", p)
	}
	var checked report.Check
	checked.AddKeys(doc)
	for _, k := range checked.Keys {
		a.Err.Line("note: %s", k)
	}
	a.Err.Line("next: git commit -m 'version %d of the policy' %s, then repopolicy sign, commit and push",
		doc.Content().Version, bindings.PolicyFile)
	return nil
}

// unchanged is the error that the policy in the tree is not the committed one.
func unchanged(tree *worktree.Tree, committed *policy.Document) error {
	data, err := tree.Read(bindings.PolicyFile, spelling.MaxPolicyBytes)
	if err != nil {
		return policy.Faultf(policy.PolicyUnreadable, "%s", err)
	}
	if !bytes.Equal(data, committed.Text()) {
		return &policy.Fault{
			Reason: policy.Usage, Text: bindings.PolicyFile + " differs from the last commit",
			Hint: "commit or undo the changes first",
		}
	}
	return nil
}

// bump returns the text with the next version and that expiry; every other byte
// stays.
func bump(d *policy.Document, until time.Time) ([]byte, error) {
	lines := bytes.SplitAfter(bytes.Clone(d.Text()), []byte("\n"))
	for key, value := range map[string]string{
		"version": strconv.Itoa(d.Content().Version + 1), "expires": until.UTC().Format("2006-01-02T15:04:05Z"),
	} {
		n := d.Pos(key).Line - 1
		name, rest, ok := bytes.Cut(lines[n], []byte("="))
		if !ok || string(bytes.TrimSpace(name)) != key {
			return nil, policy.Faultf(policy.Internal, "%s is not in line %d", key, n+1)
		}
		lexeme := bytes.TrimLeft(rest, " \t")
		end := bytes.IndexAny(lexeme, " \t\r\n#")
		if end < 0 {
			end = len(lexeme)
		}
		space := rest[:len(rest)-len(lexeme)]
		lines[n] = bytes.Join([][]byte{name, []byte("="), space, []byte(value), lexeme[end:]}, nil)
	}
	text := bytes.Join(lines, nil)
	doc, err := policy.Parse(text)
	if err != nil {
		f := policy.Faultf(policy.PolicyValue, "the next version would not be valid: %s", err)
		if pe := (*policy.ParseError)(nil); errors.As(err, &pe) {
			f.Hint = pe.Problems[0].Hint
		}
		return nil, f
	}
	if c := doc.Content(); c.Version != d.Content().Version+1 || !c.Expires.Equal(until) {
		return nil, policy.Faultf(policy.Internal, "version and expiry did not change as they should")
	}
	return text, nil
}

// editorOf returns the editor that the environment names.
func (a *app) editorOf() ([]string, error) {
	command := ""
	if a.Getenv != nil {
		if command = a.Getenv("VISUAL"); command == "" {
			command = a.Getenv("EDITOR")
		}
	}
	fields := strings.Fields(command)
	if len(fields) == 0 {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "which editor?",
			Hint: "set VISUAL or EDITOR, or use --no-editor and edit the file yourself",
		}
	}
	return fields, nil
}

// editor lets a person edit the text until it is a valid policy. A text that is
// given up stays where it was edited.
func (a *app) editor(ctx context.Context, fields []string, text []byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "repopolicy-")
	if err != nil {
		return nil, command.Unwritten(err)
	}
	path := filepath.Join(dir, "policy.toml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, command.Unwritten(err)
	}
	for {
		cmd := exec.CommandContext(ctx, fields[0], append(fields[1:], path)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Env.Stderr
		if err := cmd.Run(); err != nil {
			return nil, &policy.Fault{
				Reason: policy.Usage, Text: fmt.Sprintf("%s: %s", fields[0], err),
				Hint: "nothing was changed; what was edited is in " + path,
			}
		}
		text, err := command.ReadPolicy(path)
		if err != nil {
			return nil, err
		}
		_, err = policy.Parse(text)
		if err == nil {
			return text, os.RemoveAll(dir)
		}
		var pe *policy.ParseError
		if !errors.As(err, &pe) {
			return nil, err
		}
		for _, p := range pe.Problems {
			a.Err.Line("error: %s", p)
			if p.Hint != "" {
				a.Err.Line("hint: %s", p.Hint)
			}
		}
		if err := a.Agree(&command.Signing{}, "Edit again?"); err != nil {
			return nil, &policy.Fault{
				Reason: pe.Reason(), Text: "what was edited is not a valid policy",
				Hint: "nothing was changed; it is in " + path,
			}
		}
	}
}
