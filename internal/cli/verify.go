// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/account"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// verifyOptions are the flags of verify and explain.
type verifyOptions struct {
	repoOptions
	published                           publishedOptions
	policy, tag, asOf, identity, issuer typed
	report, cooldown, airgap, name      typed
	bundles                             []string
	quiet, ignoreMissing                bool
	evidence                            []string         // that is carried
	doc                                 *policy.Document // of --policy, once it was read
	format                              format
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
--certificate-oidc-issuer name the one signer to accept, as with cosign. The forms
of output are described in docs/formats.md.`,
		Example: `  repopolicy verify https://github.com/acme/widget/releases/tag/v1.2.3
  repopolicy verify -R acme/widget --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy verify -R acme/widget oci://ghcr.io/acme/widget:v1.2.3
  repopolicy verify --policy policy.toml --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy verify --policy policy.toml SHA256SUMS
  repopolicy verify --certificate-identity alice@example.com \
      --certificate-oidc-issuer https://accounts.google.com widget.tar.gz`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), o, args, false) },
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
		RunE:    func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), o, args, true) },
	}
	o.flags(cmd)
	return cmd
}

func (o *verifyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.policy.name, o.tag.name, o.asOf.name, o.identity.name, o.issuer.name, o.git.name, o.report.name, o.cooldown.name, o.name.name = "FILE", "TAG", "RFC3339", "IDENTITY", "URL", "DIR", "FILE", "DURATION", "NAME"
	o.format.allowed = []string{"text", "json", "sarif", "github", "vsa"}
	o.repoOptions.flags(cmd)
	o.published.flags(cmd)
	f.Var(&o.policy, "policy", "judge by this policy file")
	f.Var(&o.tag, "tag", "demand evidence for this tag")
	f.Var(&o.name, "name", "what the one artifact is called, if you gave its file another name: a file's name or a package URL")
	f.BoolVar(&o.ignoreMissing, "ignore-missing", false, "leave out what a checksum file lists and is not there, as long as something is")
	f.Var(&o.git, "git", "read Git tags from the repository in this directory instead of here, and look for commits in its history")
	o.fromFlag(cmd)
	f.StringArrayVarP(&o.bundles, "bundle", "b", nil, "use this `FILE` as evidence for every artifact, or as a checksum file that lists them; may be repeated")
	o.rootFlags(cmd, "; may be repeated, each is used alone")
	f.BoolVar(&o.offline, "offline", false, "do not use the network; the trusted root comes from a file or the cache")
	o.airgap.name = "FILE"
	f.Var(&o.airgap, "airgap", "judge by what this file of export-bundle carries, without a network; -R, --lock or --pin says which repository is meant")
	f.Var(&o.cooldown, "cooldown", "refuse releases that were signed less than this long ago, such as 72h")
	f.Var(&o.asOf, "as-of", "judge as of this moment instead of now")
	f.Var(&o.identity, "certificate-identity", "demand this signer: exact e-mail address or URI")
	f.Var(&o.issuer, "certificate-oidc-issuer", "demand this OIDC issuer")
	f.Var(&o.format, "format", "form of the output")
	f.Var(&o.report, "report", "write the verdict into this file, too, as --format json prints it")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors; the exit code tells")
	for _, name := range []string{"certificate-identity-regexp", "certificate-oidc-issuer-regexp"} {
		f.Var(refused(strings.TrimSuffix(name, "-regexp")), name, "not supported: identities are exact")
		_ = f.MarkHidden(name)
	}
}

// refused is a flag of cosign's that repopolicy does not offer, with the reason.
type refused string

func (r refused) String() string { return "" }
func (r refused) Type() string   { return "string" }

func (r refused) Set(string) error {
	return errors.New("identities are compared exactly, because an expression that matches too much accepts strangers; give the whole identity with --" +
		string(r) + ", or list each signer as a [[release]] rule of a policy and use --policy")
}

// verify judges the artifacts; full asks for what every rule says.
func (a *app) verify(ctx context.Context, o *verifyOptions, args []string, full bool) error {
	err := a.verdict(ctx, o, args, full)
	if f := faultOf(err); f != nil && o.format.value == "github" {
		a.githubFault(f)
	}
	return err
}

