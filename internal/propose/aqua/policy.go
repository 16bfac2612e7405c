// SPDX-License-Identifier: Apache-2.0

package aqua

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Options say what an entry does not.
type Options struct {
	Now time.Time
	// Caller is the workflow of the package's repository that calls reusable
	// workflows of other repositories.
	Caller string
	// SignerRefs are exact refs or commits of reusable workflows, by "owner/name".
	SignerRefs map[string]string
	// Calls are how workflows of the package's repository call others; nil if no clone is at hand.
	Calls []propose.Rule
}

// UnknownError says that no signer of an entry is known well enough for a rule.
type UnknownError struct {
	text string
	// Flags are options of `import aqua` that say what is missing, as words of a shell; "" if
	// no option does.
	Flags string
}

func (e *UnknownError) Error() string { return e.text }

// draft collects rules and what could not become one.
type draft struct {
	pkg   *Package
	repo  policy.Locator
	o     Options
	rules []*rule
	left  []string // comments, each once

	// What is to be asked: who calls reusable workflows, with one that may be it, and at which
	// ref those of these repositories are called.
	asksCaller bool
	caller     string
	unpinned   []string
}

type rule struct {
	signer
	artifacts []string // patterns; none with any
	any       bool
}

// Repository returns the package's repository.
func (p *Package) Repository() (policy.Locator, error) {
	if p.Owner == "" || p.Repo == "" {
		return policy.Locator{}, errors.New("the entry names no repository (repo_owner and repo_name)")
	}
	return policy.NormalizeLocator(p.Owner + "/" + p.Repo)
}

// Policy returns a policy with the rules that the package's entry amounts to,
// and in comments what cannot be expressed and why. If not a single signer can
// be, that is an [UnknownError].
func (p *Package) Policy(o Options) (string, error) {
	repo, err := p.Repository()
	if err != nil {
		return "", err
	}
	d := &draft{pkg: p, repo: repo, o: o}
	sections, err := p.sections()
	if err != nil {
		return "", err
	}
	for _, s := range sections {
		d.section(s)
	}
	if !slices.ContainsFunc(d.rules, func(r *rule) bool { return !r.immutable }) {
		why := "the entry names no signer"
		if len(d.left) > 0 {
			why = "no signer of the entry can be expressed: " + strings.Join(d.left[:min(len(d.left), 3)], "; ")
		}
		return "", &UnknownError{why, d.flags()}
	}
	text := d.text()
	if _, err := policy.Parse([]byte(text)); err != nil {
		return "", fmt.Errorf("the entry has a value that a policy cannot hold: %w", err)
	}
	return text, nil
}

// evidence is one place of an entry that names a signer.
type evidence struct {
	name string
	node *yaml.Node
	read func(*yaml.Node) (signer, error)
}

// section turns the evidence that one section names into rules.
func (d *draft) section(s section) {
	sums := s.find("checksum")
	all := []evidence{
		{"cosign", s.find("cosign"), fromCosign},
		{"checksum.cosign", get(sums, "cosign"), fromCosign},
		{"github_artifact_attestations", s.find("github_artifact_attestations"), fromAttestations},
		{"checksum.github_artifact_attestations", get(sums, "github_artifact_attestations"), fromAttestations},
	}
	for _, builder := range d.builders() {
		all = append(all, evidence{"slsa_provenance", s.find("slsa_provenance"), d.fromSLSA(builder)})
	}
	all = append(
		all,
		evidence{"github_release_attestation", s.find("github_release_attestation"), fromImmutable},
		evidence{"minisign", s.find("minisign"), fromMinisign},
	)
	all = slices.DeleteFunc(all, func(e evidence) bool {
		return e.node == nil || scalar(e.node, "enabled") == "false" || e.node.Kind != yaml.MappingNode
	})
	own := d.own(all)
	for _, e := range all {
		who, err := e.read(e.node)
		if err == nil {
			err = d.complete(&who, own)
		}
		for _, alt := range who.missed {
			d.leave("%s: refs that match %s: no pattern says that", e.name, alt)
		}
		if err != nil {
			d.leave("%s: %s", e.name, err)
			continue
		}
		d.add(who, s, sums)
	}
}

