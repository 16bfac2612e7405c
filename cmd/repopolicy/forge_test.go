// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// forge answers requests from the files of a directory: https://HOST/PATH with the content of
// HOST/PATH.reply, or a redirect to that of HOST/PATH.redirect, with "_" for the colon that not
// every system has in names. There is nothing else, and without a directory nothing at all.
type forge string

func (f forge) RoundTrip(r *http.Request) (*http.Response, error) {
	reply := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: r}
	if f == "" {
		return reply, nil
	}
	path := filepath.Join(string(f), r.URL.Host, filepath.FromSlash(strings.ReplaceAll(r.URL.Path, ":", "_")))
	if data, err := os.ReadFile(path + ".reply"); err == nil {
		reply.StatusCode, reply.Body = http.StatusOK, io.NopCloser(bytes.NewReader(data))
	} else if to, err := os.ReadFile(path + ".redirect"); err == nil {
		reply.StatusCode = http.StatusMovedPermanently
		reply.Header.Set("Location", strings.TrimSpace(string(to)))
	}
	return reply, nil
}

// releases writes five releases of acme/widget as a forge serves them, v1.0.4 to v1.0.0, each
// with a signed archive; elsewhere one without evidence and one of another workflow.
func releases(t testing.TB, inst *sigstoretest.Instance, write func(string, []byte)) {
	t.Helper()
	var list []string
	for n := 4; n >= 0; n-- {
		tag := fmt.Sprintf("v1.0.%d", n)
		list = append(list, fmt.Sprintf(
			`{"tag_name":%q,"published_at":"2026-06-0%dT00:00:00Z","author":{"login":"alice"}}`, tag, n+1))
		request := sigstoretest.Workflow(tag)
		request.Artifact = fmt.Appendf(nil, "widget %s\n", tag)
		request.At = sigstoretest.Now.AddDate(0, 0, n)
		name := fmt.Sprintf("widget_1.0.%d.tar.gz", n)
		publishRelease(write, "forge", tag, map[string][]byte{
			name: request.Artifact, name + ".sigstore.json": inst.Sign(request),
		})
	}
	write("forge/api.github.com/repos/acme/widget/releases.reply", []byte("["+strings.Join(list, ",")+"]"))
	write("forge/api.github.com/repos/acme/widget.reply",
		[]byte(`{"id":1001,"full_name":"Acme/Widget","owner":{"id":2002}}`))
	publishRelease(write, "forge-bare", "v1.0.0", map[string][]byte{
		"widget_1.0.0.tar.gz": []byte("by nobody\n"), "gizmo-1.0.0.deb": []byte("neither\n"),
	})
	other := sigstoretest.Workflow("v1.0.1")
	other.Artifact = []byte("from a branch\n")
	other.SAN = strings.ReplaceAll(other.SAN, "release.yml", "other.yml")
	other.Extensions[9], other.Extensions[18] = other.SAN, other.SAN
	publishRelease(write, "forge-strange", "v1.0.1", map[string][]byte{
		"widget_1.0.1.tar.gz": other.Artifact, "widget_1.0.1.tar.gz.sigstore.json": inst.Sign(other),
	})
	old := sigstoretest.Workflow("v1.0.2")
	old.Artifact = []byte("under the former name\n")
	const was = "https://github.com/acme/gadget"
	for i, value := range old.Extensions {
		old.Extensions[i] = strings.ReplaceAll(value, "https://github.com/acme/widget", was)
	}
	old.SAN = old.Extensions[9]
	publishPackage(inst, write)
	publishAttested(inst, write)
	publishRelease(write, "forge-former", "v1.0.2", map[string][]byte{
		"widget_1.0.2.tar.gz": old.Artifact, "widget_1.0.2.tar.gz.sigstore.json": inst.Sign(old),
	})
}

// publishRelease writes a release as the forge below dir serves it.
func publishRelease(write func(string, []byte), dir, tag string, files map[string][]byte) {
	var assets []string
	for name, data := range files {
		assets = append(assets, fmt.Sprintf(`{"name":%q,"digest":"sha256:%x"}`, name, sha256.Sum256(data)))
		write(dir+"/github.com/acme/widget/releases/download/"+tag+"/"+name+".reply", data)
	}
	write(dir+"/api.github.com/repos/acme/widget/releases/tags/"+tag+".reply",
		fmt.Appendf(nil, `{"tag_name":%q,"assets":[%s]}`, tag, strings.Join(assets, ",")))
}

// publishAttested writes a release for whose file nothing but the forge's API has evidence.
func publishAttested(inst *sigstoretest.Instance, write func(string, []byte)) {
	content := []byte("attested\n")
	const api = "forge-attested/api.github.com/repos/acme/widget"
	publishRelease(write, "forge-attested", "v1.0.0", map[string][]byte{"widget_1.0.0.tar.gz": content})
	request := sigstoretest.Workflow("v1.0.0")
	request.Statement = fmt.Appendf(
		nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},`+
			`"subject":[{"name":"widget_1.0.0.tar.gz","digest":{"sha256":"%x"}}]}`, sha256.Sum256(content),
	)
	write(fmt.Sprintf("%s/attestations/sha256_%x.reply", api, sha256.Sum256(content)),
		fmt.Appendf(nil, `{"attestations":[{"bundle":%s}]}`, inst.Sign(request)))
	write(api+".reply", []byte(`{"id":1001,"full_name":"acme/widget","owner":{"id":2002}}`))
	write(api+"/releases.reply", []byte(`[{"tag_name":"v1.0.0","published_at":"2026-06-02T00:00:00Z"}]`))
}

// publishPackage writes two versions of an npm package, of which one is attested, as the registry
// serves them, and releases without files.
func publishPackage(inst *sigstoretest.Instance, write func(string, []byte)) {
	for version, attested := range map[string]bool{"1.0.4": true, "1.0.3": false} {
		content := []byte("package " + version + "\n")
		const registry = "forge-npm/registry.npmjs.org/"
		write(registry+"widget/-/widget-"+version+".tgz.reply", content)
		publishRelease(write, "forge-npm", "v"+version, nil)
		if !attested {
			continue
		}
		request := sigstoretest.Workflow("v" + version)
		request.Statement = fmt.Appendf(
			nil,
			`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},`+
				`"subject":[{"name":"pkg:npm/widget@%s","digest":{"sha512":"%x"}}]}`,
			version, sha512.Sum512(content),
		)
		write(registry+"-/npm/v1/attestations/widget@"+version+".reply", fmt.Appendf(
			nil, `{"attestations":[{"predicateType":"https://slsa.dev/provenance/v1","bundle":%s}]}`, inst.Sign(request)))
	}
	write("forge-npm/api.github.com/repos/acme/widget.reply", []byte(`{"id":1001,"full_name":"acme/widget"}`))
	write("forge-npm/api.github.com/repos/acme/widget/releases.reply", []byte(
		`[{"tag_name":"v1.0.4","published_at":"2026-06-02T00:00:00Z"},`+
			`{"tag_name":"v1.0.3","published_at":"2026-06-01T00:00:00Z"},`+
			`{"tag_name":"v1.0.2","published_at":"2026-06-01T00:00:00Z"},`+
			`{"tag_name":"nightly","published_at":"2026-06-01T00:00:00Z"}]`))
}
