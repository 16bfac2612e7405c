// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// odd are answers that are no entry.
var odd = map[string]string{
	"nothing": "", "null": "null", "an empty object": "{}", "a list": "[]", "text": `"x"`, "html": "<html>",
	"a null entry": `{"00ff":null}`, "an empty entry": `{"00ff":{}}`, "a whole one about something else": whole,
	"a V2 entry about something else": `{"logIndex":"1","logId":{"keyId":"AA=="},"kindVersion":{"kind":"hashedrekord",` +
		`"version":"0.0.2"},"inclusionProof":{"logIndex":"1","rootHash":"AA==","treeSize":"2","checkpoint":` +
		`{"envelope":"x"}},"canonicalizedBody":"e30="}`,
}

// whole is an answer of Rekor v1 with every part.
const whole = `{"00ff":{"body":"e30=","integratedTime":1,"logID":"` + thirtyTwo +
	`","logIndex":3,"verification":{"signedEntryTimestamp":"eA==","inclusionProof":{"checkpoint":"x","hashes":["` +
	thirtyTwo + `"],"logIndex":1,"rootHash":"` + thirtyTwo + `","treeSize":2}}}}`

const thirtyTwo = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestOddAnswers: whatever a log answers that is no whole entry is an error, not a
// crash, and makes no bundle.
func TestOddAnswers(t *testing.T) {
	inst := sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var answer string
	var header http.Header
	status := http.StatusCreated
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for k, v := range header {
			w.Header()[k] = v
		}
		code := status
		if code == http.StatusConflict && q.Method == http.MethodGet {
			code = http.StatusOK
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(srv.Close)
	c := &Client{Services: Services{RekorV1: srv.URL, RekorV2: srv.URL}, Timeout: time.Second}
	for _, content := range []Content{{Statement: statementOf(goodSubject)}, {Digest: make([]byte, 32)}} {
		d, err := c.Draft(t.Context(), content, "", signer(t, key))
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range odd {
			for how, h := range map[string]http.Header{
				"": nil, "with a name": {"Etag": {"00ff"}}, "there already": {"Location": {"/api/v1/log/entries/00ff"}},
				"there, nowhere": {},
			} {
				if status = http.StatusCreated; strings.HasPrefix(how, "there") {
					status = http.StatusConflict
				}
				answer, header = text, h
				if out, err := c.Log(t.Context(), r, d, 1, time.Now()); err == nil || out != nil {
					t.Errorf("%s, %s: %s", name, how, out)
				}
			}
			status, header = http.StatusCreated, nil
			if out, err := c.Log(t.Context(), r, d, 2, time.Now()); err == nil || out != nil {
				t.Errorf("v2: %s: %s", name, out)
			}
		}
	}
	// Whoever certifies or stamps may answer the same.
	token := "e30." +
		base64.RawURLEncoding.EncodeToString(
			[]byte(`{"iss":"https://accounts.google.com","sub":"1","email":"alice@example.com","email_verified":true}`),
		) + ".e30"
	status = http.StatusOK
	for name, text := range odd {
		answer = text
		certifies := &Client{Services: Services{Fulcio: srv.URL}}
		if _, err := certifies.Draft(t.Context(), Content{Digest: make([]byte, 32)}, token, nil); err == nil {
			t.Errorf("a certificate: %s", name)
		}
		stamps := &Client{Services: Services{TSA: srv.URL}}
		d, err := stamps.Draft(t.Context(), Content{Digest: make([]byte, 32)}, "", signer(t, key))
		if err != nil {
			t.Fatal(err)
		}
		if err := stamps.Stamp(t.Context(), d); err == nil || d.Stamped() {
			t.Errorf("a time stamp: %s", name)
		}
	}
}

// TestAskedOnce: Fulcio is asked for one certificate, whatever it answers, and says why
// there is none; whoever stamps may be asked again.
func TestAskedOnce(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := "e30." +
		base64.RawURLEncoding.EncodeToString(
			[]byte(`{"iss":"https://accounts.google.com","sub":"1","email":"alice@example.com","email_verified":true}`),
		) + ".e30"
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{
			http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, 0,
		} {
			asked := 0
			c := &Client{Services: Services{Fulcio: "https://ca.example", TSA: "https://tsa.example"},
				Transport: roundTrip(func(*http.Request) (*http.Response, error) {
					if asked++; status == 0 {
						return nil, io.ErrUnexpectedEOF
					}
					return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("out of order"))}, nil
				})}
			said := func(err error, host string) bool {
				return err != nil && strings.Contains(err.Error(), host) &&
					(status == 0 || strings.Contains(err.Error(), fmt.Sprint(status)) && strings.Contains(err.Error(), "out of order"))
			}
			file := Content{Digest: make([]byte, 32)}
			if _, err := c.Draft(t.Context(), file, token, nil); asked != 1 || !said(err, "ca.example") {
				t.Errorf("%d: Fulcio was asked %d times: %v", status, asked, err)
			}
			d, err := c.Draft(t.Context(), Content{Digest: make([]byte, 32)}, "", signer(t, key))
			if err != nil {
				t.Fatal(err)
			}
			asked = 0
			if err := c.Stamp(t.Context(), d); asked > 2 || !said(err, "tsa.example") {
				t.Errorf("%d: the time stamp authority was asked %d times: %v", status, asked, err)
			}
		}
	})
}

