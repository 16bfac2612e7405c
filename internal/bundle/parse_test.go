// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// refused are documents that no reader takes, with the error of the reader of bundles or, if
// they begin with another key, of entries, trusted roots or signing configs. Strict says that
// protojson takes them.
var refused = []struct {
	name, doc, err string
	strict         bool
}{
	{name: "nothing", doc: ``, err: "1:1: the document ends too early"},
	{name: "white space", doc: " \n ", err: "2:2: the document ends too early"},
	{name: "not an object", doc: `[]`, err: `1:1: expected "{"`},
	{name: "null", doc: `null`, err: `1:1: expected "{"`},
	{name: "cut off", doc: `{"mediaType":`, err: "1:14: mediaType: the document ends too early"},
	{name: "cut off in text", doc: `{"mediaType":"a`, err: "the document ends too early"},
	{name: "not closed", doc: `{"mediaType":"a"`, err: "1:17: the document ends too early"},
	{name: "trailing comma", doc: `{"mediaType":"a",}`, err: "1:18: "},
	{name: "no comma", doc: `{"mediaType":"a" "dsseEnvelope":{}}`, err: "1:18: "},
	{name: "wrong bracket", doc: `{"mediaType":"a"]`, err: "1:17: "},
	{name: "something follows", doc: "{}\n{}", err: "2:1: something follows"},
	{name: "a bracket follows", doc: "{}]", err: "1:3: something follows"},
	{name: "a comma follows", doc: "{},", err: "1:3: something follows"},
	{name: "a byte order mark", doc: "\ufeff{}", err: "1:1: "},
	{name: "a comment", doc: "{/**/}", err: "1:2: "},
	{name: "not UTF-8", doc: "{\"mediaType\":\"\xff\"}", err: "not UTF-8"},
	{name: "half a character", doc: `{"mediaType":"\ud800"}`, err: "1:14: mediaType: invalid surrogate pair"},
	{name: "half a character before another", doc: `{"mediaType":"\ud800\u0041"}`, err: "invalid surrogate pair"},
	{name: "a control character", doc: "{\"mediaType\":\"\x01\"}", err: "1:14: "},
	{name: "unknown field", doc: "{\n \"mediatype\":\"a\"}", err: `2:2: unknown field "mediatype"`},
	{
		name: "unknown field further in", doc: `{"verificationMaterial":{"a":1}}`,
		err: `verificationMaterial: unknown field "a"`,
	},
	{name: "an extension", doc: `{"[a.b]":1}`, err: `unknown field "[a.b]"`},
	{name: "type of Any", doc: `{"@type":"a"}`, err: `unknown field "@type"`},
	{
		name: "a name that is snake case of none", doc: `{"dsseEnvelope":{"payload_type":"a"}}`,
		err: `unknown field "payload_type"`,
	},
	{
		name: "a name that is half snake case", doc: `{"verificationMaterial":{"x509_certificateChain":{}}}`,
		err: "unknown field",
	},
	{name: "twice", doc: `{"mediaType":"a","mediaType":"a"}`, err: "1:18: the field mediaType stands twice"},
	{
		name: "twice by two names", doc: `{"mediaType":"a","media_type":"a"}`,
		err: "1:18: the field mediaType stands twice",
	},
	{
		name: "twice by an escape", doc: `{"mediaType":"a","\u006dediaType":"a"}`,
		err: "1:18: the field mediaType stands twice",
	},
	{
		name: "twice, once null", doc: `{"mediaType":null,"mediaType":"a"}`,
		err: "1:19: the field mediaType stands twice",
	},
	{
		name: "two contents", doc: `{"dsseEnvelope":{},"messageSignature":{}}`,
		err: "messageSignature stands beside another",
	},
	{
		name: "two keys", doc: `{"verificationMaterial":{"publicKey":{},"certificate":{}}}`,
		err: "certificate stands beside another",
	},
	{name: "a number as text", doc: `{"mediaType":1}`, err: "1:14: mediaType: not text"},
	{name: "an object as text", doc: `{"mediaType":{}}`, err: "mediaType: not text"},
	{name: "a list as an object", doc: `{"dsseEnvelope":[]}`, err: `1:17: dsseEnvelope: expected "{"`},
	{name: "text as an object", doc: `{"dsseEnvelope":"a"}`, err: `dsseEnvelope: expected "{"`},
	{
		name: "an object as a list", doc: `{"verificationMaterial":{"tlogEntries":{}}}`,
		err: `1:40: verificationMaterial.tlogEntries: expected "["`,
	},
	{
		name: "null in a list", doc: `{"verificationMaterial":{"tlogEntries":[null]}}`,
		err: `verificationMaterial.tlogEntries[0]: expected "{"`,
	},
	{
		name: "null in a list of bytes", doc: `{"inclusionProof":{"hashes":[null]}}`,
		err: "inclusionProof.hashes[0]: not text",
	},
	{name: "almost null", doc: `{"mediaType":nul}`, err: "1:14: "},
	{name: "almost null in an object", doc: `{"dsseEnvelope":nullx}`, err: ""},
	{name: "bytes as a number", doc: `{"dsseEnvelope":{"payload":1}}`, err: "dsseEnvelope.payload: not text"},
	{name: "bytes as a list", doc: `{"dsseEnvelope":{"payload":[1]}}`, err: "dsseEnvelope.payload: not text"},
	{name: "no base64", doc: `{"dsseEnvelope":{"payload":"*"}}`, err: "dsseEnvelope.payload: not base64"},
	{name: "base64 of both alphabets", doc: `{"dsseEnvelope":{"payload":"+-+-"}}`, err: "not base64"},
	{name: "too much padding", doc: `{"dsseEnvelope":{"payload":"QQ==="}}`, err: "not base64"},
	{name: "too little padding", doc: `{"dsseEnvelope":{"payload":"QQ="}}`, err: "not base64"},
	{name: "base64 after padding", doc: `{"dsseEnvelope":{"payload":"QQ==QQ=="}}`, err: "not base64"},
	{name: "a line break in base64", doc: `{"dsseEnvelope":{"payload":"QUJD\n"}}`, err: "not base64", strict: true},
	{
		name: "a line break within", doc: `{"dsseEnvelope":{"payload":"QU\r\n\n\nJD"}}`,
		err: "not base64", strict: true,
	},
	{name: "spare bits in base64", doc: `{"dsseEnvelope":{"payload":"QR=="}}`, err: "not base64", strict: true},
	{name: "spare bits without padding", doc: `{"dsseEnvelope":{"payload":"QR"}}`, err: "not base64", strict: true},
	{name: "a number of another type", doc: `{"logIndex":true}`, err: "1:13: logIndex: not a number"},
	{name: "a number that is none", doc: `{"logIndex":"seven"}`, err: "logIndex: not a decimal number"},
	{name: "a number with a space", doc: `{"logIndex":"7 "}`, err: "logIndex: not a decimal number"},
	{name: "an empty number", doc: `{"logIndex":""}`, err: "logIndex: not a decimal number"},
	{name: "a leading zero", doc: `{"logIndex":"07"}`, err: "logIndex: not a decimal number"},
	{name: "a leading zero in a number", doc: `{"logIndex":07}`, err: ""},
	{name: "half a number", doc: `{"logIndex":7.5}`, err: "logIndex: not a decimal number"},
	{name: "a number too large", doc: `{"logIndex":"9223372036854775808"}`, err: "logIndex: not a decimal number"},
	{name: "a negative number", doc: `{"logIndex":-1}`, err: "logIndex: not a decimal number", strict: true},
	{name: "a negative zero", doc: `{"logIndex":"-0"}`, err: "logIndex: not a decimal number", strict: true},
	{name: "a fraction of zero", doc: `{"logIndex":7.0}`, err: "logIndex: not a decimal number", strict: true},
	{name: "an exponent", doc: `{"logIndex":"7e3"}`, err: "logIndex: not a decimal number", strict: true},
	{
		name: "an unknown algorithm", doc: `{"messageSignature":{"messageDigest":{"algorithm":"MD5"}}}`,
		err: `unknown value "MD5"`,
	},
	{
		name: "a number of an algorithm as text", doc: `{"messageSignature":{"messageDigest":{"algorithm":"1"}}}`,
		err: `unknown value "1"`,
	},
	{
		name: "an algorithm of another type", doc: `{"messageSignature":{"messageDigest":{"algorithm":true}}}`,
		err: "neither a name nor a number",
	},
	{
		name: "an algorithm too large", doc: `{"messageSignature":{"messageDigest":{"algorithm":2147483648}}}`,
		err: "not a decimal number from 0 to 2147483647",
	},
	{
		name: "an algorithm below zero", doc: `{"messageSignature":{"messageDigest":{"algorithm":-1}}}`,
		err: "not a decimal number", strict: true,
	},
	{
		name: "a time as a number", doc: `{"tlogs":[{"publicKey":{"validFor":{"start":1}}}]}`,
		err: "tlogs[0].publicKey.validFor.start: not text",
	},
	{
		name: "a time without zone", doc: `{"tlogs":[{"publicKey":{"validFor":{"start":"2021-01-12T11:53:27"}}}]}`,
		err: "not a time",
	},
	{
		name: "a time with a space", doc: `{"tlogs":[{"publicKey":{"validFor":{"start":"2021-01-12 11:53:27Z"}}}]}`,
		err: "not a time",
	},
	{
		name: "a time on no day", doc: `{"tlogs":[{"publicKey":{"validFor":{"start":"2021-02-30T11:53:27Z"}}}]}`,
		err: "not a time",
	},
	{
		name: "a time with ten digits",
		doc:  `{"tlogs":[{"publicKey":{"validFor":{"start":"2021-01-12T11:53:27.1234567890Z"}}}]}`,
		err:  "not a time",
	},
	{
		name: "a time in the year 0", doc: `{"tlogs":[{"publicKey":{"validFor":{"start":"0001-01-01T00:00:00+00:01"}}}]}`,
		err: "outside of the years",
	},
	{
		name: "a time in the year 10000", doc: `{"tlogs":[{"publicKey":{"validFor":{"end":"9999-12-31T23:59:59-00:01"}}}]}`,
		err: "outside of the years",
	},
	{
		name: "a time that means none", doc: `{"tlogs":[{"publicKey":{"validFor":{"end":"0001-01-01T00:00:00Z"}}}]}`,
		err: "tlogs[0].publicKey.validFor.end: a time outside of the years", strict: true,
	},
	{
		name: "a time with a comma", doc: `{"tlogs":[{"publicKey":{"validFor":{"end":"2021-01-12T11:53:27,5Z"}}}]}`,
		err: "not a time", strict: true,
	},
	{
		name: "a time with a short hour", doc: `{"tlogs":[{"publicKey":{"validFor":{"end":"2021-01-12T1:53:27Z"}}}]}`,
		err: "not a time", strict: true,
	},
	{
		name: "a service of a version too large", doc: `{"caUrls":[{"majorApiVersion":4294967296}]}`,
		err: "caUrls[0].majorApiVersion: more than",
	},
	{
		name: "a service of a version below 0", doc: `{"caUrls":[{"majorApiVersion":-1}]}`,
		err: "caUrls[0].majorApiVersion: not a decimal",
	},
	{
		name: "a selector that is unknown", doc: `{"tsaConfig":{"selector":"SOME"}}`,
		err: `tsaConfig.selector: unknown value "SOME"`,
	},
}

