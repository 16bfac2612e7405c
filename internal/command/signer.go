// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

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

// Signer returns the program as a signer. It is run without a shell, gets the
// SHA-256 of what is signed on standard input, 32 bytes, and answers with the ASN.1
// form of an ECDSA signature; that is checked before anything is made of it.
func (s *SignerFlags) Signer() (sigstore.Signer, error) {
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
	out, err := sigstore.NewSigner(data, func(ctx context.Context, digest []byte) ([]byte, error) {
		return runSigner(ctx, signerTimeout, digest, s.Program.Value, s.Args...)
	})
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--public-key: %s: %s", s.Public.Value, err)
	}
	return out, nil
}

func runSigner(
	ctx context.Context, timeout time.Duration, digest []byte, program string, args ...string,
) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(within, program, args...)
	cmd.WaitDelay = time.Second // for what it started and left behind
	out, talk := &limited{left: maxSignature, over: cancel}, &limited{left: maxSignerTalk}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(digest), out, talk
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
