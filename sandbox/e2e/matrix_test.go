// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// faults are what the services of the matrix do to whoever asks them.
var faults = []malice.Fault{
	malice.Refuse{}, malice.Untrusted{}, malice.Drop{}, malice.Drip{Every: 3 * time.Second}, malice.Reset{}, malice.Truncate{After: 20},
	malice.Empty{}, malice.Half{}, malice.Status{Code: 500}, malice.Status{Code: 503, RetryAfter: time.Hour}, malice.Status{Code: 429, RetryAfter: time.Hour}, malice.Status{Code: 404},
	malice.Redirect{To: "http://127.0.0.1:9/"}, malice.WrongType{}, malice.Endless{}, malice.GzipBomb{},
}

// TestMatrix lets each service that a command asks have each fault of the network: the
// real program, as a process of its own, comes to no conclusion that it would need the
// service for, in time and in little memory, and says where and what to do; and whoever
// signs has published nothing more than what comes before the fault, and nothing twice
// when the same command is run again.
func TestMatrix(t *testing.T) {
	begin := time.Now()
	const name = "acme/matrix"
	const url = "https://github.com/" + name
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	git(t, p.dir, "tag", "v1")
	p.push2("v1")
	repo, err := stack.Forge().Find(name)
	check(t, err)
	good := releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"})
	bundle, err := os.ReadFile(good + ".sigstore.json")
	check(t, err)
	check(t, stack.Forge().Release(name, "v1", map[string]string{"widget_1.tar.gz": "widget_1.tar.gz", "widget_1.tar.gz.sigstore.json": string(bundle)}))
	bare := artifact(t, "widget_1.tar.gz")
	check(t, stack.Forge().Attest(name, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("widget_1.tar.gz"))), bundle))
	registry := aRegistry(t, &atomic.Bool{})
	newComputer(t).must(policy.ClassOK, "export", "-R", url, "--oci", "oci:"+registry+"/acme/matrix:policy")
	directory := newOperator(t)
	directory.build()
	tufRoot, err := stack.TUFRoot()
	check(t, err)

	m := &matrix{measured: newMeasured(t), root: stack.TrustedRoot(), v1: stack.SigningConfig(1), v2: stack.SigningConfig(2)}
	rows := map[string]func(c *cell){
		"forge": func(c *cell) { c.atForge("", "verify", "-R", name, good) },
		"release": func(c *cell) {
			switch c.fault.(type) {
			case malice.Drop, malice.Drip:
				return // content has a rate of its own and may take minutes; see internal/web
			case malice.Empty, malice.Half, malice.WrongType: // another file
				c.means = []policy.Class{policy.ClassDeny, policy.ClassInvalid}
			}
			c.atForge("/github-production-release-asset/", "verify", "--max-size", "16M", url+"/releases/tag/v1")
		},
		"attestations": func(c *cell) {
			if c.fault == malice.Fault(malice.Status{Code: 404}) { // there are none
				c.means = []policy.Class{policy.ClassDeny}
			}
			c.atForge("/repos/", "verify", "-R", name, bare)
		},
		"index":  func(c *cell) { c.inRoot(sandbox.RekorV1, "verify", "-R", name, good) },
		"tiles":  func(c *cell) { c.inRoot(sandbox.Rekor, "verify", "-R", name, "--scan", good) },
		"status": func(c *cell) { c.inRoot(sandbox.RekorV1, "status", "--git", p.dir) },
		"registry": func(c *cell) {
			l := c.line("http://"+registry, c.fault)
			c.fails(l.Host(), nil, "show", "-R", name, "--trusted-root", c.through("root.json", c.root, nil), "--from", "oci:"+l.Host()+"/acme/matrix:policy")
		},
		"directory": func(c *cell) {
			l := c.line(directory.descriptor.URL, c.fault)
			at := c.through("directory.json", directory.descriptor.Bytes(), map[string]*malice.Line{directory.descriptor.URL: l})
			c.fails(l.Host(), nil, "verify", "-R", name, "--trusted-root", c.through("root.json", c.root, nil), "--directory", at, good)
		},
		"trust root": func(c *cell) {
			l := c.line(stack.URL(sandbox.TUF), c.fault)
			config := c.through("trust.toml", fmt.Appendf(nil, "format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"first\"\nurl = %q\ninitial = %q\n[[scope]]\nrepositories = [%q]\nroots = [\"first\"]\nthreshold = 1\n", l.URL, c.through("1.root.json", tufRoot, nil), url), nil)
			c.fails(l.Host(), nil, "verify", "-R", name, "--trust-config", config, good)
		},
	}
	for service, path := range map[sandbox.Service]string{sandbox.Fulcio: "", sandbox.TSA: "", sandbox.RekorV1: "/api/v1/log/entries", sandbox.Rekor: "/api/v2/log/entries"} {
		rows["sign "+string(service)] = func(c *cell) { c.sign(service, path) }
	}
	rows["sign look"] = func(c *cell) { c.sign(sandbox.RekorV1, look) }
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, job *computer, checkout string) {
		rows["token"] = func(c *cell) {
			was := job.env["ACTIONS_ID_TOKEN_REQUEST_URL"]
			l := c.line(stack.URL(sandbox.Issuer), c.fault)
			env := []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + l.URL + strings.TrimPrefix(was, stack.URL(sandbox.Issuer))}
			for k, v := range job.env {
				if k != "ACTIONS_ID_TOKEN_REQUEST_URL" {
					env = append(env, k+"="+v)
				}
			}
			c.fails(l.Host(), env, "authorize", "--checkout", checkout, "--trusted-root", c.through("root.json", c.root, nil), bare)
		}
		cells := map[string]func(t *testing.T){}
		for row, check := range rows {
			for i, f := range append(faults, nil) {
				cells[fmt.Sprintf("%s %d %T", row, i, f)] = func(t *testing.T) {
					c := &cell{matrix: m, t: t, fault: f, home: t.TempDir(), time: runTime, resident: maxResident}
					if f == nil {
						c.time = time.Minute
					}
					check(c)
				}
			}
		}
		sideBySide(t, 8, cells)
	})
	t.Logf("%d services by %d faults: %d runs in %s, %d KiB at most, in %s", len(rows), len(faults), m.runs, time.Since(begin).Round(time.Second), m.worst.resident, m.where)
}
