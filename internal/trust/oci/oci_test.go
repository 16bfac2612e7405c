// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

const limit = 1 << 20

// files are two versions of a repository. Their bytes are no canonical JSON: what
// is stored must come back as it was.
func files(version int) *Files {
	return &Files{
		Metadata: map[string][]byte{
			"1.root.json": []byte("{\"signed\": {} }\r\n"), "timestamp.json": fmt.Appendf(nil, "{ \"version\":  %d}", version),
			fmt.Sprintf("%d.snapshot.json", version): []byte("{}"),
		},
		Targets: map[string]Content{
			"0a.trusted_root.json":                              Bytes([]byte("\xef\xbb\xbfa root")),
			"repopolicy/anchors/github.com/acme/0b.widget.json": Bytes([]byte("an anchor")),
			"0c.empty": Bytes(nil),
		},
	}
}

// read compares content by its bytes.
var read = cmp.Transformer("read", func(c Content) string {
	data, err := c.Read(limit)
	return fmt.Sprintf("%d bytes, %x: %q %v", c.Size, c.SHA256, data, err)
})

// inProcess starts a registry and returns its host.
func inProcess(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// dockerRegistry starts Debian's docker-registry.
func dockerRegistry(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed: apt-get install docker-registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config,
		fmt.Appendf(nil,
			"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: %s\n", dir,
			host), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "serve", config)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
			return host
		}
		if time.Now().After(end) {
			t.Fatalf("docker-registry does not answer: %s\n%s", err, out.String())
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond): // nothing tells when another program listens
		}
	}
}

func reference(t testing.TB, text string) Reference {
	t.Helper()
	r, err := ParseReference(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRoundTrip: every place keeps all bytes; a tag moves, a digest does not.
func TestRoundTrip(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"registry":        func(t *testing.T) string { return "oci:" + inProcess(t, nil) + "/acme/trust" },
		"docker-registry": func(t *testing.T) string { return "oci:" + dockerRegistry(t) + "/acme/trust" },
		"layout":          func(t *testing.T) string { return "oci-layout:" + filepath.Join(t.TempDir(), "trust") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, place := t.Context(), reference(t, start(t))
			first, err := Push(ctx, place, Options{}, files(1))
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Push(ctx, place, Options{}, files(1)); err != nil || again != first {
				t.Errorf("pushed again: %s %v", again, err)
			}
			open, err := Open(ctx, place, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			second, err := Push(ctx, place, Options{}, files(2))
			if err != nil || second == first {
				t.Fatal(second, err)
			}
			for _, x := range []struct {
				at   Reference
				want *Files
			}{{place, files(2)}, {place.At(first), files(1)}, {place.At(second), files(2)}} {
				s, err := Open(ctx, x.at, Options{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Files(ctx, limit)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(x.want, got, read); diff != "" {
					t.Errorf("%s: %s", x.at, diff)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			// The tag moved while the first snapshot was being read.
			if got, err := open.Metadata(ctx, "timestamp.json", limit); err != nil ||
				!bytes.Equal(got, files(1).Metadata["timestamp.json"]) {
				t.Errorf("%q %v", got, err)
			}
			for _, missing := range []string{"2.root.json", "0a.trusted_root.json", "../1.root.json"} {
				if _, err := open.Metadata(ctx, missing, limit); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", missing, err)
				}
			}
			if got, err := open.Target(ctx, "repopolicy/anchors/github.com/acme/0b.widget.json", limit); err != nil ||
				string(got) != "an anchor" {
				t.Errorf("%q %v", got, err)
			}
			if _, err := open.Target(ctx, "0a.trusted_root.json", 3); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("beyond the limit: %v", err)
			}
			if _, err := Open(ctx, place.At(first[:len(first)-2]+"00"), Options{}); err == nil {
				t.Error("a digest that nothing has")
			}
			other := place
			other.Tag = "other"
			if _, err := Open(ctx, other, Options{}); err == nil {
				t.Error("a tag that nothing has")
			}
		})
	}
}

func TestReference(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for text, want := range map[string]string{
		"oci:ghcr.io/acme/trust":              "oci:ghcr.io/acme/trust:latest",
		"oci:127.0.0.1:5000/trust":            "oci:127.0.0.1:5000/trust:latest",
		"oci:127.0.0.1:5000/trust:v1":         "oci:127.0.0.1:5000/trust:v1",
		"oci:ghcr.io/acme/trust@" + digest:    "oci:ghcr.io/acme/trust@" + digest,
		"oci-layout:dir":                      "oci-layout:dir:latest",
		"oci-layout:/srv/a:b/dir:v1":          "oci-layout:/srv/a:b/dir:v1",
		`oci-layout:C:\dir`:                   `oci-layout:C:\dir:latest`,
		"oci-layout:dir@" + digest:            "oci-layout:dir@" + digest,
		"ghcr.io/acme/trust":                  "",
		"oci::1]1]:5/trust":                   "",
		"oci:":                                "",
		"oci:trust":                           "",
		"oci:ghcr.io/Acme/trust":              "",
		"oci:u:p@ghcr.io/acme/trust":          "",
		"oci:https://ghcr.io/acme/trust":      "",
		"oci:ghcr.io/acme/trust:v1@" + digest: "",
		"oci:ghcr.io/acme/trust@sha256:e3b0":  "",
		"oci-layout:":                         "",
		"oci-layout:dir@sha1:da39":            "",
	} {
		r, err := ParseReference(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: read as %s", text, r)
		case want != "" && (err != nil || r.String() != want):
			t.Errorf("%s: %s %v", text, r, err)
		}
	}
	if _, err := Push(t.Context(), reference(t, "oci-layout:"+t.TempDir()+"@"+digest), Options{}, files(1)); err == nil {
		t.Error("pushed to a digest")
	}
}

// FuzzReference: what is read is read again as the same.
func FuzzReference(f *testing.F) {
	f.Add("oci:ghcr.io/acme/trust:v1")
	f.Add("oci-layout:a:b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		if err != nil {
			return
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%q became %q: %+v %v", text, r, again, err)
		}
	})
}
