// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// flood logs a statement n times in Rekor v1, each time signed by a stranger's key: what is free
// for anybody who knows a policy.
func flood(t *testing.T, payload []byte, n int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	check(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	const kind = "application/vnd.in-toto+json"
	pae := sha256.Sum256(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload))
	var g errgroup.Group
	g.SetLimit(8)
	for range n {
		g.Go(func() error {
			sig, err := ecdsa.SignASN1(rand.Reader, key, pae[:])
			if err != nil {
				return err
			}
			envelope, err := json.Marshal(map[string]any{"payloadType": kind, "payload": payload, "signatures": []map[string]any{{"sig": sig}}})
			if err != nil {
				return err
			}
			body, err := json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{"proposedContent": map[string]any{
				"envelope": string(envelope), "verifiers": []string{base64.StdEncoding.EncodeToString(public)},
			}}})
			if err != nil {
				return err
			}
			for tries := 5; ; tries-- { // a log under load asks to be asked again
				resp, err := http.Post(stack.URL(sandbox.RekorV1)+"/api/v1/log/entries", "application/json", bytes.NewReader(body))
				if err != nil {
					return err
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				switch {
				case err != nil:
					return err
				case resp.StatusCode == http.StatusCreated, resp.StatusCode == http.StatusConflict: // logged by the try before
					return nil
				case resp.StatusCode < 500 || tries == 0:
					return fmt.Errorf("%s: %s", resp.Status, text)
				}
			}
		})
	}
	check(t, g.Wait())
}

// TestIndexFlooded: a stranger who logs a repository's policy again and again, for nothing,
// delays machines that ask the index, and stops none: what was looked at is remembered.
func TestIndexFlooded(t *testing.T) {
	const name = "acme/flooded"
	url := "https://github.com/" + name
	_, good := bound(t, name)
	dir := newOperator(t)
	dir.build()
	payload := encode(t, policyText(name, 1, 1, "alice"), "")
	flood(t, payload, 600)
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, good)
	fresh := newComputer(t)
	if got := fresh.asks(dir.descriptor.URL, func() {
		fresh.must(policy.ClassOK, "verify", "-R", url, "--directory", dir.descriptorFile, good)
	}); got["rekor-v1"] > 1 { // a proof of its trees, and no index
		t.Errorf("asked %v", got)
	}
	if os.Getenv("REPOPOLICY_LONG") == "" {
		return
	}
	flood(t, payload, 1500) // more than one run looks at
	c := newComputer(t)
	if out := c.must(policy.ClassUnavailable, "verify", "-R", url, good); !strings.Contains(out, "index-flooded") || !strings.Contains(out, "--directory") {
		t.Error(out)
	}
	c.must(policy.ClassOK, "verify", "-R", url, good) // which goes on from there
}
