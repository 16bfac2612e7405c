// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// maxLocatorBytes is the longest repository locator.
const maxLocatorBytes = 512

// foldingHosts fold the case of a repository's path. The list is frozen in
// format v1: another entry would change the identity of existing repositories.
var foldingHosts = map[string]bool{"github.com": true, "gitlab.com": true}

// Locator is a canonical repository locator (SPEC 2): "https://host/path" with
// a lower-case host, no user, query, fragment, default port, ".git", trailing
// slash, dot segment or percent-encoding. The zero value is no repository.
type Locator struct{ text, host string }

// String returns the locator, "" for the zero value.
func (l Locator) String() string { return l.text }

// Host returns the host with its port if it is not the default one.
func (l Locator) Host() string { return l.host }

// Path returns the path without a leading slash, for example "acme/widget".
func (l Locator) Path() string {
	if l.text == "" {
		return ""
	}
	return l.text[len("https://")+len(l.host)+1:]
}

// Anchor returns the key under which the log's index lists the bindings of the
// repository: hex SHA-256 of "repopolicy/v1\n" + locator + "\n" (SPEC 6.1).
func (l Locator) Anchor() string {
	return spelling.Sum([]byte(spelling.Format + "\n" + l.text + "\n"))
}

// IsZero reports whether l is no repository.
func (l Locator) IsZero() bool { return l.text == "" }

// ParseLocator returns the locator that s writes in canonical form. The error
// for any other form of the same repository says what the canonical one is.
func ParseLocator(s string) (Locator, error) {
	l, err := NormalizeLocator(s)
	if err != nil {
		return Locator{}, err
	}
	if l.text != s {
		return Locator{}, fmt.Errorf("not in canonical form; write %q", l.text)
	}
	return l, nil
}

// NormalizeLocator returns the locator of a repository that a person named:
// canonical form, "http(s)" URL, "git@host:owner/repo.git", "ssh://" URL, or
// "owner/repo" which means github.com (no owner there has a dot, so that
// "host.example/repo" is an error). It is idempotent. User information in
// an http(s) URL, a query, a fragment, an escape and a dot segment are errors:
// dropping them would name another thing than was written.
func NormalizeLocator(s string) (Locator, error) {
	if len(s) > maxLocatorBytes {
		return Locator{}, fmt.Errorf("a repository locator has at most %d bytes", maxLocatorBytes)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return Locator{}, errors.New("a repository locator consists of printable ASCII without spaces")
		case c == '?' || c == '#' || c == '%' || c == '\\':
			return Locator{}, fmt.Errorf("%q is not allowed in a repository locator", c)
		}
	}
	rest, scheme := s, ""
	if before, after, ok := strings.Cut(s, "://"); ok {
		if scheme, rest = strings.ToLower(before), after; scheme == "" {
			return Locator{}, errors.New("a repository locator needs a scheme before \"://\"; write https://")
		}
	}
	var host, path string
	switch scheme {
	case "https", "http", "ssh":
		var ok bool
		if host, path, ok = strings.Cut(rest, "/"); !ok {
			return Locator{}, errors.New("a repository locator needs a path")
		}
		if scheme == "ssh" {
			host = strings.TrimPrefix(host, "git@")
			host = strings.TrimSuffix(host, ":22")
			if strings.Contains(host, ":") {
				return Locator{}, errors.New(
					"a port of ssh says nothing about the repository's https address; write https://",
				)
			}
		}
		if scheme == "http" {
			host = strings.TrimSuffix(host, ":80")
		}
	case "":
		if before, after, ok := strings.Cut(rest, ":"); ok { // scp form
			var user bool
			if host, user = strings.CutPrefix(before, "git@"); !user {
				return Locator{}, errors.New(`write a repository as "https://host/owner/name"`)
			}
			path = after
		} else if owner, _, _ := strings.Cut(rest, "/"); strings.Count(rest, "/") == 1 && !strings.Contains(owner, ".") {
			host, path = "github.com", rest
		} else {
			return Locator{}, errors.New(`write a repository as "https://host/owner/name"`)
		}
	default:
		return Locator{}, fmt.Errorf("scheme %q is not supported; write https://", scheme)
	}
	host, err := canonicalHost(host)
	if err != nil {
		return Locator{}, err
	}
	if foldingHosts[host] {
		path = strings.ToLower(path)
	}
	path = strings.TrimSuffix(path, "/")
	path = strings.TrimSuffix(path, ".git")
	segments := strings.Split(path, "/")
	for _, seg := range segments {
		if err := checkSegment(seg); err != nil {
			return Locator{}, err
		}
	}
	if strings.HasSuffix(path, ".git") {
		return Locator{}, errors.New(`a repository's name does not end in ".git"`)
	}
	if host == "github.com" && len(segments) != 2 {
		return Locator{}, errors.New("a repository on github.com has exactly an owner and a name")
	}
	if host == "gitlab.com" && len(segments) < 2 {
		return Locator{}, errors.New("a repository on gitlab.com has at least a group and a name")
	}
	l := Locator{text: "https://" + host + "/" + path, host: host}
	if len(l.text) > maxLocatorBytes {
		return Locator{}, fmt.Errorf("a repository locator has at most %d bytes", maxLocatorBytes)
	}
	return l, nil
}

func canonicalHost(host string) (string, error) {
	if strings.Contains(host, "@") {
		return "", errors.New("a repository locator must not contain user information")
	}
	host = strings.ToLower(host)
	if strings.HasPrefix(host, "[") {
		return "", errors.New("an address in brackets is not supported; use a host name")
	}
	name, port, hasPort := strings.Cut(host, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", fmt.Errorf("%q is not a port", port)
		}
		if n == 443 {
			hasPort = false
		}
	}
	if err := spelling.CheckHost(name); err != nil {
		return "", err
	}
	if hasPort {
		return name + ":" + port, nil
	}
	return name, nil
}

func checkSegment(seg string) error {
	switch {
	case seg == "":
		return errors.New("a repository locator must not have an empty path segment")
	case seg == "." || seg == "..":
		return errors.New("a repository locator must not have a dot segment")
	case seg == ".git":
		return errors.New(`a repository's name does not end in ".git"`)
	}
	for i := range len(seg) {
		c := seg[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte("-._~+", c) < 0 {
			return fmt.Errorf("%q is not allowed in a repository locator", c)
		}
	}
	return nil
}

// equalRepository reports whether uri, as a certificate writes it, is the
// repository l: equal but for the case of ASCII letters on hosts that fold it.
func (l Locator) equalRepository(uri string) bool {
	return l.text != "" && len(uri) == len(l.text) && l.hasPrefix(uri)
}

// equalPath reports whether uri is l followed by exactly suffix.
func (l Locator) equalPath(uri, suffix string) bool {
	return l.text != "" && len(uri) == len(l.text)+len(suffix) && l.hasPrefix(uri) && uri[len(l.text):] == suffix
}

// hasPrefix reports whether uri begins with l, folded as l's host asks.
func (l Locator) hasPrefix(uri string) bool {
	if len(uri) < len(l.text) {
		return false
	}
	head := uri[:len(l.text)]
	if foldingHosts[l.host] {
		return spelling.EqualFold(head, l.text)
	}
	return head == l.text
}
