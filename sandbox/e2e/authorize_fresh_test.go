// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestAuthorizeUnanswered: before a release nothing that is at hand stands for an answer:
// whatever keeps the directory from giving one, or the trust root from being asked, and however
// fresh the staple of the branch and what an earlier run of the machine kept.
func TestAuthorizeUnanswered(t *testing.T) {
	const name = "acme/unanswered"
	url := "https://github.com/" + name
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	p.tag("v1")
	o := newOperator(t)
	o.build()
	site := o.descriptor.URL
	staple := filepath.Join(o.dir, "staple.json.gz")
	o.must(policy.ClassOK, "staple", "--directory", o.descriptorFile, "--trusted-root", o.root, "-R", url, "-o", staple)
	answer, err := os.ReadFile(staple)
	check(t, err)
	p.staple(answer)
	file := artifact(t, "widget_1.tar.gz")
	config := trustConfig(t, stack, "\n[[scope]]\nrepositories = [\""+url+"\"]\nroots = [\"first\"]\nthreshold = 1\n")
	lookups := "/" + bindings.MapID(bindings.MapVersion, root(t).Digest().Hex, "") + "/lookup/"

	push := forge.Event{Name: "push", Ref: "refs/tags/v1"}
	p.inJob(push, "release.yml", func(_ *forge.Job, c *computer, checkout string) {
		c.config = config
		authorize := func(want policy.Class, text string, more ...string) {
			t.Helper()
			args := []string{"authorize", "--directory", o.descriptorFile, "--checkout", checkout, file}
			out := c.must(want, append(args, more...)...)
			if !strings.Contains(out, text) {
				t.Errorf("%s: no %q in\n%s", more, text, out)
			}
		}
		show := func() { // which the staple and the cache are enough for
			t.Helper()
			c.must(policy.ClassOK, "show", "-R", url, "--directory", o.descriptorFile)
		}
		authorize(policy.ClassOK, "OK: may sign")
		for _, fault := range []malice.Fault{
			malice.Drop{}, malice.Reset{}, malice.Status{Code: 500}, malice.Empty{},
			malice.On{Path: lookups, Fault: malice.Status{Code: 404}}, // withheld
		} {
			h, err := malice.Wrap(fault, http.FileServer(http.Dir(o.site)))
			check(t, err)
			srv := httptest.NewServer(h)
			o.at(srv.URL)
			c.timeout = time.Second / 2
			for _, more := range [][]string{nil, {"--preflight"}, {"--stage", "publish"}} {
				authorize(policy.ClassUnavailable, "no answer from the directory", more...)
			}
			c.timeout = 0
			show()
			srv.CloseClientConnections()
			srv.Close()
		}
		o.at("http://127.0.0.1:9") // nobody is there
		authorize(policy.ClassUnavailable, "no answer from the directory")
		show()
		o.at(site)
		authorize(policy.ClassOK, "OK: may sign")

		for _, fault := range []malice.Fault{malice.Status{Code: 500}, malice.Reset{}} {
			undo, err := stack.Misbehave(sandbox.TUF, fault)
			check(t, err)
			authorize(policy.ClassUnavailable, "trust")
			show()
			check(t, undo())
		}
		authorize(policy.ClassOK, "OK: may sign")
	})
}
