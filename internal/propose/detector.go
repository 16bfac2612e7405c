// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/clone"
	"github.com/repopolicy/repopolicy/internal/propose/names"
)

// publication is what a job publishes in one way.
type publication struct {
	producer *producer
	names    []string // patterns
	guess    bool     // nothing says the names
	unsure   []string // conditions on which it depends
}

// detector looks at the steps of one job.
type detector struct {
	clone       *clone.Clone
	catalog     *names.Catalog
	job         ci.Job
	acts        []act
	images      []string            // that the job makes
	uploads     []string            // patterns of files that it attaches to releases
	npmRegistry string              // that it sets up
	tags        map[string][]string // that it gives images, as far as they are known
	declined    bool                // it calls a workflow that is known, and asks it for nothing that is signed
	builds      string              // an image that it signs, whose tags are those of builds
}

func newDetector(c *clone.Clone, catalog *names.Catalog, job ci.Job) *detector {
	d := &detector{clone: c, catalog: catalog, job: job}
	follow := newFollower(c)
	for _, s := range job.Steps {
		if s.Uses != "" {
			uses, _, _ := strings.Cut(s.Uses, "@")
			d.acts = append(d.acts, act{d: d, step: s, uses: uses})
		}
		if strings.HasPrefix(s.Uses, "actions/setup-node@") {
			d.npmRegistry = firstText(s.With["registry-url"], "")
		}
		for _, c := range follow.commands(s) {
			d.acts = append(d.acts, act{d: d, step: s, command: c})
		}
	}
	d.look()
	return d
}

// publishes reports whether scripts run something that publishes to npm.
func (d *detector) publishes(scripts []string) bool {
	follow := newFollower(d.clone)
	p := &producer{commands: npmCommands}
	for _, c := range follow.commands(ci.Step{Run: strings.Join(scripts, "\n")}) {
		if p.is(act{d: d, command: c}) {
			return true
		}
	}
	return len(scripts) > 0 && !strings.Contains(scripts[0], "pkg-pr-new")
}

// released reports whether an image may be one of a release: not in a registry for trials, and not
// if all tags that the job gives it are called after builds.
func (d *detector) released(image string) bool {
	if forTrials(image) {
		return false
	}
	tags := d.tags[image]
	ofBuild := func(tag string) bool { return forTests(tag) || unfinished(tag) || wordIn(tag, "ci", "pr", "commit") }
	return len(tags) == 0 || slices.ContainsFunc(tags, func(t string) bool { return !ofBuild(t) })
}

// forTrials reports whether a registry is one of the machine itself, or keeps images for hours.
func forTrials(image string) bool {
	host, _, _ := strings.Cut(image, "/")
	name, _, port := strings.Cut(host, ":")
	return name == "localhost" || strings.HasPrefix(name, "127.") || strings.HasSuffix(name, ".local") ||
		name == "ttl.sh" || port && !strings.Contains(name, ".")
}

// tagged remembers the tags of references to images. One that a variable gives as a whole may be
// a default, which says nothing.
func (d *detector) tagged(text string, values []string) {
	literal := !strings.Contains(text, "$")
	for _, ref := range values {
		ref, _, _ = strings.Cut(ref, "@")
		i := strings.LastIndexByte(ref, ':')
		if i < 0 || strings.Contains(ref[i:], "/") {
			continue
		}
		tag := ref[i+1:]
		if !literal && !strings.ContainsRune(tag, ci.Hole) {
			tag = string(ci.Hole)
		}
		for _, name := range imageNames([]string{ref[:i]}) {
			if !slices.Contains(d.tags[name], tag) {
				d.tags[name] = append(d.tags[name], tag)
			}
		}
	}
}

// look finds the images that the job makes and the files that it uploads.
func (d *detector) look() {
	d.tags = map[string][]string{}
	for _, a := range d.acts {
		if a.uses != "" {
			d.byAction(a)
		} else if len(a.words) > 0 {
			d.byCommand(a)
		}
	}
}

// image adds images that references name.
func (d *detector) image(refs []string) {
	for _, n := range imageNames(refs) {
		if !slices.Contains(d.images, n) {
			d.images = append(d.images, n)
		}
	}
}

