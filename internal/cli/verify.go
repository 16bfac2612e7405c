// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// verifyOptions are the flags of verify and explain.
type verifyOptions struct {
	command.Lookup
	published                           publishedOptions
	policy, tag, asOf, identity, issuer command.Once
	report, cooldown, airgap, name      command.Once
	unbound, tuf, target                command.Once
	bundles, sideFiles                  []string
	quiet, verbose, ignoreMissing       bool
	format                              command.Format
	typed                               *command.Typed // nil for a verb that types no such command
}

func (a *app) verifyCommand() *cobra.Command {
	o := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify [flags] ARTIFACT|DIR|SHA256SUMS|LAYOUT[@sha256:HEX]|refs/tags/TAG|sha256:HEX|URL|PURL|oci://IMAGE...",
		Short: "judge whether artifacts were released by those who may",
		Long: `Verify judges every artifact by the evidence for it and prints who signed it,
which rule of the policy allows that, or which field is in the way.

An artifact is a file, every file in a directory, everything that a checksum file
lists, every image of an OCI layout, a tag of a Git repository, or a digest; or a
release or one of its files by its URL, a package pkg:npm/NAME@VERSION, or an image
oci://REGISTRY/NAME:TAG. Evidence is what lies beside the artifact in any form that is
understood (docs/evidence.md), and the evidence for a checksum file beside it that
lists the artifact, or else the files named with --bundle, among which may be a
checksum file with the evidence for it. Where the repository is
known and that does not do, it is looked for in the release of --tag, among GitHub's
attestations, and for a wheel at PyPI. The URL of a release names repository and tag.

The exit code is 0 if every artifact is allowed, 1 if one is denied; the others
are explained in docs/errors.md. Without --policy, --certificate-identity and
--certificate-oidc-issuer name the one signer to accept, as with cosign; or --tuf names a
root of trust.toml that has to list each file now, under its name. The forms of output are
described in docs/formats.md.`,
		Example: `  repopolicy verify https://github.com/acme/widget/releases/tag/v1.2.3
  repopolicy verify -R acme/widget --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy verify -R acme/widget oci://ghcr.io/acme/widget:v1.2.3
  repopolicy verify --policy policy.toml --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy verify --policy policy.toml SHA256SUMS
  repopolicy verify --certificate-identity alice@example.com \
      --certificate-oidc-issuer https://accounts.google.com widget.tar.gz
  repopolicy verify --tuf acme --target v1.2.3/widget.tar.gz widget.tar.gz`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd, o, args, false) },
	}
	o.flags(cmd)
	return cmd
}

func (a *app) explainCommand() *cobra.Command {
	o := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "explain [flags] ARTIFACT|DIR|SHA256SUMS|LAYOUT[@sha256:HEX]|refs/tags/TAG|sha256:HEX|URL|PURL|oci://IMAGE...",
		Short: "show what each rule of the policy makes of the evidence",
		Long: `Explain judges like verify, with the same flags and exit codes, and prints for
every rule of the policy in which fields it differs from the evidence, the
nearest rule first.`,
		Example: `  repopolicy explain --policy policy.toml --tag v1.2.3 widget_1.2.3.tar.gz`,
		RunE:    func(cmd *cobra.Command, args []string) error { return a.verify(cmd, o, args, true) },
	}
	o.flags(cmd)
	return cmd
}

func (o *verifyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.policy.Kind, o.asOf.Kind, o.identity.Kind = "FILE", "RFC3339", "IDENTITY"
	o.issuer.Kind, o.Git.Kind, o.report.Kind, o.cooldown.Kind = "URL", "DIR", "FILE", "DURATION"
	o.tuf.Kind, o.target.Kind = "NAME", "PATH"
	o.format.Allowed = []string{"text", "json", "sarif", "github", "vsa"}
	o.published.download.Kind = "DIR"
	o.Lookup.Flags(cmd)
	o.judgedFlags(f)
	f.Var(&o.published.download, "download", "write what was downloaded to this directory, if everything is allowed")
	f.Var(&o.policy, "policy", "judge by this policy file")
	f.Var(&o.Git, "git",
		"read Git tags from the repository in this directory instead of here, and look for commits in its history")
	o.FromFlag(cmd)
	o.RootFlags(cmd, "; may be repeated, each is used alone")
	f.BoolVar(&o.Offline, "offline", false, "do not use the network; the trusted root comes from a file or the cache")
	o.airgap.Kind = "FILE"
	f.Var(
		&o.airgap, "airgap",
		"judge by what this file of export-bundle carries, without a network; -R, --lock or --pin says which repository "+
			"is meant",
	)
	f.Var(&o.cooldown, "cooldown", "refuse releases that were signed less than this long ago, such as 72h")
	f.Var(&o.asOf, "as-of", "judge as of this moment instead of now")
	f.Var(&o.tuf, "tuf",
		"let pass what this root of trust.toml, or public-good, lists now by TUF: its length and all digests")
	f.Var(&o.target, "target", "the path under which the root of --tuf lists the one file; by default its name")
	f.Var(&o.identity, "certificate-identity", "demand this signer: exact e-mail address or URI")
	f.Var(&o.issuer, "certificate-oidc-issuer", "demand this OIDC issuer")
	f.Var(&o.format, "format", "form of the output")
	f.Var(&o.report, "report", "write the verdict into this file, too, as --format json prints it")
	f.BoolVarP(&o.verbose, "verbose", "v", false,
		"print the criteria before anything is judged, and all that is known of each artifact")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors; the exit code tells")
	for _, name := range []string{"certificate-identity-regexp", "certificate-oidc-issuer-regexp"} {
		f.Var(exactly(strings.TrimSuffix(name, "-regexp")), name, "not supported: identities are exact")
		_ = f.MarkHidden(name)
	}
}

