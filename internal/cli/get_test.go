// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
)

// depot is a TUF repository of go-tuf's on a web server, and a machine that gets from it.
type depot struct {
	t      *testing.T
	mu     sync.Mutex // orders what the test changes and what is served, also to another process
	sim    *tuftest.Sim
	url    string
	env    command.Env
	target func(w http.ResponseWriter, r *http.Request, content []byte) // answers for a target; nil as usual
	now    time.Time
	ref    *tuftest.Reference // go-tuf's client
}

func newDepot(t *testing.T) *depot {
	d := &depot{t: t, sim: tuftest.New(t), env: place(t)}
	d.now, d.ref = d.env.Now(), d.sim.Reference()
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	d.url = s.URL
	state := t.TempDir()
	d.env.StateDir = func() (string, error) { return state, nil }
	d.env.Now = func() time.Time { return d.now }
	check(t, os.WriteFile("pin.json", d.sim.Files["1.root.json"], 0o600))
	return d
}

func (d *depot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isTarget := strings.CutPrefix(r.URL.Path, "/targets/")
	d.mu.Lock()
	from, answer := d.sim.Files, d.target
	if !isTarget {
		name = strings.TrimPrefix(r.URL.Path, "/")
	} else {
		from = d.sim.Content
	}
	data, ok := from[name]
	d.mu.Unlock()
	switch {
	case !ok:
		http.NotFound(w, r)
	case isTarget && answer != nil:
		answer(w, r, data)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// answers sets how targets are served; nil as usual.
func (d *depot) answers(f func(w http.ResponseWriter, r *http.Request, content []byte)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = f
}

// add publishes a target with custom metadata; "" for none.
func (d *depot) add(name, content, custom string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sim.Targets["targets"].Signed.Version++
	d.sim.Add("targets", name, content)
	if custom != "" {
		raw := json.RawMessage(custom)
		d.sim.Targets["targets"].Signed.Targets[name].Custom = &raw
	}
	d.sim.Publish()
}

// get runs the command.
func (d *depot) get(args ...string) (code int, out, talk string) {
	d.t.Helper()
	var stdout, stderr bytes.Buffer
	env := d.env
	env.Stdout, env.Stderr = &stdout, &stderr
	code = Main(append([]string{"get"}, args...), env)
	return code, stdout.String(), stderr.String()
}

// left returns what is in the working directory beside what place and newDepot wrote.
func left(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	check(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".repopolicy-get-") || strings.HasPrefix(e.Name(), "artifact") {
			names = append(names, e.Name())
		}
	}
	return names
}

// partial returns what is kept of a download.
func partial(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob(".repopolicy-get-*/*.partial")
	check(t, err)
	if len(all) != 1 {
		return ""
	}
	data, err := os.ReadFile(all[0])
	check(t, err)
	return string(data)
}

const artifact = "content of an artifact"

// TestGet: what go-tuf authored is got from everywhere, and nothing is left beside it.
func TestGet(t *testing.T) {
	d := newDepot(t)
	d.add("dir/artifact.bin", artifact, "")
	files := &oci.Files{Metadata: d.sim.Files, Targets: map[string]oci.Content{}}
	for name, data := range d.sim.Content {
		if _, base, _ := strings.Cut("/"+name, "/"); strings.Contains(base, ".") && len(base) > 64 {
			files.Targets[name] = oci.Bytes(data)
		}
	}
	check(t, files.WriteTree("tree"))
	registry := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(registry.Close)
	at := "oci:" + strings.TrimPrefix(registry.URL, "http://") + "/acme/packages:v1"
	for _, place := range []string{"oci-layout:layout", at} {
		ref, err := oci.ParseReference(place)
		check(t, err)
		_, err = oci.Push(t.Context(), ref, oci.Options{}, files)
		check(t, err)
	}
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(d.sim.Files["1.root.json"]))
	config := func(url string) string {
		return fmt.Sprintf(
			"format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"acme\"\nurl = %q\ninitial = \"pin.json\"\n",
			url,
		)
	}
	for name, c := range map[string]struct{ config, address, root string }{
		"a web server":                {"", d.url, "pin.json"},
		"with a slash":                {"", d.url + "/", ""},
		"by digest":                   {"", d.url, sum},
		"a directory":                 {"", "./tree", "pin.json"},
		"a layout":                    {"", "oci-layout:layout", "pin.json"},
		"a registry":                  {"", at, sum},
		"a root's name":               {config(d.url), "acme", ""},
		"a root's address":            {config(d.url + "/"), d.url, ""},
		"a root's registry":           {config(at), strings.TrimSuffix(at, ":v1") + ":v1", ""},
		"a root's registry by name":   {config(at), "acme", ""},
		"a root's directory":          {config("tree"), "./tree", ""},
		"a root's layout":             {config("oci-layout:layout"), "oci-layout:./layout", ""},
		"another tag of the registry": {config(strings.TrimSuffix(at, ":v1")), at, ""},
	} {
		args := []string{c.address + "//dir/artifact.bin"}
		if c.root != "" {
			args = append(args, "--root", c.root)
		}
		if c.config != "" {
			check(t, os.WriteFile("trust.toml", []byte(c.config), 0o600))
			args = append(args, "--trust-config", "trust.toml")
		}
		code, out, talk := d.get(args...)
		if name == "with a slash" {
			if code != 2 || !strings.Contains(talk, "before // stands no repository") {
				t.Errorf("%s: %d\n%s", name, code, talk)
			}
			continue
		}
		data, _ := os.ReadFile("artifact.bin")
		if code != 0 || string(data) != artifact || !strings.Contains(out, "by TUF alone; no policy was consulted") ||
			fmt.Sprint(left(t)) != "[artifact.bin]" {
			t.Errorf("%s: %d, %q, %v\n%s%s", name, code, data, left(t), out, talk)
		}
		check(t, os.RemoveAll("artifact.bin"))
	}
}

