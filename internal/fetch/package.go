// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"unicode"

	"github.com/package-url/packageurl-go"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/web"
)

// The registries that are asked unless the user names others.
const (
	NPMRegistry = "https://registry.npmjs.org"
	PyPIIndex   = "https://pypi.org"
)

// attested is the ending under which a registry's attestations stand beside a
// package.
const attested = ".attestations.json"

// npmVersion is one version of a package at an npm registry: a place with the
// tarball and the registry's attestations.
type npmVersion struct {
	registry      *web.Client
	name, version string // the name with its scope
	limit         int64
}

// NPM returns the artifact that a package URL "pkg:npm/[@SCOPE/]NAME@VERSION"
// names. Whatever the registry serves, the evidence must call it by this name.
func NPM(purl, registry string, n Net) (*release.Artifact, error) {
	u, err := packageurl.FromString(purl)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a package URL: %w", err)
	case u.Type != packageurl.TypeNPM:
		return nil, fmt.Errorf("packages of type %s are not fetched", u.Type)
	case u.Version == "":
		return nil, errors.New("a package URL must name a version")
	case len(u.Qualifiers) > 0 || u.Subpath != "":
		return nil, errors.New("a package URL of npm has no qualifiers and no subpath here")
	case u.Namespace != "" && !strings.HasPrefix(u.Namespace, "@"):
		return nil, errors.New(`the scope of a package begins with "@"`)
	}
	name := u.Name
	if u.Namespace != "" {
		name = u.Namespace + "/" + u.Name
	}
	for _, s := range []string{strings.TrimPrefix(u.Namespace, "@") + "x", u.Name, u.Version} {
		if err := checkPart(s); err != nil {
			return nil, err
		}
	}
	client, err := n.client(registry)
	if err != nil {
		return nil, err
	}
	p := &npmVersion{client.Via(n.Hosts...), name, u.Version, n.MaxBytes}
	return &release.Artifact{Arg: purl, Name: p.tarball(), Place: p, Subject: u.ToString()}, nil
}

// checkPart accepts the names and versions of packages, which need no escape.
func checkPart(s string) error {
	if s == "" || len(s) > maxName || strings.Trim(s, ".") == "" {
		return fmt.Errorf("%q is no name or version of a package", clip.Text(s))
	}
	for _, r := range s {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._~+!", r) {
			return fmt.Errorf("%q is no name or version of a package", clip.Text(s))
		}
	}
	return nil
}

func (p *npmVersion) tarball() string {
	return p.name[strings.LastIndex(p.name, "/")+1:] + "-" + p.version + ".tgz"
}

// path returns the path of a file at the registry.
func (p *npmVersion) path(name string) string {
	switch name {
	case p.tarball():
		return p.name + "/-/" + name
	case p.tarball() + attested:
		return "-/npm/v1/attestations/" + url.PathEscape(p.name) + "@" + p.version
	}
	return p.name
}

// URL implements release.Place.
func (p *npmVersion) URL(name string) string { return p.registry.URL() + "/" + p.path(name) }

// List implements release.Place.
func (p *npmVersion) List(context.Context) ([]string, error) {
	return []string{p.tarball(), p.tarball() + attested}, nil
}

// Read implements release.Place.
func (p *npmVersion) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name != p.tarball()+attested {
		return nil, fs.ErrNotExist
	}
	data, err := p.registry.Fetch(ctx, p.path(name), nil, "application/json", limit)
	if err == nil && isEmptyList(data, "attestations") {
		return nil, fs.ErrNotExist
	}
	return data, missing(err)
}

// isEmptyList reports whether a document says that there is nothing: it is an object with an
// empty list of that name and nothing else.
func isEmptyList(data []byte, name string) bool {
	var doc map[string][]json.RawMessage
	return json.Unmarshal(data, &doc) == nil && len(doc) == 1 && doc[name] != nil && len(doc[name]) == 0
}

// Open implements release.Place.
func (p *npmVersion) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if name != p.tarball() {
		return nil, fs.ErrNotExist
	}
	d, err := p.registry.Open(ctx, p.path(name), p.limit)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// PyPI asks a Python package index for the provenance of a distribution by its
// file name: wheels, and source distributions if sdists is set, since a tarball
// of any project may be called like one.
// https://docs.pypi.org/api/integrity/
func PyPI(index string, sdists bool, n Net) (release.Source, error) {
	client, err := n.client(index)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, w release.Wanted) ([]release.Document, error) {
		project, version, ok := parseDistribution(w.Name, sdists)
		if !ok {
			return nil, nil
		}
		path := "integrity/" + project + "/" + version + "/" + w.Name + "/provenance"
		data, err := client.Fetch(ctx, path, nil, "application/vnd.pypi.integrity.v1+json", release.MaxPublishedBytes)
		if err = missing(err); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the index's provenance: %w", err)
		}
		if isEmptyList(data, "attestation_bundles") {
			return nil, nil
		}
		return []release.Document{{URL: client.URL() + "/" + path, Data: data}}, nil
	}, nil
}

// parseDistribution splits the file name of a wheel, or of a source distribution,
// and returns the project's normalized name and the version.
// https://packaging.python.org/en/latest/specifications/binary-distribution-format/
func parseDistribution(name string, sdists bool) (project, version string, ok bool) {
	if stem, wheel := strings.CutSuffix(name, ".whl"); wheel {
		parts := strings.Split(stem, "-")
		if len(parts) != 5 && len(parts) != 6 {
			return "", "", false
		}
		project, version = parts[0], parts[1]
	} else if stem, sdist := strings.CutSuffix(name, ".tar.gz"); sdist && sdists {
		i := strings.LastIndex(stem, "-")
		if i < 0 {
			return "", "", false
		}
		project, version = stem[:i], stem[i+1:]
	}
	if checkPart(project) != nil || checkPart(version) != nil || checkPart(name) != nil {
		return "", "", false
	}
	return normalize(project), version, true
}

// normalize is PEP 503's normal form of a project's name.
func normalize(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return r == '-' || r == '_' || r == '.'
	}), "-")
}
