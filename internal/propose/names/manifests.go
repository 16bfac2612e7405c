// SPDX-License-Identifier: Apache-2.0

package names

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

func called(name string) func(string) bool { return func(base string) bool { return base == name } }

type packageJSON struct {
	Name       string          `json:"name"`
	Private    bool            `json:"private"`
	Workspaces json.RawMessage `json:"workspaces"`
	Scripts    map[string]any  `json:"scripts"`
	NAPI       *struct {
		Package string `json:"packageName"`
	} `json:"napi"`
	Version  string         `json:"version"`
	Optional map[string]any `json:"optionalDependencies"`
	Product  string         `json:"productName"`
	Build    struct {
		Product string `json:"productName"`
	} `json:"build"`
	Publish struct {
		Registry string `json:"registry"`
	} `json:"publishConfig"`
}

// elsewhere reports whether the package goes to another registry than npm's public one.
func (p *packageJSON) elsewhere() bool {
	return p.Publish.Registry != "" && !strings.Contains(p.Publish.Registry, "registry.npmjs.org")
}

func (p *packageJSON) workspaces() (out []string) {
	if json.Unmarshal(p.Workspaces, &out) == nil {
		return out
	}
	var object struct {
		Packages []string `json:"packages"`
	}
	_ = json.Unmarshal(p.Workspaces, &object)
	return object.Packages
}

// npmPackages returns the packages of the root and of its workspaces; without workspaces, those
// that lie anywhere if the root is none itself.
func npmPackages(c *clone.Clone) (out []Package) {
	var root packageJSON
	isRoot := json.Unmarshal(c.Read("package.json"), &root) == nil
	globs := npmGlobs(c, &root)
	native := map[string]string{} // what a tool calls packages after, by directory
	for _, name := range c.Find(called("package.json")) {
		dir := path.Dir(name)
		anywhere := globs == nil && (!isRoot || root.Private || root.Name == "") && !aside(name)
		inside := dir == "." || anywhere || matchesDir(globs, dir)
		var p packageJSON
		if !inside || json.Unmarshal(c.Read(name), &p) != nil || p.Name == "" {
			continue
		}
		private := p.Private || p.elsewhere()
		for _, n := range append([]string{p.Name}, p.platforms()...) {
			out = append(out, Package{n, dir, private})
		}
		if p.NAPI != nil && !private {
			native[dir] = firstOf(p.NAPI.Package, p.Name)
		}
	}
	return append(out, made(native, out)...)
}

// made returns a pattern for the packages for platforms that napi makes while it releases, unless
// they are in the clone.
func made(native map[string]string, all []Package) (out []Package) {
	for _, dir := range slices.Sorted(maps.Keys(native)) {
		below := path.Join(dir, "npm") + "/"
		if !slices.ContainsFunc(all, func(p Package) bool { return strings.HasPrefix(p.Dir+"/", below) }) {
			out = append(out, Package{native[dir] + "-*", dir, false})
		}
	}
	return out
}