// TestRefused: no reader takes what is malformed, and the reader that the document is for says
// where and why.
func TestRefused(t *testing.T) {
	for _, row := range refused {
		t.Run(row.name, func(t *testing.T) {
			var errs [4]error
			_, errs[0] = Parse([]byte(row.doc))
			_, errs[1] = ParseEntry([]byte(row.doc))
			_, errs[2] = ParseTrustedRoot([]byte(row.doc))
			_, errs[3] = ParseSigningConfig([]byte(row.doc))
			pbs := []proto.Message{
				&protobundle.Bundle{}, &protorekor.TransparencyLogEntry{}, &prototrust.TrustedRoot{}, &prototrust.SigningConfig{},
			}
			said, strict := "", false
			for i, err := range errs {
				var e *Error
				if !errors.As(err, &e) || e.TooLarge {
					t.Fatalf("reader %d: %v", i, err)
				}
				if strings.Contains(err.Error(), row.err) {
					said = err.Error()
				}
				strict = strict || protojson.Unmarshal([]byte(row.doc), pbs[i]) == nil
			}
			if said == "" {
				t.Errorf("the errors are %q, none contains %q", errs, row.err)
			}
			if strict != row.strict {
				t.Errorf("protojson takes it: %v", strict)
			}
		})
	}
}

