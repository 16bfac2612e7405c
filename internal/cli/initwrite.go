// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/doctor"
	"github.com/repopolicy/repopolicy/internal/propose/settings"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// write puts what is missing into the tree and reports whether anything was.
func (r *initRun) write() (bool, error) {
	written := false
	create := func(name string, data []byte) error {
		if r.tree.Exists(name) {
			r.Err.Line("%s is there already and stays", name)
			return nil
		}
		if err := r.tree.Create(name, data); err != nil {
			return err
		}
		written = true
		r.Out.Line("%s", name)
		return nil
	}
	// The attributes come first: a policy that Git may change is not left behind.
	changed, err := r.attributes()
	if err != nil {
		return false, err
	}
	written = changed
	if err := create(bindings.PolicyFile, r.policy); err != nil {
		return false, err
	}
	for _, f := range r.bind {
		if err := create(f.name, []byte(f.text)); err != nil {
			return written, err
		}
	}
	if len(r.bind) == 0 {
		r.unbound()
	}
	return written, nil
}

// unbound says why no workflow is written.
func (r *initRun) unbound() {
	if host := r.project.Repository.Host(); host != "github.com" && host != "gitlab.com" {
		r.Err.Line("note: no workflow is written for %s, whose certificates prove no repository: "+
			"the maintainers' signatures bind", host)
		return
	}
	r.Err.Line("note: this build has no version that a workflow could run, and none is written to bind the policy")
	r.Err.Line("hint: run the command again with --program %s/cmd/repopolicy@VERSION", spelling.Name)
}

// writable finds out what is to be written, and why it could not be.
func (r *initRun) writable(context.Context) (err error) {
	if r.bind, err = r.binding(); err == nil {
		err = r.eachWritable()
	}
	if err != nil {
		return command.Unwritten(err)
	}
	return nil
}

// eachWritable looks at every name that is to be written.
func (r *initRun) eachWritable() error {
	if _, err := r.tree.Read(attributesFile, maxSuggestion); err != nil {
		return err
	}
	names := []string{attributesFile, bindings.PolicyFile}
	if r.signs {
		names = append(names, bindings.SignaturesDir+"/x")
	}
	for _, f := range r.bind {
		names = append(names, f.name)
	}
	for _, name := range names {
		if name != attributesFile && r.tree.Exists(name) {
			continue // it stays
		}
		if err := r.tree.Check(name); err != nil {
			return err
		}
	}
	return nil
}

const attributesFile = ".gitattributes"

type textFile struct{ name, text string }

// binding returns the files with which the forge's runners bind the policy; none
// for a forge whose certificates prove nothing.
func (r *initRun) binding() ([]textFile, error) {
	host := r.project.Repository.Host()
	if host != "github.com" && host != "gitlab.com" {
		return nil, nil
	}
	if host == "github.com" && r.tree.Exists(binding.Workflow) {
		return []textFile{{name: binding.Workflow}}, nil // it stays
	}
	program, err := r.program()
	if err != nil || program == "" {
		return nil, err
	}
	if host == "github.com" {
		text, err := binding.GitHub(r.project.Repository, r.branch, program, r.o.publish, !r.o.noIssue)
		return []textFile{{binding.Workflow, text}}, err
	}
	config, err := r.tree.Read(binding.GitLabConfig, maxSuggestion)
	if err != nil {
		return nil, err
	}
	text, err := binding.GitLab(r.project.Repository, program, propose.Stage(config), r.o.publish)
	return []textFile{{binding.GitLabBind, text}, {binding.GitLabConfig, binding.GitLabCI()}}, err
}

// attributes adds the line to .gitattributes that keeps Git from changing the
// bytes that are signed.
func (r *initRun) attributes() (bool, error) {
	const name = attributesFile
	line := []byte(binding.Attributes)
	data, err := r.tree.Read(name, maxSuggestion)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(bytes.Split(data, []byte("\n")),
		func(l []byte) bool { return bytes.Equal(bytes.TrimSpace(l), line) }) {
		return false, nil
	}
	write := r.tree.Create
	if data != nil {
		write = r.tree.Replace
		if len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
	}
	if err := write(name, append(append(data, line...), '\n')); err != nil {
		return false, err
	}
	r.Out.Line("%s", name)
	return true, nil
}

