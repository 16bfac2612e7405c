// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/names"
)

// kind is what a job publishes, and so how its evidence names it.
type kind int

const (
	npmPackages kind = iota // named by package URLs with their version
	pythonFiles
	crateFiles
	gemFiles
	mavenFiles
	files
	images
)

// registry reports whether a registry takes a version once: publishing there is a release,
// whatever started it.
func (k kind) registry() bool { return k <= mavenFiles }

// producer is one way of publishing that leaves evidence by the identity of the job.
type producer struct {
	name     string
	kind     kind
	actions  []string // without version
	commands []string // words that must follow each other; options between them do not count
	foreign  []string // workflows of other repositories
	unless   func(a act) bool
	names    func(d *detector, a act) []string // nil or none: what the manifests say
}

// npmCommands publish to npm.
var npmCommands = []string{
	"npm publish", "pnpm publish", "pn publish", "yarn publish", "yarn npm publish", "bun publish", "npm stage publish",
	"lerna publish", "changeset publish", "changesets publish", "semantic-release", "multi-semantic-release",
	"nx release", "release-it", "covector publish", "auto shipit", "beachball publish", "np", "rush publish",
}

// producers are all ways of publishing that are known. What is none of them is asked for.
var producers = []producer{
	{
		name: "npm", kind: npmPackages, unless: otherNPM, names: npmNames,
		actions: []string{
			"JS-DevTools/npm-publish",
			"cycjimmy/semantic-release-action",
			"changesets/action",
			"jbolda/covector/packages/action",
		},
		commands: npmCommands,
	},
	{
		name: "PyPI", kind: pythonFiles, unless: otherIndex,
		actions: []string{"pypa/gh-action-pypi-publish", "PyO3/maturin-action"},
		commands: []string{
			"twine upload",
			"uv publish",
			"flit publish",
			"hatch publish",
			"pdm publish",
			"maturin publish",
			"maturin upload",
		},
	},
	{
		name: "crates.io", kind: crateFiles, unless: func(a act) bool {
			return dryRun(a) || a.follows("cargo release") && !a.switched("--execute") && !a.switched("-x")
		},
		actions: []string{"rust-lang/crates-io-auth-action", "katyo/publish-crates", "release-plz/action"},
		commands: []string{
			"cargo publish",
			"cargo release",
			"cargo workspaces publish",
			"cargo ws publish",
			"release-plz release",
		},
	},
	{
		name: "RubyGems", kind: gemFiles, actions: []string{"rubygems/release-gem"},
		commands: []string{"gem push", "rake release", "gem exec sigstore-cli"},
	},
	{
		name: "JReleaser", kind: mavenFiles, unless: dryRun, actions: []string{"jreleaser/release-action"},
		commands: []string{
			"jreleaser full-release",
			"jreleaser release",
			"jreleaser deploy",
			"./gradlew jreleaserFullRelease",
			"./gradlew jreleaserRelease",
		},
	},
	{
		name: "Maven", kind: mavenFiles, commands: []string{"mvn", "mvnw", "gradle", "gradlew"},
		unless: func(a act) bool { return !a.d.signsBuilds() || !publishesBuild(a) },
	},
	{
		name: "GoReleaser", kind: files, unless: func(a act) bool { return noGoRelease(a) || !a.signs(false) },
		actions: []string{"goreleaser/goreleaser-action"}, commands: []string{"goreleaser"}, names: goFiles,
	},
	{
		name: "GoReleaser", kind: images, unless: func(a act) bool { return noGoRelease(a) || !a.signs(true) },
		actions: []string{"goreleaser/goreleaser-action"}, commands: []string{"goreleaser"}, names: goImages,
	},
	{
		name: "attestation", kind: files, unless: imageSubject, names: attestedFiles,
		actions: []string{"actions/attest-build-provenance", "actions/attest-sbom", "actions/attest"},
	},
	{
		name: "attestation", kind: images, unless: func(a act) bool { return !imageSubject(a) }, names: attestedImages,
		actions: []string{"actions/attest-build-provenance", "actions/attest-sbom", "actions/attest"},
	},
	{
		name: "repopolicy", kind: files, names: ownFiles, commands: []string{"repopolicy sign-release"},
		actions: []string{"repopolicy/repopolicy"},
		unless:  func(a act) bool { return a.uses != "" && !slices.Contains(a.step.With["command"], "sign-release") },
	},
	{
		name: "attestation", kind: pythonFiles, actions: []string{"hynek/build-and-inspect-python-package"},
		unless: func(a act) bool { return !slices.Contains(a.step.With["attest-build-provenance-github"], "true") },
	},
	{
		name: "attestation", kind: files, actions: []string{"johnbillion/action-wordpress-plugin-attestation"},
		names: func(d *detector, a act) []string { return filePatterns(d, a.step.With["zip-path"]) },
	},
	{
		name: "attestation", kind: files,
		actions: []string{"grafana/plugin-actions/build-plugin", "grafana/build-plugin-action"}, names: pluginFiles,
		unless: func(a act) bool { return !slices.Contains(a.step.With["attestation"], "true") },
	},
	{name: "Sigstore", kind: files, actions: []string{"sigstore/gh-action-sigstore-python"}, names: sigstoreFiles},
	{name: "Sigstore", kind: files, unless: withKey, commands: []string{"sigstore sign"}, names: signedFiles},
	{
		name: "cosign", kind: files, unless: withKey, names: signedFiles,
		commands: []string{"cosign sign-blob", "cosign attest-blob"},
	},
	{
		name:     "cosign",
		kind:     images,
		unless:   withKey,
		commands: []string{"cosign sign", "cosign attest"},
		names:    signedImages,
	},
	{
		name: "Timoni", kind: images, commands: []string{"timoni mod push", "timoni artifact push"}, names: ociNames,
		unless: func(a act) bool { by, _ := a.option("--sign"); return by != "cosign" || withKey(a) },
	},
	{
		name:    "immutable action",
		kind:    images,
		actions: []string{"actions/publish-immutable-action"},
		names:   actionPackage,
	},
	{
		name: "SLSA generator", kind: files, names: generatedFiles,
		foreign: []string{
			slsa + "generator_generic_slsa3.yml", slsa + "builder_go_slsa3.yml", slsa + "builder_maven_slsa3.yml",
			slsa + "builder_gradle_slsa3.yml", slsa + "builder_nodejs_slsa3.yml", slsa + "builder_bazel_slsa3.yml",
			slsa + "builder_container-based_slsa3.yml",
		},
	},
	{
		name: "SLSA generator", kind: images, names: generatedImages,
		foreign: []string{slsa + "generator_container_slsa3.yml"},
	},
	{
		name: "Docker's builder", kind: images, unless: func(a act) bool { return noBuild(a, "image", "push") },
		names:   func(_ *detector, a act) []string { return imageNames(a.step.With["meta-images"]) },
		foreign: []string{dockerBuilder + "bake.yml", dockerBuilder + "build.yml"},
	},
	{
		name: "Docker's builder", kind: files,
		unless:  func(a act) bool { return noBuild(a, "local", "artifact-upload") },
		foreign: []string{dockerBuilder + "bake.yml", dockerBuilder + "build.yml"},
	},
	{
		name: "Bazel's rulesets", kind: files,
		names:   func(d *detector, a act) []string { return filePatterns(d, a.step.With["release_files"]) },
		foreign: []string{"bazel-contrib/.github/.github/workflows/release_ruleset.yaml"},
	},
	{
		name: "Bazel Central Registry", kind: files,
		unless:  func(a act) bool { return slices.Contains(a.step.With["attest"], "false") },
		names:   func(*detector, act) []string { return []string{"source.json", "MODULE.bazel"} },
		foreign: []string{"bazel-contrib/publish-to-bcr/.github/workflows/publish.yaml"},
	},
}

