// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
)

// keyRows change the key of timestamp, and what its type says of it.
var keyRows = []attack{
	{name: "RSA", do: func(s *tuftest.Sim) { otherKey(s, rsaOf(s.T, 2048), nil) }},
	{
		name: "a small RSA key", do: func(s *tuftest.Sim) { otherKey(s, rsaOf(s.T, 1024), nil) }, want: ErrUnsigned,
		gotuf: "takes RSA of 1024 bits",
	},
	{name: "ECDSA P-256", do: func(s *tuftest.Sim) { otherKey(s, ecdsaOf(s.T, elliptic.P256()), nil) }},
	{name: "ECDSA P-384", do: func(s *tuftest.Sim) { otherKey(s, ecdsaOf(s.T, elliptic.P384()), nil) }},
	{name: "ECDSA by the type of 2021 in PEM", do: func(s *tuftest.Sim) {
		otherKey(s, ecdsaOf(s.T, elliptic.P256()), func(k map[string]any) { k["keytype"] = "ecdsa-sha2-nistp256" })
	}},
	{name: "ECDSA in hex", gotuf: "reads PEM alone: Sigstore's first four roots", do: func(s *tuftest.Sim) {
		priv := ecdsaOf(s.T, elliptic.P256())
		otherKey(s, priv, func(k map[string]any) {
			point, err := priv.PublicKey.Bytes()
			if err != nil {
				s.T.Fatal(err)
			}
			k["keytype"] = "ecdsa-sha2-nistp256"
			k["keyval"] = map[string]any{"public": hex.EncodeToString(point)}
		})
	}},
	{name: "P-384 as P-256", do: func(s *tuftest.Sim) {
		otherKey(s, ecdsaOf(s.T, elliptic.P384()), func(k map[string]any) { k["scheme"] = "ecdsa-sha2-nistp256" })
	}, want: ErrUnsigned},
	{name: "ECDSA as RSA", do: func(s *tuftest.Sim) {
		otherKey(s, ecdsaOf(s.T, elliptic.P256()), func(k map[string]any) {
			k["keytype"] = "rsa"
			k["scheme"] = "rsassa-pss-sha256"
		})
	}, want: ErrUnsigned},
	{name: "RSA as ECDSA", do: func(s *tuftest.Sim) {
		otherKey(s, rsaOf(s.T, 2048), func(k map[string]any) { k["keytype"] = "ecdsa"; k["scheme"] = "ecdsa-sha2-nistp256" })
	}, want: ErrUnsigned},
	{name: "a scheme of another type", do: func(s *tuftest.Sim) {
		otherKey(s, ecdsaOf(s.T, elliptic.P256()), func(k map[string]any) { k["scheme"] = "ed25519" })
	}, want: ErrUnsigned, gotuf: "does not look at the scheme"},
	{name: "an unknown type", do: func(s *tuftest.Sim) {
		otherKey(s, ecdsaOf(s.T, elliptic.P256()), func(k map[string]any) { k["keytype"] = "quantum" })
	}, want: ErrUnsigned},
	{name: "an unknown type beside a known one", do: func(s *tuftest.Sim) {
		s.Root.Signed.Version++
		s.PublishRoot()
		s.Edit("2.root.json", "root", func(signed map[string]any) {
			signed["keys"].(map[string]any)["q"] = map[string]any{
				"keytype": "quantum", "scheme": "entangled", "keyval": map[string]any{"public": ""},
			}
			r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
			r["keyids"] = append(r["keyids"].([]any), "q")
		})
		s.Publish()
	}, gotuf: "fails on a key of a type that it does not know"},
	{name: "a short Ed25519 key", do: func(s *tuftest.Sim) { ed25519As(s, "00ff") }, want: ErrUnsigned},
	// By this key the signature of a neutral element and a zero is one over everything.
	{name: "an Ed25519 key of small order", do: func(s *tuftest.Sim) {
		ed25519As(s, "01"+strings.Repeat("00", 31))
		s.Timestamp.Signatures[0].Signature = append([]byte{1}, make([]byte, 63)...)
		data, err := s.Timestamp.ToBytes(true)
		if err != nil {
			s.T.Fatal(err)
		}
		s.Files["timestamp.json"] = data
	}, want: ErrUnsigned, gotuf: "takes keys of small order"},
	{name: "an RSA key with another exponent", do: func(s *tuftest.Sim) {
		priv := rsaOf(s.T, 2048)
		otherKey(s, priv, func(k map[string]any) {
			der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: priv.N, E: 3})
			if err != nil {
				s.T.Fatal(err)
			}
			k["keyval"] = map[string]any{"public": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
		})
	}, want: ErrUnsigned},
}

// ed25519As writes another key instead of timestamp's own.
func ed25519As(s *tuftest.Sim, public string) {
	s.T.Helper()
	s.NextRoot(func() { s.Rotate("timestamp") })
	s.Publish()
	s.Edit("2.root.json", "root", func(signed map[string]any) {
		id := s.Root.Signed.Roles["timestamp"].KeyIDs[0]
		signed["keys"].(map[string]any)[id].(map[string]any)["keyval"] = map[string]any{"public": public}
	})
}

// otherKey gives timestamp another key, which change describes otherwise.
func otherKey(s *tuftest.Sim, priv any, change func(key map[string]any)) {
	s.T.Helper()
	k := tuftest.LoadSigner(s.T, priv)
	id := tuftest.KeyID(s.T, tuftest.KeyOf(s.T, k))
	s.NextRoot(func() {
		s.Rotate("timestamp")
		r := s.Root.Signed.Roles["timestamp"]
		r.KeyIDs, s.Signers["timestamp"] = nil, nil
		s.AddKey("timestamp", k)
	})
	if change != nil {
		s.Edit(fmt.Sprintf("%d.root.json", s.Root.Signed.Version), "root", func(signed map[string]any) {
			change(signed["keys"].(map[string]any)[id].(map[string]any))
		})
	}
	s.Publish()
	if n := len(s.Timestamp.Signatures); n > 0 {
		s.Timestamp.Signatures[0].KeyID = id // go-tuf names P-384 by another ID
		data, err := s.Timestamp.ToBytes(true)
		if err != nil {
			s.T.Fatal(err)
		}
		s.Files["timestamp.json"] = data
	}
}

func rsaOf(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecdsaOf(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// duplicate makes timestamp need two signatures, of two keys or of one that the
// root lists under two types, and so two key IDs.
func duplicate(s *tuftest.Sim, other bool) {
	s.T.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.T.Fatal(err)
	}
	k := tuftest.LoadSigner(s.T, priv)
	twin := tuftest.KeyOf(s.T, k)
	twin.Type = "ecdsa-sha2-nistp256"
	s.NextRoot(func() {
		s.Rotate("timestamp")
		s.AddKey("timestamp", k)
		s.Root.Signed.Roles["timestamp"].Threshold = 2
		if other {
			return
		}
		s.Signers["timestamp"] = s.Signers["timestamp"][1:]
		r := s.Root.Signed.Roles["timestamp"]
		r.KeyIDs = r.KeyIDs[1:]
		if err := s.Root.Signed.AddKey(twin, "timestamp"); err != nil {
			s.T.Fatal(err)
		}
	})
	s.Publish()
	if !other {
		again := s.Timestamp.Signatures[0]
		again.KeyID = tuftest.KeyID(s.T, twin)
		s.Timestamp.Signatures = append(s.Timestamp.Signatures, again)
		data, err := s.Timestamp.ToBytes(true)
		if err != nil {
			s.T.Fatal(err)
		}
		s.Files["timestamp.json"] = data
	}
}
