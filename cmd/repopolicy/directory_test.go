// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// directoryFixtures writes the descriptor of a directory, that of another one,
// shard_root.json, a lie of the first and a fork of its output log.
func directoryFixtures(t testing.TB, inst *sigstoretest.Instance, write func(string, []byte)) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	shard := bytes.Repeat([]byte{2}, 32) // not the SHA-256 of its key: a log of Rekor v2
	data := inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs = tr.Tlogs[1:]
		tr.Tlogs[0].LogId.KeyId = shard
	}})
	root, err := sigstore.ParseRoot("shard", data)
	check(err)
	write("shard_root.json", data)
	text := `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`
	payload, err := rekorbind.Encode([]byte(text), "")
	check(err)
	const repo = "https://github.com/acme/widget"
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	bundle := inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com", Log: sigstoretest.LogV2,
		TSA: true,
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf,
			20: "repository_dispatch",
		},
		Mutate: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].LogId.KeyId = shard },
	})
	d := directorytest.New(t, "directory.example")
	bodies := inst.BodiesV2()
	d.Read(root, root.Logs()[0].ID, bodies, inst.CheckpointV2(bodies, inst.Origin()))
	fork := d.Fork()
	honest := d.Records
	d.Records = nil
	d.Build(sigstoretest.Now)
	described := d.Descriptor("https://directory.example")
	write("directory.json", described.Bytes())
	write("another.json", directorytest.New(t, "directory.example").Descriptor("https://directory.example").Bytes())

	a := d.Absence(repo, 2)
	answer, err := a.Encode()
	check(err)
	locator, err := policy.ParseLocator(repo)
	check(err)
	collected, ignored := bindings.Collect(root, nil, []bindings.File{{Name: "bundle", Data: bundle}})
	if len(ignored) > 0 {
		t.Fatal(ignored)
	}
	lookup := &answers.Directory{
		Root: root, Descriptor: described, Staple: answer, Now: func() time.Time { return sigstoretest.Now },
	}
	_, err = lookup.Find(t.Context(), bindings.Query{Repository: locator, Held: collected.Held()})
	var lie *bindings.Lie
	if !errors.As(err, &lie) {
		t.Fatal(err)
	}
	write("lie.json", lie.Bytes())
	write(
		"false.json",
		bytes.Replace(
			lie.Bytes(), []byte(`"repository": "https://github.com/acme/widget"`),
			[]byte(`"repository": "https://github.com/acme/other"`), 1,
		),
	)
	fork.Records = honest
	fork.Build(sigstoretest.Now)
	f := &rekor.Fork{
		Log: described.URL, Seen: []byte(d.Checkpoint(1)), New: []byte(fork.Checkpoint(1)),
		Why: "two output logs of one size",
	}
	write("output-fork.json", f.Bytes())
}
