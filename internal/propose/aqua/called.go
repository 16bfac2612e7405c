// SPDX-License-Identifier: Apache-2.0

package aqua

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Builders whose provenance slsa-verifier takes for files, as aqua runs it, and the tags of them.
//
// https://github.com/slsa-framework/slsa-verifier
const (
	slsaGenerator  = "slsa-framework/slsa-github-generator"
	genericBuilder = ".github/workflows/generator_generic_slsa3.yml"
	builderRefs    = "refs/tags/v*.*.*"
)

var slsaBuilders = []string{
	genericBuilder, ".github/workflows/builder_go_slsa3.yml", ".github/workflows/builder_container-based_slsa3.yml",
}

// builders returns the builders of SLSA's that the clone calls; the generic one if it shows none.
func (d *draft) builders() (out []string) {
	for _, path := range slsaBuilders {
		if len(d.calls("https://github.com/"+slsaGenerator, path)) > 0 {
			out = append(out, path)
		}
	}
	if out == nil {
		return []string{genericBuilder}
	}
	return out
}

// fromSLSA returns a reader of slsa_provenance, which names no builder.
func (d *draft) fromSLSA(builder string) func(*yaml.Node) (signer, error) {
	return func(n *yaml.Node) (signer, error) {
		if uri := scalar(n, "source_uri"); uri != "" {
			if l, err := policy.NormalizeLocator(uri); err != nil || l != d.repo {
				return signer{}, fmt.Errorf("it is about the source %q", uri)
			}
		}
		if tag := scalar(n, "source_tag"); tag != "" && tag != "{{.Version}}" {
			return signer{}, fmt.Errorf("it is about the tag %q, and a rule about the one being verified", tag)
		}
		s := signer{
			issuer: githubIssuer, repo: slsaGenerator, path: builder, refs: []string{builderRefs}, tagOnly: true,
		}
		if who := scalar(n, "signer_identity"); who != "" {
			if issuer := scalar(n, "signer_issuer"); issuer != githubIssuer {
				return signer{}, fmt.Errorf("%q is no issuer of workflows", issuer)
			}
			return signer{issuer: githubIssuer, tagOnly: true}.workflow(who, "")
		}
		if len(d.calls("https://github.com/"+slsaGenerator, builder)) == 0 {
			s.notes = []string{"the entry names no builder; this is the generic generator"}
		}
		return s, nil
	}
}

// own returns the workflows of the package's repository that evidence names.
func (d *draft) own(all []evidence) (out []string) {
	for _, e := range all {
		s, err := e.read(e.node)
		if err != nil || s.repo == "" || slices.Contains(out, s.path) {
			continue
		}
		if l, err := policy.NormalizeLocator(s.repo); err == nil && l == d.repo {
			out = append(out, s.path)
		}
	}
	return out
}

// calls returns how the clone calls a workflow; repo is "" for the package's repository.
func (d *draft) calls(repo, path string) (out []propose.Rule) {
	for _, r := range d.o.Calls {
		before, ok := strings.CutSuffix(r.Workflow, path)
		if ok && strings.EqualFold(strings.TrimSuffix(before, "/"), repo) {
			out = append(out, r)
		}
	}
	return out
}

// at returns the ref or commit at which a workflow is called.
func at(r propose.Rule) string { return r.SignerDigest + r.SignerRef }

// called finds out who calls a workflow of another repository and at which ref: what the user
// says, what the entry says, or what the clone shows if it shows one thing. Else it is an error,
// and the option that says it is remembered.
func (d *draft) called(s *signer, repo string, own []string) error {
	name := repo + "/" + s.path
	takes := s.pins()
	if s.run != "" {
		s.refs = []string{s.run}
	}
	calls := slices.DeleteFunc(d.calls(s.repo, s.path), func(r propose.Rule) bool {
		return s.tagOnly && r.Refs != nil
	})
	callers := values(calls, func(r propose.Rule) string { return r.Caller })
	switch {
	case d.o.Caller != "":
		s.caller = d.o.Caller
	case len(callers) == 1:
		s.caller = callers[0]
	case len(callers) == 0 && len(own) == 1:
		s.caller = own[0]
		s.notes = append(s.notes, "the entry does not say who calls it; this is the one workflow here that it names")
	}
	if s.caller != "" && !nameable(s.caller) {
		return fmt.Errorf("%s is called by %q, which no policy can name", name, s.caller)
	}
	calls = slices.DeleteFunc(calls, func(r propose.Rule) bool { return r.Caller != s.caller })
	if err := d.pinned(s, repo, takes, values(calls, at)); err != nil {
		d.ask(s, repo, callers)
		return fmt.Errorf("%s %w", name, err)
	}
	if s.caller == "" || s.ref == "" {
		return d.unknown(s, repo, name, callers)
	}
	if i := slices.IndexFunc(calls, func(r propose.Rule) bool { return at(r) == s.ref }); i >= 0 {
		if s.run == "" {
			s.refs = calls[i].Refs
		}
		s.notes = append(s.notes, "so the clone calls it; releases from before may have called it otherwise")
	} else if len(calls) > 0 {
		s.notes = append(s.notes, "the clone calls it at "+strings.Join(values(calls, at), " and ")+" today")
	}
	return nil
}

