// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestRecover: a run of which nothing was kept, whose signature is in Rekor v1, is
// finished from there by whoever made it, while the certificate lasts.
func TestRecover(t *testing.T) {
	mine := func(id policy.Identity) bool { return id.Value == alice.Address }
	v1, err := sigstore.ParseSigningConfigs(time.Now(), stack.SigningConfig(1))
	check(t, err)
	for name, x := range map[string]struct {
		stop   string // step after which the first run ends; "" for the last
		first  claims.Email
		mine   func(policy.Identity) bool
		noMore bool // the index does not answer
		later  time.Duration
		v1     bool // an instance without Rekor v2
		found  bool
	}{
		"after v1":               {signlog.StepV1, alice, mine, false, 0, false, true},
		"after both":             {"", alice, mine, false, 0, false, true},
		"v1 alone":               {"", alice, mine, false, 0, true, true},
		"v1 alone, too late":     {"", alice, mine, false, time.Hour, true, true},
		"before v1":              {signlog.StepDraft, alice, mine, false, 0, false, false},
		"somebody else's":        {"", bob, mine, false, 0, false, false},
		"whose it is is unknown": {"", alice, nil, false, 0, false, false},
		"too late for v2":        {signlog.StepV1, alice, mine, false, time.Hour, false, false},
		"without an index":       {signlog.StepV1, alice, mine, true, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			services := services(t)
			if x.v1 {
				services = v1
			}
			statement := encode(t, policyText("acme/recover", 1, 1, "alice", "m-"+strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(name)), "")
			run := func(who claims.Email, later time.Duration, stop string) (steps []string, files []bindings.File) {
				t.Helper()
				m := newMachine(t) // it remembers nothing
				w := &signlog.Writer{
					Root: m.root, Client: &sigstore.Client{Services: services, Transport: stack.Transport()}, Journal: m.state,
					Index: m.client(services.RekorV1), Now: func() time.Time { return time.Now().Add(later) },
				}
				if x.noMore && stop == "" {
					w.Index, err = web.New("http://127.0.0.1:1", nil, "test")
					check(t, err)
				}
				w.Step = func(s string) {
					if steps = append(steps, s); s == stop {
						panic("killed")
					}
				}
				defer func() {
					if r := recover(); r != nil && r != "killed" {
						panic(r)
					}
				}()
				var err error
				files, err = w.Write(t.Context(), signlog.Request{Statement: statement, Version: 1, Signature: signlog.Signature{Who: who.Address, Mine: x.mine, Token: func(context.Context) (string, error) { return stack.Token(who) }}})
				if err != nil && later == 0 { // a certificate of today is none of tomorrow
					t.Error(err)
				}
				return steps, files
			}
			_, before := run(x.first, 0, x.stop)
			steps, after := run(alice, x.later, "")
			if found := len(steps) > 0 && steps[0] == signlog.StepFound; found != x.found {
				t.Fatalf("steps %v", steps)
			}
			if !x.found {
				return
			}
			want := 2
			if x.v1 {
				want = 1
			}
			if len(after) != want {
				t.Fatalf("%d files", len(after))
			}
			for i, f := range before {
				if f.Name != after[i].Name {
					t.Errorf("%s, then %s", f.Name, after[i].Name)
				}
			}
			res := newMachine(t).resolve("acme/recover", append(after, before...))
			if len(res.Ignored) > 0 {
				t.Errorf("ignored %v", res.Ignored)
			}
			m := newMachine(t)
			if found, err := m.hint().Client.Ask(t.Context(), "api/v1/index/retrieve", "application/json", []byte(`{"hash":"sha256:`+sum(statement)+`"}`), 1<<20); err != nil || entries(found) != 1 {
				t.Errorf("entries %s %v", found, err)
			}
		})
	}
}

// TestBindAgain: a bind whose answer never arrived is finished by the next run, on
// another machine, with the entry that is there.
func TestBindAgain(t *testing.T) {
	const name = "acme/bound-again"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	undo, err := stack.Misbehave(sandbox.Rekor, malice.Status{Code: http.StatusServiceUnavailable})
	check(t, err)
	if err := p.dispatch("repository_dispatch"); err == nil {
		t.Error("bound without Rekor v2")
	}
	check(t, undo())
	check(t, p.dispatch("repository_dispatch"))
	m := newMachine(t)
	repo, err := policy.NormalizeLocator(name)
	check(t, err)
	found, err := m.hint().Find(t.Context(), bindings.Query{Repository: repo})
	if err != nil || len(found.Leaves) != 1 {
		t.Errorf("%d bindings in Rekor v1 (%v)", len(found.Leaves), err)
	}
	newComputer(t).must(policy.ClassOK, "show", "-R", name)
}
