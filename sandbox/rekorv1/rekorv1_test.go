// SPDX-License-Identifier: Apache-2.0

package rekorv1_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
	"github.com/repopolicy/repopolicy/sandbox/rekorv1"
)

// TestMain lets a child process write to a log until it is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SANDBOX_TEST_V1_WRITER"); dir != "" {
		s, err := sandbox.Start(context.Background(), dir, sandbox.Options{RekorV1: rekorv1.Log{Postgres: os.Getenv("SANDBOX_TEST_V1_POSTGRES")}})
		for n := 0; err == nil; n++ {
			var b *bundle.Bundle
			if b, err = trySign(context.Background(), s, dsse("crash"+fmt.Sprint(n)), job, 1); err == nil {
				var data []byte
				data, err = b.MarshalJSON()
				for err == nil && !indexed(s, digest("anchor of crash"+fmt.Sprint(n))) {
					time.Sleep(5 * time.Millisecond)
				}
				fmt.Println(base64.StdEncoding.EncodeToString(data))
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

var (
	job   = claims.GitHub{Repository: "acme/widget", Ref: "refs/tags/v1.2.3"}
	alice = claims.Email{Address: "alice@example.com"}
)

const san = "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1.2.3"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB, dir, postgres string) *sandbox.Stack {
	t.Helper()
	s, err := sandbox.Start(t.Context(), dir, sandbox.Options{RekorV1: rekorv1.Log{Postgres: postgres}})
	check(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// dsse is a statement about the content and, beside it, about an anchor that
// anybody can compute.
func dsse(content string) sign.Content {
	return &sign.DSSEData{PayloadType: "application/vnd.in-toto+json", Data: fmt.Appendf(nil,
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"content","digest":{"sha256":"%s"}},{"name":"anchor","digest":{"sha256":"%s"}}],"predicateType":"https://example.com/v1","predicate":{}}`,
		digest(content), digest("anchor of "+content))}
}

func trySign(ctx context.Context, s *sandbox.Stack, content sign.Content, who claims.Claims, version uint32) (*bundle.Bundle, error) {
	token, err := s.Token(who)
	if err != nil {
		return nil, err
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	at := s.URL(sandbox.RekorV1)
	if version == 2 {
		at = s.URL(sandbox.Rekor)
	}
	b, err := sign.Bundle(content, key, sign.BundleOptions{
		Context:                    ctx,
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.URL(sandbox.Fulcio)}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
		TimestampAuthorities:       []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: s.URL(sandbox.TSA)})},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: at, Version: version})},
	})
	if err != nil {
		return nil, err
	}
	return bundle.NewBundle(b)
}

func mustSign(t *testing.T, s *sandbox.Stack, content sign.Content, who claims.Claims, version uint32) *bundle.Bundle {
	t.Helper()
	b, err := trySign(t.Context(), s, content, who, version)
	check(t, err)
	return b
}

func judge(t *testing.T, s *sandbox.Stack, b *bundle.Bundle, content, san, issuer string) error {
	t.Helper()
	tr, err := root.NewTrustedRootFromJSON(s.TrustedRoot())
	check(t, err)
	v, err := verify.NewVerifier(tr, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	check(t, err)
	id, err := verify.NewShortCertificateIdentity(issuer, "", san, "")
	check(t, err)
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifact(strings.NewReader(content)), verify.WithCertificateIdentity(id)))
	return err
}

// search asks the index, as a client does, and returns entry ids.
func search(t *testing.T, s *sandbox.Stack, query map[string]any) []string {
	t.Helper()
	var found []string
	call(t, s, "/api/v1/index/retrieve", query, &found)
	return found
}

// await is search, for something that is in the log: Rekor writes its index after its
// reply.
func await(t *testing.T, s *sandbox.Stack, query map[string]any) []string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if found := search(t, s, query); len(found) > 0 || time.Now().After(end) {
			return found
		}
	}
}

// indexed reports whether the index has a digest.
func indexed(s *sandbox.Stack, digest string) bool {
	resp, err := http.Post(s.URL(sandbox.RekorV1)+"/api/v1/index/retrieve", "application/json", strings.NewReader(`{"hash":"sha256:`+digest+`"}`))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var found []string
	return json.NewDecoder(resp.Body).Decode(&found) == nil && len(found) > 0
}

func call(t *testing.T, s *sandbox.Stack, path string, body, result any) int {
	t.Helper()
	data, err := json.Marshal(body)
	check(t, err)
	resp, err := http.Post(s.URL(sandbox.RekorV1)+path, "application/json", bytes.NewReader(data))
	check(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	check(t, err)
	if err := json.Unmarshal(answer, result); err != nil {
		t.Fatalf("%s: %s: %s", path, resp.Status, answer)
	}
	return resp.StatusCode
}

func uuid(t *testing.T, s *sandbox.Stack, index int64) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("%s/api/v1/log/entries?logIndex=%d", s.URL(sandbox.RekorV1), index))
	check(t, err)
	defer resp.Body.Close()
	var entries map[string]any
	check(t, json.NewDecoder(resp.Body).Decode(&entries))
	for id := range entries {
		return id
	}
	t.Fatalf("%s", resp.Status)
	return ""
}

// TestMemory signs with both versions of Rekor, and searches.
func TestMemory(t *testing.T) {
	s := start(t, t.TempDir(), "")
	if _, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{RekorV1: rekorv1.Log{}}); err == nil || !strings.Contains(err.Error(), "a process can run one") {
		t.Errorf("a second Rekor v1 in the process: %v", err)
	}
	blob := mustSign(t, s, &sign.PlainData{Data: []byte("hello")}, job, 1)
	check(t, judge(t, s, blob, "hello", san, claims.GitHubIssuer))
	attested := mustSign(t, s, dsse("world"), alice, 1)
	check(t, judge(t, s, attested, "world", alice.Address, "https://accounts.google.com"))
	v2 := mustSign(t, s, dsse("hello"), job, 2)
	check(t, judge(t, s, v2, "hello", san, claims.GitHubIssuer))
	if blob.VerificationMaterial.TlogEntries[0].InclusionPromise == nil {
		t.Error("no inclusion promise")
	}
	if err := judge(t, s, blob, "hullo", san, claims.GitHubIssuer); err == nil {
		t.Error("another artifact")
	}
	for version, url := range map[int]string{1: s.URL(sandbox.RekorV1), 2: s.URL(sandbox.Rekor)} {
		if config := string(s.SigningConfig(version)); !strings.Contains(config, url) {
			t.Errorf("signing configuration of v%d without %s:\n%s", version, url, config)
		}
	}

	first, second := uuid(t, s, 0), uuid(t, s, 1)
	key := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: attested.VerificationMaterial.GetCertificate().RawBytes})
	for name, row := range map[string]struct {
		query map[string]any
		want  []string
	}{
		"artifact":           {map[string]any{"hash": "sha256:" + digest("hello")}, []string{first}},
		"subject digest":     {map[string]any{"hash": "sha256:" + digest("world")}, []string{second}},
		"anchor":             {map[string]any{"hash": "sha256:" + digest("anchor of world")}, []string{second}},
		"certificate's hash": {map[string]any{"hash": "sha256:" + digest(string(key))}, []string{second}},
		"e-mail":             {map[string]any{"email": "alice@example.com"}, []string{second}},
		"subject":            {map[string]any{"subject": san}, []string{first}},
		"nothing":            {map[string]any{"hash": "sha256:" + digest("nothing")}, []string{}},
	} {
		find := await
		if len(row.want) == 0 {
			find = search
		}
		if diff := cmp.Diff(row.want, find(t, s, row.query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	var entries []map[string]any
	if status := call(t, s, "/api/v1/log/entries/retrieve", map[string]any{"entryUUIDs": []string{first, second}}, &entries); status != http.StatusOK || len(entries) != 2 {
		t.Errorf("%d, %d entries", status, len(entries))
	}

	anchor := map[string]any{"hash": "sha256:" + digest("anchor of world")}
	undo, err := s.Misbehave(sandbox.RekorV1, malice.OmitIndex{})
	check(t, err)
	if found := search(t, s, anchor); len(found) != 0 {
		t.Errorf("an index that omits finds %v", found)
	}
	check(t, undo())
	undo, err = s.Misbehave(sandbox.RekorV1, malice.FloodIndex{Entries: 1000})
	check(t, err)
	if found := search(t, s, anchor); len(found) != 1001 || found[1000] != second || len(found[0]) != len(second) {
		t.Errorf("a flooded index finds %d entries", len(found))
	}
	check(t, undo())
	undo, err = s.Misbehave(sandbox.RekorV1, malice.StaleCheckpoint{})
	check(t, err)
	mustSign(t, s, dsse("later"), job, 1)
	if got := treeSize(t, s); got != 2 {
		t.Errorf("a stale log has %d entries", got)
	}
	check(t, undo())
	if got := treeSize(t, s); got != 3 {
		t.Errorf("the log has %d entries", got)
	}
	undo, err = s.Misbehave(sandbox.RekorV1, malice.ExpiredKey{})
	check(t, err)
	if err := judge(t, s, blob, "hello", san, claims.GitHubIssuer); err == nil {
		t.Error("an expired log key")
	}
	check(t, undo())
}

// TestMemoryRepeats: memory treats a repeated entry as a database does.
func TestMemoryRepeats(t *testing.T) {
	s := start(t, t.TempDir(), "")
	repeat(t, s, mustSign(t, s, dsse("hello"), job, 1), "hello", 0)
	leave(t, s)
}

func treeSize(t *testing.T, s *sandbox.Stack) int64 {
	t.Helper()
	resp, err := http.Get(s.URL(sandbox.RekorV1) + "/api/v1/log")
	check(t, err)
	defer resp.Body.Close()
	var log struct{ TreeSize int64 }
	check(t, json.NewDecoder(resp.Body).Decode(&log))
	return log.TreeSize
}

// TestPostgres repeats entries, restarts, and is killed.
func TestPostgres(t *testing.T) {
	url, dir := postgres(t), t.TempDir()
	s := start(t, dir, url)
	b := mustSign(t, s, dsse("hello"), job, 1)
	first := uuid(t, s, 0)
	repeat(t, s, b, "hello", 0)
	leave(t, s)
	size := treeSize(t, s)
	check(t, s.Close())

	s = start(t, dir, url)
	repeat(t, s, b, "hello", 0)
	if index := mustSign(t, s, dsse("again"), job, 1).VerificationMaterial.TlogEntries[0].LogIndex; index != size {
		t.Errorf("the log went on at %d", index)
	}
	check(t, s.Close())

	self, err := os.Executable()
	check(t, err)
	writer := exec.CommandContext(t.Context(), self)
	writer.Env = append(os.Environ(), "SANDBOX_TEST_V1_WRITER="+dir, "SANDBOX_TEST_V1_POSTGRES="+url)
	var talk strings.Builder
	writer.Stderr = &talk
	out, err := writer.StdoutPipe()
	check(t, err)
	check(t, writer.Start())
	dec := json.NewDecoder(base64Lines(out))
	var last *bundle.Bundle
	for range 3 {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			t.Fatalf("%v\n%s", err, talk.String())
		}
		last = &bundle.Bundle{}
		check(t, last.UnmarshalJSON(raw))
	}
	check(t, writer.Process.Kill())
	_ = writer.Wait() // it was killed

	s = start(t, dir, url)
	check(t, judge(t, s, last, "crash2", san, claims.GitHubIssuer))
	if found := await(t, s, map[string]any{"hash": "sha256:" + digest("anchor of crash2")}); len(found) != 1 {
		t.Errorf("after the crash the index finds %v", found)
	}
	repeat(t, s, b, "hello", 0)
	if got := uuid(t, s, 0); got != first {
		t.Errorf("entry 0 is %s, was %s", got, first)
	}

	// Another stack on the same database has a log of its own.
	check(t, s.Close())
	other := start(t, t.TempDir(), url)
	if got := treeSize(t, other); got != 0 {
		t.Errorf("a new stack's log has %d entries", got)
	}
	if err := judge(t, other, b, "hello", san, claims.GitHubIssuer); err == nil {
		t.Error("a bundle of another stack")
	}
}

// repeat logs an entry again that is in the log at an index.
func repeat(t *testing.T, s *sandbox.Stack, b *bundle.Bundle, content string, index int64) {
	t.Helper()
	first, size := uuid(t, s, index), treeSize(t, s)
	var answer map[string]any
	if status := call(t, s, "/api/v1/log/entries", proposed(t, b), &answer); status != http.StatusConflict || !strings.Contains(fmt.Sprint(answer["message"]), first) {
		t.Errorf("a repeated entry: %d %v", status, answer)
	}
	check(t, judge(t, s, b, content, san, claims.GitHubIssuer))
	if got := uuid(t, s, index); got != first || treeSize(t, s) != size {
		t.Errorf("entry %d is %s, was %s, of %d", index, got, first, size)
	}
	if diff := cmp.Diff([]string{first}, await(t, s, map[string]any{"hash": "sha256:" + digest("anchor of "+content)})); diff != "" {
		t.Errorf("the index after a repeat (-want +got):\n%s", diff)
	}
}

// leave lets a client go away while its entry waits to be integrated, and repeat
// the request as if it had been killed. The entry is logged once. The search index
// never learns of it: Rekor writes there after the wait, which the client ended.
func leave(t *testing.T, s *sandbox.Stack) {
	t.Helper()
	before := treeSize(t, s)
	for n := range 200 {
		content := fmt.Sprintf("left %d", n)
		b := mustSign(t, s, dsse(content), job, 2) // for an envelope that Rekor v1 has not seen
		data, err := json.Marshal(proposed(t, b))
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(2+n%20)*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(sandbox.RekorV1)+"/api/v1/log/entries", bytes.NewReader(data))
		check(t, err)
		req.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			before++
			continue // it was too fast
		}
		var answer map[string]any
		status := call(t, s, "/api/v1/log/entries", proposed(t, b), &answer)
		if before++; status == http.StatusCreated {
			continue // it left too early
		}
		if status != http.StatusConflict {
			t.Fatalf("what a client left behind, repeated: %d %v", status, answer)
		}
		// It is integrated by the time that the one after it is.
		mustSign(t, s, dsse("after "+content), job, 1)
		if before++; treeSize(t, s) != before {
			t.Errorf("the log has %d entries, not %d", treeSize(t, s), before)
		}
		var entries []map[string]any
		if status := call(t, s, "/api/v1/log/entries/retrieve", map[string]any{"entries": []any{proposed(t, b)}}, &entries); status != http.StatusOK || len(entries) != 1 {
			t.Errorf("what a client left behind: %d, %d entries", status, len(entries))
		}
		if found := search(t, s, map[string]any{"hash": "sha256:" + digest("anchor of "+content)}); len(found) != 0 {
			t.Errorf("the index finds %v", found)
		}
		return
	}
	t.Error("no client left in time")
}

// proposed is the request that logs a bundle's envelope again.
func proposed(t *testing.T, b *bundle.Bundle) any {
	t.Helper()
	env := b.GetDsseEnvelope()
	envelope, err := json.Marshal(map[string]any{
		"payload": base64.StdEncoding.EncodeToString(env.Payload), "payloadType": env.PayloadType,
		"signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(env.Signatures[0].Sig)}},
	})
	check(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.VerificationMaterial.GetCertificate().RawBytes})
	return map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{"proposedContent": map[string]any{
		"envelope": string(envelope), "verifiers": []string{base64.StdEncoding.EncodeToString(cert)},
	}}}
}

// base64Lines decodes each line of a stream.
func base64Lines(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) }

func TestPostgresFails(t *testing.T) {
	for _, url := range []string{"postgresql://127.0.0.1:1/nothing?user=nobody&connect_timeout=2", "no url at all"} {
		if _, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{RekorV1: rekorv1.Log{Postgres: url}}); err == nil || !strings.Contains(err.Error(), "postgresql") {
			t.Errorf("%s: %v", url, err)
		}
	}
	start(t, t.TempDir(), "") // a failed start leaves room for another one
}
