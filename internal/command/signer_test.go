// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

const asSigner = "TEST_SIGNER" // makes the test binary a program that signs

func TestMain(m *testing.M) {
	if how := os.Getenv(asSigner); how != "" {
		os.Exit(signerProgram(how, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// signerProgram signs what is on its standard input with the key in a file, or does not. It
// knows of the key nothing but what it is told.
func signerProgram(how string, args []string) int {
	input, err := io.ReadAll(os.Stdin)
	if err != nil || len(args) != 1 {
		fmt.Fprintln(os.Stderr, "bad input", args, err)
		return 9
	}
	switch how {
	case "other":
		input[0] ^= 1
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
	case "linger":
		time.Sleep(5 * time.Second)
		return 0
	case "hang":
		select {}
	case "text":
		fmt.Println("signed")
		return 0
	case "child": // it leaves somebody behind who holds the pipe
		child := exec.Command(os.Args[0], args...)
		child.Env = append(os.Environ(), asSigner+"=linger")
		child.Stdout = os.Stdout
		if child.Start() != nil {
			return 9
		}
	}
	sig, err := signWith(args[0], how, input)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	switch how {
	case "newline", "more":
		sig = append(sig, '\n')
	case "twice":
		sig = append(sig, sig...)
	case "hex":
		sig = fmt.Appendf(nil, "%x", sig)
	}
	_, _ = os.Stdout.Write(sig)
	if how == "late" {
		return 1
	}
	return 0
}

// signWith signs as the environment says, or in the way how in which programs sign by mistake.
func signWith(file, how string, input []byte) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := keys.ParsePrivate(raw)
	if err != nil {
		return nil, err
	}
	all := keys.Registry()
	i := slices.IndexFunc(all, func(a keys.Algorithm) bool { return a.Name == os.Getenv(EnvAlgorithm) })
	if i < 0 {
		return nil, fmt.Errorf("%q is no algorithm", os.Getenv(EnvAlgorithm))
	}
	a := all[i]
	id, err := keys.IDOf(key.Public())
	if err != nil || os.Getenv(EnvKey) != "sha256:"+id {
		return nil, fmt.Errorf("the key is %s, wanted is %q", id, os.Getenv(EnvKey))
	}
	if os.Getenv(EnvHash) != cmp.Or(a.HashName(), "none") || a.Hash != 0 && len(input) != a.Hash.Size() {
		return nil, fmt.Errorf("%d bytes of the hash %q", len(input), os.Getenv(EnvHash))
	}
	switch how {
	case "sha256": // whatever is wanted
		sum := sha256.Sum256(input)
		return key.Sign(rand.Reader, sum[:], crypto.SHA256)
	case "fixed":
		k := key.(*ecdsa.PrivateKey)
		r, s, err := ecdsa.Sign(rand.Reader, k, input)
		n := (k.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...), err
	case "bare":
		return key.Sign(nil, input, crypto.Hash(0)) // PKCS #1 without a DigestInfo, pure Ed25519
	case "padding":
		a.PSS = !a.PSS
	}
	var opts crypto.SignerOpts = a.Hash
	switch key.(type) {
	case ed25519.PrivateKey:
		opts = &ed25519.Options{Hash: a.Hash}
	case *rsa.PrivateKey:
		if a.PSS {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.Hash}
		}
	}
	return key.Sign(rand.Reader, input, opts)
}

// newPrivate returns a key in a file, and its public half in PEM.
func newPrivate(t *testing.T, kind string) (file string, key crypto.Signer, public []byte) {
	t.Helper()
	var err error
	switch kind {
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RSA 2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		for _, c := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
			if kind == "ECDSA "+c.Params().Name {
				key, err = ecdsa.GenerateKey(c, rand.Reader)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key; touch x") // no shell reads it
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err == nil {
		der, err = x509.MarshalPKIXPublicKey(key.Public())
	}
	if err != nil {
		t.Fatal(err)
	}
	return file, key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestSigner: what a program answers is a signature by the key, over what was asked for and by
// the one algorithm of the key, or an error.
func TestSigner(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const no = "no signature by the public key"
	answers := map[string]string{
		"good": "", "other": no, "fail": "the token is locked", "nothing": no + ": it is empty",
		"endless": "answered more than", "hang": "did not answer within", "text": no, "newline": no, "late": "exit status 1",
		"more": no, "twice": no, "hex": no, "child": "WaitDelay",
	}
	type row struct {
		by    func(crypto.PublicKey) (keys.Algorithm, error)
		wrong map[string]string // how it is made instead
	}
	for kind, rows := range map[string][]row{
		"ECDSA P-256": {{keys.Of, map[string]string{"sha256": no, "fixed": "two numbers"}}, {keys.OfTUF, nil}},
		"ECDSA P-384": {
			{keys.Of, map[string]string{"sha256": no, "fixed": "two numbers"}}, {keys.OfTUF, map[string]string{"sha256": no}},
		},
		"ECDSA P-521": {{keys.Of, map[string]string{"sha256": no, "fixed": "two numbers"}}},
		"RSA 2048": {
			{keys.Of, map[string]string{"sha256": no, "padding": "the padding PSS", "bare": "the DigestInfo"}},
			{keys.OfTUF, map[string]string{"padding": "the padding of PKCS #1 v1.5"}},
		},
		"Ed25519": {{keys.Of, map[string]string{"bare": "Ed25519ph is wanted"}}, {keys.OfTUF, nil}},
	} {
		file, key, _ := newPrivate(t, kind)
		stranger, _, _ := newPrivate(t, kind)
		for _, r := range rows {
			all := maps.Clone(r.wrong)
			if all == nil {
				all = map[string]string{}
			}
			all["good"] = ""
			if kind == "ECDSA P-256" && r.wrong != nil {
				maps.Copy(all, answers)
			}
			for how, want := range all {
				t.Run(kind+", "+how, func(t *testing.T) {
					t.Setenv(asSigner, how)
					timeout := time.Minute
					if how == "hang" {
						timeout = time.Second
					}
					s, err := keys.Remote(key.Public(), r.by, func(ctx context.Context, k *keys.Signer, input []byte) ([]byte, error) {
						return runSigner(ctx, timeout, k, input, self, file)
					})
					if err != nil {
						t.Fatal(err)
					}
					input := s.Algorithm.Input([]byte("message"))
					sig, err := s.Sign(t.Context(), input)
					switch {
					case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
						t.Errorf("%v", err)
					case want == "" && (err != nil || !s.Algorithm.Verify(key.Public(), input, sig)):
						t.Errorf("%v", err)
					}
				})
			}
			t.Setenv(asSigner, "good")
			s, err := keys.Remote(key.Public(), r.by, func(ctx context.Context, k *keys.Signer, input []byte) ([]byte, error) {
				return runSigner(ctx, time.Minute, k, input, self, stranger)
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sign(t.Context(), s.Algorithm.Input(nil)); err == nil {
				t.Errorf("%s: by another key", kind)
			}
		}
	}
	file, key, _ := newPrivate(t, "ECDSA P-256")
	s, err := keys.Remote(key.Public(), keys.Of, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runSigner(t.Context(), time.Minute, s, make([]byte, 32), file+" nobody"); err == nil {
		t.Error("a program that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runSigner(ctx, time.Minute, s, make([]byte, 32), self, file); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestKeyFlags: who signs is read from files that hold one key, of the right half, which may
// sign; else it is said what to do.
func TestKeyFlags(t *testing.T) {
	private, _, public := newPrivate(t, "ECDSA P-256")
	weak, _, p224 := newPrivate(t, "ECDSA P-224")
	large, _, _ := newPrivate(t, "ECDSA P-521")
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, two := write("good.pub", public), write("two.pub", append(slices.Clone(public), public...))
	fault := func(err error) string {
		var f *policy.Fault
		if err == nil || !errors.As(err, &f) || f.Reason != policy.Usage {
			return fmt.Sprint("no usage: ", err)
		}
		return f.Text + "; " + f.Hint
	}
	for name, c := range map[string]struct {
		o    Signing
		by   func(crypto.PublicKey) (keys.Algorithm, error)
		want string
	}{
		"a key":                {Signing{Key: given(private)}, keys.Of, ""},
		"no file":              {Signing{Key: given(private + "x")}, keys.Of, "--key: "},
		"the public half":      {Signing{Key: given(good)}, keys.Of, "name the file with the private key"},
		"P-224":                {Signing{Key: given(weak)}, keys.Of, "the curve P-224 is too weak"},
		"P-521":                {Signing{Key: given(large)}, keys.Of, ""},
		"P-521 and TUF":        {Signing{Key: given(large)}, keys.OfTUF, "no metadata of TUF"},
		"a program":            {withPublic(good), keys.Of, ""},
		"without its key":      {Signing{Signer: SignerFlags{Program: given("x")}}, keys.Of, "go together"},
		"without the program":  {Signing{Signer: SignerFlags{Public: given(good)}}, keys.Of, "go together"},
		"arguments alone":      {Signing{Signer: SignerFlags{Args: []string{"x"}}}, keys.Of, "go together"},
		"its private half":     {withPublic(private), keys.Of, "this is a private key"},
		"two keys":             {withPublic(two), keys.Of, "one PEM block"},
		"no PEM":               {withPublic(write("x", []byte("x"))), keys.Of, "PUBLIC KEY"},
		"an empty file":        {withPublic(write("empty", nil)), keys.Of, "PUBLIC KEY"},
		"a weak key":           {withPublic(write("weak.pub", p224)), keys.Of, "the curve P-224 is too weak"},
		"nobody":               {Signing{}, keys.Of, ""},
		"a directory":          {withPublic(dir), keys.Of, "--public-key: "},
		"a directory as a key": {Signing{Key: given(dir)}, keys.Of, "--key: "},
	} {
		s, err := c.o.By(c.by)
		switch {
		case c.want != "" && !strings.Contains(fault(err), c.want):
			t.Errorf("%s: %s", name, fault(err))
		case c.want == "" && (err != nil || (s == nil) != (name == "nobody")):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func withPublic(path string) Signing {
	return Signing{Signer: SignerFlags{Program: given("x"), Public: given(path)}}
}

func given(value string) Once { return Once{Value: value, Given: true} }
