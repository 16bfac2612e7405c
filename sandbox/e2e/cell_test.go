// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

const (
	// maxResident is how much memory a run holds when a service has a fault of the network,
	// in KiB. SECURITY.md allows twice as much.
	maxResident = 128 << 10
	// runTime is the --timeout of a run. A service that hangs uses it up, the others end
	// long before it.
	runTime = 5 * time.Second
	// busy is what a loaded machine adds to a run.
	busy = 5 * time.Second
)

// matrix is what all of its cells share.
type matrix struct {
	measured
	root, v1, v2 []byte // trusted root and signing configs

	mu    sync.Mutex
	runs  int
	worst ran
	where string
}

// cell is one service with one fault.
type cell struct {
	*matrix
	t     *testing.T
	fault malice.Fault
	home  string
	means []policy.Class // that the fault may mean, beside that there is no conclusion

	time     time.Duration // of a run
	resident int           // KiB
}

// sideBySide runs tests below another one, some at a time: more than there are processors,
// since who waits for a service that hangs does nothing.
func sideBySide(t *testing.T, n int, tests map[string]func(*testing.T)) {
	slots := make(chan struct{}, n)
	var all sync.WaitGroup
	for name, test := range tests {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.Run(name, test)
		})
	}
	all.Wait()
}

// line opens a line of the cell's own to an address, with a fault if one is named.
func (c *cell) line(to string, f malice.Fault) *malice.Line {
	c.t.Helper()
	l, err := malice.NewLine(to, f)
	check(c.t, err)
	c.t.Cleanup(l.Close)
	return l
}

// through writes a file in which an address is replaced by that of a line.
func (c *cell) through(name string, content []byte, lines map[string]*malice.Line) string {
	c.t.Helper()
	for was, l := range lines {
		content = bytes.ReplaceAll(content, []byte(`"`+was+`"`), []byte(`"`+l.URL+`"`))
	}
	path := filepath.Join(c.t.TempDir(), name)
	check(c.t, os.WriteFile(path, content, 0o600))
	return path
}

// run runs the program, within its time and its memory.
func (c *cell) run(env []string, args ...string) ran {
	c.t.Helper()
	r := c.matrix.run(c.t, c.home, env, append(args, "--timeout", c.time.String())...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs++; r.resident > c.worst.resident {
		c.worst, c.where = r, c.t.Name()
	}
	c.t.Logf("exit %d, %d KiB, %s", r.code, r.resident, r.took.Round(10*time.Millisecond))
	if r.resident > c.resident || r.took > c.time*11/10+busy {
		c.t.Errorf("%d KiB, %s\n%s", r.resident, r.took, r.out)
	}
	return r
}

// fails runs the program, which cannot come to a conclusion for a service at a host.
func (c *cell) fails(host string, env []string, args ...string) ran {
	c.t.Helper()
	r := c.run(env, args...)
	var classes []int // others that an answer may mean
	for _, class := range c.means {
		classes = append(classes, class.Exit())
	}
	switch {
	case c.fault == nil:
		if r.code != policy.ClassOK.Exit() {
			c.t.Errorf("all is well: exit %d\n%s", r.code, r.out)
		}
	case slices.Contains(classes, r.code):
	case r.code == policy.ClassOK.Exit() && trailing(c.fault): // what follows an answer is not read
	case r.code != policy.ClassUnavailable.Exit():
		c.t.Errorf("exit %d after %s\n%s", r.code, r.took, r.out)
	case !strings.Contains(r.out, host) || !strings.Contains(r.out, "hint"):
		c.t.Errorf("no %s or no hint\n%s", host, r.out)
	}
	return r
}

// inRoot runs the program, and a log that the trusted root names has the fault.
func (c *cell) inRoot(service sandbox.Service, args ...string) {
	l := c.line(stack.URL(service), c.fault)
	root := c.through("root.json", c.root, map[string]*malice.Line{stack.URL(service): l})
	c.fails(l.Host(), nil, append(args, "--trusted-root", root)...)
}

// atForge runs the program, and the forge has the fault for what is below a path.
func (c *cell) atForge(path string, args ...string) {
	f, ca := c.fault, ""
	switch {
	case f == malice.Fault(malice.Untrusted{}): // as whoever trusts nobody sees it
		f, ca = nil, "SSL_CERT_FILE=/dev/null"
	case path != "" && f != nil && !connection(f):
		f = malice.On{Path: path, Fault: f}
	}
	env := append(viaProxy(c.t, c.line(stack.URL(sandbox.Forge), f).Host()), ca)
	c.fails("github", env, append(args, "--trusted-root", c.through("root.json", c.root, nil))...)
}

// connection reports whether a fault ends a request before anything of it was read.
func connection(f malice.Fault) bool {
	switch f.(type) {
	case malice.Refuse, malice.Untrusted:
		return true
	}
	return false
}

// trailing reports whether a fault adds to an answer that is whole.
func trailing(f malice.Fault) bool {
	switch f.(type) {
	case malice.Endless, malice.GzipBomb:
		return true
	}
	return false
}
