// SPDX-License-Identifier: Apache-2.0

package command

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// flagGroups are the titles under which help texts show flags, and their order. A flag is called the same
// and means the same in every verb, so that each name stands here once.
var flagGroups = []struct{ title, names string }{
	{"What it is about", `repo org git from tag commit bundle name side-files ignore-missing artifact rule package
		purl statement checkout releases root`},
	{"What is demanded", `policy certificate-identity certificate-oidc-issuer tuf target unbound lock pin cooldown
		as-of airgap require max-age fail-on-alarm strict`},
	{"How the policy is looked up", "directory staple scan witness-policy"},
	{"What the policy says", `workflow tags artifacts environment caller signer-ref maintainers email issuer expires
		recovery since key-target key-url branch program publish-name
		no-expiry-issue`},
	{"Before a release", "stage preflight after receipt token-env token-file token-metadata"},
	{"Signing", `key certificate public-key signer signer-arg device expect-identity yes sign no-sign no-editor if-ready
		with-v2 without-v1 hand-in signing-config`},
	{"What the root says", `role remove-role paths repositories scope anchor url withdraw identity identities online-key
		threshold days status usage`},
	{"What is trusted", "trusted-root trust-root trust-config"},
	{"The network", "offline fetch forge github-token max-size redirect-host npm-registry pypi-index"},
	{"Output", "format report quiet verbose color output force download to oci"},
	{"This run", "memory timeout version"},
}

// everyday are the flags that are shown first, in the order of how often they are wanted.
const everyday = `repo tag policy bundle to output workflow tags artifacts environment maintainers email expires no-sign
	artifact rule oci commit stage preflight receipt after checkout key yes expect-identity format offline
	quiet download lock require trusted-root cooldown git public-key directory signing-config sign identity role url
	repositories threshold paths releases github-token`

// Everyday returns the flags that help shows without being asked for all: all if they are few.
func Everyday(flags []*pflag.Flag) []*pflag.Flag {
	if len(flags) <= MaxFlags {
		return flags
	}
	var out []*pflag.Flag
	for _, name := range strings.Fields(everyday) {
		i := slices.IndexFunc(flags, func(f *pflag.Flag) bool { return f.Name == name })
		if i >= 0 && len(out) < MaxFlags {
			out = append(out, flags[i])
		}
	}
	return out
}

// GroupedFlags returns the names of the flags that help texts can show, in their order.
func GroupedFlags() (names []string) {
	for _, g := range flagGroups {
		names = append(names, strings.Fields(g.names)...)
	}
	return names
}
