// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// tinyDisk is a file system of its own that can be filled to the last file and to
// the last page.
type tinyDisk struct {
	t   testing.TB
	dir string
}

const (
	roomyBytes  = 64 << 20
	roomyInodes = 100_000
	page        = 4096
)

func newTinyDisk(t testing.TB) *tinyDisk {
	t.Helper()
	d := &tinyDisk{t, t.TempDir()}
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "mode=0700"); err != nil {
		t.Skipf("a file system that can be full needs root: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d.limit(roomyBytes, roomyInodes)
	// A limit of nothing would be none.
	check(t, os.WriteFile(filepath.Join(d.dir, "filler"), make([]byte, page), 0o600))
	return d
}

func (d *tinyDisk) limit(bytes, inodes uint64) {
	d.t.Helper()
	check(d.t, syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d,nr_inodes=%d", bytes, inodes)))
}

// used returns how many bytes and files are on the disk.
func (d *tinyDisk) used() (bytes, inodes uint64) {
	d.t.Helper()
	var s syscall.Statfs_t
	check(d.t, syscall.Statfs(d.dir, &s))
	return (s.Blocks - s.Bfree) * uint64(s.Bsize), s.Files - s.Ffree
}

// verbsThatWrite prepares a run of each command that writes on the disk, and what
// must be true when it has ended well.
var verbsThatWrite = map[string]func(t *testing.T, name, disk string) (on *process, args []string, end func()){
	"init": attemptOf("init"), "sign": attemptOf("sign"), "bind": attemptOf("bind"),
	"verify": func(t *testing.T, name, disk string) (*process, []string, func()) {
		_, good := bound(t, name)
		on, args := newProcess(t, disk, nil), []string{"verify", "-R", name, "--scan", good}
		return on, args, func() {}
	},
	"lock": func(t *testing.T, name, disk string) (*process, []string, func()) {
		bound(t, name)
		file := filepath.Join(disk, "widget.lock")
		on, args := newProcess(t, disk, nil), []string{"lock", "-R", name, "-o", file}
		return on, args, func() {
			if code, out := on.run(0, "show", "-R", name, "--lock", file); code != 0 {
				t.Errorf("by the lock file: exit %d\n%s", code, out)
			}
		}
	},
}

func attemptOf(verb string) func(t *testing.T, name, disk string) (*process, []string, func()) {
	return func(t *testing.T, name, disk string) (*process, []string, func()) {
		a := newAttempt(t, verb, name, filepath.Join(disk, "home"), disk)
		return a.on, a.args, a.finish
	}
}

// TestDiskFull: on a disk that is full a run says so, whichever write it is that
// has no room, and none is ever OK. With a little more room it comes a little
// further; when there is enough it ends, and there is one entry in each log.
func TestDiskFull(t *testing.T) {
	const tries = 200
	for verb, prepare := range verbsThatWrite {
		for _, what := range []string{"files", "pages"} {
			t.Run(verb+" "+what, func(t *testing.T) {
				d := newTinyDisk(t)
				on, args, end := prepare(t, fmt.Sprintf("acme/full-%s-%s", verb, what), d.dir)
				bytes, inodes := d.used()
				for n := uint64(0); ; n++ {
					if what == "files" {
						d.limit(roomyBytes, inodes+n)
					} else {
						d.limit(bytes+n*page, roomyInodes)
					}
					code, out := on.run(0, args...)
					if code == 0 {
						t.Logf("%d runs found the disk full", n)
						if n == 0 {
							t.Error("nothing was written")
						}
						break
					}
					if code != policy.ClassUnavailable.Exit() || !strings.Contains(out, "no space left on device") || !strings.Contains(out, "hint: ") || n > tries {
						t.Fatalf("with room for %d %s: exit %d\n%s", n, what, code, out)
					}
				}
				d.limit(roomyBytes, roomyInodes)
				end()
			})
		}
	}
}

// TestReadOnly: where nothing can be written a look-up says so and is no verdict, since
// what it could not remember it could not miss next time; what needs no memory, a
// policy that the user names, is judged as ever.
func TestReadOnly(t *testing.T) {
	const name = "acme/read-only"
	d := newTinyDisk(t)
	p, good := bound(t, name)
	on := newProcess(t, d.dir, nil)
	remount := func(flags uintptr) {
		check(t, syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT|flags, ""))
	}
	look := []string{"verify", "-R", name, "--scan", good}
	root := filepath.Join(t.TempDir(), "trusted_root.json")
	check(t, os.WriteFile(root, stack.TrustedRoot(), 0o600))
	named := []string{"verify", "--policy", filepath.Join(p.dir, ".repopolicy", "policy.toml"), "--trusted-root", root, "--tag", "v1", good}
	for _, seen := range []bool{false, true} {
		remount(syscall.MS_RDONLY)
		code, out := on.run(0, look...)
		if seen && code != 0 || !seen && (code != policy.ClassUnavailable.Exit() || !strings.Contains(out, "read-only file system") || !strings.Contains(out, "hint: ")) {
			t.Errorf("seen before: %v: exit %d\n%s", seen, code, out)
		}
		if code, out := on.run(0, named...); code != 0 {
			t.Errorf("a policy that the user names: exit %d\n%s", code, out)
		}
		remount(0)
		if code, out := on.run(0, look...); code != 0 {
			t.Fatalf("exit %d\n%s", code, out)
		}
	}
}

// TestDiskFullGitHub: a runner is told, too.
func TestDiskFullGitHub(t *testing.T) {
	const name = "acme/full-runner"
	d := newTinyDisk(t)
	_, good := bound(t, name)
	outputs := filepath.Join(t.TempDir(), "outputs")
	check(t, os.WriteFile(outputs, nil, 0o600))
	on := newProcess(t, d.dir, nil)
	on.env = append(on.env, "GITHUB_OUTPUT="+outputs)
	_, inodes := d.used()
	d.limit(roomyBytes, inodes)
	code, out := on.run(0, "verify", "-R", name, "--format", "github", good)
	if code != policy.ClassUnavailable.Exit() || !strings.Contains(out, "::error title=repopolicy%3A UNAVAILABLE [write-failed]::") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if data, err := os.ReadFile(outputs); err != nil || !strings.Contains(string(data), "\nUNAVAILABLE\n") {
		t.Errorf("%s %v", data, err)
	}
}

// TestFileTooLarge: a write that ends in the middle of a file leaves nothing that
// is taken for whole.
func TestFileTooLarge(t *testing.T) {
	for verb, prepare := range verbsThatWrite {
		t.Run(verb, func(t *testing.T) {
			dir := t.TempDir()
			on, args, end := prepare(t, "acme/cut-"+verb, dir)
			failed := 0
			for limit := 0; ; limit += 1 + limit {
				short := process{t, append([]string{fmt.Sprintf("%s=%d", maxFile, limit)}, on.env...)}
				code, out := short.run(0, args...)
				if code == 0 {
					break
				}
				if failed++; code != policy.ClassUnavailable.Exit() || !strings.Contains(out, "file too large") || limit > roomyBytes {
					t.Fatalf("files of at most %d bytes: exit %d\n%s", limit, code, out)
				}
			}
			if failed == 0 {
				t.Error("nothing was too large")
			}
			t.Logf("%d writes were cut off", failed)
			end()
		})
	}
}

// TestFullOutput: a verdict that cannot be written was not given.
func TestFullOutput(t *testing.T) {
	const name = "acme/mute"
	_, good := bound(t, name)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	cmd := newProcess(t, t.TempDir(), nil).command(nil, "verify", "-R", name, good)
	cmd.Stdout, cmd.Stderr = full, nil
	_ = cmd.Run() // the code says it
	if code := cmd.ProcessState.ExitCode(); code != policy.ClassUnavailable.Exit() {
		t.Errorf("exit %d", code)
	}
}
