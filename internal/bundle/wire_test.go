// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func wireField(num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

func wireNumber(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

var wireRefused = []struct {
	name, err string
	wire      []byte
}{
	{"half a tag", "not in the wire format", []byte{0x80}},
	{"no value", "not in the wire format", []byte{0x08}},
	{"half a value", "not in the wire format", []byte{0x08, 0x80}},
	{"a value of eleven bytes", "not in the wire format", append([]byte{0x08}, bytes.Repeat([]byte{0x80}, 11)...)},
	{"bytes cut off", "not in the wire format", []byte{0x3a, 2, 1}},
	{"bytes of a length too large", "not in the wire format", append([]byte{0x3a}, bytes.Repeat([]byte{0xff}, 9)...)},
	{"field 0", "unknown field 0", []byte{0x00, 0}},
	{"an unknown field", "unknown field 8", wireNumber(8, 1)},
	{"a group", "logIndex: not a number", []byte{0x0b, 0x0c}},
	{"an end of none", "logIndex: not a number", []byte{0x0c, 0}},
	{"a fixed number", "logIndex: not a number", []byte{0x0d, 1, 2, 3, 4}},
	{"a number as bytes", "logIndex: not a number", wireField(1, nil)},
	{"bytes as a number", "canonicalizedBody: not bytes", wireNumber(7, 1)},
	{"a message as a number", "inclusionProof: not in the wire format", wireNumber(6, 1)},
	{"a message of one field as a number", "logId: not in the wire format", wireNumber(2, 1)},
	{"text as a number", "kindVersion.kind: not text", wireField(3, wireNumber(1, 1))},
	{"text that is not UTF-8", "kindVersion.kind: not text", wireField(3, wireField(1, []byte{0xff}))},
	{"a negative number", "logIndex: not a number", wireNumber(1, 1<<63)},
	{"a number twice", "logIndex stands twice", append(wireNumber(1, 1), wireNumber(1, 1)...)},
	{"a message twice", "inclusionProof stands twice", append(wireField(6, nil), wireField(6, nil)...)},
	{"an unknown field further in", "inclusionProof: unknown field 6", wireField(6, wireNumber(6, 1))},
	{"a hash as a number", "inclusionProof.hashes: not bytes", wireField(6, wireNumber(4, 1))},
}

// TestParseEntryWire: what was written to the wire is read, and what is malformed is refused.
func TestParseEntryWire(t *testing.T) {
	pb := &protorekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal([]byte(sampleEntry), pb); err != nil {
		t.Fatal(err)
	}
	wire, err := proto.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEntryWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sampleEntry, string(e.JSON())); d != "" {
		t.Error(d)
	}
	for _, row := range wireRefused {
		var e *Error
		_, err := ParseEntryWire(row.wire)
		if !errors.As(err, &e) || e.TooLarge || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	for n, want := range map[int]bool{MaxProofHashes: false, MaxProofHashes + 1: true} {
		_, err := ParseEntryWire(wireField(6, bytes.Repeat(wireField(4, []byte{1}), n)))
		if e := (*Error)(nil); errors.As(err, &e) != want || want && !e.TooLarge {
			t.Errorf("%d hashes: %v", n, err)
		}
	}
	for n, want := range map[int]bool{MaxBytes: false, MaxBytes + 1: true} {
		_, err := ParseEntryWire(wireField(7, make([]byte, n-5)))
		if e := (*Error)(nil); errors.As(err, &e) != want || want && !e.TooLarge {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	body := wireField(7, []byte("["+repeat("1", MaxValues)+"]"))
	if _, err := ParseEntryWire(body); err == nil || !strings.Contains(err.Error(), "values") {
		t.Errorf("a body of many values: %v", err)
	}
}
