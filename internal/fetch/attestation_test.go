// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/policy"
)

// frame writes data in snappy's framing format.
func frame(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := snappy.NewBufferedWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestAttestationAddress: a bundle is read from the address that GitHub's API gave, at an exact
// host, without a token, a redirect or more bytes than are allowed.
func TestAttestationAddress(t *testing.T) {
	const store = "tmaproduction.blob.core.windows.net"
	bundle := []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`)
	large := append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), maxBundle)...)
	large = append(large, `"}`...)
	page := func(w http.ResponseWriter, data []byte) { _, _ = w.Write(data) }
	for name, c := range map[string]struct {
		at     string
		served []byte
		hosts  []string // that the user named
		ok     bool
	}{
		"a block": {
			at: "https://" + store + "/a/1.json.sn?sv=2&sig=a%2Fb%3D", served: snappy.Encode(nil, bundle), ok: true,
		},
		"frames":             {at: "https://" + store + "/a", served: frame(t, bundle), ok: true},
		"plain":              {at: "https://" + store + "/a", served: bundle, ok: true},
		"plain, with blanks": {at: "https://" + store + "/a", served: append([]byte("\n "), bundle...), ok: true},
		"a host that was named": {
			at: "https://other.example/a", served: bundle, hosts: []string{"other.example"}, ok: true,
		},
		"another host":            {at: "https://other.example/a", served: bundle},
		"rented storage":          {at: "https://evil.blob.core.windows.net/a", served: bundle},
		"a host below":            {at: "https://" + store + ".evil.example/a", served: bundle},
		"another port":            {at: "https://" + store + ":8443/a", served: bundle},
		"a user":                  {at: "https://u@" + store + "/a", served: bundle},
		"http":                    {at: "http://" + store + "/a", served: bundle},
		"a file":                  {at: "file:///etc/passwd"},
		"a long address":          {at: "https://" + store + "/" + strings.Repeat("a", maxAddress), served: bundle},
		"nothing":                 {at: "https://"},
		"no address":              {at: ":"},
		"garbage":                 {at: "https://" + store + "/a", served: []byte("\xff\xff\xff\xff\xff\xff\xff")},
		"an empty answer":         {at: "https://" + store + "/a", served: []byte{}},
		"a block cut short":       {at: "https://" + store + "/a", served: snappy.Encode(nil, bundle)[:20]},
		"frames cut short":        {at: "https://" + store + "/a", served: frame(t, bundle)[:20]},
		"large inflated":          {at: "https://" + store + "/a", served: snappy.Encode(nil, large)},
		"large inflated frames":   {at: "https://" + store + "/a", served: frame(t, large)},
		"large plain":             {at: "https://" + store + "/a", served: large},
		"a length without a body": {at: "https://" + store + "/a", served: []byte{0xff, 0xff, 0xff, 0xff, 0x0f}},
		"redirected":              {at: "https://" + store + "/redirect", served: bundle},
		"gone":                    {at: "https://" + store + "/gone", served: bundle},
	} {
		t.Run(name, func(t *testing.T) {
			serve := func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					t.Error("the token went to the storage")
				}
				switch r.URL.Path {
				case "/redirect":
					http.Redirect(w, r, "https://"+store+"/a", http.StatusFound)
				case "/gone":
					w.WriteHeader(http.StatusNotFound)
				default:
					page(w, c.served)
				}
			}
			n := newInternet(t, map[string]http.HandlerFunc{
				"api.github.com": func(w http.ResponseWriter, _ *http.Request) {
					fmt.Fprintf(w, `{"attestations":[{"bundle":null,"bundle_url":%q},{"bundle":{"n":1}}]}`, c.at)
				},
				store: serve, "other.example": serve, "evil.blob.core.windows.net": serve,
			})
			how := n.net()
			how.Hosts, how.Token, n.token = c.hosts, "secret", "secret"
			ask, err := Attestations(locator(t, "acme/widget"), how)
			if err != nil {
				t.Fatal(err)
			}
			docs, err := ask(t.Context(), wanted(policy.Digest{Alg: "sha256", Hex: "11"}))
			want := 1
			if c.ok {
				want = 2
			}
			if (err == nil) != c.ok || len(docs) != want {
				t.Fatalf("%d documents, %v", len(docs), err)
			}
			if c.ok && !bytes.Equal(bytes.TrimSpace(docs[0].Data), bundle) {
				t.Errorf("%q", docs[0].Data)
			}
			if err != nil && strings.Contains(err.Error(), "sig=") {
				t.Errorf("the message holds what opens the address: %v", err)
			}
			if c.ok && n.asked[len(n.asked)-1] != c.at {
				t.Errorf("asked for %v", n.asked)
			}
		})
	}
}

