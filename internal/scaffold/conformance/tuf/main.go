// SPDX-License-Identifier: Apache-2.0

// Command tuf speaks the protocol by which the conformance suite of The Update
// Framework calls a client, so that anyone can run that suite against ours:
//
//	tuf --metadata-dir DIR init ROOT
//	tuf --metadata-dir DIR --metadata-url URL refresh
//	tuf --metadata-dir DIR --metadata-url URL --target-name NAME --target-base-url URL --target-dir DIR download
//
// Beside, it follows what repositories published:
//
//	tuf history DIR   archives of Sigstore's repository, from the root of 2021 on
//	tuf static DIR    a repository of the suite
//
// The time is that of the machine, or of FAKETIME as libfaketime's wrapper sets
// it, which a Go program does not notice otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	agent        = "repopolicy-conformance"
	maxRootBytes = 1 << 20
	maxTime      = 10 * time.Minute // of one command
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	c := &client{}
	var names []string
	f := flag.NewFlagSet("tuf", flag.ContinueOnError)
	f.StringVar(&c.dir, "metadata-dir", "", "")
	f.StringVar(&c.metadata, "metadata-url", "", "")
	f.StringVar(&c.targets, "target-base-url", "", "")
	f.StringVar(&c.out, "target-dir", "", "")
	f.Func("target-name", "", func(s string) error { names = append(names, s); return nil })
	if err := f.Parse(args); err != nil {
		return err
	}
	now, err := fakeTime(os.Getenv("FAKETIME"), time.Now())
	if err != nil {
		return err
	}
	c.now = now
	switch {
	case f.Arg(0) == "history" && f.NArg() == 2:
		return history(ctx, f.Arg(1))
	case f.Arg(0) == "static" && f.NArg() == 2:
		return static(ctx, f.Arg(1))
	case c.dir == "":
	case f.Arg(0) == "init" && f.NArg() == 2:
		return c.init(f.Arg(1))
	case f.Arg(0) == "refresh" && f.NArg() == 1:
		return c.with(ctx, func(*tuf.Client) error { return nil })
	case f.Arg(0) == "download" && f.NArg() == 1 && c.out != "":
		return c.with(ctx, func(t *tuf.Client) error {
			for _, name := range names {
				if err := c.download(ctx, t, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return errors.New("see `go doc` for the commands")
}

// client is one call by the suite. What the client keeps is below .client; what
// the suite wants to see is copied beside, under the names it expects.
type client struct {
	dir, metadata, targets, out string
	now                         time.Time
}

func (c *client) private(name ...string) string {
	return filepath.Join(append([]string{c.dir, ".client"}, name...)...)
}

func (c *client) init(root string) error {
	data, err := file.Read(root, maxRootBytes)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.private("cache"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(c.private("initial_root.json"), data, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.dir, "root.json"), data, 0o600)
}

// with refreshes, does something with the client, and shows what it then keeps.
func (c *client) with(ctx context.Context, do func(*tuf.Client) error) error {
	root, err := file.Read(c.private("initial_root.json"), maxRootBytes)
	if err != nil {
		return err
	}
	metadata, err := web.New(c.metadata, nil, agent)
	if err != nil {
		return err
	}
	targets := metadata
	if c.targets != "" {
		if targets, err = web.New(c.targets, nil, agent); err != nil {
			return err
		}
	}
	t, err := tuf.New(tuf.Options{
		Root: root, Source: tuf.HTTP(metadata, targets), Cache: c.private("cache"), Now: func() time.Time { return c.now },
	})
	if err != nil {
		return err
	}
	if err = t.Refresh(ctx); err == nil {
		err = do(t)
	}
	return errors.Join(err, c.show())
}

// download writes a target, if it is not there already. A file that is something
// else is replaced as a whole.
func (c *client) download(ctx context.Context, t *tuf.Client, name string) error {
	target, err := t.Find(ctx, name)
	if err != nil {
		return err
	}
	path := filepath.Join(c.out, url.QueryEscape(name))
	if data, err := file.Read(path, target.Length); err == nil && target.Check(data) == nil {
		return nil
	}
	data, err := t.Fetch(ctx, target)
	if err != nil {
		return err
	}
	return file.Write(path, data, 0o600)
}

// show copies what the client keeps, and removes what it keeps no more.
func (c *client) show() error {
	kept := map[string]string{} // where it is, by the name that it is shown under
	newest := int64(0)
	err := filepath.WalkDir(c.private("cache"), func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".json") {
			return err
		}
		if n, isRoot := strings.CutSuffix(name, ".root.json"); isRoot && filepath.Base(filepath.Dir(path)) == "roots" {
			version, err := strconv.ParseInt(n, 10, 64)
			if err != nil || version < newest {
				return err
			}
			newest, name = version, "root.json"
		}
		kept[name] = path
		return nil
	})
	if err != nil {
		return err
	}
	shown, err := filepath.Glob(filepath.Join(c.dir, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range shown {
		if name := filepath.Base(path); kept[name] == "" && name != "root.json" {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, path := range kept {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// fakeTime reads FAKETIME: "" for now, an offset such as +18d or -3600, or a time.
func fakeTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return now, nil
	}
	if s[0] == '+' || s[0] == '-' {
		unit := time.Second
		if i := strings.IndexByte("smhdy", s[len(s)-1]); i >= 0 {
			unit = []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 365 * 24 * time.Hour}[i]
			s = s[:len(s)-1]
		}
		n, err := strconv.ParseFloat(s, 64)
		return now.Add(time.Duration(n * float64(unit))), err
	}
	s = strings.TrimPrefix(s, "@")
	for _, layout := range []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return now, fmt.Errorf("FAKETIME: %q is no time", s)
}
