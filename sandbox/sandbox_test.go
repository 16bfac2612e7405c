// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SANDBOX_TEST_WRITER"); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	tr := trustedRoot(t, s)
	artifact, other := []byte("hello"), []byte("hullo")
	for name, content := range map[string]func() *bundle.Bundle{
		"blob": func() *bundle.Bundle { return mustSign(t, s, blob(artifact), signing{}) },
		"dsse": func() *bundle.Bundle { return mustSign(t, s, dsse(artifact), signing{}) },
	} {
		b := content()
		check(t, judge(tr, b, artifact, jobSAN, jobIssuer))
		check(t, repopolicy(t, s, b, artifact))
		if err := repopolicy(t, s, b, other); err == nil {
			t.Errorf("%s: repopolicy allows another artifact", name)
		}
		for _, bad := range []struct {
			name, want  string
			artifact    []byte
			san, issuer string
			b           *bundle.Bundle
		}{
			{"another artifact", "failed to verify signature", other, jobSAN, jobIssuer, b},
			{"another identity", "no matching CertificateIdentity", artifact, strings.Replace(jobSAN, "acme", "evil", 1), jobIssuer, b},
			{"another issuer", "no matching CertificateIdentity", artifact, jobSAN, claims.GitLabIssuer, b},
			{"no log entry", "log", artifact, jobSAN, jobIssuer, clone(t, b, func(p *protobundle.Bundle) { p.VerificationMaterial.TlogEntries = nil })},
			{"no time stamp", "timestamp", artifact, jobSAN, jobIssuer, clone(t, b, func(p *protobundle.Bundle) { p.VerificationMaterial.TimestampVerificationData = nil })},
			{"tampered proof", "inclusion", artifact, jobSAN, jobIssuer, clone(t, b, func(p *protobundle.Bundle) {
				p.VerificationMaterial.TlogEntries[0].InclusionProof.LogIndex++
				p.VerificationMaterial.TlogEntries[0].LogIndex++
			})},
			{"tampered checkpoint", "log entry", artifact, jobSAN, jobIssuer, clone(t, b, func(p *protobundle.Bundle) {
				c := p.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint
				c.Envelope = strings.Replace(c.Envelope, "127.0.0.1\n", "127.0.0.1\n1", 1)
			})},
		} {
			err := judge(tr, bad.b, bad.artifact, bad.san, bad.issuer)
			if err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%s, %s: %v, want an error about %q", name, bad.name, err, bad.want)
			}
		}
	}
}

// TestLoopback looks for listeners that other machines can reach.
func TestLoopback(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{Witnesses: 2})
	for _, service := range []sandbox.Service{sandbox.Issuer, sandbox.Fulcio, sandbox.CTLog, sandbox.TSA, sandbox.Rekor, sandbox.TUF, sandbox.Forge, sandbox.Witness} {
		u, err := url.Parse(s.URL(service))
		check(t, err)
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.Equal(net.IPv4(127, 0, 0, 1)) {
			t.Errorf("%s is at %q", service, s.URL(service))
		}
	}
	if got := s.URL(sandbox.RekorV1); got != "" {
		t.Errorf("Rekor v1 at %q in a stack without", got)
	}
}

func TestTUF(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	pinned, err := s.TUFRoot()
	check(t, err)
	cache := t.TempDir()
	fetch := func(cache string, root []byte) (*tuf.Client, error) {
		return tuf.New(&tuf.Options{Root: root, RepositoryBaseURL: s.URL(sandbox.TUF), CachePath: cache})
	}
	compare := func(c *tuf.Client) {
		t.Helper()
		got, err := c.GetTarget("trusted_root.json")
		check(t, err)
		if diff := cmp.Diff(string(s.TrustedRoot()), string(got)); diff != "" {
			t.Error(diff)
		}
		for _, name := range []string{"signing_config.v0.2.json", "signing_config_rekor_v2.v0.2.json"} {
			got, err := c.GetTarget(name)
			check(t, err)
			if diff := cmp.Diff(string(s.SigningConfig(2)), string(got)); diff != "" {
				t.Error(diff)
			}
		}
		tr, err := root.GetTrustedRoot(c)
		check(t, err)
		check(t, judge(tr, mustSign(t, s, blob([]byte("x")), signing{}), []byte("x"), jobSAN, jobIssuer))
	}
	c, err := fetch(cache, pinned)
	check(t, err)
	compare(c)

	for range 2 {
		check(t, s.RotateTUFRoot())
	}
	check(t, s.AddShard(sandbox.Rotation{AtOnce: true}))
	c, err = fetch(cache, pinned) // with a cache of version 1
	check(t, err)
	compare(c)
	c, err = fetch(t.TempDir(), pinned) // from nothing
	check(t, err)
	compare(c)

	other := start(t, sandbox.Options{})
	foreign, err := other.TUFRoot()
	check(t, err)
	if _, err := fetch(t.TempDir(), foreign); err == nil {
		t.Error("a root of another stack led to this one's targets")
	}
}

