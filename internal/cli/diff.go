// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/propose/compare"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

type diffDoc struct {
	Schema     string       `json:"schema"`
	Repository string       `json:"repository"`
	Old        *diffSide    `json:"old"` // null if nothing was in force
	New        diffSide     `json:"new"`
	Loosens    bool         `json:"loosens"`
	Changes    []diffChange `json:"changes"`
	Text       string       `json:"text"` // unified diff; "" if the texts are equal
}

type diffSide struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"`
	Bound   bool   `json:"bound"` // part of the chain; false for one that is only committed
}

type diffChange struct {
	Path    string       `json:"path"`
	Kind    compare.Kind `json:"kind"`
	Old     string       `json:"old,omitempty"`
	New     string       `json:"new,omitempty"`
	Loosens bool         `json:"loosens"`
}

// side is one of the two policies that are compared.
type side struct {
	doc   *policy.Document
	bound bool
}

func (s side) describe() diffSide {
	return diffSide{s.doc.Content().Version, s.doc.Digest().String(), s.bound}
}

func (a *app) diffCommand() *cobra.Command {
	o := &signOptions{}
	form := &command.Format{Allowed: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "diff [-R URL] [OLD [NEW]]",
		Short: "say what changes between two versions of a policy, and what it loosens",
		Long: `Diff compares two versions of a repository's policy: members, thresholds and rules,
field by field, and then the text. A change is marked as loosening unless it cannot
allow anything that the old version did not; a later expiry is not marked.

OLD and NEW are numbers of versions. NEW is the policy of the last commit, or with -R
the version in force. OLD is the version in force, or with -R the one before.`,
		Example: "  repopolicy diff\n  repopolicy diff -R acme/widget 1 2",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diff(cmd.Context(), o, args, form.JSON())
		},
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	return cmd
}

func (a *app) diff(ctx context.Context, o *signOptions, args []string, json bool) error {
	var numbers []int
	for _, s := range args {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > spelling.MaxVersions {
			return policy.Faultf(policy.Usage, "%q is not the number of a version", s)
		}
		numbers = append(numbers, n)
	}
	var f *find.Found
	var draft side
	named := o.Repo.Given // below it is set by what is committed
	if named {
		var err error
		if f, err = a.Find(ctx, &o.Lookup); err != nil {
			return err
		}
	} else {
		v, err := a.committed(ctx, o)
		if err != nil {
			return err
		}
		f, draft = v.Found, side{v.doc, false}
	}
	a.Warn(f)
	if reason := f.Resolution.Chain.Reason(); named || reason != "" && reason != policy.NoBinding {
		if err := f.Usable(a.Now()); err != nil {
			if err.(*policy.Fault).Reason.Class() != policy.ClassStale {
				return err
			}
		}
	}
	before, after, err := sides(f.Versions(), draft, numbers)
	if err != nil {
		return err
	}
	return a.printDiff(f, before, after, json)
}

// sides chooses what is compared. The old side has no document where nothing is
// in force.
func sides(versions []chain.Version, draft side, numbers []int) (before, after side, err error) {
	at := func(n int) (side, error) {
		if n < 1 || n > len(versions) {
			return side{}, policy.Faultf(
				policy.Usage, "there is no version %d: version %d is in force", n, len(versions),
			)
		}
		return side{versions[n-1].Document, true}, nil
	}
	switch {
	case len(numbers) == 2:
		if after, err = at(numbers[1]); err == nil {
			before, err = at(numbers[0])
		}
		return before, after, err
	case draft.doc != nil:
		after = draft
		if n := len(versions); n > 0 && versions[n-1].Document.Digest() == draft.doc.Digest() {
			after.bound = true
		}
		if len(versions) == 0 && len(numbers) == 0 {
			return before, after, nil
		}
		n := len(versions)
		if len(numbers) == 1 {
			n = numbers[0]
		}
		before, err = at(n)
		return before, after, err
	}
	n := len(versions) - 1
	if len(numbers) == 1 {
		n = numbers[0]
	}
	if len(versions) == 1 && len(numbers) == 0 {
		return before, after, policy.Faultf(policy.Usage, "there is only one version to compare")
	}
	if after, err = at(len(versions)); err == nil {
		before, err = at(n)
	}
	return before, after, err
}

func (a *app) printDiff(f *find.Found, before, after side, json bool) error {
	doc := diffDoc{
		Schema: report.SchemaURL("diff-v1"), Repository: f.Repository.String(), New: after.describe(),
		Changes: []diffChange{},
	}
	var content *policy.File
	var text []byte
	name := "nothing"
	if before.doc != nil {
		s := before.describe()
		doc.Old, content, text, name = &s, before.doc.Content(), before.doc.Text(), fmt.Sprintf("version %d", s.Version)
	}
	for _, c := range compare.Policies(content, after.doc.Content()) {
		doc.Changes = append(doc.Changes, diffChange(c))
		doc.Loosens = doc.Loosens || c.Loosens
	}
	target := fmt.Sprintf("version %d", doc.New.Version)
	if !doc.New.Bound {
		target += ", as committed"
	}
	doc.Text = string(diff.Diff(name, text, target, after.doc.Text()))
	if json {
		return a.Out.JSON(doc)
	}
	a.Out.Line("%s: from %s to %s", doc.Repository, name, target)
	if doc.Text == "" {
		a.Out.Line("  the same")
		return nil
	}
	for _, c := range doc.Changes {
		a.Out.Line("%s", c.text())
	}
	a.Out.Text(doc.Text)
	return nil
}

// text says in a line what changed.
func (c diffChange) text() string {
	mark := ""
	if c.Loosens {
		mark = " (loosens)"
	}
	switch c.Kind {
	case compare.Added:
		return fmt.Sprintf("+ %s: %s%s", c.Path, c.New, mark)
	case compare.Removed:
		return fmt.Sprintf("- %s: %s%s", c.Path, c.Old, mark)
	}
	return fmt.Sprintf("~ %s: %s, was %s%s", c.Path, c.New, c.Old, mark)
}
