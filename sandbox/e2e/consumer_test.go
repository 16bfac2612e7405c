// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/consumer"
)

// TestConsumer: a program of somebody else, built on the public packages alone, verifies by
// the policy that a repository bound, and refuses what its release workflow did not sign.
func TestConsumer(t *testing.T) {
	const name = "acme/consumed"
	const url = "https://github.com/" + name
	_, good := bound(t, name)
	bin := consumer.Build(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, r.Header.Get("Asked-For"), r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if out.ContentLength = r.ContentLength; out.ContentLength == 0 {
			out.Body = nil
		}
		out.Header = r.Header.Clone()
		out.Header.Del("Asked-For")
		out.Header.Del("Accept-Encoding")
		res, err := stack.Transport().RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}))
	defer srv.Close()
	c, state := newComputer(t), t.TempDir()
	for _, row := range []struct{ what, file, tag, says string }{
		{"what was released", good, "v1", "released by " + url},
		{"with memory", good, "v1", "released by " + url},
		{"of another tag", good, "v2", "DENY"},
		{"another file", artifact(t, "widget_1.tar.gz"), "v1", "DENY"},
	} {
		out, err := exec.Command(bin, "-root", c.root, "-state", state, "-via", srv.URL, "-tag", row.tag, strings.TrimPrefix(url, "https://"), row.file).CombinedOutput()
		if ok := strings.HasPrefix(row.says, "released"); (err == nil) != ok || !strings.HasPrefix(string(out), row.says) {
			t.Errorf("%s: %v\n%s", row.what, err, out)
		}
	}
	if out, err := exec.Command(bin, "-root", c.root, "-state", t.TempDir(), "-via", srv.URL, "-tag", "v1", "acme/unbound", good).CombinedOutput(); err == nil {
		t.Errorf("nobody bound a policy: %s", out)
	}
}
