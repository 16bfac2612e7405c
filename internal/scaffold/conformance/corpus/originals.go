// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// judgeOriginals judges every case by the form in which the project published
// it, and by the documents in which a registry would serve its bundle. The
// verdict must be that of the bundle.
func (c *corpus) judgeOriginals(t *tally) error {
	dir, err := os.MkdirTemp("", "originals")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	parallel(len(c.cases), func(i int) {
		tc := c.cases[i]
		o := &originals{corpus: c, t: t, tc: tc, dir: filepath.Join(dir, fmt.Sprint(i))}
		if err := o.judge(); err != nil {
			t.check(false, tc.ID, "original: %s", err)
		}
	})
	return nil
}

// originals judges the other forms of one case.
type originals struct {
	*corpus
	t   *tally
	tc  *testCase
	dir string // to write to
}

func (o *originals) judge() error {
	if err := os.Mkdir(o.dir, 0o700); err != nil {
		return err
	}
	if o.tc.Bundle != nil {
		if err := o.wrapped(); err != nil {
			return err
		}
	}
	for _, f := range o.tc.Files {
		path := o.path(f.Path)
		var err error
		switch name := filepath.Base(f.Path); {
		case f.Role == "original" && name == "README.txt":
		case f.Role == "original" && strings.HasSuffix(name, ".jsonl"):
			err = o.unlogged(path)
		case f.Role == "original" && name == "oci-signature-manifest.json":
			err = o.image(path)
		case f.Role == "original":
			o.same("as published", path, nil, false)
			o.beside(path)
		case f.Role == "git-object" && name == "commit.raw":
			err = o.commit(path)
		case f.Role == "git-object":
			err = o.gitsign(path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

// same judges evidence of another form and expects the verdict of the manifest.
// Of a promise is said that the form has no proof of inclusion.
func (o *originals) same(what, evidence string, artifact *release.Artifact, promise bool) *release.Result {
	q, signer, err := o.question(o.tc)
	if bad := (*refusal)(nil); errors.As(err, &bad) {
		return nil // nothing could be judged by the bundle either
	} else if err != nil {
		o.t.check(false, o.tc.ID, "%s: %s", what, err)
		return nil
	}
	signer.SetOnly = signer.SetOnly || promise
	if q.policy, err = signer.Trusted(); err != nil {
		return nil
	}
	q.bundle = evidence
	if artifact != nil {
		q.artifact = artifact
	}
	r := q.result()
	o.expect(what, r)
	if permitted(r) {
		o.mustRefuse(o.t, o.tc, q, signer)
	}
	return r
}

func (o *originals) expect(what string, r *release.Result) {
	switch o.tc.Expected.Verdict {
	case "accept":
		o.t.check(permitted(r), o.tc.ID, "%s: want OK, got %s", what, describe(r))
	case "reject":
		o.t.check(refused(r), o.tc.ID, "%s: want a refusal, got %s", what, describe(r))
	default:
		o.t.check(permitted(r) || refused(r), o.tc.ID, "%s: may be either, is %s", what, describe(r))
	}
}

// beside puts the original where it is found without being named, beside the
// artifact's file.
func (o *originals) beside(original string) {
	a := o.artifact(o.tc)
	if a.Path == "" {
		return
	}
	data, err1 := os.ReadFile(a.Path)
	evidence, err2 := os.ReadFile(original)
	if err1 != nil || err2 != nil {
		o.t.check(false, o.tc.ID, "%v %v", err1, err2)
		return
	}
	here := &release.Artifact{
		Arg: a.Arg, Name: a.Name, Subject: a.Subject, Path: filepath.Join(o.dir, path.Base(a.Name)),
		Expected: a.Expected,
	}
	for _, f := range []struct {
		path string
		data []byte
	}{
		{here.Path, data},
		{here.Path + filepath.Ext(strings.TrimSuffix(original, ".attestation")) + ".attestation", evidence},
	} {
		if err := os.WriteFile(f.path, f.data, 0o600); err != nil {
			o.t.check(false, o.tc.ID, "%s", err)
			return
		}
	}
	q, _, err := o.question(o.tc)
	if err != nil {
		o.t.check(false, o.tc.ID, "%s", err)
		return
	}
	q.artifact, q.bundle = here, ""
	o.expect("found beside the artifact", q.result())
}

// wrapped judges the bundle inside each kind of document that holds several.
func (o *originals) wrapped() error {
	data, err := os.ReadFile(o.path(o.tc.Bundle.Path))
	if err != nil {
		return err
	}
	var line bytes.Buffer
	if json.Compact(&line, data) != nil {
		return nil // no JSON, so no document could hold it
	}
	other := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{}}`
	for name, text := range map[string]string{
		"bundles.jsonl": other + "\n" + line.String() + "\n",
		"github.json": fmt.Sprintf(
			`{"attestations":[{"bundle":%s,"repository_id":1},{"bundle":%s,"bundle_url":"https://example.com"}]}`, other,
			line.String(),
		),
		"npm.json": fmt.Sprintf(
			`{"attestations":[{"predicateType":"https://github.com/npm/attestation/tree/main/specs/publish/v0.1",`+
				`"bundle":%s},{"predicateType":"https://slsa.dev/provenance/v1","bundle":%s}]}`,
			other, line.String(),
		),
	} {
		path := filepath.Join(o.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		o.same("in "+name, path, nil, false)
	}
	return nil
}

// unlogged judges a bare envelope: refused for its own reason, whoever is asked
// for.
func (o *originals) unlogged(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var env struct{ Payload []byte }
	if err := json.Unmarshal(data, &env); err != nil {
		return err
	}
	var st struct {
		Subject []struct{ Digest map[string]string }
	}
	if err := json.Unmarshal(env.Payload, &st); err != nil {
		return err
	}
	root, err := o.root(o.tc.Trust.Root)
	if err != nil {
		return err
	}
	a := &release.Artifact{Arg: o.tc.ID, Digests: []policy.Digest{{Alg: "sha256", Hex: st.Subject[0].Digest["sha256"]}}}
	q := judging{root: root, bundle: path, artifact: a}
	// Ask first who claims to have signed, so that nothing else is in the way.
	if q.policy, err = (policy.FlagIdentity{Identity: "x", Issuer: "x"}).Trusted(); err != nil {
		return err
	}
	r := q.result()
	o.t.check(
		refused(r) && r.Evidence != nil && r.Evidence.Signer.Value != "", o.tc.ID, "want the signer's claim, got %s",
		describe(r),
	)
	if r.Evidence == nil {
		return nil
	}
	id := r.Evidence.Signer
	q.policy, err = (policy.FlagIdentity{Identity: id.Value, Issuer: id.Issuer, SetOnly: true, Unlogged: true}).Trusted()
	if err != nil {
		return err
	}
	r = q.result()
	o.t.check(
		refused(r) && r.Decision.Reason == policy.NoLogProof, o.tc.ID, "want %s, got %s", policy.NoLogProof,
		describe(r),
	)
	return nil
}

// image puts the manifest of an image's signature into an OCI layout.
func (o *originals) image(path string) error {
	m, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	payload, err := os.ReadFile(o.path(*o.tc.Artifact.Path))
	if err != nil {
		return err
	}
	var p struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			}
		}
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return err
	}
	digest, err := policy.ParseDigest(p.Critical.Image.Digest)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json": fmt.Appendf(
			nil,
			`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"digest":"sha256:%x","size":%d}]}`,
			sha256.Sum256(m), len(m),
		),
	}
	for _, blob := range [][]byte{m, payload} {
		files[fmt.Sprintf("blobs/sha256/%x", sha256.Sum256(blob))] = blob
	}
	for name, data := range files {
		file := filepath.Join(o.dir, "layout", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	o.same(
		"in an OCI layout", filepath.Join(o.dir, "layout"),
		&release.Artifact{Arg: o.tc.ID, Digests: []policy.Digest{digest}}, true,
	)
	return nil
}

// gitsign judges a commit or tag by the signature in it.
func (o *originals) gitsign(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	t, alg := git.Commit, "gitCommit"
	if bytes.HasPrefix(content, []byte("object ")) {
		t, alg = git.Tag, "gitTag"
	}
	id, err := git.Hash(t, content)
	if err != nil {
		return err
	}
	a := &release.Artifact{Arg: o.tc.ID, Digests: []policy.Digest{{Alg: alg, Hex: string(id)}}}
	r := o.same("as a Git object", path, a, true)
	if r != nil && len(o.tc.TransparencyLog) == 0 {
		o.t.check(r.Decision.Reason == policy.NoLogProof, o.tc.ID, "want %s, got %s", policy.NoLogProof, describe(r))
	}
	// A byte of the message is another object, and no signature of this one.
	changed := bytes.Replace(content, []byte("\n\n"), []byte("\n\nx"), 1)
	other, err := git.Hash(t, changed)
	if err != nil {
		return err
	}
	file := filepath.Join(o.dir, "changed")
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		return err
	}
	for _, digest := range []string{string(id), string(other)} {
		q, _, err := o.question(o.tc)
		if err != nil {
			return err
		}
		q.bundle, q.artifact = file, &release.Artifact{Arg: o.tc.ID, Digests: []policy.Digest{{Alg: alg, Hex: digest}}}
		r := q.result()
		o.t.check(refused(r), o.tc.ID, "a changed Git object must be refused: %s", describe(r))
	}
	return nil
}

// commit makes a repository with the commit and, as its note, the attestation,
// and judges the commit in it.
func (o *originals) commit(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	bundle, err := os.ReadFile(o.path(o.tc.Bundle.Path))
	if err != nil {
		return err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, bundle); err != nil {
		return err
	}
	repo := filepath.Join(o.dir, "repo")
	write := func(t git.Type, content []byte) (git.ID, error) {
		id, err := git.Hash(t, content)
		if err != nil {
			return "", err
		}
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		fmt.Fprintf(w, "%s %d\x00%s", t, len(content), content)
		w.Close()
		file := filepath.Join(repo, "objects", string(id[:2]), string(id[2:]))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", err
		}
		return id, os.WriteFile(file, b.Bytes(), 0o600)
	}
	id, err := write(git.Commit, content)
	if err != nil {
		return err
	}
	note, err := write(git.Blob, append(line.Bytes(), '\n'))
	if err != nil {
		return err
	}
	raw := make([]byte, 20)
	if _, err := fmt.Sscanf(string(note), "%x", &raw); err != nil {
		return err
	}
	tree, err := write(git.Tree, append([]byte("100644 "+string(id)+"\x00"), raw...))
	if err != nil {
		return err
	}
	who := "A U Thor <author@example.com> 1700000000 +0000"
	notes, err := write(git.Commit, fmt.Appendf(nil, "tree %s\nauthor %s\ncommitter %s\n\nnotes\n", tree, who, who))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"HEAD": "ref: refs/heads/main\n", "refs/heads/main": string(id) + "\n", "refs/notes/commits": string(notes) + "\n",
	} {
		file := filepath.Join(repo, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if out, err := exec.Command("git", "-C", repo, "notes", "show", string(id)).Output(); err == nil {
		o.t.check(bytes.Equal(bytes.TrimSpace(out), bytes.TrimSpace(line.Bytes())), o.tc.ID, "git reads another note")
	}
	artifacts := release.Expand(context.Background(), []string{"gitCommit:" + string(id)}, release.Options{Repo: repo})
	if len(artifacts) != 1 {
		return fmt.Errorf("%d artifacts", len(artifacts))
	}
	o.same("as a note of the commit", "", artifacts[0].Artifact, false)
	return nil
}
