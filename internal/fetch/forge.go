// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// githubAssets are the hosts that github.com sends downloads of releases on to.
// https://docs.github.com/en/actions/reference/runners/self-hosted-runners
var githubAssets = []string{"release-assets.githubusercontent.com", "objects.githubusercontent.com"}

// Forge is how a forge publishes releases.
type Forge string

// The kinds of forges. Forgejo stands for Gitea too.
const (
	GitHub  Forge = "github"
	GitLab  Forge = "gitlab"
	Forgejo Forge = "forgejo"
)

// ForgeOf returns the kind of forge at a host: github.com and gitlab.com are
// known, the others are taken for Forgejo.
func ForgeOf(host string) Forge {
	switch host {
	case "github.com":
		return GitHub
	case "gitlab.com":
		return GitLab
	}
	return Forgejo
}

// api returns the base URL of the forge's API.
func (f Forge) api(host string) string {
	switch {
	case host == "github.com":
		return "https://api.github.com"
	case f == GitHub:
		return "https://" + host + "/api/v3"
	case f == GitLab:
		return "https://" + host + "/api/v4"
	}
	return "https://" + host + "/api/v1"
}

// Release is a release of a forge. It implements release.Place.
type Release struct {
	forge   Forge
	address Address
	net     Net
	api     *web.Client
	files   *web.Client

	once  sync.Once
	names []string
	err   error

	mu   sync.Mutex
	kept map[string][]byte // small files that were read
	room int64

	foreign map[string]string // files that are links to other places: name -> host
}

// NewRelease returns the release of a repository's tag. Nothing is asked yet.
func NewRelease(a Address, f Forge, n Net) (*Release, error) {
	host := a.Repository.Host()
	api, err := n.api(f, host)
	if err != nil {
		return nil, err
	}
	files, err := n.client("https://" + host)
	if err != nil {
		return nil, err
	}
	via := n.Hosts
	if host == "github.com" {
		via = append(slices.Clone(githubAssets), via...)
	}
	return &Release{
		forge: f, address: a, net: n, api: api, files: files.Via(via...), kept: map[string][]byte{}, room: maxKept,
	}, nil
}

// path returns the path of a file's download on the forge.
func (r *Release) path(name string) string {
	repo, tag := r.address.Repository.Path(), escape(r.address.Tag)
	if r.forge == GitLab {
		return fmt.Sprintf("%s/-/releases/%s/downloads/%s", repo, tag, url.PathEscape(name))
	}
	return fmt.Sprintf("%s/releases/download/%s/%s", repo, tag, url.PathEscape(name))
}

// URL implements release.Place.
func (r *Release) URL(name string) string {
	if name != "" {
		return r.files.URL() + "/" + r.path(name)
	}
	return r.address.Page(r.forge)
}

// List implements release.Place with one request to the forge's API.
func (r *Release) List(ctx context.Context) ([]string, error) {
	r.once.Do(func() { r.names, r.err = r.list(ctx) })
	return r.names, r.err
}

func (r *Release) list(ctx context.Context) ([]string, error) {
	repo, tag := r.address.Repository.Path(), r.address.Tag
	path, parse := "repos/"+repo+"/releases/tags/"+escape(tag), parseRelease
	ask := func() ([]byte, error) { return r.api.Fetch(ctx, path, nil, "application/json", maxListing) }
	switch r.forge {
	case GitHub:
		ask = func() ([]byte, error) {
			return r.net.repository(ctx, r.api, r.address.Repository, "releases/tags/"+escape(tag), nil, "application/json",
				maxListing)
		}
	case GitLab:
		path = "projects/" + url.PathEscape(repo) + "/releases/" + url.PathEscape(tag)
		parse = func(data []byte, tag string) ([]string, error) {
			names, foreign, err := parseGitLab(data, tag, r.files.URL()+"/"+r.path(""))
			r.mu.Lock()
			defer r.mu.Unlock()
			r.foreign = foreign
			return names, err
		}
	}
	data, err := ask()
	if err != nil {
		if r.address.Repository.Host() == "github.com" {
			err = r.net.explained(err)
		}
		return nil, fmt.Errorf("listing the release: %w", missing(err))
	}
	names, err := parse(data, tag)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.api.URL(), err)
	}
	return names, nil
}

