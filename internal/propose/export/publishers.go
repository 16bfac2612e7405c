// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// publisher returns the workflow of a rule as registries know it: by the file that the event
// started. What they do not look at is recorded.
func (e *exporter) publisher() *policy.Workflow {
	w := e.rule.Workflow
	switch {
	case w == nil:
		e.leave(e.at, "", "%s trusts workflows only", e.target)
		return nil
	case e.file.Repository.Host() != "github.com":
		e.leave("repository", "", "this export to %s is of repositories on github.com only", e.target)
		return nil
	}
	e.cannot(e.at+".triggers", "", "%s does not look at the event that started the run", e.target)
	if !e.rule.Tags.Any() || len(e.rule.Refs.Patterns()) > 0 {
		e.cannot(e.at+".tags", "", "%s does not look at the tag or branch of the run", e.target)
	}
	if w.Runner != "any" {
		e.cannot(e.at+".runner", "", "%s does not look at the runner", e.target)
	}
	if w.Environment == "" {
		e.cannot(
			e.at+".environment",
			"demand an environment in the rule",
			"the rule demands none: every job of %s may publish",
			w.Caller,
		)
	}
	return w
}

// packages returns the names of packages of one type that the rule names as a whole.
func (e *exporter) packages(kind string) (out []string) {
	for i, p := range e.rule.Artifacts.Patterns() {
		rest, ok := strings.CutPrefix(p.String(), "pkg:"+kind+"/")
		at := strings.LastIndexByte(rest, '@')
		if !ok {
			continue
		}
		if at > 0 {
			rest = rest[:at]
		}
		name := strings.ReplaceAll(rest, "%40", "@")
		if strings.Contains(name, "*") {
			e.cannot(
				fmt.Sprintf("%s.artifacts[%d]", e.at, i),
				"name each package",
				"%s names one package each, and %s is more than one",
				e.target,
				p,
			)
			continue
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// npm writes commands that add trusted publishers, for npm 11.15 and later. Each asks for the
// second factor; none takes a publisher away.
//
// https://docs.npmjs.com/cli/v11/commands/npm-trust
func (e *exporter) npm() {
	w := e.publisher()
	if w == nil {
		return
	}
	names := e.packages("npm")
	if len(names) == 0 {
		e.leave(e.at+".artifacts", `write them like "pkg:npm/widget@*"`, "the rule names no package of npm")
		return
	}
	e.comment("rule %s: run by who may write the package", e.rule.Name)
	for _, name := range names {
		fmt.Fprintf(&e.out, "%snpm trust github %s --repository %s --file %s", e.notExpired(), quote(name),
			quote(e.file.Repository.Path()), quote(path.Base(w.Caller)))
		if w.Environment != "" {
			fmt.Fprintf(&e.out, " --environment %s", quote(w.Environment))
		}
		e.out.WriteString(" --allow-publish\n")
	}
}

// projects returns the projects of PyPI of which the rule names files: what stands before the
// version in the name of a wheel or source distribution.
func (e *exporter) projects() (out []string) {
	out = e.packages("pypi")
	for _, p := range e.rule.Artifacts.Patterns() {
		name, _, ok := strings.Cut(p.String(), "-*")
		if ok = ok && (strings.HasSuffix(p.String(), ".whl") || strings.HasSuffix(p.String(), ".tar.gz") ||
			strings.HasSuffix(p.String(), "-*")); !ok || strings.ContainsAny(name, "*/:") {
			continue
		}
		if name = strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name)); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// python returns workflow and projects of a rule for PyPI.
func (e *exporter) python() (*policy.Workflow, []string) {
	w := e.publisher()
	if w == nil {
		return nil, nil
	}
	projects := e.projects()
	switch {
	case !w.Signer.IsZero() || w.Path != w.Caller:
		e.leave(e.at+".workflow", "publish from a job of "+w.Caller, "PyPI trusts no workflow that another one calls")
	case len(projects) == 0:
		e.leave(e.at+".artifacts", `write them like "widget-*.whl"`, "the rule names no file of a project of PyPI")
	default:
		return w, projects
	}
	return nil, nil
}

// pypi writes what is to be typed into the form for a trusted publisher: PyPI has no command for it.
//
// https://docs.pypi.org/trusted-publishers/adding-a-publisher/
func (e *exporter) pypi() {
	w, projects := e.python()
	owner, name, _ := strings.Cut(e.file.Repository.Path(), "/")
	for _, p := range projects {
		env := w.Environment
		if env == "" {
			env = "(leave it empty)"
		}
		fmt.Fprintf(&e.out, "https://pypi.org/manage/project/%s/settings/publishing/\n", p)
		for _, field := range [][2]string{
			{"Owner", owner}, {"Repository name", name}, {"Workflow name", path.Base(w.Caller)}, {"Environment name", env},
		} {
			fmt.Fprintf(&e.out, "  %-17s %s\n", field[0]+":", field[1])
		}
	}
}

// pylock writes the attestation identities of packages in a lock file.
//
// https://packaging.python.org/en/latest/specifications/pylock-toml/#packages-attestation-identities
func (e *exporter) pylock() {
	w, projects := e.python()
	for _, p := range projects {
		e.comment("of the [[packages]] with name = %s", strconv.QuoteToASCII(p))
		fmt.Fprintf(&e.out, "[[packages.attestation-identities]]\nkind = \"GitHub\"\nrepository = %s\nworkflow = %s\n",
			strconv.QuoteToASCII(e.file.Repository.Path()), strconv.QuoteToASCII(path.Base(w.Caller)))
		if w.Environment != "" {
			fmt.Fprintf(&e.out, "environment = %s\n", strconv.QuoteToASCII(w.Environment))
		}
		e.out.WriteString("\n")
	}
}