// TestGetUsage: nobody is asked what cannot be meant, and no root is trusted that the user did not name.
func TestGetUsage(t *testing.T) {
	d := newDepot(t)
	d.add("dir/artifact.bin", artifact, "")
	d.add("dir/.hidden", artifact, "")
	d.add("dir/nul.tar", artifact, "")
	check(t, os.Mkdir("a-dir", 0o700))
	two := "format = \"repopolicy-trust/v1\"\n"
	for _, name := range []string{"one", "two"} {
		two += fmt.Sprintf("[[root]]\nname = %q\nurl = %q\ninitial = \"pin.json\"\n", name, d.url)
	}
	check(t, os.WriteFile("two.toml", []byte(two), 0o600))
	check(t, os.WriteFile("other.json", tuftest.New(t).Files["1.root.json"], 0o600))
	at := d.url + "//dir/artifact.bin"
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no root":             {[]string{at}, 2, "nobody said which root metadata"},
		"no slashes":          {[]string{d.url, "--root", "pin.json"}, 2, "no // divides"},
		"a path that goes up": {[]string{d.url + "//../x", "--root", "pin.json"}, 2, "no path of a target"},
		"a backslash":         {[]string{d.url + `//a\x`, "--root", "pin.json"}, 2, "no path of a target"},
		"by http":             {[]string{"http://acme.example//x", "--root", "pin.json"}, 2, "https"},
		"a hidden file":       {[]string{d.url + "//dir/.hidden", "--root", "pin.json"}, 2, "name the file with -o"},
		"a device":            {[]string{d.url + "//dir/nul.tar", "--root", "pin.json"}, 2, "name the file with -o"},
		"into a directory":    {[]string{at, "--root", "pin.json", "-o", "a-dir"}, 2, "it is a directory"},
		"to a device":         {[]string{at, "--root", "pin.json", "-o", "/dev/null"}, 2, "not a regular file"},
		"to standard output":  {[]string{at, "--root", "pin.json", "-o", "/dev/stdout"}, 2, "no regular file"},
		"no such name":        {[]string{"acme//x"}, 2, "no root acme is configured"},
		"a name and a root": {
			[]string{"one//x", "--root", "pin.json", "--trust-config", "two.toml"}, 2, "--root contradicts one",
		},
		"two roots": {[]string{at, "--trust-config", "two.toml"}, 2, "name one: one//dir/artifact.bin"},
		"no digest": {[]string{at, "--root", "sha256:00"}, 2, "--root"},
		"another digest": {
			[]string{at, "--root", "sha256:" + strings.Repeat("0", 64)}, 3, "no root metadata with the digest",
		},
		"no file":             {[]string{at, "--root", "none.json"}, 2, "none.json"},
		"no root in the file": {[]string{at, "--root", "policy.toml"}, 3, "malformed"},
		"another root":        {[]string{at, "--root", "other.json"}, 3, "too few signatures"},
		"off-line":            {[]string{at, "--root", "pin.json", "--offline"}, 2, "--offline"},
		"off-line by name":    {[]string{"one//x", "--trust-config", "two.toml", "--offline"}, 2, "--offline"},
		"no target":           {[]string{d.url + "//dir/artifact", "--root", "pin.json"}, 1, "no such target"},
		"a tag of nothing":    {[]string{at, "--root", "pin.json", "--tag", "v1"}, 2, "names no repository"},
		"a pin of nothing":    {[]string{at, "--root", "pin.json", "--max-age", "1h"}, 2, "names no repository"},
		"policy and repository": {
			[]string{at, "--root", "pin.json", "--policy", "policy.toml", "-R", "acme/widget"}, 2, "contradict",
		},
		"no repository":          {[]string{at, "--root", "pin.json", "-R", "widget"}, 2, "--repo"},
		"a bad policy":           {[]string{at, "--root", "pin.json", "--policy", "bad.toml"}, 6, "surprise"},
		"too large":              {[]string{at, "--root", "pin.json", "--max-size", "5"}, 3, "allow more with --max-size"},
		"no size":                {[]string{at, "--root", "pin.json", "--max-size", "x"}, 2, "--max-size"},
		"a directory is missing": {[]string{at, "--root", "pin.json", "-o", "none/x"}, 2, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, talk := d.get(c.args...)
			if code != c.code || !strings.Contains(talk, c.want) || out != "" {
				t.Errorf("exit %d, not %d: %s%s", code, c.code, out, talk)
			}
			if l := left(t); len(l) > 0 {
				t.Errorf("%v is left", l)
			}
		})
	}
}

