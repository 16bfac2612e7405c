// SPDX-License-Identifier: Apache-2.0

//go:build linux

package git

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/scaffold/gittest"
)

// What a run may take at most, whatever it reads.
const (
	hostileDeadline = 3 * time.Second
	honestDeadline  = 5 * time.Minute
	hostileMiB      = 256
)

// answer is what a child process says of a repository or server that it read.
type answer struct {
	Class   string
	Text    string
	MiB     int64
	Seconds float64 // from its start
}

// TestMain lets the test binary be the child that reads what is hostile: the memory of a
// process that has held more cannot be told from that of its tests.
func TestMain(m *testing.M) {
	if what := os.Getenv("GIT_HOSTILE"); what != "" {
		debug.SetGCPercent(400) // as the program does
		debug.SetMemoryLimit(budget.Default + 64<<20)
		deadline := hostileDeadline
		if os.Getenv("GIT_HONEST") != "" {
			deadline = honestDeadline
		}
		ctx, cancel := context.WithTimeout(budget.With(context.Background(), budget.New(0)), deadline)
		start := time.Now()
		err := readAll(ctx, what)
		cancel()
		a := answer{Class: classOf(err), MiB: peak(), Seconds: time.Since(start).Seconds()}
		if err != nil {
			a.Text = err.Error()
		}
		_ = json.NewEncoder(os.Stdout).Encode(a)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func classOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, new(*budget.Exceeded)):
		return "budget"
	case errors.Is(err, ErrTooMuchWork):
		return "work"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, ErrMalformed):
		return "malformed"
	case errors.Is(err, ErrUnreachableServer):
		return "unreachable"
	}
	return "other"
}

// peak returns the most memory that the process held. The kernel's count for a child
// begins with what its parent held.
func peak() int64 {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n >> 10
		}
	}
	return -1
}

// readAll reads everything of a repository or server that verbs read, and returns the
// first error.
func readAll(ctx context.Context, what string) error {
	wanted := func(name string) bool { return strings.HasPrefix(name, ".repopolicy/signatures/") }
	var s *Snapshot
	var err error
	if strings.HasPrefix(what, "http") {
		s, err = Fetch(ctx, what, "test", nil, []string{"refs/heads/repopolicy"}, ".repopolicy", wanted)
		if err != nil {
			return err
		}
	} else {
		r, err := Open(ctx, what)
		if err != nil {
			return err
		}
		defer r.Close()
		if s, err = r.Local(); err != nil {
			return err
		}
		if _, err := r.Tags(); err != nil {
			return err
		}
		head, err := r.Head()
		if err != nil {
			return err
		}
		if err := r.Reachable(ctx, nobody); err != nil && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrIncomplete) {
			return err
		}
		if _, err := r.Staged(head); err != nil {
			return err
		}
		if _, err := r.Note("refs/notes/commits", head); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	if _, err = s.File(s.Default, ".repopolicy/policy.toml"); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, ref := range []string{s.Default, "refs/heads/repopolicy"} {
		if _, err = s.Dir(ref, ".repopolicy/signatures", wanted); err != nil {
			return err
		}
	}
	return nil
}

// read runs the child and says what it took.
func read(t *testing.T, what string, classes ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GIT_HOSTILE="+what)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var a answer
	if err != nil || json.Unmarshal(out, &a) != nil {
		t.Fatalf("%v: %s\n%s", err, out, clip.Text(stderr.String()))
	}
	t.Logf("%s, %d MiB, %.1fs: %s", a.Class, a.MiB, a.Seconds, a.Text)
	// A machine that is busy comes as far as its deadline; one that is stuck, no further.
	honest := os.Getenv("GIT_HONEST") != ""
	if !slices.Contains(classes, a.Class) && (honest || a.Class != "deadline") {
		t.Errorf("%s, want one of %s", a.Class, classes)
	}
	if a.MiB > hostileMiB {
		t.Errorf("%d MiB, at most %d", a.MiB, hostileMiB)
	}
	if a.Seconds > hostileDeadline.Seconds()+10 && !honest {
		t.Errorf("it took %.1fs", a.Seconds)
	}
}

