// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/names"
)

// npmNames returns the packages of the manifests, and scoped ones that the command itself names.
func npmNames(d *detector, a act) []string {
	out := d.catalog.NPMPatterns()
	lines := strings.Split(a.step.Run, "\n")
	for _, s := range d.job.Steps {
		for line := range strings.Lines(s.Run) {
			if strings.Contains(line, ".name=") { // jq gives a package another name
				lines = append(lines, line)
			}
		}
	}
	for _, line := range lines {
		if strings.Contains(line, "install") || strings.Contains(line, "npm i ") {
			continue
		}
		for _, w := range strings.Fields(line) {
			if _, value, ok := strings.Cut(w, "="); ok {
				w = value
			}
			if scope, name, ok := strings.Cut(strings.Trim(w, `"'`), "/"); ok && len(scope) > 1 && scope[0] == '@' &&
				name != "" {
				p := "pkg:npm/%40" + scope[1:] + "/" + name + "*"
				if strings.Trim(scope[1:]+name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" &&
					!slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func goFiles(_ *detector, a act) (out []string) {
	for _, g := range a.goConfigs() {
		out = append(out, g.Files...)
	}
	return out
}

func goImages(_ *detector, a act) (out []string) {
	for _, g := range a.goConfigs() {
		out = append(out, g.Images...)
	}
	return out
}

// filePatterns returns patterns for the names of files that globs of a step match; none of
// those that say nothing of the name.
func filePatterns(d *detector, globs []string) (out []string) {
	for _, text := range globs {
		for _, g := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' || r == ' ' }) {
			for _, p := range d.file(g) {
				if !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// folders are names of directories rather than of what is released.
var folders = []string{
	".",
	"..",
	"/",
	"dist",
	"build",
	"out",
	"target",
	"artifacts",
	"release",
	"releases",
	"bin",
	"pkg",
	"packages",
	"distrib",
}

// file returns patterns for one glob.
func (d *detector) file(glob string) []string {
	base := path.Base(strings.ReplaceAll(glob, string(ci.Hole), "*"))
	if strings.HasPrefix(glob, "!") {
		return nil
	}
	if base == "*" {
		return d.everything(path.Dir(glob))
	}
	if ending, ok := strings.CutPrefix(base, "*"); ok {
		return d.byEnding(ending)
	}
	if i := strings.IndexAny(base, "{[$?("); i >= 0 {
		base = base[:i] + "*"
	}
	for strings.Contains(base, "**") {
		base = strings.ReplaceAll(base, "**", "*")
	}
	if strings.HasPrefix(base, "*") || slices.Contains(folders, base) || !valid(base) {
		return nil
	}
	return []string{base}
}

// everything returns what commands of the job put into a directory by name, such as sums, and what
// else is likely to be there; none if no command does.
func (d *detector) everything(dir string) (out []string) {
	for _, a := range d.acts {
		for _, name := range a.written() {
			if path.Dir(path.Clean(name)) == path.Clean(dir) && path.Base(name) != "*" {
				out = append(out, d.file(name)...)
			}
		}
	}
	if len(out) > 0 {
		out = append(out, d.catalog.Guess()...)
	}
	return out
}

// written returns the files that a command writes: where it is redirected, and what it copies to.
func (a act) written() (out []string) {
	for i, w := range a.words {
		name := strings.TrimLeft(w, ">")
		redirected := name != w || i > 0 && strings.Trim(a.words[i-1], ">") == ""
		copied := i == len(a.words)-1 && (a.follows("mv") || a.follows("cp") || a.follows("tee"))
		if name != "" && (redirected || copied) {
			out = append(out, name)
		}
	}
	return out
}

// byEnding returns what manifests say of files that only their ending names.
func (d *detector) byEnding(ending string) []string {
	switch {
	case strings.HasSuffix(ending, ".whl"):
		return d.catalog.PythonPatterns()
	case strings.HasSuffix(ending, ".crate"):
		return d.catalog.CratePatterns()
	case strings.HasSuffix(ending, ".conda"):
		return d.catalog.CondaPatterns()
	case strings.HasSuffix(ending, ".gem"):
		return d.catalog.GemPatterns()
	case strings.HasSuffix(ending, "nupkg"):
		return d.catalog.NuGetPatterns()
	case ending == ".tar.gz" && slices.ContainsFunc(d.acts, func(a act) bool { return a.follows("brew") }):
		return []string{"*.bottle.tar.gz", "*.bottle.*.tar.gz"}
	case ending == ".tar.gz" && len(d.catalog.Go)+len(d.catalog.Crates) == 0:
		return d.catalog.PythonPatterns()
	}
	return nil
}

// attestedFiles returns what attest actions say of their subjects.
func attestedFiles(d *detector, a act) []string {
	out := filePatterns(d, a.step.With["subject-path"])
	for _, s := range a.step.With["subject-name"] {
		out = append(out, d.file(s)...)
	}
	if sums := a.step.With["subject-checksums"]; len(sums) > 0 {
		out = append(out, filePatterns(d, sums)...)
		more := goNamesOf(d)
		if len(more) == 0 {
			more = d.catalog.Guess()
		}
		out = append(out, more...)
	}
	if len(out) == 0 {
		return goNamesOf(d)
	}
	return out
}

// goNamesOf returns what the runs of GoReleaser in the job make.
func goNamesOf(d *detector) (out []string) {
	p := &producer{actions: []string{"goreleaser/goreleaser-action"}, commands: []string{"goreleaser"}}
	for _, a := range d.acts {
		if p.is(a) {
			out = append(append(out, goFiles(d, a)...), goImages(d, a)...)
		}
	}
	return out
}

func attestedImages(d *detector, a act) []string {
	if out := imageNames(a.step.With["subject-name"]); len(out) > 0 {
		return out
	}
	return d.images
}

// imageNames returns the names of images of references, one a line or word.
func imageNames(texts []string) (out []string) {
	for _, text := range texts {
		for _, ref := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' || r == ' ' }) {
			if _, name, ok := strings.Cut(ref, "name="); ok {
				ref = name
			}
			for _, name := range names.Image(tagless(ref)) {
				if !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

// tagless cuts the tag or digest off a reference. Of a name that is not known as a whole it makes
// a pattern, if what is known of it is more than its owner; else "".
func tagless(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	ref, _, _ = strings.Cut(ref, ":"+string(ci.Hole))
	known, _, open := strings.Cut(ref, string(ci.Hole))
	if !open {
		return ref
	}
	host, _, _ := strings.Cut(known, "/")
	parts := strings.Split(known, "/")
	if len(parts) < 3 || !strings.Contains(host, ".") || len(parts) == 3 && parts[2] == "" {
		return ""
	}
	return strings.ReplaceAll(ref, string(ci.Hole), "*")
}

func sigstoreFiles(d *detector, a act) []string { return filePatterns(d, a.step.With["inputs"]) }

// ownFiles returns what this program signs.
func ownFiles(d *detector, a act) []string {
	if a.uses != "" {
		return filePatterns(d, a.step.With["artifacts"])
	}
	return signedFiles(d, a)
}

// signedFiles returns the operands of a command that signs files.
func signedFiles(d *detector, a act) []string {
	return filePatterns(d, a.substituted(operandsOf(a.words, 2)))
}

// operandsOf returns the words that are neither options nor their values, from the nth on.
func operandsOf(words []string, n int) (out []string) {
	for i := n; i < len(words); i++ {
		w := words[i]
		if strings.HasPrefix(w, "-") {
			switched := slices.Contains(
				[]string{"--yes", "-y", "--recursive", "-r", "--upload", "--new-bundle-format"},
				w,
			)
			if !switched && !strings.Contains(w, "=") && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") &&
				i+2 < len(words) {
				i++
			}
			continue
		}
		out = append(out, w)
	}
	return out
}

// substituted puts the environment of the step into words; what is not in it is not known.
func (a act) substituted(words []string) (out []string) {
	for _, w := range words {
		out = append(out, substitute([]string{w}, a.env)...)
	}
	return out
}

const (
	maxSubstituted = 40   // texts for which a text with variables may stand
	maxText        = 4096 // bytes of one
)

func substitute(texts []string, env map[string][]string) []string {
	return substituteBy(texts, func(name string) []string { return env[name] })
}

// substituteBy puts values into texts. Of a variable without one the text may have another for it.
func substituteBy(texts []string, values func(name string) []string) (out []string) {
	for _, t := range texts {
		i := strings.IndexByte(t, '$')
		if i < 0 {
			out = append(out, t)
			continue
		}
		v, rest := variable(t[i+1:])
		some := values(v.name)
		if len(some) == 0 {
			some = substituteBy([]string{v.instead}, values)
		}
		for _, tail := range substituteBy([]string{rest}, values) {
			for _, x := range some {
				if x = v.cut(strings.ReplaceAll(x, "$", "")); len(t)+len(x)+len(tail) > maxText {
					x = string(ci.Hole)
				}
				if len(out) < maxSubstituted {
					out = append(out, t[:i]+x+tail)
				}
			}
		}
	}
	return out
}

// reference is how a text of the shell asks for a variable.
type reference struct {
	name    string
	change  string // what follows the name in braces
	instead string // if it has no value: a Hole unless the braces say it
}

// variable reads a reference after its dollar sign, with or without braces.
func variable(s string) (v reference, rest string) {
	v.instead = string(ci.Hole)
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		v.name, rest = braced(inner)
		if i := strings.IndexAny(v.name, ":#%/@-=?+,^["); i >= 0 {
			v.name, v.change = v.name[:i], v.name[i:]
		}
		if text, ok := strings.CutPrefix(strings.TrimPrefix(v.change, ":"), "-"); ok && text != "" {
			v.instead = strings.Trim(text, `"'`)
		}
		return v, rest
	}
	end := strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		end = len(s)
	}
	v.name = s[:end]
	return v, s[end:]
}

// cut changes a value as the usual forms of a reference want it: small letters, or what stands
// before or after a slash.
func (v reference) cut(value string) string {
	switch v.change {
	case ",,":
		return strings.ToLower(value)
	case "#*/":
		if _, after, ok := strings.Cut(value, "/"); ok {
			return after
		}
	case "##*/":
		return value[strings.LastIndexByte(value, '/')+1:]
	case "%%/*":
		before, _, _ := strings.Cut(value, "/")
		return before
	case "%/*":
		return value[:max(strings.LastIndexByte(value, '/'), 0)]
	}
	return value
}

// braced divides a text at the brace that closes what it began with.
func braced(s string) (inner, rest string) {
	open := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return s[:i], s[i+1:]
			}
		}
	}
	return s, ""
}

// signedImages returns the images that a command signs, or else those that the job makes.
func signedImages(d *detector, a act) []string {
	if out := imageNames(a.substituted(operandsOf(a.words, 2))); len(out) > 0 {
		return out
	}
	return d.images
}

// ociNames returns the artifacts of registries that the operands of a command name, with oci://
// or with the host of a registry.
func ociNames(_ *detector, a act) []string {
	var refs []string
	for _, w := range a.substituted(operands(a.words)) {
		ref, marked := strings.CutPrefix(w, "oci://")
		host, _, _ := strings.Cut(ref, "/")
		if marked || strings.Contains(strings.TrimLeft(host, "."), ".") && !strings.HasPrefix(host, ".") {
			refs = append(refs, ref)
		}
	}
	return imageNames(refs)
}

// pluginFiles returns the archive of a plugin of Grafana, which is called after its identifier.
func pluginFiles(d *detector, _ act) []string {
	var doc struct{ ID string }
	if json.Unmarshal(d.clone.Read("src/plugin.json"), &doc) != nil || doc.ID == "" {
		return nil
	}
	return []string{doc.ID + "-*.zip"}
}

func actionPackage(d *detector, _ act) []string {
	return names.Image("ghcr.io/" + d.catalog.Owner + "/" + d.catalog.Repo)
}

// generatedFiles returns what a generator of provenance is about: what GoReleaser makes, or
// what manifests say.
func generatedFiles(d *detector, _ act) (out []string) {
	for _, g := range d.catalog.Go {
		out = append(out, g.Files...)
	}
	return out
}

func generatedImages(d *detector, a act) (out []string) {
	if out = imageNames(a.step.With["image"]); len(out) > 0 {
		return out
	}
	for _, g := range d.catalog.Go {
		out = append(out, g.Images...)
	}
	return out
}
