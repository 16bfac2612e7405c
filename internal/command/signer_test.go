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
	raw, err := os.ReadFile(args[0])
	if err != nil {
		return 9
	}
	key, err := x509.ParseECPrivateKey(raw)
	if err != nil {
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
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<16)); err != nil {
				return 1
			}
		}
	case "hang":
		select {}
	case "text":
		fmt.Println("signed")
		return 0
	}
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest)
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

// TestSigner: what a program answers is a signature by the key, or an error.
func TestSigner(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(dir, "key; touch x") // no shell reads it
	if err := os.WriteFile(private, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]string{
		"good": "", "other": "no signature by the public key", "fail": "the token is locked", "nothing": "no signature by the public key",
		"endless": "answered more than", "hang": "did not answer within", "text": "no signature by the public key", "newline": "no signature by the public key", "late": "exit status 1",
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
		sig, err := s.Sign(t.Context(), sha256.Sum256([]byte("message")))
		sum := sha256.Sum256([]byte("message"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
			t.Errorf("%s: %v", how, err)
		}
	}
	if _, err := runSigner(t.Context(), time.Minute, make([]byte, 32), filepath.Join(dir, "nobody")); err == nil {
		t.Error("a program that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runSigner(ctx, time.Minute, make([]byte, 32), self, private); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = x509.MarshalPKIXPublicKey(p384.Public()); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "no PEM": []byte("x"), "two": bytes.Repeat(public, 2), "another block": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}),
		"no key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), "P-384": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		if _, err := sigstore.NewSigner(bad, nil); err == nil {
			t.Errorf("%s is a public key", name)
		}
	}
}
