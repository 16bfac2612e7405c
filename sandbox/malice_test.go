// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	logfmt "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// bootstrap fetches the trusted root as a client does that has nothing.
func bootstrap(t *testing.T, s *sandbox.Stack) error {
	t.Helper()
	pinned, err := s.TUFRoot()
	check(t, err)
	c, err := tuf.New(&tuf.Options{Root: pinned, RepositoryBaseURL: s.URL(sandbox.TUF), CachePath: t.TempDir()})
	if err != nil {
		return err
	}
	_, err = c.GetTarget("trusted_root.json")
	return err
}

// timedOut stands for the texts in which net/http says so.
const timedOut = "timed out"

// TestTransportFaults lets a client meet every fault of the transport, at the
// service where its own code shows what it makes of it.
func TestTransportFaults(t *testing.T) {
	t.Parallel()
	s, other := start(t, sandbox.Options{}), start(t, sandbox.Options{})
	short := func() error {
		_, err := signing{timeout: 300 * time.Millisecond}.sign(t.Context(), s, blob([]byte("x")))
		return err
	}
	sign := func() error {
		_, err := signing{}.sign(t.Context(), s, blob([]byte("x")))
		return err
	}
	get := func() error { // a client that reads at most 1 MiB
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(sandbox.TUF)+"/timestamp.json", nil)
		check(t, err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20+1))
		if err == nil && n > 1<<20 {
			err = errors.New("more than 1 MiB")
		}
		return err
	}
	fetch := func() error { return bootstrap(t, s) }
	status := func() error { // sigstore-go closes the body of these before it reads it
		resp, err := http.Post(s.URL(sandbox.Fulcio)+"/api/v2/signingCert", "application/json", strings.NewReader("{}"))
		if err != nil {
			return err
		}
		resp.Body.Close()
		return fmt.Errorf("%s, retry after %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	for _, row := range []struct {
		name    string
		service sandbox.Service
		fault   malice.Fault
		client  func() error
		want    string // "" is success
	}{
		{"a short delay", sandbox.Fulcio, malice.Delay{By: 50 * time.Millisecond}, sign, ""},
		{"a long delay", sandbox.Fulcio, malice.Delay{By: time.Minute}, short, timedOut},
		{"a dropped request", sandbox.TSA, malice.Drop{}, short, timedOut},
		{"a dropped entry", sandbox.Rekor, malice.Drop{}, func() error { // whose client knows no timeout but the context's
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := signing{}.sign(ctx, s, blob([]byte("x")))
			return err
		}, timedOut},
		{"a reset", sandbox.Fulcio, malice.Reset{}, sign, "reset by peer"},
		{"a truncated certificate", sandbox.Fulcio, malice.Truncate{After: 20}, sign, "unexpected EOF"},
		{"a truncated time stamp", sandbox.TSA, malice.Truncate{After: 20}, sign, "unexpected EOF"},
		{"an empty answer that was not", sandbox.TUF, malice.Truncate{}, get, "unexpected EOF"},
		{"500", sandbox.Fulcio, malice.Status{Code: 500}, status, `500 Internal Server Error, retry after ""`},
		{"404", sandbox.Fulcio, malice.Status{Code: 404}, sign, "Fulcio returned 404"},
		{"502 of the log", sandbox.Rekor, malice.Status{Code: 502}, sign, "502"},
		{"429", sandbox.Fulcio, malice.Status{Code: 429, RetryAfter: 7 * time.Second}, status, `429 Too Many Requests, retry after "7"`},
		{"429 once, with a retry", sandbox.Fulcio, malice.Times{N: 1, Fault: malice.Status{Code: 429}}, func() error {
			_, err := signing{retries: 2}.sign(t.Context(), s, blob([]byte("x")))
			return err
		}, ""},
		{"a web page for a certificate", sandbox.Fulcio, malice.WrongType{}, sign, "invalid character '<'"},
		{"a web page for a time stamp", sandbox.TSA, malice.WrongType{}, sign, "asn1"},
		{"a web page for an entry", sandbox.Rekor, malice.WrongType{}, sign, "unexpected response"},
		{"a web page for TUF", sandbox.TUF, malice.WrongType{}, fetch, "invalid character '<'"},
		{"an endless body", sandbox.TUF, malice.Endless{}, get, "more than 1 MiB"},
		{"an endless body for TUF", sandbox.TUF, malice.Endless{}, fetch, "length"},
		{"a bomb", sandbox.TUF, malice.GzipBomb{}, get, "more than 1 MiB"},
		{"a bomb for TUF", sandbox.TUF, malice.GzipBomb{}, fetch, "length"},
		{"a redirect to another Fulcio", sandbox.Fulcio, malice.Redirect{To: other.URL(sandbox.Fulcio)}, sign, badToken},
		{"a redirect to another TUF repository", sandbox.TUF, malice.Redirect{To: other.URL(sandbox.TUF)}, fetch, "Verifying timestamp failed"},
		{"one path only, another", sandbox.TUF, malice.On{Path: "/nothing", Fault: malice.Reset{}}, fetch, ""},
		{"one path only, this", sandbox.TUF, malice.On{Path: "/timestamp.json", Fault: malice.Status{Code: 404}}, fetch, "404"},
	} {
		undo, err := s.Misbehave(row.service, row.fault)
		check(t, err)
		err = row.client()
		text := fmt.Sprint(err)
		if strings.Contains(text, "deadline exceeded") || strings.Contains(text, "Timeout exceeded") {
			text += ": " + timedOut
		}
		if (err == nil) != (row.want == "") || !strings.Contains(text, row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
		check(t, undo())
	}
	check(t, sign())
	check(t, fetch())
}

// TestGzipBomb measures the bomb.
func TestGzipBomb(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	const size = 64 << 20
	undo, err := s.Misbehave(sandbox.TUF, malice.GzipBomb{Size: size})
	check(t, err)
	defer func() { check(t, undo()) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(sandbox.TUF)+"/timestamp.json", nil)
	check(t, err)
	req.Header.Set("Accept-Encoding", "gzip") // keeps the transport from unpacking
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	packed, err := io.ReadAll(resp.Body)
	check(t, err)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	check(t, err)
	n, err := io.Copy(io.Discard, z)
	check(t, err)
	if n < size || len(packed) > size/500 {
		t.Errorf("%d bytes become %d", len(packed), n)
	}
}

// TestKeyFaults signs under keys that have expired or were replaced, and judges
// with the trusted root of the moment.
func TestKeyFaults(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	artifact := []byte("x")
	before := mustSign(t, s, blob(artifact), signing{})
	for _, row := range []struct {
		service sandbox.Service
		fault   malice.Fault
		want    string
	}{
		{sandbox.Fulcio, malice.ExpiredKey{}, "failed to verify leaf certificate"},
		{sandbox.TSA, malice.ExpiredKey{}, "timestamp is after the validity period end"},
		{sandbox.CTLog, malice.ExpiredKey{}, "SCT"},
		{sandbox.Rekor, malice.ExpiredKey{}, "log"},
		{sandbox.Fulcio, malice.RotatedKey{}, "failed to verify leaf certificate"},
		{sandbox.TSA, malice.RotatedKey{}, "No certificate for signer"},
		{sandbox.Rekor, malice.RotatedKey{}, "log"},
	} {
		undo, err := s.Misbehave(row.service, row.fault)
		check(t, err)
		b := mustSign(t, s, blob(artifact), signing{})
		if err = judge(trustedRoot(t, s), b, artifact, jobSAN, jobIssuer); row.service == sandbox.Rekor && row.fault == (malice.ExpiredKey{}) {
			// sigstore-go does not look at the window of a log of Rekor v2.
			err = repopolicy(t, s, b, artifact)
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s, %T: %v, want %q", row.service, row.fault, err, row.want)
		}
		if _, rotated := row.fault.(malice.RotatedKey); rotated { // what was signed before is still good
			check(t, judge(trustedRoot(t, s), before, artifact, jobSAN, jobIssuer))
		}
		check(t, undo())
		check(t, judge(trustedRoot(t, s), mustSign(t, s, blob(artifact), signing{}), artifact, jobSAN, jobIssuer))
	}
	check(t, bootstrap(t, s))
	undo, err := s.Misbehave(sandbox.TUF, malice.ExpiredKey{})
	check(t, err)
	if err := bootstrap(t, s); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired timestamp: %v", err)
	}
	check(t, undo())
	check(t, bootstrap(t, s))
}

