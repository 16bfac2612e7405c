// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Release is what the forge keeps of a release. A draft is seen by nobody but
// those who may write.
type Release struct {
	ID     int64   `json:"id"`
	Tag    string  `json:"tag_name"`
	Draft  bool    `json:"draft"`
	Assets []Asset `json:"assets"`
	// Published is when it was no draft any more; nil for a draft.
	Published *time.Time `json:"published_at"`
}

// Asset is a file of a release.
type Asset struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // "sha256:…" of what was uploaded
}

// Hosts are the hosts that the forge plays: those of github.com, gitlab.com for Git and for logging in
// at its registry, and registries of images and packages.
var Hosts = slices.Concat([]string{
	"gitlab.com", "github.com", "raw.githubusercontent.com", apiHost, uploadHost, assetHost, storeHost,
	OtherStore,
}, registryHosts, packageHosts)

// The hosts that github.com has for its API and for the content of releases.
const (
	apiHost    = "api.github.com"
	uploadHost = "uploads.github.com"
	assetHost  = "release-assets.githubusercontent.com"
	assetPath  = "github-production-release-asset/"
)

// Draft makes a draft of a release of a tag, which need not exist yet, as on
// GitHub. There is one release for each tag.
func (f *Forge) Draft(path, tag string) (Release, error) {
	var out Release
	err := f.change(path, func(r *Repository) error {
		if tag == "" || !filepath.IsLocal(tag) {
			return fmt.Errorf("forge: %q is no tag", tag)
		}
		if f.state.Releases[r.ID][tag] != nil {
			return fmt.Errorf("forge: %s has a release %s", path, tag)
		}
		if f.state.Releases[r.ID] == nil {
			f.state.Releases[r.ID] = map[string]*Release{}
		}
		out = Release{ID: f.state.NextID, Tag: tag, Draft: true, Assets: []Asset{}}
		f.state.NextID++
		kept := out
		f.state.Releases[r.ID][tag] = &kept
		return nil
	})
	return out, err
}

// Upload adds a file to a release. A name that is there is an error.
func (f *Forge) Upload(path, tag, name string, content io.Reader) (Asset, error) {
	data, err := io.ReadAll(content)
	if err != nil {
		return Asset{}, err
	}
	var out Asset
	err = f.release(path, tag, func(_ *Repository, rel *Release) error {
		if name == "" || strings.ContainsAny(name, "/\\") || !filepath.IsLocal(name) {
			return fmt.Errorf("forge: %q is no name of a file", name)
		}
		if slices.ContainsFunc(rel.Assets, func(a Asset) bool { return a.Name == name }) {
			return fmt.Errorf("forge: the release %s has a file %s", tag, name)
		}
		out = Asset{ID: f.state.NextID, Name: name, Size: int64(len(data)), Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data))}
		f.state.NextID++
		file := f.asset(out.ID)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
		rel.Assets = append(rel.Assets, out)
		return nil
	})
	return out, err
}

// Remove takes a file out of a release.
func (f *Forge) Remove(path, tag, name string) error {
	return f.release(path, tag, func(_ *Repository, rel *Release) error {
		i := slices.IndexFunc(rel.Assets, func(a Asset) bool { return a.Name == name })
		if i < 0 {
			return fmt.Errorf("forge: the release %s has no file %s", tag, name)
		}
		id := rel.Assets[i].ID
		rel.Assets = slices.Delete(rel.Assets, i, i+1)
		return os.Remove(f.asset(id))
	})
}

// Publish shows a draft to everybody. If the tag does not exist, it is made at
// the default branch, as on GitHub.
func (f *Forge) Publish(path, tag string) error {
	return f.release(path, tag, func(r *Repository, rel *Release) error {
		if _, err := f.resolve(r.ID, "refs/tags/"+tag); err != nil {
			if _, err := git(f.bare(r.ID), nil, "update-ref", "refs/tags/"+tag, "refs/heads/"+r.DefaultBranch); err != nil {
				return err
			}
		}
		now := time.Now().UTC().Truncate(time.Second)
		rel.Draft, rel.Published = false, &now
		return nil
	})
}

// Release makes and publishes a release with these files, by name.
func (f *Forge) Release(path, tag string, files map[string]string) error {
	if _, err := f.Draft(path, tag); err != nil {
		return err
	}
	for name, content := range files {
		if _, err := f.Upload(path, tag, name, strings.NewReader(content)); err != nil {
			return err
		}
	}
	return f.Publish(path, tag)
}