// byAction looks at what an action makes or uploads.
func (d *detector) byAction(a act) {
	w := a.step.With
	upload := func(lists ...[]string) {
		d.uploads = append(d.uploads, filePatterns(d, slices.Concat(lists...))...)
	}
	switch {
	case a.uses == "docker/metadata-action", a.uses == "docker/bake-action":
		d.image(w["images"])
	case strings.HasSuffix(a.uses, "/build-push-action"):
		d.image(slices.Concat(w["tags"], w["images"], w["outputs"]))
		for _, tags := range w["tags"] {
			d.tagged("$", strings.FieldsFunc(tags, func(r rune) bool { return r == '\n' || r == ',' || r == ' ' }))
		}
	case a.uses == "softprops/action-gh-release",
		a.uses == "ncipollo/release-action",
		a.uses == "svenstaro/upload-release-action":
		upload(w["files"], w["artifacts"], w["file"])
	case a.uses == "taiki-e/upload-rust-binary-action":
		upload(w["archive"], w["bin"])
	}
}

// byCommand is like byAction for commands.
func (d *detector) byCommand(a act) {
	switch {
	case a.follows("gh release upload"), a.follows("gh release create"):
		if words := ghOperands(a.words[3:]); len(words) > 1 {
			d.uploads = append(d.uploads, filePatterns(d, a.substituted(words[1:]))...)
		}
	case slices.ContainsFunc(pushes, a.follows):
		d.pushed(a)
	case a.follows("ko build"), a.follows("ko publish"), a.follows("ko resolve"), a.follows("ko apply"):
		d.ko(a)
	case a.follows("cosign sign"):
		for _, w := range operandsOf(a.words, 2) {
			d.tagged(w, a.substituted([]string{w}))
		}
	case a.follows("helm push"):
		d.charts(a)
	case a.follows("flux push artifact"), a.follows("oras push"), a.follows("wkg oci push"):
		d.image(ociNames(d, a))
	}
}

// pushes are commands that build images or bring them to a registry.
var pushes = []string{
	"docker push", "docker manifest push", "docker buildx imagetools create", "docker buildx build", "docker build",
	"podman push", "podman build", "podman manifest push", "buildah push", "nerdctl push", "crane push", "crane copy",
	"crane cp", "skopeo copy",
}

// pushed adds the images of such a command: where it builds, those of its tags, where it copies
// the last one.
func (d *detector) pushed(a act) {
	var refs []string
	builds, words := slices.Contains(a.words, "build"), a.words[1:]
	if builds && !slices.ContainsFunc(words, pushing) {
		return
	}
	if slices.Contains([]string{"copy", "cp"}, words[0]) {
		words = words[len(words)-1:]
	}
	for i, w := range words {
		tag, joined := strings.CutPrefix(w, "--tag=")
		switch {
		case joined:
			refs = append(refs, tag)
		case !builds || i > 0 && (words[i-1] == "-t" || words[i-1] == "--tag"):
			refs = append(refs, strings.TrimPrefix(w, "docker://"))
		}
	}
	for _, ref := range refs {
		values := a.substituted([]string{ref})
		d.tagged(ref, values)
		d.image(values)
	}
}

// pushing reports whether an option of a build asks for a registry.
func pushing(option string) bool {
	return option == "--push" || strings.Contains(option, "type=registry") || strings.Contains(option, "push=true")
}

// ghOperands returns the tag and the files of gh release create or upload.
func ghOperands(words []string) (out []string) {
	switches := []string{
		"--clobber", "--draft", "-d", "--prerelease", "-p", "--generate-notes", "--latest", "--verify-tag",
		"--fail-on-no-commits", "--notes-from-tag",
	}
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case !strings.HasPrefix(w, "-"):
			out = append(out, w)
		case !strings.Contains(w, "=") && !slices.Contains(switches, w):
			i++ // its value
		}
	}
	return out
}

// ko adds the images that ko builds of Go packages.
func (d *detector) ko(a act) {
	_, bare := a.option("--bare")
	_, base := a.option("-B", "--base-import-paths")
	packages := operands(a.words[2:])
	if len(packages) == 0 {
		packages = []string{"."}
	}
	for _, where := range a.env["KO_DOCKER_REPO"] {
		for _, p := range packages {
			ref := where
			if name := path.Base(p); !bare {
				if name == "." {
					name = names.ModuleName(d.catalog.Module)
				}
				if ref = where + "/" + name; !base {
					ref += "-*"
				}
			}
			d.images = append(d.images, imageNames([]string{ref})...)
		}
	}
}