// TestStamped: a time stamp that would not verify is found before anything is logged.
func TestStamped(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, stamp := range map[string]func(sig []byte) []byte{
		"honest":              func(sig []byte) []byte { return inst.Stamp(sig, sigstoretest.Now) },
		"of a stranger":       func(sig []byte) []byte { return stranger.Stamp(sig, sigstoretest.Now) },
		"over something else": func([]byte) []byte { return inst.Stamp([]byte("x"), sigstoretest.Now) },
	} {
		logged := 0
		c := &Client{Services: Services{RekorV1: "http://127.0.0.1:1"},
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				logged++
				return nil, http.ErrServerClosed
			})}
		d, err := c.Draft(t.Context(), Content{Statement: statementOf(goodSubject)}, "", signer(t, key))
		if err != nil {
			t.Fatal(err)
		}
		d.stamp(stamp(d.signature()))
		_, err = c.Log(t.Context(), r, d, 1, time.Now())
		if ok := name == "honest"; err == nil || ok != (logged > 0) || ok != (r.Check(d, time.Now()) == nil) {
			t.Errorf("%s: %d requests, %v", name, logged, err)
		}
	}
}

// TestDraftOfAnother: a draft whose signature is not by its key over its content is not logged.
func TestDraftOfAnother(t *testing.T) {
	r, err := ParseRoot("test", sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	logged := 0
	c := &Client{Services: Services{RekorV1: "http://127.0.0.1:1", RekorV2: "http://127.0.0.1:1"},
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			logged++
			return nil, http.ErrServerClosed
		})}
	for name, change := range map[string]func(*bundle.Bundle){
		"honest": func(*bundle.Bundle) {},
		"another signature": func(b *bundle.Bundle) {
			if b.Envelope != nil {
				b.Envelope.Signatures[0].Sig[8] ^= 1
			} else {
				b.Message.Signature[8] ^= 1
			}
		},
		"another content": func(b *bundle.Bundle) {
			if b.Envelope != nil {
				b.Envelope.Payload = statementOf(strings.Replace(goodSubject, "a", "b", 1))
			} else {
				b.Message.Digest.Digest[0] ^= 1
			}
		},
		"no key":          func(b *bundle.Bundle) { b.Material.PublicKey = nil },
		"a key of no use": func(b *bundle.Bundle) { b.Material.PublicKey.Hint = "00" },
		"no signature": func(b *bundle.Bundle) {
			if b.Envelope != nil {
				b.Envelope.Signatures[0].Sig = nil
			} else {
				b.Message.Signature = nil
			}
		},
	} {
		for _, content := range []Content{{Statement: statementOf(goodSubject)}, {Digest: make([]byte, 32)}} {
			d, err := c.Draft(t.Context(), content, "", signer(t, key))
			if err != nil {
				t.Fatal(err)
			}
			change(d.form)
			data, err := d.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if d, err = ParseDraft(data); err != nil { // as it is kept
				t.Fatal(err)
			}
			for generation := 1; generation <= 2; generation++ {
				logged = 0
				if _, err := c.Log(t.Context(), r, d, generation, time.Now()); err == nil || (logged > 0) != (name == "honest") {
					t.Errorf("%s, v%d: %v, %d requests", name, generation, err, logged)
				}
			}
		}
	}
}

// signer returns the signer of a key.
func signer(t testing.TB, private crypto.Signer) *keys.Signer {
	t.Helper()
	s, err := keys.Local(private, keys.Of)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
