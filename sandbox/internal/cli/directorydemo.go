// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	directory "github.com/repopolicy/repopolicy/directory/cli"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/policy"
)

// operate runs repopolicy-directory, in this process, on files of a directory, and
// returns what it printed.
func (d *show) operate(own, what string, args ...string) string {
	var out, talk bytes.Buffer
	code := directory.Main(args, directory.Env{Stdout: &out, Stderr: &talk, Now: time.Now, Transport: d.stack.Transport()})
	d.say("\n   %s", what)
	shown := append([]string{}, args...)
	for i, a := range shown {
		if filepath.IsAbs(a) {
			shown[i] = filepath.Base(a)
		}
	}
	d.say("   operator$ repopolicy-directory %s", strings.Join(shown, " "))
	for line := range strings.Lines(out.String() + talk.String()) {
		d.say("     %s", strings.ReplaceAll(strings.TrimRight(line, "\n"), own+"/", ""))
	}
	if code != 0 {
		d.wrong++
		d.say("     exit %d, expected OK", code)
	}
	return out.String()
}

// directory runs a directory, from which a first use becomes a proof.
func (d *show) directory(dir string) error {
	look := d.look
	d.look = nil // the directory is asked, and nobody else
	defer func() { d.look = look }()
	own := filepath.Join(dir, "directory")
	if err := os.Mkdir(own, 0o700); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(own, name) }
	var silent atomic.Bool
	files := http.FileServer(http.Dir(in("site")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			http.NotFound(w, r)
			return
		}
		files.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	for name, text := range map[string]string{"root.json": string(d.stack.TrustedRoot()), "witnesses": d.stack.WitnessPolicy()} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	text := d.operate(own, "A directory has a key, and a descriptor that says so to its users.", "keygen", "--url", "http://"+l.Addr().String(), in("key"))
	described, err := answers.ParseDescriptor([]byte(text))
	if err != nil {
		return err
	}
	described.Witnesses = d.stack.WitnessPolicy()
	if err := os.WriteFile(in("directory.json"), described.Bytes(), 0o600); err != nil {
		return err
	}
	if err := d.stack.Cosign(described.Key); err != nil {
		return err
	}
	d.operate(own, "It reads the log for everybody, and writes plain files that any web server serves.",
		"build", "--state", in("state"), "--site", in("site"), "--key", in("key"), "--trusted-root", in("root.json"), "--witnesses", in("witnesses"))
	d.person(dir, "visitor").step("One request proves which bindings exist.", policy.ClassOK, "show", "-R", demoURL, "--directory", in("directory.json"))
	d.operate(own, "The proof can travel with the repository or a release.", "staple", "--directory", in("directory.json"), "--trusted-root", in("root.json"), "-R", demoURL, "-o", in("staple.json.gz"))
	silent.Store(true)
	other := d.person(dir, "other")
	other.step("Then nobody has to be asked.", policy.ClassOK, "log", "-R", demoURL, "--directory", in("directory.json"), "--staple", in("staple.json.gz"))
	other.step("Who keeps the answers away wins nothing.", policy.ClassUnavailable, "show", "-R", demoURL, "--directory", in("directory.json"))
	silent.Store(false)
	d.operate(own, "Anyone can check that the directory's map is what the log holds.",
		"audit", "--directory", in("directory.json"), "--state", in("audit"), "--key", in("key"), "--trusted-root", in("root.json"))
	return nil
}
