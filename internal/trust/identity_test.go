// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var now = sigstoretest.Now.Add(time.Hour)

const (
	alice  = "alice@example.com"
	bob    = "bob@example.com"
	google = "https://accounts.google.com"
)

// certified signs as whom an instance certifies.
type certified struct {
	inst *sigstoretest.Instance
	who  string
}

func (c *certified) Sign(ctx context.Context, canonical []byte, wanted func(string) bool) (metadata.Signature, error) {
	key, err := author.Identity(c.who, google)
	if err != nil {
		return metadata.Signature{}, err
	}
	log := func(_ context.Context, digest [sha256.Size]byte, _ func(author.Key) error) ([]byte, author.Key, error) {
		if digest != sha256.Sum256(canonical) {
			return nil, key, errors.New("another digest")
		}
		return c.inst.Sign(sigstoretest.Request{Artifact: canonical, SAN: c.who, Issuer: google}), key, nil
	}
	return (&author.IdentitySigner{May: []author.Key{key}, Log: log}).Sign(ctx, canonical, wanted)
}

func identityKey(t testing.TB, name, issuer string) author.Key {
	t.Helper()
	k, err := author.Identity(name, issuer)
	check(t, err)
	return k
}

func parseRoot(t testing.TB, inst *sigstoretest.Instance) *sigstore.Root {
	t.Helper()
	r, err := sigstore.ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	check(t, err)
	return r
}

func fileKey(t testing.TB) (author.Key, author.Signer) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	key, err := author.PublicKey(private.Public())
	check(t, err)
	with, err := keys.Local(private, keys.OfTUF)
	check(t, err)
	s, err := author.NewSigner(with)
	check(t, err)
	return key, s
}

// TestIdentityRoot: a root whose keys are two identities takes both signatures,
// one is not enough, and only under the Sigstore that made them.
func TestIdentityRoot(t *testing.T) {
	inst := sigstoretest.New(t)
	keyTypes := OIDCKeys(parseRoot(t, inst))
	host, machine := fileKey(t)
	people := author.Setup{Keys: []author.Key{identityKey(t, alice, google), identityKey(t, bob, google)}, Threshold: 2}
	online := author.Setup{Keys: []author.Key{host}, Threshold: 1}
	dir := t.TempDir()
	r, err := author.Create(
		dir,
		now,
		map[string]author.Setup{
			author.Root: people, author.Targets: people, author.Snapshot: online, author.Timestamp: online,
		},
	)
	check(t, err)
	defer r.Close()
	sign := func(who string) error {
		_, err := r.Sign(t.Context(), &certified{inst, who})
		return err
	}
	check(t, sign(alice))
	if err := sign("mallory@example.com"); !errors.Is(err, author.ErrNotWanted) {
		t.Errorf("somebody else: %v", err)
	}
	if err := r.Publish(t.Context(), []author.Signer{machine}, keyTypes); !errors.As(err, new(*author.Incomplete)) {
		t.Errorf("one of two: %v", err)
	}
	check(t, sign(bob))
	check(t, sign(bob))
	if err := r.Publish(t.Context(), []author.Signer{machine}, nil); !errors.Is(err, tuf.ErrUnsigned) {
		t.Errorf("by who knows no identities: %v", err)
	}
	err = r.Publish(t.Context(), []author.Signer{machine}, OIDCKeys(parseRoot(t, sigstoretest.New(t))))
	if !errors.Is(err, tuf.ErrUnsigned) {
		t.Errorf("under another Sigstore: %v", err)
	}
	check(t, r.Publish(t.Context(), []author.Signer{machine}, keyTypes))
}

