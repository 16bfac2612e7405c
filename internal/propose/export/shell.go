// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// quote returns s as one word of a POSIX shell.
func quote(s string) string { return spelling.ShellWord(s) }

// notExpired is the beginning of every command: evidence that was signed after
// the policy's end cannot be told apart, so that the command ends with it.
func (e *exporter) notExpired() string {
	return fmt.Sprintf(`test "$(date -u +%%s)" -lt %d && `, e.file.Expires.Unix())
}

// files returns the artifact and its bundle as words of a shell.
func (e *exporter) files() (artifact, bundle string) {
	if e.Artifact == "" {
		return `"${ARTIFACT:?}"`, `"${ARTIFACT:?}.sigstore.json"`
	}
	path := e.Artifact
	switch {
	case strings.Contains(path, "://") || !utf8.ValidString(path) ||
		strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }):
		e.refuse(e.at+".artifacts", "", "%q cannot be named on the command line of %s", path, e.target)
	case strings.HasPrefix(path, "-"):
		path = "./" + path // else it would be a flag
	}
	return quote(path), quote(path + ".sigstore.json")
}

// messageSignature is a condition that only a bundle over the file's own bytes
// meets. cosign would take an envelope with a statement of any type that has the
// file's digest, under any name. No string in JSON holds a bare quotation mark,
// so that a colon follows these bytes only where they are a key.
const messageSignature = `grep -Eq '"messageSignature"[[:space:]]*:' `

// cosign writes one `cosign verify-blob` for each person and key. Flags as of
// cosign v3: an identity and an issuer, each compared whole.
func (e *exporter) cosign() {
	ids, keys := e.people()
	switch a := e.rule.Artifacts; {
	case a.Any():
	case e.Artifact == "":
		e.cannot(e.at+".artifacts", "name the file with --artifact", "cosign does not look at names")
	case !a.Match(filepath.Base(e.Artifact)):
		e.refuse(e.at+".artifacts", "", "the rule does not allow the name %s", filepath.Base(e.Artifact))
	}
	artifact, bundle := e.files()
	e.comment("rule %s: any one of these", e.rule.Name)
	if w := e.rule.Workflow; w != nil && !e.Strict {
		e.cosignWorkflow(w, artifact, bundle)
	}
	for _, p := range ids {
		fmt.Fprintf(
			&e.out,
			"%s%s && cosign verify-blob --bundle %s --certificate-identity %s --certificate-oidc-issuer %s %s\n",
			e.notExpired(),
			messageSignature+bundle,
			bundle,
			quote(p.Value),
			quote(p.Issuer),
			artifact,
		)
	}
	for _, k := range keys {
		var lines []string
		for line := range strings.Lines(pemText(k)) {
			lines = append(lines, quote(strings.TrimSpace(line)))
		}
		fmt.Fprintf(&e.out, "%s%s && printf '%%s\\n' %s > %s.pub && cosign verify-blob --bundle %s --key %s.pub %s\n",
			e.notExpired(), messageSignature+bundle, strings.Join(lines, " "), k.ID[:16], bundle, k.ID[:16], artifact)
	}
}

// cosignWorkflow writes commands for a workflow: for each event that may start it one about a
// signature over the file, and two about provenance of it.
func (e *exporter) cosignWorkflow(w *policy.Workflow, artifact, bundle string) {
	e.allowsTag()
	identity := fmt.Sprintf(
		" --certificate-identity-regexp %s --certificate-oidc-issuer %s",
		quote(e.signerExpression(w)),
		quote(w.Issuer),
	)
	flags := []string{identity}
	if w.IsGitHub() {
		flags = nil
		for _, t := range w.Triggers {
			flag := identity + " --certificate-github-workflow-trigger " + quote(t)
			if ofOthers(w) {
				flag += " --certificate-github-workflow-repository " + quote(e.file.Repository.Path())
			}
			flags = append(flags, flag)
		}
	} else {
		e.no("triggers", "the event that started the run (.20)")
		if ofOthers(w) {
			e.leave(e.at+".workflow", "", "cosign cannot tell who called %s", w.Path)
		}
	}
	for _, flag := range flags {
		fmt.Fprintf(
			&e.out,
			"%s%s && cosign verify-blob --bundle %s%s %s\n",
			e.notExpired(),
			messageSignature+bundle,
			bundle,
			flag,
			artifact,
		)
		for _, kind := range []string{"slsaprovenance1", "slsaprovenance"} {
			fmt.Fprintf(
				&e.out,
				"%scosign verify-blob-attestation --type %s --bundle %s%s %s\n",
				e.notExpired(),
				kind,
				bundle,
				flag,
				artifact,
			)
		}
	}
}

func pemText(k policy.Key) string { return strings.TrimSpace(k.PEM) + "\n" }