// program returns the package of this program for the workflow, at this version; "" if this
// build has none that a workflow could run.
func (r *initRun) program() (string, error) {
	if r.o.program.Given {
		if _, version, ok := strings.Cut(r.o.program.Value, "@"); !ok || version == "" || version == "latest" {
			return "", errors.New("--program: name an exact version after @: " +
				"what may bind the repository must not change by itself")
		}
		return r.o.program.Value, nil
	}
	v := r.Version
	if v == "" {
		v = report.Version()
	}
	v, _, _ = strings.Cut(v, "+")
	if !strings.HasPrefix(v, "v") {
		return "", nil // a build of a clone
	}
	return spelling.Name + "/cmd/repopolicy@" + v, nil
}

// next prints what `check` says of the policy, and what is left to do.
func (r *initRun) next(ctx context.Context, signed bool) {
	say := func(format string, args ...any) { r.Err.Line(format, args...) }
	doc, err := policy.Parse(r.policy)
	if err != nil {
		return
	}
	c := doc.Content()
	if check, _, err := r.checked(ctx, bindings.PolicyFile, r.policy); err == nil {
		r.Err.Check(&check)
	}
	say("next:")
	add := ".gitattributes .repopolicy"
	switch c.Repository.Host() {
	case "github.com":
		if r.tree.Exists(binding.Workflow) {
			add += " " + binding.Workflow
		}
	case "gitlab.com":
		add += " " + binding.GitLabConfig
		if data, err := r.tree.Read(binding.GitLabConfig, maxSuggestion); err == nil && !bytes.Contains(data,
			[]byte(binding.GitLabBind)) {
			say("  add to %s:  %s", binding.GitLabConfig, strings.TrimSpace(binding.GitLabCI()))
		}
	}
	say("  git add %s", add)
	say("  git commit -m 'add a release policy'")
	if !signed && !c.Maintainers.Repository {
		say("  repopolicy sign")
		say("  git add .repopolicy && git commit -m 'sign the release policy'")
	}
	say("  git push")
}

// settings says which settings of the forge the policy leans on: with a token what they lack,
// without one what they should be.
func (r *initRun) settings(ctx context.Context) {
	doc, err := policy.Parse(r.policy)
	if err != nil {
		return
	}
	say := func(format string, args ...any) { r.Err.Line(format, args...) }
	if r.github != "" && !r.o.Offline {
		r.missing(ctx, doc.Content())
		return
	}
	advice := settings.For(doc.Content(), r.branch)
	if len(advice) == 0 {
		return
	}
	say("settings of the forge that the policy leans on; the commands only add, and replace nothing:")
	for _, x := range advice {
		say("  # %s", x.Protects)
		if x.Command != "" {
			say("  %s", x.Command)
			continue
		}
		say("  look at %s", x.Look)
	}
	if doc.Content().Repository.Host() == "github.com" {
		say("what of that is missing says: GITHUB_TOKEN=$(gh auth token) repopolicy init --github-token")
	}
}

// missing reads the settings and says what they lack.
func (r *initRun) missing(ctx context.Context, f *policy.File) {
	say := func(format string, args ...any) { r.Err.Line(format, args...) }
	net := fetch.Net{Transport: r.Transport, Agent: command.UserAgent(), Token: r.github}
	ask, err := fetch.API(f.Repository, fetch.GitHub, net)
	if err != nil {
		say("settings of the forge: not looked at: %s", err)
		return
	}
	found := doctor.Look(ctx, &doctor.Case{File: f, Now: r.Now(), Branch: r.branch, Ask: ask})
	lacks := slices.DeleteFunc(found, func(x doctor.Finding) bool { return x.Reason == "" })
	if len(lacks) == 0 {
		say("settings of the forge that the policy leans on: all looked at, nothing is missing")
		return
	}
	say("settings of the forge that the policy leans on; the commands only add, and replace nothing:")
	for i, x := range lacks {
		say("  # %s: %s", x.Subject, x.Text)
		switch {
		case x.Command == "":
			say("  do: %s", x.Do)
		case i+1 == len(lacks) || lacks[i+1].Command != x.Command: // one command for several
			say("  %s", x.Command)
		}
	}
}
