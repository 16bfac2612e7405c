// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// proxy leads programs of others, which know only the real services, to those of the sandbox: they
// are told of it by HTTPS_PROXY, and of its authority by SSL_CERT_FILE and NODE_EXTRA_CA_CERTS.
type proxy struct {
	t   testing.TB
	url string
	ca  string // file

	authority *x509.Certificate
	key       *ecdsa.PrivateKey

	delay time.Duration // of each answer

	mu          sync.Mutex
	asked       []string
	connections int
}

func newProxy(t testing.TB) *proxy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	p := &proxy{t: t, key: key, ca: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the sandbox's proxy"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	p.authority, err = x509.ParseCertificate(der)
	check(t, err)
	check(t, os.WriteFile(p.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// env is what programs are told by.
func (p *proxy) env() []string {
	return []string{
		"HTTPS_PROXY=" + p.url, "https_proxy=" + p.url, "SSL_CERT_FILE=" + p.ca, "NODE_EXTRA_CA_CERTS=" + p.ca,
		"NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost",
	}
}

// transport is that of a program that is told so.
func (p *proxy) transport() *http.Transport {
	authorities := x509.NewCertPool()
	authorities.AddCert(p.authority)
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: authorities},
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme != "https" {
				return nil, nil
			}
			return url.Parse(p.url)
		},
	}
}

// serviceAt is where the sandbox has a service of Sigstore; "" for another host.
func serviceAt(host string) string {
	switch host {
	case "fulcio.sigstore.dev":
		return stack.URL(sandbox.Fulcio)
	case "rekor.sigstore.dev":
		return stack.URL(sandbox.RekorV1)
	case "tuf.example":
		return stack.URL(sandbox.TUF)
	}
	return ""
}

// serve takes over a connection to a host, and answers as that host.
func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only for https", http.StatusMethodNotAllowed)
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	p.mu.Lock()
	p.connections++
	p.mu.Unlock()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, p.authority, p.key.Public(), p.key)
	if err != nil {
		return
	}
	client := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf},
		PrivateKey: p.key}}})
	defer client.Close()
	for in := bufio.NewReader(client); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		resp, err := p.forward(host, req)
		if err != nil {
			resp = &http.Response{StatusCode: http.StatusBadGateway, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody}
		}
		err = resp.Write(client)
		resp.Body.Close()
		if err != nil || req.Close || resp.Close {
			return
		}
	}
}

// forward sends a request to who plays the host. Nobody but the sandbox is asked.
func (p *proxy) forward(host string, r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" https://"+host+r.URL.RequestURI())
	p.mu.Unlock()
	time.Sleep(p.delay)
	r.URL.Scheme, r.URL.Host, r.RequestURI = "https", host, ""
	if base := serviceAt(host); base != "" {
		to, err := url.Parse(base)
		if err != nil {
			return nil, err
		}
		r.URL.Scheme, r.URL.Host, r.Host = to.Scheme, to.Host, to.Host
	}
	return played{}.RoundTrip(r)
}

// played sends to the hosts that the sandbox plays, and to no other.
type played struct{}

func (played) RoundTrip(r *http.Request) (*http.Response, error) {
	here := strings.HasPrefix(r.URL.Host, "127.") || r.URL.Host == "token.actions.githubusercontent.com"
	if !here && !slices.Contains(forge.Hosts, r.URL.Host) {
		return nil, &net.DNSError{Err: "no such host", Name: r.URL.Host}
	}
	return stack.Transport().RoundTrip(r)
}
