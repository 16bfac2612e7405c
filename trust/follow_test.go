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

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/tuftest"
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
	c, err := ParseConfig([]byte("format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"up\"\nurl = \"https://tuf.example\"\ninitial = \"1.root.json\"\n[[anchor]]\nrepositories = [\"https://github.com/**\"]\nroot = \"up\"\n"))
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

// TestFetch: a copy of a root has what every role on the way lists.
func TestFetch(t *testing.T) {
	c, o := super(t, chained(t, 3, "d/x.txt", "x"))
	read := map[string]bool{}
	o.Record = func(target bool, name string, _ []byte) {
		if i := strings.LastIndexByte(name, '.'); target && i > 64 {
			name = name[:strings.LastIndexByte(name, '/')+1] + name[strings.LastIndexByte(name, '/')+66:]
		}
		read[name] = true
	}
	check(t, c.Fetch(t.Context(), "up", o))
	for _, want := range []string{"1.root.json", "timestamp.json", "1.r0.json", "1.r1.json", "1.r2.json", "a.txt", "d/x.txt"} {
		if !read[want] {
			t.Errorf("%s was not read: %v", want, read)
		}
	}
}