// TestGetThere: what is there is not replaced unless it is to be, and not got again if it is the same.
func TestGetThere(t *testing.T) {
	d := newDepot(t)
	d.add("artifact.bin", artifact, "")
	var asked atomic.Int64
	d.target = func(w http.ResponseWriter, r *http.Request, content []byte) { asked.Add(1); _, _ = w.Write(content) }
	args := []string{d.url + "//artifact.bin", "--root", "pin.json"}
	for _, c := range []struct {
		name, there string
		more        []string
		code        int
		want        string
		asked       int64
	}{
		{"another", "mine", nil, 2, "mine", 0},
		{"longer", artifact + "x", nil, 2, artifact + "x", 0},
		{"empty", "", nil, 2, "", 0},
		{"the same", artifact, nil, 0, artifact, 0},
		{"the same by force", artifact, []string{"--force"}, 0, artifact, 0},
		{"replaced", "mine", []string{"--force"}, 0, artifact, 1},
	} {
		check(t, os.WriteFile("artifact.bin", []byte(c.there), 0o600))
		asked.Store(0)
		code, _, talk := d.get(append(slices.Clone(args), c.more...)...)
		data, err := os.ReadFile("artifact.bin")
		if code != c.code || string(data) != c.want || err != nil || asked.Load() != c.asked || len(left(t)) != 1 {
			t.Errorf("%s: exit %d, %q, asked %d times, %v: %s", c.name, code, data, asked.Load(), left(t), talk)
		}
	}
	check(t, os.Remove("artifact.bin"))
	check(t, os.Symlink("/etc/passwd", "artifact.bin"))
	if code, _, talk := d.get(append(args, "--force")...); code != 2 || !strings.Contains(talk, "symbolic link") {
		t.Errorf("a link: exit %d: %s", code, talk)
	}
}