// platforms returns the packages for single platforms that are made and published with a package:
// optional dependencies of its scope or name in its own version.
func (p *packageJSON) platforms() (out []string) {
	stem := p.Name + "-"
	if scope, _, ok := strings.Cut(p.Name, "/"); ok {
		stem = scope + "/"
	}
	for name, version := range p.Optional {
		text, _ := version.(string)
		if strings.HasPrefix(name, stem) && (text == p.Version && text != "" || strings.HasPrefix(text, "workspace:")) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// apps returns what programs for desktops are called, whose files have their names.
func apps(c *clone.Clone) (out []Package) {
	add := func(name, file string) {
		if name != "" && !aside(file) {
			out = append(out, Package{name, path.Dir(file), false})
		}
	}
	for _, file := range c.Find(called("package.json")) {
		var p packageJSON
		if json.Unmarshal(c.Read(file), &p) == nil {
			add(firstOf(p.Build.Product, p.Product), file)
		}
	}
	for _, base := range []string{
		"tauri.conf.json", "electron-builder.yml", "electron-builder.yaml", "electron-builder.json",
	} {
		for _, file := range c.Find(called(base)) {
			var doc struct { // JSON is YAML
				Product string `yaml:"productName"`
				Package struct {
					Product string `yaml:"productName"`
				} `yaml:"package"`
			}
			if yaml.Unmarshal(c.Read(file), &doc) == nil {
				add(firstOf(doc.Product, doc.Package.Product), file)
			}
		}
	}
	return out
}

// npmGlobs returns where packages lie beside the root: workspaces, and one for each platform.
func npmGlobs(c *clone.Clone, root *packageJSON) []string {
	globs := root.workspaces()
	if root.NAPI != nil {
		globs = append(globs, "npm/*")
	}
	for name, field := range map[string]string{"pnpm-workspace.yaml": "packages", "lerna.json": "packages"} {
		var doc map[string]any // JSON is YAML
		if yaml.Unmarshal(c.Read(name), &doc) != nil {
			continue
		}
		items, _ := doc[field].([]any)
		for _, x := range items {
			if s, ok := x.(string); ok {
				globs = append(globs, s)
			}
		}
	}
	return globs
}

// matchesDir reports whether a directory is one of those that globs of workspaces name.
func matchesDir(globs []string, dir string) bool {
	in := false
	for _, g := range globs {
		negative := strings.HasPrefix(g, "!")
		for _, one := range alternatives(path.Clean(strings.TrimPrefix(g, "!"))) {
			if steps := 0; matchesPath(strings.Split(one, "/"), strings.Split(dir, "/"), &steps) {
				in = !negative
			}
		}
	}
	return in
}

// alternatives writes out the first braces of a glob: a/{b,c} is a/b and a/c.
func alternatives(glob string) (out []string) {
	before, rest, open := strings.Cut(glob, "{")
	inner, after, closed := strings.Cut(rest, "}")
	if !open || !closed {
		return []string{glob}
	}
	for one := range strings.SplitSeq(inner, ",") {
		out = append(out, before+one+after)
	}
	return out
}

// maxMatching bounds the work for one glob and one directory.
const maxMatching = 1000

// matchesPath compares segments; ** stands for any number of them.
func matchesPath(glob, dir []string, steps *int) bool {
	if *steps++; *steps > maxMatching {
		return false
	}
	switch {
	case len(glob) == 0:
		return len(dir) == 0
	case glob[0] == "**":
		return matchesPath(glob[1:], dir, steps) || len(dir) > 0 && matchesPath(glob, dir[1:], steps)
	case len(dir) == 0:
		return false
	}
	ok, _ := path.Match(glob[0], dir[0])
	return ok && matchesPath(glob[1:], dir[1:], steps)
}

// Script returns the script of a name in the package.json of a directory, or of the root.
func Script(c *clone.Clone, dir, name string) string {
	for _, d := range slices.Compact([]string{path.Clean(dir), "."}) {
		var p packageJSON
		if json.Unmarshal(c.Read(path.Join(d, "package.json")), &p) == nil {
			if s, ok := p.Scripts[name].(string); ok {
				return s
			}
		}
	}
	return ""
}

func pythonPackages(c *clone.Clone) (out []Package) {
	seen := map[string]bool{}
	add := func(name, file string) {
		if dir := path.Dir(file); name != "" && !seen[dir] {
			seen[dir] = true
			out = append(out, Package{name, dir, false})
		}
	}
	for _, file := range c.Find(called("pyproject.toml")) {
		var doc struct {
			Project struct{ Name string }
			Tool    struct {
				Poetry struct{ Name string }
				Flit   struct {
					Metadata struct {
						Module   string
						DistName string `toml:"dist-name"`
					}
				}
			}
		}
		if toml.Unmarshal(c.Read(file), &doc) == nil {
			flit := doc.Tool.Flit.Metadata
			add(firstOf(doc.Project.Name, doc.Tool.Poetry.Name, flit.DistName, flit.Module), file)
		}
	}
	for _, file := range c.Find(called("setup.cfg")) {
		add(iniName(c.Read(file)), file)
	}
	for _, file := range c.Find(called("setup.py")) {
		add(setupName(c.Read(file)), file)
	}
	return out
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// iniName returns the name of the section [metadata].
func iniName(data []byte) string {
	section := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, ok := strings.Cut(line, "=")
		if ok && section == "[metadata]" && strings.TrimSpace(key) == "name" {
			return plain(strings.TrimSpace(value))
		}
	}
	return ""
}

// setupName returns the literal name that setup.py gives.
func setupName(data []byte) string {
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if i := strings.LastIndexAny(key, "(, "); i >= 0 {
			key = key[i+1:]
		}
		value = strings.TrimSpace(value)
		if ok && strings.TrimSpace(key) == "name" && len(value) > 2 && (value[0] == '"' || value[0] == '\'') {
			name, _, _ := strings.Cut(value[1:], value[:1])
			return plain(name)
		}
	}
	return ""
}

// plain returns a name of ordinary characters, "" of anything else.
func plain(s string) string {
	const ok = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if strings.Trim(s, ok) != "" {
		return ""
	}
	return s
}

func crates(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(called("Cargo.toml")) {
		var doc struct {
			Package struct {
				Name    string
				Publish any
			}
		}
		if toml.Unmarshal(c.Read(file), &doc) != nil || doc.Package.Name == "" {
			continue
		}
		registries, listed := doc.Package.Publish.([]any)
		private := doc.Package.Publish == false || listed && len(registries) == 0
		out = append(out, Package{doc.Package.Name, path.Dir(file), private})
	}
	return out
}

// aside reports whether a file is of an example or a test, which is not released.
func aside(file string) bool {
	return slices.ContainsFunc(strings.Split(path.Dir(file), "/"), func(dir string) bool {
		return slices.Contains([]string{
			"example", "examples", "test", "tests", "testdata", "fixtures", "demo", "demos", "templates", "fuzz", "benches",
		}, dir)
	})
}

// programs returns what crates call the programs that they build.
func programs(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(called("Cargo.toml")) {
		var doc struct{ Bin []struct{ Name string } }
		if aside(file) || toml.Unmarshal(c.Read(file), &doc) != nil {
			continue
		}
		for _, b := range doc.Bin {
			out = append(out, Package{plain(b.Name), path.Dir(file), false})
		}
	}
	return out
}

// recipes returns what recipes of conda, which are templates, call their packages.
func recipes(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(func(base string) bool { return base == "recipe.yaml" || base == "meta.yaml" }) {
		for line := range strings.Lines(string(c.Read(file))) {
			line = strings.NewReplacer("{%", "", "%}", "", "{", " ", "}", " ", `"`, "", "'", "", ",", " ").Replace(line)
			words := strings.Fields(strings.ReplaceAll(line, "package:", ""))
			name := ""
			switch {
			case len(words) > 1 && words[0] == "name:":
				name = plain(words[1])
			case len(words) > 3 && words[0] == "set" && words[1] == "name":
				name = plain(words[3])
			}
			if name != "" {
				out = append(out, Package{name, path.Dir(file), false})
				break
			}
		}
	}
	return out
}

func gems(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(func(base string) bool { return strings.HasSuffix(base, ".gemspec") }) {
		out = append(out, Package{plain(strings.TrimSuffix(path.Base(file), ".gemspec")), path.Dir(file), false})
	}
	return out
}

// artifacts returns what Maven's and Gradle's builds are called.
func artifacts(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(called("pom.xml")) {
		var doc struct {
			ArtifactID string `xml:"artifactId"`
		}
		if xml.Unmarshal(c.Read(file), &doc) == nil && plain(doc.ArtifactID) != "" {
			out = append(out, Package{doc.ArtifactID, path.Dir(file), false})
		}
	}
	for _, file := range c.Find(func(b string) bool { return b == "settings.gradle" || b == "settings.gradle.kts" }) {
		for line := range strings.Lines(string(c.Read(file))) {
			for _, name := range gradleNames(strings.TrimSpace(line)) {
				out = append(out, Package{plain(name), path.Dir(file), false})
			}
		}
	}
	return out
}

// gradleNames returns the project, or the subprojects, that a line of Gradle's settings names.
func gradleNames(line string) (out []string) {
	if rest, ok := strings.CutPrefix(line, "rootProject.name"); ok {
		return []string{strings.Trim(strings.TrimSpace(rest), "= '\"")}
	}
	rest, ok := strings.CutPrefix(line, "include")
	if !ok || rest == "" || rest[0] != '(' && rest[0] != ' ' {
		return nil
	}
	for _, name := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune("('\", )", r) }) {
		out = append(out, name[strings.LastIndexByte(name, ':')+1:])
	}
	return out
}

func charts(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(called("Chart.yaml")) {
		var doc struct {
			Name string `yaml:"name"`
		}
		if yaml.Unmarshal(c.Read(file), &doc) == nil {
			out = append(out, Package{plain(doc.Name), path.Dir(file), false})
		}
	}
	return out
}

// nugets returns what projects of .NET are called, but for tests.
func nugets(c *clone.Clone) (out []Package) {
	for _, file := range c.Find(func(base string) bool {
		return strings.HasSuffix(base, ".csproj") || strings.HasSuffix(base, ".fsproj")
	}) {
		name := plain(strings.TrimSuffix(path.Base(file), path.Ext(file)))
		out = append(out, Package{name, path.Dir(file), strings.Contains(strings.ToLower(name), "test")})
	}
	return out
}
