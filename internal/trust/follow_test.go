// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// chained publishes a target that so many roles, each delegated to by the one before it,
// lead to.
func chained(t *testing.T, roles int, path, content string) *tuftest.Sim {
	t.Helper()
	s := tuftest.New(t)
	s.Targets["targets"].Signed.Version++
	from := "targets"
	for i := range roles {
		name := fmt.Sprintf("r%d", i)
		s.Delegate(from, metadata.DelegatedRole{Name: name, Paths: []string{path}})
		from = name
	}
	s.Add(from, path, content)
	s.Publish()
	return s
}

// super lets a simulated root anchor everything on github.com.
func super(t *testing.T, s *tuftest.Sim) (*Config, Options) {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "1.root.json"), s.Files["1.root.json"], 0o600))
	c, err := ParseConfig(
		[]byte(
			"format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"up\"\nurl = \"https://tuf.example\"\ninitial = " +
				"\"1.root.json\"\n[[anchor]]\nrepositories = [\"https://github.com/**\"]\nroot = \"up\"\n",
		),
	)
	check(t, err)
	c.Dir = dir
	return c, Options{Source: s, Now: func() time.Time { return tuftest.Now }}
}

// TestAnchorDepth: an anchor that the search does not get to is not one that is not there.
func TestAnchorDepth(t *testing.T) {
	widget := locator(t, "https://github.com/acme/widget")
	anchor := Anchor{Repository: widget, Statement: strings.Repeat("0a", 32)}
	for _, roles := range []int{0, 1, 32} {
		c, o := super(t, chained(t, roles, AnchorTarget(widget), string(anchor.Bytes())))
		if got, err := c.Anchor(t.Context(), widget, o); err != nil || got == nil || *got != anchor {
			t.Errorf("behind %d roles: %v %v", roles, got, err)
		}
		if got, err := c.Anchor(t.Context(), locator(t, "https://github.com/acme/gadget"), o); err != nil || got != nil {
			t.Errorf("behind %d roles, another repository: %v %v", roles, got, err)
		}
	}
	c, o := super(t, chained(t, 33, AnchorTarget(widget), string(anchor.Bytes())))
	got, err := c.Anchor(t.Context(), widget, o)
	var e *sigstore.Error
	if got != nil || !errors.As(err, &e) || e.Reason != policy.TrustRootMissing {
		t.Errorf("too deep: %v %v", got, err)
	}
}

// binned publishes files in succinct bins of so many bits, of which only those exist that
// have a file or stand in also.
func binned(t *testing.T, bits int, files []string, also ...string) *tuftest.Sim {
	t.Helper()
	s := tuftest.New(t)
	s.Targets["targets"].Signed.Version++
	k := tuftest.NewKey(t)
	key := tuftest.KeyOf(t, k)
	id := tuftest.KeyID(t, key)
	bins := &metadata.SuccinctRoles{KeyIDs: []string{id}, Threshold: 1, BitLength: bits, NamePrefix: "bin"}
	s.Targets["targets"].Signed.Delegations = &metadata.Delegations{
		Keys: map[string]*metadata.Key{id: key}, SuccinctRoles: bins,
	}
	add := func(role string) {
		if s.Targets[role] == nil {
			s.Targets[role] = metadata.Targets(tuftest.Now.AddDate(1, 0, 0))
			s.Signers[role] = []signature.Signer{k}
		}
	}
	for _, f := range files {
		role := bins.GetRolesForTarget(f)[0].Name
		add(role)
		s.Add(role, f, "content of "+f)
	}
	for _, role := range also {
		add(role)
	}
	s.Publish()
	return s
}