// TestElsewhereOnly: no forge but github.com has its bundles fetched from other hosts.
func TestElsewhereOnly(t *testing.T) {
	n := newInternet(t, map[string]http.HandlerFunc{
		"ghe.example": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"attestations":[{"bundle_url":"https://tmaproduction.blob.core.windows.net/a"}]}`)
		},
	})
	ask, err := Attestations(locator(t, "https://ghe.example/acme/widget"), n.net())
	if err != nil {
		t.Fatal(err)
	}
	if docs, err := ask(t.Context(), wanted(policy.Digest{Alg: "sha256", Hex: "11"})); err == nil || len(docs) > 0 {
		t.Errorf("%v %v", docs, err)
	}
}

// TestSpent: a service that wants no more requests for long gets none, and the message names the
// flag by which one may ask more often.
func TestSpent(t *testing.T) {
	n := newInternet(t, map[string]http.HandlerFunc{
		"api.github.com": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", "4102444800")
			w.WriteHeader(http.StatusForbidden)
		},
	})
	for _, token := range []string{"", "secret"} {
		n.asked = nil
		how := n.net()
		how.Token, n.token = token, token
		ask, err := Attestations(locator(t, "acme/widget"), how)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			_, err := ask(t.Context(), wanted(policy.Digest{Alg: "sha256", Hex: fmt.Sprint(i)}))
			if err == nil || strings.Contains(err.Error(), "--github-token") != (token == "") {
				t.Errorf("token %q: %v", token, err)
			}
		}
		if len(n.asked) != 1 {
			t.Errorf("token %q: asked %d times", token, len(n.asked))
		}
	}
}

// FuzzInflate: what is inflated is within the limit, whatever claims its size.
func FuzzInflate(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add(snappy.Encode(nil, []byte(`{"a":1}`)))
	f.Add(frame(f, []byte(`{"a":1}`)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := inflate(data); err == nil && len(out) > maxBundle {
			t.Fatal(len(out))
		}
	})
}

// TestAttestationBudget: bundles at addresses count against what a run may hold.
func TestAttestationBudget(t *testing.T) {
	const store = "tmaproduction.blob.core.windows.net"
	bundle := append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), 1<<20)...)
	bundle = append(bundle, `"}`...)
	entry := `{"bundle_url":"https://` + store + `/a"}`
	n := newInternet(t, map[string]http.HandlerFunc{
		"api.github.com": answer(`{"attestations":[` + strings.Repeat(entry+",", 9) + entry + `]}`),
		store:            func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(snappy.Encode(nil, bundle)) },
	})
	ask, err := Attestations(locator(t, "acme/widget"), n.net())
	if err != nil {
		t.Fatal(err)
	}
	ctx := budget.With(t.Context(), budget.New(4<<20))
	docs, err := ask(ctx, wanted(policy.Digest{Alg: "sha256", Hex: "11"}))
	if err == nil || len(docs) == 0 || len(docs) > 4 || len(n.asked) > 1+len(docs)+1 {
		t.Errorf("%d documents, %v, asked %d times", len(docs), err, len(n.asked))
	}
}
