// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/release"
)

const notExpressible = "the policy language does not express"

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
		for _, r := range tr.cannot {
			t.leave(notExpressible, "%s: %s %s: %s", n.ID, r.releaser.SAN+r.releaser.SANGlob, r.releaser.Issuer, r.reason)
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
			if tc.Bundle != nil && len(tr.files) > 0 {
				c.agree(t, what+" on the command line", tc, "--policy", filepath.Join(scratch, n.ID+".toml"))
			}
		})
	}
	return nil
}

func (c *corpus) expect(t *tally, tr *translation, tc *testCase, what, identity, overall string) {
	got, why := c.identityVerdict(tr, tc)
	judge := func(ok bool, format string, args ...any) {
		if !ok {
			for _, r := range tr.cannot {
				if id, known := tc.identity(); known && r.releaser.matches(id) {
					t.leave(notExpressible, "%s: %s: %s", what, fmt.Sprintf(format, args...), r.reason)
					return
				}
			}
		}
		t.check(ok, what, format, args...)
	}
	judge(got == (identity == "authorized"), "identity: want %s, got %v (%s)", identity, got, why)
	all, detail := c.overall(tr, tc)
	switch overall {
	case "authorized", "authorized-if-lenient": // every translated rule says set-only
		judge(all, "overall: want %s, got %s", overall, detail)
	case "refused":
		judge(!all, "overall: want %s, got %s", overall, detail)
	default:
		// A sentence about the artifact's scope: nothing but the identity is
		// expected.
	}
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
		d, final := policy.Precheck(f.trusted, policy.Request{Now: time.Now(), Names: c.names(tc)}, claims)
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

// overall reports whether the release is allowed, by the same code as verify.
func (c *corpus) overall(tr *translation, tc *testCase) (bool, string) {
	if tc.Bundle == nil {
		return false, "no bundle"
	}
	root, err := c.root(tc.Trust.Root)
	if err != nil {
		return false, err.Error()
	}
	detail := "no policy"
	for _, f := range tr.files {
		q := judging{root: root, bundle: c.path(tc.Bundle.Path), artifact: c.artifact(tc), policy: f.trusted}
		r := q.result()
		if permitted(r) {
			return true, "OK by " + r.Decision.Rule + " of " + f.repository
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

// write keeps the translated files, to be read and tested.
func (tr *translation) write(dir string, n *neutral) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, f := range tr.files {
		name := n.ID
		if i > 0 {
			name = fmt.Sprintf("%s-%d", n.ID, i+1)
		}
		head := "# " + n.Title + "\n"
		if f.ids.Repository != "" {
			head += "# The genesis of this repository shows the repository id " + f.ids.Repository + ".\n"
		}
		for _, r := range tr.cannot {
			head += fmt.Sprintf("# Not expressible: %s%s by %s: %s\n", r.releaser.SAN, r.releaser.SANGlob, r.releaser.Issuer, r.reason)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".toml"), []byte(head+f.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