// TestShards signs before and after a change of shards, and over a restart.
func TestShards(t *testing.T) {
	t.Parallel()
	dir, artifact := t.TempDir(), []byte("sharded")
	s := startIn(t, dir, sandbox.Options{})
	first := mustSign(t, s, blob(artifact), signing{})
	check(t, s.AddShard(sandbox.Rotation{AtOnce: true}))
	second := mustSign(t, s, dsse(artifact), signing{})
	urls := s.Shards()
	if len(urls) != 2 || s.URL(sandbox.Rekor) != urls[1] {
		t.Fatalf("shards %v, current %s", urls, s.URL(sandbox.Rekor))
	}
	idOf := func(b *bundle.Bundle) string { return string(b.VerificationMaterial.TlogEntries[0].LogId.KeyId) }
	if idOf(first) == idOf(second) {
		t.Error("both entries are in one log")
	}
	resp, err := http.Post(urls[0]+"/api/v2/log/entries", "application/json", strings.NewReader("{}"))
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("the frozen shard answers %s", resp.Status)
	}
	check(t, s.Close())
	s = startIn(t, dir, sandbox.Options{})
	if diff := cmp.Diff(urls, s.Shards()); diff != "" {
		t.Error(diff)
	}
	tr := trustedRoot(t, s)
	for _, b := range []*bundle.Bundle{first, second, mustSign(t, s, blob(artifact), signing{})} {
		check(t, judge(tr, b, artifact, jobSAN, jobIssuer))
	}
}

