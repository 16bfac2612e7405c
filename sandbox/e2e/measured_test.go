// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// measured is the program as it is released, with nothing of a test in it, and what
// measures it.
type measured struct {
	bin string   // directory
	env []string // how it finds the sandbox's forge
}

func newMeasured(t testing.TB) measured {
	t.Helper()
	m := measured{bin: t.TempDir(), env: viaProxy(t, strings.TrimPrefix(stack.URL(sandbox.Forge), "http://"))}
	for from, to := range map[string]string{"../../cmd/repopolicy": "repopolicy", "testdata/maxrss": "maxrss"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(m.bin, to), ".")
		cmd.Dir = from
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return m
}

// viaProxy is the environment in which github.com is at an address.
func viaProxy(t testing.TB, to string) []string {
	t.Helper()
	proxy, ca := githubProxy(t, to)
	return []string{"HTTPS_PROXY=" + proxy, "SSL_CERT_FILE=" + ca}
}

const actionsHost = "token.actions.githubusercontent.com"

// ran is what became of a run.
type ran struct {
	code     int
	out      string
	resident int // KiB at most
	took     time.Duration
}

// run runs the program at home in a directory. Of a variable that is given twice the last
// counts.
func (m measured) run(t testing.TB, home string, env []string, args ...string) ran {
	t.Helper()
	figure := filepath.Join(t.TempDir(), "maxrss")
	cmd := exec.CommandContext(t.Context(), filepath.Join(m.bin, "maxrss"), append([]string{figure, filepath.Join(m.bin, "repopolicy")}, args...)...)
	cmd.Env = slices.Concat([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}, m.env, env)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	begin := time.Now()
	_ = cmd.Run() // the state says it
	r := ran{code: cmd.ProcessState.ExitCode(), out: b.String(), took: time.Since(begin)}
	data, err := os.ReadFile(figure)
	check(t, err)
	_, err = fmt.Sscan(string(data), &r.resident)
	check(t, err)
	return r
}

// githubProxy is an HTTPS proxy behind which github.com, with the hosts of its releases, is
// the forge at an address, and its OpenID provider the sandbox's; and the certificate that
// whoever uses it has to trust.
func githubProxy(t testing.TB, to string) (url, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: append(slices.Clone(forge.Hosts), actionsHost), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	check(t, err)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, _ := net.SplitHostPort(r.Host)
		at := to
		if host == actionsHost {
			at = strings.TrimPrefix(stack.URL(sandbox.Issuer), "http://")
		}
		if r.Method != http.MethodConnect || port != "443" || at == to && !slices.Contains(forge.Hosts, host) {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		forge, err := net.Dial("tcp", at)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer forge.Close()
		raw, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer raw.Close()
		if _, err := io.WriteString(raw, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		client := tls.Server(raw, config)
		defer client.Close()
		go func() {
			_, _ = io.Copy(forge, client) // until either of them ends it
			forge.Close()
		}()
		_, _ = io.Copy(client, forge)
	})}
	go func() { _ = server.Serve(listener) }() // until it is closed
	t.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String(), caFile
}
