// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// Remote chooses the address of the repository among the remotes of a clone. Where that would be
// a guess it returns what to ask, and what could be answered.
func Remote(remotes map[string]string) (address, question, answer string) {
	origin, ok := remotes["origin"]
	if !ok {
		if len(remotes) == 0 {
			return "", "which repository? It has no remote origin", "https://github.com/acme/widget"
		}
		names := sorted(remotes)
		return "", "which repository? It has no remote origin, but " + strings.Join(
			names,
			", ",
		), locate(remotes[names[0]])
	}
	if here := locate(origin); here != "" {
		for _, name := range sorted(remotes) {
			there := locate(remotes[name])
			if name != "origin" && there != "" && there != here &&
				slices.Contains([]string{"upstream", "parent", "source"}, name) {
				return "", fmt.Sprintf(
					"which repository? The remote origin is %s, and %s is %s",
					here,
					name,
					there,
				), there
			}
		}
	}
	host, path := hostOf(origin)
	if better := forgeOf(host); better != host {
		return "", fmt.Sprintf(
				"which repository? The remote origin is at %s, which is no forge: it may be a name of this machine",
				host,
			),
			"https://" + better + "/" + strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	}
	return origin, "", ""
}

// locate returns the address in its normal form, "" if it is none of a repository.
func locate(address string) string {
	l, err := policy.NormalizeLocator(address)
	if err != nil {
		return ""
	}
	return l.String()
}

// hostOf divides the address of a remote, a URL or as ssh writes it.
func hostOf(address string) (host, path string) {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return strings.ToLower(u.Hostname()), u.Path
	}
	host, path, _ = strings.Cut(address, ":")
	if _, after, ok := strings.Cut(host, "@"); ok {
		host = after
	}
	return strings.ToLower(host), path
}

// forgeOf returns the forge behind a name that is none itself: an alias of ssh's configuration
// for a second account, or another entrance of a forge.
func forgeOf(host string) string {
	for _, forge := range []string{"github.com", "gitlab.com", "codeberg.org", "bitbucket.org"} {
		switch {
		case host == forge:
			return host
		case strings.HasPrefix(host, forge+"-"),
			strings.HasPrefix(host, forge+"_"),
			host == "www."+forge,
			host == "ssh."+forge,
			host == "altssh."+forge:
			return forge
		}
	}
	if host == "ssh.dev.azure.com" {
		return "dev.azure.com"
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if host != "" && (last == host && host != "localhost" || strings.ContainsAny(last, "-_")) {
		return "github.com" // a name without a domain
	}
	return host
}
