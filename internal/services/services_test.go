// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitorus/timestamp"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestCertificate: the first certificate of the signer's chain is returned, and all else refused.
func TestCertificate(t *testing.T) {
	const pem = `-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n`
	answer := func(member, certs string) string {
		return `{"` + member + `":{"chain":{"certificates":[` + certs + `]}}}`
	}
	s := newServer(t)
	ca := Service{URL: s.URL}
	key := newKey(t)
	for name, row := range map[string]struct {
		status int
		body   string
		ok     bool
	}{
		"embedded":       {200, answer("signedCertificateEmbeddedSct", `"`+pem+`","x"`), true},
		"created":        {201, answer("signedCertificateEmbeddedSct", `"`+pem+`"`), true},
		"detached":       {200, answer("signedCertificateDetachedSct", `"`+pem+`"`), true},
		"no certificate": {200, answer("signedCertificateEmbeddedSct", ``), false},
		"null":           {200, answer("signedCertificateEmbeddedSct", `null`), false},
		"no PEM":         {200, answer("signedCertificateEmbeddedSct", `"AQID"`), false},
		"a key": {200, answer("signedCertificateEmbeddedSct",
			`"`+strings.ReplaceAll(pem, "CERTIFICATE", "PUBLIC KEY")+`"`), false},
		"two in one":       {200, answer("signedCertificateEmbeddedSct", `"`+pem+pem+`"`), false},
		"another member":   {200, answer("signedCertificate", `"`+pem+`"`), false},
		"a list":           {200, `[]`, false},
		"nothing":          {200, ``, false},
		"a member twice":   {200, `{"signedCertificateEmbeddedSct":{},"signedCertificateEmbeddedSct":{}}`, false},
		"something behind": {200, answer("signedCertificateEmbeddedSct", `"`+pem+`"`) + "{}", false},
		"no":               {400, answer("signedCertificateEmbeddedSct", `"`+pem+`"`), false},
		"busy":             {503, answer("signedCertificateEmbeddedSct", `"`+pem+`"`), false},
		"elsewhere":        {307, answer("signedCertificateEmbeddedSct", `"`+pem+`"`), false},
	} {
		s.status, s.body, s.asked = row.status, row.body, nil
		s.header = http.Header{"Location": {"/api/v2/signingCert"}}
		der, err := ca.Certificate(t.Context(), "token", key.Public(), []byte("proof"))
		if (err == nil) != row.ok || row.ok && string(der) != "\x01\x02\x03" || len(s.asked) != 1 ||
			s.asked[0] != "POST /api/v2/signingCert" {
			t.Errorf("%s: %x, %v, %q", name, der, err, s.asked)
		}
		if err != nil && strings.Contains(err.Error(), "token") {
			t.Errorf("%s: the token is in %v", name, err)
		}
	}
}

// TestRequest: what Fulcio and a log are sent has the form of their protocols.
func TestRequest(t *testing.T) {
	var sent *http.Request
	var body []byte
	s := Service{URL: "https://service.example", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		var err error
		if sent = r; r.Body != nil {
			body, err = io.ReadAll(r.Body)
		}
		return reply(http.StatusTeapot, "x"), err
	})}
	if _, err := s.Certificate(t.Context(), "a.b.c", newKey(t).Public(), []byte("proof")); err == nil {
		t.Fatal("a teapot certifies")
	}
	var asked struct {
		PublicKeyRequest struct {
			PublicKey struct{ Content string }
			Proof     string `json:"proofOfPossession"`
		}
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		t.Fatal(err)
	}
	if sent.Header.Get("Authorization") != "Bearer a.b.c" || sent.Header.Get("Content-Type") != "application/json" ||
		sent.Header.Get("User-Agent") != agent || asked.PublicKeyRequest.Proof != "cHJvb2Y=" ||
		!strings.HasPrefix(asked.PublicKeyRequest.PublicKey.Content, "-----BEGIN PUBLIC KEY-----\n") {
		t.Errorf("%v, %s", sent.Header, body)
	}
	if _, err := s.LogV2(t.Context(), proposal); err == nil || sent.Header.Get("Authorization") != "" {
		t.Errorf("%v, %v", sent.Header, err)
	}
}

