// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
)

const (
	maxConfig    = 1 << 20
	maxStatement = 1 << 20
)

// signBundle signs a file and writes the bundle. Whatever can be looked at without a service is
// looked at first: a name that Fulcio has certified is public for ever.
func signBundle(args []string) error {
	fs := flag.NewFlagSet("sign-bundle", flag.ContinueOnError)
	staging := fs.Bool("staging", false, "")
	inToto := fs.Bool("in-toto", false, "")
	var tokens []string // what package flag says of a value it does not take would show it
	fs.Func("identity-token", "", func(s string) error { tokens = append(tokens, s); return nil })
	to := fs.String("bundle", "", "")
	root := fs.String("trusted-root", "", "")
	config := fs.String("signing-config", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 || *to == "" || len(tokens) != 1 {
		return errors.New("one identity token, one bundle and one artifact are needed")
	}
	if _, err := os.Lstat(*to); err == nil {
		return fmt.Errorf("%s is there already", *to)
	}
	if err := file.Check(*to); err != nil {
		return err
	}
	content, err := contentOf(fs.Arg(0), *inToto)
	if err != nil {
		return err
	}
	ctx, opts := context.Background(), instance(*staging, *root)
	roots, err := trust.Roots(ctx, opts)
	if err != nil {
		return fmt.Errorf("trusted root: %w", err)
	}
	if len(roots) != 1 {
		return fmt.Errorf("%s: %d trusted roots, and one instance signs", *root, len(roots))
	}
	services, err := servicesOf(ctx, opts, *config)
	if err != nil {
		return fmt.Errorf("signing config: %w", err)
	}
	w := &signlog.Writer{
		Root: roots[0].Root, Client: &sigstore.Client{Services: services}, Journal: unkept{}, Now: time.Now,
	}
	data, err := w.Sign(ctx, content, signlog.Signature{
		Token: func(context.Context) (string, error) { return tokens[0], nil },
	})
	if err != nil {
		return err
	}
	return file.Create(*to, data, 0o644)
}

// contentOf returns what is signed of a file: itself, if it is a statement, else its digest.
func contentOf(path string, statement bool) (c sigstore.Content, err error) {
	if statement {
		c.Statement, err = file.Read(path, maxStatement)
		return c, err
	}
	digests, err := release.Digests(path, nil)
	if err != nil {
		return c, err
	}
	c.Digest, err = hex.DecodeString(digests[0].Hex)
	return c, err
}

// servicesOf returns the services that a signing config in a file names now, "" for that of the
// instance.
func servicesOf(ctx context.Context, o trust.Options, path string) (out sigstore.Services, err error) {
	var configs [][]byte
	if path == "" {
		configs, err = trust.SigningConfigs(ctx, o, false)
	} else {
		configs = make([][]byte, 1)
		configs[0], err = file.Read(path, maxConfig)
	}
	if err != nil {
		return out, err
	}
	if out, err = sigstore.ParseSigningConfigs(time.Now(), configs...); err != nil {
		return out, err
	}
	return out, out.Secret()
}

// unkept is the journal of a run that nobody goes on with: the suite judges each by itself.
type unkept struct{}

// LoadEntry implements [signlog.Journal].
func (unkept) LoadEntry(string) (signlog.JournalEntry, error) { return signlog.JournalEntry{}, nil }

// SaveEntry implements [signlog.Journal].
func (unkept) SaveEntry(string, signlog.JournalEntry, signlog.JournalEntry) (bool, error) {
	return true, nil
}
