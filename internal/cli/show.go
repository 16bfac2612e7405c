// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/propose/compare"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// showDoc is the result of show as JSON.
type showDoc struct {
	Schema   string                `json:"schema"`
	Policy   *report.PolicySummary `json:"policy"`
	Ids      shownIds              `json:"ids"`
	RootKeys []string              `json:"root_keys"` // how each key stands that rules take from trust roots
	Warnings []string              `json:"warnings"`
	Text     string                `json:"text"`
}

// shownIds are the numbers that a policy is bound to; "" where none is known.
type shownIds struct {
	Repository string `json:"repository,omitempty"`
	Owner      string `json:"owner,omitempty"`
}

func (a *app) showCommand() *cobra.Command {
	o := &command.Lookup{}
	form := textOrJSON()
	cmd := &cobra.Command{
		Use:   "show -R URL",
		Short: "print the policy that a repository bound",
		Long: "Show finds the policy of a repository and prints the text of the version in force.\n" +
			"How it was found goes to standard error.",
		Example: "  repopolicy show -R acme/widget",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.show(cmd, o, form.JSON()) },
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	return cmd
}

func textOrJSON() *command.Format { return &command.Format{Allowed: []string{"text", "json"}} }

func (a *app) show(cmd *cobra.Command, o *command.Lookup, json bool) error {
	f, err := a.found(cmd, o, json)
	if err != nil {
		return err
	}
	if err := f.Usable(a.Now()); err != nil {
		return err
	}
	head := f.Head()
	if json {
		a.Finder().Inform(cmd.Context(), f)
		return a.Out.JSON(&showDoc{
			Schema: report.SchemaURL("show-v1"), Policy: report.SummaryOfFound(f),
			Ids: shownIds{head.Ids.Repository, head.Ids.Owner}, RootKeys: list(f.RootKeys()),
			Warnings: list(f.Warnings(a.Now())), Text: string(head.Document.Text()),
		})
	}
	a.describe(f)
	a.rootKeys(cmd.Context(), f, a.Err, "  key        ")
	a.Out.Text(string(head.Document.Text()))
	return nil
}

// list returns a list that JSON shows as one, also if it is empty.
func list[T any](of []T) []T {
	if of == nil {
		return []T{}
	}
	return of
}

// history is the result of log as JSON, the first version first.
type history struct {
	Schema     string           `json:"schema"`
	Repository string           `json:"repository"`
	Versions   []historyVersion `json:"versions"`
	Warnings   []string         `json:"warnings"`
	Problem    string           `json:"problem,omitempty"` // the reason for which nothing can be judged by it
}

// historyVersion is one version of a policy.
type historyVersion struct {
	Version      int            `json:"version"`
	Statement    string         `json:"statement"`
	Policy       string         `json:"policy"`
	Expires      time.Time      `json:"expires"`
	RepositoryID string         `json:"repository_id,omitempty"`
	OwnerID      string         `json:"owner_id,omitempty"`
	SignedBy     []string       `json:"signed_by"` // names of members
	Bound        []historyEntry `json:"bound"`
	WithoutV1    bool           `json:"without_v1,omitempty"`
	Recovered    *time.Time     `json:"recovered_from,omitempty"`
	Changes      []diffChange   `json:"changes"` // from the version before, all of it for the first
}

// historyEntry is an entry of a log that binds a version.
type historyEntry struct {
	Log   string     `json:"log"`
	Index int64      `json:"index"`
	Time  *time.Time `json:"time,omitempty"`
	// Where the log says no time, stamps and certificates say between which moments it was.
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
}

// when says when an entry was made; "" if nobody does.
func (e historyEntry) when() string {
	switch {
	case e.Time != nil:
		return ", at " + e.Time.Format(time.RFC3339)
	case e.NotBefore != nil && e.NotAfter != nil:
		return ", between " + e.NotBefore.Format(time.RFC3339) + " and " + e.NotAfter.Format(time.RFC3339)
	case e.NotAfter != nil:
		return ", before " + e.NotAfter.Format(time.RFC3339)
	case e.NotBefore != nil:
		return ", after " + e.NotBefore.Format(time.RFC3339)
	}
	return ""
}

// knownTime returns a moment in UTC; nil for none.
func knownTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (a *app) logCommand() *cobra.Command {
	o := &command.Lookup{}
	form := textOrJSON()
	cmd := &cobra.Command{
		Use:     "log -R URL",
		Short:   "list the versions of a repository's policy: when each was bound, who signed it, what it changed",
		Example: "  repopolicy log -R acme/widget",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.found(cmd, o, form.JSON())
			if err != nil {
				return err
			}
			unusable := f.Usable(a.Now())
			h := a.historyOf(f, unusable)
			if form.JSON() {
				if err := a.Out.JSON(h); err != nil {
					return err
				}
			} else {
				a.printHistory(h)
			}
			return unusable
		},
	}
	o.Flags(cmd)
	o.SourceFlags(cmd)
	cmd.Flags().Var(form, "format", "form of the output")
	return cmd
}

