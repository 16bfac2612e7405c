// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/policy"
)

var (
	widget = locator("https://github.com/acme/widget")
	lab    = locator("https://gitlab.com/acme/widget")
)

func locator(s string) policy.Locator {
	l, err := policy.ParseLocator(s)
	if err != nil {
		panic(err)
	}
	return l
}

func answers(repo policy.Locator) Answers {
	return Answers{
		Repository: repo, Expires: time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC),
		Member: Member{"alice", "alice@example.com", "https://accounts.google.com"},
	}
}

// tree is a clone in memory.
type tree map[string]string

func (t tree) Read(name string, _ int64) ([]byte, error) {
	if text, ok := t[name]; ok {
		return []byte(text), nil
	}
	return nil, nil
}

func (t tree) Names(dir string) (out []string) {
	for name := range t {
		for at := name; at != "."; at = path.Dir(at) {
			if base := path.Base(at); path.Dir(at) == dir && !slices.Contains(out, base) {
				out = append(out, base)
			}
		}
	}
	slices.Sort(out)
	return out
}

// parsed returns the policy that a proposal amounts to.
func parsed(t testing.TB, p *Proposal, a Answers) *policy.File {
	t.Helper()
	text := p.Policy(a)
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return doc.Content()
}

const release = ".github/workflows/release.yml"

// short writes a rule in one line.
func short(r *Rule) string {
	out := []string{strings.TrimPrefix(r.Workflow, ".github/workflows/")}
	add := func(name string, values ...string) {
		if s := strings.Join(values, " "); s != "" {
			out = append(out, name+": "+s)
		}
	}
	add("by", strings.TrimPrefix(r.Caller, ".github/workflows/"))
	add("at", r.SignerRef+r.SignerDigest)
	add("in", r.Environment)
	add("on", r.Triggers...)
	add("runner", r.Runner)
	add("refs", r.Refs...)
	add("tags", r.Tags...)
	add("names", r.Artifacts...)
	return strings.Join(out, "; ")
}

// kase is a project and what is proposed for it.
type kase struct {
	what string
	tags string
	tree tree
	o    Options
	lab  bool
	want []string // rules, in short
	says string   // of the findings
	mute string   // what no finding says
}

func (c *kase) check(t *testing.T) {
	t.Helper()
	p := Project{Repository: widget, Default: "main", Tags: strings.Fields(c.tags), Files: c.tree}
	if c.lab {
		p.Repository = lab
	}
	got := From(p, c.o)
	var rules []string
	for i := range got.Rules {
		rules = append(rules, short(&got.Rules[i]))
	}
	if d := cmp.Diff(c.want, rules); d != "" {
		t.Errorf("%s: %s", c.what, d)
	}
	var said strings.Builder
	for _, f := range got.Findings {
		said.WriteString(f.String() + "\n")
	}
	if !strings.Contains(said.String(), c.says) || c.mute != "" && strings.Contains(said.String(), c.mute) {
		t.Errorf("%s: %s", c.what, said.String())
	}
	if len(got.Rules) == 0 {
		return
	}
	if n := len(parsed(t, got, answers(p.Repository)).Rules); n != len(c.want) {
		t.Errorf("%s: %d rules in the text", c.what, n)
	}
}

// workflow writes a workflow of one job with an ID token and some steps.
func workflow(on, job string, steps ...string) string {
	text := "on: " + on + "\njobs:\n  release:\n    runs-on: ubuntu-latest\n    permissions: {id-token: write}\n" + job + "    steps:\n"
	for _, s := range steps {
		text += "      - " + strings.ReplaceAll(s, "\n", "\n        ") + "\n"
	}
	return text
}

const (
	onTags   = "{push: {tags: ['v*']}}"
	onMain   = "{push: {branches: [main]}}"
	attest   = "uses: actions/attest-build-provenance@v3\nwith: {subject-path: 'dist/widget_*'}"
	toPyPI   = "uses: pypa/gh-action-pypi-publish@release/v1"
	python   = "[project]\nname = 'Widget.Tools'\n"
	npm      = `{"name": "@acme/widget", "version": "1.0.0"}`
	pypiList = "widget_tools-*.whl widget_tools-*.tar.gz widget-tools-*.tar.gz"
)

