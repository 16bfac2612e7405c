// SPDX-License-Identifier: Apache-2.0

package names

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

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
			if path.Dir(at) == dir && !slices.Contains(out, path.Base(at)) {
				out = append(out, path.Base(at))
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestGoReleaser(t *testing.T) {
	for _, c := range []struct{ what, text, files, images, signs string }{
		{"nothing", "", "mod_* mod_*_checksums.txt", "", ""},
		{"a name", "project_name: x", "x_* x_*_checksums.txt", "", ""},
		{
			"templates", "project_name: x\nbuilds: [{binary: a}, {id: b}]\n" +
				"archives: [{name_template: '{{.Binary}}-{{- .Version}}-{{ if x }}y{{ end }}'}]\n" +
				"checksum: {name_template: '{{ .ProjectName }}.sums'}", "a-* b-* x.sums", "", "",
		},
		{"binaries", "archives: [{formats: [binary]}]\nbuilds: [{binary: a}]", "a_* mod_*_checksums.txt", "", ""},
		{
			"binaries with a template", "archives: [{formats: [binary], name_template: '{{ .Binary }}'}]\n" +
				"builds: [{binary: 'a-{{ .Os }}'}, {binary: '{{ .ProjectName }}-{{ .Arch }}'}, {}]",
			"a-* mod-* mod* mod_*_checksums.txt", "", "",
		},
		{
			"space that markers trim", "archives: [{name_template: \"{{ .ProjectName -}} \\n _\\n {{- title .Os }}\"}]",
			"mod_* mod_*_checksums.txt", "", "",
		},
		{"the source", "source: {enabled: true}", "mod_* mod-* mod_*_checksums.txt", "", ""},
		{
			"the source, named", "source: {enabled: true, name_template: 's-{{ .Tag }}'}",
			"mod_* s-* mod_*_checksums.txt", "", "",
		},
		{"nothing but a template", "archives: [{name_template: '{{ .Version }}'}]\nchecksum: {name_template: s}", "s",
			"", ""},
		{"packages", "nfpms: [{package_name: p}]\nchecksum: {name_template: s}", "mod_* p* s", "", ""},
		{
			"images", "dockers: [{image_templates: ['ghcr.io/a/{{ .ProjectName }}:{{ .Tag }}', 'a/b:1']}]\n" +
				"docker_manifests: [{name_template: 'ghcr.io/a/c:{{ .Tag }}'}]\n" +
				"kos: [{repositories: [ghcr.io/a/d], bare: true}]", "mod_* mod_*_checksums.txt",
			"ghcr.io/a/mod docker.io/a/b index.docker.io/a/b ghcr.io/a/c ghcr.io/a/d", "",
		},
		{"signatures", "signs: [{cmd: cosign, args: [sign-blob]}]\ndocker_signs: [{cmd: .bin/cosign}]",
			"mod_* mod_*_checksums.txt", "", "files images"},
		{"keys", "signs: [{cmd: cosign, args: [--key, x]}, {cmd: gpg}, {}, {cmd: cosign, artifacts: none}]",
			"mod_* mod_*_checksums.txt", "", ""},
		{"a shell", "signs: [{cmd: sh, args: [-c, 'cosign sign-blob x']}]", "mod_* mod_*_checksums.txt", "", "files"},
		{"other types", "signs: {a: b}\nproject_name: x", "x_* x_*_checksums.txt", "", ""},
	} {
		g := parseGoReleaser(".goreleaser.yml", []byte(c.text), "mod")
		signs := strings.Join(
			slices.DeleteFunc(
				[]string{map[bool]string{true: "files"}[g.Signs], map[bool]string{true: "images"}[g.SignsAll]},
				func(s string) bool { return s == "" },
			),
			" ",
		)
		got := []string{strings.Join(g.Files, " "), strings.Join(g.Images, " "), signs}
		if d := cmp.Diff([]string{c.files, c.images, c.signs}, got); d != "" {
			t.Errorf("%s: %s", c.what, d)
		}
	}
	for module, want := range map[string]string{"example.com/a": "a", "example.com/a/v2": "a", "v": "v", "": "."} {
		if got := ModuleName(module); got != want {
			t.Errorf("%s: %s", module, got)
		}
	}
}

func TestImage(t *testing.T) {
	for ref, want := range map[string]string{
		"ghcr.io/A/b:1@sha256:x": "ghcr.io/a/b", "localhost:5000/a": "localhost:5000/a",
		"a/b":           "docker.io/a/b index.docker.io/a/b",
		"docker.io/a/b": "docker.io/a/b index.docker.io/a/b", "a": "", "$X/a": "", "*": "", "https://x/a": "",
		"ghcr.io/a/*-b": "ghcr.io/a/*-b",
	} {
		if got := strings.Join(Image(ref), " "); got != want {
			t.Errorf("%s: %s", ref, got)
		}
	}
}

func TestManifests(t *testing.T) {
	c := Read(clone.New(tree{
		"package.json": `{"private": true}`, "lerna.json": `{"packages": ["libs/**", "!libs/old"]}`,
		"libs/a/package.json":   `{"name": "a"}`,
		"libs/old/package.json": `{"name": "old"}`, "other/package.json": `{"name": "other"}`, "bad/package.json": "{",
		"pyproject.toml": "[tool.poetry]\nname = 'A.b'\n", "x/pyproject.toml": "[tool.flit.metadata]\nmodule = 'm'\n",
		"y/setup.py": "setup(name=\"s\", x=1)\n",
		"z/setup.py": "name = NAME\n", "w/setup.cfg": "[x]\nname = no\n[metadata]\nname = w\n",
		"Cargo.toml":   "[package]\nname = 'r'\npublish = []\n",
		"q/Cargo.toml": "[package]\nname = 'q'\npublish = ['x']\n", "g.gemspec": "",
		"pom.xml":         "<project><artifactId>art</artifactId></project>",
		"settings.gradle": "rootProject.name = 'gr'\n", "charts/c/Chart.yaml": "name: c\n", "p/P.csproj": "",
		"p/P.Tests.csproj": "", "examples/e/Cargo.toml": "[package]\nname = 'e'\n",
	}), "acme", "widget")
	for what, x := range map[string]struct {
		got  []string
		want string
	}{
		"npm": {c.NPMPatterns(), "pkg:npm/a@*"},
		"python": {c.PythonPatterns(),
			"a_b-*.whl a_b-*.tar.gz a-b-*.tar.gz m-*.whl m-*.tar.gz w-*.whl w-*.tar.gz s-*.whl s-*.tar.gz"},
		"crates": {c.CratePatterns(), "q-*.crate pkg:cargo/q@*"},
		"gems":   {c.GemPatterns(), "g-*.gem"},
		"maven":  {c.MavenPatterns(), "art-* gr-*"},
		"nuget":  {c.NuGetPatterns(), "P.*"},
		"guess":  {c.Guess(), "widget* A.b* a_b*"},
	} {
		if d := cmp.Diff(x.want, strings.Join(x.got, " ")); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	if got := Script(clone.New(tree{"package.json": `{"scripts": {"a": "b"}}`}), "x", "a"); got != "b" {
		t.Error(got)
	}
}

// TestNPMPackages: which packages of a clone belong to the project.
func TestNPMPackages(t *testing.T) {
	const platform = `{"name": "@a/b-linux"}`
	for what, c := range map[string]struct{ root, want string }{
		"alone":            {`{"name": "b"}`, "pkg:npm/b@*"},
		"native platforms": {`{"name": "b", "napi": {"binaryName": "b"}}`, "pkg:npm/b@* pkg:npm/%40a/b-linux@*"},
		"anywhere":         {`{"private": true}`, "pkg:npm/o@* pkg:npm/%40a/b-linux@*"},
		"workspaces":       {`{"name": "b", "workspaces": ["x/*"]}`, "pkg:npm/b@*"},
	} {
		files := tree{"package.json": c.root, "npm/linux/package.json": platform, "other/package.json": `{"name": "o"}`,
			"other/examples/a/package.json": `{"name": "e"}`}
		got := strings.Join(Read(clone.New(files), "acme", "widget").NPMPatterns(), " ")
		if got != c.want {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// FuzzRead: what is read of manifests are patterns of the language, or names that can be none.
func FuzzRead(f *testing.F) {
	f.Add(
		`{"name": "a", "workspaces": ["*"]}`,
		"[project]\nname = 'x'\n",
		"project_name: x\ndockers: [{image_templates: ['a/b:{{']}]",
		"<a>",
	)
	f.Fuzz(func(t *testing.T, npm, toml, goreleaser, pom string) {
		c := Read(clone.New(tree{
			"package.json": npm, "pyproject.toml": toml, "Cargo.toml": toml, ".goreleaser.yml": goreleaser, "pom.xml": pom,
			"setup.cfg": toml, "setup.py": npm, "pnpm-workspace.yaml": goreleaser, "c/Chart.yaml": goreleaser,
			"settings.gradle": toml,
		}), "acme", "widget")
		all := slices.Concat(c.NPMPatterns(), c.PythonPatterns(), c.CratePatterns(), c.MavenPatterns(), c.Guess())
		for _, g := range c.Go {
			all = slices.Concat(all, g.Files, g.Images)
		}
		for _, p := range all {
			if p == "" {
				t.Error("an empty pattern")
			}
		}
	})
}

// TestWorkspaces: which directories globs of workspaces name.
func TestWorkspaces(t *testing.T) {
	for globs, want := range map[string]string{
		"p/*": "p/a", "p/**": "p p/a p/a/b", "p/*/*": "p/a/b", "{p,q}/a": "p/a q/a", "p/{a,c}": "p/a", "**/b": "p/a/b",
		"p/** !p/a": "p p/a/b", "p/** !**/b": "p p/a", "./q/a": "q/a", "p/a": "p/a", "p/{a": "", "": "", "[": "",
		"**/**/**/**/**/**/x": "",
	} {
		var got []string
		for _, dir := range []string{"p", "p/a", "p/a/b", "q/a"} {
			if matchesDir(strings.Fields(globs), dir) {
				got = append(got, dir)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s", globs, got)
		}
	}
	long := strings.Split(strings.Repeat("a/", 500)+"a", "/")
	if steps := 0; matchesPath(append(strings.Split(strings.Repeat("**/a/", 50), "/"), "b"), long, &steps) {
		t.Error("a glob that matches nothing")
	}
}
