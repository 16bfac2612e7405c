// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxPeople      = 20
	maxPersonBytes = 100
)

// people lists who the project says owns it. A handle is no identity that could
// sign, and nobody vouches for an address: they are suggestions.
func (p *Proposal) people(owners, insights []byte) {
	for _, source := range []struct {
		name string
		who  []string
	}{{"CODEOWNERS", codeOwners(owners)}, {"SECURITY-INSIGHTS.yml", insightsPeople(insights)}} {
		var fresh []string
		for _, who := range source.who {
			if plain(who) && !slices.Contains(p.People, who) && !slices.Contains(fresh, who) &&
				len(p.People)+len(fresh) < maxPeople {
				fresh = append(fresh, who)
			}
		}
		if len(fresh) > 0 {
			p.found(source.name+" with "+strings.Join(fresh, ", "), "comments: whom to ask to become a maintainer too")
			p.People = append(p.People, fresh...)
		}
	}
}

// plain reports whether a name can stand in a comment and on a terminal.
func plain(s string) bool {
	return s != "" && len(s) <= maxPersonBytes &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._+-/") == ""
}

func codeOwners(data []byte) []string {
	var out []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		for i, f := range fields {
			if i > 0 && strings.Contains(f, "@") {
				out = append(out, f)
			}
		}
	}
	return out
}

// insightsPeople returns the addresses of administrators and the core team.
// https://github.com/ossf/security-insights
func insightsPeople(data []byte) []string {
	var doc map[string]any
	if yaml.Unmarshal(data, &doc) != nil {
		return nil
	}
	var out []string
	for _, at := range [][2]string{{"project", "administrators"}, {"repository", "core-team"}} {
		section, _ := doc[at[0]].(map[string]any)
		list, _ := section[at[1]].([]any)
		for _, x := range list {
			if who, ok := x.(map[string]any); ok && who["email"] != nil {
				out = append(out, fmt.Sprint(who["email"]))
			}
		}
	}
	return out
}
