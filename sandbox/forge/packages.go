// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// The registries of packages that the forge plays.
const (
	npmHost  = "registry.npmjs.org"
	pypiHost = "pypi.org"
)

var packageHosts = []string{npmHost, pypiHost}

// maxPublished is the largest package that is published.
const maxPublished = 32 << 20

// packages are the files of registries of packages.
type packages struct {
	mu    sync.Mutex
	files map[string]file // by host and path
}

type file struct {
	mediaType string
	data      []byte
}

func (p *packages) put(host, path, mediaType string, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.files == nil {
		p.files = map[string]file{}
	}
	p.files[host+path] = file{mediaType, data}
}

// PublishNPM puts a version of a package into the registry, with the attestations that it answers
// with; without an answer if there are none.
func (f *Forge) PublishNPM(name, version string, tarball, attestations []byte) {
	base := name[strings.LastIndex(name, "/")+1:]
	f.packages.put(npmHost, "/"+name+"/-/"+base+"-"+version+".tgz", "application/octet-stream", tarball)
	f.packages.put(npmHost, "/-/npm/v1/attestations/"+name+"@"+version, "application/json", attestations)
}

// PublishPyPI lets the index answer with the provenance of a distribution.
func (f *Forge) PublishPyPI(project, version, distribution string, provenance []byte) {
	f.packages.put(pypiHost, "/integrity/"+project+"/"+version+"/"+distribution+"/provenance",
		"application/vnd.pypi.integrity.v1+json", provenance)
}

// servePackages serves the requests to registries of packages, and reports whether this was one.
func (f *Forge) servePackages(w http.ResponseWriter, r *http.Request) bool {
	if r.Host != npmHost && r.Host != pypiHost {
		return false
	}
	if r.Host == npmHost && r.Method == http.MethodPut {
		f.publishNPM(w, r)
		return true
	}
	if r.Host == npmHost && strings.HasSuffix(r.URL.Path, "/visibility") { // npm asks before it signs
		writeJSON(w, http.StatusOK, map[string]any{"public": true})
		return true
	}
	f.packages.mu.Lock()
	found, ok := f.packages.files[r.Host+r.URL.Path]
	f.packages.mu.Unlock()
	if !ok || found.data == nil {
		writeJSON(w, http.StatusNotFound, map[string]any{"error": "Not found"})
		return true
	}
	w.Header().Set("Content-Type", found.mediaType)
	_, _ = w.Write(found.data) // the client went away
	return true
}

// publishNPM takes what `npm publish` sends: the tarball and, with --provenance, a bundle. As the
// real registry does, it answers with that among the attestations; unlike it, nobody vouches here
// that the package was published.
func (f *Forge) publishNPM(w http.ResponseWriter, r *http.Request) {
	var doc struct {
		Name        string `json:"name"`
		Attachments map[string]struct {
			Data string `json:"data"` // the tarball in base64, and the bundle as it is
		} `json:"_attachments"`
		Versions map[string]json.RawMessage `json:"versions"`
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPublished))
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil || strings.TrimPrefix(r.URL.Path, "/") != doc.Name || len(doc.Versions) != 1 {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "no package of that name with one version"})
		return
	}
	for version := range doc.Versions {
		of := doc.Name + "-" + version
		tarball, err := base64.StdEncoding.DecodeString(doc.Attachments[of+".tgz"].Data)
		var attestations []byte
		if bundle, ok := doc.Attachments[of+".sigstore"]; ok && err == nil {
			attestations, err = json.Marshal(map[string]any{"attestations": []any{map[string]any{
				"predicateType": "https://slsa.dev/provenance/v1", "bundle": json.RawMessage(bundle.Data),
			}}})
		}
		if err != nil || len(tarball) == 0 {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": "no tarball, or a bundle that is none"})
			return
		}
		f.PublishNPM(doc.Name, version, tarball, attestations)
	}
	writeJSON(w, http.StatusCreated, map[string]any{"ok": true})
}
