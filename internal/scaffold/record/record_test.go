// SPDX-License-Identifier: Apache-2.0

// Package record makes the files on which the examples of the root package run, and forks
// the world around its client.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

var update = flag.Bool("update", false, "record the files for the examples anew")

const (
	recorded   = "../../../schema/testdata/client"
	repository = "https://github.com/acme/widget"
	text       = `format     = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version    = 1
expires    = 2027-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name        = "binaries"
tags        = ["v*"]
artifacts   = ["widget_*.tar.gz", "SHA256SUMS"]
workflow    = ".github/workflows/release.yml"
environment = "release"
`
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a small one: a repository with a bound policy and a release, and a directory that
// knows them.
type world struct {
	root       []byte
	directory  *directorytest.Directory
	instance   *sigstoretest.Instance
	descriptor []byte
	bound      []bindings.File // of version 1
	staple     []byte
	stapleName string
	release    map[string][]byte // files of v1.2.3
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{}
	inst := sigstoretest.New(t)
	w.instance = inst
	shard := bytes.Repeat([]byte{2}, 32) // not the SHA-256 of its key: a log of Rekor v2
	w.root = inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs = tr.Tlogs[1:]
		tr.Tlogs[0].LogId.KeyId = shard
	}})
	root, err := sigstore.ParseRoot("recorded", w.root)
	check(t, err)
	sign := func(r sigstoretest.Request) []byte {
		r.Log, r.TSA = sigstoretest.LogV2, true
		r.Mutate = func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].LogId.KeyId = shard }
		return inst.Sign(r)
	}
	payload, err := rekorbind.Encode([]byte(text), "")
	check(t, err)
	maintainer := sign(
		sigstoretest.Request{Statement: payload, SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
	)
	wf := repository + "/.github/workflows/repopolicy.yml@refs/heads/main"
	binding := sign(sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com",
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: repository, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf,
			20: "repository_dispatch",
		},
	})
	for who, bundle := range map[string][]byte{"alice": maintainer, "repository": binding} {
		w.bound = append(w.bound, bindings.File{Name: bindings.SignatureName(1, []byte(who), false), Data: bundle})
	}
	w.release = map[string][]byte{}
	sums := ""
	for _, name := range []string{"widget_1.2.3_amd64.tar.gz", "widget_1.2.3_arm64.tar.gz"} {
		w.release[name] = []byte("the content of " + name + "\n")
		sum := sha256.Sum256(w.release[name])
		sums += fmt.Sprintf("%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	w.release["SHA256SUMS"] = []byte(sums)
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = w.release["SHA256SUMS"]
	w.release["SHA256SUMS.sigstore.json"] = sign(r)

	w.directory = directorytest.New(t, "directory.example.com")
	bodies := inst.BodiesV2()
	w.directory.Read(root, root.Logs()[0].ID, bodies, inst.CheckpointV2(bodies, inst.Origin()))
	w.directory.Build(sigstoretest.Now)
	w.descriptor = w.directory.Descriptor("https://directory.example.com").Bytes()
	w.staple, w.stapleName = w.directory.Honest(repository), bindings.StapleName(root, nil)
	return w
}

// carried is the air-gap file of the policy.
func (w *world) carried(t testing.TB) []byte {
	t.Helper()
	repo, err := policy.ParseLocator(repository)
	check(t, err)
	b := airgap.New()
	b.Repository, b.Default, b.Made, b.Answer = repo, "refs/heads/main", sigstoretest.Now, w.staple
	for _, f := range w.bound {
		b.Files[f.Name] = f.Data
	}
	data, err := b.Encode()
	check(t, err)
	return data
}

// TestRecord records what the examples of the root package run on; they fail on what is
// there if it does not verify any more.
func TestRecord(t *testing.T) {
	w := newWorld(t)
	files := map[string][]byte{
		"trusted_root.json": w.root, "directory.json": w.descriptor, "policy.toml": []byte(text),
		"widget.airgap": w.carried(t),
	}
	for name, data := range w.release {
		files[name] = data
	}
	for name, data := range files {
		path := filepath.Join(recorded, name)
		if *update {
			check(t, os.MkdirAll(recorded, 0o755))
			check(t, os.WriteFile(path, data, 0o644))
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
