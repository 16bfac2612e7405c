// SPDX-License-Identifier: Apache-2.0

package export

import "fmt"

// packslip writes `packslip verify` for a rule of workflows, and as comments the same for an entry
// of a registry of aqua 2.65 or later. Of a certificate packslip compares name and issuer.
//
// https://packslip.dev/release/v1/, https://aquaproj.github.io/docs/reference/registry-config/packslip
func (e *exporter) packslip() {
	w, r := e.rule.Workflow, e.rule
	switch {
	case w == nil:
		e.leave(e.at, "", "this export to packslip is of workflows only")
		return
	case ofOthers(w):
		e.leave(e.at, "", "packslip cannot express whose release a workflow of another repository signed (.12)")
		return
	}
	e.allowsTag()
	repo, slash := e.file.Repository, "/"
	if !w.IsGitHub() {
		slash = "//"
	}
	name := repo.String() + slash + w.Path + "@"
	flag, key := "--identity-prefix", "identity_prefix"
	switch ref := e.ref(); {
	case w.SignerRef != "":
		flag, key, name = "--identity", "identity", name+w.SignerRef
	case w.SignerDigest != "": // any ref
	case ref != "":
		flag, key, name = "--identity", "identity", name+ref
	case len(r.Refs.Patterns()) == 0 && !r.Refs.Any():
		name += "refs/tags/"
		e.no("tags", "which tags: it compares the beginning of the signer's name")
	default:
		e.no("refs", "which refs: it compares the beginning of the signer's name")
	}
	e.no("triggers", "the event that started the run (.20)")
	e.workflow(w)
	e.comment("rule %s", r.Name)
	artifact := `"${ARTIFACT:?}"`
	if e.Artifact != "" {
		artifact, _ = e.files()
	}
	fmt.Fprintf(&e.out, "%spackslip verify packslip.sigstore.json --artifact %s %s %s --issuer %s\n",
		e.notExpired(), artifact, flag, quote(name), quote(w.Issuer))
	e.comment("for a registry of aqua:")
	e.comment("packslip:")
	e.comment("  %s: %s", key, name)
	e.comment("  issuer: %s", w.Issuer)
}