// pins returns a function that reports whether the entry takes a ref or commit of a workflow of
// another repository. What the entry says of refs is then no longer about the run.
func (s *signer) pins() func(at string) bool {
	exact, patterns := s.ref, s.refs
	if s.tags != "" {
		patterns = append(patterns, "refs/tags/"+s.tags)
	}
	s.refs, s.tags, s.narrowed = nil, "", false
	return func(at string) bool {
		return at == exact || exact == "" && (patterns == nil || slices.ContainsFunc(patterns, func(text string) bool {
			p, err := policy.ParsePattern(text)
			return err == nil && p.Match(at)
		}))
	}
}

// pinned finds out at which ref or commit a workflow of another repository is called.
func (d *draft) pinned(s *signer, repo string, takes func(string) bool, shown []string) error {
	given := d.o.SignerRefs[repo]
	switch {
	case given != "" && !takes(given):
		return fmt.Errorf("is not taken at %s by the entry", given)
	case given != "":
		s.ref = given
	case s.ref == "" && s.more == "":
		shown = slices.DeleteFunc(shown, func(at string) bool { return !takes(at) || !isRef(at) && !isCommit(at) })
		if len(shown) == 1 {
			s.ref = shown[0]
		}
	}
	if s.ref != "" && !isRef(s.ref) && !isCommit(s.ref) {
		return fmt.Errorf("is named at %q, which is no tag, branch or commit", s.ref)
	}
	return nil
}

// unknown asks for what is missing.
func (d *draft) unknown(s *signer, repo, name string, callers []string) error {
	d.ask(s, repo, callers)
	text := name + " is a workflow of another repository:"
	if s.caller == "" {
		text += " say with --caller which workflow of this repository calls it"
		if len(callers) > 0 {
			text += ", " + strings.Join(callers, " or ")
		}
	}
	if s.unpinned(callers) {
		if s.caller == "" {
			text += ", and"
		}
		text += " pin it with --signer-ref " + repo + "=REF"
	}
	return errors.New(text)
}

// ask remembers the options that say who calls a workflow and at which ref.
func (d *draft) ask(s *signer, repo string, callers []string) {
	if s.unpinned(callers) && !slices.Contains(d.unpinned, repo) {
		d.unpinned = append(d.unpinned, repo)
	}
	if len(callers) == 0 { // a workflow that is called may call this one
		callers = values(d.o.Calls, func(r propose.Rule) string { return r.Caller })
	}
	if s.caller == "" {
		d.asksCaller = true
		d.caller = cmp.Or(d.caller, strings.Join(callers[:min(len(callers), 1)], ""))
	}
}

// unpinned reports whether the ref of a workflow is to be asked for: it is not known, and who calls
// it does not show it either.
func (s *signer) unpinned(callers []string) bool {
	return s.ref == "" && (s.caller != "" || len(callers) == 0)
}

// flags returns the options that say what is missing, as words of a shell; capitals stand for
// what nothing here shows.
func (d *draft) flags() string {
	var out []string
	if d.asksCaller {
		out = append(out, "--caller", spelling.ShellWord(cmp.Or(d.caller, "PATH")))
	}
	for _, repo := range d.unpinned {
		out = append(out, "--signer-ref", spelling.ShellWord(repo)+"=REF")
	}
	return strings.Join(out, " ")
}

// nameable reports whether a policy can name a file of a clone (SPEC 3.4).
func nameable(path string) bool {
	return !strings.ContainsFunc(path, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`@*?#%\:"<>|`, r)
	})
}

// values returns the different values that calls have.
func values(calls []propose.Rule, of func(propose.Rule) string) (out []string) {
	for _, r := range calls {
		if v := of(r); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// isRef reports whether a rule can name a ref.
func isRef(s string) bool {
	return spelling.ValidRef(s) && (strings.HasPrefix(s, "refs/tags/") || strings.HasPrefix(s, "refs/heads/"))
}

// isCommit reports whether a text is a full commit id.
func isCommit(s string) bool { return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == "" }
