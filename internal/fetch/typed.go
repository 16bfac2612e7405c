// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Meant returns what to type instead of an argument that names nothing as it is written: a form
// that other tools taught, such as docker://, npm:, owner/repo or a page of a forge. Where a part
// cannot be told it stands in capitals. It is "" where nothing can be told. It is never used in
// place of the argument: what is asked for is what the user wrote.
func Meant(arg string) string {
	if IsURL(arg) {
		return meantURL(arg)
	}
	if m, ok := meantScheme(arg); ok {
		return m
	}
	host, more, path := strings.Cut(arg, "/")
	switch {
	case strings.HasPrefix(arg, "@"):
		return meantNPM(arg)
	case !path && (!strings.Contains(arg, ":") || strings.Contains(arg, `\`)):
		return ""
	case !path:
		return meantImage(arg)
	case slices.Contains(forgeHosts, strings.ToLower(host)):
		return meantAddress("https://" + arg)
	case isRegistry(host):
		return meantImage(arg)
	case strings.Count(more, "/") == 0 && !strings.ContainsAny(arg, ".:\\"), strings.Contains(more, "@v"):
		return meantRepository(arg, "github.com")
	}
	return ""
}

// meantScheme is [Meant] for what begins with a scheme that other tools have.
func meantScheme(arg string) (meant string, known bool) {
	scheme, rest, _ := strings.Cut(arg, ":")
	rest = strings.TrimPrefix(rest, "//")
	switch strings.ToLower(scheme) {
	case "docker", "oci", "image", "container":
		return meantImage(rest), true
	case "npm":
		return meantNPM(rest), true
	case "github", "gh", "git+https", "git+ssh":
		return meantRepository(strings.TrimPrefix(strings.TrimPrefix(rest, "git@"), "github.com/"), "github.com"), true
	case "gitlab":
		return meantRepository(rest, "gitlab.com"), true
	case "oci-layout", "oci-archive", "file", "path":
		return rest, true
	case "pypi", "pkg", "crates", "cargo", "gem", "maven", "nuget", "go", "golang":
		return "", true
	}
	return "", false
}

// meantAddress returns an address if it is that of a release, else what it is about.
func meantAddress(address string) string {
	if _, err := ParseAddress(address); err == nil {
		return address
	}
	return meantURL(address)
}

// RefuseAddress says why a URL is not that of a release, and what to write.
func RefuseAddress(arg string, err error) *policy.Fault {
	f := &policy.Fault{
		Reason: policy.Usage, Text: arg + ": " + err.Error(),
		Hint: "a release is named like https://github.com/acme/widget/releases/tag/v1.2.3",
	}
	if m := Meant(arg); m != "" {
		f.Hint = "write " + m
	}
	return f
}

// forgeHosts are hosts of forges that a repository's name may begin with.
var forgeHosts = []string{"github.com", "www.github.com", "gitlab.com", "codeberg.org", "gitea.com"}

// isRegistry reports whether the first segment of an image's name is a host.
func isRegistry(host string) bool {
	return strings.ContainsAny(host, ".:") && !strings.HasPrefix(host, ".") || host == "localhost"
}

// meantImage returns the reference of an image as docker takes it.
func meantImage(ref string) string {
	r, err := name.ParseReference(ref)
	if err != nil {
		return ""
	}
	host := strings.Replace(r.Context().RegistryStr(), "index.docker.io", "docker.io", 1)
	sep := ":"
	if strings.Contains(r.Identifier(), ":") {
		sep = "@"
	}
	out := scheme + host + "/" + r.Context().RepositoryStr() + sep + r.Identifier()
	if CheckImage(out) != nil { // what people write has less of a grammar than what is asked for
		return ""
	}
	return out
}

// meantNPM returns the package URL for npm's own form NAME@VERSION.
func meantNPM(s string) string {
	i := strings.LastIndex(s, "@")
	version := "VERSION"
	if i > 0 {
		s, version = s[:i], s[i+1:]
	}
	if strings.Trim(s, "@/") == "" || strings.ContainsAny(s, " \\:") || !spelling.ValidTag(version) {
		return ""
	}
	return "pkg:npm/" + strings.Replace(s, "@", "%40", 1) + "@" + version
}

// meantRepository returns the address of a release for OWNER/NAME, with a tag after "@".
func meantRepository(s, host string) string {
	s, tag, ok := strings.Cut(s, "@")
	if !ok || !spelling.ValidTag(tag) {
		tag = "TAG"
	}
	s = strings.TrimSuffix(strings.TrimSuffix(s, "/"), ".git")
	owner, repo, ok := strings.Cut(s, "/")
	if !ok || owner == "" || repo == "" || strings.ContainsAny(s, " ?#%\\:") {
		return ""
	}
	return releasePage("https://"+host+"/"+s, tag)
}

func releasePage(repository, tag string) string {
	if strings.HasPrefix(repository, "https://gitlab.com/") {
		return repository + "/-/releases/" + tag
	}
	return repository + "/releases/tag/" + tag
}

// meantURL returns what a page of a forge or a registry is about.
func meantURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	seg := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	host := strings.TrimPrefix(strings.ToLower(u.Host), "www.")
	switch {
	case host == "npmjs.com" && len(seg) >= 2 && seg[0] == "package":
		name, version, _ := strings.Cut(strings.Join(seg[1:], "/"), "/v/")
		return meantNPM(strings.TrimSuffix(name+"@"+version, "@"))
	case host == "hub.docker.com" && len(seg) >= 3 && seg[0] == "r":
		return meantImage("docker.io/" + seg[1] + "/" + seg[2])
	case host == "hub.docker.com" && len(seg) >= 2 && seg[0] == "_":
		return meantImage("docker.io/library/" + seg[1])
	case len(seg) < 2 || strings.Contains(host, "npmjs") || strings.Contains(host, "pypi.org"):
		return ""
	}
	return meantPage("https://"+host+"/"+seg[0]+"/"+strings.TrimSuffix(seg[1], ".git"), seg[2:])
}

// meantPage returns which release or file of one a page of a repository is about.
func meantPage(repository string, seg []string) string {
	is := func(words ...string) bool { return len(seg) >= len(words) && slices.Equal(seg[:len(words)], words) }
	switch {
	case is("releases", "latest", "download") && len(seg) == 4:
		return repository + "/releases/download/TAG/" + seg[3]
	case is("releases", "download"), is("releases", "tag") && len(seg) > 3:
		return ""
	case is("tree") && len(seg) == 2, is("blob") && len(seg) > 1, is("tag") && len(seg) == 2:
		return releasePage(repository, "TAG")
	case is("archive", "refs", "tags") && len(seg) == 4:
		tag := strings.TrimSuffix(strings.TrimSuffix(seg[3], ".tar.gz"), ".zip")
		return releasePage(repository, path.Base(tag))
	case is("releases", "tag") && len(seg) == 3 && seg[2] != "latest":
		return releasePage(repository, seg[2])
	}
	return releasePage(repository, "TAG")
}
