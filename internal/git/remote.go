// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/web"
)

// Limits of what is fetched from a server.
const (
	MaxPackBytes  = 256 << 20 // of one pack, as it comes: deflated
	maxReply      = MaxPackBytes + MaxPackBytes/8
	remoteTimeout = 60 * time.Second
	maxRedirects  = 3
)

// ErrUnreachableServer is wrapped by the error about a server that cannot be
// asked or does not answer as a Git server.
var ErrUnreachableServer = errors.New("the repository could not be fetched")

// Snapshot is the newest state of some refs of a repository, fetched or read.
type Snapshot struct {
	// Default is the ref that the server advertises as HEAD, "" if it does not
	// say.
	Default string
	// MovedTo is the URL to which the server redirected, "" if it did not: the
	// repository has another name now.
	MovedTo string

	store store
	ref   func(name string) (ID, error)
	tags  map[string]ID // commit or other object that each tag leads to; nil if not known
	blobs map[ID][]byte // that were read: the same files are on several branches
	shown map[string]map[string][]byte
}

// Shown returns a snapshot of files that are at hand, by ref and path, and of tags with what they
// lead to, nil if they are not known.
func Shown(defaultRef string, files map[string]map[string][]byte, tags map[string]ID) *Snapshot {
	return &Snapshot{Default: defaultRef, shown: files, tags: tags}
}

// Tag returns what a tag of the server leads to, through tag objects, and ""
// if there is no such tag. False means that the tags are not known.
func (s *Snapshot) Tag(name string) (ID, bool) { return s.tags[name], s.tags != nil }

// Ref returns what a ref names; the error wraps [ErrNotFound] if there is none.
func (s *Snapshot) Ref(name string) (ID, error) {
	if s.ref == nil {
		return "", fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	return s.ref(name)
}

// File returns a file at a ref; see [Repository.File].
func (s *Snapshot) File(ref, name string) ([]byte, error) {
	if data, ok := s.shown[ref][name]; ok {
		return data, nil
	}
	id, err := s.Ref(ref)
	if err != nil {
		return nil, err
	}
	return fileOf(&once{s.store, s.blobs}, id, name)
}

// Dir returns the files of a directory at a ref; see [Repository.Dir]. A ref that
// is not there has none.
func (s *Snapshot) Dir(ref, dir string, match func(string) bool) ([]File, error) {
	if s.shown != nil {
		return s.shownDir(ref, dir, match), nil
	}
	id, err := s.Ref(ref)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return dirOf(&once{s.store, s.blobs}, id, dir, match)
}

func (s *Snapshot) shownDir(ref, dir string, match func(string) bool) (out []File) {
	for _, file := range slices.Sorted(maps.Keys(s.shown[ref])) {
		if path.Dir(file) == dir && match(file) {
			out = append(out, File{Name: file, Data: s.shown[ref][file]})
		}
	}
	return out
}

// once is a store whose blobs are read, and counted, once.
type once struct {
	store
	blobs map[ID][]byte
}

func (o *once) blob(id ID) ([]byte, error) {
	if data, ok := o.blobs[id]; ok {
		return data, nil
	}
	data, err := blobOf(o.store, id)
	if err == nil {
		o.blobs[id] = data
	}
	return data, err
}

// Local returns a snapshot of a repository on disk: of its branches and those of
// its remote origin, the latter first, as the remote's HEAD says which is the
// default one.
func (r *Repository) Local() (*Snapshot, error) {
	s := &Snapshot{store: r, blobs: map[ID][]byte{}}
	const origin, heads = "refs/remotes/origin/", "refs/heads/"
	head := "HEAD"
	if data, err := r.read(origin+"HEAD", maxLooseRef); err == nil {
		head = strings.TrimSuffix(string(data), "\n")
	} else if data, err := r.read("HEAD", maxLooseRef); err == nil {
		head = strings.TrimSuffix(string(data), "\n")
	} else if Fatal(err) {
		return nil, err
	}
	if target, ok := strings.CutPrefix(head, "ref: "); ok {
		s.Default = heads + strings.TrimPrefix(strings.TrimPrefix(target, origin), heads)
	}
	s.ref = func(name string) (ID, error) {
		if branch, ok := strings.CutPrefix(name, heads); ok {
			if id, err := r.Ref(origin + branch); !errors.Is(err, ErrNotFound) {
				return id, err
			}
		}
		return r.Ref(name)
	}
	return s, nil
}

// Fetch returns a snapshot of the default branch and some other refs of a
// repository on a server, without history, and of its files only those that
// match wants where the server can leave out the others. Address is an http or
// https URL; nothing is stored.
func Fetch(
	ctx context.Context, address, agent string, next http.RoundTripper, refs []string, dir string, match func(string) bool,
) (*Snapshot, error) {
	// What is read of the snapshot later has only the deadline of the run.
	m := newMeter(ctx, maxFetchWork)
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	f, err := newFetcher(m.during(ctx), address, agent, next)
	if err != nil {
		return nil, err
	}
	s, err := f.fetch(ctx, refs, dir, match)
	if err != nil {
		return nil, f.unreachable(err)
	}
	f.m.ctx = m.ctx
	return s, nil
}

// unreachable says that a server could not be asked, unless what it sent is the reason,
// and which.
func (f *fetcher) unreachable(err error) error {
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnreachableServer) {
		return fmt.Errorf("%s: %w", f.address, err)
	}
	return fmt.Errorf("%s: %w: %w", f.address, ErrUnreachableServer, err)
}

