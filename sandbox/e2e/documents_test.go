// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/policy"
)

// document runs a command with --format json, demands that its output is what a schema says, and
// returns it.
func (c *computer) document(schema string, class policy.Class, args ...string) map[string]any {
	c.t.Helper()
	c.alone = true
	defer func() { c.alone = false }()
	out := c.must(class, append(args, "--format", "json")...)
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "schema", schema+".json"))
	check(c.t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		c.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	doc, _ := v.(map[string]any)
	return doc
}

// TestDocuments: what people read of a policy, of many and of trust roots, programs can read, too.
func TestDocuments(t *testing.T) {
	const name = "acme/documented"
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	p.write(".repopolicy/policy.toml", strings.Replace(string(policyText(name, 2, 1, "alice", "bob")),
		"threshold = 1",
		"threshold = 2", 1))
	git(t, p.dir, "fetch", "-q", "origin")
	git(t, p.dir, "checkout", "origin/repopolicy", "--", ".repopolicy/signatures")
	p.commit("two of us")
	c := newComputer(t)
	c.must(policy.ClassOK, "lock", "-R", name, "-o", filepath.Join(p.dir, "widget.lock"))

	doc := c.document("status-v1", policy.ClassOK, "status", "--git", p.dir)
	if doc["bound"] != false || doc["needed"] != json.Number("2") || doc["pushed"] != false {
		t.Errorf("%v", doc)
	}
	for _, who := range []string{"alice", "bob"} {
		var err error
		m := newComputer(t)
		m.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf(who))
		check(t, err)
		m.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	}
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	git(t, p.dir, "fetch", "-q", "origin")
	doc = c.document("status-v1", policy.ClassOK, "status", "--git", p.dir)
	if signed, _ := doc["signed_by"].([]any); doc["bound"] != true || len(signed) != 2 {
		t.Errorf("%v", doc)
	}
	if doc = c.document("show-v1", policy.ClassOK, "show", "-R", name); !strings.Contains(doc["text"].(string),
		"bob") {
		t.Errorf("%v", doc)
	}
	doc = c.document("log-v1", policy.ClassOK, "log", "-R", name)
	versions, _ := doc["versions"].([]any)
	if len(versions) != 2 {
		t.Fatalf("%v", doc)
	}
	second := versions[1].(map[string]any)
	if signed, changes := second["signed_by"].([]any),
		second["changes"].([]any); len(signed) != 2 || len(changes) != 2 {
		t.Errorf("%v", second)
	}
	c.says(policy.ClassOK, []string{"log", "-R", name}, "  signed by   alice\n", "  signed by   alice, bob\n",
		", between 20",
		"  changed     ~ maintainers.threshold: 2, was 1\n")
	c.says(policy.ClassOK, []string{"lock", "-R", name, "-o", filepath.Join(p.dir, "widget.lock")},
		"version 2 is new, signed by alice, bob", "maintainers.threshold: 2, was 1")
	c.says(policy.ClassOK, []string{"lock", "-R", name, "-o", filepath.Join(p.dir, "widget.lock")},
		"nothing has changed")
	c.document("trust-v1", policy.ClassOK, "trust", "show")

	// Many at once, by name, in a file, or of an owner.
	_, err := stack.Forge().Create("acme/undocumented")
	check(t, err)
	_, err = stack.Forge().Commit("acme/undocumented", "main", map[string]string{"README": "x"})
	check(t, err)
	file := filepath.Join(t.TempDir(), "repositories")
	check(t, os.WriteFile(file,
		[]byte("# ours\nacme/documented # good\r\n\nhttps://github.com/acme/undocumented\nAcme/Documented\n"), 0o600))
	doc = c.document("fleet-v1", policy.ClassNoPolicy, "status", "--repositories", file)
	rows, _ := doc["repositories"].([]any)
	if len(rows) != 2 || rows[0].(map[string]any)["verdict"] != "OK" || rows[1].(map[string]any)["reason"] != "no-binding" {
		t.Errorf("%v", doc)
	}
	c.document("fleet-v1", policy.ClassOK, "status", "-R", name)
	c.says(policy.ClassNoPolicy, []string{"status", "-R", name, "-R", "acme/undocumented"}, "REPOSITORY ",
		"https://github.com/acme/documented    OK         2        ",
		"NO_POLICY  -        -           -      -         no-binding")
	c.must(policy.ClassUsage, "status", "-R", name, "--git", p.dir)
	c.must(policy.ClassUsage, "status", "-R", "not a name")
	c.must(policy.ClassUsage, "status", "--repositories", filepath.Join(t.TempDir(), "nothing"))
	c.transport = owners{stack.Transport(), map[string]string{
		"/orgs/acme/repos": `[{"full_name":"acme/documented"},{"full_name":"acme/gone","archived":true},{"full_name":"acme/fork","fork":true}]`,
		"/users/bob/repos": `[{"full_name":"acme/documented"}]`,
	}}
	if doc := c.document("fleet-v1", policy.ClassOK, "status", "--org",
		"acme"); len(doc["repositories"].([]any)) != 1 {
		t.Errorf("%v", doc)
	}
	c.saying(policy.ClassUnavailable, "not asked for", "status", "--org", "bob")
	c.saying(policy.ClassUnavailable, "--repositories", "status", "--org", "nobody")
	c.must(policy.ClassUnavailable, "status", "--org", "a/b")
}

// owners plays the API's lists of what owners have.
type owners struct {
	next  http.RoundTripper
	lists map[string]string
}

func (o owners) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := strings.SplitN(r.URL.Path, "/", 3)[1]
	if r.URL.Host != "api.github.com" || kind != "orgs" && kind != "users" {
		return o.next.RoundTrip(r)
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Request: r}
	text, ok := o.lists[r.URL.Path]
	if !ok {
		resp.StatusCode = http.StatusNotFound
	}
	resp.Body = io.NopCloser(strings.NewReader(text))
	return resp, nil
}