// TestRotation goes through Sigstore's playbook: both shards take entries while their windows
// overlap, clients are sent to the new one later, and the old one is frozen at the end.
func TestRotation(t *testing.T) {
	t.Parallel()
	dir, artifact := t.TempDir(), []byte("rotated")
	s := startIn(t, dir, sandbox.Options{})
	idOf := func(b *bundle.Bundle) string { return string(b.VerificationMaterial.TlogEntries[0].LogId.KeyId) }
	answer := func(url string) int {
		t.Helper()
		resp, err := http.Post(url+"/api/v2/log/entries", "application/json", strings.NewReader("{}"))
		check(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	var made []*bundle.Bundle
	sign := func(artifact []byte) string {
		t.Helper()
		made = append(made, mustSign(t, s, blob(artifact), signing{}))
		check(t, judge(trustedRoot(t, s), made[len(made)-1], artifact, jobSAN, jobIssuer))
		return idOf(made[len(made)-1])
	}
	for i := range 2 {
		old, at := sign(artifact), s.URL(sandbox.Rekor)
		check(t, s.AddShard(sandbox.Rotation{}))
		if urls := s.Shards(); len(urls) != i+2 || s.URL(sandbox.Rekor) != at {
			t.Fatalf("clients are sent to %s of %v", s.URL(sandbox.Rekor), urls)
		}
		logs := trustedRoot(t, s).RekorLogs()
		ends := map[bool]int{}
		for _, l := range logs {
			ends[l.ValidityPeriodEnd.IsZero()]++
			if d := time.Until(l.ValidityPeriodEnd); !l.ValidityPeriodEnd.IsZero() && d < 13*24*time.Hour {
				t.Errorf("a window ends in %s", d)
			}
		}
		if ends[true] != 1 || ends[false] != i+1 {
			t.Errorf("windows: %v", ends)
		}
		if sign([]byte("within")) != old {
			t.Error("not logged in the old shard")
		}
		check(t, s.SwitchShard())
		if s.URL(sandbox.Rekor) == at || sign(artifact) == old {
			t.Error("not logged in the new shard")
		}
		if code := answer(at); code == http.StatusMethodNotAllowed {
			t.Error("the old shard is frozen")
		}
		check(t, s.FreezeShards())
		check(t, s.Close())
		s = startIn(t, dir, sandbox.Options{})
		if code := answer(at); code != http.StatusMethodNotAllowed {
			t.Errorf("the frozen shard answers %d", code)
		}
		if s.URL(sandbox.Rekor) == at {
			t.Error("clients are sent to the old shard again")
		}
	}
}

// TestRestart expects that everything clients know survives, and the memory of
// duplicates too.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir, artifact := t.TempDir(), []byte("kept")
	o := sandbox.Options{Witnesses: 2}
	s := startIn(t, dir, o)
	if _, err := sandbox.Start(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), "another sandbox uses this directory") {
		t.Errorf("a second stack in the directory: %v", err)
	}
	before := mustSign(t, s, dsse(artifact), signing{})
	trusted, config, tufURL := s.TrustedRoot(), s.SigningConfig(2), s.URL(sandbox.TUF)
	request := entryRequest(t, before)
	if status, index := postEntry(t, s, request); status != http.StatusConflict || index != "0" {
		t.Errorf("a repeated entry: %d, index %q", status, index)
	}
	check(t, s.Close())

	s = startIn(t, dir, o)
	if diff := cmp.Diff(string(trusted), string(s.TrustedRoot())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(string(config), string(s.SigningConfig(2))); diff != "" {
		t.Error(diff)
	}
	if s.URL(sandbox.TUF) != tufURL {
		t.Errorf("TUF moved from %s to %s", tufURL, s.URL(sandbox.TUF))
	}
	if status, index := postEntry(t, s, request); status != http.StatusConflict || index != "0" {
		t.Errorf("an entry repeated after the restart: %d, index %q", status, index)
	}
	after := mustSign(t, s, dsse(artifact), signing{})
	if got := after.VerificationMaterial.TlogEntries[0].LogIndex; got != 1 {
		t.Errorf("the log went on at %d", got)
	}
	tr := trustedRoot(t, s)
	for _, b := range []*bundle.Bundle{before, after} {
		check(t, judge(tr, b, artifact, jobSAN, jobIssuer))
	}
}

// entryRequest is the request that put a bundle's entry into Rekor v2.
func entryRequest(t *testing.T, b *bundle.Bundle) []byte {
	t.Helper()
	var entry struct {
		Spec struct {
			HashedRekordV002 struct {
				Data      struct{ Digest string }
				Signature json.RawMessage
			}
		}
	}
	check(t, json.Unmarshal(b.VerificationMaterial.TlogEntries[0].CanonicalizedBody, &entry))
	data, err := json.Marshal(map[string]any{"hashedRekordRequestV002": map[string]any{
		"digest": entry.Spec.HashedRekordV002.Data.Digest, "signature": entry.Spec.HashedRekordV002.Signature,
	}})
	check(t, err)
	return data
}

func postEntry(t *testing.T, s *sandbox.Stack, request []byte) (status int, index string) {
	t.Helper()
	resp, err := http.Post(s.URL(sandbox.Rekor)+"/api/v2/log/entries", "application/json", strings.NewReader(string(request)))
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode >= 500 {
		t.Errorf("%s: %s", resp.Status, body)
	}
	return resp.StatusCode, resp.Header.Get("x-log-index")
}

// TestStrangers lets two stacks judge each other's bundles.
func TestStrangers(t *testing.T) {
	t.Parallel()
	a, b := start(t, sandbox.Options{}), start(t, sandbox.Options{})
	artifact := []byte("mine")
	ours, theirs := mustSign(t, a, blob(artifact), signing{}), mustSign(t, b, blob(artifact), signing{})
	check(t, judge(trustedRoot(t, a), ours, artifact, jobSAN, jobIssuer))
	check(t, judge(trustedRoot(t, b), theirs, artifact, jobSAN, jobIssuer))
	for name, err := range map[string]error{
		"theirs here": judge(trustedRoot(t, a), theirs, artifact, jobSAN, jobIssuer),
		"ours there":  judge(trustedRoot(t, b), ours, artifact, jobSAN, jobIssuer),
	} {
		if err == nil || !strings.Contains(err.Error(), "verif") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A token of the other stack gets no certificate either.
	token, err := a.Token(job)
	check(t, err)
	if status, body := requestCertificate(t, b, token); !strings.Contains(body, badToken) {
		t.Errorf("a foreign token: %d %s", status, body)
	}
}

// requestCertificate sends a token without any key to Fulcio, which answers
// what it thinks of the token first.
func requestCertificate(t *testing.T, s *sandbox.Stack, token string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(sandbox.Fulcio)+"/api/v2/signingCert", strings.NewReader("{}"))
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(data)
}

const (
	badToken = "There was an error processing the identity token"
	badKey   = "The public key supplied in the request could not be parsed"
)

// TestClose counts goroutines, alone: other tests have their own.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	before := runtime.NumGoroutine()
	for range 2 {
		stacks := []*sandbox.Stack{}
		for i := range 2 {
			s, err := sandbox.Start(t.Context(), filepath.Join(dir, fmt.Sprint(i)), sandbox.Options{Witnesses: 1})
			check(t, err)
			stacks = append(stacks, s)
			_, err = signing{}.sign(t.Context(), s, blob([]byte("x")))
			check(t, err)
		}
		for _, s := range stacks {
			check(t, s.Close())
			check(t, s.Close())
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	// What was told to end needs a moment to do so.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-ctx.Done():
			var b strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), b.String())
		}
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sandbox.Start(ctx, t.TempDir(), sandbox.Options{}); err == nil {
		t.Error("started in an ended context")
	}
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := sandbox.Start(t.Context(), file, sandbox.Options{}); err == nil {
		t.Error("started in a file")
	}
	dir := t.TempDir()
	s := startIn(t, dir, sandbox.Options{})
	at, err := url.Parse(s.URL(sandbox.TUF))
	check(t, err)
	check(t, s.Close())
	l, err := net.Listen("tcp4", at.Host)
	check(t, err)
	defer l.Close()
	if _, err := sandbox.Start(t.Context(), dir, sandbox.Options{}); err == nil || !strings.Contains(err.Error(), "its port is taken") {
		t.Errorf("started without its port: %v", err)
	}
}