func (a *app) historyOf(f *find.Found, unusable error) *history {
	h := &history{
		Schema: report.SchemaURL("log-v1"), Repository: f.Repository.String(), Versions: []historyVersion{},
		Warnings: list(f.Warnings(a.Now())),
	}
	if fault := command.FaultOf(unusable); fault != nil {
		h.Problem = string(fault.Reason)
	}
	var before *policy.File
	for _, v := range f.Versions() {
		c := v.Document.Content()
		one := historyVersion{
			Version: v.Number, Statement: "sha256:" + v.Statement, Policy: v.Document.Digest().String(),
			Expires:      c.Expires,
			RepositoryID: v.Ids.Repository, OwnerID: v.Ids.Owner,
			SignedBy: list(f.Resolution.Chain.SignedBy(v.Number)),
			Bound:    []historyEntry{}, WithoutV1: v.WithoutV1, Changes: []diffChange{},
		}
		for _, e := range v.Bindings {
			at := historyEntry{Log: e.Log, Index: e.Index, Time: knownTime(e.Time)}
			if at.Time == nil {
				at.NotBefore, at.NotAfter = knownTime(e.NotBefore), knownTime(e.NotAfter)
			}
			one.Bound = append(one.Bound, at)
		}
		one.Recovered = knownTime(v.From)
		for _, change := range compare.Policies(before, c) {
			one.Changes = append(one.Changes, diffChange(change))
		}
		before = c
		h.Versions = append(h.Versions, one)
	}
	return h
}

func (a *app) printHistory(h *history) {
	for i, v := range h.Versions {
		a.Out.Line("version %d  %s", v.Version, v.Statement)
		field := func(name, format string, args ...any) {
			a.Out.Line("  %-11s %s", name, fmt.Sprintf(format,
				args...))
		}
		field("policy", "%s, expires %s", v.Policy, v.Expires.Format(time.DateOnly))
		if v.RepositoryID != "" {
			field("repository", "number %s, owner %s", v.RepositoryID, v.OwnerID)
		}
		if len(v.SignedBy) > 0 {
			field("signed by", "%s", strings.Join(v.SignedBy, ", "))
		}
		for _, e := range v.Bound {
			field("bound", "log %.16s…, entry %d%s", e.Log, e.Index, e.when())
		}
		if v.WithoutV1 {
			field("without", "Rekor v1")
		}
		if v.Recovered != nil {
			field("recovered", "from %s", v.Recovered.Format(time.RFC3339))
		}
		if i == 0 {
			continue // which is all of it
		}
		for _, c := range v.Changes {
			field("changed", "%s", c.text())
		}
	}
}

// found resolves the policy for a verb that takes no artifacts.
// Quietly, what should be known beside the answer stands in it.
func (a *app) found(cmd *cobra.Command, o *command.Lookup, quietly bool) (*find.Found, error) {
	if !o.Repo.Given {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "which repository?",
			Hint: "name it with -R, such as -R acme/widget",
		}
	}
	f, err := a.Find(cmd.Context(), o)
	if err != nil {
		return nil, err
	}
	if !quietly {
		a.Warn(f)
	}
	return f, nil
}

// describe says how a policy was found.
func (a *app) describe(f *find.Found) {
	p := report.SummaryOfFound(f)
	a.Err.Line("%s, version %d, expires %s", p.Repository, p.Version, p.Expires.Format(time.DateOnly))
	a.howFound(p)
	for _, n := range f.Resolution.Chain.Remarks() {
		a.Err.Line("  note       %s", n.Text)
	}
}

// rootKeys says what became of the targets of trust roots that rules take keys from.
func (a *app) rootKeys(ctx context.Context, f *find.Found, to *report.Printer, head string) {
	a.Finder().Inform(ctx, f)
	for _, line := range f.RootKeys() {
		to.Line("%s%s", head, line)
	}
}

func (a *app) howFound(p *report.PolicySummary) {
	a.Err.Line("  policy     %s", p.Digest)
	a.Err.Line("  statement  %s", p.Statement)
	a.known(&report.UnboundSummary{
		Genesis: p.Genesis, Completeness: p.Completeness, KnownAsOf: p.KnownAsOf, InputsOf: p.InputsOf,
		Directory: p.Directory,
	})
}

// known says how a policy is known, or that there is none.
func (a *app) known(p *report.UnboundSummary) {
	at := ""
	if p.KnownAsOf != nil {
		at = ", as of " + p.KnownAsOf.Format(time.RFC3339)
	}
	if p.InputsOf != nil {
		at += ", of logs with entries of " + p.InputsOf.Format(time.RFC3339)
	}
	a.Err.Line("  genesis    %s: %s", p.Genesis, report.GenesisText(p.Genesis))
	a.Err.Line("  complete   %s: %s%s", p.Completeness, report.CompletenessText(p.Completeness), at)
	if p.Directory != "" {
		a.Err.Line("  directory  %s", p.Directory)
	}
}