// judgedFlags defines the flags that say what is judged, by which evidence.
func (o *verifyOptions) judgedFlags(f *pflag.FlagSet) {
	o.tag.Kind, o.name.Kind, o.unbound.Kind = "TAG", "NAME", "WHOM"
	o.published.flags(f)
	f.Var(&o.tag, "tag", "demand evidence for this tag")
	f.Var(&o.name, "name",
		"what the one artifact is called, if you gave its file another name: a file's name or a package URL")
	f.BoolVar(&o.ignoreMissing, "ignore-missing", false,
		"leave out what a checksum file lists and is not there, as long as something is")
	f.StringSliceVar(&o.sideFiles, "side-files", nil,
		"let files of this `KIND` without evidence lie beside what is allowed: openpgp (FILE.asc), signature (FILE.sig), "+
			"certificate (FILE.pem) or checksums (lists of digests of what is allowed); several with commas")
	_ = f.SetAnnotation("side-files", command.Words, []string{"openpgp", "signature", "certificate", "checksums"})
	f.VarP(
		(*command.List)(&o.bundles), "bundle", "b",
		"use this `FILE` as evidence for every artifact, or as a checksum file that lists them; may be repeated",
	)
	f.Var(
		&o.unbound, "unbound",
		"if the logs or a directory say that no policy is bound, let pass what a workflow of this signed for --tag or the "+
			"release's URL: repository (the repository itself); weaker than a policy, and it says so",
	)
}

// exactly is a flag of cosign's for which there is only the one of this name.
func exactly(name string) refused {
	return refused("identities are compared exactly, because an expression that matches too much accepts strangers;" +
		" give the whole identity with --" + name +
		", or list each signer as a [[release]] rule of a policy and use --policy")
}

// refused is a flag that somebody might type and that there is not, with the reason.
type refused string

func (r refused) String() string { return "" }
func (r refused) Type() string   { return "string" }

func (r refused) Set(string) error { return errors.New(string(r)) }

// verify judges the artifacts; full asks for what every rule says.
func (a *app) verify(cmd *cobra.Command, o *verifyOptions, args []string, full bool) error {
	o.typed = a.Typed(cmd)
	err := a.verdict(cmd.Context(), o, args, full)
	if f := command.FaultOf(err); f != nil && o.format.Value == "github" {
		a.github().Fault(f)
	}
	return err
}

func (a *app) verdict(ctx context.Context, o *verifyOptions, args []string, full bool) error {
	q, err := a.question(o, args)
	if err != nil {
		return err
	}
	ctx = find.On(ctx, a.Machine())
	p, err := a.judgedBy(ctx, q, args)
	if err != nil {
		return err
	}
	v, err := a.judge(ctx, q, p, full)
	if err != nil {
		return err
	}
	return a.conclude(ctx, q, v, full)
}

// judgedBy returns what is judged by. Where a repository has bound nothing it says who signed.
func (a *app) judgedBy(ctx context.Context, q *question, args []string) (*repopolicy.Policy, error) {
	p, err := q.policy(ctx)
	var f *policy.Fault
	if !errors.As(err, &f) || f.Reason != policy.NoBinding {
		return p, a.helped(ctx, q, err)
	}
	a.signers(ctx, q, args)
	if l := q.lock; l != nil && l.Unbound != nil && !q.options.unbound.Given && f.Hint == "" {
		f.Hint = "the lock file is of a repository without a policy: to judge by it all the same, add --unbound repository"
	}
	return nil, f
}

// judge judges, and says before what will be demanded.
func (a *app) judge(
	ctx context.Context, q *question, p *repopolicy.Policy, full bool,
) (*repopolicy.Verdict, error) {
	options := q.judged
	if full {
		options = append(options, repopolicy.Explain())
	}
	defer a.watch(q, p)()
	return q.client.Verify(ctx, p, options...)
}

// watch lets a run tell how far it is, and with --verbose what it demands. Stop ends it.
func (a *app) watch(q *question, p *repopolicy.Policy) (stop func()) {
	progress, stop := a.progress(q.options, func(n int) {
		if q.options.verbose {
			a.criteria(q.summary(p), n)
		}
	})
	q.client.Progress, q.client.Reading = progress, a.reading
	return stop
}