// Withdraw removes a release; its tag stays.
func (f *Forge) Withdraw(path, tag string) error {
	return f.release(path, tag, func(r *Repository, rel *Release) error {
		delete(f.state.Releases[r.ID], tag)
		for _, a := range rel.Assets {
			if err := os.Remove(f.asset(a.ID)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Attest stores bundles, from the oldest, for GitHub's attestation API under the digest,
// "sha256:…", of what they are about. Nothing about them is checked.
func (f *Forge) Attest(path, digest string, bundles ...[]byte) error {
	return f.change(path, func(r *Repository) error {
		if f.state.Attestations[r.ID] == nil {
			f.state.Attestations[r.ID] = map[string][]json.RawMessage{}
		}
		for _, bundle := range bundles {
			if !json.Valid(bundle) {
				return errors.New("forge: an attestation is a bundle in JSON")
			}
			f.state.Attestations[r.ID][digest] = append(f.state.Attestations[r.ID][digest], bundle)
		}
		return nil
	})
}

func (f *Forge) release(path, tag string, do func(*Repository, *Release) error) error {
	return f.change(path, func(r *Repository) error {
		rel := f.state.Releases[r.ID][tag]
		if rel == nil {
			return fmt.Errorf("forge: %s has no release %s: %w", path, tag, fs.ErrNotExist)
		}
		return do(r, rel)
	})
}

func (f *Forge) asset(id int64) string {
	return filepath.Join(f.dir, "assets", strconv.FormatInt(id, 10))
}

// published returns a copy of a release that everybody sees.
func (f *Forge) published(id int64, tag string) (Release, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rel := f.state.Releases[id][tag]
	if rel == nil || rel.Draft {
		return Release{}, false
	}
	out := *rel
	out.Assets = slices.Clone(rel.Assets)
	return out, true
}

// serveDownload serves owner/name/releases/download/<tag>/<file>. As github.com
// does, the host of that name sends its visitors to another one.
func (f *Forge) serveDownload(w http.ResponseWriter, r *http.Request, id int64, rest string) {
	i := strings.LastIndex(rest, "/")
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	rel, ok := f.published(id, rest[:i])
	at := slices.IndexFunc(rel.Assets, func(a Asset) bool { return a.Name == rest[i+1:] })
	switch {
	case !ok || at < 0:
		http.NotFound(w, r)
	case r.Host == "github.com":
		http.Redirect(w, r, fmt.Sprintf("https://%s/%s%d/%d?sp=r&sig=sandbox", assetHost, assetPath, id, rel.Assets[at].ID), http.StatusFound)
	default:
		f.serveAsset(w, r, rel.Assets[at].ID)
	}
}

// serveAssetHost serves what downloads of github.com lead to.
func (f *Forge) serveAssetHost(w http.ResponseWriter, r *http.Request, path string) {
	_, text, _ := strings.Cut(strings.TrimPrefix(path, assetPath), "/")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || r.URL.Query().Get("sig") != "sandbox" {
		http.Error(w, "AuthenticationFailed", http.StatusForbidden)
		return
	}
	f.serveAsset(w, r, id)
}

func (f *Forge) serveAsset(w http.ResponseWriter, r *http.Request, id int64) {
	file, err := os.Open(f.asset(id))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), file)
}

// serveAPI serves what is below repos/owner/name of the API.
func (f *Forge) serveAPI(w http.ResponseWriter, r *http.Request, repo Repository, rest string) {
	parts := strings.Split(rest, "/")
	switch {
	case parts[0] == "attestations" && len(parts) == 2 && r.Method == http.MethodGet:
		f.serveAttestations(w, r, repo, parts[1])
	case parts[0] == "attestations" && len(parts) == 1 && r.Method == http.MethodPost && writes(r):
		f.takeAttestation(w, r, repo)
	case parts[0] != "releases":
		notFound(w)
	case r.Method == http.MethodGet && len(parts) > 2 && parts[1] == "tags":
		rel, ok := f.published(repo.ID, strings.Join(parts[2:], "/"))
		if !ok {
			notFound(w)
			return
		}
		writeJSON(w, http.StatusOK, f.describe(repo, rel))
	case r.Method == http.MethodGet && len(parts) == 1: // drafts are for who may write
		all := []any{}
		for _, rel := range f.releases(repo.ID) {
			if !rel.Draft || writes(r) {
				all = append(all, f.describe(repo, rel))
			}
		}
		writeJSON(w, http.StatusOK, all)
	case !writes(r):
		writeJSON(w, http.StatusForbidden, map[string]any{"message": "Resource not accessible by integration"})
	case r.Method == http.MethodGet && len(parts) == 3 && parts[1] == "assets":
		id, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil || !slices.ContainsFunc(f.releases(repo.ID), func(rel Release) bool {
			return slices.ContainsFunc(rel.Assets, func(a Asset) bool { return a.ID == id })
		}) {
			notFound(w)
			return
		}
		f.serveAsset(w, r, id)
	default:
		f.write(w, r, repo, parts[1:])
	}
}

// releases returns the releases of a repository, drafts included, newest first.
func (f *Forge) releases(id int64) []Release {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Release
	for _, rel := range f.state.Releases[id] {
		kept := *rel
		kept.Assets = slices.Clone(rel.Assets)
		out = append(out, kept)
	}
	slices.SortFunc(out, func(a, b Release) int { return cmp.Compare(b.ID, a.ID) })
	return out
}

// write serves the requests that change releases: POST releases, POST
// releases/<id>/assets?name= and PATCH releases/<id>.
func (f *Forge) write(w http.ResponseWriter, r *http.Request, repo Repository, parts []string) {
	var body struct {
		Tag   string `json:"tag_name"`
		Draft bool   `json:"draft"`
	}
	upload := r.Method == http.MethodPost && len(parts) == 2 && parts[1] == "assets"
	if !upload {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]any{"message": "Problems parsing JSON"})
			return
		}
	}
	var rel Release
	var err error
	tag, known := body.Tag, false
	if len(parts) > 0 {
		tag, known = f.tagOf(repo.ID, parts[0])
	}
	switch {
	case len(parts) > 0 && !known:
		notFound(w)
		return
	case upload:
		var a Asset
		if a, err = f.Upload(repo.Path, tag, r.URL.Query().Get("name"), r.Body); err == nil {
			writeJSON(w, http.StatusCreated, f.describeAsset(repo, tag, a))
			return
		}
	case r.Method == http.MethodPost && len(parts) == 0:
		if rel, err = f.Draft(repo.Path, tag); err == nil && !body.Draft {
			err = f.Publish(repo.Path, tag)
		}
		rel.Draft = body.Draft
	case r.Method == http.MethodPatch && len(parts) == 1 && !body.Draft:
		if err = f.Publish(repo.Path, tag); err == nil {
			rel, _ = f.published(repo.ID, tag)
		}
	default:
		notFound(w)
		return
	}
	if err != nil {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"message": err.Error()})
		return
	}
	status := http.StatusCreated
	if r.Method == http.MethodPatch {
		status = http.StatusOK
	}
	writeJSON(w, status, f.describe(repo, rel))
}

