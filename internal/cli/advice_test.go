// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// TestNoRootAdvice: where no trusted root can be had, the hint says whether one was kept.
func TestNoRootAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		kept bool
		args string
		want []string
		not  []string
	}{
		"nothing is kept": {
			false, "verify --policy policy.toml widget_1",
			[]string{"this machine has kept no root", "--trusted-root FILE", "; not checked yet"}, []string{"--offline",
				"did not verify"},
		},
		"one is": {
			true, "verify --policy policy.toml widget_1",
			[]string{"has kept a root: --offline goes on with it", "withdrawn since"}, []string{"no root"},
		},
		"and a repository": {
			true, "verify -R acme/widget widget_1", []string{"--offline and --git DIR, a clone goes on with it"}, nil,
		},
		"it was off-line": {
			false, "verify --offline --policy policy.toml widget_1", []string{"go on-line once"}, []string{"try again"},
		},
	} {
		env := place(t)
		env.Root = func(_ context.Context, how trust.Options) ([]trust.Root, error) {
			if how.Offline && c.kept {
				return nil, nil
			}
			return nil, &sigstore.Error{Reason: policy.TrustRootMissing, Err: errors.New("no network")}
		}
		var out bytes.Buffer
		env.Stdout, env.Stderr = &out, &out
		if code := Main(strings.Fields(c.args), env); code != policy.ClassUnavailable.Exit() {
			t.Errorf("%s: exit %d", name, code)
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: no %q in\n%s", name, w, out.String())
			}
		}
		for _, w := range c.not {
			if strings.Contains(out.String(), w) {
				t.Errorf("%s: %q in\n%s", name, w, out.String())
			}
		}
	}
}

// TestHostileTag: a tag that strangers chose stands in a command as one word.
func TestHostileTag(t *testing.T) {
	for tag, want := range map[string]string{
		"v1'$(id)":  `  next         repopolicy verify --policy policy.toml --trusted-root root.json --tag 'v1'\''$(id)' widget_1`,
		"v1;reboot": `  next         repopolicy verify --policy policy.toml --trusted-root root.json --tag 'v1;reboot' widget_1`,
		"v1&&id":    `  next         repopolicy verify --policy policy.toml --trusted-root root.json --tag 'v1&&id' widget_1`,
	} {
		s := newShop(t)
		r := sigstoretest.Workflow(tag)
		r.Artifact = []byte("widget")
		s.write("", map[string][]byte{"widget_1": r.Artifact, "widget_1.sigstore.json": s.inst.Sign(r)})
		asked := strings.TrimPrefix(tag, "v")
		code, out := s.run("--tag", asked, "widget_1")
		if code != policy.ClassDeny.Exit() || !strings.Contains(out, want+"\n") {
			t.Errorf("%q: exit %d, no %q in\n%s", tag, code, want, out)
		}
	}
}