func (a *app) verdict(ctx context.Context, o *verifyOptions, args []string, full bool) error {
	done, err := a.carry(o)
	defer done()
	if err != nil {
		return err
	}
	addresses, err := o.addresses(args)
	if err != nil {
		return err
	}
	pub, err := a.publication(&o.published)
	if err != nil {
		return err
	}
	if err := a.checkVerify(o, pub, args, addresses); err != nil {
		return err
	}
	again := func() (int, []run, error) { return a.prepared(ctx, o, pub, addresses, full) }
	k, runs, err := again()
	if err != nil {
		return err
	}
	sum := runs[0].sum
	if o.format.value == "vsa" && sum.Policy == nil {
		return withoutPolicy()
	}
	inputs, err := pub.inputs(ctx, args, addresses, o)
	if err != nil {
		return err
	}
	if len(inputs) > shortRun && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcLongRun)
	}
	if !o.quiet && !o.format.document() {
		a.criteria(sum, account.Expected(inputs))
	}
	acc := a.take(ctx, o, k, runs, inputs)
	if beyond(runs) { // the policy as it was when that was logged is asked for
		o.beyond = true
		if k, runs, err = again(); err != nil {
			return err
		}
		sum, acc = runs[0].sum, a.take(ctx, o, k, runs, inputs)
	}
	class := acc.Class()
	if err := pub.folder.Deliver(acc); err != nil {
		return policy.Faultf(policy.ArtifactRead, "--download: %s", err)
	}
	if err := a.print(o, newReport(sum, acc, full)); err != nil {
		// A verdict that says no stays one, however little could be said of it.
		if class == policy.ClassOK {
			return err
		}
		a.report(err)
	}
	if class != policy.ClassOK {
		return decided{class}
	}
	return nil
}

// prepared returns the runs, each with where it looks for evidence.
func (a *app) prepared(ctx context.Context, o *verifyOptions, pub *publication, addresses map[string]fetch.Address, full bool) (int, []run, error) {
	k, runs, err := a.runs(ctx, o)
	if err != nil {
		return 0, nil, err
	}
	for _, r := range runs {
		r.judge.Full = full
		if err := a.look(r.judge, r.sum, o, pub, addresses); err != nil {
			return 0, nil, err
		}
	}
	return k, runs, nil
}

// beyond reports whether a run had evidence about which its staple cannot say anything.
func beyond(runs []run) bool {
	return slices.ContainsFunc(runs, func(r run) bool {
		w, ok := r.judge.Watch.(*find.Watch)
		return ok && w.Beyond()
	})
}

// print writes the report in the form that was asked for.
func (a *app) print(o *verifyOptions, r *report) error {
	if o.report.set {
		if err := writeJSON(o.report.value, r); err != nil {
			return err
		}
	}
	switch o.format.value {
	case "json":
		return a.out.json(r)
	case "sarif":
		return a.out.json(newSARIF(r))
	case "vsa":
		s, err := newVSA(r)
		if err != nil {
			return err
		}
		return a.out.json(s)
	case "github":
		var more []output
		if o.report.set {
			more = append(more, output{"report-path", o.report.value})
		}
		a.github(r, more...)
	default:
		if !o.quiet {
			a.printReport(r)
		}
	}
	return nil
}