// noBuild reports whether Docker's builder makes something else than is asked for, does not
// publish it, or does not sign it.
func noBuild(a act, output, publish string) bool {
	with := a.step.With
	return firstText(with["output"], "") != output || slices.Equal(with["sign"], []string{"false"}) ||
		len(with[publish]) == 0 || slices.Equal(with[publish], []string{"false"})
}

const dockerBuilder = "docker/github-builder/.github/workflows/"

const slsa = "slsa-framework/slsa-github-generator/.github/workflows/"

// others say what else a job asks ID tokens for; they publish nothing.
var others = []struct{ action, does string }{
	{"ossf/scorecard-action", "publishes a score"},
	{"codecov/codecov-action", "uploads coverage"},
	{"actions/deploy-pages", "deploys a site"},
	{"aws-actions/configure-aws-credentials", "logs in to a cloud"},
	{"google-github-actions/auth", "logs in to a cloud"},
	{"azure/login", "logs in to a cloud"},
	{"hashicorp/vault-action", "reads a vault"},
	{"octo-sts/action", "asks for a token"},
	{"docker/scout-action", "scans images"},
}

// act is an action or a command that a step runs.
type act struct {
	d    *detector
	step ci.Step
	uses string // without version; "" for a command
	command
}

// is reports whether an act is of a producer.
func (p *producer) is(a act) bool {
	if a.uses != "" {
		return slices.ContainsFunc(p.actions, func(x string) bool { return strings.EqualFold(x, a.uses) })
	}
	return slices.ContainsFunc(p.commands, a.follows)
}

