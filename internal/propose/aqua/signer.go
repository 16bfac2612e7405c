// SPDX-License-Identifier: Apache-2.0

package aqua

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/policy"
)

const githubIssuer = "https://token.actions.githubusercontent.com"

// signer is whom an entry names, in the terms of a rule.
type signer struct {
	repo      string   // "owner/name" of a workflow; "" for a person
	path      string   // of the workflow
	ref       string   // exact ref, or commit of a reusable workflow; "" for the tag being verified, or refs
	refs      []string // patterns, if the entry lists several
	missed    []string // alternatives of the entry that no pattern says
	triggers  []string
	kind      policy.Kind
	value     string
	issuer    string
	immutable bool   // GitHub's own attestation about a release
	tags      string // pattern of the tag, as the identity's ref gives it; may be ""
	narrowed  bool   // the entry takes more refs than the rule does
	more      string // what the entry's expression says of the ref behind what is known of it; may be ""
	caller    string // of a workflow of another repository
	tagOnly   bool   // the entry takes runs for the tag alone
	run       string // exact ref of the run, if the entry says that; may be ""
	source    string // repository of the run, if the entry says that; may be ""
	notes     []string
}

// fromCosign returns whom the options of `cosign verify-blob` name.
func fromCosign(n *yaml.Node) (signer, error) {
	opts, err := options(get(n, "opts"))
	if err != nil {
		return signer{}, err
	}
	named := cmp.Or(opts["--certificate-identity"], opts["--certificate-identity-regexp"])
	issuer, err := issuerOf(opts)
	if err != nil {
		return signer{}, err
	}
	switch {
	case named == "" && (opts["--key"] != "" || get(n, "key") != nil):
		return signer{}, errors.New("it is signed by a key whose bytes are not in the entry; " +
			"add them to a rule as keys = [\"…\"]")
	case named == "":
		return signer{}, errors.New("no identity is named")
	case issuer == "":
		return signer{}, errors.New("no issuer is named, and the same name from another issuer is another person")
	}
	for _, flag := range noRule {
		if _, ok := opts[flag]; ok {
			return signer{}, fmt.Errorf("a rule has nothing for %s", flag)
		}
	}
	s := signer{issuer: issuer, source: opts["--certificate-github-workflow-repository"]}
	if err := s.ofRun(opts); err != nil {
		return signer{}, err
	}
	if trigger, ok := opts["--certificate-github-workflow-trigger"]; ok {
		s.triggers = []string{trigger}
	}
	identity, rest := identityOf(opts)
	if issuer == githubIssuer {
		return s.workflow(identity, rest)
	}
	if rest != "" {
		return signer{}, errors.New("the identity is an expression that matches more than one")
	}
	if s.kind, s.value = policy.KindEmail, identity; strings.Contains(identity, "://") {
		s.kind = policy.KindURI
	}
	return s, nil
}

// ofRun reads what the options say of the ref of a run.
func (s *signer) ofRun(opts map[string]string) error {
	switch run, ok := opts["--certificate-github-workflow-ref"]; {
	case run == "refs/tags/{{.Version}}":
		s.tagOnly = true // as a rule has it
	case ok && (strings.Contains(run, "{{") || !isRef(run)):
		return fmt.Errorf("a rule has nothing for --certificate-github-workflow-ref %s", run)
	case ok:
		s.run = run
	}
	return nil
}

// noRule are the options that ask for what no rule of a policy can.
var noRule = []string{
	"--certificate-github-workflow-name",
	"--certificate-github-workflow-sha",
}

// issuerOf returns the issuer that the options name, "" for none.
func issuerOf(opts map[string]string) (string, error) {
	issuer, re := opts["--certificate-oidc-issuer"], opts["--certificate-oidc-issuer-regexp"]
	if issuer != "" || re == "" {
		return issuer, nil
	}
	text, rest := literal(re)
	if rest != "" {
		return "", fmt.Errorf("the issuer is an expression, %q", re)
	}
	return text, nil
}

// identityOf returns the text with which the identity begins, and the rest of the expression
// that follows if that does not match one text only.
func identityOf(opts map[string]string) (text, rest string) {
	if text = opts["--certificate-identity"]; text == "" {
		text, rest = literal(opts["--certificate-identity-regexp"])
	}
	// A template such as {{.Version}} is what a rule calls the tag.
	if i := strings.Index(text, "{{"); i >= 0 {
		return text[:i], anything
	}
	return text, rest
}

