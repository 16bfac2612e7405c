// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// TestDirectoryServed: a server answers like a site of files, and that there is
// nothing without a second question.
func TestDirectoryServed(t *testing.T) {
	const name = "acme/served"
	files := bindAs(t, name, true)
	o := newOperator(t)
	self, err := os.Executable()
	check(t, err)
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--interval", "1h"}, o.buildArgs()[1:]...)
	args = append(args[:7], args[9:]...) // it writes no site
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = o.env
	talk, err := cmd.StderrPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewReader(talk)
	line, err := lines.ReadString('\n')
	check(t, err)
	base := strings.TrimSpace(strings.TrimPrefix(line, "listening at "))
	// The first build is done when it says so.
	if line, err = bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "leaf 0: ") {
		rest, _ := io.ReadAll(lines)
		t.Fatalf("%q %v\n%s", line, err, rest)
	}
	asked := 0
	count := roundTripper(func(r *http.Request) (*http.Response, error) {
		asked++
		return http.DefaultTransport.RoundTrip(r)
	})
	m := newMachine(t)
	d := o.lookup(m)
	d.Client, err = web.New(base, count, "repopolicy-e2e")
	check(t, err)
	if res := m.resolve(name, files, d); res.Chain.Reason() != "" || len(res.Failed) > 0 || asked != 1 {
		t.Errorf("%s %v, %d requests", res.Chain.Reason(), res.Failed, asked)
	}
	for _, absent := range []string{"acme/not-served", "acme/nor-this"} {
		asked = 0
		if res := m.resolve(absent, nil, d); res.Chain.Reason() != policy.NoBinding || len(res.Failed) > 0 || asked != 1 {
			t.Errorf("%s: %s %v, %d requests", absent, res.Chain.Reason(), res.Failed, asked)
		}
	}
	for path, want := range map[string]string{"/healthz": "ok", "/metrics": "404", "/tile/": "404", "/tile/entries/": "404", "/tile/" + strings.Repeat("0", 300): "404", "/nothing": "404", "/tile/../state.db": "404"} {
		resp, err := http.Get(base + path)
		check(t, err)
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		check(t, err)
		resp.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	check(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
