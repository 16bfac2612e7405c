// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// corpus is a directory of cases: manifest.json, policies.json and the files
// that they name.
type corpus struct {
	dir   string
	cases []*testCase
	byID  map[string]*testCase
	roots map[string]*sigstore.Root
	named map[string]string // name of a trusted root -> path
}

// testCase is a case of manifest.json, as far as it is judged.
type testCase struct {
	ID        string
	Ecosystem string
	Series    string
	Bundle    *struct {
		Path      string
		MediaType string
		Content   string
	}
	Artifact *struct {
		Path   *string
		Name   string
		Digest *struct{ Alg, Hex string }
	}
	Statement *struct {
		Subjects []subjectOf
	}
	Certificate *struct {
		SAN               string
		SANType           string
		OIDCIssuer        *string
		FulcioExtensions  map[string]struct{ Value string }
		NotBefore         string
		SubjectIdentifier string
	}
	Trust struct {
		Root        string
		Key         *string
		KeyValidFor *struct{ Start, End *time.Time }
	}
	Verify struct{ SCT, Tlog, ObserverTimestamps, SignedTimestamps int }
	// Identity is what an exact verifier must demand.
	Identity *struct {
		SAN    string
		Issuer *string
	}
	Files           []struct{ Path, Role string }
	Expected        struct{ Verdict, Reason string }
	Conformance     *struct{ Test, Expected string }
	TransparencyLog []struct{ LogType string }
}

// subjectOf is a subject of a case's statement.
type subjectOf struct{ Name string }

func load(dir string) (*corpus, error) {
	var m struct {
		SchemaVersion int
		TrustRoots    map[string]struct{ Path string }
		Cases         []*testCase
	}
	if err := readJSON(filepath.Join(dir, "manifest.json"), &m); err != nil {
		return nil, err
	}
	if m.SchemaVersion != 1 {
		return nil, fmt.Errorf("manifest.json has schema version %d, 1 is known", m.SchemaVersion)
	}
	c := &corpus{
		dir: dir, cases: m.Cases, byID: map[string]*testCase{}, roots: map[string]*sigstore.Root{},
		named: map[string]string{},
	}
	for name, r := range m.TrustRoots {
		c.named[name] = r.Path
	}
	for _, t := range m.Cases {
		c.byID[t.ID] = t
	}
	return c, nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (c *corpus) path(rel string) string { return filepath.Join(c.dir, filepath.FromSlash(rel)) }

// root returns the trusted root of a case; the error is a *[refusal] if it cannot
// be parsed.
func (c *corpus) root(name string) (*sigstore.Root, error) {
	if r := c.roots[name]; r != nil {
		return r, nil
	}
	rel, custom := strings.CutPrefix(name, "custom:")
	if !custom {
		var ok bool
		if rel, ok = c.named[name]; !ok {
			return nil, fmt.Errorf("trusted root %q is not in the manifest", name)
		}
	}
	data, err := os.ReadFile(c.path(rel))
	if err != nil {
		return nil, err
	}
	r, err := sigstore.ParseRoot(name, data)
	if err != nil {
		return nil, &refusal{fmt.Errorf("trusted root: %w", err)}
	}
	c.roots[name] = r
	return r, nil
}

// key returns the public key of a case, nil if it is signed with a certificate.
func (c *corpus) key(t *testCase) (*sigstore.Key, error) {
	if t.Trust.Key == nil {
		return nil, nil
	}
	pem, err := os.ReadFile(c.path(*t.Trust.Key))
	if err != nil {
		return nil, err
	}
	var start, end time.Time
	if v := t.Trust.KeyValidFor; v != nil {
		if v.Start != nil {
			start = *v.Start
		}
		if v.End != nil {
			end = *v.End
		}
	}
	k, err := sigstore.ParseKey(pem, start, end)
	if err != nil {
		return nil, &refusal{fmt.Errorf("key: %w", err)}
	}
	return k, nil
}

// digest returns the artifact's digest that the manifest records.
func (t *testCase) digest() (policy.Digest, bool) {
	if t.Artifact == nil || t.Artifact.Digest == nil || t.Artifact.Digest.Hex == "" {
		return policy.Digest{}, false
	}
	alg := t.Artifact.Digest.Alg
	if l := strings.ToLower(alg); strings.HasPrefix(l, "sha") {
		alg = l
	}
	return policy.Digest{Alg: alg, Hex: t.Artifact.Digest.Hex}, true
}

// identity returns the identity that the manifest reads from the certificate.
// It serves where a case has no bundle from which ours could read it.
func (t *testCase) identity() (policy.Identity, bool) {
	cert := t.Certificate
	if cert == nil {
		return policy.Identity{}, false
	}
	ext := func(n int) string { return cert.FulcioExtensions[fmt.Sprintf("1.3.6.1.4.1.57264.1.%d", n)].Value }
	id := policy.Identity{
		Kind: policy.Kind(cert.SANType), Value: cert.SAN, Issuer: ext(8),
		WorkflowTrigger: ext(
			2,
		), WorkflowSHA: ext(3), WorkflowName: ext(4), WorkflowRepository: ext(5), WorkflowRef: ext(6),
		BuildSignerURI: ext(9), BuildSignerDigest: ext(10), RunnerEnvironment: ext(11),
		SourceRepositoryURI: ext(
			12,
		), SourceRepositoryDigest: ext(13), SourceRepositoryRef: ext(14), SourceRepositoryID: ext(15),
		SourceRepositoryOwner: ext(
			16,
		), SourceRepositoryOwnerID: ext(17), BuildConfigURI: ext(18), BuildConfigDigest: ext(19),
		BuildTrigger: ext(
			20,
		), RunInvocationURI: ext(21), Visibility: ext(22), DeploymentEnvironment: ext(23), TokenSubject: ext(24),
	}
	if id.Issuer == "" {
		id.Issuer = ext(1)
	}
	if strings.EqualFold(cert.SANType, "otherName") {
		id.Kind = policy.KindUsername
	}
	return id, true
}