// charts adds the charts that are pushed into a directory of a registry.
func (d *detector) charts(a act) {
	for _, w := range a.substituted(a.words) {
		if where, ok := strings.CutPrefix(w, "oci://"); ok {
			for _, c := range d.catalog.Charts {
				d.image([]string{strings.TrimSuffix(where, "/") + "/" + c.Name})
			}
		}
	}
}

// publications returns what the job publishes.
func (d *detector) publications() (out []publication) {
	if d.job.Foreign.Ref != "" {
		return d.generated()
	}
	for i := range producers {
		p := &producers[i]
		for _, a := range d.acts {
			if !p.is(a) || p.unless != nil && p.unless(a) {
				continue
			}
			pub := d.publication(p, a)
			if p.kind == images && len(pub.names) > 0 && !slices.ContainsFunc(pub.names, d.released) {
				d.builds = cmp.Or(d.builds, pub.names[0])
				continue
			}
			out = append(out, pub)
		}
	}
	if len(out) == 0 {
		out = d.ownScript()
	}
	return out
}

// generated returns what a workflow of another repository is known to sign.
func (d *detector) generated() []publication {
	f := d.job.Foreign
	a := act{d: d, step: ci.Step{With: d.job.With}}
	for i := range producers {
		p := &producers[i]
		if !slices.Contains(p.foreign, f.Repository+"/"+f.Path) {
			continue
		}
		if d.declined = p.unless != nil && p.unless(a); d.declined {
			continue
		}
		if pub := d.publication(p, a); p.kind != images || len(pub.names) > 0 || len(d.catalog.Go) > 0 {
			return []publication{pub}
		}
		return nil
	}
	return nil
}

// signsBuilds reports whether the builds of Maven or Gradle sign with Sigstore.
func (d *detector) signsBuilds() bool {
	builds := []string{
		"pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "libs.versions.toml",
	}
	of := func(base string) bool { return slices.Contains(builds, base) || strings.HasSuffix(base, ".gradle.kts") }
	return slices.ContainsFunc(d.clone.Find(of), func(name string) bool {
		text := string(d.clone.Read(name))
		return strings.Contains(text, "sigstore-maven-plugin") || strings.Contains(text, "dev.sigstore.sign")
	})
}

// ownScript is the guess that a script of the project publishes its packages to npm, if it is
// called so and cannot be read, or calls something so.
func (d *detector) ownScript() []publication {
	if len(d.catalog.NPMPatterns()) == 0 || slices.ContainsFunc(d.acts, producers[0].is) {
		return nil
	}
	for _, a := range d.acts {
		if len(a.words) > 0 && (d.runsPublish(a) || a.where != "" && callsPublish(a.words[0])) {
			p := d.publication(&producers[0], a)
			p.guess = true
			return []publication{p}
		}
	}
	return nil
}

// runsPublish reports whether a command runs a script that is called after publishing, unless that
// is of something else, or its text is there and says nothing of it.
func (d *detector) runsPublish(a act) bool {
	runs := slices.Contains(
		[]string{"npm", "pnpm", "yarn", "bun", "pn", "node", "tsx", "zx", "deno"},
		path.Base(a.words[0]),
	)
	args := operands(a.words[1:])
	if !runs || len(args) == 0 || dryRun(a) || args[0] == "install" {
		return false
	}
	for _, w := range args[:min(len(args), 2)] {
		if !wordIn(w, "publish") || strings.Contains(w, "pkg-pr-new") || publishesElse(w) {
			continue
		}
		text := names.Script(d.clone, a.step.Dir, w)
		return text == "" || wordIn(text, "publish", "release") && !publishesElse(text)
	}
	return false
}

// publishesElse reports whether the name or the text of a script is about something else than packages.
func publishesElse(text string) bool {
	return wordIn(text, "doc", "docs", "site", "website", "pages", "storybook", "extension", "vscode", "vsce", "ovsx",
		"docker", "image", "images", "chart", "charts", "helm", "jsr", "pub", "surge", "netlify", "chromatic")
}

