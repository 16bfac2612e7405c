// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/gittest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

const (
	// hostileResident is what a run may hold by the specification, in KiB.
	hostileResident = 256 << 10
	hostileTime     = 15 * time.Second
)

// TestHostileHosts: whatever a Git server, a registry or a host of releases sends, the real
// program ends in time and within its memory, and allows nothing.
func TestHostileHosts(t *testing.T) {
	begin := time.Now()
	const mib = 1 << 20
	const name = "acme/hostile"
	const url = "https://github.com/" + name
	_, good := bound(t, name)
	m := &matrix{measured: newMeasured(t), root: stack.TrustedRoot()}
	const file = "widget_1.tar.gz"
	for tag, evidence := range map[string]string{"v1": ".sigstore.json", "v2": ".intoto.jsonl", "v3": ".sigstore.jsonl"} {
		check(t, stack.Forge().Release(name, tag, map[string]string{file: file, file + evidence: "{}"}))
	}
	bare := artifact(t, file)

	hosts := map[string]func(*testing.T){}
	add := func(what string, run func(c *cell)) {
		hosts[what] = func(t *testing.T) {
			run(&cell{matrix: m, t: t, fault: malice.Images{}, home: t.TempDir(), time: hostileTime, resident: hostileResident})
		}
	}
	for _, s := range gittest.Servers() {
		if s.Large && testing.Short() {
			continue
		}
		add("git/"+s.What, func(c *cell) {
			c.means = []policy.Class{policy.ClassInvalid}
			if strings.Contains(strings.Join(s.Ends, " "), "ok") { // nothing bad was read, and no policy
				c.means = append(c.means, policy.ClassNoPolicy)
			}
			c.fault = malice.Git{List: s.List, Pack: s.Pack}
			c.atForge("", "verify", "-R", name, good)
		})
	}
	again := func(begin, again, end string, size int64) malice.Content {
		return malice.Content{Begin: begin, Again: again, End: end, Size: size}
	}
	for what, content := range map[string]malice.Fault{
		"64 MiB of lines":                again("", "1\n", "", 64*mib),
		"lines within the cap":           again("", "1\n", "", 8*mib-10),
		"16 MiB of objects":              again("", "{}\n", "", 16*mib),
		"objects within the cap":         again("", "{}\n", "", 8*mib-10),
		"a bundle of empty entries":      again(`{"verificationMaterial":{"tlogEntries":[`, "{},", "{}]}}", 8*mib-10),
		"nested lists":                   again("", "[", "", 8*mib-10),
		"nested objects":                 again("", `{"a":`, "", 8*mib-10),
		"members":                        again("{", `"a":1,`, `"b":1}`, 8*mib-10),
		"attestations of nothing":        again(`{"attestations":[`, "[],", "[]]}", 8*mib-10),
		"bundles of nothing":             again(`{"attestation_bundles":[`, "{},", `{}],"version":1}`, 8*mib-10),
		"lines without end":              again("", "{}\n", "", 0),
		"one line without end":           again("", "x", "", 0),
		"zeros that were packed":         malice.GzipBomb{},
		"a list of assets":               again(`{"id":1,"tag_name":"v1","assets":[`, "{},", "{}]}", 15*mib),
		"attestations within the answer": again(`{"attestations":[`, `{"bundle":{}},`, `{"bundle":{}}]}`, 4*mib-10),
	} {
		for tag, evidence := range map[string]string{"v1": ".sigstore.json", "v2": ".intoto.jsonl", "v3": ".sigstore.jsonl"} {
			add("evidence/"+what+" in "+evidence, func(c *cell) {
				c.means = []policy.Class{policy.ClassDeny, policy.ClassInvalid}
				c.fault = content
				c.atForge("/"+name+"/releases/download/"+tag+"/"+file+evidence, "verify", "--max-size", "16M", url+"/releases/tag/"+tag)
			})
		}
		for where, args := range map[string][]string{" of the API": {"-R", name, bare}, " as a release": {url + "/releases/tag/v1"}} {
			add("evidence/"+what+where, func(c *cell) {
				c.means = []policy.Class{policy.ClassDeny, policy.ClassInvalid}
				c.fault = content
				c.atForge("/repos/", append([]string{"verify"}, args...)...)
			})
		}
	}
	manifest := func(begin, more, end string, size int64) *malice.Content {
		c := again(begin, more, end, size)
		return &c
	}
	oci := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[`
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`
	for what, images := range map[string]malice.Images{
		"one blob a thousand times":         {Referrers: 10, Layers: 100, Blobs: 1, Size: 3 * mib},
		"sixty blobs":                       {Referrers: 10, Layers: 100, Blobs: 60, Size: 3 * mib},
		"small blobs":                       {Referrers: 200, Layers: 100, Blobs: 500, Size: 1000},
		"layers of 64 MiB":                  {Referrers: 2, Layers: 2, Blobs: 1, Size: 64 * mib},
		"64 MiB instead of 3":               {Referrers: 10, Layers: 10, Blobs: 10, Size: 3 * mib, Sent: 64 * mib},
		"blobs without end":                 {Referrers: 10, Layers: 10, Blobs: 10, Size: 3 * mib, Sent: -1},
		"less than a blob":                  {Referrers: 10, Layers: 10, Blobs: 10, Size: 3 * mib, Sent: mib},
		"long annotations":                  {Referrers: 40, Layers: 1, Blobs: 1, Size: 10, Annotation: 3 * mib},
		"more layers than are read":         {Referrers: 20, Layers: 10_000, Blobs: 1, Size: 10},
		"a manifest without end":            {Manifest: manifest(oci, " ", "", 0)},
		"a manifest of empty layers":        {Manifest: manifest(oci, "{},", "{}]}", 4*mib-10)},
		"a manifest of nested lists":        {Manifest: manifest("", "[", "", 4*mib-10)},
		"a manifest of annotations":         {Manifest: manifest(oci+`{}],"annotations":{`, `"a":"",`, `"b":""}}`, 4*mib-10)},
		"referrers without end":             {Listing: manifest(index, " ", "", 0)},
		"pages of empty referrers":          {Listing: manifest(index, "{},", "{}]}", 4*mib-10)},
		"pages of referrers of other kinds": {Listing: manifest(index, `{"artifactType":"text/plain"},`, "{}]}", 4*mib-10)},
		"a page of pages":                   {Listing: manifest(index, "", "]}", 1)},
	} {
		add("registry/"+what, func(c *cell) {
			c.means = []policy.Class{policy.ClassDeny, policy.ClassInvalid}
			l := c.line("http://127.0.0.1:9", images)
			c.fails(l.Host(), nil, "verify", "-R", name, "--trusted-root", c.through("root.json", m.root, nil), "oci://"+l.Host()+"/acme/hostile:v1")
		})
		add("registry/"+what+", for a policy", func(c *cell) {
			l := c.line("http://127.0.0.1:9", images)
			c.fails(l.Host(), nil, "show", "-R", name, "--trusted-root", c.through("root.json", m.root, nil), "--from", "oci:"+l.Host()+"/acme/hostile:v1")
		})
	}
	sideBySide(t, 4, hosts)
	t.Logf("%d hosts in %s, %d KiB at most, in %s", len(hosts), time.Since(begin).Round(time.Second), m.worst.resident, m.where)
}
