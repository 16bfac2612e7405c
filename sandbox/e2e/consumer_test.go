// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/scaffold/consumer"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
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

// TestClientAuthorize: a program of somebody else asks for a run by its token whether it may
// release, and is told so only as of now.
func TestClientAuthorize(t *testing.T) {
	const name = "acme/asked-elsewhere"
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	git(t, p.dir, "tag", "v1")
	p.push2("v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, _ string) {
		token := func(audience string) string {
			s := oidc.Surroundings{Getenv: func(name string) string { return c.env[name] }, Get: func(ctx context.Context, address, bearer string) ([]byte, error) {
				return web.GetAuthorized(ctx, address, bearer, c.transport, "e2e", 64<<10)
			}}
			raw, err := s.Token(t.Context(), audience)
			check(t, err)
			return raw
		}
		client := repopolicy.Client{TrustedRoots: []string{c.root}, StateDir: c.state, HTTP: c.transport}
		found, err := client.Find(t.Context(), "github.com/"+name)
		check(t, err)
		ask := func(p *repopolicy.Policy, token string, names ...string) string {
			a, err := client.Authorize(t.Context(), p, token, names...)
			var f *policy.Fault
			switch {
			case errors.As(err, &f):
				return string(f.Reason)
			case err != nil:
				return err.Error()
			case a.OK() != (a.Class() == policy.ClassOK):
				t.Error("OK and class disagree")
			}
			return a.Class().String()
		}
		file, err := client.Pinned(t.Context(), "policy.toml", policyText(name, 1, 1, "alice"))
		check(t, err)
		own := token(oidc.Audience)
		only := func(workflow string) *repopolicy.Policy {
			p, err := found.Only("https://github.com/"+name+"/"+workflow+"@refs/tags/v1", "https://token.actions.githubusercontent.com")
			check(t, err)
			return p
		}
		for _, row := range []struct {
			what string
			p    *repopolicy.Policy
			raw  string
			name string
			want string
		}{
			{"what the rule names", found, own, artifact(t, "widget_1.tar.gz"), "OK"},
			{"what is not there yet", found, own, "widget_2.tar.gz", "OK"},
			{"another name", found, own, "gadget_1.tar.gz", "DENY"},
			{"a token to sign with", found, token("sigstore"), "widget_1.tar.gz", string(policy.TokenRefused)},
			{"no token", found, "", "widget_1.tar.gz", string(policy.TokenInvalid)},
			{"a cut token", found, own[:len(own)-4], "widget_1.tar.gz", string(policy.TokenInvalid)},
			{"the one who may", only(".github/workflows/release.yml"), own, "widget_2.tar.gz", "OK"},
			{"another than the one who may", only(".github/workflows/other.yml"), own, "widget_2.tar.gz", "DENY"},
			{"a policy of a file", file, own, "widget_1.tar.gz", string(policy.Usage)},
		} {
			if got := ask(row.p, row.raw, row.name); got != row.want {
				t.Errorf("%s: %s, want %s", row.what, got, row.want)
			}
		}
		client.Offline = true
		if got := ask(found, own, "widget_1.tar.gz"); got != string(policy.Usage) {
			t.Errorf("off-line: %s", got)
		}
		// What was known is not enough: nobody can be asked.
		client.Offline, client.HTTP = false, nowhere{}
		if got := ask(found, own, "widget_1.tar.gz"); got != string(policy.RepositoryUnreachable) {
			t.Errorf("without a network: %s", got)
		}
	})
}

// nowhere is a network without services.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, errors.New("no route to " + r.URL.Host)
}
