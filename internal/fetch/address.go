// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// Address is a release of a repository, or one file of it.
type Address struct {
	Repository policy.Locator
	Tag        string
	File       string // "" for the whole release
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
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return Address{}, errors.New("not a URL")
	}
	if u.User != nil {
		return Address{}, errors.New("the URL of a release has no user information")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return Address{}, errors.New("the URL of a release ends with its path")
	}
	segments := strings.Split(strings.TrimPrefix(strings.TrimSuffix(u.EscapedPath(), "/"), "/"), "/")
	at, rest := 0, []string(nil)
	gitlab := slices.Index(segments, "-")
	switch {
	case gitlab >= 2 && len(segments) > gitlab+2 && segments[gitlab+1] == "releases":
		at, rest = gitlab, segments[gitlab+2:]
	case gitlab < 0 && len(segments) > 4 && segments[2] == "releases" && (segments[3] == "tag" || segments[3] == "download"):
		at, rest = 2, segments[3:]
	default:
		return Address{}, errors.New("not the URL of a release: that of a page ends in /releases/tag/TAG, that of a file in /releases/download/TAG/FILE")
	}
	var a Address
	if a.Repository, err = policy.NormalizeLocator("https://" + u.Host + "/" + strings.Join(segments[:at], "/")); err != nil {
		return Address{}, err
	}
	for i, s := range rest {
		if rest[i], err = url.PathUnescape(s); err != nil {
			return Address{}, err
		}
	}
	switch {
	case gitlab < 0 && rest[0] == "tag":
		rest = rest[1:]
	case gitlab < 0:
		rest, a.File = rest[1:len(rest)-1], rest[len(rest)-1]
	case len(rest) > 2 && rest[len(rest)-2] == "downloads":
		rest, a.File = rest[:len(rest)-2], rest[len(rest)-1]
	}
	a.Tag = strings.Join(rest, "/")
	if !policy.ValidTag(a.Tag) {
		return Address{}, fmt.Errorf("%q cannot be a tag", clip.Text(a.Tag))
	}
	if gitlab < 0 && len(segments) > 4 && segments[3] == "tag" && a.Tag == "latest" || gitlab >= 0 && a.Tag == "permalink/latest" {
		return Address{}, errors.New("name the tag: which release is the latest is the forge's word")
	}
	if a.File != "" {
		if err := checkName(a.File); err != nil {
			return Address{}, err
		}
	}
	return a, nil
}