// tagOf returns the tag of the release with that number.
func (f *Forge) tagOf(id int64, number string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for tag, rel := range f.state.Releases[id] {
		if strconv.FormatInt(rel.ID, 10) == number {
			return tag, true
		}
	}
	return "", false
}

func (f *Forge) describe(repo Repository, rel Release) map[string]any {
	assets := []any{}
	for _, a := range rel.Assets {
		assets = append(assets, f.describeAsset(repo, rel.Tag, a))
	}
	api := fmt.Sprintf("https://%s/repos/%s/releases/%d", apiHost, repo.Path, rel.ID)
	return map[string]any{
		"id": rel.ID, "url": api, "tag_name": rel.Tag, "name": rel.Tag, "draft": rel.Draft, "prerelease": false, "assets": assets,
		"published_at": rel.Published,
		"upload_url":   fmt.Sprintf("https://%s/repos/%s/releases/%d/assets{?name,label}", uploadHost, repo.Path, rel.ID),
		"html_url":     fmt.Sprintf("https://github.com/%s/releases/tag/%s", repo.Path, rel.Tag),
	}
}

func (f *Forge) describeAsset(repo Repository, tag string, a Asset) map[string]any {
	return map[string]any{
		"id": a.ID, "name": a.Name, "size": a.Size, "digest": a.Digest, "state": "uploaded", "content_type": "application/octet-stream",
		"url":                  fmt.Sprintf("https://%s/repos/%s/releases/assets/%d", apiHost, repo.Path, a.ID),
		"browser_download_url": fmt.Sprintf("https://github.com/%s/releases/download/%s/%s", repo.Path, tag, a.Name),
	}
}

func notFound(w http.ResponseWriter) {
	writeJSON(w, http.StatusNotFound, map[string]any{"message": "Not Found", "status": "404"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