// TestOIDCSignature: what a signature by an identity must be, byte for byte, and
// what none is.
func TestOIDCSignature(t *testing.T) {
	inst, other := sigstoretest.New(t), sigstoretest.New(t)
	keyTypes := OIDCKeys(parseRoot(t, inst))
	signed := []byte(`{"_type":"root"}`)
	sign := func(i *sigstoretest.Instance, r sigstoretest.Request) []byte {
		if r.Artifact == nil && r.Statement == nil {
			r.Artifact = signed
		}
		return i.Sign(r)
	}
	as := func(name, issuer string) sigstoretest.Request { return sigstoretest.Request{SAN: name, Issuer: issuer} }
	statement := as(alice, google)
	statement.Statement = fmt.Appendf(
		nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","predicate":{},"subject":[{"name":"x",`+
			`"digest":{"sha256":"%x"}}]}`,
		sha256.Sum256(signed),
	)
	else1 := as(alice, google)
	else1.Artifact = []byte(`{"_type":"targets"}`)
	good := sign(inst, as(alice, google))
	const key = `{"identity":"alice@example.com","issuer":"https://accounts.google.com","public":""}`
	for name, c := range map[string]struct {
		value, scheme, signature string
		want                     string // "" if it verifies
	}{
		"hex":    {signature: fmt.Sprintf(`{"keyid":"k","sig":"00ff","bundle":%s}`, good)},
		"base64": {signature: fmt.Sprintf(`{"keyid":"k","sig":"AP8=","bundle":%s}`, good)},
		"no sig": {signature: fmt.Sprintf(`{"keyid":"k","sig":"","bundle":%s}`, good)},
		"no public": {
			value:     `{"identity":"alice@example.com","issuer":"https://accounts.google.com"}`,
			signature: fmt.Sprintf(`{"bundle":%s}`, good),
		},
		"no bundle":        {signature: `{"keyid":"k","sig":"00ff"}`, want: "no bundle"},
		"a null bundle":    {signature: `{"keyid":"k","sig":"00ff","bundle":null}`, want: "bundle"},
		"a bundle in text": {signature: fmt.Sprintf(`{"bundle":%q}`, good), want: "no object"},
		"another spelling": {signature: fmt.Sprintf(`{"Bundle":%s}`, good), want: "no bundle"},
		"another identity": {signature: fmt.Sprintf(`{"bundle":%s}`, sign(inst, as(bob, google))), want: "signed by"},
		"another case": {
			signature: fmt.Sprintf(`{"bundle":%s}`, sign(inst, as("Alice@example.com", google))), want: "signed by",
		},
		"another issuer": {
			signature: fmt.Sprintf(`{"bundle":%s}`, sign(inst, as(alice, "https://evil.example"))), want: "signed by",
		},
		"something else":   {signature: fmt.Sprintf(`{"bundle":%s}`, sign(inst, else1)), want: "over"},
		"a statement":      {signature: fmt.Sprintf(`{"bundle":%s}`, sign(inst, statement)), want: "no message signature"},
		"another Sigstore": {signature: fmt.Sprintf(`{"bundle":%s}`, sign(other, as(alice, google))), want: "log"},
		"not logged":       {signature: fmt.Sprintf(`{"bundle":%s}`, unlogged(t, good)), want: "log"},
		"another scheme":   {scheme: "fulcio", signature: fmt.Sprintf(`{"bundle":%s}`, good), want: "scheme"},
		"no identity": {
			value: `{"identity":"","issuer":"https://accounts.google.com","public":""}`, signature: "{}", want: "needed",
		},
		"no issuer": {value: `{"identity":"alice@example.com","public":""}`, signature: "{}", want: "needed"},
		"a public key": {
			value: `{"identity":"alice@example.com","issuer":"https://accounts.google.com","public":"x"}`, signature: "{}",
			want: "no public key",
		},
		"another member": {
			value: `{"identity":"alice@example.com","issuer":"https://accounts.google.com","public":"","x":1}`, signature: "{}",
			want: "not known",
		},
		"another key case": {
			value: `{"Identity":"alice@example.com","issuer":"https://accounts.google.com","public":""}`, signature: "{}",
			want: "needed",
		},
		"a number": {
			value: `{"identity":1,"issuer":"https://accounts.google.com","public":""}`, signature: "{}",
			want: "cannot unmarshal",
		},
		"no value":          {value: `[]`, signature: "{}", want: "cannot unmarshal"},
		"not even a bundle": {signature: `{"bundle":{"x":1}}`, want: "bundle"},
	} {
		if c.value == "" {
			c.value = key
		}
		if c.scheme == "" {
			c.scheme = keySchemeOIDC
		}
		v, err := keyTypes[KeyTypeOIDC](tuf.Key{Type: KeyTypeOIDC, Scheme: c.scheme, Value: json.RawMessage(c.value)})
		if err == nil {
			err = v.Verify(signed, tuf.Signature{Raw: json.RawMessage(c.signature)})
		}
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OIDCKeys()[KeyTypeOIDC](tuf.Key{Scheme: keySchemeOIDC, Value: json.RawMessage(key)}); err == nil {
		t.Error("without a trusted root")
	}
	// The key as it is written, and its ID.
	k := identityKey(t, alice, google)
	canonical := `{"keytype":"sigstore-oidc","keyval":` + key + `,"scheme":"Fulcio"}`
	if sum := sha256.Sum256([]byte(canonical)); k.ID() != fmt.Sprintf("%x", sum) {
		t.Errorf("the key's ID is %s", k.ID())
	}
	sig, err := author.OIDCSignature(k, good)
	check(t, err)
	data, err := json.Marshal(sig)
	check(t, err)
	var b struct {
		MessageSignature struct{ Signature []byte }
	}
	var s struct{ Keyid, Sig string }
	check(t, errors.Join(json.Unmarshal(good, &b), json.Unmarshal(data, &s)))
	if s.Sig != fmt.Sprintf("%x", b.MessageSignature.Signature) || s.Keyid != k.ID() {
		t.Errorf("%s", data)
	}
}

// unlogged takes the log entries out of a bundle.
func unlogged(t testing.TB, bundle []byte) []byte {
	t.Helper()
	var b map[string]any
	check(t, json.Unmarshal(bundle, &b))
	delete(b["verificationMaterial"].(map[string]any), "tlogEntries")
	out, err := json.Marshal(b)
	check(t, err)
	return out
}

// TestOneIdentityTwice: an identity counts once, under however many key IDs.
func TestOneIdentityTwice(t *testing.T) {
	keyType := OIDCKeys(parseRoot(t, sigstoretest.New(t)))[KeyTypeOIDC]
	principals := map[string]bool{}
	for _, value := range []string{
		`{"identity":"alice@example.com","issuer":"https://accounts.google.com","public":""}`,
		`{"issuer":"https://accounts.google.com", "identity":"alice@example.com"}`,
		`{"identity":"\u0061lice@example.com","issuer":"https://accounts.google.com"}`,
	} {
		v, err := keyType(tuf.Key{Scheme: keySchemeOIDC, Value: json.RawMessage(value)})
		check(t, err)
		principals[v.Principal()] = true
	}
	if len(principals) != 1 {
		t.Errorf("%v", principals)
	}
}

// TestOIDCSignatureVectors runs the vectors of schema/testdata/oidc-signature.
func TestOIDCSignatureVectors(t *testing.T) {
	vectors(t, "oidc-signature", 15, func(t *testing.T, header map[string]string, body string) {
		parts := map[string]string{}
		for section := range strings.SplitSeq("\n"+body, "\n-- ") {
			if name, text, ok := strings.Cut(section, " --\n"); ok {
				parts[name] = strings.TrimSuffix(text, "\n")
			}
		}
		root, err := sigstore.ParseRoot("vector", []byte(parts["trusted_root.json"]))
		check(t, err)
		var key struct {
			Keytype, Scheme string
			Keyval          json.RawMessage
		}
		var sig struct{ Keyid, Sig string }
		check(
			t,
			errors.Join(
				json.Unmarshal([]byte(parts["key.json"]), &key),
				json.Unmarshal([]byte(parts["signature.json"]), &sig),
			),
		)
		canonical, err := tuf.Canonical([]byte(parts["signed.json"]))
		if err != nil || string(canonical) != parts["signed.json"] || len(parts) != 4 {
			t.Fatalf("%v %d", err, len(parts))
		}
		v, err := OIDCKeys(root)[key.Keytype](tuf.Key{Type: key.Keytype, Scheme: key.Scheme, Value: key.Keyval})
		if err == nil {
			err = v.Verify(
				canonical,
				tuf.Signature{KeyID: sig.Keyid, Sig: sig.Sig, Raw: json.RawMessage(parts["signature.json"])},
			)
		}
		if (err == nil) != (header["expect"] == "OK") {
			t.Error(err)
		}
	})
}
