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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// maxResident is how much memory a run may hold, whatever a service sends.
const maxResident = 128 << 10 // KiB

// TestMemory: the program as it is released, with nothing of a test in it, stays
// small and denies what it cannot know, whatever a service does to the line.
func TestMemory(t *testing.T) {
	const name = "acme/heavy"
	_, good := bound(t, name)
	bin, home := t.TempDir(), t.TempDir()
	for from, to := range map[string]string{"../../cmd/repopolicy": "repopolicy", "testdata/maxrss": "maxrss"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(bin, to), ".")
		cmd.Dir = from
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	rootFile, measured := filepath.Join(home, "trusted_root.json"), filepath.Join(home, "maxrss")
	check(t, os.WriteFile(rootFile, stack.TrustedRoot(), 0o600))
	proxy, ca := githubProxy(t)
	run := func(args ...string) (code int, resident int, out string) {
		t.Helper()
		state := t.TempDir() // nobody remembers anything
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "maxrss"), append([]string{measured, filepath.Join(bin, "repopolicy")}, args...)...)
		cmd.Env = []string{"HOME=" + state, "HTTPS_PROXY=" + proxy, "SSL_CERT_FILE=" + ca}
		var b bytes.Buffer
		cmd.Stdout, cmd.Stderr = &b, &b
		_ = cmd.Run() // the state says it
		data, err := os.ReadFile(measured)
		check(t, err)
		n, err := strconv.Atoi(string(data))
		check(t, err)
		return cmd.ProcessState.ExitCode(), n, b.String()
	}
	verify := []string{"verify", "-R", name, "--trusted-root", rootFile, good}
	for _, args := range [][]string{verify, append(verify[:len(verify):len(verify)], "--scan")} {
		code, resident, out := run(args...)
		if code != 0 || resident > maxResident {
			t.Fatalf("exit %d, %d KiB\n%s", code, resident, out)
		}
		t.Logf("%d KiB when all is well, %s", resident, args[len(args)-1])
	}
	worst, where := 0, ""
	for _, service := range []sandbox.Service{sandbox.Forge, sandbox.RekorV1, sandbox.Rekor} {
		for _, fault := range []malice.Fault{
			malice.Reset{}, malice.Truncate{After: 20}, malice.Status{Code: 404}, malice.Status{Code: 503}, malice.WrongType{},
			malice.Endless{}, malice.GzipBomb{}, malice.Redirect{To: "http://127.0.0.1:9/"},
		} {
			undo, err := stack.Misbehave(service, fault)
			check(t, err)
			args := verify
			if service == sandbox.Rekor {
				args = append(args[:len(args):len(args)], "--scan")
			}
			begin := time.Now()
			code, resident, out := run(args...)
			check(t, undo())
			trailing := false // what comes after the end of a pack is not read
			switch fault.(type) {
			case malice.Endless, malice.GzipBomb:
				trailing = service == sandbox.Forge
			}
			if code != policy.ClassUnavailable.Exit() && !(code == 0 && trailing) {
				t.Errorf("%s %T: exit %d\n%s", service, fault, code, out)
			}
			if resident > maxResident {
				t.Errorf("%s %T: %d KiB", service, fault, resident)
			}
			if resident > worst {
				worst, where = resident, fmt.Sprintf("%s %T", service, fault)
			}
			if d := time.Since(begin); d > time.Minute {
				t.Errorf("%s %T: it took %s", service, fault, d)
			}
		}
	}
	t.Logf("%d KiB at most, with %s", worst, where)
}

// githubProxy is an HTTPS proxy behind which github.com is the sandbox's forge, and
// the certificate that whoever uses it has to trust.
func githubProxy(t *testing.T) (url, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"github.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	check(t, err)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "github.com:443" {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		forge, err := net.Dial("tcp", strings.TrimPrefix(stack.URL(sandbox.Forge), "http://"))
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
