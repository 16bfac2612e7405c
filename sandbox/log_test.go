// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bytes"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore/pkg/signature"
	logfmt "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// logVerifier returns the note verifier of the stack's present shard, as its
// trusted root gives it.
func logVerifier(t *testing.T, s *sandbox.Stack) note.Verifier {
	t.Helper()
	for _, log := range trustedRoot(t, s).RekorLogs() {
		if log.BaseURL == s.URL(sandbox.Rekor) {
			v, err := signature.LoadVerifier(log.PublicKey, log.SignatureHashFunc)
			check(t, err)
			n, err := rekornote.NewNoteVerifier("127.0.0.1", v)
			check(t, err)
			return n
		}
	}
	t.Fatal("the trusted root does not name the shard")
	return nil
}

func fetcher(t *testing.T, s *sandbox.Stack) *client.HTTPFetcher {
	t.Helper()
	u, err := url.Parse(s.URL(sandbox.Rekor) + "/api/v2/")
	check(t, err)
	f, err := client.NewHTTPFetcher(u, http.DefaultClient)
	check(t, err)
	return f
}

// checkLog proves from the log's tiles that every bundle's checkpoint is a
// prefix of the present log: no kept proof belongs to a fork.
func checkLog(t *testing.T, s *sandbox.Stack, bundles []*bundle.Bundle) {
	t.Helper()
	v, f := logVerifier(t, s), fetcher(t, s)
	raw, err := f.ReadCheckpoint(t.Context())
	check(t, err)
	head, _, _, err := logfmt.ParseCheckpoint(raw, "127.0.0.1", v)
	check(t, err)
	builder, err := client.NewProofBuilder(t.Context(), head.Size, f.ReadTile)
	check(t, err)
	for _, b := range bundles {
		cp, _, _, err := logfmt.ParseCheckpoint([]byte(b.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint.Envelope), "127.0.0.1", v)
		check(t, err)
		hashes, err := builder.ConsistencyProof(t.Context(), cp.Size, head.Size)
		check(t, err)
		check(t, proof.VerifyConsistency(rfc6962.DefaultHasher, cp.Size, head.Size, hashes, cp.Hash, head.Hash))
	}
}

// witnessKeys returns the verifiers of a policy's witnesses.
func witnessKeys(t *testing.T, policy string) []note.Verifier {
	t.Helper()
	var vs []note.Verifier
	for line := range strings.Lines(policy) {
		if f := strings.Fields(line); f[0] == "witness" {
			v, err := fnote.NewVerifierForCosignatureV1(f[2])
			check(t, err)
			vs = append(vs, v)
		}
	}
	return vs
}

// cosigners counts the witnesses whose cosignature is on a checkpoint, and fails
// for a cosignature that is not of now.
func cosigners(t *testing.T, s *sandbox.Stack, checkpoint []byte, witnesses []note.Verifier) int {
	t.Helper()
	_, _, n, err := logfmt.ParseCheckpoint(checkpoint, "127.0.0.1", logVerifier(t, s), witnesses...)
	check(t, err)
	count := 0
	for _, sig := range n.Sigs {
		for _, w := range witnesses {
			if sig.Name == w.Name() && sig.Hash == w.KeyHash() {
				at, err := fnote.CoSigV1Timestamp(sig)
				check(t, err)
				if age := time.Since(at); age > time.Minute || age < -time.Minute {
					t.Errorf("%s cosigned %s ago", sig.Name, age)
				}
				count++
			}
		}
	}
	return count
}

