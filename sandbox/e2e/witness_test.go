// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestWitnessPolicy: with a witness policy the log is believed while a quorum of
// its witnesses cosigns, and not when too few of them answer.
func TestWitnessPolicy(t *testing.T) {
	s, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{Witnesses: 3})
	check(t, err)
	defer s.Close()
	trusted, err := sigstore.ParseRoot("witnessed", s.TrustedRoot())
	check(t, err)
	services, err := sigstore.ParseSigningConfigs(time.Now(), s.SigningConfig(2))
	check(t, err)
	witnesses, err := rekor.ParseWitnessPolicy([]byte(s.WitnessPolicy()))
	check(t, err)
	repo, err := policy.NormalizeLocator("acme/witnessed")
	check(t, err)

	state, err := memory.OpenState(t.TempDir())
	check(t, err)
	sign := func(version int) {
		t.Helper()
		w := &signlog.Writer{Root: trusted, Client: &sigstore.Client{Services: services, Transport: s.Transport()}, Journal: state, Now: time.Now}
		_, err := w.Write(t.Context(), signlog.Request{
			Statement: encode(t, policyText("acme/witnessed", version, 1, "alice"), map[bool]string{false: spelling.Sum(nil)}[version == 1]), Version: version,
			Signature: signlog.Signature{Who: "alice", Token: func(context.Context) (string, error) { return s.Token(alice) }},
		})
		check(t, err)
	}
	find := func() (bindings.Found, error) {
		scan := &lookup.Scan{Root: trusted, Clients: map[string]*web.Client{}, Cursors: state, Now: time.Now, Witnesses: witnesses}
		for _, l := range trusted.Logs() {
			c, err := web.New(l.URL, nil, "repopolicy-e2e")
			check(t, err)
			scan.Clients[l.ID] = c
		}
		return scan.Find(t.Context(), bindings.Query{Repository: repo})
	}
	before := time.Now().Truncate(time.Second)
	sign(1)
	found, err := find()
	if err != nil || found.Completeness != chain.CompleteScanned || found.AsOf.Before(before) || found.AsOf.After(time.Now()) {
		t.Fatalf("%+v %v", found, err)
	}
	undo, err := s.Misbehave(sandbox.Witness, malice.Status{Code: http.StatusServiceUnavailable})
	check(t, err)
	sign(2)
	if _, err := find(); err != nil {
		t.Errorf("one witness is down: %v", err)
	}
	undo2, err := s.Misbehave("witness-2", malice.Reset{})
	check(t, err)
	sign(3) // the log goes on without
	if found, err := find(); err == nil {
		t.Errorf("two of three are down: %+v", found)
	}
	undo()
	undo2()
	sign(4)
	if _, err := find(); err != nil {
		t.Errorf("they are back: %v", err)
	}
}
