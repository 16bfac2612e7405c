// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/web"
)

// getAddress names a target of a TUF repository: where//path.
type getAddress struct {
	root  string // name of a [[root]] of trust.toml, which says where; "" for a place
	place string // oci:…, oci-layout:…, https://…, or a directory; "" for a root
	path  string // of the target
}

// parseGetAddress reads "oci:REGISTRY/NAME[:TAG]//PATH", "oci-layout:DIR//PATH", "https://HOST/TREE//PATH",
// "DIR//PATH", where DIR has a slash or begins with a dot, and "NAME//PATH" with a root of trust.toml. The last
// "//" is the one before the path.
func parseGetAddress(text string) (a getAddress, err error) {
	from := 0
	if i := strings.Index(text, "://"); i >= 0 {
		from = i + len("://")
	}
	i := strings.LastIndex(text[from:], "//")
	if i < 0 {
		return a, fmt.Errorf("no // divides repository and path")
	}
	where := text[:from+i]
	a.path = text[from+i+2:]
	switch {
	case i == 0 || strings.HasSuffix(where, "/"):
		return a, fmt.Errorf("before // stands no repository")
	case !oci.ValidPath(a.path):
		return a, fmt.Errorf("%.200q is no path of a target", a.path)
	}
	switch {
	case oci.IsReference(where):
		_, err = oci.ParseReference(where)
	case from > 0:
		err = checkTree(where)
	case !strings.ContainsAny(where, `/\.`):
		a.root = where
		if strings.ContainsFunc(where, func(c rune) bool { return c <= ' ' || c > '~' }) {
			err = fmt.Errorf("%.200q is no name of a root; a directory is written ./%s", where, where)
		}
		return a, err
	}
	a.place = where
	return a, err
}

// checkTree refuses what is no URL below which a web server has a repository.
func checkTree(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return err
	case u.Scheme != "https" && !(u.Scheme == "http" && web.Loopback(u.Host)):
		return fmt.Errorf("%.200q: a repository is fetched by https", text)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.Opaque != "":
		return fmt.Errorf("%.200q is not the URL of a repository", text)
	}
	return nil
}

// String writes the address as it is read.
func (a getAddress) String() string { return a.root + a.place + "//" + a.path }

// base is what the target's file is called where nobody says otherwise.
func (a getAddress) base() string { return path.Base(a.path) }

// reserved are names that are devices on Windows, whatever follows a dot.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
var reserved = map[string]bool{"con": true, "prn": true, "aux": true, "nul": true, "conin$": true, "conout$": true}

// plainFile refuses a name that a repository chose and that is no file's everywhere, or a hidden file.
func plainFile(name string) error {
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	stem = strings.TrimRight(stem, " ")
	port := len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && stem[3] >= '0' && stem[3] <= '9'
	switch {
	case name[0] == '.' || name[0] == '-':
		return fmt.Errorf("%q begins with %q", name, name[:1])
	case reserved[stem] || port || strings.HasSuffix(name, ".") || strings.ContainsAny(name, `<>:"|?*\`):
		return fmt.Errorf("%q is no name of a file on every system", name)
	}
	return nil
}