func fromAttestations(n *yaml.Node) (signer, error) {
	w := scalar(n, "signer_workflow")
	if w == "" {
		w = scalar(n, "signer-workflow") // an older spelling
	}
	if w == "" {
		return signer{}, errors.New("any workflow may sign: name one with signer_workflow")
	}
	// gh takes an expression, so that some entries escape the dots.
	text, _ := literal(w)
	owner, rest, _ := strings.Cut(strings.TrimPrefix(text, "github.com/"), "/")
	name, file, _ := strings.Cut(rest, "/")
	s, err := signer{issuer: githubIssuer}.workflow("https://github.com/"+owner+"/"+name+"/"+file+"@", anything)
	if err != nil {
		return signer{}, fmt.Errorf("%q is no workflow", w)
	}
	return s, nil
}

func fromImmutable(*yaml.Node) (signer, error) { return signer{immutable: true}, nil }

func fromMinisign(*yaml.Node) (signer, error) {
	return signer{}, errors.New("minisign is no Sigstore evidence")
}

// complete checks a workflow against the package's repository and adds who calls it, where it is
// called; own are the repository's workflows that the section names.
func (d *draft) complete(s *signer, own []string) error {
	if s.source != "" {
		if l, err := policy.NormalizeLocator(s.source); err != nil || l != d.repo {
			return fmt.Errorf("it is about runs of %q", s.source)
		}
		s.source = ""
	}
	if s.repo == "" {
		if s.run != "" || s.tagOnly {
			return errors.New("it asks for the ref of a run, and names no workflow")
		}
		return nil
	}
	l, err := policy.NormalizeLocator(s.repo)
	if err != nil {
		return err
	}
	if l != d.repo {
		s.repo = l.String()
		return d.called(s, l.Path(), own)
	}
	s.repo = ""
	return d.ownWorkflow(s)
}

// ownWorkflow completes a workflow of the package's repository.
func (d *draft) ownWorkflow(s *signer) error {
	if s.ref != "" && !isRef(s.ref) {
		return fmt.Errorf("%q is no tag or branch", s.ref)
	}
	if s.more != "" {
		return fmt.Errorf("no pattern says what the expression says of the ref, %s", s.more)
	}
	if (s.tagOnly || s.run != "") && (s.ref != "" && s.ref != s.run || s.refs != nil) {
		return errors.New("it asks for one ref of the run and for another one of the workflow")
	}
	if s.run != "" {
		s.ref = s.run
	}
	return d.ownCaller(s)
}

// ownCaller finds out by the clone which workflow calls one of the package's repository, if that
// does not start by itself.
func (d *draft) ownCaller(s *signer) error {
	calls := slices.DeleteFunc(d.calls("", s.path), func(r propose.Rule) bool {
		return s.ref == "" && s.refs == nil && r.Refs != nil
	})
	callers := values(calls, func(r propose.Rule) string { return r.Caller })
	switch {
	case slices.Contains(callers, d.o.Caller) && d.o.Caller != s.path:
		s.caller = d.o.Caller
	case len(callers) == 0 || slices.Contains(callers, s.path):
	case len(callers) == 1:
		s.caller = callers[0]
	default:
		d.ask(&signer{ref: "none"}, "", callers)
		return fmt.Errorf("%s is called by %s: say with --caller by which", s.path, strings.Join(callers, " and "))
	}
	if !nameable(s.caller) {
		return fmt.Errorf("%s is called by %q, which no policy can name", s.path, s.caller)
	}
	if s.caller != "" {
		s.notes = append(s.notes, "so the clone calls it; releases from before may have called it otherwise")
	}
	return nil
}

// add merges a signer into the rules.
func (d *draft) add(who signer, s section, sums *yaml.Node) {
	if prefix := s.text("version_prefix"); prefix != "" && who.tags == "" {
		who.tags = prefix + "*"
	}
	who.run, who.tagOnly = "", false // the refs say that now
	r := &rule{signer: who}
	for _, old := range d.rules {
		o, n := old.signer, who
		o.narrowed, n.narrowed, o.triggers, n.triggers, o.notes, n.notes = false, false, nil, nil, nil, nil
		if fmt.Sprint(o) == fmt.Sprint(n) && slices.Equal(old.triggers, who.triggers) {
			old.narrowed = old.narrowed || who.narrowed
			r = old
		}
	}
	if !slices.Contains(d.rules, r) {
		d.rules = append(d.rules, r)
	}
	for _, name := range []string{s.text("asset"), scalar(sums, "asset")} {
		if name == "" {
			continue
		}
		pattern, ok := patternOf(name)
		switch {
		case !ok:
			r.any = true
			d.leave("asset %q: no pattern can say it, so the rule takes any name", name)
		case !slices.Contains(r.artifacts, pattern):
			r.artifacts = append(r.artifacts, pattern)
		}
	}
	if s.text("asset") == "" {
		r.any = true
	}
}