// TestJobs: a rule only for jobs that publish.
func TestJobs(t *testing.T) {
	for _, c := range []kase{
		{
			what: "an attestation", tree: tree{release: workflow(onTags, "", attest)}, tags: "v1.0.0",
			want: []string{"release.yml; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "no ID token", tree: tree{release: strings.Replace(workflow(onTags, "", attest), "id-token: write", "contents: write", 1)},
		},
		{what: "a scorecard", tree: tree{release: workflow(onMain, "", "uses: ossf/scorecard-action@v2")}, says: "publishes a score"},
		{what: "an announcement", tree: tree{release: workflow(onTags, "", "uses: hashicorp/vault-action@v3")}, says: "reads a vault"},
		{what: "a cloud", tree: tree{release: workflow(onTags, "", "uses: azure/login@v2", "run: az deploy")}, says: "logs in to a cloud"},
		{what: "what is not known", tree: tree{release: workflow(onTags, "", "run: ./do")}, says: "name the file with --workflow"},
		{
			what: "an image that nothing signs", says: "question about " + release,
			tree: tree{release: workflow(onTags, "", "uses: docker/build-push-action@v6\nwith: {push: true, tags: ghcr.io/acme/widget:1}")},
		},
		{
			what: "a test index", tree: tree{"pyproject.toml": python, release: workflow(onTags, "", toPyPI+"\nwith: {repository-url: 'https://test.pypi.org/legacy/'}")},
		},
		{
			what: "another test index", tree: tree{"pyproject.toml": python, release: workflow(onTags, "", "run: twine upload -r testpypi dist/*")},
		},
		{
			what: "without attestations", tree: tree{"pyproject.toml": python, release: workflow(onTags, "", toPyPI+"\nwith: {attestations: false}")},
		},
		{what: "a rehearsal", tree: tree{"package.json": npm, release: workflow(onTags, "", "run: npm publish --dry-run")}},
		{
			what: "a rehearsal by a variable", tree: tree{"package.json": npm, release: workflow(onTags, "", `run: npm publish --dry-run "$DRY"`)},
			want: []string{"release.yml; on: push; tags: v*; names: pkg:npm/%40acme/widget@*"},
		},
		{what: "a preview", tree: tree{"package.json": npm, release: workflow(onMain, "", "run: pnpm exec pkg-pr-new publish --pnpm")}},
		{what: "another registry", tree: tree{"package.json": npm, release: workflow(onTags, "", "run: npm publish --registry https://npm.pkg.github.com")}},
		{
			what: "a registry that is set up", tree: tree{"package.json": npm, release: workflow(onTags, "",
				"uses: actions/setup-node@v5\nwith: {registry-url: 'https://npm.pkg.github.com'}", "run: npm publish")},
		},
		{what: "a snapshot", tree: tree{".goreleaser.yaml": signed, release: workflow(onTags, "", goreleaser("release --snapshot"))}},
		{what: "a check", tree: tree{".goreleaser.yaml": signed, release: workflow(onTags, "", goreleaser("check"))}},
		{
			what: "a nightly build", says: "builds between releases", tree: tree{".goreleaser.yaml": signed,
				".github/workflows/nightly.yml": workflow("{schedule: [{cron: '0 0 * * *'}]}", "", goreleaser("release"))},
		},
		{
			what: "a smoke test", says: "it is a test", tree: tree{
				".github/workflows/smoke-test.yml": strings.Replace(workflow(onMain, "", "run: cosign sign-blob --yes x.txt"), "  release:", "  sign:", 1)},
		},
		{
			what: "an environment for tests", says: "environment is one for tests", tree: tree{"pyproject.toml": python,
				release: workflow(onTags, "    environment: testpypi\n", toPyPI)},
		},
		{
			what: "a key", tree: tree{release: workflow(onTags, "", "run: cosign sign-blob --key env://KEY --yes widget.tar.gz")},
		},
		{
			what: "a key in the configuration", tree: tree{".goreleaser.yaml": "signs: [{cmd: cosign, args: [sign-blob, --key=k]}]\n", release: workflow(onTags, "", goreleaser("release"))},
		},
		{
			what: "gpg", tree: tree{".goreleaser.yaml": "signs: [{artifacts: checksum}]\n", release: workflow(onTags, "", goreleaser("release"))},
		},
		{what: "not YAML", tree: tree{release: "on: ["}},
		{what: "no workflow", tree: tree{release: "- a\n"}},
		{what: "aliases", tree: tree{release: "a: &a [x, x, x]\nb: &b [*a, *a]\non: push\njobs: {a: {steps: *b}}\n"}},
		{what: "the binding workflow", tree: tree{binding.Workflow: workflow(onTags, "", attest)}},
		{
			what: "images of main", says: "is every push to refs/heads/main a release?",
			tree: tree{release: workflow("{push: {branches: [main]}}", "", "run: cosign sign --yes ghcr.io/acme/widget@$DIGEST")},
		},
		{
			what: "a job without an environment beside one with it", tags: "v1.0.0",
			tree: tree{"pyproject.toml": python, release: workflow(onTags, "    environment: pypi\n", toPyPI) +
				"  build:\n    permissions: {id-token: write}\n    steps: [{uses: actions/attest-build-provenance@v3, with: {subject-path: 'dist/*'}}]\n"},
			want: []string{"release.yml; in: pypi; on: push; tags: v*.*.*; names: " + pypiList},
			says: "without an environment",
		},
	} {
		c.check(t)
	}
}

const signed = `project_name: gizmo
builds: [{binary: gizmo}, {binary: gizmoctl}]
archives: [{name_template: '{{ .Binary }}-{{ .Version }}_{{ title .Os }}'}]
checksum: {name_template: checksums.txt}
dockers_v2: [{images: [acme/gizmo, ghcr.io/acme/gizmo]}]
signs: [{cmd: cosign, args: [sign-blob, --yes], artifacts: all}]
docker_signs: [{cmd: cosign, args: [sign, --yes]}]
`

func goreleaser(args string) string {
	return "uses: goreleaser/goreleaser-action@v6\nwith: {args: '" + args + "'}"
}

// TestNames: names come from manifests and from what steps say.
func TestNames(t *testing.T) {
	gizmo := "names: gizmo-* gizmoctl-* checksums.txt docker.io/acme/gizmo index.docker.io/acme/gizmo ghcr.io/acme/gizmo"
	for _, c := range []kase{
		{
			what: "GoReleaser", tags: "v1.0.0", tree: tree{".goreleaser.yaml": signed, release: workflow(onTags, "", goreleaser("release --clean"))},
			want: []string{"release.yml; on: push; tags: v*.*.*; " + gizmo},
		},
		{
			what: "GoReleaser by make", tags: "v1.0.0", tree: tree{
				".goreleaser.yaml": signed, "Makefile": "release: build\n\t@goreleaser release --clean\nbuild:\n\tgo build\n", release: workflow(onTags, "", "run: make release"),
			},
			want: []string{"release.yml; on: push; tags: v*.*.*; " + gizmo},
		},
		{
			what: "GoReleaser by a task", tags: "v1.0.0", tree: tree{
				".goreleaser.yaml": signed, "Taskfile.yml": "tasks:\n  ship: {cmds: [{task: really}]}\n  really: [goreleaser release]\n", release: workflow(onTags, "", "run: task ship"),
			},
			want: []string{"release.yml; on: push; tags: v*.*.*; " + gizmo},
		},
		{
			what: "a configuration by its name", tags: "v1.0.0", tree: tree{
				".goreleaser.yaml": "project_name: other\n", "cmd/x/.goreleaser.yaml": signed, release: workflow(onTags, "", goreleaser("release -f cmd/x/.goreleaser.yaml")),
			},
			want: []string{"release.yml; on: push; tags: v*.*.*; " + gizmo},
		},
		{
			what: "PyPI", tags: "1.0 1.0rc1", tree: tree{"pyproject.toml": python, release: workflow("{release: {types: [published]}}", "", toPyPI)},
			want: []string{"release.yml; on: release; tags: 1*.* 2*.*; names: " + pypiList},
		},
		{
			what: "PyPI, by setup.cfg", tree: tree{"setup.cfg": "[metadata]\nname = widget\n", release: workflow(onTags, "", "run: python -m twine upload dist/*")},
			want: []string{"release.yml; on: push; tags: v*; names: widget-*.whl widget-*.tar.gz"},
		},
		{
			what: "PyPI, by setup.py", tree: tree{"setup.py": "setup(\n    name='widget',\n)\n", release: workflow(onTags, "", "run: uv publish")},
			want: []string{"release.yml; on: push; tags: v*; names: widget-*.whl widget-*.tar.gz"},
		},
		{
			what: "workspaces of npm", tags: "a@1.0.0", tree: tree{
				"package.json": `{"name": "root", "private": true, "workspaces": {"packages": ["packages/*"]}}`, "packages/a/package.json": `{"name": "a"}`,
				"packages/b/package.json": `{"name": "b", "private": true}`, "packages/c/package.json": `{"name": "c", "publishConfig": {"registry": "https://npm.pkg.github.com"}}`,
				"examples/d/package.json": `{"name": "d"}`, release: workflow(onMain, "", "uses: changesets/action@v1\nwith: {publish: yarn release}"),
			},
			want: []string{"release.yml; on: push; refs: refs/heads/main; tags: semver; names: pkg:npm/a@*"},
		},
		{
			what: "changesets that only open pull requests", tree: tree{"package.json": npm, release: workflow(onMain, "", "uses: changesets/action@v1")},
		},
		{
			what: "crates", tags: "v1.0.0", tree: tree{
				"Cargo.toml": "[workspace]\n", "crates/a/Cargo.toml": "[package]\nname = 'a'\n", "crates/b/Cargo.toml": "[package]\nname = 'b'\npublish = false\n",
				release: workflow(onTags, "", "run: cargo publish --workspace"),
			},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: a-*.crate pkg:cargo/a@*"},
		},
		{
			what: "gems", tags: "v1.0.0", tree: tree{"widget.gemspec": "", release: workflow(onTags, "", "uses: rubygems/release-gem@v1")},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: widget-*.gem"},
		},
		{
			what: "packages of .NET", tags: "v1.0.0", tree: tree{
				"src/Widget.Core/Widget.Core.csproj": "", "src/Widget.Tests/Widget.Tests.csproj": "",
				release: workflow(onTags, "", "uses: actions/attest@v4\nwith: {subject-path: 'out/*.nupkg'}"),
			},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: Widget.Core.*"},
		},
		{
			what: "images that a variable lists", tags: "v1.0.0", tree: tree{release: "env: {REGISTRY: ghcr.io, IMAGE_NAME: '${{ github.repository }}'}\n" +
				workflow(onTags, "", "uses: docker/metadata-action@v5\nwith: {images: '${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}'}",
					`run: echo "${TAGS}" | xargs -I {} cosign sign --yes {}@${DIGEST}`)},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: ghcr.io/acme/widget"},
		},
		{
			what: "images of a matrix", tags: "v1.0.0", tree: tree{release: workflow(onTags, "    strategy: {matrix: {image: [a, b]}}\n",
				"run: cosign sign --yes ghcr.io/acme/${{ matrix.image }}@$D")},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: ghcr.io/acme/a ghcr.io/acme/b"},
		},
		{
			what: "ko", tags: "v1.0.0", tree: tree{"go.mod": "module example.com/widget\n", release: workflow(onTags, "    env: {KO_DOCKER_REPO: ghcr.io/acme/w}\n",
				"run: cosign sign --yes $(ko build --bare ./cmd/w)")},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: ghcr.io/acme/w"},
		},
		{
			what: "a chart", tags: "v1.0.0", tree: tree{"charts/w/Chart.yaml": "name: w\n", release: workflow(onTags, "",
				"run: |\n  helm push w-1.tgz oci://ghcr.io/acme/charts\n  cosign sign --yes $REF")},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: ghcr.io/acme/charts/w"},
		},
		{
			what: "an image that an input names", tags: "v1.0.0", tree: tree{
				release:                       "on: " + onTags + "\njobs:\n  a:\n    permissions: {id-token: write}\n    uses: ./.github/workflows/image.yml\n    with: {image: 'quay.io/acme/w:latest'}\n",
				".github/workflows/image.yml": strings.Replace(workflow("{workflow_call: {inputs: {image: {type: string}}}}", "", "run: cosign sign --yes $tag"), "", "", 1),
			},
			want: []string{"image.yml; by: release.yml; on: push; tags: v*.*.*; names: quay.io/acme/w"},
		},
		{
			what: "an action", tags: "v1 v1.0.0", tree: tree{release: workflow("{release: {types: [published]}}", "", "uses: actions/publish-immutable-action@v0.0.4")},
			want: []string{"release.yml; on: release; tags: v*.*.*; names: ghcr.io/acme/widget"},
		},
		{
			what: "nothing says the names", tags: "v1.0.0", tree: tree{release: workflow(onTags, "", "uses: actions/attest@v4\nwith: {subject-path: '${{ steps.x.outputs.y }}'}",
				`run: gh release upload "$TAG" out/tool-*.zip`)},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: tool-*.zip widget*"},
		},
		{
			what: "a script of another language", tree: tree{"package.json": npm, "scripts/go.mjs": "// npm publish\nexeca('pnpm', ['publish', '--provenance'])\n",
				release: workflow(onTags, "", "run: node scripts/go.mjs")},
			want: []string{"release.yml; on: push; tags: v*; names: pkg:npm/%40acme/widget@*"},
		},
		{
			what: "a composite action", tags: "v1.0.0", tree: tree{
				".github/actions/sign/action.yml": "inputs: {what: {default: x}}\nruns:\n  using: composite\n  steps:\n    - run: cosign sign-blob --yes ${{ inputs.what }}\n",
				release:                           workflow(onTags, "", "uses: ./.github/actions/sign\nwith: {what: tool.tgz}"),
			},
			want: []string{"release.yml; on: push; tags: v*.*.*; names: tool.tgz"},
		},
		{
			what: "answers", tags: "v1.0.0", tree: tree{release: workflow(onTags, "", attest)},
			o:    Options{Tags: []string{"x*"}, Artifacts: []string{"y*"}, Environment: "prod"},
			want: []string{"release.yml; in: prod; on: push; tags: x*; names: y*"},
		},
	} {
		c.check(t)
	}
}

// TestRefs: triggers, refs and tags are those of the runs that publish.
func TestRefs(t *testing.T) {
	byTag := "release.yml; on: push; tags: v*.*.*; names: widget_*"
	for _, c := range []kase{
		{
			what: "tags beside branches", tags: "v1.0.0", tree: tree{release: workflow("{push: {branches: [main], tags: ['v*']}}", "", attest)}, want: []string{byTag},
		},
		{
			what: "tags by a condition", tags: "v1.0.0", tree: tree{release: workflow("[push, pull_request]", "    if: startsWith(github.ref, 'refs/tags/')\n", attest)}, want: []string{byTag},
			mute: "pull_request",
		},
		{
			what: "a family by a condition", tags: "v1.0.0 lib-v1.0.0", tree: tree{release: workflow("push", "    if: startsWith(github.ref_name, 'v')\n", attest)}, want: []string{byTag},
		},
		{
			what: "families by filters", tags: "v1.0.0 lib-v1.0.0 x/v1.0.0", tree: tree{release: workflow("{push: {tags: ['v*', 'lib-v[0-9]+.*']}}", "", attest)},
			want: []string{"release.yml; on: push; tags: lib-v*.*.* v*.*.*; names: widget_*"},
		},
		{
			what: "no tag yet", tree: tree{release: workflow("{push: {tags: ['release-*']}}", "", attest)},
			want: []string{"release.yml; on: push; tags: release-*; names: widget_*"},
		},
		{
			what: "a release or a dispatch", tags: "1.0.0", tree: tree{release: workflow("[release, workflow_dispatch, schedule]", "", attest)},
			want: []string{"release.yml; on: release workflow_dispatch; tags: semver; names: widget_*"}, says: "no rule for its runs for a branch",
		},
		{
			what: "a dispatch", tags: "v1.0.0", tree: tree{release: workflow("{workflow_dispatch: {inputs: {tag: {}}}}", "", attest)},
			want: []string{"release.yml; on: workflow_dispatch; refs: refs/heads/main; tags: any; names: widget_*"}, says: "question about " + release,
		},
		{
			what: "a dispatch for a tag", tags: "v1.0.0", tree: tree{release: workflow("workflow_dispatch", "    if: github.ref_type == 'tag'\n", attest)},
			want: []string{"release.yml; on: workflow_dispatch; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "branches", tree: tree{"package.json": npm, release: workflow("{push: {branches: [main, next, 'v[0-9]+.x', '*.y', '!old']}}", "", "run: npx semantic-release@24")},
			want: []string{"release.yml; on: push; refs: refs/heads/main refs/heads/next refs/heads/v*.x refs/heads/*.y; tags: semver; names: pkg:npm/%40acme/widget@*"},
		},
		{
			what: "every branch", tree: tree{"package.json": npm, release: workflow("{push: {branches: ['**']}}", "", "run: npm publish")},
			want: []string{"release.yml; on: push; refs: refs/heads/main; tags: semver; names: pkg:npm/%40acme/widget@*"},
		},
		{
			what: "main, where a release is made", tree: tree{release: workflow(onMain, "", "uses: googleapis/release-please-action@v4", "if: steps.r.outputs.release_created\n"+attest)},
			want: []string{"release.yml; on: push; refs: refs/heads/main; tags: any; names: widget_*"},
		},
		{
			what: "nightly beside dispatch", tree: tree{"pyproject.toml": python, release: workflow("workflow_dispatch", "", toPyPI), ".github/workflows/release-master.yml": workflow(onMain, "", toPyPI)},
			want: []string{"release.yml; on: workflow_dispatch; refs: refs/heads/main; tags: any; names: " + pypiList}, says: "no rule for its pushes to a branch",
		},
		{
			what: "pull requests", tree: tree{release: workflow("{pull_request: {types: [closed]}}", "    if: github.event.pull_request.merged\n", attest)},
			says: "by pull_request: that event never releases",
		},
		{what: "after another workflow", tree: tree{release: workflow("{workflow_run: {workflows: [ci]}}", "", attest)}, says: "by workflow_run: that event never releases"},
		{what: "repository_dispatch", tree: tree{release: workflow("repository_dispatch", "    environment: x\n", attest)}, says: "by repository_dispatch: that event never releases"},
		{what: "an event that is not known", tree: tree{release: workflow("gollum", "", attest)}, says: "by gollum: that event never releases"},
		{
			what: "runners of its own", tags: "v1.0.0", tree: tree{release: strings.Replace(workflow(onTags, "", attest), "ubuntu-latest", "[self-hosted, x]", 1)},
			want: []string{"release.yml; on: push; runner: self-hosted; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "a job that needs one that cannot be", tags: "v1.0.0", tree: tree{release: workflow(onTags, "    needs: other\n", attest) + "  other: {if: false, steps: [{run: x}]}\n"},
		},
		{
			what: "named", tree: tree{release: workflow(onMain, "", "run: ./do")}, o: Options{Workflow: release},
			want: []string{"release.yml; on: push; refs: refs/heads/main; tags: any; names: widget*"},
		},
		{
			what: "named, and not there", o: Options{Workflow: ".github/workflows/other.yml"}, want: []string{"other.yml; tags: v*; names: widget*"}, says: "--workflow",
		},
	} {
		c.check(t)
	}
}

// TestEnvironments: environments are demanded where they are known.
func TestEnvironments(t *testing.T) {
	for _, c := range []kase{
		{
			what: "with a URL", tags: "v1.0.0", tree: tree{release: workflow(onTags, "    environment: {name: pypi, url: 'https://pypi.org'}\n", attest)},
			want: []string{"release.yml; in: pypi; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "computed, and known", tags: "v1.0.0", tree: tree{release: workflow(onTags, "    environment: ${{ github.ref_type == 'tag' && 'prod' || 'dev' }}\n", attest)},
			want: []string{"release.yml; in: prod; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "an input", tags: "v1.0.0", tree: tree{release: workflow("{workflow_dispatch: {inputs: {to: {}}}}", "    environment: ${{ inputs.to }}\n", attest)},
			says: "which environment does it run in?",
		},
		{
			what: "an input, answered", tags: "v1.0.0", tree: tree{release: workflow("{workflow_dispatch: {inputs: {to: {}}}}", "    environment: ${{ inputs.to }}\n", attest)},
			o:    Options{Workflow: release, Environment: "prod"},
			want: []string{"release.yml; in: prod; on: workflow_dispatch; refs: refs/heads/main; tags: any; names: widget_*"},
		},
		{
			what: "an input with a default", tags: "v1.0.0",
			tree: tree{release: workflow("{workflow_dispatch: {inputs: {to: {default: prod}}}}", "    environment: ${{ inputs.to }}\n", attest)},
			want: []string{"release.yml; in: prod; on: workflow_dispatch; refs: refs/heads/main; tags: any; names: widget_*"}, says: "guess: prod",
		},
		{
			what: "an input that a condition names", tags: "v1.0.0", tree: tree{release: workflow("{workflow_dispatch: {inputs: {to: {}}}}", "    environment: ${{ inputs.to }}\n",
				"if: inputs.to == 'live'\n"+attest)},
			want: []string{"release.yml; in: live; on: workflow_dispatch; refs: refs/heads/main; tags: any; names: widget_*"},
		},
	} {
		c.check(t)
	}
}

// TestCalls: the certificate names the innermost file, and its job's environment.
func TestCalls(t *testing.T) {
	call := func(uses, more string) string {
		return "on: " + onTags + "\njobs:\n  a:\n    permissions: {id-token: write}\n    uses: " + uses + "\n" + more
	}
	inner := workflow("{workflow_call: {inputs: {dir: {type: string}, go: {type: boolean}}}}", "    environment: release\n", "if: ${{ !inputs.go }}\n"+attest)
	const commit = "11bd71901bbe5b1630ceea73d27597364c9af683"
	generic := "slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml@"
	for _, c := range []kase{
		{
			what: "a local workflow", tags: "v1.0.0", tree: tree{release: call("./.github/workflows/b.yml", ""), ".github/workflows/b.yml": inner},
			want: []string{"b.yml; by: release.yml; in: release; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "a local workflow, by a dollar", tags: "v1.0.0", tree: tree{release: call("$/.github/workflows/b.yml", ""), ".github/workflows/b.yml": inner},
			want: []string{"b.yml; by: release.yml; in: release; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "an input that stops it", tags: "v1.0.0", tree: tree{release: call("./.github/workflows/b.yml", "    with: {go: true}\n"), ".github/workflows/b.yml": inner},
		},
		{
			what: "a caller without permissions", tags: "v1.0.0",
			tree: tree{release: strings.Replace(call("./.github/workflows/b.yml", ""), "    permissions: {id-token: write}\n", "", 1), ".github/workflows/b.yml": inner},
			want: []string{"b.yml; by: release.yml; in: release; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "a caller that refuses", tags: "v1.0.0",
			tree: tree{release: strings.Replace(call("./.github/workflows/b.yml", ""), "id-token: write", "contents: read", 1), ".github/workflows/b.yml": inner},
		},
		{
			what: "three deep", tags: "v1.0.0", tree: tree{
				release:                   call("./.github/workflows/b.yml", ""),
				".github/workflows/b.yml": strings.Replace(call("./.github/workflows/c.yml", ""), onTags, "workflow_call", 1), ".github/workflows/c.yml": inner,
			},
			want: []string{"c.yml; by: release.yml; in: release; on: push; tags: v*.*.*; names: widget_*"},
		},
		{what: "itself", tags: "v1.0.0", tree: tree{release: strings.Replace(call("./"+release, ""), onTags, "[push, workflow_call]", 1)}},
		{what: "a file that is not there", tags: "v1.0.0", tree: tree{release: call("./.github/workflows/b.yml", "")}},
		{
			what: "this repository at a ref", tags: "v1.0.0", tree: tree{release: call("acme/widget/.github/workflows/b.yml@main", ""), ".github/workflows/b.yml": inner},
			want: []string{"b.yml; by: release.yml; at: refs/heads/main; in: release; on: push; tags: v*.*.*; names: widget_*"},
		},
		{
			what: "a generator at a tag", tags: "v1.0.0", tree: tree{".goreleaser.yaml": "project_name: gizmo\n", release: call(generic+"v2.1.0", "")},
			want: []string{"https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml; by: release.yml; at: refs/tags/v2.1.0; on: push; tags: v*.*.*; names: gizmo_*"},
		},
		{
			what: "a generator at a commit", tags: "v1.0.0", tree: tree{release: call(generic+commit, "")},
			want: []string{"https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml; by: release.yml; at: " + commit + "; on: push; tags: v*.*.*; names: widget*"},
		},
		{what: "a generator at nothing", tags: "v1.0.0", tree: tree{release: call(strings.TrimSuffix(generic, "@"), "")}},
		{
			what: "a workflow that cannot be read", tags: "v1.0.0", tree: tree{release: call("acme/ci/.github/workflows/x.yml@main", "")},
			says: "which calls acme/ci/.github/workflows/x.yml@main: what that workflow signs cannot be read here",
		},
		{
			what: "a workflow that cannot be read, named", tags: "v1.0.0", tree: tree{release: call("acme/ci/.github/workflows/x.yml@main", "")}, o: Options{Workflow: release},
			want: []string{"https://github.com/acme/ci/.github/workflows/x.yml; by: release.yml; at: refs/heads/main; on: push; tags: v*.*.*; names: widget*"},
		},
	} {
		c.check(t)
	}
}

// TestGitLab: a job with id_tokens for Sigstore that signs, and no other.
func TestGitLab(t *testing.T) {
	job := func(name, more string) string {
		return name + ":\n  id_tokens: {SIGSTORE_ID_TOKEN: {aud: sigstore}}\n  script: ['cosign sign --yes $CI_REGISTRY_IMAGE@$D', 'cosign sign-blob --yes widget.tgz']\n" + more
	}
	want := ".gitlab-ci.yml; on: push; tags: v*.*.*; names: widget.tgz registry.gitlab.com/acme/widget"
	for _, c := range []kase{
		{what: "a tag", tags: "v1.0.0 staging-2026-05", tree: tree{binding.GitLabConfig: job("sign", "  rules: [{if: '$CI_COMMIT_TAG =~ /^v\\d/'}]\n")}, want: []string{want}},
		{what: "a tag that does not fit", tags: "x1.0.0", tree: tree{binding.GitLabConfig: job("sign", "  rules: [{if: '$CI_COMMIT_TAG =~ /^v/'}]\n")}},
		{what: "only tags", tags: "v1.0.0", tree: tree{binding.GitLabConfig: job("sign", "  only: [tags]\n")}, want: []string{want}},
		{
			what: "a hidden job, and a file that is included", tags: "v1.0.0",
			tree: tree{binding.GitLabConfig: "include: [{local: /ci/x.yml}]\n.a:\n  id_tokens: {T: {aud: sigstore}}\n", "ci/x.yml": "sign:\n  extends: .a\n  script: [cosign sign-blob --yes widget.tgz]\n"},
			want: []string{".gitlab-ci.yml; on: push; tags: v*.*.*; names: widget.tgz"},
		},
		{what: "a cloud", tags: "v1.0.0", tree: tree{binding.GitLabConfig: strings.Replace(job("x", ""), "aud: sigstore", "aud: 'https://cloud.example'", 1)}},
		{what: "branches", tags: "v1.0.0", tree: tree{binding.GitLabConfig: job("x", "  rules: [{if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH}]\n")}, says: "is every push"},
		{what: "never for tags", tags: "v1.0.0", tree: tree{binding.GitLabConfig: job("x", "  rules: [{if: $CI_COMMIT_TAG, when: never}, {if: '$X == \"merge\"', when: never}]\n")}},
		{what: "nothing"},
	} {
		c.lab = true
		c.check(t)
	}
	for config, want := range map[string]string{"": "test", "stages: [build, ship]\n": "ship", "stages: [test, ship]\n": "test", "stages: ['a b']\n": "test"} {
		if got := Stage([]byte(config)); got != want {
			t.Errorf("%q: %s", config, got)
		}
	}
}

// TestRemote: an address that would be a guess is asked.
func TestRemote(t *testing.T) {
	const here = "https://github.com/acme/widget"
	for _, c := range []struct {
		remotes           string // name=url, …
		address, question string
		answer            string
	}{
		{"origin=" + here, here, "", ""},
		{"origin=git@github.com:acme/widget.git other=https://github.com/x/y", "git@github.com:acme/widget.git", "", ""},
		{"origin=https://git.example.com/acme/widget", "https://git.example.com/acme/widget", "", ""},
		{"", "", "no remote origin", here},
		{"fork=" + here, "", "but fork", here},
		{"origin=https://github.com/me/widget upstream=" + here, "", "upstream is " + here, here},
		{"origin=" + here + " upstream=git@github.com:acme/widget.git", here, "", ""},
		{"origin=git@github.com-work:acme/widget.git", "", "is at github.com-work", here},
		{"origin=git@work:acme/widget.git", "", "is at work", here},
		{"origin=https://www.github.com/acme/widget", "", "is at www.github.com", here},
		{"origin=ssh://git@ssh.github.com:443/acme/widget.git", "", "is at ssh.github.com", here},
		{"origin=git@ssh.dev.azure.com:v3/acme/a/b", "", "is at ssh.dev.azure.com", "https://dev.azure.com/v3/acme/a/b"},
	} {
		remotes := map[string]string{}
		for _, r := range strings.Fields(c.remotes) {
			name, url, _ := strings.Cut(r, "=")
			remotes[name] = url
		}
		address, question, answer := Remote(remotes)
		if address != c.address || !strings.Contains(question, c.question) || (question == "") != (c.question == "") || answer != c.answer {
			t.Errorf("%s: %q %q %q", c.remotes, address, question, answer)
		}
	}
}

func TestSuggestions(t *testing.T) {
	bundle := func(at string) []byte {
		return []byte(`{"verificationMaterial":{"tlogEntries":[{"integratedTime":"` + at + `"}]}}`)
	}
	p := From(Project{
		Repository: widget, Default: "main", Files: tree{
			release: workflow(onTags, "", "run: npm publish --provenance"), "package.json": npm,
			"CODEOWNERS":            "* @bob carol@example.com # @mallory\n/docs @acme/writers\nalone\n/x @e\x1b[31m\n",
			"SECURITY-INSIGHTS.yml": "project: {administrators: [{name: Dan, email: dan@example.com}, {email: carol@example.com}]}\nrepository: {core-team: [{email: \"e\\nvil = 1\"}]}\n",
		},
		Bundles: map[string][]byte{"new": bundle("1700000000"), "old": bundle("1690000000"), "none": bundle("0"), "bad": bundle("x"), "no": []byte("{"), "far": bundle("999999999999999")},
	}, Options{})
	a := answers(widget)
	a.Recovery = "90d"
	f := parsed(t, p, a)
	if got := f.Rules[0].Artifacts.String(); !strings.Contains(got, "pkg:npm/%40acme/widget@*") {
		t.Error(got)
	}
	if want := time.Date(2023, 7, 22, 0, 0, 0, 0, time.UTC); !f.Rules[0].Since.Equal(want) {
		t.Error(f.Rules[0].Since)
	}
	if d := cmp.Diff([]string{"@bob", "carol@example.com", "@acme/writers", "dan@example.com"}, p.People); d != "" {
		t.Error(d)
	}
	if f.Recovery != 90*24*time.Hour || f.Maintainers.Members[0].Name != "alice" {
		t.Errorf("%+v", f.Maintainers)
	}
	if f = parsed(t, p, Answers{Repository: widget, Expires: a.Expires}); !f.Maintainers.Repository {
		t.Errorf("%+v", f.Maintainers)
	}
}

// FuzzFrom: whatever a project holds, the proposal is a valid policy, or has an
// answer of the file system in it that no policy can express.
func FuzzFrom(f *testing.F) {
	f.Add(workflow(onTags, "", "run: npm publish"), npm, signed, "sign: {script: [cosign sign x]}", "v1.0.0 v1")
	f.Add("on: push\njobs: {a: {uses: a/b/.github/workflows/c.yml@v1, permissions: write-all}}\n", "", "", "", "a/1")
	f.Add(workflow("{push: {branches: ['*']}}", "    if: ${{ !(a.b['c'] == 1 || contains(fromJSON('[1]'), 2)) }}\n", attest), "[", "a: {{ if", "rules: []", "1.0")
	f.Fuzz(func(t *testing.T, text, packageJSON, goreleaser, gitlab, tags string) {
		for _, repo := range []policy.Locator{widget, lab} {
			p := From(Project{Repository: repo, Default: "main", Tags: strings.Fields(tags), Files: tree{
				release: text, "package.json": packageJSON, ".goreleaser.yml": goreleaser, binding.GitLabConfig: gitlab, "Makefile": text, "a.sh": gitlab,
			}}, Options{})
			if len(p.Rules) == 0 {
				continue
			}
			doc, err := policy.Parse([]byte(p.Policy(answers(repo))))
			if err != nil {
				continue // said to the user, who is asked for flags
			}
			c := doc.Content()
			if len(c.Maintainers.Members) != 1 || c.Recovery != 0 || c.Repository != repo || len(c.Rules) != len(p.Rules) {
				t.Fatalf("another policy than proposed:\n%s", p.Policy(answers(repo)))
			}
		}
	})
}
