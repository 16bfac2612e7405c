// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// TestNewStatement: a statement that says something else than its policy, or that
// cannot have a place in a chain, comes with an error and without a document.
func TestNewStatement(t *testing.T) {
	const repo = "https://github.com/acme/widget"
	digest := strings.Repeat("a", 64)
	one, two := fmt.Sprintf(chainPolicy, 1), fmt.Sprintf(chainPolicy, 2)
	former := strings.Replace(two, "version = 2\n", "version = 2\nformerly = \"https://github.com/acme/old\"\n", 1)
	for name, c := range map[string]struct {
		p  Predicate
		ok bool
	}{
		"genesis":                   {Predicate{repo, 1, "", "", one}, true},
		"second":                    {Predicate{repo, 2, digest, "", two}, true},
		"newer format":              {Predicate{repo, 7, digest, "", "format = \"repopolicy/v2\"\n"}, true},
		"another repository":        {Predicate{"https://github.com/acme/gadget", 1, "", "", one}, false},
		"no locator":                {Predicate{"acme/widget", 1, "", "", one}, false},
		"another version":           {Predicate{repo, 2, digest, "", one}, false},
		"former name":               {Predicate{repo, 2, digest, "https://github.com/acme/old", former}, true},
		"former name in it alone":   {Predicate{repo, 2, digest, "", former}, false},
		"former name beside it":     {Predicate{repo, 2, digest, "https://github.com/acme/old", two}, false},
		"another former name":       {Predicate{repo, 2, digest, "https://github.com/acme/older", former}, false},
		"former name, no locator":   {Predicate{repo, 2, digest, "acme/old", former}, false},
		"version zero":              {Predicate{repo, 0, "", "", one}, false},
		"newer, version zero":       {Predicate{repo, 0, "", "", "format = \"repopolicy/v2\"\n"}, false},
		"genesis with previous":     {Predicate{repo, 1, digest, "", one}, false},
		"second without previous":   {Predicate{repo, 2, "", "", two}, false},
		"previous is half a digest": {Predicate{repo, 2, digest[:32], "", two}, false},
		"invalid policy":            {Predicate{repo, 1, "", "", "format = 1\n"}, false},
	} {
		s, err := c.p.Statement([]byte(name), nil)
		if (err == nil) != c.ok || !errors.Is(err, s.Err()) || s.Digest() != spelling.Sum([]byte(name)) ||
			s.PAE() != paeDigest([]byte(name)) {
			t.Errorf("%s: %v", name, err)
		}
		if hasDoc := c.ok && name != "newer format"; (s.Document() != nil) != hasDoc ||
			s.newer != (name == "newer format") {
			t.Errorf("%s: document %v newer %v", name, s.Document(), s.newer)
		}
	}
}

func TestAnchor(t *testing.T) {
	l, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	if l.Anchor() != spelling.Sum([]byte("repopolicy/v1\nhttps://github.com/acme/widget\n")) {
		t.Error(l.Anchor())
	}
}
