// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// selftest runs the conformance cases of a corpus directory. Cases without a
// bundle or without the artifact's file are listed and do not count.
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
		if c.Conformance == nil {
			continue
		}
		if c.Bundle == nil || c.Artifact == nil || c.Artifact.Path == nil {
			fmt.Printf("nothing to run: %s: no bundle or no file\n", c.ID)
			continue
		}
		path := func(rel string) string { return filepath.Join(dir, filepath.FromSlash(rel)) }
		root, custom := strings.CutPrefix(c.Trust.Root, "custom:")
		if !custom {
			root = m.TrustRoots[c.Trust.Root].Path
		}
		args := []string{"verify-bundle", "--bundle", path(c.Bundle.Path), "--trusted-root", path(root)}
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
		for _, arg := range []string{path(*c.Artifact.Path), fmt.Sprintf("sha256:%x", sha256.Sum256(content))} {
			err := run(append(slices.Clone(args), arg))
			if (err == nil) == (c.Conformance.Expected != "fail") {
				passed++
				continue
			}
			failed++
			fmt.Printf("FAIL %s: verify-bundle %s: want %s, got %v\n", c.ID, arg, c.Conformance.Expected, err)
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		return fmt.Errorf("%d of %d conformance runs failed", failed, passed+failed)
	}
	return nil
}