// TestLateEntry signs with a certificate that has expired: the log takes the
// entry, no verifier does.
func TestLateEntry(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	undo, err := s.Misbehave(sandbox.Fulcio, malice.Aged{By: time.Hour})
	check(t, err)
	late := mustSign(t, s, blob([]byte("x")), signing{})
	err = judge(trustedRoot(t, s), late, []byte("x"), jobSAN, jobIssuer)
	if err == nil || !strings.Contains(err.Error(), "leaf certificate verification failed") {
		t.Errorf("a late entry: %v", err)
	}
	if _, err := fetcher(t, s).ReadEntryBundle(t.Context(), 0, 1); err != nil {
		t.Errorf("the log has no entry: %v", err)
	}
	check(t, undo())
	// Old, but alive.
	undo, err = s.Misbehave(sandbox.Fulcio, malice.Aged{By: 5 * time.Minute})
	check(t, err)
	check(t, judge(trustedRoot(t, s), mustSign(t, s, blob([]byte("x")), signing{}), []byte("x"), jobSAN, jobIssuer))
	check(t, undo())
}

// TestFork shows two validly signed views of one log, which no proof connects.
func TestFork(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	artifact := []byte("x")
	common := mustSign(t, s, blob(artifact), signing{})
	victim := false // requests of this test come one after the other
	undo, err := s.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return victim }})
	check(t, err)
	v, f := logVerifier(t, s), fetcher(t, s)
	head := func() *logfmt.Checkpoint {
		raw, err := f.ReadCheckpoint(t.Context())
		check(t, err)
		cp, _, _, err := logfmt.ParseCheckpoint(raw, "127.0.0.1", v)
		check(t, err)
		return cp
	}
	honest := mustSign(t, s, blob(artifact), signing{})
	a := head()
	victim = true
	forked := mustSign(t, s, blob(artifact), signing{})
	b := head()
	// Each view verifies by itself.
	check(t, judge(trustedRoot(t, s), honest, artifact, jobSAN, jobIssuer))
	check(t, judge(trustedRoot(t, s), forked, artifact, jobSAN, jobIssuer))
	if a.Size != b.Size || bytes.Equal(a.Hash, b.Hash) {
		t.Errorf("no fork: size %d and %d, %x and %x", a.Size, b.Size, a.Hash, b.Hash)
	}
	mustSign(t, s, blob(artifact), signing{})
	b = head()
	builder, err := client.NewProofBuilder(t.Context(), b.Size, f.ReadTile)
	check(t, err)
	hashes, err := builder.ConsistencyProof(t.Context(), a.Size, b.Size)
	check(t, err)
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, a.Size, b.Size, hashes, a.Hash, b.Hash); err == nil {
		t.Error("the fork is consistent with the honest view")
	}
	// The part before the fork belongs to both.
	cp, _, _, err := logfmt.ParseCheckpoint([]byte(common.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint.Envelope), "127.0.0.1", v)
	check(t, err)
	hashes, err = builder.ConsistencyProof(t.Context(), cp.Size, b.Size)
	check(t, err)
	check(t, proof.VerifyConsistency(rfc6962.DefaultHasher, cp.Size, b.Size, hashes, cp.Hash, b.Hash))
	check(t, undo())
	if got := head(); got.Size != a.Size {
		t.Errorf("after the fork the log has size %d", got.Size)
	}
}

