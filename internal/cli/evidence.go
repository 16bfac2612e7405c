// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// findingDoc is the result of evidence show; its schema is
// schema/finding-v1.json.
type findingDoc struct {
	Schema     string           `json:"schema"`
	Verdict    string           `json:"verdict"`
	Exit       int              `json:"exit"`
	Reason     policy.Reason    `json:"reason,omitempty"`
	Detail     string           `json:"detail,omitempty"`
	File       string           `json:"file"`
	Digest     string           `json:"digest"`
	Kind       string           `json:"kind,omitempty"`
	Repository string           `json:"repository,omitempty"`
	Log        string           `json:"log,omitempty"`       // origin of a log that forked
	Directory  string           `json:"directory,omitempty"` // URL of one that lied or whose output log forked
	Root       string           `json:"trusted_root,omitempty"`
	Ordered    bool             `json:"ordered,omitempty"`
	Versions   []findingVersion `json:"versions"`
}

type findingVersion struct {
	Statement  string   `json:"statement"`
	Version    int      `json:"version"`
	Repository string   `json:"repository"`
	RepoID     string   `json:"repository_id"`
	OwnerID    string   `json:"owner_id"`
	LogID      string   `json:"log_id"`
	Index      int64    `json:"index"`
	Signers    []string `json:"signers"`
}

type evidenceOptions struct {
	command.Roots
	directory command.Once
	offline   bool
	format    command.Format
}

func (a *app) evidenceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "judge evidence of a fork, a rollback, a second genesis or a lie",
		Long: `Evidence show judges the files that are kept of an alarm: that somebody showed two histories
of a policy or of a log.

What verify and inspect take as evidence of a release is found beside FILE, in the release of a
tag, in registries and among GitHub's attestations, under these names:

  FILE.sigstore.json .sigstore .sigstore.bundle .bundle .bundle.json .cosign.bundle
      bundles of cosign, sigstore-python and GitHub's actions; older ones of cosign
  FILE.sigstore.jsonl .intoto.jsonl .attestations.jsonl .jsonl; sha256:HEX.jsonl
      several bundles in one file; what gh attestation download writes
  FILE.attestations.json .attestations
      what npm's registry and GitHub's API answer
  FILE.publish.attestation .slsa.attestation .attestation .provenance .provenance.json
      attestations of PyPI (PEP 740)
  FILE.sig, with FILE.pem .crt .cert .cer
      signatures and certificates of cosign before version 3
  multiple.intoto.jsonl, attestations.intoto.jsonl, attestations.jsonl, provenance.intoto.jsonl,
  packslip*.sigstore.json
      evidence for many files of a directory
  *.approval.sigstore.json
      approvals, which repopolicy approve writes

Git tags and commits carry theirs, images in a registry or layout have it attached.
docs/evidence.md says what each form can show.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &policy.Fault{
				Reason: policy.Usage, Text: "no command given",
				Hint: "start with `repopolicy evidence show --help`",
			}
		},
	}
	o := &evidenceOptions{format: command.Format{Allowed: []string{"text", "json"}}}
	show := &cobra.Command{
		Use:   "show [flags] FILE",
		Short: "verify an evidence file and print what it proves",
		Long: `Show verifies every signature, certificate and log entry in an evidence file and
prints the versions of the policy that it proves to exist, who signed them, and
where the log has them. Of a log that contradicts itself it says whether that log signed
two trees of one size. Evidence about a directory needs its descriptor, --directory; of
an answer that is not true, show says what is not. It uses no network but for the trusted root, and needs
none with --offline or --trusted-root.

It exits 0 if the file proves what it claims, 1 if not, 6 if it is malformed. The
digest that it prints is what a policy lists under [[acknowledged]].`,
		Example: `  repopolicy evidence show fork.json
  repopolicy evidence show --directory directory.json lie.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.evidence(cmd.Context(), o, args[0]) },
	}
	f := show.Flags()
	o.RootFlags(show, "; may be repeated, each is used alone")
	o.directory.Kind = "FILE"
	f.Var(&o.directory, "directory", "the descriptor of the directory that the evidence is about")
	f.BoolVar(&o.offline, "offline", false, "do not use the network; the trusted root comes from a file or the cache")
	f.Var(&o.format, "format", "form of the output")
	cmd.AddCommand(show)
	return cmd
}

