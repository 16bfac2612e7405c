// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
)

// services are GitHub as it is: attestations at an address, repositories with another name, limits.
type services struct {
	forge
	at      string // where the bundle is kept; "" for in the answer
	bundle  []byte
	renamed bool // acme/widget is repository 42 now
	spent   bool // nobody may ask for attestations

	mu    sync.Mutex
	asked []string
}

func (x *services) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	x.asked = append(x.asked, r.URL.String())
	x.mu.Unlock()
	answer := func(status int, header http.Header, body []byte) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(bytes.NewReader(body)),
			ContentLength: int64(len(body)), Request: r,
		}, nil
	}
	path := r.URL.Path
	if x.renamed && r.URL.Host == "api.github.com" {
		rest, old := strings.CutPrefix(path, "/repos/acme/widget/")
		if old {
			return answer(301, http.Header{"Location": {"https://api.github.com/repositories/42/" + rest}}, nil)
		}
		path = strings.Replace(path, "/repositories/42/", "/repos/acme/widget/", 1)
	}
	switch {
	case x.at != "" && strings.HasPrefix(r.URL.String(), x.at):
		return answer(200, http.Header{"Content-Type": {"application/x-snappy"}}, snappy.Encode(nil, x.bundle))
	case strings.Contains(path, "/attestations/") && x.spent:
		return answer(403, http.Header{
			"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"4102444800"},
		}, []byte(`{"message":"API rate limit exceeded"}`))
	case strings.Contains(path, "/attestations/"):
		a := map[string]any{"bundle": nil, "bundle_url": x.at}
		if x.at == "" {
			a = map[string]any{"bundle": json.RawMessage(x.bundle)}
		}
		body, err := json.Marshal(map[string]any{"attestations": []any{a}})
		if err != nil {
			return nil, err
		}
		return answer(200, http.Header{"Content-Type": {"application/json"}}, body)
	}
	again := r.Clone(r.Context())
	again.URL.Path = path
	resp, err := x.forge.RoundTrip(again)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

// TestServices judges releases at GitHub as it answers today.
func TestServices(t *testing.T) {
	const store = "https://tmaproduction.blob.core.windows.net/attestations/1.json.sn"
	art := []byte("widget")
	many := map[string][]byte{}
	for i := range 40 {
		many[fmt.Sprintf("widget_%d", i)] = fmt.Appendf(nil, "%d", i)
	}
	one := map[string][]byte{"widget_1": art}
	for name, c := range map[string]struct {
		files map[string][]byte
		x     *services
		other bool // the bundle is about something else
		none  bool // the evidence names no tag
		exit  int
		says  string
		calls int // of the API and the storage, at most
	}{
		"a bundle in the answer": {files: one, calls: 2},
		"a bundle at an address": {files: one, x: &services{at: store}, calls: 3},
		"at another host": {
			files: one, x: &services{at: "https://evil.blob.core.windows.net/1"}, exit: 3, says: "--redirect-host", calls: 2,
		},
		"about something else": {files: one, x: &services{at: store}, other: true, exit: 1, calls: 3},
		"another name":         {files: one, x: &services{renamed: true}, says: "repository number 42", calls: 4},
		"another name, and elsewhere": {
			files: one, x: &services{renamed: true, at: store}, says: "repository number 42", calls: 5,
		},
		"asked too often": {files: many, x: &services{spent: true}, exit: 3, says: "--github-token", calls: 6},
		"evidence without a tag": {
			files: one, none: true, exit: 1, says: "download the file, and verify it with -R and without --tag", calls: 2,
		},
	} {
		s := newShop(t)
		s.publish(c.files)
		x := c.x
		if x == nil {
			x = &services{}
		}
		x.forge, x.bundle = forge{s, c.files}, s.sign(art, "widget_1")
		if c.other {
			x.bundle = s.sign([]byte("other"), "widget_1")
		}
		if c.none {
			r := s.workflow()
			r.SAN = strings.Replace(r.SAN, "refs/tags/v1.2.3", "refs/heads/main", 1)
			for n, v := range r.Extensions {
				r.Extensions[n] = strings.Replace(v, "refs/tags/v1.2.3", "refs/heads/main", 1)
			}
			r.Statement = statementAbout(art, "widget_1")
			x.bundle = s.inst.Sign(r)
		}
		s.env.Transport = x
		code, out := s.run(releaseURL)
		calls := 0
		for _, u := range x.asked {
			if !strings.HasPrefix(u, "https://github.com/") {
				calls++
			}
			if strings.Contains(u, "evil") {
				t.Errorf("%s: asked %s", name, u)
			}
		}
		if code != c.exit || !strings.Contains(out, c.says) || calls > c.calls {
			t.Errorf("%s: exit %d, %d calls\n%s", name, code, calls, out)
		}
	}
}