// follows reports whether a command begins with words, options between them left out.
func (a act) follows(sequence string) bool {
	if len(a.words) == 0 {
		return false
	}
	first, rest, _ := strings.Cut(sequence, " ")
	name := path.Base(a.words[0])
	if plain, _, versioned := strings.Cut(name, "@"); versioned && plain != "" {
		name = plain // as npx takes it
	}
	if first != name && first != a.words[0] {
		return false
	}
	words := a.words[1:]
	for w := range strings.FieldsSeq(rest) {
		if words = afterOptions(words); len(words) == 0 || words[0] != w {
			return false
		}
		words = words[1:]
	}
	return true
}

// afterOptions leaves out leading options, with their values.
func afterOptions(words []string) []string {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		takes := slices.Contains(valued, words[0])
		if words = words[1:]; takes && len(words) > 1 {
			words = words[1:]
		}
	}
	return words
}

// valued are options that stand before the command's word and have a value.
var valued = []string{"-w", "--workspace", "--filter", "-F", "-C", "--dir", "--cwd", "--prefix", "--package"}

// option returns the value of an option, written --name value or --name=value.
func (a act) option(names ...string) (string, bool) {
	for i, w := range a.words {
		name, value, joined := strings.Cut(w, "=")
		if !slices.Contains(names, name) {
			continue
		}
		if !joined && i+1 < len(a.words) {
			value = a.words[i+1]
		}
		return value, true
	}
	return "", false
}

// dryRun reports whether a command only tries. An option whose value is not known may be off.
func dryRun(a act) bool {
	value, ok := a.option("--dry-run", "-n")
	return ok && value != "false" && !strings.HasPrefix(value, "$") && !strings.ContainsRune(value, ci.Hole) ||
		slices.Contains(a.step.With["dry-run"], "true") || slices.Contains(a.step.With["dry_run"], "true")
}

// otherNPM reports what is no release at the public registry of npm.
func otherNPM(a act) bool {
	if a.uses == "changesets/action" && (len(a.step.With["publish"]) == 0 || !a.d.publishes(a.step.With["publish"])) {
		return true
	}
	if dryRun(a) {
		return true
	}
	registry, _ := a.option("--registry")
	return forTests(registry) || strings.Contains(registry, "localhost") ||
		strings.Contains(registry, "npm.pkg.github.com") ||
		registry == "" && a.d.npmRegistry != "" && !strings.Contains(a.d.npmRegistry, "registry.npmjs.org")
}

// otherIndex reports what is uploaded to another index than PyPI, or without attestations.
func otherIndex(a act) bool {
	if a.uses == "PyO3/maturin-action" &&
		!slices.Contains([]string{"publish", "upload"}, strings.Join(a.step.With["command"], "")) {
		return true
	}
	if slices.Contains(a.step.With["attestations"], "false") {
		return true
	}
	where := append(slices.Clone(a.step.With["repository-url"]), a.step.With["repository_url"]...)
	for _, name := range []string{"--repository", "-r", "--repository-url", "--publish-url", "--index", "--index-url"} {
		if v, ok := a.option(name); ok {
			where = append(where, v)
		}
	}
	other := func(s string) bool {
		return forTests(s) || strings.Contains(s, "://") && !strings.Contains(s, "upload.pypi.org")
	}
	return dryRun(a) || slices.ContainsFunc(where, other)
}

// publishesBuild reports whether a run of Maven or Gradle publishes.
func publishesBuild(a act) bool {
	return slices.ContainsFunc(operands(a.words[1:]), func(w string) bool {
		return w == "deploy" || strings.HasPrefix(w, "publish") || strings.HasSuffix(w, ":deploy")
	})
}

