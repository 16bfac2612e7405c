// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/repopolicy/repopolicy/internal/web"
)

// Limits of what is fetched from a server.
const (
	MaxPackBytes  = 256 << 20 // of one reply, all objects inflated and deflated
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
	refs  map[string]ID
	tags  map[string]ID // commit or other object that each tag leads to; nil if not known
}

// Tag returns what a tag of the server leads to, through tag objects, and ""
// if there is no such tag. False means that the tags are not known.
func (s *Snapshot) Tag(name string) (ID, bool) { return s.tags[name], s.tags != nil }

// Ref returns what a ref names; the error wraps [ErrNotFound] if there is none.
func (s *Snapshot) Ref(name string) (ID, error) {
	if id, ok := s.refs[name]; ok {
		return id, nil
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
}

// File returns a file at a ref; see [Repository.File].
func (s *Snapshot) File(ref, name string) ([]byte, error) {
	id, err := s.Ref(ref)
	if err != nil {
		return nil, err
	}
	return fileOf(s.store, id, name)
}

// Dir returns the files of a directory at a ref; see [Repository.Dir]. A ref that
// is not there has none.
func (s *Snapshot) Dir(ref, dir string, match func(string) bool) ([]File, error) {
	id, err := s.Ref(ref)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return dirOf(s.store, id, dir, match)
}

// Local returns a snapshot of a repository on disk: of its branches and those of
// its remote origin, the latter first, as the remote's HEAD says which is the
// default one.
func (r *Repository) Local() (*Snapshot, error) {
	s := &Snapshot{store: r, refs: map[string]ID{}}
	const origin = "refs/remotes/origin/"
	head := "HEAD"
	if data, err := r.read(origin+"HEAD", maxLooseRef); err == nil {
		head = strings.TrimSuffix(string(data), "\n")
	} else if data, err := r.read("HEAD", maxLooseRef); err == nil {
		head = strings.TrimSuffix(string(data), "\n")
	}
	if target, ok := strings.CutPrefix(head, "ref: "); ok {
		s.Default = "refs/heads/" + strings.TrimPrefix(strings.TrimPrefix(target, origin), "refs/heads/")
	}
	packed, err := r.packed()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for name := range packed {
		names[name] = true
	}
	loose, err := r.looseRefs("refs/heads", "refs/remotes/origin")
	if err != nil {
		return nil, err
	}
	for name := range loose {
		names[name] = true
	}
	for name := range names {
		id, err := r.Ref(name)
		if err != nil {
			return nil, err
		}
		branch := name
		if b, ok := strings.CutPrefix(name, origin); ok {
			branch = "refs/heads/" + b
		} else if loose[origin+strings.TrimPrefix(name, "refs/heads/")] || names[origin+strings.TrimPrefix(name, "refs/heads/")] {
			continue // the remote's counts
		}
		s.refs[branch] = id
	}
	return s, nil
}

// Fetch returns a snapshot of the default branch and some other refs of a
// repository on a server, without history, and of its files only those that
// match wants where the server can leave out the others. Address is an http or
// https URL; nothing is stored.
func Fetch(ctx context.Context, address, agent string, next http.RoundTripper, refs []string, dir string, match func(string) bool) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	f, err := newFetcher(address, agent, next)
	if err != nil {
		return nil, err
	}
	s, err := f.fetch(ctx, refs, dir, match)
	if err != nil && !errors.Is(err, ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrUnreachableServer, err)
	}
	return s, err
}

// Default returns the ref that a repository's server advertises as HEAD, "" if it does not
// say; address and errors are those of [Fetch].
func Default(ctx context.Context, address, agent string, next http.RoundTripper) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	f, err := newFetcher(address, agent, next)
	if err != nil {
		return "", err
	}
	session, adv, err := f.advertised(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreachableServer, err)
	}
	return head(adv), session.Close()
}

type fetcher struct {
	endpoint *transport.Endpoint
	client   transport.Transport
	moved    string
	store    *memory.Storage
}

func newFetcher(address, agent string, next http.RoundTripper) (*fetcher, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("%w: only http and https addresses without user are fetched", ErrUnreachableServer)
	}
	f := &fetcher{store: memory.NewStorage()}
	if f.endpoint, err = transport.NewEndpoint(address); err != nil {
		return nil, err
	}
	f.client = githttp.NewClient(&http.Client{
		// Some servers answer only to Git.
		Transport: &web.OneOrigin{Scheme: u.Scheme, Host: u.Host, Limit: MaxPackBytes, Agent: "git/" + agent, Redirects: true, Next: next},
		Timeout:   remoteTimeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || req.URL.Scheme != u.Scheme || req.URL.Host != u.Host {
				return errors.New("redirected to another host")
			}
			to := *req.URL
			to.RawQuery = ""
			f.moved = strings.TrimSuffix(strings.TrimSuffix(to.String(), "/info/refs"), ".git")
			return nil
		},
	})
	return f, nil
}