// callsPublish reports whether a program calls a function that publishes.
func callsPublish(word string) bool {
	return word == "publish" || word == "releasePublish" || word == "publishPackages" || word == "publishPackage" ||
		word == "npmPublish"
}

func (d *detector) publication(p *producer, a act) publication {
	out := publication{producer: p, unsure: slices.Clone(d.job.Unsure)}
	if a.step.Unsure != "" {
		out.unsure = append(out.unsure, a.step.Unsure)
	}
	if p.names != nil {
		out.names = p.names(d, a)
	} else {
		out.names = d.manifest(p.kind)
	}
	if len(out.names) == 0 {
		out.guess = true
		if p.kind == images {
			out.names = d.given(act{d: d, step: a.step, command: command{env: a.step.Env}})
		}
	}
	return out
}

// given returns the images that inputs or the environment name, with their registry.
func (d *detector) given(a act) (out []string) {
	texts := slices.Clone(d.job.Inputs)
	for _, k := range sorted(a.env) {
		if k != "COSIGN_REPOSITORY" { // where signatures are stored
			texts = append(texts, a.env[k]...)
		}
	}
	for _, t := range texts {
		host, rest, ok := strings.Cut(t, "/")
		if ok && rest != "" && strings.Contains(host, ".") && !strings.ContainsAny(t, " \n") &&
			!strings.Contains(t, "://") {
			for _, n := range imageNames([]string{t}) {
				if !slices.Contains(out, n) {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

// manifest returns what the manifests say of a kind.
func (d *detector) manifest(k kind) []string {
	switch k {
	case npmPackages:
		return d.catalog.NPMPatterns()
	case pythonFiles:
		return d.catalog.PythonPatterns()
	case crateFiles:
		return d.catalog.CratePatterns()
	case gemFiles:
		return d.catalog.GemPatterns()
	case mavenFiles:
		return d.catalog.MavenPatterns()
	}
	return nil
}

// does says what else a job that publishes nothing asks for an ID token for; "" if that is not known.
func (d *detector) does() string {
	for _, a := range d.acts {
		for _, o := range others {
			if strings.EqualFold(a.uses, o.action) {
				return o.does
			}
		}
	}
	return ""
}

// Words of the names of jobs, files and environments that are for tests, and for builds between
// releases.
var (
	testWords = []string{
		"test", "tests", "testing", "testpypi", "smoke", "smoketest", "e2e", "staging", "conformance", "sandbox", "dev",
	}
	buildWords = []string{
		"nightly", "nightlies", "canary", "preview", "snapshot", "snapshots", "edge", "daily", "insiders",
	}
)

// wordIn reports whether a name has a word: words are parted by anything but letters.
func wordIn(name string, words ...string) bool {
	parts := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	for _, w := range strings.FieldsFunc(strings.ToLower(name), parts) {
		if slices.Contains(words, strings.TrimRight(w, "0123456789")) || slices.Contains(words, w) {
			return true
		}
	}
	return false
}

// forTests reports whether a name is that of a test.
func forTests(name string) bool {
	return wordIn(name, testWords...)
}

// unfinished reports whether a name is that of builds between releases.
func unfinished(name string) bool {
	return wordIn(name, buildWords...)
}

// releasing reports whether a name is that of a release.
func releasing(name string) bool {
	return wordIn(name, "release", "releases", "publish", "publishing", "deploy", "cd", "ship", "upload")
}

// practice says why what a job publishes is none of a release by its name; "" if nothing says so.
func practice(j ci.Job) string {
	file := path.Base(j.Caller)
	for _, name := range []string{file, j.ID, j.Environment, path.Base(j.File)} {
		if unfinished(name) {
			return "it builds between releases, by its name"
		}
	}
	if j.Environment == "github-pages" {
		return "its environment is that of a site"
	}
	if forTests(j.Environment) {
		return "its environment is one for tests, by its name"
	}
	if forTests(j.ID) && !releasing(j.ID) || forTests(file) && !releasing(file) && !releasing(j.ID) {
		return "it is a test, by its name"
	}
	return ""
}