// TestStamp: the request is the one of RFC 3161 over the data, and what grants no stamp is refused.
func TestStamp(t *testing.T) {
	granted := string(sigstoretest.New(t).Stamp([]byte("x"), sigstoretest.Now))
	refused := func(status int) string {
		data, err := asn1.Marshal(struct{ Status struct{ Status int } }{struct{ Status int }{status}})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	var body []byte
	answers := []string{""}
	status := http.StatusOK
	asked := 0
	s := Service{URL: "https://tsa.example/path", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/path" || r.Header.Get("Content-Type") != "application/timestamp-query" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		var err error
		body, err = io.ReadAll(r.Body)
		asked++
		return reply(status, answers[0]), err
	})}
	answers[0] = granted
	if data, err := s.Stamp(t.Context(), []byte("x")); err != nil || string(data) != answers[0] {
		t.Fatal(err)
	}
	req, err := timestamp.ParseRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("x"))
	if string(req.HashedMessage) != string(sum[:]) || req.HashAlgorithm.String() != "SHA-256" || req.Certificates ||
		req.Nonce != nil || len(req.TSAPolicyOID) > 0 {
		t.Errorf("%+v", req)
	}
	again, err := (&timestamp.Request{HashAlgorithm: req.HashAlgorithm, HashedMessage: sum[:]}).Marshal()
	if err != nil || string(again) != string(body) {
		t.Errorf("%x, and the library asks %x, %v", body, again, err)
	}
	for name, answer := range map[string]string{
		"nothing": "", "JSON": "{}", "refused": refused(2), "waiting": refused(3), "a negative status": refused(-1),
		"no stamp": refused(0), "cut": granted[:len(granted)/2], "something behind": granted + "x",
		"no status": "\x30\x02\x30\x00",
	} {
		answers[0] = answer
		if data, err := s.Stamp(t.Context(), []byte("x")); err == nil {
			t.Errorf("%s: %x", name, data)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for code, want := range map[int]int{429: 2, 500: 2, 503: 2, 400: 1, 404: 1, 204: 1} {
			status, asked, answers[0] = code, 0, granted
			if _, err := s.Stamp(t.Context(), []byte("x")); err == nil || asked != want {
				t.Errorf("%d: asked %d times, %v", code, asked, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(retryPause/2, cancel)
		status, asked = 503, 0
		if _, err := s.Stamp(ctx, []byte("x")); !errors.Is(err, context.Canceled) || asked != 1 {
			t.Errorf("cancelled: asked %d times, %v", asked, err)
		}
	})
}

// TestLimits: no answer is waited for or read without end, and of an error only the beginning.
func TestLimits(t *testing.T) {
	endless := roundTrip(func(r *http.Request) (*http.Response, error) {
		status := http.StatusOK
		if strings.HasPrefix(r.URL.Path, "/error") {
			status = http.StatusBadGateway
		}
		resp := reply(status, "")
		resp.Body = io.NopCloser(letters{})
		return resp, nil
	})
	for path, want := range map[string]string{"/": "more than", "/error": "returned 502: aaa"} {
		s := Service{URL: "https://service.example" + path, Transport: endless}
		_, err := s.Certificate(t.Context(), "t", newKey(t).Public(), nil)
		if path == "/" {
			if err == nil {
				t.Error("an endless answer is taken")
			}
		} else if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 2*maxSaid {
			t.Errorf("%s: %v", path, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for want, s := range map[time.Duration]Service{
			requestTimeout: {URL: "https://service.example", Transport: silent{}},
			time.Second:    {URL: "https://service.example", Transport: silent{}, Timeout: time.Second},
		} {
			begin := time.Now()
			if _, err := s.Checkpoint(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != want {
				t.Errorf("%v after %v, want %v", err, time.Since(begin), want)
			}
		}
	})
	for _, address := range []string{"", "://", "service.example", "file:///etc/passwd"} {
		if _, err := (Service{URL: address}).Checkpoint(t.Context()); err == nil {
			t.Errorf("%q is asked", address)
		}
	}
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}