// TestHostileServers reads what servers send that mean harm.
func TestHostileServers(t *testing.T) {
	for _, c := range gittest.Servers() {
		t.Run(c.What, func(t *testing.T) {
			if c.Large && testing.Short() {
				t.Skip("large")
			}
			at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					c.List(w)
					return
				}
				c.Pack(w)
			}))
			t.Cleanup(at.CloseClientConnections)
			read(t, at.URL+"/acme/widget", c.Ends...)
		})
	}
	t.Run("a silent server", func(t *testing.T) {
		at := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		t.Cleanup(at.CloseClientConnections)
		read(t, at.URL+"/acme/widget", "deadline")
	})
}

// hostileRepository makes a repository with one commit, of which the head is as it should
// be, and gives it to do.
func hostileRepository(t *testing.T, do func(p *program)) string {
	p := initialise(t)
	p.file(".repopolicy/policy.toml", "policy")
	p.file(".repopolicy/signatures/1-a.sigstore.json", "{}")
	p.run("add", ".")
	p.run("commit", "-q", "-m", "x")
	do(p)
	return p.dir
}

// asHead writes a pack whose last object the head names.
func asHead(t *testing.T, p *program, entries ...[]byte) {
	packOf(t, p, string(nobody), entries...)
	p.file(".git/refs/heads/main", string(nobody)+"\n")
}

