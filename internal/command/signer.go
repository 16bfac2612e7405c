// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxCertificates is the largest file with certificates that is read.
const MaxCertificates = 256 << 10

// MaxPublicKey is the largest file with a key that is read.
const MaxPublicKey = 64 << 10

// Limits of a signer of one's own.
const (
	signerTimeout = 2 * time.Minute // somebody may have to touch a token
	maxSignature  = 4 << 10
	maxSignerTalk = 4 << 10
)

// SignerFlags name a program that has the key.
type SignerFlags struct {
	Program, Public Once
	Args            []string
}

// Given reports whether one of the flags was.
func (s *SignerFlags) Given() bool { return s.Program.Given || s.Public.Given || len(s.Args) > 0 }

// What a program is told of the signature that is wanted, beside the user's arguments.
const (
	// EnvAlgorithm is the name in Sigstore's registry (SPEC 3.6), such as PKIX_ECDSA_P256_SHA_256.
	EnvAlgorithm = "REPOPOLICY_SIGNER_ALGORITHM"
	// EnvHash is the hash that made what is on the standard input: sha256, sha384, sha512, or
	// none if that is the message itself.
	EnvHash = "REPOPOLICY_SIGNER_HASH"
	// EnvKey is "sha256:" and the id of the key.
	EnvKey = "REPOPOLICY_SIGNER_KEY"
)

// Signer returns the program as a signer, by an algorithm of [keys.Of] or [keys.OfTUF]. It is
// run without a shell, gets what is signed on standard input, mostly a digest, and answers
// with the signature: of ECDSA in its ASN.1 form. That is checked before anything is made of it.
func (s *SignerFlags) Signer(by func(crypto.PublicKey) (keys.Algorithm, error)) (*keys.Signer, error) {
	if !s.Program.Given || !s.Public.Given {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--signer and --public-key go together",
			Hint: "the program does not say which key it signs with",
		}
	}
	data, err := file.Read(s.Public.Value, MaxPublicKey)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--public-key: %s", err)
	}
	var out *keys.Signer
	public, err := keys.ParsePublic(data)
	if err == nil {
		out, err = keys.Remote(public, by, s.ask)
	}
	if err != nil {
		return nil, keyFault("--public-key: "+s.Public.Value, err)
	}
	return out, nil
}

// ask runs the program.
func (s *SignerFlags) ask(ctx context.Context, k *keys.Signer, input []byte) ([]byte, error) {
	return runSigner(ctx, signerTimeout, k, input, s.Program.Value, s.Args...)
}

// keyFault says why a key in a file is none to sign with.
func keyFault(where string, err error) error {
	return &policy.Fault{Reason: policy.Usage, Text: where + ": " + err.Error(), Hint: keys.Hint(err)}
}

// ReadKey reads the private key in a file that --key names, as a signer by an algorithm of
// [keys.Of] or [keys.OfTUF].
func ReadKey(path string, by func(crypto.PublicKey) (keys.Algorithm, error)) (*keys.Signer, error) {
	data, err := file.Read(path, MaxPublicKey)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--key: %s", err)
	}
	private, err := keys.ParsePrivate(data)
	var out *keys.Signer
	if err == nil {
		out, err = keys.Local(private, by)
	}
	if err != nil {
		return nil, keyFault("--key: "+path, err)
	}
	return out, nil
}

// By returns the signer that --key or --signer names, with the certificate that --certificate
// does; nil if neither is given.
func (o *Signing) By(by func(crypto.PublicKey) (keys.Algorithm, error)) (s *keys.Signer, err error) {
	switch {
	case o.Signer.Given():
		s, err = o.Signer.Signer(by)
	case o.Key.Given:
		s, err = ReadKey(o.Key.Value, by)
	}
	if err == nil && s != nil && o.Certificate.Given {
		s.Certificate, err = readCertificate(o.Certificate.Value, s.Public)
	}
	return s, err
}

// readCertificate returns the certificate of a key among those in a file, in DER. The others may
// be of its issuers, which the trust root has to name itself.
func readCertificate(path string, key crypto.PublicKey) ([]byte, error) {
	rest, err := file.Read(path, MaxCertificates)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--certificate: %s", err)
	}
	n := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, policy.Faultf(policy.Usage, "--certificate: %s: a PEM block %q is no certificate", path, block.Type)
		}
		n++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, policy.Faultf(policy.Usage, "--certificate: %s: certificate %d: %s", path, n, err)
		}
		if keys.Same(cert.PublicKey, key) {
			return block.Bytes, nil
		}
	}
	if n == 0 {
		return nil, policy.Faultf(policy.Usage, "--certificate: %s has no certificate in PEM", path)
	}
	return nil, &policy.Fault{
		Reason: policy.Usage,
		Text:   fmt.Sprintf("--certificate: none of the %d certificates in %s is for the key that signs", n, path),
		Hint:   "openssl x509 -in " + spelling.ShellWord(path) + " -noout -pubkey shows for which the first one is",
	}
}

func runSigner(
	ctx context.Context, timeout time.Duration, k *keys.Signer, input []byte, program string, args ...string,
) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(within, program, args...)
	cmd.WaitDelay = time.Second // for what it started and left behind
	cmd.Env = append(cmd.Environ(), EnvAlgorithm+"="+k.Algorithm.Name,
		EnvHash+"="+cmp.Or(k.Algorithm.HashName(), "none"), EnvKey+"=sha256:"+k.ID())
	out, talk := &limited{left: maxSignature, over: cancel}, &limited{left: maxSignerTalk}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), out, talk
	err := cmd.Run()
	switch {
	case out.full:
		return nil, fmt.Errorf("%s answered more than %d bytes", program, maxSignature)
	case within.Err() != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("%s did not answer within %s", program, timeout)
	case err != nil:
		said := strings.Join(strings.Fields(string(talk.data)), " ")
		if said != "" {
			said = ": " + said
		}
		return nil, fmt.Errorf("%s: %w%s", program, err, said)
	}
	return out.data, nil
}

// limited keeps the beginning of what is written.
type limited struct {
	data []byte
	left int
	full bool
	over func() // called when there is more; nil for nothing
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left && !l.full {
		l.full = true
		if l.over != nil {
			l.over()
		}
	}
	n := min(len(p), l.left)
	l.left -= n
	l.data = append(l.data, p[:n]...)
	return len(p), nil
}