// noGoRelease reports a run of GoReleaser that releases nothing, or something else by the night.
func noGoRelease(a act) bool {
	if slices.Contains(a.step.With["install-only"], "true") {
		return true
	}
	for _, args := range a.goArguments() {
		words := strings.Fields(args)
		verb := operands(words)
		publishes := len(verb) == 0 || slices.Contains([]string{"release", "continue", "publish", "r", "c", "p"}, verb[0])
		b := act{command: command{words: words}}
		skipped, _ := b.option("--skip")
		parts := strings.Split(skipped, ",")
		if publishes && !b.switched("--snapshot") && !b.switched("--nightly") &&
			!slices.Contains(parts, "sign") && !slices.Contains(parts, "publish") {
			return false
		}
	}
	return true
}

// switched reports whether a switch is on, as far as that is known.
func (a act) switched(name string) bool {
	return slices.ContainsFunc(a.words, func(w string) bool {
		option, value, given := strings.Cut(w, "=")
		return option == name && (!given || value == "true")
	})
}

// goArguments returns the arguments of GoReleaser, of an action or a command.
func (a act) goArguments() []string {
	if a.uses == "" {
		return []string{strings.Join(a.words[1:], " ")}
	}
	if args := a.step.With["args"]; len(args) > 0 {
		return args
	}
	return []string{"release"}
}

// signs reports whether the configuration that GoReleaser reads signs images, or files.
func (a act) signs(image bool) bool {
	return slices.ContainsFunc(a.goConfigs(), func(g *names.GoReleaser) bool {
		return image && g.SignsAll || !image && g.Signs
	})
}

// goConfigs returns the configurations that GoReleaser may read: the one that is named, that of
// the directory, those of a directory that an input names, or all.
func (a act) goConfigs() (out []*names.GoReleaser) {
	all := a.d.catalog.Go
	pick := func(keep func(g *names.GoReleaser) bool) {
		for _, g := range all {
			if out == nil || !slices.Contains(out, g) {
				if keep(g) {
					out = append(out, g)
				}
			}
		}
	}
	dir := path.Clean(firstText(a.step.With["workdir"], a.step.Dir))
	for _, args := range a.goArguments() {
		b := act{command: command{words: strings.Fields(strings.ReplaceAll(args, "-f=", "--config="))}}
		if name, ok := b.option("--config", "-f"); ok && !strings.ContainsRune(name, ci.Hole) {
			pick(func(g *names.GoReleaser) bool { return g.File == path.Join(dir, name) || g.File == path.Clean(name) })
		}
	}
	if out == nil {
		pick(func(g *names.GoReleaser) bool {
			return g.Dir == dir && strings.Count(g.File, "-") == strings.Count(g.Dir, "-")
		})
	}
	if out == nil {
		pick(func(g *names.GoReleaser) bool {
			return slices.ContainsFunc(
				strings.Split(g.Dir, "/"),
				func(s string) bool { return slices.Contains(a.d.job.Inputs, s) },
			)
		})
	}
	if out == nil {
		return all
	}
	return out
}

func firstText(list []string, other string) string {
	if len(list) > 0 {
		return list[0]
	}
	return other
}

// withKey reports whether a signature is made with a key, or for an instance of Sigstore for tests.
func withKey(a act) bool {
	for _, o := range []string{"--fulcio-url", "--rekor-url", "-fulcio-url", "-rekor-url"} {
		url, _ := a.option(o)
		if values := substitute([]string{url}, a.env); strings.Contains(values[0], "sigstage.dev") ||
			strings.Contains(values[0], "localhost") || strings.Contains(values[0], "127.0.0.1") {
			return true
		}
	}
	for _, o := range []string{"--key", "-key", "--k8s-keychain", "--sk"} {
		if _, ok := a.option(o); ok {
			return true
		}
	}
	return false
}

// imageSubject reports whether what is attested is an image.
func imageSubject(a act) bool {
	if slices.Contains(a.step.With["push-to-registry"], "true") {
		return true
	}
	return slices.ContainsFunc(a.step.With["subject-name"], func(s string) bool { return strings.Contains(s, "/") }) ||
		len(a.step.With["subject-name"]) > 0 && len(a.step.With["subject-path"]) == 0 && len(a.d.images) > 0
}
