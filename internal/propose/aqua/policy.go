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

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Options say what an entry does not.
type Options struct {
	Now time.Time
	// Caller is the workflow of the package's repository that calls reusable
	// workflows of other repositories.
	Caller string
	// SignerRefs are exact refs of reusable workflows, by "owner/name".
	SignerRefs map[string]string
}

const slsaGenerator = "slsa-framework/slsa-github-generator"

// draft collects rules and what could not become one.
type draft struct {
	pkg   *Package
	repo  policy.Locator
	o     Options
	rules []*rule
	left  []string // comments, each once
}

type rule struct {
	signer
	artifacts []string // patterns; none with any
	any       bool
}

// Policy returns a policy with the rules that the package's entry amounts to,
// and in comments what cannot be expressed and why. It is an error if not a
// single signer can be.
func (p *Package) Policy(o Options) (string, error) {
	if p.Owner == "" || p.Repo == "" {
		return "", errors.New("the entry names no repository (repo_owner and repo_name)")
	}
	repo, err := policy.NormalizeLocator(p.Owner + "/" + p.Repo)
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
		return "", errors.New(why)
	}
	text := d.text()
	if _, err := policy.Parse([]byte(text)); err != nil {
		return "", fmt.Errorf("the entry has a value that a policy cannot hold: %w", err)
	}
	return text, nil
}

// section turns the evidence that one section names into rules.
func (d *draft) section(s section) {
	sums := s.find("checksum")
	for _, e := range []struct {
		name string
		node *yaml.Node
		read func(*yaml.Node) (signer, error)
	}{
		{"cosign", s.find("cosign"), fromCosign},
		{"checksum.cosign", get(sums, "cosign"), fromCosign},
		{"github_artifact_attestations", s.find("github_artifact_attestations"), fromAttestations},
		{"checksum.github_artifact_attestations", get(sums, "github_artifact_attestations"), fromAttestations},
		{"slsa_provenance", s.find("slsa_provenance"), fromSLSA},
		{"github_release_attestation", s.find("github_release_attestation"), fromImmutable},
		{
			"minisign", s.find("minisign"),
			func(*yaml.Node) (signer, error) { return signer{}, errors.New("minisign is no Sigstore evidence") },
		},
	} {
		if e.node == nil || scalar(e.node, "enabled") == "false" || e.node.Kind != yaml.MappingNode {
			continue
		}
		who, err := e.read(e.node)
		if err == nil {
			err = d.complete(&who)
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

func fromSLSA(*yaml.Node) (signer, error) {
	return signer{
		issuer: githubIssuer, repo: slsaGenerator, path: ".github/workflows/generator_generic_slsa3.yml", narrowed: true,
	}, nil
}

func fromImmutable(*yaml.Node) (signer, error) { return signer{immutable: true}, nil }

// complete checks a workflow against the package's repository and adds what a
// workflow of another repository needs.
func (d *draft) complete(s *signer) error {
	if s.repo == "" {
		return nil
	}
	if s.path != "" && s.ref != "" && !spelling.ValidRef(s.ref) {
		return fmt.Errorf("%q is no ref", s.ref)
	}
	l, err := policy.NormalizeLocator(s.repo)
	switch {
	case err != nil:
		return err
	case l == d.repo:
		s.repo = ""
		return nil
	}
	s.repo = l.String()
	pin := d.o.SignerRefs[l.Path()]
	switch {
	case len(s.refs) > 0:
		return fmt.Errorf("%s is a workflow of another repository, and a rule pins one ref of it", l.Path()+"/"+s.path)
	case d.o.Caller == "":
		return fmt.Errorf(
			"%s is a workflow of another repository: say with --caller which workflow of this repository calls it",
			l.Path()+"/"+s.path,
		)
	case s.ref == "" && pin == "":
		return fmt.Errorf("%s is a workflow of another repository: pin it with --signer-ref %s=refs/tags/…",
			l.Path()+"/"+s.path, l.Path())
	case pin != "":
		s.ref = pin
	}
	return nil
}

// add merges a signer into the rules.
func (d *draft) add(who signer, s section, sums *yaml.Node) {
	if prefix := s.text("version_prefix"); prefix != "" && who.tags == "" {
		who.tags = prefix + "*"
	}
	r := &rule{signer: who}
	for _, old := range d.rules {
		o, n := old.signer, who
		o.narrowed, n.narrowed, o.triggers, n.triggers = false, false, nil, nil
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
		if r.ref != "" {
			put("refs       = [%s]", str(r.ref))
		} else if len(r.refs) > 0 {
			put("refs       = [%s]", list(r.refs))
		} else if r.narrowed {
			comment("the entry takes any ref; this rule takes the tag being verified")
		}
	default:
		put("workflow   = %s", str(r.repo+"/"+r.path))
		put("caller     = %s", str(d.o.Caller))
		put("signer-ref = %s", str(r.ref))
		if r.repo == "https://github.com/"+slsaGenerator {
			comment("the entry names no builder; this is the generic generator")
		}
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
