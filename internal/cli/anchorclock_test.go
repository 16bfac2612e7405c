// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/trust"
	"github.com/repopolicy/repopolicy/trust/author"
)

// superConfig writes a root that anchors a repository and was signed at that time, for a
// month, and returns the directory of a configuration that names it.
func superConfig(t *testing.T, at time.Time, anchor trust.Anchor) string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	public, private, err := ed25519.GenerateKey(nil)
	check(err)
	key, err := author.PublicKey(public)
	check(err)
	signer, err := author.NewSigner(private)
	check(err)
	s := author.Setup{Keys: []author.Key{key}, Threshold: 1}
	dir := t.TempDir()
	r, err := author.Create(filepath.Join(dir, "root"), at, map[string]author.Setup{author.Root: s, author.Targets: s, author.Snapshot: s, author.Timestamp: s})
	check(err)
	defer r.Close()
	check(r.Add(author.Targets, trust.AnchorTarget(anchor.Repository), anchor.Bytes()))
	_, err = r.Sign(t.Context(), signer)
	check(err)
	check(r.Publish(t.Context(), []author.Signer{signer}, nil))
	tree := author.Tree(filepath.Join(dir, "root"))
	check(os.WriteFile(filepath.Join(dir, "trust.toml"), fmt.Appendf(nil, "format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"up\"\nurl = %q\ninitial = %q\n[[anchor]]\nrepositories = [\"https://github.com/**\"]\nroot = \"up\"\n",
		filepath.ToSlash(tree), filepath.ToSlash(filepath.Join(tree, "1.root.json"))), 0o600))
	return dir
}

// TestAnchorAsOf: a policy that is carried is judged as of a moment, and so is the root
// that anchors it: what has expired since counted then, and what had expired did not.
// Where nothing is carried, the root is asked now.
func TestAnchorAsOf(t *testing.T) {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	anchor := trust.Anchor{Repository: repo, Statement: strings.Repeat("0a", 32)}
	signed := sigstoretest.Now // for 30 days
	config := superConfig(t, signed, anchor)
	b := &airgap.Bundle{Repository: repo, Made: signed, Files: map[string][]byte{"x": []byte("x")}}
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "widget.airgap")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return signed.AddDate(0, 0, n) }
	for name, row := range map[string]struct {
		now, asOf int // days after it was signed; -1 for no --as-of
		carried   bool
		valid     bool
	}{
		"valid now":               {10, -1, true, true},
		"expired now":             {40, -1, true, false},
		"expired now, valid then": {40, 10, true, true},
		"expired now, valid then until that second": {40, 30, true, false},
		"expired now and then":                      {40, 31, true, false},
		"valid now and then":                        {10, 5, true, true},
		"valid now, expired then":                   {10, 31, true, false}, // as a clock that is behind has it
		"not carried, valid now":                    {10, -1, false, true},
		"not carried, expired now":                  {40, -1, false, false},
		"not carried, expired now, valid then":      {40, 10, false, false},
		"not carried, valid now, expired then":      {10, 31, false, true},
	} {
		for _, cached := range []bool{false, true} { // by an earlier run, when it was valid
			state := t.TempDir()
			at := func(n int) *app {
				return &app{err: &printer{w: io.Discard}, Env: Env{
					Now: func() time.Time { return day(n) }, ConfigDir: func() (string, error) { return config, nil },
					StateDir: func() (string, error) { return state, nil },
				}}
			}
			if cached {
				if statement, _, err := at(1).anchor(t.Context(), &repoOptions{}, repo); statement != anchor.Statement {
					t.Fatal(err)
				}
			}
			o := &verifyOptions{}
			if row.asOf >= 0 {
				o.asOf = flagged(day(row.asOf).Format(time.RFC3339))
			}
			if row.carried {
				o.airgap = flagged(file)
			}
			a := at(row.now)
			done, err := a.carry(o)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			statement, by, err := a.anchor(t.Context(), &o.repoOptions, repo)
			var f *fault
			switch {
			case row.valid && (err != nil || statement != anchor.Statement || by != "up"):
				t.Errorf("%s (cached: %t): %q by %q: %v", name, cached, statement, by, err)
			case !row.valid && (statement != "" || !errors.As(err, &f) || f.reason != policy.TrustRootMissing):
				t.Errorf("%s (cached: %t): %q: %v", name, cached, statement, err)
			}
		}
	}
}
