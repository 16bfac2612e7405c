// SPDX-License-Identifier: Apache-2.0

package names

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

// GoReleaser is what a configuration of GoReleaser says of a release.
type GoReleaser struct {
	File, Dir string
	Project   string
	Files     []string // patterns of archives, packages and checksums
	Images    []string
	Signs     bool // it signs files by an identity
	SignsAll  bool // images, too
}

// config is read of .goreleaser.yaml.
//
// https://goreleaser.com/customization/
type config struct {
	ProjectName string    `yaml:"project_name"`
	Builds      []section `yaml:"builds"`
	Archives    []section `yaml:"archives"`
	Checksum    section   `yaml:"checksum"`
	Source      section   `yaml:"source"`
	NFPMs       []section `yaml:"nfpms"`
	Signs       []signer  `yaml:"signs"`
	BinarySigns []signer  `yaml:"binary_signs"`
	DockerSigns []signer  `yaml:"docker_signs"`
	Dockers     []section `yaml:"dockers"`
	Manifests   []section `yaml:"docker_manifests"`
	DockersV2   []section `yaml:"dockers_v2"`
	Kos         []section `yaml:"kos"`
	SBOMs       []section `yaml:"sboms"`
}

type section struct {
	Binary       string   `yaml:"binary"`
	ID           string   `yaml:"id"`
	NameTemplate string   `yaml:"name_template"`
	FileTemplate string   `yaml:"file_name_template"`
	PackageName  string   `yaml:"package_name"`
	Format       string   `yaml:"format"`
	Formats      []string `yaml:"formats"`
	Images       []string `yaml:"images"`
	Templates    []string `yaml:"image_templates"`
	Repository   string   `yaml:"repository"`
	Repositories []string `yaml:"repositories"`
	Bare         bool     `yaml:"bare"`
	Enabled      bool     `yaml:"enabled"`
}

type signer struct {
	Cmd       string   `yaml:"cmd"`
	Args      []string `yaml:"args"`
	Artifacts string   `yaml:"artifacts"`
}

func goreleasers(c *clone.Clone) (out []*GoReleaser) {
	files := c.Find(func(base string) bool {
		stem, ext := strings.TrimPrefix(base, "."), path.Ext(base)
		return strings.HasPrefix(stem, "goreleaser") && (ext == ".yml" || ext == ".yaml")
	})
	for _, f := range files {
		if g := parseGoReleaser(f, c.Read(f), ModuleName(moduleOf(c))); g != nil {
			out = append(out, g)
		}
	}
	return out
}

// ModuleName is what GoReleaser calls a project without a name: the module, without its version.
func ModuleName(module string) string {
	name := path.Base(module)
	if number, ok := strings.CutPrefix(name, "v"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
		name = path.Base(path.Dir(module))
	}
	return name
}

// moduleOf returns the path of the Go module in the root.
func moduleOf(c *clone.Clone) string {
	for line := range strings.Lines(string(c.Read("go.mod"))) {
		if module, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(module)
		}
	}
	return ""
}

func parseGoReleaser(file string, data []byte, fallback string) *GoReleaser {
	var doc config
	if yaml.Unmarshal(data, &doc) != nil {
		var loose map[string]any // of a later version: what is there is read as far as it goes
		if yaml.Unmarshal(data, &loose) != nil {
			return nil
		}
	}
	g := &GoReleaser{File: file, Dir: path.Dir(file), Project: plain(doc.ProjectName)}
	if g.Project == "" {
		g.Project = plain(fallback)
	}
	g.files(&doc)
	g.images(&doc)
	keyless := func(s signer) bool { return s.keyless() }
	g.Signs = slices.ContainsFunc(append(doc.Signs, doc.BinarySigns...), keyless)
	g.SignsAll = slices.ContainsFunc(doc.DockerSigns, keyless)
	return g
}

// keyless reports whether a signer uses an identity, and no key.
func (s signer) keyless() bool {
	if base := path.Base(s.Cmd); s.Artifacts == "none" || base != "cosign" && base != "gitsign" {
		return base == "sh" || base == "bash" && strings.Contains(strings.Join(s.Args, " "), "cosign")
	}
	return !slices.ContainsFunc(s.Args, func(a string) bool {
		return a == "--key" || strings.HasPrefix(a, "--key=") || strings.HasPrefix(a, "-key")
	})
}

