// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Headings of what is listed.
const (
	notExpressible = "the policy language does not express"
	lessStrict     = "the policy language takes more than the neutral policy"
)

// judgePolicies judges every expectation of policies.json.
func (c *corpus) judgePolicies(t *tally, write string) error {
	var doc struct {
		SchemaVersion int
		Policies      []*neutral
	}
	path := filepath.Join(c.dir, "policies.json")
	if !exists(path) {
		return nil
	}
	if err := readJSON(path, &doc); err != nil {
		return err
	}
	if doc.SchemaVersion != 1 {
		return fmt.Errorf("policies.json has schema version %d, 1 is known", doc.SchemaVersion)
	}
	scratch, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for _, n := range doc.Policies {
		tr := c.translate(n)
		if err := tr.write(scratch, n); err != nil {
			return err
		}
		for _, x := range tr.cannot {
			t.leave(notExpressible, "%s: %s", x.what, x.reason)
		}
		if write != "" {
			if err := tr.write(write, n); err != nil {
				return err
			}
		}
		parallel(len(n.Expectations), func(i int) {
			e := n.Expectations[i]
			what := n.ID + " on " + e.Case
			defer func() {
				if p := recover(); p != nil {
					t.check(false, what, "panic: %v", p)
				}
			}()
			tc := c.byID[e.Case]
			if tc == nil {
				t.check(false, what, "no such case")
				return
			}
			c.expect(t, tr, tc, what, e.IdentityVerdict, e.Overall)
			if tc.Bundle == nil {
				return
			}
			for i := range tr.files {
				c.agree(t, what+" on the command line", tc, "--policy", filepath.Join(scratch, n.fileName(i)))
			}
		})
	}
	return nil
}

func (c *corpus) expect(t *tally, tr *translation, tc *testCase, what, identity, overall string) {
	got, why := c.identityVerdict(tr, tc)
	// A verdict that the language cannot give is listed and does not count.
	judge := func(want, got bool, format string, args ...any) {
		if id, known := tc.identity(); known && want != got {
			heading, reason := notExpressible, tr.excuse(id)
			if got {
				heading, reason = lessStrict, tr.laxer(id)
			}
			if reason != "" {
				t.leave(heading, "%s: %s: %s", what, fmt.Sprintf(format, args...), reason)
				return
			}
		}
		t.check(want == got, what, format, args...)
	}
	judge(identity == "authorized", got, "identity: want %s, got %v (%s)", identity, got, why)
	all, detail := c.overall(tr.files, tc, func(f *file) *policy.Trusted { return f.trusted })
	switch overall {
	case "authorized", "authorized-if-lenient": // every translated rule says set-only
		judge(true, all, "overall: want %s, got %s", overall, detail)
		strict, detail := c.overall(tr.files, tc, func(f *file) *policy.Trusted { return f.strict })
		if overall == "authorized-if-lenient" {
			judge(false, strict, "overall without set-only: want a refusal, got %s", detail)
		} else if !tc.promised() {
			judge(true, strict, "overall without set-only: want %s, got %s", overall, detail)
		}
	case "refused":
		judge(false, all, "overall: want %s, got %s", overall, detail)
	default:
		// A sentence: the artifact is outside the scope. Policies whose rules
		// name artifacts say so, too; the others judge the identity only.
		if tr.scoped() {
			judge(false, all, "overall: want a refusal (%s), got %s", overall, detail)
		}
	}
}

// scoped reports whether every rule of a translation names its artifacts.
func (tr *translation) scoped() bool {
	for _, f := range tr.files {
		for _, r := range f.trusted.Content().Rules {
			if r.Artifacts.Any() {
				return false
			}
		}
	}
	return true
}

// identityVerdict reports whether some rule names the signer, whatever it says
// about artifact and tag.
func (c *corpus) identityVerdict(tr *translation, tc *testCase) (bool, string) {
	claims := policy.Claims{}
	if b := c.bundle(tc); b != nil {
		claims.Signer = b.Signer()
	} else if id, ok := tc.identity(); ok {
		claims.Signer = id
	} else {
		return false, "no certificate"
	}
	why := "no rule"
	for _, f := range tr.files {
		d, final := f.trusted.Precheck(policy.Request{Now: time.Now(), Names: c.names(tc)}, claims)
		if !final {
			return true, "matches " + f.repository
		}
		for _, r := range d.Rules {
			if r.IdentityMatches() {
				return true, "identity matches " + r.Rule + " of " + f.repository
			}
		}
		if n, ok := d.Nearest(); ok {
			why = fmt.Sprintf("%s of %s: %+v", n.Rule, f.repository, n.Mismatches)
		}
	}
	return false, why
}

func (c *corpus) names(tc *testCase) []string {
	if tc.Artifact == nil || tc.Artifact.Name == "" {
		return nil
	}
	return []string{tc.Artifact.Name}
}

func (c *corpus) bundle(tc *testCase) *sigstore.Bundle {
	if tc.Bundle == nil {
		return nil
	}
	data, err := os.ReadFile(c.path(tc.Bundle.Path))
	if err != nil {
		return nil
	}
	b, err := sigstore.ParseBundle(data)
	if err != nil {
		return nil
	}
	return b
}

// overall reports whether one of the files allows the release, by the same code
// as verify.
func (c *corpus) overall(files []*file, tc *testCase, trusted func(*file) *policy.Trusted) (bool, string) {
	if tc.Bundle == nil {
		return false, "no bundle"
	}
	root, err := c.root(tc.Trust.Root)
	if err != nil {
		return false, err.Error()
	}
	detail := "no policy"
	for _, f := range files {
		q := judging{root: root, bundle: c.path(tc.Bundle.Path), artifact: c.artifact(tc), policy: trusted(f)}
		r := q.result()
		if permitted(r) {
			return true, "OK by " + r.Decision.Rule + " of " + f.repository
		}
		if !refused(r) {
			panic(describe(r))
		}
		detail = f.repository + ": " + describe(r) + nearest(r)
	}
	return false, detail
}

func nearest(r *release.Result) string {
	n, ok := r.Decision.Nearest()
	if !ok {
		return ""
	}
	return fmt.Sprintf(" nearest %s %+v", n.Rule, n.Mismatches)
}

// fileName returns the name of a neutral policy's i-th file.
func (n *neutral) fileName(i int) string {
	if i > 0 {
		return fmt.Sprintf("%s-%d.toml", n.ID, i+1)
	}
	return n.ID + ".toml"
}

// write keeps the translated files, to be read and tested.
func (tr *translation) write(dir string, n *neutral) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, f := range tr.files {
		head := "# " + n.Title + "\n"
		if f.id != "" {
			head += "# The genesis of this repository shows the repository id " + f.id + ".\n"
		}
		for _, x := range tr.cannot {
			head += fmt.Sprintf("# Not expressible: %s: %s\n", x.what, x.reason)
		}
		if err := os.WriteFile(filepath.Join(dir, n.fileName(i)), []byte(head+f.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
