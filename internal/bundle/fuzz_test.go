// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// same fails unless what was read is what protojson reads of the text and of what is written
// of it.
func same[T any, M proto.Message](t *testing.T, text []byte, got *T, parse func([]byte) (*T, error),
	write func(*T) []byte, pb M, want func(M) *T,
) {
	t.Helper()
	if err := protojson.Unmarshal(text, pb); err != nil {
		t.Fatalf("protojson refuses %q: %v", text, err)
	}
	if d := cmp.Diff(want(pb), got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("%q, protojson (-) and ours (+):\n%s", text, d)
	}
	written := write(got)
	if err := protojson.Unmarshal(written, pb); err != nil {
		t.Fatalf("protojson refuses what is written, %q: %v", written, err)
	}
	again, err := parse(written)
	if err != nil {
		t.Fatalf("what is written is refused, %q: %v", written, err)
	}
	if d := cmp.Diff(got, again, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("what is written is another:\n%s", d)
	}
	if d := cmp.Diff(want(pb), again, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("protojson reads another of what is written:\n%s", d)
	}
}

// FuzzParse: what is read of a bundle, trusted root, signing config or entry is what protojson
// reads, and so is what is written of it.
func FuzzParse(f *testing.F) {
	for _, doc := range samples {
		f.Add([]byte(doc))
	}
	for _, row := range refused {
		f.Add([]byte(row.doc))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if b, err := Parse(text); err == nil {
			same(t, text, b, Parse, (*Bundle).JSON, &protobundle.Bundle{}, bundleOf)
		}
		if e, err := ParseEntry(text); err == nil {
			same(t, text, e, ParseEntry, (*Entry).JSON, &protorekor.TransparencyLogEntry{}, entryOf)
		}
		if r, err := ParseTrustedRoot(text); err == nil {
			same(t, text, r, ParseTrustedRoot, (*TrustedRoot).JSON, &prototrust.TrustedRoot{}, rootOf)
		}
		if c, err := ParseSigningConfig(text); err == nil {
			same(t, text, c, ParseSigningConfig, (*SigningConfig).JSON, &prototrust.SigningConfig{}, configOf)
		}
	})
}

// FuzzParseEntryWire: what is read of the wire is what the library for protocol buffers reads.
func FuzzParseEntryWire(f *testing.F) {
	for _, row := range wireRefused {
		f.Add(row.wire)
	}
	pb := &protorekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal([]byte(sampleEntry), pb); err != nil {
		f.Fatal(err)
	}
	wire, err := proto.Marshal(pb)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		e, err := ParseEntryWire(wire)
		if err != nil {
			return
		}
		pb := &protorekor.TransparencyLogEntry{}
		if err := proto.Unmarshal(wire, pb); err != nil {
			t.Fatalf("the library refuses %x: %v", wire, err)
		}
		if d := cmp.Diff(entryOf(pb), e, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%x, library (-) and ours (+):\n%s", wire, d)
		}
	})
}