// patternOf turns the name of an asset with templates into a pattern.
func patternOf(name string) (string, bool) {
	var b strings.Builder
	for name != "" {
		before, rest, ok := strings.Cut(name, "{{")
		b.WriteString(before)
		if !ok {
			break
		}
		if _, name, ok = strings.Cut(rest, "}}"); !ok {
			return "", false
		}
		if !strings.HasSuffix(b.String(), "*") {
			b.WriteByte('*')
		}
	}
	pattern := path.Base(b.String()) // aqua names some by their path in an archive
	_, err := policy.ParsePattern(pattern)
	return pattern, err == nil
}

func (d *draft) leave(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); !slices.Contains(d.left, line) {
		d.left = append(d.left, line)
	}
}

// text writes the policy.
func (d *draft) text() string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	comment := func(format string, args ...any) { put("# %s", plain(fmt.Sprintf(format, args...))) }
	comment("A draft from the aqua registry's entry for %s. Check every line: the entry", d.pkg.Name)
	comment("says what somebody observed, this policy what the project promises. Rules are")
	comment("stricter than the entry where the language is: a run for the tag being verified,")
	comment("on GitHub's own runners, by the events of the specification.")
	for _, line := range d.left {
		comment("left out: %s", line)
	}
	if flags := d.flags(); flags != "" {
		comment("to add what is left out: %s", flags)
	}
	put("format     = %s", str(spelling.Format))
	put("repository = %s", str(d.repo.String()))
	put("version    = 1")
	put("expires    = %s", d.o.Now.UTC().AddDate(1, 0, 0).Format("2006-01-02T00:00:00Z"))
	put("")
	comment("Replace this by the people who may change the policy.")
	put("[maintainers]\nthreshold  = 1\nrepository = true")
	for i, r := range d.rules {
		put("\n[[release]]")
		put("name       = %s", str(fmt.Sprintf("aqua-%d", i+1)))
		if r.tags == "" {
			put("tags       = \"any\"")
		} else {
			put("tags       = [%s]", str(r.tags))
		}
		if r.any || len(r.artifacts) == 0 {
			put("artifacts  = \"any\"")
		} else {
			put("artifacts  = [%s]", list(r.artifacts))
		}
		d.signer(put, comment, r)
	}
	return b.String()
}

func (d *draft) signer(put, comment func(string, ...any), r *rule) {
	switch {
	case r.immutable:
		put("github-release = true")
		put("unlogged   = true")
		return
	case r.path == "":
		put("identities = [{ %s = %s, issuer = %s }]", r.kind, str(r.value), str(r.issuer))
		return
	case r.repo == "":
		put("workflow   = %s", str(r.path))
		if r.caller != "" {
			put("caller     = %s", str(r.caller))
		}
		if r.ref != "" {
			put("refs       = [%s]", str(r.ref))
		} else if len(r.refs) > 0 {
			put("refs       = [%s]", list(r.refs))
		} else if r.narrowed {
			comment("the entry takes any ref; this rule takes the tag being verified")
		}
	default:
		put("workflow   = %s", str(r.repo+"/"+r.path))
		put("caller     = %s", str(r.caller))
		if isCommit(r.ref) {
			put("signer-digest = %s", str(r.ref))
		} else {
			put("signer-ref = %s", str(r.ref))
		}
		if len(r.refs) > 0 {
			put("refs       = [%s]", list(r.refs))
		}
	}
	for _, note := range r.notes {
		comment("%s", note)
	}
	if len(r.triggers) > 0 {
		put("triggers   = [%s]", list(r.triggers))
	}
}

// plain returns s as it may stand in a comment of a policy.
func plain(s string) string {
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func str(s string) string { return strconv.QuoteToASCII(s) }

func list(ss []string) string {
	out := make([]string, len(ss))
	for i := range ss {
		out[i] = str(ss[i])
	}
	return strings.Join(out, ", ")
}
