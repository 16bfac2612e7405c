// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// monotone removes every optional element from a bundle that is refused, one at
// a time: what is left must be refused, too.
func (c *corpus) monotone(t *tally, tc *testCase, q judging) {
	data, err := os.ReadFile(q.bundle)
	if err != nil {
		return
	}
	dir, err := os.MkdirTemp("", "corpus")
	if err != nil {
		t.check(false, tc.ID, "%s", err)
		return
	}
	defer os.RemoveAll(dir)
	n := 0
	for {
		var doc map[string]any
		if json.Unmarshal(data, &doc) != nil {
			return // no JSON, nothing to remove
		}
		what := remove(doc, n)
		if what == "" {
			return
		}
		less, err := json.Marshal(doc)
		if err != nil {
			t.check(false, tc.ID, "%s", err)
			return
		}
		q.bundle = filepath.Join(dir, fmt.Sprintf("%d.json", n))
		if err := os.WriteFile(q.bundle, less, 0o600); err != nil {
			t.check(false, tc.ID, "%s", err)
			return
		}
		r := q.result()
		t.check(refused(r), tc.ID, "refused, but not without %s: %s", what, describe(r))
		n++
	}
}

// remove deletes the n-th optional element and names it; "" if there are fewer.
func remove(doc map[string]any, n int) string {
	vm, _ := doc["verificationMaterial"].(map[string]any)
	count := 0
	hit := func() bool { count++; return count == n+1 }
	entries, _ := vm["tlogEntries"].([]any)
	for i, e := range entries {
		entry, _ := e.(map[string]any)
		for _, k := range []string{"inclusionPromise", "inclusionProof", "integratedTime"} {
			if _, ok := entry[k]; ok && hit() {
				delete(entry, k)
				return fmt.Sprintf("tlogEntries[%d].%s", i, k)
			}
		}
		if proof, ok := entry["inclusionProof"].(map[string]any); ok {
			if _, ok := proof["checkpoint"]; ok && hit() {
				delete(proof, "checkpoint")
				return fmt.Sprintf("tlogEntries[%d].inclusionProof.checkpoint", i)
			}
		}
		if hit() {
			vm["tlogEntries"] = append(append([]any{}, entries[:i]...), entries[i+1:]...)
			return fmt.Sprintf("tlogEntries[%d]", i)
		}
	}
	tvd, _ := vm["timestampVerificationData"].(map[string]any)
	stamps, _ := tvd["rfc3161Timestamps"].([]any)
	for i := range stamps {
		if hit() {
			tvd["rfc3161Timestamps"] = append(append([]any{}, stamps[:i]...), stamps[i+1:]...)
			return fmt.Sprintf("rfc3161Timestamps[%d]", i)
		}
	}
	if tvd != nil && hit() {
		delete(vm, "timestampVerificationData")
		return "timestampVerificationData"
	}
	chain, _ := vm["x509CertificateChain"].(map[string]any)
	certs, _ := chain["certificates"].([]any)
	for i := 1; i < len(certs); i++ {
		if hit() {
			chain["certificates"] = append(append([]any{}, certs[:i]...), certs[i+1:]...)
			return fmt.Sprintf("certificates[%d]", i)
		}
	}
	if env, ok := doc["dsseEnvelope"].(map[string]any); ok {
		sigs, _ := env["signatures"].([]any)
		for i := range sigs {
			if len(sigs) > 1 && hit() {
				env["signatures"] = append(append([]any{}, sigs[:i]...), sigs[i+1:]...)
				return fmt.Sprintf("signatures[%d]", i)
			}
		}
	}
	return ""
}