// advertised asks the server for its refs. The session is to be closed if there is no
// error.
func (f *fetcher) advertised(ctx context.Context) (transport.UploadPackSession, *packp.AdvRefs, error) {
	session, err := f.client.NewUploadPackSession(f.endpoint, nil)
	if err != nil {
		return nil, nil, err
	}
	adv, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = session.Close() // its error would hide why
		return nil, nil, err
	}
	return session, adv, nil
}

// head returns the ref that is advertised as HEAD, "" for none.
func head(adv *packp.AdvRefs) (ref string) {
	for _, sym := range adv.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(sym, "HEAD:"); ok {
			ref = target
		}
	}
	return ref
}

func (f *fetcher) fetch(ctx context.Context, refs []string, dir string, match func(string) bool) (*Snapshot, error) {
	session, adv, err := f.advertised(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	s := &Snapshot{Default: head(adv), store: (*memoryStore)(f.store), refs: map[string]ID{}, tags: map[string]ID{}, MovedTo: f.moved}
	for name, h := range adv.References {
		if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
			s.tags[tag] = ID(h.String())
		}
	}
	for name, h := range adv.Peeled {
		if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
			s.tags[tag] = ID(h.String())
		}
	}
	var commits []plumbing.Hash
	for _, name := range append([]string{s.Default}, refs...) {
		if h, ok := adv.References[name]; ok && name != "" && s.refs[name] == "" {
			s.refs[name] = ID(h.String())
			commits = append(commits, h)
		}
	}
	if len(commits) == 0 {
		return s, nil // an empty repository
	}
	partial := adv.Capabilities.Supports(capability.Filter)
	if err := f.pack(ctx, adv, commits, partial, true); err != nil {
		return nil, err
	}
	if !partial {
		return s, nil
	}
	var blobs []plumbing.Hash
	for _, id := range s.refs {
		entries, err := wantedOf(s.store, id, dir, func(string) bool { return true })
		if err != nil && !errors.Is(err, ErrMalformed) {
			return nil, err
		}
		for _, sub := range subdirs(s.store, id, dir) {
			more, err := wantedOf(s.store, id, sub, match)
			if err != nil && !errors.Is(err, ErrMalformed) {
				return nil, err
			}
			entries = append(entries, more...)
		}
		for _, e := range entries {
			if h := plumbing.NewHash(string(e.ID)); f.store.HasEncodedObject(h) != nil {
				blobs = append(blobs, h)
			}
		}
	}
	if len(blobs) == 0 {
		return s, nil
	}
	return s, f.pack(ctx, adv, blobs, false, false)
}

// subdirs returns the directories directly in dir.
func subdirs(s store, commit ID, dir string) []string {
	tree, err := treeOf(s, commit, dir)
	if err != nil {
		return nil
	}
	entries, err := entriesOf(s, tree)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.Mode == modeDir {
			out = append(out, dir+"/"+e.Name)
		}
	}
	return out
}

// pack fetches objects into the store, whose names it computes from what came.
func (f *fetcher) pack(ctx context.Context, adv *packp.AdvRefs, wants []plumbing.Hash, blobless, shallow bool) error {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	req.Wants = wants
	if shallow && adv.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return err
		}
	}
	if blobless {
		req.Filter = packp.FilterBlobNone()
		if err := req.Capabilities.Set(capability.Filter); err != nil {
			return err
		}
	}
	session, err := f.client.NewUploadPackSession(f.endpoint, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	if _, err := session.AdvertisedReferencesContext(ctx); err != nil {
		return err
	}
	reply, err := session.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer reply.Close()
	var pack io.Reader = reply
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, reply)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, reply)
	}
	return packfile.UpdateObjectStorage(f.store, pack)
}

// memoryStore reads objects that were fetched. Their names were computed from
// their content.
type memoryStore memory.Storage

func (m *memoryStore) Object(id ID) (Type, []byte, error) {
	obj, err := (*memory.Storage)(m).EncodedObject(plumbing.AnyObject, plumbing.NewHash(string(id)))
	if err != nil {
		return "", nil, fmt.Errorf("object %s: %w", id, ErrNotFound)
	}
	rd, err := obj.Reader()
	if err != nil {
		return "", nil, err
	}
	defer rd.Close()
	content, err := io.ReadAll(io.LimitReader(rd, MaxObjectBytes+1))
	if err != nil {
		return "", nil, err
	}
	if len(content) > MaxObjectBytes {
		return "", nil, malformed("object %s has more than %d bytes", id, MaxObjectBytes)
	}
	t := Type(obj.Type().String())
	if got, err := Hash(t, content); err != nil || got != id {
		return "", nil, malformed("object %s has other content", id)
	}
	return t, content, nil
}