// conclude prints a verdict, and returns the error of one that does not allow.
func (a *app) conclude(ctx context.Context, q *question, v *repopolicy.Verdict, full bool) error {
	if err := a.say(ctx, q, v, v.Each(), full); err != nil {
		// A verdict that says no stays one, however little could be said of it.
		if v.OK() {
			return err
		}
		a.Report(err)
	}
	if !v.OK() {
		return command.Decided{Class: v.Class()}
	}
	return nil
}

// say prints a verdict, and before one that does not allow what was demanded.
func (a *app) say(
	ctx context.Context, q *question, v *repopolicy.Verdict, entries iter.Seq[repopolicy.Entry], full bool,
) error {
	o, s := q.options, q.summary(v.Policy())
	r := report.New(s, v.Class(), entries, full, a.advice(ctx, q, v, full))
	if !v.OK() && o.talks() && !o.verbose {
		a.criteria(s, len(r.Artifacts))
	}
	return a.print(o, r)
}

// talks reports whether there is talk beside the output.
func (o *verifyOptions) talks() bool { return !o.quiet && !o.format.Document() }

// print writes the report in the form that was asked for.
func (a *app) print(o *verifyOptions, r *report.Report) error {
	if o.report.Given {
		if err := writeJSON(o.report.Value, r); err != nil {
			return err
		}
	}
	switch o.format.Value {
	case "json":
		return a.Out.JSON(r)
	case "sarif":
		if n := len(r.Artifacts); n > report.MostSARIF {
			f := policy.Faultf(policy.Usage, "a SARIF log of %d results, and services take %d", n, report.MostSARIF)
			f.Hint = "write --format json, or judge fewer artifacts at once"
			return f
		}
		return a.Out.JSON(report.NewSARIF(r))
	case "vsa":
		s, err := report.NewVSA(r)
		if err != nil {
			return err
		}
		return a.Out.JSON(s)
	case "github":
		var more []report.Output
		if o.report.Given {
			more = append(more, report.Output{Name: "report-path", Value: o.report.Value})
		}
		a.github().Verdict(r, more...)
	default:
		if !o.quiet {
			a.Out.Verdict(r, o.verbose)
		}
	}
	return nil
}

// criteria says what will be demanded, before anything is judged.
func (a *app) criteria(s *report.Summary, n int) {
	if p := s.Unbound; p != nil {
		a.Err.Line("judging %d %s without a policy: none is bound to %s", n, report.Plural(n, "artifact"), p.Repository)
		a.Err.Line("  unbound    what its own workflows signed for the tag may pass, as you ask")
		a.known(p)
		if p.Locked {
			a.Err.Line("  lock       of the numbers and by the workflows that the lock file names, and no others")
		}
	} else if p := s.Policy; p != nil {
		from := ""
		if p.Path != "" {
			from = p.Path + ": "
		}
		a.Err.Line("judging %d %s by %s%s, version %d, expires %s", n, report.Plural(n, "artifact"), from, p.Repository,
			p.Version, p.Expires.Format(time.DateOnly))
		if p.Path != "" {
			a.Err.Line("  policy     %s, pinned by --policy", p.Digest)
		} else {
			a.howFound(p)
		}
	} else {
		a.Err.Line("judging %d %s without a policy", n, report.Plural(n, "artifact"))
	}
	if s.Tag != "" {
		a.Err.Line("  tag        %s", s.Tag)
	}
	if s.Cooldown != "" {
		a.Err.Line("  age        at least %s", s.Cooldown)
	}
	if s.Identity != "" {
		a.Err.Line("  signer     %s by %s", s.Identity, s.Issuer)
	}
	if s.TUF != "" {
		a.Err.Line("  listed by  %s, as %s", s.TUF, cmp.Or(s.Target, "the files are called"))
	}
	if s.Demanded > 0 {
		a.Err.Line("  trust      %d of %s, each alone", s.Demanded, strings.Join(s.Roots, ", "))
	} else {
		a.Err.Line("  trust      %s", strings.Join(s.Roots, ", each alone: "))
	}
	for _, what := range s.Unknown {
		a.Err.Line("  not known  %s", what)
	}
	a.Err.Line("  as of      %s", s.AsOf.UTC().Format(time.RFC3339))
}

// shortRun is for how many artifacts a run is a short one.
const shortRun = 8

// progress returns what is told how far a run is: begin is called with the number of artifacts
// before the first is judged. Stop ends it.
func (a *app) progress(o *verifyOptions, begin func(total int)) (tell func(done, total int), stop func()) {
	const what = "judging"
	var once sync.Once
	tell = func(done, total int) {
		once.Do(func() {
			if total > shortRun {
				command.LongRun()
			}
			if o.talks() {
				begin(total)
			}
		})
		if total > 1 {
			a.Meter().Tell(what, command.Artifacts, int64(done), int64(total))
		}
	}
	return tell, a.Meter().Stop
}

// reading tells how far the content of an artifact was read.
func (a *app) reading(name string, done, total int64) {
	a.Meter().Tell("reading "+name, command.Bytes, done, total)
}
