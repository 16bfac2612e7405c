// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// agree runs the command line on a case and compares what its three outputs
// say: JSON, text and exit code.
func (c *corpus) agree(t *tally, what string, tc *testCase, flags ...string) {
	root := c.named[tc.Trust.Root]
	if rel, ok := strings.CutPrefix(tc.Trust.Root, "custom:"); ok {
		root = rel
	}
	args := append([]string{"verify", "--offline", "--trusted-root", c.path(root), "-b", c.path(tc.Bundle.Path)}, flags...)
	args = append(args, c.argument(tc))

	var out bytes.Buffer
	run := func(format string) int {
		out.Reset()
		return cli.Main(append(args, "--format", format), cli.Env{
			Stdout: &out, Stderr: io.Discard, Now: time.Now,
			Root: func(context.Context, bool) ([]*sigstore.Root, error) { return nil, os.ErrNotExist },
		})
	}
	exit := run("json")
	var doc struct {
		Verdict   string
		Exit      int
		Artifacts []struct{ Verdict string }
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.check(false, what, "JSON output: %s", err)
		return
	}
	textExit := run("text")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	ok := exit == doc.Exit && exit == textExit && strings.HasPrefix(last, doc.Verdict+":") &&
		strings.HasPrefix(lines[0], doc.Verdict) && len(doc.Artifacts) == 1 && doc.Artifacts[0].Verdict == doc.Verdict && (exit == 0) == (doc.Verdict == "OK")
	t.check(ok, what, "exits %d and %d, JSON says %d %s, text ends %q", exit, textExit, doc.Exit, doc.Verdict, last)
}

// argument returns the case's artifact as a user would name it.
func (c *corpus) argument(tc *testCase) string {
	if tc.Artifact != nil && tc.Artifact.Path != nil {
		return c.path(*tc.Artifact.Path)
	}
	if d, ok := tc.digest(); ok && d.Alg != "sha1" {
		return d.String()
	}
	return fmt.Sprintf("sha256:%064d", 0)
}
