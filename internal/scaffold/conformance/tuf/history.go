// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
)

const (
	maxArchive  = 64 << 20
	maxManifest = 64 << 20
)

// history follows the archives of a TUF repository in DIR/tuf, oldest first: from
// its first root, with an empty cache, with the cache that the archive before it
// left, from every later root, and from the cache alone. DIR/manifest.json says at
// which time each archive was current.
func history(ctx context.Context, dir string) error {
	data, err := file.Read(filepath.Join(dir, "manifest.json"), maxManifest)
	if err != nil {
		return err
	}
	var manifest struct {
		ReferenceTimes map[string]string `json:"referenceTimes"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "tuf", "*.tar.gz"))
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return errors.New("no archives")
	}
	along, err := os.MkdirTemp("", "tuf-history")
	if err != nil {
		return err
	}
	defer os.RemoveAll(along)
	for _, name := range archives {
		key := strings.TrimSuffix(filepath.Base(name), ".tar.gz")
		now, err := time.Parse(time.RFC3339, manifest.ReferenceTimes[key])
		if err != nil {
			return fmt.Errorf("%s: no reference time: %w", key, err)
		}
		repo, err := unpack(name)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if err := follow(ctx, key, repo, now, along); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// unpack reads an archive whose files are below one directory.
func unpack(name string) (fs.FS, error) {
	f, err := file.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	out := fstest.MapFS{}
	r := tar.NewReader(io.LimitReader(z, maxArchive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if _, below, ok := strings.Cut(path.Clean(h.Name), "/"); ok && h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			out[below] = &fstest.MapFile{Data: data}
		}
	}
}

func follow(ctx context.Context, name string, repo fs.FS, now time.Time, along string) error {
	metadata, err := fs.Sub(repo, "metadata")
	if err != nil {
		return err
	}
	targets, err := fs.Sub(repo, "targets")
	if err != nil {
		return err
	}
	from := func(version int, o tuf.Options) (*tuf.Client, time.Duration, error) {
		var err error
		if o.Root, err = fs.ReadFile(metadata, fmt.Sprintf("%d.root.json", version)); err != nil {
			return nil, 0, err
		}
		o.Now = func() time.Time { return now }
		start := time.Now()
		c, err := tuf.New(o)
		if err != nil {
			return nil, 0, err
		}
		err = c.Refresh(ctx)
		return c, time.Since(start), err
	}
	online := tuf.Options{Source: tuf.FS(metadata, targets)}

	c, took, err := from(1, online)
	if err != nil {
		return err
	}
	newest := c.Root().Version
	fmt.Printf("%s: root 1 to root %d in %s, without a cache\n", name, newest, took.Round(time.Microsecond))
	if err := read(ctx, c); err != nil {
		return err
	}
	for v := 2; v <= int(newest); v++ {
		if c, _, err = from(v, online); err != nil || c.Root().Version != newest {
			return fmt.Errorf("from root %d: %w", v, err)
		}
	}
	fmt.Printf("%s: also from each of the roots 2 to %d\n", name, newest)

	online.Cache = along
	if c, took, err = from(1, online); err != nil {
		return err
	}
	if err := read(ctx, c); err != nil {
		return err
	}
	fmt.Printf("%s: with what was kept until then in %s\n", name, took.Round(time.Microsecond))
	if c, took, err = from(1, tuf.Options{Cache: along}); err != nil || c.Root().Version != newest {
		return fmt.Errorf("from the cache alone: %w", err)
	}
	fmt.Printf("%s: root 1 to root %d in %s, from the cache alone\n", name, newest, took.Round(time.Microsecond))
	if err := read(ctx, c); err != nil {
		return err
	}
	// What has expired is not used, wherever it comes from.
	for _, o := range []tuf.Options{online, {Cache: along}} {
		now = now.AddDate(10, 0, 0)
		if _, _, err := from(1, o); !errors.Is(err, tuf.ErrExpired) {
			return fmt.Errorf("ten years later: %w", err)
		}
		now = now.AddDate(-10, 0, 0)
	}
	fmt.Printf("%s: expired ten years later\n", name)
	return nil
}

// read takes every target, of the delegated roles too, and what the program uses.
func read(ctx context.Context, c *tuf.Client) error {
	top, err := c.Targets(ctx)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(top.Files))
	for _, d := range top.Delegations {
		t, err := c.Targets(ctx, d.Name)
		if err != nil {
			return err
		}
		names = append(names, slices.Sorted(maps.Keys(t.Files))...)
	}
	for _, name := range names {
		if _, err := c.Target(ctx, name); err != nil {
			return err
		}
	}
	r, err := trust.Read(ctx, "history", c)
	if err != nil {
		return err
	}
	for _, name := range []string{trust.SigningConfigTarget, trust.SigningConfigV2Target} {
		data, err := c.Target(ctx, name)
		if errors.Is(err, tuf.ErrNoTarget) {
			continue // the older one has none
		}
		if err != nil {
			return err
		}
		if _, err := sigstore.ParseSigningConfigs(time.Now(), data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	fmt.Printf("  %d targets, %d logs; forge table: %v\n", len(names), len(r.Logs()), r.Forges != (*bindings.Forges)(nil))
	return nil
}

// static follows a repository of the conformance suite: initial_root.json,
// metadata, targets, and the files that say the time and a target.
func static(ctx context.Context, dir string) error {
	read := func(name string) (string, error) {
		data, err := file.Read(filepath.Join(dir, name), maxRootBytes)
		return strings.TrimSpace(string(data)), err
	}
	root, err := read("initial_root.json")
	if err != nil {
		return err
	}
	at, err := read("faketime")
	if err != nil {
		return err
	}
	now, err := fakeTime(at, time.Now())
	if err != nil {
		return err
	}
	target, err := read("targetpath")
	if err != nil {
		return err
	}
	c, err := tuf.New(tuf.Options{
		Root: []byte(root), Now: func() time.Time { return now },
		Source: tuf.FS(os.DirFS(filepath.Join(dir, "metadata")), os.DirFS(filepath.Join(dir, "targets"))),
	})
	if err != nil {
		return err
	}
	if err := c.Refresh(ctx); err != nil {
		return err
	}
	data, err := c.Target(ctx, target)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes\n", target, len(data))
	return nil
}
