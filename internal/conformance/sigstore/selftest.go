// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// selftest runs the conformance cases of a corpus directory.
func selftest(dir string) error {
	var m struct {
		TrustRoots map[string]struct{ Path string }
		Cases      []struct {
			ID       string
			Bundle   *struct{ Path string }
			Artifact *struct{ Path *string }
			Trust    struct {
				Root string
				Key  *string
			}
			Identity    *struct{ SAN, Issuer string }
			Conformance *struct{ Expected string }
			Files       []struct{ Path, Role string }
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	passed, failed := 0, 0
	for _, c := range m.Cases {
		if c.Conformance == nil || c.Artifact == nil || c.Artifact.Path == nil {
			continue
		}
		path := func(rel string) string { return filepath.Join(dir, filepath.FromSlash(rel)) }
		bundle := path("cases/" + c.ID + "/bundle.sigstore.json")
		root, custom := strings.CutPrefix(c.Trust.Root, "custom:")
		if !custom {
			root = m.TrustRoots[c.Trust.Root].Path
		}
		args := []string{"verify-bundle", "--bundle", bundle, "--trusted-root", path(root)}
		switch {
		case c.Trust.Key != nil:
			args = append(args, "--key", path(*c.Trust.Key))
		case c.Identity != nil:
			args = append(args, "--certificate-identity", c.Identity.SAN, "--certificate-oidc-issuer", c.Identity.Issuer)
		}
		content, err := os.ReadFile(path(*c.Artifact.Path))
		if err != nil {
			return err
		}
		for how, arg := range map[string]string{"file": path(*c.Artifact.Path), "digest": fmt.Sprintf("sha256:%x", sha256.Sum256(content))} {
			err := run(append(args, arg))
			if (err == nil) == (c.Conformance.Expected != "fail") {
				passed++
				continue
			}
			failed++
			fmt.Printf("FAIL %s by %s: want %s, got %v\n", c.ID, how, c.Conformance.Expected, err)
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		return fmt.Errorf("%d of %d conformance runs failed", failed, passed+failed)
	}
	return nil
}
