// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/gittest"
)

type program struct {
	t   testing.TB
	dir string
}

func initialise(t testing.TB, args ...string) *program {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	p := &program{t, t.TempDir()}
	p.run(append([]string{"init", "-q", "-b", "main"}, args...)...)
	return p
}

func (p *program) run(args ...string) string {
	p.t.Helper()
	return string(bytes.TrimSuffix(p.feed(nil, args...), []byte("\n")))
}

func (p *program) feed(in []byte, args ...string) []byte {
	p.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = p.dir, bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=a",
		"GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

func (p *program) open() *Repository {
	p.t.Helper()
	r, err := Open(context.Background(), p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { r.Close() })
	return r
}

func (p *program) file(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// history makes some commits with a file that changes a little, so that packs
// hold deltas.
func (p *program) history(n int) {
	text := strings.Repeat("a line that does not change\n", 400)
	for i := range n {
		p.file("sub/file", text+fmt.Sprint(i))
		p.run("add", ".")
		p.run("commit", "-q", "-m", fmt.Sprint("commit ", i))
	}
}

// TestObjectsLikeGit reads every object of a repository, loose and packed, and
// compares with what git says.
func TestObjectsLikeGit(t *testing.T) {
	p := initialise(t)
	p.history(12)
	p.run("tag", "-m", "annotated", "v1")
	for _, state := range []string{"loose", "packed", "packed with ref deltas"} {
		switch state {
		case "packed":
			p.run("gc", "-q", "--aggressive")
		case "packed with ref deltas":
			p.run("config", "repack.useDeltaBaseOffset", "false")
			p.run("repack", "-q", "-a", "-d", "-f", "--depth=10")
		}
		r := p.open()
		all := strings.Fields(p.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)"))
		if len(all) < 30 {
			t.Fatalf("%d objects", len(all))
		}
		for _, name := range all {
			typ, content, err := r.Object(ID(name))
			if err != nil {
				t.Fatalf("%s: %s: %v", state, name, err)
			}
			if want := p.run("cat-file", "-t", name); string(typ) != want {
				t.Errorf("%s: %s is a %s, want %s", state, name, typ, want)
			}
			if want := p.feed(nil, "cat-file", string(typ), name); !bytes.Equal(content, want) {
				t.Errorf("%s: %s differs", state, name)
			}
			switch typ {
			case Commit:
				_, err = ParseCommit(content)
			case Tag:
				_, err = ParseTag(content)
			case Tree:
				_, err = ParseTree(content)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, ref := range []string{"refs/heads/main", "refs/tags/v1"} {
			id, err := r.Ref(ref)
			if err != nil || string(id) != p.run("rev-parse", ref) {
				t.Errorf("%s: %s: %s %v", state, ref, id, err)
			}
		}
		head := ID(p.run("rev-parse", "HEAD"))
		content, err := r.File(head, "sub/file")
		if err != nil || !bytes.Equal(content, p.feed(nil, "cat-file", "blob", "HEAD:sub/file")) {
			t.Errorf("%s: the file: %v", state, err)
		}
		if err := r.Reachable(context.Background(), ID(p.run("rev-parse", "HEAD~11"))); err != nil {
			t.Errorf("%s: the first commit: %v", state, err)
		}
		if _, _, err := r.Object("1111111111111111111111111111111111111111"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// TestNotes reads notes that Git spread over directories.
func TestNotes(t *testing.T) {
	p := initialise(t)
	p.history(1)
	id := p.run("rev-parse", "HEAD")
	p.run("notes", "add", "-m", "a note", id)
	r := p.open()
	if note, err := r.Note("refs/notes/commits", ID(id)); err != nil || string(note) != "a note\n" {
		t.Fatalf("%q %v", note, err)
	}
	if _, err := r.Note("refs/notes/commits", "1111111111111111111111111111111111111111"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := r.Note("refs/notes/other", ID(id)); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	blob := p.run("rev-parse", "refs/notes/commits:"+id)
	for depth := 1; depth <= 3; depth++ { // as Git does beyond some hundred notes
		path := id
		for d := depth; d > 0; d-- {
			path = path[:2+3*(depth-d)] + "/" + path[2+3*(depth-d):]
		}
		p.run("read-tree", "--empty")
		p.run("update-index", "--add", "--cacheinfo", "100644,"+blob+","+path)
		tree := p.run("write-tree")
		p.run("update-ref", "refs/notes/deep", p.run("commit-tree", "-m", "notes", tree))
		if note, err := p.open().Note("refs/notes/deep", ID(id)); err != nil || string(note) != "a note\n" {
			t.Errorf("%s: %q %v", path, note, err)
		}
	}
}

// TestFileModes is cases 287 and 288: only a plain file of plain directories.
func TestFileModes(t *testing.T) {
	p := initialise(t)
	blob := strings.TrimSpace(string(p.feed([]byte("policy"), "hash-object", "-w", "--stdin")))
	p.history(1)
	commit := p.run("rev-parse", "HEAD")
	for _, c := range []struct {
		mode, id, path string
		ok             bool
	}{
		{"100644", blob, ".repopolicy/policy.toml", true},
		{"100755", blob, ".repopolicy/policy.toml", false},
		{"120000", blob, ".repopolicy/policy.toml", false},
		{"160000", commit, ".repopolicy/policy.toml", false},
		{"100644", blob, ".repopolicy/policy.toml/x", false},
		{"120000", blob, ".repopolicy", false},
		{"100644", blob, "other", false},
	} {
		p.run("read-tree", "--empty")
		p.run("update-index", "--add", "--cacheinfo", c.mode+","+c.id+","+c.path)
		head := ID(p.run("commit-tree", "-m", "x", p.run("write-tree")))
		content, err := p.open().File(head, ".repopolicy/policy.toml")
		if (err == nil) != c.ok || c.ok && string(content) != "policy" {
			t.Errorf("%s %s: %q %v", c.mode, c.path, content, err)
		}
	}
	r := p.open()
	if _, err := r.File(ID(blob), "x"); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	p := initialise(t)
	p.history(1)
	bare := filepath.Join(t.TempDir(), "bare")
	p.run("clone", "-q", "--bare", p.dir, bare)
	linked := filepath.Join(t.TempDir(), "linked")
	p.run("worktree", "add", "-q", linked)
	head := p.run("rev-parse", "HEAD")
	for _, dir := range []string{p.dir, bare, linked} {
		r, err := Open(context.Background(), dir)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		if id, err := r.Ref("refs/heads/main"); err != nil || string(id) != head {
			t.Errorf("%s: %s %v", dir, id, err)
		}
		r.Close()
	}
	if _, err := Open(context.Background(), t.TempDir()); err == nil {
		t.Error("an empty directory is a repository")
	}
	sha256 := filepath.Join(t.TempDir(), "sha256")
	p.run("init", "-q", "--object-format=sha256", sha256)
	if _, err := Open(context.Background(), sha256); !errors.Is(err, ErrUnsupported) {
		t.Errorf("SHA-256 (case 298): %v", err)
	}
	p.file(".git/config", "[core]\n\trepositoryformatversion = 1\n[extensions]\n\trefStorage = reftable\n")
	if _, err := Open(context.Background(), p.dir); !errors.Is(err, ErrUnsupported) {
		t.Errorf("reftable: %v", err)
	}
	p.file(".git/config", "[broken")
	if _, err := Open(context.Background(), p.dir); !errors.Is(err, ErrMalformed) {
		t.Errorf("a broken configuration: %v", err)
	}
	p.file(".git/config", strings.Repeat("#", maxConfig+1))
	if _, err := Open(context.Background(), p.dir); !errors.Is(err, ErrMalformed) {
		t.Errorf("a huge configuration: %v", err)
	}
	for _, text := range []string{"", "gitdir: ", "x", "gitdir: /nonexistent\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".git"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), dir); err == nil {
			t.Errorf(".git with %q is a repository", text)
		}
	}
}

// TestSuggestions: names of tags, loose and packed, and the remote's address.
func TestSuggestions(t *testing.T) {
	p := initialise(t)
	p.history(1)
	if urls, err := p.open().Remotes(); len(urls) != 0 || err != nil {
		t.Errorf("%q %v", urls, err)
	}
	p.run("tag", "v2")
	p.run("pack-refs", "--all")
	p.run("tag", "a/v1")
	p.run("tag", "-m", "annotated", "v3")
	p.run("remote", "add", "origin", "https://example.com/a/b")
	p.run("remote", "add", "other", "https://example.com/c/d")
	r := p.open()
	if tags, err := r.Tags(); err != nil || strings.Join(tags, " ") != "a/v1 v2 v3" {
		t.Errorf("%v %v", tags, err)
	}
	want := map[string]string{"origin": "https://example.com/a/b", "other": "https://example.com/c/d"}
	if urls, err := r.Remotes(); err != nil || !maps.Equal(urls, want) {
		t.Errorf("%q %v", urls, err)
	}
}

// TestHostileRefs is case 295.
func TestHostileRefs(t *testing.T) {
	p := initialise(t)
	p.history(1)
	head := p.run("rev-parse", "HEAD")
	p.file(".git/packed-refs",
		"# pack-refs with: peeled\n"+head+" refs/tags/../../config\n"+head+" refs/tags/a..b\n"+head+" refs/tags/v1\n^"+head+
			"\n")
	r := p.open()
	for _, name := range []string{
		"refs/tags/../../config", "refs/tags/a..b", "refs/tags/x.lock", "HEAD", "config", "/etc/passwd", "refs/tags/\x1b[1m",
		"",
	} {
		if id, err := r.Ref(name); err == nil {
			t.Errorf("%q names %s", name, id)
		}
	}
	if id, err := r.Ref("refs/tags/v1"); err != nil || string(id) != head {
		t.Errorf("%s %v", id, err)
	}
	for _, text := range []string{
		"x", head + "  refs/tags/v1\nfoo\n", head + " refs/tags/v1\n" + strings.Repeat("1", 40) + " refs/tags/v1\n",
	} {
		p.file(".git/packed-refs", text)
		if _, err := p.open().Ref("refs/tags/v1"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
	p.file(".git/packed-refs", "")
	for _, text := range []string{"x\n", "ref: refs/heads/main\n", head + "\n\n", strings.Repeat("1", 5000)} {
		p.file(".git/refs/tags/v1", text)
		if _, err := p.open().Ref("refs/tags/v1"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func packWith(entries ...[]byte) []byte { return gittest.Pack(len(entries), entries...) }

// packOf writes a pack with the raw entries and its index, which says that id is
// the last.
func packOf(t testing.TB, p *program, id string, entries ...[]byte) {
	t.Helper()
	body := append([]byte("PACK\x00\x00\x00\x02"), binary.BigEndian.AppendUint32(nil, uint32(len(entries)))...)
	off := 0
	for _, e := range entries {
		off = len(body)
		body = append(body, e...)
	}
	sum := sha1.Sum(body)
	body = append(body, sum[:]...)
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	idx := []byte("\xfftOc\x00\x00\x00\x02")
	for i := range 256 {
		n := uint32(0)
		if i >= int(raw[0]) {
			n = 1
		}
		idx = binary.BigEndian.AppendUint32(idx, n)
	}
	idx = append(idx, raw...)
	idx = binary.BigEndian.AppendUint32(idx, 0)
	idx = binary.BigEndian.AppendUint32(idx, uint32(off))
	idx = append(append(idx, sum[:]...), sum[:]...)
	p.file(".git/objects/pack/pack-x.pack", string(body))
	p.file(".git/objects/pack/pack-x.idx", string(idx))
}

// TestHostilePacks is case 296.
func TestHostilePacks(t *testing.T) {
	const id = "1111111111111111111111111111111111111111"
	big := make([]byte, MaxObjectBytes+1)
	size := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	for _, c := range []struct {
		what    string
		entries [][]byte
	}{
		{"another object", [][]byte{gittest.Entry(3, 1, nil, []byte("x"))}},
		{"shorter than it says", [][]byte{gittest.Entry(3, 9, nil, []byte("x"))}},
		{"longer than it says", [][]byte{gittest.Entry(3, 1, nil, []byte("xxxxxxx"))}},
		{"a huge size", [][]byte{gittest.Entry(3, 1<<40, nil, []byte("x"))}},
		{"a huge object", [][]byte{gittest.Entry(3, len(big), nil, big)}},
		{"no type", [][]byte{gittest.Entry(0, 1, nil, []byte("x"))}},
		{"type 5", [][]byte{gittest.Entry(5, 1, nil, []byte("x"))}},
		{"a delta without a base", [][]byte{gittest.Entry(7, 1, make([]byte, 20), []byte("x"))}},
		{"a delta on itself", [][]byte{gittest.Entry(7, 1, bytes.Repeat([]byte{0x11}, 20), []byte("x"))}},
		{"a base before the pack", [][]byte{gittest.Entry(6, 1, []byte{0xff, 0xff, 0x7f}, []byte("x"))}},
		{"an offset of nothing", [][]byte{gittest.Entry(6, 1, []byte{0}, []byte("x"))}},
		{"a delta bomb", [][]byte{gittest.Entry(3, 1, nil, []byte("x")), func() []byte {
			d := append(append(size(1), size(1<<40)...), 0x91, 0, 1)
			return gittest.Entry(6, len(d), []byte{byte(len(gittest.Entry(3, 1, nil, []byte("x"))))}, d)
		}()}},
		{
			"a delta with nothing in it",
			[][]byte{
				gittest.Entry(3, 1, nil, []byte("x")),
				gittest.Entry(6, 0, []byte{byte(len(gittest.Entry(3, 1, nil, []byte("x"))))}, nil),
			},
		},
		{"a delta that copies what is not there", [][]byte{gittest.Entry(3, 1, nil, []byte("x")), func() []byte {
			d := append(append(size(1), size(200)...), 0x91, 0, 200)
			return gittest.Entry(6, len(d), []byte{byte(len(gittest.Entry(3, 1, nil, []byte("x"))))}, d)
		}()}},
	} {
		p := initialise(t)
		packOf(t, p, id, c.entries...)
		if _, _, err := p.open().Object(id); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	good, err := Hash(Blob, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	p := initialise(t)
	packOf(t, p, string(good), gittest.Entry(3, 1, nil, []byte("x")))
	if _, content, err := p.open().Object(good); err != nil || string(content) != "x" {
		t.Fatalf("%q %v", content, err)
	}
	// Every prefix of pack and index is an error, or too little to matter.
	for _, name := range []string{"pack-x.pack", "pack-x.idx"} {
		path := filepath.Join(p.dir, ".git/objects/pack", name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(data) {
			if err := os.WriteFile(path, data[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			r := p.open()
			if _, content, err := r.Object(good); err == nil && string(content) != "x" {
				t.Errorf("%s cut at %d: %q", name, n, content)
			}
			r.Close()
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileLoose gives loose objects what they must not hold.
func TestHostileLoose(t *testing.T) {
	id, err := Hash(Blob, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	deflate := func(s string) string {
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write([]byte(s))
		w.Close()
		return z.String()
	}
	p := initialise(t)
	name := ".git/objects/" + string(id[:2]) + "/" + string(id[2:])
	for what, text := range map[string]string{
		"nothing": "", "text": "blob 1\x00x", "no header": deflate("x"), "another type": deflate("tree 1\x00x"),
		"other content": deflate("blob 1\x00y"),
		"shorter":       deflate("blob 2\x00x"), "longer": deflate("blob 1\x00xx"), "huge": deflate("blob 99999999999\x00x"),
		"negative": deflate("blob -1\x00x"), "no type": deflate(" 1\x00x"),
	} {
		p.file(name, text)
		if _, content, err := p.open().Object(id); err == nil {
			t.Errorf("%s: %q", what, content)
		}
	}
	p.file(name, deflate("blob 1\x00x"))
	if _, _, err := p.open().Object(id); err != nil {
		t.Error(err)
	}
}

func TestMalformedObjects(t *testing.T) {
	tree, who := "tree "+strings.Repeat("1", 40)+"\n", "author a <a> 1 +0000\ncommitter a <a> 1 +0000\n"
	for what, text := range map[string]string{
		"empty": "", "no message": tree + who, "no tree": who + "\nx", "no author": tree + "\nx",
		"two trees": tree + tree + who + "\nx", "two authors": tree + who + who + "\nx",
		"a short tree": "tree 11\n" + who + "\nx", "upper case": "tree " + strings.Repeat("A", 40) + "\n" + who + "\nx",
		"parent last":                tree + who + "parent " + strings.Repeat("1", 40) + "\n\nx",
		"a bad parent":               tree + "parent x\n" + who + "\nx",
		"two signatures (case 291)":  tree + who + "gpgsig a\ngpgsig b\n\nx",
		"another format's signature": tree + who + "gpgsig-sha256 a\n\nx",
		"a header first":             "encoding x\n" + tree + who + "\nx", "NUL": tree + "author \x00\n" + "committer a\n\nx",
		"CR":                tree + "author a\r\ncommitter a\n\nx",
		"continued nothing": " x\n" + tree + who + "\nx", "no value": tree + who + "encoding\n\nx",
	} {
		if c, err := ParseCommit([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("commit, %s: %+v %v", what, c, err)
		}
	}
	head := "object " + strings.Repeat("1", 40) + "\ntype commit\ntag v1\ntagger a <a> 1 +0000\n"
	for what, text := range map[string]string{
		"empty": "", "no tagger": strings.Replace(head, "tagger a <a> 1 +0000\n", "", 1) + "\nx",
		"two tags":       strings.Replace(head, "tag v1\n", "tag v1\ntag v2\n", 1) + "\nx",
		"out of order":   "type commit\nobject " + strings.Repeat("1", 40) + "\ntag v1\ntagger a\n\nx",
		"a bad id":       strings.Replace(head, "1111", "zzzz", 1) + "\nx",
		"another header": head + "extra x\n\nx",
		"a folded name":  strings.Replace(head, "tag v1\n", "tag v1\n v2\n", 1) + "\nx",
		"two signatures": head + "\nx\n-----BEGIN PGP SIGNATURE-----\n-----BEGIN SIGNED MESSAGE-----\n",
	} {
		if g, err := ParseTag([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("tag, %s: %+v %v", what, g, err)
		}
	}
	id := strings.Repeat("\x01", 20)
	for what, text := range map[string]string{
		"cut": "100644 a\x00", "no mode": " a\x00" + id, "no name": "100644 \x00" + id, "a slash": "100644 a/b\x00" + id,
		"a dot": "100644 .\x00" + id, "two dots": "40000 ..\x00" + id,
		"twice": "100644 a\x00" + id + "100644 a\x00" + id, "file and directory": "100644 a\x00" + id + "40000 a\x00" + id,
		"out of order":  "100644 b\x00" + id + "100644 a\x00" + id,
		"a padded mode": "0100644 a\x00" + id, "no octal": "100648 a\x00" + id,
	} {
		if e, err := ParseTree([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("tree, %s: %+v %v", what, e, err)
		}
	}
}

// FuzzCommit: what is read of a commit is what stands there: the signed bytes
// and the header of the signature are the whole, and the ids occur in it.
func FuzzCommit(f *testing.F) {
	tree, who := "tree "+strings.Repeat("1", 40)+"\n", "author a <a> 1 +0000\ncommitter a <a> 1 +0000\n"
	f.Add([]byte(tree + who + "\nx"))
	f.Add([]byte(tree + "parent " + strings.Repeat("2", 40) + "\n" + who + "gpgsig -----BEGIN\n a\n b\nencoding x\n\nx"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := ParseCommit(content)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.HasPrefix(content, []byte("tree "+string(c.Tree)+"\n")) {
			t.Fatalf("tree %s", c.Tree)
		}
		for _, p := range c.Parents {
			if !bytes.Contains(content, []byte("\nparent "+string(p)+"\n")) {
				t.Fatalf("parent %s", p)
			}
		}
		if c.Signature == "" {
			return
		}
		folded := "gpgsig " + strings.ReplaceAll(c.Signature, "\n", "\n ") + "\n"
		if len(c.Signed)+len(folded) != len(content) || !bytes.Contains(content, []byte(folded)) ||
			bytes.Contains(c.Signed[:bytes.Index(append(c.Signed, "\n\n"...), []byte("\n\n"))], []byte("\ngpgsig ")) {
			t.Fatalf("signed %q, signature %q", c.Signed, c.Signature)
		}
	})
}

// FuzzTag: the signed bytes and the signature are the whole of a tag.
func FuzzTag(f *testing.F) {
	head := "object " + strings.Repeat("1", 40) + "\ntype commit\ntag v1\ntagger a <a> 1 +0000\n"
	f.Add([]byte(head + "\nmessage\n"))
	f.Add([]byte(head + "\nmessage\n-----BEGIN SIGNED MESSAGE-----\nx\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		g, err := ParseTag(content)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		want := fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger ", g.Object, g.ObjectType, g.Name)
		if !bytes.HasPrefix(content, []byte(want)) || string(g.Signed)+g.Signature != string(content) {
			t.Fatalf("%+v", g)
		}
	})
}

// FuzzTree: a tree that is read is written back to the same bytes.
func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + strings.Repeat("\x01", 20) + "40000 b\x00" + strings.Repeat("\x02", 20)))
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := ParseTree(content)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		var out []byte
		for _, e := range entries {
			raw, err := hex.DecodeString(string(e.ID))
			if err != nil {
				t.Fatal(err)
			}
			out = append(append(out, e.Mode+" "+e.Name+"\x00"...), raw...)
		}
		if !bytes.Equal(out, content) {
			t.Fatalf("%q", out)
		}
	})
}
