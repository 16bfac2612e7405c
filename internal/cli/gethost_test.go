// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
)

// TestGetDiskFull: a full disk is no denial, and leaves nothing but what the next run goes on with.
func TestGetDiskFull(t *testing.T) {
	d := newDepot(t)
	long := strings.Repeat("0123456789", 100_000)
	d.add("artifact.bin", long, "")
	args := []string{d.url + "//artifact.bin", "--root", "pin.json"}
	var said bytes.Buffer
	cmd := inChild(t, "300000", args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	_ = cmd.Run() // the code says it
	code, talk := cmd.ProcessState.ExitCode(), said.String()
	if code != 3 || !strings.Contains(talk, "file too large") || !strings.Contains(talk, "make room") {
		t.Errorf("exit %d: %s", code, talk)
	}
	if kept := partial(t); kept != long[:300_000] || len(left(t)) != 1 {
		t.Errorf("%d bytes are kept, %v", len(kept), left(t))
	}
	if code, _, talk := d.get(args...); code != 0 || len(left(t)) != 1 {
		t.Errorf("exit %d, %v: %s", code, left(t), talk)
	}
}

// Environment variables of a run in a process of its own: its arguments, and how large a file it can write.
const (
	child     = "GET_TEST_ARGS"
	childFile = "GET_TEST_MAX_FILE"
)

// inChild returns such a run.
func inChild(t *testing.T, maxFile string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestGetChild$")
	cmd.Env = append(os.Environ(), child+"="+strings.Join(append([]string{"get"}, args...), "\n"), childFile+"="+maxFile)
	return cmd
}

// TestGetChild is that run.
func TestGetChild(t *testing.T) {
	args := os.Getenv(child)
	if args == "" {
		t.Skip("no run of another test")
	}
	if n, err := strconv.ParseUint(os.Getenv(childFile), 10, 32); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		check(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}))
	}
	os.Exit(Main(strings.Split(args, "\n"), command.Env{
		Stdout: io.Discard, Stderr: os.Stderr, Now: func() time.Time { return tuftest.Now },
	}))
}

// TestGetKilled: a run that is killed leaves no file under the name, and the next one goes on.
func TestGetKilled(t *testing.T) {
	d := newDepot(t)
	long := strings.Repeat("0123456789", 100_000)
	d.add("artifact.bin", long, "")
	stand := make(chan struct{})
	d.answers(func(w http.ResponseWriter, r *http.Request, content []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		w.(http.Flusher).Flush()
		<-stand
	})
	defer close(stand)
	args := []string{d.url + "//artifact.bin", "--root", "pin.json"}
	cmd := inChild(t, "", args...)
	check(t, cmd.Start())
	for end := time.Now().Add(20 * time.Second); len(partial(t)) < len(long)/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not begin")
		}
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if l := left(t); len(l) != 1 || l[0] == "artifact.bin" {
		t.Errorf("%v is left", l)
	}
	d.answers(func(w http.ResponseWriter, r *http.Request, content []byte) {
		if want := fmt.Sprintf("bytes=%d-", len(long)/2); r.Header.Get("Range") != want {
			t.Errorf("asked for %q, not %q", r.Header.Get("Range"), want)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	})
	if code, _, talk := d.get(args...); code != 0 || fmt.Sprint(left(t)) != "[artifact.bin]" {
		t.Errorf("exit %d, %v: %s", code, left(t), talk)
	}
}

// TestGetChanged: what is written to after it was compared with the metadata gets no name.
func TestGetChanged(t *testing.T) {
	write := func(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
	for name, change := range map[string]func(path string) error{
		"other bytes":  func(path string) error { return write(path, "ARTIFACT") },
		"more":         func(path string) error { return write(path, "artifact and more") },
		"another file": func(path string) error { _ = os.Remove(path); return write(path, "artifact") },
		"a link":       func(path string) error { _ = os.Remove(path); return os.Symlink("../widget_1", path) },
		"removed":      os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDepot(t)
			d.add("widget_1", "artifact", "")
			evidence, err := os.ReadFile("widget_1.sigstore.json")
			check(t, err)
			d.add("widget_1.sigstore.json", string(evidence), "")
			changed := false
			d.env.Root = func(context.Context, trust.Options) ([]trust.Root, error) { // asked for when it is judged
				all, err := filepath.Glob(".repopolicy-get-*/*.partial")
				if err == nil && len(all) == 1 && !changed {
					changed = true
					err = change(all[0])
				}
				if err != nil {
					return nil, err
				}
				data, err := os.ReadFile("root.json")
				if err != nil {
					return nil, err
				}
				r, err := sigstore.ParseRoot("test", data)
				return []trust.Root{{Root: r}}, err
			}
			code, out, talk := d.get(d.url+"//widget_1", "--root", "pin.json", "--policy", "policy.toml", "-o", "artifact")
			if !changed || code == 0 || strings.Contains(out, "OK:") {
				t.Errorf("changed: %v, exit %d: %s%s", changed, code, out, talk)
			}
			if _, err := os.Stat("artifact"); err == nil {
				t.Error("it has its name")
			}
		})
	}
}
