// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/directory"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	maxKeyFile      = 4 << 10
	maxWitnessFile  = rekor.MaxWitnessPolicyBytes
	defaultStateDir = "directory-state"
)

// buildOptions are what a directory is built with.
type buildOptions struct {
	rootOptions
	state, site, key, witnesses string
	inbox                       string
	retire                      []string
	wait                        time.Duration
	serve                       bool
}

func (o *buildOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.state, "state", defaultStateDir, "`DIR` in which the directory keeps what it read")
	f.StringVar(&o.key, "key", "", "`FILE` with the signer key of the output log, as keygen writes it")
	o.rootOptions.flags(cmd, "follow the logs of")
	f.StringVar(&o.witnesses, "witnesses", "", "witness policy `FILE`: who has to cosign before anything is published")
	f.DurationVar(&o.wait, "witness-wait", 30*time.Second, "how long witnesses may take to cosign")
	f.StringArrayVar(&o.retire, "retire", nil, "end the map of an earlier trusted root by its `ID`")
	if err := cmd.MarkFlagRequired("key"); err != nil {
		panic(err)
	}
}

func (a *app) buildCommand() *cobra.Command {
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use: "build", Short: "read what is new in the logs, append one leaf and write the site",
		Long: `Reads every log of the trusted root up to its newest checkpoint, looks for the
statements of new bindings where repositories publish them, appends one leaf to the
output log and, with --site, writes the answers. With --inbox it also takes what was
handed in as files: what is taken is removed from there, with a receipt in receipts,
and what can never count is moved into refused.

It can be cut off at any point and run again: it goes on where it was, and nothing
is read twice or left out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.build(cmd.Context(), o) },
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.site, "site", "", "`DIR` to write the answers into")
	cmd.Flags().StringVar(&o.inbox, "inbox", "", "`DIR` with signature files that are handed in; what is taken is removed")
	return cmd
}

func (a *app) build(ctx context.Context, o *buildOptions) (err error) {
	b, end, err := a.builder(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	before, err := b.Store.Head()
	if err != nil {
		return err
	}
	if o.site != "" {
		if err := b.Output.Follows(ctx, before, o.site); err != nil {
			return err
		}
	}
	if o.inbox != "" {
		if err := a.readInbox(b, o, true); err != nil {
			return err
		}
	}
	head, err := b.Build(ctx)
	if err != nil {
		return err
	}
	if o.inbox != "" { // of what was handed in without its binding, which is read by now
		if err := a.readInbox(b, o, false); err != nil {
			return err
		}
	}
	if err := a.summary(head); err != nil {
		return err
	}
	if o.site == "" {
		return nil
	}
	return b.Store.Publish(o.site, a.note)
}

// note says what went wrong and keeps nothing else from going on.
func (a *app) note(format string, args ...any) { a.talk("note: "+format, args...) }

// intake takes what is handed in.
func (a *app) intake(b *directory.Builder, o *buildOptions) (*directory.Intake, error) {
	key, err := read(o.key, maxKeyFile)
	if err != nil {
		return nil, err
	}
	signer, _, err := directory.ParseKey(key)
	if err != nil {
		return nil, faultf(policy.ClassUsage, "--key: %w", err)
	}
	return directory.NewIntake(b.Store, signer, a.Now)
}

func (a *app) readInbox(b *directory.Builder, o *buildOptions, patient bool) error {
	in, err := a.intake(b, o)
	if err != nil {
		return err
	}
	n, err := in.Inbox(o.inbox, patient, b.Warn)
	if errors.Is(err, fs.ErrNotExist) && n == 0 {
		return &fault{class: policy.ClassUsage, err: fmt.Errorf("--inbox: %w", err)}
	}
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if n > 0 {
		_, err = fmt.Fprintf(a.Stdout, "inbox: %d taken\n", n)
	}
	return err
}

// summary says what was built.
func (a *app) summary(head *directory.Head) error {
	leaf, err := answers.ParseDirectoryLeaf(head.Leaf)
	if err != nil {
		return err
	}
	for _, m := range leaf.Maps {
		if _, err := fmt.Fprintf(a.Stdout, "leaf %d: map %s: %d labels, root %x, %d statements published\n", head.Index,
			m.ID(), m.Labels, m.Hash, m.Disclosed.Count); err != nil {
			return err
		}
	}
	return nil
}

// builder opens the state and the output log, with the map of the trusted root in
// it.
func (a *app) builder(ctx context.Context, o *buildOptions) (*directory.Builder, func() error, error) {
	a.state = o.state
	key, err := read(o.key, maxKeyFile)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := directory.ParseKey(key); err != nil {
		return nil, nil, &fault{policy.ClassUsage, fmt.Errorf("--key: %w", err), "repopolicy-directory keygen makes one"}
	}
	under, err := a.one(ctx, &o.rootOptions)
	if err != nil {
		return nil, nil, err
	}
	var witnesses []byte
	if o.witnesses != "" {
		if witnesses, err = read(o.witnesses, maxWitnessFile); err != nil {
			return nil, nil, err
		}
		if _, err := rekor.ParseWitnessPolicy(witnesses); err != nil {
			return nil, nil, &fault{class: policy.ClassUsage, err: fmt.Errorf("--witnesses: %w", err)}
		}
	}
	open := directory.OpenStore
	if o.serve {
		open = directory.OpenStoreFor
	}
	store, err := open(o.state)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range o.retire {
		if err := store.Retire(id); err != nil {
			return nil, nil, errors.Join(&fault{class: policy.ClassUsage, err: fmt.Errorf("--retire: %w", err)}, store.Close())
		}
	}
	if _, err := store.AddMap(under.root, under.forges, under.pki); err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	out, err := directory.OpenOutput(o.state, key, string(witnesses), o.wait, a.Transport)
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	b := &directory.Builder{
		Store: store, Output: out, Forge: directory.GitForge(a.Transport, agent), Transport: a.Transport, Agent: agent,
		Now:      a.Now,
		Progress: a.progress, Warn: a.note,
	}
	return b, func() error { return errors.Join(out.Close(), store.Close()) }, nil
}
