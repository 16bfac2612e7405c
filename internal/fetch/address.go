// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Address is a release of a repository, or one file of it.
type Address struct {
	Repository policy.Locator
	Tag        string
	File       string // "" for the whole release
}

// Page returns the URL of the release's page. [ParseAddress] reads most of them back: what it
// reads as another address is none that can be asked for.
func (a Address) Page(f Forge) string {
	if f == GitLab {
		return fmt.Sprintf("%s/-/releases/%s", a.Repository, escape(a.Tag))
	}
	return fmt.Sprintf("%s/releases/tag/%s", a.Repository, escape(a.Tag))
}

// IsURL reports whether an argument is a URL of the web.
func IsURL(arg string) bool {
	scheme, _, ok := strings.Cut(arg, "://")
	scheme = strings.ToLower(scheme)
	return ok && (scheme == "https" || scheme == "http")
}

// ParseAddress reads the URL of a release page or of a file of a release:
//
//	https://HOST/OWNER/NAME/releases/tag/TAG              GitHub, Forgejo, Gitea
//	https://HOST/OWNER/NAME/releases/download/TAG/FILE
//	https://HOST/GROUP/…/NAME/-/releases/TAG              GitLab
//	https://HOST/GROUP/…/NAME/-/releases/TAG/downloads/FILE
//
// A tag may have slashes. Which release "latest" is, is the forge's word: such a
// URL is an error.
func ParseAddress(s string) (Address, error) {
	u, err := releaseURL(s)
	if err != nil {
		return Address{}, err
	}
	path, err := splitPath(u.EscapedPath())
	if err != nil {
		return Address{}, err
	}
	a := Address{Tag: path.tag, File: path.file}
	if a.Repository, err = policy.NormalizeLocator("https://" + u.Host + "/" + path.repository); err != nil {
		return Address{}, err
	}
	if !spelling.ValidTag(a.Tag) {
		return Address{}, fmt.Errorf("%q cannot be a tag", clip.Text(a.Tag))
	}
	if path.tag == path.latest {
		return Address{}, errors.New("name the tag: which release is the latest is the forge's word")
	}
	if a.File != "" {
		if err := checkName(a.File); err != nil {
			return Address{}, err
		}
	}
	return a, nil
}

// releaseURL reads a URL that says no more than where something lies.
func releaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not a URL")
	case u.User != nil:
		return nil, errors.New("the URL of a release has no user information")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the URL of a release ends with its path")
	}
	return u, nil
}

// releasePath is the path of the URL of a release, taken apart.
type releasePath struct {
	repository string // as it stands
	tag, file  string // file is "" for the release's page
	latest     string // what the forge writes for whichever tag is the latest; "" where it cannot
}

var errNoRelease = errors.New("not the URL of a release: that of a page ends in /releases/tag/TAG, " +
	"that of a file in /releases/download/TAG/FILE")

func splitPath(path string) (releasePath, error) {
	segments := strings.Split(strings.TrimPrefix(strings.TrimSuffix(path, "/"), "/"), "/")
	if i := slices.Index(segments, "-"); i >= 0 {
		return gitlabPath(segments[:i], segments[i+1:])
	}
	return forgePath(segments)
}

// gitlabPath is splitPath for GitLab, whose "-" ends the name of a repository.
func gitlabPath(repo, rest []string) (p releasePath, err error) {
	if len(repo) < 2 || len(rest) < 2 || rest[0] != "releases" {
		return p, errNoRelease
	}
	tag, err := unescaped(rest[1:])
	if err != nil {
		return p, err
	}
	if last := len(tag) - 1; last > 1 && tag[last-1] == "downloads" {
		tag, p.file = tag[:last-1], tag[last]
	}
	p.repository, p.tag, p.latest = strings.Join(repo, "/"), strings.Join(tag, "/"), "permalink/latest"
	return p, nil
}

// forgePath is splitPath for GitHub, Forgejo and Gitea.
func forgePath(segments []string) (p releasePath, err error) {
	if len(segments) < 5 || segments[2] != "releases" {
		return p, errNoRelease
	}
	tag, err := unescaped(segments[4:])
	if err != nil {
		return p, err
	}
	switch segments[3] {
	case "tag":
		p.latest = "latest"
	case "download":
		last := len(tag) - 1
		tag, p.file = tag[:last], tag[last]
	default:
		return p, errNoRelease
	}
	p.repository, p.tag = strings.Join(segments[:2], "/"), strings.Join(tag, "/")
	return p, nil
}

// unescaped returns the segments of a tag and a file's name as they are meant.
func unescaped(segments []string) (out []string, err error) {
	for _, s := range segments {
		if s, err = url.PathUnescape(s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