func (g *GoReleaser) files(doc *config) {
	var binaries []string
	for _, b := range doc.Builds {
		binaries = append(binaries, resolve(firstOf(b.Binary, b.ID, "{{ .ProjectName }}"), g.Project, ""))
	}
	if len(binaries) == 0 {
		binaries = []string{g.Project}
	}
	archives := doc.Archives
	if len(archives) == 0 {
		archives = []section{{}}
	}
	for _, a := range archives {
		template := a.NameTemplate
		if template == "" {
			template = "{{ .ProjectName }}_{{ .Version }}"
			if a.Format == "binary" || slices.Contains(a.Formats, "binary") {
				template = "{{ .Binary }}_{{ .Version }}"
			}
		}
		g.add(template, binaries, true)
	}
	if doc.Source.Enabled {
		g.add(firstOf(doc.Source.NameTemplate, "{{ .ProjectName }}-{{ .Version }}"), binaries, true)
	}
	for _, n := range doc.NFPMs {
		g.add(firstOf(n.FileTemplate, n.PackageName, "{{ .ProjectName }}")+"{{ .Version }}", binaries, true)
	}
	g.add(firstOf(doc.Checksum.NameTemplate, "{{ .ProjectName }}_{{ .Version }}_checksums.txt"), binaries, false)
}

// add adds the pattern of a template: its beginning, or with its end if that is all of the name.
func (g *GoReleaser) add(template string, binaries []string, more bool) {
	for _, b := range binaries {
		p := resolve(template, g.Project, b)
		if more {
			p, _, _ = strings.Cut(p, "*")
			p += "*"
		}
		if strings.Trim(p, "*") != "" && !slices.Contains(g.Files, p) {
			g.Files = append(g.Files, p)
		}
	}
}

// resolve puts the project and a binary into a template, and a star for everything else.
func resolve(template, project, binary string) string {
	var b strings.Builder
	depth, trims := 0, false // of {{ if }}; whether -}} takes away the space that follows
	for {
		before, rest, found := strings.Cut(template, "{{")
		if before = trimmed(before, trims, strings.HasPrefix(rest, "-")); depth == 0 {
			b.WriteString(before)
		}
		if !found {
			break
		}
		action, after, closed := strings.Cut(rest, "}}")
		if !closed {
			b.WriteByte('*')
			break
		}
		template, trims = after, strings.HasSuffix(action, "-")
		action = strings.TrimSpace(strings.Trim(action, "- "))
		switch {
		case strings.HasPrefix(action, "if "), strings.HasPrefix(action, "range "), strings.HasPrefix(action, "with "):
			b.WriteByte('*')
			depth++
		case action == "end":
			depth = max(depth-1, 0)
		case depth > 0:
		case action == ".ProjectName":
			b.WriteString(project)
		case action == ".Binary":
			b.WriteString(binary)
		default:
			b.WriteByte('*')
		}
	}
	out := b.String()
	for strings.Contains(out, "**") {
		out = strings.ReplaceAll(out, "**", "*")
	}
	return out
}

// trimmed is text of a template without the space that the markers beside it take away.
func trimmed(text string, left, right bool) string {
	const space = " \t\r\n"
	if left {
		text = strings.TrimLeft(text, space)
	}
	if right {
		text = strings.TrimRight(text, space)
	}
	return text
}

func (g *GoReleaser) images(doc *config) {
	var all []string
	for _, list := range [][]section{doc.Dockers, doc.Manifests, doc.DockersV2, doc.Kos} {
		for _, s := range list {
			all = append(all, s.Images...)
			all = append(all, s.Templates...)
			all = append(all, s.Repositories...)
			all = append(all, s.Repository)
			if where := append(slices.Clone(s.Repositories), s.Repository); !s.Bare {
				for _, w := range where {
					if w != "" {
						all = append(all, w+"/{{ .ProjectName }}")
					}
				}
			}
			if s.Images == nil && s.Templates == nil {
				all = append(all, s.NameTemplate)
			}
		}
	}
	for _, ref := range all {
		for _, name := range Image(resolve(ref, g.Project, g.Project)) {
			if !slices.Contains(g.Images, name) {
				g.Images = append(g.Images, name)
			}
		}
	}
}

// Image returns the names of an image that a reference may have, without tag and digest: one on
// Docker's hub is called in two ways. None if the reference does not say which it is.
func Image(ref string) []string {
	name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(ref)), "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	name = strings.Trim(name, `"'`)
	const ok = "abcdefghijklmnopqrstuvwxyz0123456789._-/:*"
	if name == "" || strings.Trim(name, ok) != "" || strings.HasPrefix(name, "*") || strings.Contains(name, "//") {
		return nil
	}
	host, rest, found := strings.Cut(name, "/")
	switch {
	case !found:
		return nil
	case host == "docker.io" || host == "index.docker.io":
		name = rest
	case strings.ContainsAny(host, ".:"):
		return []string{name}
	}
	return []string{"docker.io/" + name, "index.docker.io/" + name}
}