func TestStaleCheckpoint(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	mustSign(t, s, blob([]byte("x")), signing{})
	undo, err := s.Misbehave(sandbox.Rekor, malice.StaleCheckpoint{})
	check(t, err)
	size := func() uint64 {
		raw, err := fetcher(t, s).ReadCheckpoint(t.Context())
		check(t, err)
		cp, _, _, err := logfmt.ParseCheckpoint(raw, "127.0.0.1", logVerifier(t, s))
		check(t, err)
		return cp.Size
	}
	if index := mustSign(t, s, blob([]byte("x")), signing{}).VerificationMaterial.TlogEntries[0].LogIndex; size() != 1 || index != 1 {
		t.Errorf("entry %d, checkpoint of %d entries", index, size())
	}
	check(t, undo())
	if size() != 2 {
		t.Errorf("checkpoint of %d entries", size())
	}
}

// TestImpossibleFaults asks services for faults that they cannot have.
func TestImpossibleFaults(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	for _, row := range []struct {
		service sandbox.Service
		fault   malice.Fault
	}{
		{"nothing", malice.Drop{}},
		{sandbox.RekorV1, malice.Drop{}},
		{sandbox.TSA, malice.Aged{By: time.Hour}},
		{sandbox.Forge, malice.ExpiredKey{}},
		{sandbox.TUF, malice.RotatedKey{}},
		{sandbox.TUF, malice.Withhold{Ref: "refs/heads/main"}},
		{sandbox.TUF, malice.Fork{Victim: func(*http.Request) bool { return true }}},
		{sandbox.Rekor, malice.Fork{}},
		{sandbox.TUF, malice.StaleCheckpoint{}},
		{sandbox.TUF, malice.On{Path: "/", Fault: malice.Aged{}}},
		{sandbox.TUF, malice.Times{N: 1, Fault: malice.Withhold{}}},
	} {
		if _, err := s.Misbehave(row.service, row.fault); err == nil {
			t.Errorf("%s takes %#v", row.service, row.fault)
		}
	}
	check(t, bootstrap(t, s))
}