// TestAccepted: spellings of one value, and what stands for none.
func TestAccepted(t *testing.T) {
	for doc, want := range map[string]string{
		`{"media_type":"a","verification_material":{"tlog_entries":[{"log_index":7}]}}`: `{"mediaType":"a",` +
			`"verificationMaterial":{"tlogEntries":[{"logIndex":"7"}]}}`,
		`{"mediaType":null,"verificationMaterial":null,"dsseEnvelope": null ,"messageSignature":{}}`: `` +
			`{"messageSignature":{}}`,
		`{"verificationMaterial":{"publicKey":null,"tlogEntries":null,"certificate":{}}}`: `{"verificationMaterial":` +
			`{"certificate":{}}}`,
		`{"mediaType":"\ud83d\ude00"}`:            "{\"mediaType\":\"\U0001f600\"}",
		"{\"mediaType\":\"\u2028\ufffd\"}":        "{\"mediaType\":\"\\u2028\ufffd\"}",
		`{"mediaType":"\ufffd"}`:                  "{\"mediaType\":\"\ufffd\"}",
		" {\r\n\t\"mediaType\" : \"\\u0061\"\n} ": `{"mediaType":"a"}`,
		`{"dsseEnvelope":{"payload":"-_-_"}}`:     `{"dsseEnvelope":{"payload":"+/+/"}}`,
		`{"dsseEnvelope":{"payload":"QQ","signatures":[{}]}}`: `{"dsseEnvelope":` +
			`{"payload":"QQ==","signatures":[{}]}}`,
		`{"messageSignature":{"messageDigest":{"algorithm":1,"digest":""}}}`: `{"messageSignature":` +
			`{"messageDigest":{"algorithm":"SHA2_256"}}}`,
		`{"messageSignature":{"messageDigest":{"algorithm":99}}}`: `{"messageSignature":` +
			`{"messageDigest":{"algorithm":99}}}`,
		`{"messageSignature":{"messageDigest":{"algorithm":0}}}`: `{"messageSignature":{"messageDigest":{}}}`,
		`{"messageSignature":{"message_digest":{"algorithm":"HASH_ALGORITHM_UNSPECIFIED"}}}`: `{"messageSignature":` +
			`{"messageDigest":{}}}`,
	} {
		b, err := Parse([]byte(doc))
		if err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		same(t, []byte(doc), b, Parse, (*Bundle).JSON, &protobundle.Bundle{}, bundleOf)
		if d := cmp.Diff(want, string(b.JSON())); d != "" {
			t.Errorf("%s: %s", doc, d)
		}
	}
}