func TestWitnessQuorum(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{Witnesses: 3})
	witnesses := witnessKeys(t, s.WitnessPolicy())
	if len(witnesses) != 3 {
		t.Fatalf("%d witnesses in\n%s", len(witnesses), s.WitnessPolicy())
	}
	checkpoint := func() []byte {
		b := mustSign(t, s, blob([]byte("x")), signing{})
		check(t, judge(trustedRoot(t, s), b, []byte("x"), jobSAN, jobIssuer))
		return []byte(b.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint.Envelope)
	}
	good := checkpoint()
	if n := cosigners(t, s, good, witnesses); n < 2 {
		t.Errorf("%d cosignatures, the quorum is 2:\n%s", n, good)
	}
	stranger := witnessKeys(t, start(t, sandbox.Options{Witnesses: 1}).WitnessPolicy())
	if n := cosigners(t, s, good, stranger); n != 0 {
		t.Error("a stranger cosigned")
	}

	// One witness down: still a quorum. Two: the log publishes without.
	undo, err := s.Misbehave(sandbox.Witness, malice.Status{Code: http.StatusServiceUnavailable})
	check(t, err)
	if n := cosigners(t, s, checkpoint(), witnesses); n != 2 {
		t.Errorf("%d cosignatures with one witness down", n)
	}
	undo2, err := s.Misbehave("witness-2", malice.Reset{})
	check(t, err)
	if n := cosigners(t, s, checkpoint(), witnesses); n >= 2 {
		t.Errorf("%d cosignatures with two witnesses down", n)
	}
	check(t, undo())
	check(t, undo2())
	if n := cosigners(t, s, checkpoint(), witnesses); n < 2 {
		t.Errorf("%d cosignatures after both came back", n)
	}
}

// TestWitnessRefuses posts what a witness must not cosign.
func TestWitnessRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{Witnesses: 1})
	var checkpoints [][]byte
	for range 2 {
		b := mustSign(t, s, blob([]byte("x")), signing{})
		envelope := b.VerificationMaterial.TlogEntries[0].InclusionProof.Checkpoint.Envelope
		text, sigs, _ := strings.Cut(envelope, "\n\n")
		own, _, _ := strings.Cut(sigs, "\n") // without the cosignature
		checkpoints = append(checkpoints, []byte(text+"\n\n"+own+"\n"))
	}
	post := func(body string) (int, string) {
		resp, err := http.Post(s.URL(sandbox.Witness)+"/add-checkpoint", "text/plain", strings.NewReader(body))
		check(t, err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		check(t, err)
		return resp.StatusCode, strings.TrimSpace(string(answer))
	}
	old, latest := string(checkpoints[0]), string(checkpoints[1])
	hash := strings.Repeat("A", 43) + "="
	for _, row := range []struct {
		name, body string
		want       int
	}{
		{"no old size", "\n\n" + latest, http.StatusBadRequest},
		{"signed old size", "old -1\n\n" + latest, http.StatusBadRequest},
		{"short hash", "old 2\nAAAA\n\n" + latest, http.StatusBadRequest},
		{"a rolled back log", "old 2\n\n" + old, http.StatusBadRequest},
		{"an old size that it never cosigned", "old 1\n\n" + latest, http.StatusConflict},
		{"an unsigned checkpoint", "old 2\n\n127.0.0.1\n3\n" + hash + "\n\n", http.StatusForbidden},
		{"a changed checkpoint", "old 2\n\n" + strings.Replace(latest, "127.0.0.1\n2", "127.0.0.1\n3", 1), http.StatusForbidden},
		{"a proof where none is needed", "old 2\n" + hash + "\n\n" + latest, http.StatusUnprocessableEntity},
		{"the present checkpoint again", "old 2\n\n" + latest, http.StatusOK},
	} {
		if got, answer := post(row.body); got != row.want {
			t.Errorf("%s: %d %q, want %d", row.name, got, answer, row.want)
		}
	}
}

// TestCTLog finds the certificate of a bundle in the certificate transparency
// log's tiles.
func TestCTLog(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	cert, err := x509.ParseCertificate(mustSign(t, s, blob([]byte("x")), signing{}).VerificationMaterial.GetCertificate().RawBytes)
	check(t, err)
	get := func(path string) []byte {
		resp, err := http.Get(s.URL(sandbox.CTLog) + path)
		check(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, resp.Status)
		}
		return body
	}
	if cp := get("/checkpoint"); !bytes.HasPrefix(cp, []byte("127.0.0.1\n1\n")) {
		t.Errorf("checkpoint %q", cp)
	}
	if tile := get("/tile/data/000.p/1"); !bytes.Contains(tile, cert.RawSubjectPublicKeyInfo) {
		t.Error("the entry is not the certificate's")
	}
}
