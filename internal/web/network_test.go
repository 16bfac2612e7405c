// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestNoNetwork: what a run is told where nobody can be reached, and where somebody was.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	system := func(n syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", n)}
	}
	unnamed := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "a.example", IsNotFound: true}}
	for what, c := range map[string]struct {
		err            error
		first, another string // where nobody was reached before, and somebody was; "" for the error itself
	}{
		"no such name": {unnamed, "no network: a.example: no such host", "a.example: no such host"},
		"no resolver": {
			&net.DNSError{Err: "server misbehaving", IsTemporary: true},
			"no network: a.example: its name could not be looked up: server misbehaving",
			"a.example: its name could not be looked up: server misbehaving",
		},
		"no route": {
			system(syscall.ENETUNREACH), "no network: a.example: there is no way to it", "a.example: there is no way to it",
		},
		"refused":  {system(syscall.ECONNREFUSED), "", ""},
		"canceled": {context.Canceled, "", ""},
	} {
		var fails bool
		d := &dialer{dial: func(context.Context, string, string) (net.Conn, error) {
			if fails {
				return nil, c.err
			}
			return nil, nil
		}}
		for _, want := range []string{c.first, c.another} {
			fails = true
			_, err := d.DialContext(t.Context(), "tcp", "a.example:443")
			if !errors.Is(err, c.err) || want != "" && err.Error() != want || want == "" && err != c.err { //nolint:errorlint // the same value
				t.Errorf("%s: %v, want %s", what, err, want)
			}
			fails = false
			if _, err := d.DialContext(t.Context(), "tcp", "b.example:443"); err != nil {
				t.Error(err)
			}
		}
	}
	for text, want := range map[string][2]string{
		`15.root.json: Get "https://a.example/15": no network: a.example: no such host`: {
			"no network: a.example: no such host", `15.root.json: Get "https://a.example/15"`,
		},
		"no network: x": {"no network: x", ""},
		"refused":       {"", "refused"},
	} {
		missing, doing, ok := NoNetwork(text)
		if missing != want[0] || doing != want[1] || ok != (missing != "") {
			t.Errorf("%q: %q %q %v", text, missing, doing, ok)
		}
	}
}