// twice publishes a file that two roles list, and one that a role lists to which only
// another role hands it down.
func twice(t *testing.T) *tuftest.Sim {
	s := tuftest.New(t)
	s.Targets["targets"].Signed.Version++
	s.Delegate("targets", metadata.DelegatedRole{Name: "first", Paths: []string{"d/*"}})
	s.Delegate("targets", metadata.DelegatedRole{Name: "second", Paths: []string{"d/*", "e/*"}})
	s.Delegate("first", metadata.DelegatedRole{Name: "deep", Paths: []string{"d/*"}})
	s.Delegate("second", metadata.DelegatedRole{Name: "deep", Paths: []string{"e/*"}})
	s.Add("second", "d/x.txt", "not what is found")
	s.Add("first", "d/x.txt", "what is found")
	s.Add("deep", "e/y.txt", "by another way")
	s.Add("deep", "f/z.txt", "handed down by nobody")
	s.Publish()
	return s
}

// TestFetch: a copy of a root has what any client of it would find, and no more.
func TestFetch(t *testing.T) {
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("bin-%03x", i))
		}
		return out
	}
	for name, row := range map[string]struct {
		sim  *tuftest.Sim
		read []string          // beside the root, timestamp and a.txt
		has  map[string]string // targets
		not  []string
		want error
	}{
		"a chain of roles": {
			chained(t, 3, "d/x.txt", "x"), []string{"1.r0.json", "1.r1.json", "1.r2.json"}, map[string]string{"d/x.txt": "x"},
			nil, nil,
		},
		"two bins": {
			binned(t, 1, []string{"x", "y", "z/w"}, "bin-0", "bin-1"), []string{"1.bin-0.json", "1.bin-1.json"},
			map[string]string{"x": "content of x", "y": "content of y", "z/w": "content of z/w"}, nil, nil,
		},
		"few of many bins": {
			binned(t, 32, []string{"x", "d/y"}), nil, map[string]string{"x": "content of x", "d/y": "content of d/y"}, nil, nil,
		},
		"names like bins": {binned(t, 5, []string{"x"}, "bin-1f", "bin-20", "bin-1F", "bin-001", "bin-", "bin--1", "bin-+1",
			"other-01", "01"), []string{"1.bin-1f.json"}, map[string]string{"x": "content of x"},
			[]string{
				"1.bin-20.json", "1.bin-1F.json", "1.bin-001.json", "1.bin-.json", "1.bin--1.json", "1.bin-+1.json",
				"1.other-01.json", "1.01.json",
			}, nil},
		"as many as are copied": {binned(t, 10, nil, many(maxFetched)...), []string{"1.bin-3e7.json"}, nil, nil, nil},
		"one more":              {binned(t, 10, nil, many(maxFetched+1)...), nil, nil, nil, tuf.ErrTooManyRoles},
		"two roles": {
			twice(t), []string{"1.first.json", "1.second.json", "1.deep.json"},
			map[string]string{"d/x.txt": "what is found", "e/y.txt": "by another way"}, []string{"f/z.txt"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, o := super(t, row.sim)
			files := &oci.Files{Metadata: map[string][]byte{}, Targets: map[string]oci.Content{}}
			o.Record = func(target bool, name string, data []byte) {
				if target {
					files.Targets[name] = oci.Bytes(data)
				} else {
					files.Metadata[name] = data
				}
			}
			err := c.Fetch(t.Context(), "up", o)
			if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			// The same root, followed from the copy alone.
			o = Options{Source: files.Source(), Now: o.Now}
			check(t, c.with(t.Context(), "up", o, func(_ []byte, client *tuf.Client) error {
				for path, want := range row.has {
					if got, err := client.Target(t.Context(), path); err != nil || string(got) != want {
						t.Errorf("%s: %q: %v", path, got, err)
					}
				}
				return nil
			}))
			for _, want := range append(row.read, "1.root.json", "timestamp.json") {
				if files.Metadata[want] == nil {
					t.Errorf("%s was not read", want)
				}
			}
			if len(files.Targets) != len(row.has)+1 { // and a.txt
				t.Errorf("%d targets", len(files.Targets))
			}
			for _, not := range row.not {
				if files.Metadata[not] != nil || files.Targets[not].Open != nil {
					t.Errorf("%s was read", not)
				}
			}
		})
	}
}
