// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// ParseKeyTarget reads which target of a trust root is the key that signs releases, such as
// public-good:artifact.pub or sha256:HEX:artifact.pub, and where that root is followed; "" where
// it is built in or the users' maps say. What no policy could hold is an error.
func ParseKeyTarget(text, url string) (*policy.RootTarget, error) {
	root, path, ok := strings.Cut(text, ":")
	if root == "sha256" {
		root, path, ok = strings.Cut(path, ":")
		root = "sha256:" + root
	}
	if !ok {
		return nil, fmt.Errorf("%q is not written like public-good:artifact.pub or sha256:HEX:artifact.pub", text)
	}
	t := &policy.RootTarget{Root: root, URL: url, Path: path}
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		return nil, err
	}
	p := &Proposal{Rules: []Rule{{Name: "key", Tags: []string{Any}, Artifacts: []string{"*.tar"}, KeyTarget: t}}}
	member := Member{"member", "maintainer@example.com", "https://accounts.google.com"}
	_, err = policy.Parse([]byte(p.Policy(Answers{Repository: repo, Expires: time.Unix(0, 0), Member: member})))
	if pe := (*policy.ParseError)(nil); errors.As(err, &pe) {
		_, key, _ := strings.Cut(pe.Problems[0].Path, "keys[0].")
		return nil, fmt.Errorf("%s %s", key, pe.Problems[0].Msg)
	}
	return t, err
}

// keyTable returns the table of a rule's keys for a target.
func keyTable(t *policy.RootTarget) string {
	text := "{ root = " + quote(t.Root) + ", target = " + quote(t.Path)
	if t.URL != "" {
		text += ", url = " + quote(t.URL)
	}
	return text + " }"
}

// keyed makes a rule for a key that a trust root lists: for the names that other rules have, or
// that the user says. Evidence by a key names no tag.
func (s *survey) keyed(o Options) {
	r := Rule{
		Name: s.out.name("key", ""), KeyTarget: o.KeyTarget, Tags: []string{Any}, Artifacts: o.Artifacts,
		Notes: []string{"evidence by a key names no tag, which only \"any\" takes"},
	}
	for _, other := range s.out.Rules {
		for _, a := range other.Artifacts {
			if o.Artifacts == nil && !slices.Contains(r.Artifacts, a) {
				r.Artifacts, r.GuessArtifacts = append(r.Artifacts, a), r.GuessArtifacts || other.GuessArtifacts
			}
		}
	}
	if r.Artifacts == nil {
		r.Artifacts, r.GuessArtifacts = s.project.catalog.Guess(), true
	}
	s.out.Rules = append(s.out.Rules, r)
	s.out.found("--key-target", "rule %s, by the key that is the target %s", r.Name, o.KeyTarget)
}
