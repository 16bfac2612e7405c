// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// root publishes a root that one key signs at that time, snapshot and timestamp for so
// many days, and returns where it is.
func root(
	t *testing.T, at time.Time, days int, key author.Key, signer author.Signer, keyTypes map[string]tuf.KeyType,
	targets map[string][]byte,
) string {
	t.Helper()
	online, machine := newKey(t)
	people, often := author.Setup{Keys: []author.Key{key}, Threshold: 1}, author.Setup{
		Keys: []author.Key{online}, Threshold: 1, Days: days,
	}
	dir := filepath.Join(t.TempDir(), "root")
	r, err := author.Create(
		dir,
		at,
		map[string]author.Setup{
			author.Root: people, author.Targets: people, author.Snapshot: often, author.Timestamp: often,
		},
	)
	check(t, err)
	defer r.Close()
	for path, data := range targets {
		check(t, r.Add(author.Targets, path, data))
	}
	_, err = r.Sign(t.Context(), signer)
	check(t, err)
	check(t, r.Publish(t.Context(), []author.Signer{machine}, keyTypes))
	return author.Tree(dir)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) (author.Key, author.Signer) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	check(t, err)
	key, err := author.PublicKey(public)
	check(t, err)
	with, err := keys.Local(private, keys.OfTUF)
	check(t, err)
	signer, err := author.NewSigner(with)
	check(t, err)
	return key, signer
}

// configure writes a configuration with these roots, of which "up" anchors what is on
// github.com and has identities of "sig", and returns its directory.
func configure(t *testing.T, trees map[string]string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("format = \"repopolicy-trust/v1\"\n")
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		tree := filepath.ToSlash(trees[name])
		fmt.Fprintf(&b, "[[root]]\nname = %q\nurl = %q\ninitial = %q\n", name, tree, tree+"/1.root.json")
		if name == "up" && trees["sig"] != "" {
			b.WriteString("identities = \"sig\"\n")
		}
	}
	b.WriteString("[[anchor]]\nrepositories = [\"https://github.com/**\"]\nroot = \"up\"\n")
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "trust.toml"), []byte(b.String()), 0o600))
	return dir
}

// TestAnchorAsOf: a policy that is carried is judged as of a moment, and so is the root
// that anchors it, and the one under which its identities sign: what has expired since
// counted then, and what had expired did not. Where nothing is carried, they are asked now.
func TestAnchorAsOf(t *testing.T) {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	check(t, err)
	anchor := trust.Anchor{Repository: repo, Statement: strings.Repeat("0a", 32)}
	anchors := map[string][]byte{trust.AnchorTarget(repo): anchor.Bytes()}
	signed := sigstoretest.Now
	key, signer := newKey(t)
	inst := sigstoretest.New(t)
	trusted := inst.Root(sigstoretest.RootOptions{})
	parsed, err := sigstore.ParseRoot("sig", trusted)
	check(t, err)
	const who, issuer = "alice@example.com", "https://accounts.google.com"
	alice, err := author.Identity(who, issuer)
	check(t, err)
	const month, long = 30, 365
	configs := map[string]string{
		"a key": configure(t, map[string]string{"up": root(t, signed, month, key, signer, nil, anchors)}),
		"an identity": configure(t, map[string]string{
			"up":  root(t, signed, long, alice, signedBy{inst, who, issuer}, trust.OIDCKeys(parsed), anchors),
			"sig": root(t, signed, month, key, signer, nil, map[string][]byte{trust.TrustedRootTarget: trusted}),
		}),
	}
	b := &airgap.Bundle{Repository: repo, Made: signed, Files: map[string][]byte{"x": []byte("x")}}
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
		for by, config := range configs {
			for _, cached := range []bool{false, true} { // by an earlier run, when it was valid
				t.Run(fmt.Sprintf("%s, by %s, cached %t", name, by, cached), func(t *testing.T) {
					state := t.TempDir()
					at := func(n int) *Finder {
						return &Finder{Now: func() time.Time { return day(n) }, Machine: Machine{
							ConfigDir: func() (string, error) { return config, nil },
							StateDir:  func() (string, error) { return state, nil },
						}}
					}
					if cached {
						statement, _, err := at(1).anchor(t.Context(), &Query{Repository: repo})
						check(t, err)
						if statement != anchor.Statement {
							t.Fatalf("%q", statement)
						}
					}
					q := &Query{Repository: repo}
					if row.carried {
						q.Carried, q.Offline = b, true
						if row.asOf >= 0 {
							q.Moment = day(row.asOf)
						}
					}
					statement, root, err := at(row.now).anchor(t.Context(), q)
					var f *policy.Fault
					errors.As(err, &f)
					switch {
					case row.valid && (err != nil || statement != anchor.Statement || root != "up"):
						t.Errorf("%q by %q: %v", statement, root, err)
					case !row.valid && (statement != "" || f == nil || f.Reason != policy.TrustRootMissing):
						t.Errorf("%q: %v", statement, err)
					}
				})
			}
		}
	}
}

// signedBy signs as whom an instance certifies.
type signedBy struct {
	inst        *sigstoretest.Instance
	who, issuer string
}

// Sign implements author.Signer.
func (s signedBy) Sign(ctx context.Context, canonical []byte, wanted func(string) bool) (metadata.Signature, error) {
	key, err := author.Identity(s.who, s.issuer)
	if err != nil {
		return metadata.Signature{}, err
	}
	log := func(context.Context, [sha256.Size]byte, func(author.Key) error) ([]byte, author.Key, error) {
		return s.inst.Sign(sigstoretest.Request{Artifact: canonical, SAN: s.who, Issuer: s.issuer}), key, nil
	}
	return (&author.IdentitySigner{May: []author.Key{key}, Log: log}).Sign(ctx, canonical, wanted)
}