// TestHostileRepositories reads what a clone can hold that somebody else made.
func TestHostileRepositories(t *testing.T) {
	const mib = 1 << 20
	sparse := func(name string) func(*program) {
		return func(p *program) {
			_ = os.Remove(filepath.Join(p.dir, name))
			p.file(name, "")
			if err := os.Truncate(filepath.Join(p.dir, name), 1<<40); err != nil {
				t.Skip(err)
			}
		}
	}
	pipe := func(name string) func(*program) {
		return func(p *program) {
			_ = os.Remove(filepath.Join(p.dir, name))
			if err := syscall.Mkfifo(filepath.Join(p.dir, name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	zero := func(name string) func(*program) {
		return func(p *program) {
			_ = os.Remove(filepath.Join(p.dir, name))
			if err := os.Symlink("/dev/zero", filepath.Join(p.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	any := []string{"malformed", "other", "ok"}
	bad := []string{"malformed"}
	type hostile struct {
		what    string
		large   bool
		do      func(*program)
		classes []string
	}
	cases := []hostile{
		{what: "an object of 170 bytes that inflates to 3 GiB", do: func(p *program) {
			p.file(".git/objects/11/"+string(nobody[2:]), string(gittest.Zeros("commit 170\x00", 3072*mib)))
			p.file(".git/refs/heads/main", string(nobody)+"\n")
		}, classes: bad},
		{what: "an object that declares 3 GiB", do: func(p *program) {
			p.file(".git/objects/11/"+string(nobody[2:]),
				string(gittest.Zeros(fmt.Sprintf("commit %d\x00", 3072*mib), 3072*mib)))
			p.file(".git/refs/heads/main", string(nobody)+"\n")
		}, classes: bad},
		{what: "a header without end", do: func(p *program) {
			p.file(".git/objects/11/"+string(nobody[2:]), string(gittest.Zeros("commit 1", 1024*mib)))
			p.file(".git/refs/heads/main", string(nobody)+"\n")
		}, classes: bad},
		{what: "a chain of deltas", do: func(p *program) {
			body := gittest.Chain(MaxObjectBytes, 4000)
			asHead(t, p, body[12:len(body)-20])
			// The index names the last delta.
			d := gittest.CopyAll(MaxObjectBytes, 1)
			last := len(gittest.Entry(offsetDelta, len(d), gittest.Back(100), d))
			idx, err := os.ReadFile(filepath.Join(p.dir, ".git/objects/pack/pack-x.idx"))
			if err != nil {
				t.Fatal(err)
			}
			binary.BigEndian.PutUint32(idx[len(idx)-44:], uint32(len(body)-20-last))
			p.file(".git/objects/pack/pack-x.idx", string(idx))
		}, classes: bad},
		{what: "deltas of each other's names", do: func(p *program) {
			asHead(t, p, gittest.Entry(idDelta, 3, bytes.Repeat([]byte{0x11}, 20), []byte("\x01\x01\x00")))
		}, classes: bad},
		{
			what: "a huge size in a pack", do: func(p *program) { asHead(t, p, gittest.Entry(packedCommit, 1<<50, nil, nil)) },
			classes: bad,
		},
		{what: "a bomb in a pack", do: func(p *program) {
			asHead(t, p, append(gittest.Head(packedCommit, 170, nil), gittest.Zeros("", 3072*mib)...))
		}, classes: bad},
		{what: "an index of 4 billion names", do: func(p *program) {
			asHead(t, p, gittest.Entry(packedCommit, 0, nil, nil))
			idx := []byte("\xfftOc\x00\x00\x00\x02")
			for range 256 {
				idx = binary.BigEndian.AppendUint32(idx, 1<<32-1)
			}
			p.file(".git/objects/pack/pack-x.idx", string(idx))
			if err := os.Truncate(filepath.Join(p.dir, ".git/objects/pack/pack-x.idx"), idxHead+28*(1<<32-1)+40); err != nil {
				t.Skip(err)
			}
		}, classes: any},
		{what: "files of zeros", do: func(p *program) {
			for i := range 8 {
				p.file(fmt.Sprintf(".repopolicy/signatures/1-%d.sigstore.json", i), fmt.Sprint(i)+string(make([]byte, 15*mib)))
			}
			p.run("add", ".")
			p.run("commit", "-q", "-m", "zeros")
		}, classes: []string{"budget"}},
		{what: "a file of 1 GiB of zeros as the policy", do: func(p *program) {
			content := gittest.Zeros(fmt.Sprintf("blob %d\x00", 1024*mib), 1024*mib)
			p.file(".git/objects/11/"+string(nobody[2:]), string(content))
			p.run("update-index", "--add", "--cacheinfo", "100644,"+string(nobody)+",.repopolicy/policy.toml")
			p.run("update-ref", "HEAD", p.run("commit-tree", "-m", "x", p.run("write-tree", "--missing-ok")))
		}, classes: bad},
		{what: "64 MiB of packed refs", do: func(p *program) {
			var b strings.Builder
			head := p.run("rev-parse", "HEAD")
			for i := 0; b.Len() < 64*mib; i++ {
				fmt.Fprintf(&b, "%s refs/tags/v%d\n", head, i)
			}
			p.file(".git/packed-refs", b.String())
		}, classes: []string{"budget"}},
		{what: "3.5 million refs, each of another object", large: true, do: func(p *program) {
			var b strings.Builder
			for i := range 3_500_000 {
				fmt.Fprintf(&b, "%040x refs/heads/b%d\n", i+1<<40, i)
			}
			p.file(".git/packed-refs", b.String())
		}, classes: []string{"budget", "deadline"}},
		{
			what: "a line of packed refs without end",
			do:   func(p *program) { p.file(".git/packed-refs", strings.Repeat("1", 64*mib)) }, classes: bad,
		},
		{what: "commits of 20,000 parents", do: func(p *program) {
			tree := p.run("rev-parse", "HEAD^{tree}")
			for i := range 250 {
				var b strings.Builder
				fmt.Fprintf(&b, "tree %s\n", tree)
				for j := range 20_000 {
					fmt.Fprintf(&b, "parent %040x\n", (i+1)*1_000_000+j)
				}
				b.WriteString("author a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n")
				id := strings.TrimSpace(
					string(p.feed([]byte(b.String()), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")),
				)
				p.file(fmt.Sprintf(".git/refs/heads/b%d", i), id+"\n")
			}
		}, large: true, classes: []string{"budget", "deadline"}},
		{what: "trees in trees", do: func(p *program) {
			id := p.run("rev-parse", "HEAD^{tree}")
			for range 300 {
				raw, _ := hex.DecodeString(id)
				id = strings.TrimSpace(
					string(p.feed(append([]byte("40000 a\x00"), raw...), "hash-object", "-t", "tree", "-w", "--stdin", "--literally")),
				)
			}
			p.run("update-ref", "HEAD", p.run("commit-tree", "-m", "x", id))
		}, classes: bad},
		{what: "trees that share everything", do: func(p *program) {
			id := p.run("rev-parse", "HEAD^{tree}")
			for range 200 {
				raw, _ := hex.DecodeString(id)
				two := append([]byte("40000 a\x00"), raw...)
				two = append(append(two, "40000 b\x00"...), raw...)
				id = strings.TrimSpace(string(p.feed(two, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")))
			}
			p.run("update-ref", "HEAD", p.run("commit-tree", "-m", "x", id))
		}, large: true, classes: []string{"malformed", "deadline", "budget"}},
		{what: "an index of 64 MiB", do: func(p *program) {
			const n = 64 * mib / 72
			b := binary.BigEndian.AppendUint32([]byte("DIRC\x00\x00\x00\x02"), n)
			for i := range n {
				e := make([]byte, 72)
				e[61] = 8
				copy(e[62:], fmt.Sprintf("%08d", i))
				b = append(b, e...)
			}
			sum := sha1.Sum(b)
			p.file(".git/index", string(append(b, sum[:]...)))
		}, classes: []string{"budget", "ok"}},
		{what: "a configuration of sections", do: func(p *program) {
			var b strings.Builder
			for i := 0; b.Len() < maxConfig-20; i++ {
				fmt.Fprintf(&b, "[s%x]\n", i)
			}
			p.file(".git/config", b.String())
		}, classes: []string{"ok"}},
	}
	for _, name := range []string{
		"HEAD", "config", "packed-refs", "refs/heads/main", "index", "shallow", "objects/pack/pack-y.idx",
		"refs/remotes/origin/HEAD",
	} {
		name = ".git/" + name
		for what, do := range map[string]func(string) func(*program){
			"a pipe as ": pipe, "all zeros as ": zero, "1 TiB as ": sparse,
		} {
			cases = append(cases, hostile{what: what + name, do: func(p *program) {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(p.dir, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				do(name)(p)
			}, classes: any})
		}
	}
	cases = append(cases,
		hostile{what: "a pipe as an object", do: func(p *program) {
			head := p.run("rev-parse", "HEAD")
			pipe(".git/objects/" + head[:2] + "/" + head[2:])(p)
		}, classes: bad},
		hostile{what: "a pipe as commondir", do: func(p *program) {
			git := t.TempDir()
			if err := errors.Join(os.RemoveAll(filepath.Join(p.dir, ".git")),
				syscall.Mkfifo(filepath.Join(git, "commondir"), 0o600)); err != nil {
				t.Fatal(err)
			}
			p.file(".git", "gitdir: "+git+"\n")
		}, classes: bad},
		hostile{what: "a pipe as a pack", do: func(p *program) {
			asHead(t, p, gittest.Entry(packedCommit, 0, nil, nil))
			pipe(".git/objects/pack/pack-x.pack")(p)
		}, classes: bad})
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			if c.large && testing.Short() {
				t.Skip("large")
			}
			read(t, hostileRepository(t, c.do), c.classes...)
		})
	}
}

// TestHonest reads what is large and means no harm. It takes minutes, and runs if
// GIT_HONEST is set.
func TestHonest(t *testing.T) {
	if os.Getenv("GIT_HONEST") == "" {
		t.Skip("GIT_HONEST is not set")
	}
	t.Run("500,000 objects", func(t *testing.T) { read(t, large(t, 100_000, true), "ok") })
	t.Run("1.5 million commits", func(t *testing.T) { read(t, large(t, 1_500_000, false), "ok") })
	versions := func(p *program) {
		p.run("config", "gc.auto", "0")
		for i := range 3000 {
			text := make([]byte, 10_000)
			_, _ = rand.Read(text)
			p.file(fmt.Sprintf(".repopolicy/signatures/%d-%d.sigstore.json", i/3, i%3), hex.EncodeToString(text))
		}
		p.run("add", ".")
		p.run("commit", "-q", "-m", "versions")
		p.run("branch", "repopolicy")
		p.run("repack", "-q", "-a", "-d")
	}
	t.Run("1,000 versions of a policy", func(t *testing.T) { read(t, hostileRepository(t, versions), "ok") })
	t.Run("1,000 versions on a server", func(t *testing.T) {
		p := initialise(t)
		p.file(".repopolicy/policy.toml", "policy")
		versions(p)
		read(t, backend(t, p, nil), "ok")
	})
	t.Run("20,000 files on a server that sends all", func(t *testing.T) {
		p := initialise(t)
		for i := range 20_000 {
			text := make([]byte, 8_000)
			_, _ = rand.Read(text)
			p.file(fmt.Sprintf("src/%d/%d", i%100, i), string(text))
		}
		versions(p)
		read(t, backend(t, p, nil), "ok")
	})
}
