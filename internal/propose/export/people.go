// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// aqua records a rule for the entry that aquaPackage writes: one of workflows on github.com whose
// files are assets of releases.
func (e *exporter) aqua() {
	w := e.rule.Workflow
	switch {
	case w == nil:
		e.leave(e.at, "", "this export to aqua is of workflows only")
		return
	case e.file.Repository.Host() != "github.com":
		e.leave("repository", "", "this export to aqua is of repositories on github.com only")
		return
	case e.signed != nil:
		e.leave(e.at, "export one rule with --rule", "an entry of aqua names one signer, and an earlier rule is it")
		return
	}
	repo := e.file.Repository
	if !w.Signer.IsZero() {
		repo = w.Signer
	}
	e.signed = &signed{Workflow: repo.Path() + "/" + w.Path}
	e.no("triggers", "the event that started the run (.20)")
	e.no("tags", "the tag of the run: gh attestation verify, which it runs, takes every run of the workflow")
	e.no("artifacts", "the name that the signed statement gives to a file")
	e.workflow(w)
}

// signed is what an entry says of attestations.
type signed struct {
	Workflow string `yaml:"signer_workflow"`
}

// aquaPackage writes the part of a registry's entry that says who signs, which belongs to the
// entry that says where assets are.
//
// https://aquaproj.github.io/docs/reference/registry-config/github-artifact-attestations
func (e *exporter) aquaPackage() {
	owner, name, _ := strings.Cut(e.file.Repository.Path(), "/")
	type entry struct {
		Type   string  `yaml:"type"`
		Owner  string  `yaml:"repo_owner"`
		Name   string  `yaml:"repo_name"`
		Signed *signed `yaml:"github_artifact_attestations"`
	}
	data, err := yaml.Marshal(map[string][]entry{"packages": {{"github_release", owner, name, e.signed}}})
	if err == nil {
		e.out.Write(data)
	}
}

// verifyRule records a rule for the page that verifyMD writes.
func (e *exporter) verifyRule() {
	r := e.rule
	who := "people: "
	switch w := r.Workflow; {
	case w != nil:
		who = fmt.Sprintf("the workflow `%s`", w.Caller)
		if w.Path != w.Caller || !w.Signer.IsZero() {
			who += ", which calls `" + w.Path + "`"
			if !w.Signer.IsZero() {
				who += " of " + w.Signer.String()
			}
		}
		if w.Environment != "" {
			who += ", in the environment `" + strings.ReplaceAll(w.Environment, "`", "'") + "`"
		}
	case r.GitHubRelease:
		who = "GitHub, for an immutable release"
	case r.Target != nil:
		who = fmt.Sprintf("nobody: the trust root `%s` lists it in its role `%s`", r.Target.Root,
			strings.ReplaceAll(r.Target.Role, "`", "'"))
	default:
		var names []string
		for _, p := range e.identities() {
			names = append(names, fmt.Sprintf("`%s` by %s", p.Value, p.Issuer))
		}
		for _, k := range e.keys() {
			names = append(names, fmt.Sprintf("the key `%.16s…`", k.ID))
		}
		for _, k := range r.RootKeys {
			names = append(names, fmt.Sprintf("the key `%s` of the trust root `%s`",
				strings.ReplaceAll(k.From.Path, "`", "'"), k.From.Root))
		}
		who += strings.Join(names, ", ")
	}
	e.page = append(
		e.page,
		fmt.Sprintf("| `%s` | `%s` | %s |", r.Artifacts, r.Tags, strings.ReplaceAll(who, "|", "\\|")),
	)
}

// verifyMD writes a page for people that says how a release is verified, as VERIFY.md.
func (e *exporter) verifyMD() {
	repo, tag := e.file.Repository, e.Tag
	if tag == "" {
		tag = "TAG"
	}
	e.out.WriteString("# Verify a release of " + repo.Path() + "\n\n" +
		"Its maintainers say in a signed policy who may release it. The policy is bound to this repository in\n" +
		"Sigstore's public log, so that nobody has to be asked for a key first:\n\n```sh\n" +
		"repopolicy verify " + repo.String() + "/releases/tag/" + tag + "\n" +
		"repopolicy verify -R " + repo.String() + " --tag " + tag + " FILE\n```\n\n" +
		"The exit code is 0 if every file is allowed. `repopolicy explain`, with the same arguments, says " +
		"why one is not.\n\n" +
		fmt.Sprintf("Version %d of the policy, which is valid until %s, allows:\n\n", e.file.Version,
			e.file.Expires.Format(time.DateOnly)) +
		"| files | of tags | signed by |\n|---|---|---|\n" + strings.Join(e.page, "\n") + "\n\n" +
		fmt.Sprintf(
			"Its text is `%s` in this repository, with the digest `%s`.\n",
			".repopolicy/policy.toml",
			e.Doc.Digest(),
		))
	if repo.Host() == "github.com" {
		e.out.WriteString(
			"\nWithout repopolicy, `gh attestation verify FILE --repo " + repo.Path() + "` shows who attested a file,\n" +
				"but takes every workflow of the repository: compare it with the table.\n",
		)
	}
}