// workflow reads "https://github.com/owner/name/path@ref", which continues with
// what the expression rest matches, if that is not empty.
func (s signer) workflow(known, rest string) (signer, error) {
	name, ok := strings.CutPrefix(known, "https://github.com/")
	i := strings.Index(name, "/.github/workflows/")
	if !ok || i < 0 {
		return signer{}, errors.New("the identity matches more than one workflow")
	}
	path, ref, at := strings.Cut(name[i+1:], "@")
	if !at && (rest == "" || !strings.HasSuffix(path, ".yml") && !strings.HasSuffix(path, ".yaml")) {
		return signer{}, errors.New("the identity matches more than one workflow")
	}
	s.repo, s.path = name[:i], path
	if rest == "" {
		s.ref = ref
		return s, nil
	}
	if s.alternatives(ref, rest); len(s.refs) > 0 {
		return s, nil
	}
	if strings.HasPrefix(ref, "refs/heads/") {
		return signer{}, errors.New("the identity takes several branches")
	}
	prefix, tag := strings.CutPrefix(ref, "refs/tags/")
	if s.narrowed = !tag; prefix != "" && tag {
		s.tags = prefix + "*"
	}
	if !slices.Contains([]string{".*", ".+", ".*$", ".+$"}, rest) {
		s.more = rest
	}
	return s, nil
}

// alternatives reads "(main|v.+)" behind a ref. What no pattern of a policy says
// exactly is left out: leaving out is narrower.
func (s *signer) alternatives(ref, rest string) {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(rest, "$"), "(")
	inner, end := strings.CutSuffix(inner, ")")
	if !ok || !end || strings.ContainsAny(inner, "()") {
		return
	}
	for alt := range strings.SplitSeq(strings.TrimPrefix(inner, "?:"), "|") {
		text, open := literal("^" + alt + "$")
		full := ref + text
		switch {
		case !strings.HasPrefix(full, "refs/heads/") && !strings.HasPrefix(full, "refs/tags/"):
			s.missed = append(s.missed, alt)
		case open == "":
			s.refs = append(s.refs, full)
		case open == ".*$" || open == ".+$":
			s.refs = append(s.refs, full+"*")
		default:
			s.missed = append(s.missed, alt)
		}
	}
}

// options reads the list of options; a flag may have its value behind "=" or as
// the next item. A flag that stands twice is an error.
func options(n *yaml.Node) (map[string]string, error) {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil, errors.New("no options")
	}
	out := map[string]string{}
	for i := 0; i < len(n.Content); i++ {
		flag := n.Content[i].Value
		if !strings.HasPrefix(flag, "-") {
			return nil, fmt.Errorf("%q is no option", flag)
		}
		name, value, ok := strings.Cut(flag, "=")
		if !ok && i+1 < len(n.Content) && !strings.HasPrefix(n.Content[i+1].Value, "--") {
			i++
			value = n.Content[i].Value
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s stands twice", name)
		}
		out[name] = value
	}
	return out, nil
}

// anything is the rest of an expression of which nothing is known.
const anything = ".*"

// literal returns the text with which everything begins that an expression of
// cosign's matches, and what follows in the expression: nothing if it matches this
// text only. The expression is not anchored unless it says so; a dot that is not
// escaped stands for itself, which is narrower.
func literal(expression string) (text, rest string) {
	s := strings.TrimPrefix(expression, "^")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		next := byte(0)
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], `\Q`):
			quoted, _, ended := strings.Cut(s[i+2:], `\E`)
			b.WriteString(quoted)
			if i += len(quoted) + 1; ended {
				i += 2
			}
		case c == '$' && next == 0:
			return b.String(), ""
		case strings.HasPrefix(s[i:], "{{"):
			n := strings.Index(s[i:], "}}")
			if n < 0 {
				return b.String(), s[i:]
			}
			b.WriteString(s[i : i+n+2])
			i += n + 1
		case c == '\\' && next != 0 && strings.IndexByte(`.+*?()|[]{}^$\/-@_:`, next) >= 0:
			b.WriteByte(next)
			i++
		case strings.IndexByte(`\+*?()|[]{}^$`, c) >= 0,
			next != 0 && strings.IndexByte("*+?{", next) >= 0 && !strings.HasPrefix(s[i+1:], "{{"):
			return b.String(), s[i:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), anything
}