// TestGetInterrupted: a download goes on where it stopped, and starts over if the repository has something else now.
func TestGetInterrupted(t *testing.T) {
	d := newDepot(t)
	long := strings.Repeat("0123456789", 100_000)
	d.add("artifact.bin", long, "")
	args := []string{d.url + "//artifact.bin", "--root", "pin.json"}
	var ranges []string
	broken := func(w http.ResponseWriter, r *http.Request, content []byte) {
		ranges = append(ranges, r.Header.Get("Range"))
		if r.Header.Get("Range") != "" { // only the first request gets something
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	}
	d.target = broken
	code, out, talk := d.get(args...)
	if code != 3 || out != "" || !strings.Contains(talk, "it goes on where it stopped") {
		t.Fatalf("exit %d: %s%s", code, out, talk)
	}
	kept := len(partial(t))
	if kept == 0 || kept > len(long)/2 || !strings.HasPrefix(long, partial(t)) {
		t.Fatalf("%d bytes are kept", kept)
	}
	if _, err := os.Stat("artifact.bin"); err == nil {
		t.Fatal("a part has the name")
	}
	ranges = nil
	d.target = func(w http.ResponseWriter, r *http.Request, content []byte) {
		ranges = append(ranges, r.Header.Get("Range"))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	if code, _, talk := d.get(args...); code != 0 || fmt.Sprint(ranges) != fmt.Sprintf("[bytes=%d-]", kept) {
		t.Fatalf("exit %d, asked for %v: %s", code, ranges, talk)
	}
	if data, err := os.ReadFile("artifact.bin"); err != nil || string(data) != long || len(left(t)) != 1 {
		t.Fatalf("%d bytes, %v, %v", len(data), err, left(t))
	}
	check(t, os.Remove("artifact.bin"))

	// What is kept of one version is of no use for the next.
	d.target = broken
	d.get(args...)
	d.add("artifact.bin", strings.ToUpper("x"+long), "")
	ranges = nil
	d.target = func(w http.ResponseWriter, r *http.Request, content []byte) {
		ranges = append(ranges, r.Header.Get("Range"))
		_, _ = w.Write(content)
	}
	if code, _, talk := d.get(args...); code != 0 || fmt.Sprint(ranges) != "[]" && ranges[0] != "" || len(left(t)) != 1 {
		t.Fatalf("exit %d, asked for %q, %v: %s", code, ranges, left(t), talk)
	}
	check(t, os.Remove("artifact.bin"))

	// Nor is what somebody else put there.
	d.target = broken
	d.get(args...)
	all, err := filepath.Glob(".repopolicy-get-*/*.partial")
	check(t, err)
	check(t, os.WriteFile(all[0], []byte("evil"), 0o600))
	d.target = nil
	if code, _, talk := d.get(args...); code != 0 {
		t.Fatalf("exit %d: %s", code, talk)
	}
	if data, err := os.ReadFile("artifact.bin"); err != nil || string(data) != strings.ToUpper("x"+long) {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
}

// TestGetPolicy: what the user or the signed metadata names decides, by the evidence that the repository has.
func TestGetPolicy(t *testing.T) {
	const custom, of = `{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"v1.2.3"}}`, "artifact"
	for name, c := range map[string]struct {
		custom, evidence string // evidence: a file to publish beside it
		content          string
		more             []string
		code             int
		want             string
	}{
		"allowed": {custom, "widget_1.sigstore.json", of, nil, 0, "OK"},
		"without a tag": {
			`{"repopolicy":{"repository":"https://github.com/acme/widget"}}`, "widget_1.sigstore.json", of, nil, 0, "OK",
		},
		"by the user alone": {"", "widget_1.sigstore.json", of, nil, 0, "OK"},
		"with the tag":      {custom, "widget_1.sigstore.json", of, []string{"--tag", "v1.2.3"}, 0, "OK"},
		"others' words": {
			`{"status":"x","repopolicy":{"repository":"https://github.com/acme/widget"}}`, "widget_1.sigstore.json", of, nil,
			0, "OK",
		},
		"another tag": {custom, "widget_1.sigstore.json", of, []string{"--tag", "v1"}, 1, "is of tag v1.2.3"},
		"a tag of another": {
			`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"v9"}}`, "widget_1.sigstore.json", of, nil, 1,
			"tag-mismatch",
		},
		"another repository": {
			`{"repopolicy":{"repository":"https://github.com/acme/gadget"}}`, "widget_1.sigstore.json", of, nil, 1,
			"is of https://github.com/acme/gadget",
		},
		"no evidence":         {custom, "", of, nil, 1, "no-evidence"},
		"evidence of another": {custom, "widget_1.sigstore.json", "other", nil, 1, "artifact-mismatch"},
		"bad evidence":        {custom, "widget_2.sigstore.json", of, nil, 6, "bundle-invalid"},
		"no object":           {`[]`, "widget_1.sigstore.json", of, nil, 6, "custom"},
		"no object of ours":   {`{"repopolicy":"x"}`, "widget_1.sigstore.json", of, nil, 6, "custom.repopolicy"},
		"a longer way": {
			`{"repopolicy":{"repository":"acme/widget"}}`, "widget_1.sigstore.json", of, nil, 6, "repository",
		},
		"a bad tag": {
			`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"a b"}}`, "widget_1.sigstore.json", of, nil, 6,
			"tag",
		},
		"an empty tag": {
			`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":""}}`, "widget_1.sigstore.json", of, nil, 6,
			"tag",
		},
		"a member more": {
			`{"repopolicy":{"repository":"https://github.com/acme/widget","also":1}}`, "widget_1.sigstore.json", of, nil, 6,
			`"also" is not known`,
		},
		"a tag alone": {`{"repopolicy":{"tag":"v1"}}`, "widget_1.sigstore.json", of, nil, 6, "repository"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDepot(t)
			d.add("dir/widget_1", c.content, c.custom)
			if c.evidence != "" {
				data, err := os.ReadFile(c.evidence)
				check(t, err)
				d.add("dir/widget_1.sigstore.json", string(data), "")
			}
			args := []string{
				d.url + "//dir/widget_1", "--root", "pin.json", "--policy", "policy.toml", "--trusted-root", "root.json",
				"-o", "artifact",
			}
			code, out, talk := d.get(append(args, c.more...)...)
			if code != c.code || !strings.Contains(out+talk, c.want) || strings.Contains(out, "TUF alone") {
				t.Errorf("exit %d, not %d: %s%s", code, c.code, out, talk)
			}
			if strings.Contains(out+talk, ".repopolicy-get-") {
				t.Errorf("the private file is named: %s%s", out, talk)
			}
			want := []string(nil)
			if c.code == 0 {
				want = []string{"artifact"}
			}
			if !slices.Equal(left(t), want) {
				t.Errorf("%v is left", left(t))
			}
		})
	}
}

// TestGetAttacks: what a hostile repository does to those who get artifacts from it, beside go-tuf's client.
func TestGetAttacks(t *testing.T) {
	bump := func(d *depot) { d.sim.Targets["targets"].Signed.Version++ }
	replace := func(d *depot, content string) {
		for path := range d.sim.Content {
			if strings.HasSuffix(path, "artifact.bin") {
				d.sim.Content[path] = []byte(content)
			}
		}
	}
	seen := func(d *depot) {
		if code, _, talk := d.get(d.url+"//artifact.bin", "--root", "pin.json", "-o", "seen"); code != 0 {
			t.Error(talk)
		}
		if _, err := d.ref.Run(d.now, "artifact.bin"); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		do    func(d *depot)
		code  int
		want  string // in what is said
		gotuf bool   // go-tuf's client returns it all the same
	}{
		"nothing new":   {func(*depot) {}, 0, "", true},
		"a new version": {func(d *depot) { d.add("artifact.bin", artifact+", newer", "") }, 0, "", true},
		"rollback of the timestamp": {func(d *depot) {
			old := maps.Clone(d.sim.Files)
			d.sim.Publish()
			seen(d)
			maps.Copy(d.sim.Files, old)
		}, 3, "older than what was seen before", false},
		"freeze": {func(d *depot) { d.now = tuftest.Now.AddDate(9, 0, 0) }, 3, "expired", false},
		"mix and match": {func(d *depot) {
			bump(d)
			d.sim.Publish()
			d.sim.Files["3.targets.json"] = d.sim.Files["2.targets.json"]
		}, 3, "not what was announced", false},
		"snapshot is newer than its targets": {
			func(d *depot) { bump(d); d.sim.Publish(); delete(d.sim.Files, "3.targets.json") }, 3, "3.targets.json", false,
		},
		"targets by another key": {func(d *depot) {
			bump(d)
			d.sim.Publish()
			d.sim.Files["3.targets.json"] = tuftest.Sign(d.sim, "", d.sim.Targets["targets"], tuftest.NewKey(t))
		}, 3, "too few signatures", false},
		"a root below its threshold": {func(d *depot) {
			d.sim.Root.Signed.Version++
			d.sim.Files["2.root.json"] = tuftest.Sign(d.sim, "root", d.sim.Root, d.sim.Signers["root"][0])
		}, 3, "too few signatures", false},
		"recovery from a fast forward": {func(d *depot) {
			d.sim.Timestamp.Signed.Version = 1 << 40
			d.sim.Publish()
			seen(d)
			d.sim.Timestamp.Signed.Version = 5
			d.sim.NextRoot(func() { d.sim.Rotate("timestamp") })
			d.sim.Publish()
		}, 0, "", true},
		"wrong software": {func(d *depot) { replace(d, strings.ToUpper(artifact)) }, 1, "another sha256", false},
		"shorter":        {func(d *depot) { replace(d, artifact[:5]) }, 1, "5 bytes, not 22", false},
		"longer":         {func(d *depot) { replace(d, artifact+"x") }, 1, "larger than allowed", false},
		"not there":      {func(d *depot) { clear(d.sim.Content) }, 3, "404", false},
		"endless": {func(d *depot) {
			d.target = func(w http.ResponseWriter, _ *http.Request, content []byte) {
				for _, _ = w.Write(content); ; {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			}
		}, 1, "more than 22 bytes", true},
		"another role's word for its path": {func(d *depot) {
			bump(d)
			d.sim.Delegate("targets", metadata.DelegatedRole{Name: "other", Paths: []string{"other/*"}})
			d.sim.Add("other", "artifact.bin", "evil of another role")
			delete(d.sim.Targets["targets"].Signed.Targets, "artifact.bin")
			d.sim.Publish()
		}, 1, "no such target", false},
		"listed twice in roles that overlap": {func(d *depot) {
			bump(d)
			d.sim.Delegate("targets", metadata.DelegatedRole{Name: "other", Paths: []string{"*"}})
			d.sim.Add("other", "artifact.bin", "evil of another role")
			d.sim.Add("targets", "artifact.bin", artifact)
			d.sim.Publish()
		}, 0, "", true},
		"two roles that overlap": {func(d *depot) {
			bump(d)
			d.sim.Delegate("targets", metadata.DelegatedRole{Name: "first", Paths: []string{"*"}})
			d.sim.Delegate("targets", metadata.DelegatedRole{Name: "second", Paths: []string{"*"}})
			d.sim.Add("second", "artifact.bin", "evil of the second")
			d.sim.Add("first", "artifact.bin", artifact)
			delete(d.sim.Targets["targets"].Signed.Targets, "artifact.bin")
			d.sim.Publish()
		}, 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDepot(t)
			d.add("artifact.bin", artifact, "")
			if _, err := d.ref.Run(d.now, "a.txt"); err != nil {
				t.Fatal(err)
			}
			c.do(d)
			code, out, talk := d.get(d.url+"//artifact.bin", "--root", "pin.json")
			if code != c.code || !strings.Contains(talk, c.want) || (out == "") == (code == 0) {
				t.Errorf("exit %d, not %d: %s%s", code, c.code, out, talk)
			}
			data, err := os.ReadFile("artifact.bin")
			if (err == nil) != (c.code == 0) || err == nil && !strings.HasPrefix(string(data), artifact) {
				t.Errorf("there is %q", data)
			}
			if c.code == 1 && len(left(t)) > 0 {
				t.Errorf("%v is left", left(t))
			}
			if _, err := d.ref.Run(d.now, "artifact.bin"); (err == nil) != c.gotuf {
				t.Errorf("go-tuf: %v", err)
			}
		})
	}
}

// TestGetRegistry: what a hostile registry does.
func TestGetRegistry(t *testing.T) {
	d := newDepot(t)
	d.add("artifact.bin", artifact, "")
	snapshot := func() *oci.Files {
		f := &oci.Files{Metadata: maps.Clone(d.sim.Files), Targets: map[string]oci.Content{}}
		for name, data := range d.sim.Content {
			if strings.Index(name, ".") == 64 {
				f.Targets[name] = oci.Bytes(data)
			}
		}
		return f
	}
	old := snapshot()
	d.add("artifact.bin", artifact+", newer", "")
	fresh := snapshot()
	content := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(artifact+", newer")))
	var answer func(w http.ResponseWriter, r *http.Request) bool
	h := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == nil || !answer(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	var told atomic.Value
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Authorization"))
		fmt.Fprint(w, artifact+", newer")
	}))
	t.Cleanup(stranger.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(f *oci.Files) {
		ref, err := oci.ParseReference("oci:" + host + "/acme/packages")
		check(t, err)
		_, err = oci.Push(t.Context(), ref, oci.Options{}, f)
		check(t, err)
	}
	isContent := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, content)
	}
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool
		more   []string
		code   int
		want   string
	}{
		"honest": {nil, nil, 0, ""},
		"the tag is swapped meanwhile": {func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				answer = nil
				push(old)
			}
			return false
		}, nil, 0, ""},
		"listed and not delivered": {func(w http.ResponseWriter, r *http.Request) bool {
			if isContent(r) {
				http.NotFound(w, r)
			}
			return isContent(r)
		}, nil, 3, "not found"},
		"other bytes": {func(w http.ResponseWriter, r *http.Request) bool {
			if isContent(r) {
				fmt.Fprint(w, strings.ToUpper(artifact+", newer"))
			}
			return isContent(r)
		}, nil, 1, "another sha256"},
		"endless": {func(w http.ResponseWriter, r *http.Request) bool {
			for isContent(r) {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					break
				}
			}
			return isContent(r)
		}, nil, 1, "more than"},
		"a part of another whole": {func(w http.ResponseWriter, r *http.Request) bool {
			if isContent(r) {
				w.Header().Set("Content-Range", "bytes 0-1/5")
				w.WriteHeader(http.StatusPartialContent)
			}
			return isContent(r)
		}, nil, 3, "not the part"},
		"sent on to a stranger": {func(w http.ResponseWriter, r *http.Request) bool {
			if isContent(r) {
				http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
			}
			return isContent(r)
		}, nil, 3, "redirect"},
		"sent on to where the user allows": {func(w http.ResponseWriter, r *http.Request) bool {
			if isContent(r) {
				http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
			}
			return isContent(r)
		}, []string{"--redirect-host", strings.TrimPrefix(stranger.URL, "http://")}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer = nil
			push(fresh)
			told.Store("nobody")
			answer = c.answer
			code, _, talk := d.get(
				append([]string{"oci:" + host + "/acme/packages//artifact.bin", "--root", "pin.json"}, c.more...)...)
			if code != c.code || !strings.Contains(talk, c.want) {
				t.Errorf("exit %d, not %d: %s", code, c.code, talk)
			}
			if data, err := os.ReadFile("artifact.bin"); (err == nil) != (c.code == 0) ||
				err == nil && string(data) != artifact+", newer" {
				t.Errorf("there is %q", data)
			}
			if said := told.Load(); said != "nobody" && (c.code != 0 || said != "") {
				t.Errorf("a stranger was told %q", said)
			}
			check(t, os.RemoveAll("artifact.bin"))
		})
	}
	// An older snapshot than the one that was seen is a rollback, whoever's tag names it.
	answer = nil
	push(old)
	if code, _, talk := d.get("oci:"+host+"/acme/packages//artifact.bin", "--root", "pin.json"); code != 3 ||
		!strings.Contains(talk, "older than what was seen before") {
		t.Errorf("exit %d: %s", code, talk)
	}
}

// TestGetCustomRepository: a repository that the signed metadata names and that has no policy is no reason to do
// without one.
func TestGetCustomRepository(t *testing.T) {
	d := newDepot(t)
	d.add("artifact.bin", artifact, `{"repopolicy":{"repository":"https://git.acme.example/acme/widget"}}`)
	var asked atomic.Int64
	d.target = func(http.ResponseWriter, *http.Request, []byte) { asked.Add(1) }
	d.env.Transport = onlyTo{strings.TrimPrefix(d.url, "http://")}
	code, out, talk := d.get(d.url+"//artifact.bin", "--root", "pin.json")
	if code == 0 || out != "" || asked.Load() > 0 || len(left(t)) > 0 {
		t.Errorf("exit %d, asked %d times, %v: %s%s", code, asked.Load(), left(t), out, talk)
	}
}

// onlyTo reaches one host.
type onlyTo struct{ host string }

func (o onlyTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != o.host {
		return nil, fmt.Errorf("%s cannot be reached", r.URL.Host)
	}
	return http.DefaultTransport.RoundTrip(r)
}
