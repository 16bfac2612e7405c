// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
)

const asSigner = "TEST_SIGNER" // makes the test binary a program that signs

func TestMain(m *testing.M) {
	if how := os.Getenv(asSigner); how != "" {
		os.Exit(signerProgram(how, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// signerProgram signs what is on its standard input, or does not.
func signerProgram(how string, args []string) int {
	digest, err := io.ReadAll(os.Stdin)
	if err != nil || len(digest) != sha256.Size || len(args) != 1 {
		fmt.Fprintln(os.Stderr, "bad input", len(digest), args, err)
		return 9
	}
	switch how {
	case "other":
		digest[0] ^= 1
	case "fail":
		fmt.Fprintln(os.Stderr, "the token\nis locked")
		return 1
	case "nothing":
		return 0
	case "endless":
		for err == nil {
			_, err = os.Stdout.Write(make([]byte, 1<<16))
		}
		return 1
	case "hang":
		select {}
	case "text":
		fmt.Println("signed")
		return 0
	}
	sig, err := signWith(args[0], digest)
	if err != nil {
		return 9
	}
	if how == "newline" {
		sig = append(sig, '\n')
	}
	_, _ = os.Stdout.Write(sig)
	if how == "late" {
		return 1
	}
	return 0
}

// signWith signs a digest with the key in a file.
func signWith(file string, digest []byte) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(raw)
	if err != nil {
		return nil, err
	}
	return ecdsa.SignASN1(rand.Reader, key, digest)
}

// newKey returns a key, its form for the signer's file and the PEM of its public half.
func newKey(t *testing.T, curve elliptic.Curve) (key *ecdsa.PrivateKey, private, public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if private, err = x509.MarshalECPrivateKey(key); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, private, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestSigner: what a program answers is a signature by the key, or an error.
func TestSigner(t *testing.T) {
	key, raw, public := newKey(t, elliptic.P256())
	private := filepath.Join(t.TempDir(), "key; touch x") // no shell reads it
	if err := os.WriteFile(private, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]string{
		"good": "", "other": "no signature by the public key", "fail": "the token is locked",
		"nothing": "no signature by the public key", "endless": "answered more than", "hang": "did not answer within",
		"text": "no signature by the public key", "newline": "no signature by the public key", "late": "exit status 1",
	} {
		t.Setenv(asSigner, how)
		s, err := sigstore.NewSigner(public, func(ctx context.Context, digest []byte) ([]byte, error) {
			timeout := time.Minute
			if how == "hang" {
				timeout = time.Second
			}
			return runSigner(ctx, timeout, digest, self, private)
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte("message"))
		sig, err := s.Sign(t.Context(), sum)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", how, err)
		case want == "" && (err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig)):
			t.Errorf("%s: %v", how, err)
		}
	}
	if _, err := runSigner(t.Context(), time.Minute, make([]byte, 32), private+" nobody"); err == nil {
		t.Error("a program that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runSigner(ctx, time.Minute, make([]byte, 32), self, private); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSignerKey: what is no public key on P-256 is none of a signer.
func TestSignerKey(t *testing.T) {
	_, raw, public := newKey(t, elliptic.P256())
	_, _, p384 := newKey(t, elliptic.P384())
	for name, bad := range map[string][]byte{
		"empty": nil, "no PEM": []byte("x"), "two": bytes.Repeat(public, 2), "P-384": p384,
		"another block": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}),
		"no key":        pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		if _, err := sigstore.NewSigner(bad, nil); err == nil {
			t.Errorf("%s is a public key", name)
		}
	}
}