func (a *app) evidence(ctx context.Context, o *evidenceOptions, path string) error {
	data, err := file.Read(path, rekor.MaxEvidenceBytes)
	switch {
	case errors.Is(err, file.ErrTooLarge):
		return policy.Faultf(policy.EvidenceMalformed, "evidence: %s", err)
	case err != nil:
		return policy.Faultf(policy.Usage, "evidence: %s", err)
	}
	doc := findingDoc{
		Schema: report.SchemaURL("finding-v1"), File: path, Digest: "sha256:" + spelling.Sum(data),
		Versions: []findingVersion{},
	}
	class := policy.ClassOK
	fail := func(r policy.Reason, err error) {
		class, doc.Reason, doc.Detail = r.Class(), r, strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	fork, notFork := rekor.ParseFork(data)
	lie, notLie := bindings.ParseLie(data)
	ev, malformed := bindings.ParseEvidence(data)
	var described *answers.Descriptor
	var roots []trust.Root
	if o.directory.Given {
		if described, err = command.ReadDescriptor("--directory", o.directory.Value); err != nil {
			return err
		}
	}
	ofDirectory := notFork == nil && described != nil // which its own key shows
	if !ofDirectory && (notFork == nil || notLie == nil || malformed == nil) {
		if roots, err = a.Finder().AnyRoots(ctx, o.Trust(), trust.Options{Offline: o.offline}); err != nil {
			return find.RootFault(err)
		}
	}
	switch {
	case notFork == nil:
		doc.Kind = "log-fork"
		if err := doc.fork(fork, described, roots); err != nil {
			fail(policy.EvidenceUnproven, err)
		}
	case notLie == nil:
		doc.Kind, doc.Repository = "directory-lie", lie.Repository.String()
		if err := doc.lie(lie, described, roots); err != nil {
			fail(policy.EvidenceUnproven, err)
		}
	case malformed != nil:
		fail(policy.EvidenceMalformed, malformed)
	default:
		doc.Kind, doc.Repository = ev.Kind, ev.Repository.String()
		finding, root, err := judgeEvidence(a, ev, roots)
		if err != nil {
			fail(policy.EvidenceUnproven, err)
		} else {
			doc.Root, doc.Ordered = root, finding.Ordered
			for _, v := range finding.Versions {
				doc.Versions = append(doc.Versions, newFindingVersion(v))
			}
		}
	}
	doc.Verdict, doc.Exit = class.String(), class.Exit()
	if o.format.JSON() {
		if err := a.Out.JSON(doc); err != nil {
			return err
		}
	} else {
		a.printFinding(&doc)
	}
	if class != policy.ClassOK {
		return command.Decided{Class: class}
	}
	return nil
}

// judgeEvidence returns what the evidence proves under the first root that takes
// it, each alone.
func judgeEvidence(a *app, ev *bindings.Evidence, roots []trust.Root) (chain.Finding, string, error) {
	first := errors.New("no trusted root was given")
	for i, r := range roots {
		f, err := ev.Judge(r.Root, r.Forges, a.Now())
		if err == nil {
			return f, r.Name(), nil
		}
		if i == 0 {
			first = err
		}
	}
	return chain.Finding{}, "", first
}

// fork fills in what the evidence proves of a log of a trusted root or, where it is
// described, of a directory.
func (doc *findingDoc) fork(fork *rekor.Fork, d *answers.Descriptor, roots []trust.Root) error {
	if d != nil {
		origin, err := d.JudgeFork(fork)
		if err == nil {
			doc.Log, doc.Directory = origin, d.URL
		}
		return err
	}
	why := errors.New("no trusted root was given")
	for i, r := range roots {
		origin, err := fork.Judge(r.Root)
		if err == nil {
			doc.Log, doc.Root = origin, r.Name()
			return nil
		} else if i == 0 {
			why = err
		}
	}
	return why
}

// lie fills in what is not true in a directory's answer.
func (doc *findingDoc) lie(lie *bindings.Lie, d *answers.Descriptor, roots []trust.Root) error {
	if d == nil {
		return errors.New("it is about a directory, whose descriptor --directory names")
	}
	why := errors.New("no trusted root was given")
	for i, r := range roots {
		untrue, err := d.JudgeLie(lie, r.Root, r.Forges)
		if err == nil {
			doc.Directory, doc.Root, doc.Detail = d.URL, r.Name(), untrue
			return nil
		} else if i == 0 {
			why = err
		}
	}
	return why
}

func newFindingVersion(v chain.Version) findingVersion {
	out := findingVersion{
		Statement: "sha256:" + v.Statement, Version: v.Number, Repository: v.Document.Content().Repository.String(),
		RepoID: v.Ids.Repository, OwnerID: v.Ids.Owner, LogID: v.Bindings[0].Log, Index: v.Bindings[0].Index,
		Signers: []string{},
	}
	for _, id := range v.Signers {
		who := id.Value + " by " + id.Issuer
		if id.Kind == policy.KindKey {
			who = "key sha256:" + id.Value
		}
		out.Signers = append(out.Signers, who)
	}
	return out
}

func (a *app) printFinding(d *findingDoc) {
	a.Out.Line("%s: %s", d.File, d.Digest)
	switch {
	case d.Directory != "" && d.Log == "":
		a.Out.Line("  claims       %s of %s", d.Kind, d.Directory)
		a.Out.Line("  about        %s", d.Repository)
		a.Out.Line("  untrue       %s", d.Detail)
	case d.Log != "":
		a.Out.Line("  claims       %s of %s", d.Kind, d.Log)
	case d.Kind != "":
		a.Out.Line("  claims       %s of %s", d.Kind, cmp.Or(d.Repository, "a log"))
	}
	for i, v := range d.Versions {
		a.Out.Line("  version %-4d %s", v.Version, v.Statement)
		for _, s := range v.Signers {
			a.Out.Line("    signed by  %s", s)
		}
		a.Out.Line("    bound by   %s, repository number %s, owner number %s", v.Repository, v.RepoID, v.OwnerID)
		a.Out.Line("    log        %s, entry %d%s", v.LogID, v.Index, orderText(d, i))
	}
	if d.Reason != "" {
		a.Out.Line("  because      %s", d.Detail)
		a.Out.Line("%s: %s [%s]", d.Verdict, d.Reason.Text(), d.Reason)
		if hint := d.Reason.Hint(); hint != "" {
			a.Out.Line("  hint         %s", hint)
		}
		return
	}
	a.Out.Line("%s: the file proves it under %s", d.Verdict, cmp.Or(d.Root, "the directory's key"))
}

// orderText says which of two came first.
func orderText(d *findingDoc, i int) string {
	switch {
	case len(d.Versions) < 2:
		return ""
	case !d.Ordered:
		return ", in no order to the other"
	}
	return fmt.Sprintf(", bound %s", []string{"first", "later"}[i])
}