// criteriaOf reads the flags that say how to judge.
func (a *app) criteriaOf(o *verifyOptions) (*release.Judge, *summary, error) {
	now := a.Now()
	j := &release.Judge{Bundles: o.bundles, Carried: o.evidence, Now: now, Skew: find.Skew, PlaceProof: rekorbind.PlaceMoment}
	if !o.quiet && !o.format.document() {
		j.Ignored = a.ignored
	}
	sum := &summary{AsOf: now, Roots: o.roots, Offline: o.offline}
	if o.asOf.set {
		t, err := moment(o.asOf.value)
		if err != nil {
			return nil, nil, &policy.Fault{Reason: policy.Usage, Text: "--as-of: " + err.Error(), Hint: "write it like 2026-11-22T00:00:00Z"}
		}
		if t.After(now.Add(find.Skew)) {
			return nil, nil, policy.Faultf(policy.Usage, "--as-of %s is in the future", o.asOf.value)
		}
		j.Now, j.Skew, sum.AsOf = t, 0, t
	}
	if o.cooldown.set {
		d, err := time.ParseDuration(o.cooldown.value)
		if err != nil || d <= 0 {
			return nil, nil, &policy.Fault{Reason: policy.Usage, Text: "--cooldown: not a duration", Hint: "write it like 72h"}
		}
		j.Cooldown, sum.Cooldown = d, d.String()
	}
	if o.tag.set {
		if !policy.ValidTag(o.tag.value) {
			return nil, nil, &policy.Fault{Reason: policy.Usage, Text: "--tag: " + o.tag.value + " cannot be a tag", Hint: "give the tag's name without refs/tags/"}
		}
		j.Tag, sum.Tag = o.tag.value, o.tag.value
	}
	if o.identity.set != o.issuer.set {
		return nil, nil, policy.Faultf(policy.Usage, "--certificate-identity and --certificate-oidc-issuer go together: the same name from another issuer is another person")
	}
	if o.identity.set {
		if _, err := policy.IdentityOnly(policy.FlagIdentity{Identity: o.identity.value, Issuer: o.issuer.value, SetOnly: true}); err != nil {
			return nil, nil, policy.Faultf(policy.Usage, "%s", err)
		}
	}
	switch {
	case o.policy.set && o.repo.set:
		return nil, nil, policy.Faultf(policy.Usage, "--policy and --repo contradict each other: the policy is either the one in the file or the one that the repository bound")
	case !o.repo.set && o.repoOptions.any():
		return nil, nil, policy.Faultf(policy.Usage, "--require, --max-age, --pin, --lock, --from, --scan, --witness-policy and --fail-on-alarm are about the policy that --repo finds")
	case !o.policy.set && !o.repo.set && !o.identity.set:
		return nil, nil, &policy.Fault{Reason: policy.Usage, Text: "nothing to judge by", Hint: "name the repository with --repo, a policy with --policy FILE, or one signer with --certificate-identity and --certificate-oidc-issuer"}
	}
	return j, sum, nil
}

// judge turns the flags into a judge and a summary of the criteria.
func (a *app) judge(ctx context.Context, o *verifyOptions, open func(context.Context) ([]trust.Root, error)) (*release.Judge, *summary, error) {
	j, sum, err := a.criteriaOf(o)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case o.policy.set:
		if err := a.pinned(o, j, sum); err != nil {
			return nil, nil, err
		}
	case o.repo.set:
		if err := a.bound(ctx, o, j, sum); err != nil {
			return nil, nil, err
		}
	default:
		t, err := policy.IdentityOnly(policy.FlagIdentity{Identity: o.identity.value, Issuer: o.issuer.value, SetOnly: true})
		if err != nil {
			return nil, nil, policy.Faultf(policy.Usage, "%s", err)
		}
		j.Policy = t
	}
	if o.identity.set {
		sum.Identity, sum.Issuer = o.identity.value, o.issuer.value
	}
	if len(sum.Roots) == 0 {
		sum.Roots = []string{string(trust.PublicGood)}
	}
	if j.Roots == nil {
		j.Roots = plainRoots(open)
	}
	return j, sum, nil
}

// moment reads a time on the command line. What was before Unix or is beyond RFC 3339,
// which can only be a mistake, is an error.
func moment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, errors.New("not a time")
	}
	if !bounded(t) {
		return t, errors.New("only times of the years 1970 to 9999 are taken")
	}
	return t, nil
}

// pinned loads the policy of --policy.
func (a *app) pinned(o *verifyOptions, j *release.Judge, sum *summary) error {
	doc, err := o.document()
	if err != nil {
		return err
	}
	j.Policy = doc.Pin(policy.Ids{})
	if j.Keys, err = signerKeys(j.Policy, o.policy.value); err != nil {
		return err
	}
	if o.identity.set {
		j.Narrow = &policy.Narrow{Identity: o.identity.value, Issuer: o.issuer.value}
	}
	sum.Policy = &policySummary{
		Path: o.policy.value, Digest: doc.Digest().String(), Genesis: string(j.Policy.Genesis()), Completeness: "none",
		Repository: doc.Content().Repository.String(), Version: doc.Content().Version, Expires: doc.Content().Expires,
	}
	return nil
}

