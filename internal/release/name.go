// SPDX-License-Identifier: Apache-2.0

package release

import (
	"path"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// calls reports whether a name that signed content gives to the artifact's bytes is
// the artifact's (SPEC 5.1, 15 rules 3 and 4). Content that gives none, "", is about
// bytes whatever they are called. What is known by its digest alone has no name that
// could differ.
func (a *Artifact) calls(name string) bool {
	switch {
	case a.Subject != "":
		return name == a.Subject
	case name == "":
		return true
	case a.Path == "" && a.Place == nil && !a.Resolved && !a.Expected:
		return true
	}
	return sameFile(name, a)
}

// sameFile compares the last segment of a signed name with the artifact's: whoever
// serves it, or renamed it, could show another file or image of the release so.
// Forges write names of files anew, mirrors keep the end of an image's, and a
// package URL is the name of neither.
func sameFile(name string, a *Artifact) bool {
	if strings.HasPrefix(strings.ToLower(name), "pkg:") {
		return false
	}
	last := path.Base(name)
	if a.Resolved {
		last, _, _ = strings.Cut(last, "@")
		last, _, _ = strings.Cut(last, ":")
	}
	own := base(a)
	return last == own || plain(last) == own && own != ""
}

// plain is a name as forges write it: whatever is neither letter, digit nor one of
// _-+@ counts as a dot, several as one. A name that is not written so is none that a
// forge made of another.
func plain(s string) string {
	var b strings.Builder
	dot := false
	for _, r := range s {
		letter := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("_-+@", r)
		switch {
		case letter:
			b.WriteRune(r)
		case !dot:
			b.WriteByte('.')
		}
		dot = !letter
	}
	return b.String()
}

// differs is the failure of evidence that is about the artifact's bytes under another
// name.
func (a *Artifact) differs(signed string) *Failure {
	want := base(a)
	if a.Subject != "" {
		want = a.Subject
	}
	if signed == "" {
		return failf(policy.NameDiffers, "what is signed names nothing, and must name %s", clip.Text(want))
	}
	return failf(policy.NameDiffers, "what is signed is called %s, the artifact %s", clip.Text(signed), clip.Text(want))
}

// base returns the plain name under which an artifact is published, which a
// checksum file may list with a path; "" if it has none.
func base(a *Artifact) string {
	if a.Name == "" {
		return ""
	}
	return path.Base(a.Name)
}

// base returns the name under which evidence for a file called own is looked for:
// the one that the user expects, if that is the name of a file.
func (a *Artifact) base(own string) string {
	if !a.Expected || a.Subject != "" {
		return own
	}
	return base(a)
}

// Expect makes name what the artifact is called: a package URL, which signed content
// must then name exactly, or the name of a file or image. The error is about the name.
func (a *Artifact) Expect(name string) error {
	if strings.HasPrefix(name, "pkg:") {
		u, err := packageurl.FromString(name)
		if err != nil {
			return err
		}
		a.Subject = u.ToString()
		return nil
	}
	if b := path.Base(name); b == "." || b == "/" || b == ".." {
		return failf(policy.Usage, "%q is not the name of a file", clip.Text(name))
	}
	a.Name, a.Expected = name, true
	return nil
}
