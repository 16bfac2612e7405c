// SPDX-License-Identifier: Apache-2.0

// Sigstore speaks the client protocol of the public Sigstore conformance suite,
// so that the suite can be run against repopolicy:
//
//	go run ./internal/scaffold/conformance/sigstore sign-bundle [--staging] [--in-toto] \
//	    --identity-token TOKEN --bundle FILE [--trusted-root FILE] [--signing-config FILE] FILE
//	go run ./internal/scaffold/conformance/sigstore verify-bundle [--staging] --bundle FILE \
//	    (--certificate-identity IDENTITY --certificate-oidc-issuer URL | --key FILE) \
//	    [--trusted-root FILE] FILE_OR_DIGEST
//
// It exits 0 if the bundle was written or verifies, and 1 otherwise. What is signed is the
// file's SHA-256 or, with --in-toto, the file itself as a statement; the bundle is new, whole,
// of version 0.3, and verifies under the trusted root. The further command
// "selftest DIR" runs the conformance cases of a corpus directory through the
// same code, by file and by digest; TestConformance of sandbox/e2e signs.
//
// Protocol: https://github.com/sigstore/sigstore-conformance/blob/main/docs/cli_protocol.md
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: sign-bundle … | verify-bundle … | selftest DIR")
	}
	switch args[0] {
	case "sign-bundle":
		return signBundle(args[1:])
	case "verify-bundle":
		return verifyBundle(args[1:])
	case "selftest":
		if len(args) != 2 {
			return errors.New("usage: selftest DIR")
		}
		return selftest(args[1])
	}
	return fmt.Errorf("%s is not supported", args[0])
}

func verifyBundle(args []string) error {
	fs := flag.NewFlagSet("verify-bundle", flag.ContinueOnError)
	staging := fs.Bool("staging", false, "")
	bundle := fs.String("bundle", "", "")
	identity := fs.String("certificate-identity", "", "")
	issuer := fs.String("certificate-oidc-issuer", "", "")
	keyFile := fs.String("key", "", "")
	root := fs.String("trusted-root", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 || *bundle == "" {
		return errors.New("one bundle and one artifact are needed")
	}
	j := &release.Judge{Bundles: []string{*bundle}, Now: time.Now(), Skew: 5 * time.Minute}
	signer := policy.FlagIdentity{Identity: *identity, Issuer: *issuer, SetOnly: true}
	if *keyFile != "" {
		pem, err := file.Read(*keyFile, 64<<10)
		if err != nil {
			return err
		}
		key, err := sigstore.ParseKey(pem, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		signer.KeyID, j.Keys = key.ID(), []*sigstore.Key{key}
	}
	var err error
	if j.Policy, err = signer.Trusted(); err != nil {
		return err
	}
	opts := instance(*staging, *root)
	j.Roots = func(ctx context.Context) ([]*sigstore.Root, error) {
		roots, err := trust.Roots(ctx, opts)
		return trust.Plain(roots), err
	}

	res := j.Run(context.Background(), []*release.Artifact{artifact(fs.Arg(0))})[0]
	if res.Class() != policy.ClassOK {
		return fmt.Errorf(
			"%s: %s [%s]: %s", res.Class(), res.Decision.Reason.Text(), res.Decision.Reason, res.Decision.Detail,
		)
	}
	return nil
}

// instance says where trust comes from: a file, "" for one of Sigstore's own deployments.
func instance(staging bool, root string) trust.Options {
	o := trust.Options{UserAgent: "repopolicy-conformance", Now: time.Now}
	if dir, err := os.UserCacheDir(); err == nil {
		o.Cache = filepath.Join(dir, "repopolicy", "tuf")
	}
	if root != "" {
		o.Files = []string{root}
	}
	if staging {
		o.Instance = trust.Staging
	}
	return o
}

// artifact follows the protocol: a digest that is no file, else the content of a
// file. What that is called says nothing there.
func artifact(arg string) *release.Artifact {
	a := &release.Artifact{Arg: arg}
	if _, err := os.Stat(arg); err != nil {
		if d, ok, err := release.ParseDigestArg(arg); ok && err == nil && d.Alg == "sha256" {
			a.Digests = []policy.Digest{d}
			return a
		}
	}
	var err error
	if a.Digests, err = release.Digests(arg, []string{"sha384", "sha512"}); err != nil {
		a.Err = &release.Failure{Reason: policy.ArtifactRead, Detail: err.Error()}
	}
	return a
}