// Read implements release.Place. What was read is kept while there is room.
func (r *Release) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if checkName(name) != nil {
		return nil, fs.ErrNotExist
	}
	if err := r.elsewhere(name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	data, ok := r.kept[name]
	r.mu.Unlock()
	if ok && int64(len(data)) <= limit {
		return data, nil
	}
	d, err := r.files.Open(ctx, r.path(name), limit)
	if err != nil {
		return nil, missing(err)
	}
	if data, err = readAll(d); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.kept[name]; !twice && r.room >= int64(len(data)) && budget.Of(ctx).Take(int64(len(data))) == nil {
		r.kept[name] = data
		r.room -= int64(len(data))
	}
	return data, nil
}

// Open implements release.Place.
func (r *Release) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := r.elsewhere(name); err != nil {
		return nil, err
	}
	d, err := r.files.Open(ctx, r.path(name), r.net.MaxBytes)
	if err != nil {
		if r.net.Token != "" && errors.Is(missing(err), fs.ErrNotExist) {
			err = fmt.Errorf("%w; of what is private the files are not fetched: `gh release download` does, then verify them",
				err)
		}
		return nil, err
	}
	return d, nil
}

// elsewhere is the error of a file that is but a link to another place.
func (r *Release) elsewhere(name string) error {
	r.mu.Lock()
	host, ok := r.foreign[name]
	r.mu.Unlock()
	if ok {
		return unlisted("the release has it as a link to %s, which is not followed: download it there, and verify the file",
			clip.Text(host))
	}
	return nil
}

// parseRelease reads what GitHub's and Forgejo's APIs say about the release of a
// tag, and returns the names of its files.
// https://docs.github.com/en/rest/releases/releases#get-a-release-by-tag-name
func parseRelease(data []byte, tag string) ([]string, error) {
	var doc struct {
		Tag    string `json:"tag_name"`
		Draft  bool   `json:"draft"`
		Assets []struct {
			Name string `json:"name"`
		} `json:"assets"`
	}
	switch err := json.Unmarshal(data, &doc); {
	case err != nil:
		return nil, unlisted("the answer is no listing: %s", err)
	case doc.Tag != tag || doc.Draft:
		return nil, unlisted("the answer is not about the release %s", tag)
	case doc.Assets == nil:
		return nil, unlisted("the answer lists no files")
	}
	names := make([]string, 0, len(doc.Assets))
	for _, a := range doc.Assets {
		names = append(names, a.Name)
	}
	return names, checkNames(names)
}

// parseGitLab reads what GitLab's API says about a release. Its files are links, of which GitLab
// serves those below prefix; the others are at the hosts of foreign.
// https://docs.gitlab.com/api/releases/
func parseGitLab(data []byte, tag, prefix string) (names []string, foreign map[string]string, err error) {
	var doc struct {
		Tag    string `json:"tag_name"`
		Assets struct {
			Links []struct {
				Name   string `json:"name"`
				Direct string `json:"direct_asset_url"`
			} `json:"links"`
		} `json:"assets"`
	}
	switch err := json.Unmarshal(data, &doc); {
	case err != nil:
		return nil, nil, unlisted("the answer is no listing: %s", err)
	case doc.Tag != tag:
		return nil, nil, unlisted("the answer is not about the release %s", tag)
	case doc.Assets.Links == nil:
		return nil, nil, unlisted("the answer lists no files")
	}
	foreign = map[string]string{}
	for i, l := range doc.Assets.Links {
		path, ok := strings.CutPrefix(l.Direct, prefix)
		name, err := url.PathUnescape(path)
		if !ok || err != nil {
			if name = l.Name; checkName(name) != nil {
				name = fmt.Sprintf("link-%d", i+1)
			}
			foreign[name] = hostOf(l.Direct)
		}
		names = append(names, name)
	}
	return names, foreign, checkNames(names)
}

// hostOf returns the host of an address, for messages.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return "another place"
}

// unlisted is the error of a listing that was not had.
func unlisted(format string, args ...any) error {
	return &release.Failure{Reason: policy.ReleaseUnreachable, Detail: fmt.Sprintf(format, args...)}
}

func checkNames(names []string) error {
	if len(names) > maxAssets {
		return unlisted("it lists %d files, at most %d are looked at", len(names), maxAssets)
	}
	seen := map[string]bool{}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return err
		}
		if seen[name] {
			return invalid("the file %q is listed twice", name)
		}
		seen[name] = true
	}
	return nil
}