// bound finds the policy of --repo.
func (a *app) bound(ctx context.Context, o *verifyOptions, j *release.Judge, sum *summary) error {
	o.timeless = o.asOf.set
	f, err := a.find(ctx, &o.repoOptions)
	if err != nil {
		return err
	}
	if !o.quiet && !o.format.document() {
		a.warn(f)
	}
	if err := f.Usable(a.Now()); err != nil {
		return err
	}
	j.Policy, j.Watch = f.Trusted(), f.Watch
	if j.Keys, err = signerKeys(j.Policy, f.Repository.String()); err != nil {
		return err
	}
	if o.identity.set {
		j.Narrow = &policy.Narrow{Identity: o.identity.value, Issuer: o.issuer.value}
	}
	sum.Policy, sum.Unknown = policySummaryOf(f), f.Unknown()
	for _, al := range f.Resolution.Chain.Alarms() {
		sum.alarms = append(sum.alarms, find.AlarmText(al))
	}
	sum.Roots = []string{f.Root.Name()} // the same root for the release
	j.Roots = func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{f.Root.Root}, nil }
	return nil
}

// document returns the policy of --policy, which is read once for all roots.
func (o *verifyOptions) document() (*policy.Document, error) {
	if o.doc != nil {
		return o.doc, nil
	}
	doc, err := loadPolicy(o.policy.value)
	o.doc = doc
	return doc, err
}

// loadPolicy reads and parses a policy file to be used.
func loadPolicy(path string) (*policy.Document, error) {
	src, err := readPolicy(path)
	if err != nil {
		return nil, err
	}
	doc, err := policy.Parse(src)
	var pe *policy.ParseError
	if errors.As(err, &pe) {
		reason := pe.Reason()
		if reason == policy.PolicyNewerFormat {
			reason = policy.NeedsNewerVersion
		}
		p := pe.Problems[0]
		f := policy.Faultf(reason, "%s:%s", path, pe)
		if f.Hint = p.Hint; f.Hint == "" {
			f.Hint = "`repopolicy check` lists every fault"
		}
		return nil, f
	}
	if err != nil {
		return nil, err
	}
	return doc, nil
}

// criteria says what will be demanded, before anything is judged.
func (a *app) criteria(s *summary, n int) {
	if p := s.Policy; p != nil {
		from := ""
		if p.Path != "" {
			from = p.Path + ": "
		}
		a.err.line("judging %d %s by %s%s, version %d, expires %s", n, plural(n, "artifact"), from, p.Repository, p.Version, p.Expires.Format(time.DateOnly))
		if p.Path != "" {
			a.err.line("  policy     %s, pinned by --policy", p.Digest)
		} else {
			a.howFound(p)
		}
	} else {
		a.err.line("judging %d %s without a policy", n, plural(n, "artifact"))
	}
	if s.Tag != "" {
		a.err.line("  tag        %s", s.Tag)
	}
	if s.Cooldown != "" {
		a.err.line("  age        at least %s", s.Cooldown)
	}
	if s.Identity != "" {
		a.err.line("  signer     %s by %s", s.Identity, s.Issuer)
	}
	if s.Demanded > 0 {
		a.err.line("  trust      %d of %s, each alone", s.Demanded, strings.Join(s.Roots, ", "))
	} else {
		a.err.line("  trust      %s", strings.Join(s.Roots, ", each alone: "))
	}
	for _, what := range s.Unknown {
		a.err.line("  not known  %s", what)
	}
	a.err.line("  as of      %s", s.AsOf.UTC().Format(time.RFC3339))
}

// progress shows on a terminal how far a long run is. The returned function
// ends it.
func (a *app) progress(j *release.Judge, total int, quiet bool) func() {
	if !a.Terminal || quiet || total < 2 {
		return func() {}
	}
	var n atomic.Int64
	j.Progress = func(done int) { n.Store(int64(done)) }
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-tick.C:
				shown = true
				a.err.status("judged %d of %d", n.Load(), total)
			case <-quit:
				if shown {
					a.err.status("")
				}
				return
			}
		}
	}()
	return func() { close(quit); <-gone }
}