// Default returns the ref that a repository's server advertises as HEAD, "" if it does not
// say; address and errors are those of [Fetch].
func Default(ctx context.Context, address, agent string, next http.RoundTripper) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	f, err := newFetcher(newMeter(ctx, maxFetchWork), address, agent, next)
	if err != nil {
		return "", err
	}
	a, err := f.discover(ctx, func(string) bool { return false }, false)
	if err != nil {
		return "", f.unreachable(err)
	}
	return a.head, nil
}

type fetcher struct {
	m       *meter
	address string
	agent   string
	client  *http.Client
	moved   string
	store   *fetched
}

func newFetcher(m *meter, address, agent string, next http.RoundTripper) (*fetcher, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: only http and https addresses without user are fetched", ErrUnreachableServer)
	}
	f := &fetcher{m: m, address: strings.TrimSuffix(address, "/"), agent: "git/" + agent, store: newFetched(m)}
	f.client = &http.Client{
		// Some servers answer only to Git.
		Transport: &web.OneOrigin{
			Scheme: u.Scheme, Host: u.Host, Limit: maxReply, Agent: f.agent, Redirects: true, Binary: true, Next: next,
		},
		Timeout: remoteTimeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || req.URL.Scheme != u.Scheme || req.URL.Host != u.Host {
				return errors.New("redirected to another host")
			}
			if req.Method != http.MethodGet || via[0].Method != http.MethodGet ||
				!strings.HasSuffix(req.URL.Path, "/info/refs") {
				return errors.New("redirected to what is no repository")
			}
			to := *req.URL
			to.RawQuery = ""
			f.moved = strings.TrimSuffix(strings.TrimSuffix(to.String(), "/info/refs"), ".git")
			return nil
		},
	}
	return f, nil
}

func (f *fetcher) fetch(ctx context.Context, refs []string, dir string, match func(string) bool) (*Snapshot, error) {
	a, err := f.discover(ctx, func(ref string) bool { return slices.Contains(refs, ref) }, true)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Default: a.head, store: f.store, tags: a.tags, MovedTo: f.moved, blobs: map[ID][]byte{}}
	s.ref = func(name string) (ID, error) {
		if id, ok := a.refs[name]; ok {
			return id, nil
		}
		return "", fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	var commits []ID
	for _, name := range slices.Sorted(maps.Keys(a.refs)) {
		if id := a.refs[name]; !slices.Contains(commits, id) {
			commits = append(commits, id)
		}
	}
	if len(commits) == 0 {
		return s, nil // none of these refs
	}
	partial := a.capabilities["filter"]
	if err := f.pack(ctx, a, commits, partial, true); err != nil {
		return nil, err
	}
	if !partial {
		return s, nil
	}
	blobs := newIDSet(f.m)
	defer blobs.free()
	for _, id := range commits {
		for _, d := range append([]string{dir}, subdirs(f.store, id, dir)...) {
			wanted := match
			if d == dir {
				wanted = func(string) bool { return true }
			}
			if err := f.addMissing(blobs, id, d, wanted); err != nil {
				return nil, err
			}
		}
	}
	if blobs.n == 0 {
		return s, nil
	}
	if blobs.n > maxWanted {
		return nil, fmt.Errorf("%w: %d objects of one fetch", ErrTooMuchWork, blobs.n)
	}
	wants := make([]ID, blobs.n)
	for i := range wants {
		wants[i] = blobs.at(i).id()
	}
	return s, f.pack(ctx, a, wants, false, false)
}

// addMissing adds the wanted files of a directory that have not been fetched.
func (f *fetcher) addMissing(blobs *idSet, commit ID, dir string, wanted func(string) bool) error {
	entries, err := wantedOf(f.store, commit, dir, wanted)
	if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, e := range entries {
		if !f.store.has(e.ID) {
			if err := blobs.add(e.ID.raw()); err != nil {
				return err
			}
		}
		f.m.give(int64(len(e.Name)) + entryOverhead)
	}
	return nil
}

// subdirs returns the directories directly in dir.
func subdirs(s store, commit ID, dir string) []string {
	tree, err := treeOf(s, commit, dir)
	if err != nil {
		return nil
	}
	entries, err := entriesOf(s, tree, func(e rawEntry) bool { return string(e.mode) == modeDir })
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, dir+"/"+e.Name)
	}
	return out
}
