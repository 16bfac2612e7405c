// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

func now() time.Time { return time.Now().UTC() }

// TestResume: a run that ends after any step is repeated, and makes neither a
// second signature nor a second entry.
func TestResume(t *testing.T) {
	for _, last := range []string{signlog.StepDraft, signlog.StepV1, signlog.StepV2} {
		m := newMachine(t)
		statement := encode(t, policyText("acme/resume-"+last, 1, 1, "alice"), "")
		tokens := 0
		r := signlog.Request{Statement: statement, Version: 1, Signature: signlog.Signature{Who: "alice", Token: func(context.Context) (string, error) { tokens++; return stack.Token(alice) }}}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it did not stop", last)
				}
			}()
			_, _ = m.writer(func(s string) {
				if s == last {
					panic("killed")
				}
			}).Write(t.Context(), r)
		}()
		files, err := m.writer(nil).Write(t.Context(), r)
		check(t, err)
		again, err := m.writer(nil).Write(t.Context(), r)
		check(t, err)
		if tokens != 1 || len(files) != 2 || string(files[0].Data) != string(again[0].Data) || string(files[1].Data) != string(again[1].Data) {
			t.Errorf("%s: %d tokens, %d files", last, tokens, len(files))
		}
		if found, err := m.hint().Client.Ask(t.Context(), "api/v1/index/retrieve", "application/json", []byte(`{"hash":"sha256:`+sum(statement)+`"}`), 1<<20); err != nil || entries(found) != 1 {
			t.Errorf("%s: entries %s %v", last, found, err)
		}
	}
}

// TestLostReply: the answer of a log is lost, and so is the first one to the
// question what became of the entry. It is found, and logged once.
func TestLostReply(t *testing.T) {
	for _, service := range []sandbox.Service{sandbox.RekorV1, sandbox.Rekor} {
		m := newMachine(t)
		statement := encode(t, policyText("acme/lost-reply-"+string(service), 1, 1, "alice"), "")
		r := signlog.Request{Statement: statement, Version: 1, Signature: signlog.Signature{Who: "alice", Token: func(context.Context) (string, error) { return stack.Token(alice) }}}
		deaf := m.writer(nil)
		deaf.Client.Transport = &lossy{stack.Transport(), stack.URL(service)}
		if _, err := deaf.Write(t.Context(), r); err == nil || !strings.Contains(err.Error(), "lost") {
			t.Fatalf("%s: %v", service, err)
		}
		size := logSizes(t)
		undo, err := stack.Misbehave(sandbox.RekorV1, malice.On{Path: "/api/v1/log/entries/", Fault: malice.Times{N: 2, Fault: malice.Status{Code: http.StatusNotFound}}})
		check(t, err)
		files, err := m.writer(nil).Write(t.Context(), r)
		check(t, err)
		check(t, undo())
		want := size
		if service == sandbox.RekorV1 {
			want.v2++ // it did not come so far
		}
		if got := logSizes(t); len(files) != 2 || got != want {
			t.Errorf("%s: %d files, the logs have %v entries, want %v", service, len(files), got, want)
		}
	}
}

// lossy sends requests and loses the answers to what one service is to log.
type lossy struct {
	next http.RoundTripper
	to   string
}

// RoundTrip implements http.RoundTripper.
func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && strings.HasPrefix(r.URL.String(), l.to) {
		resp.Body.Close()
		return nil, errors.New("lost")
	}
	return resp, err
}

// sizes are how many entries the logs have.
type sizes struct{ v1, v2 int }

func logSizes(t testing.TB) sizes {
	t.Helper()
	var out sizes
	data, err := newMachine(t).client(stack.URL(sandbox.Rekor)).Get(t.Context(), "api/v2/checkpoint", 1<<16)
	check(t, err)
	lines := strings.Split(string(data), "\n")
	out.v2, err = strconv.Atoi(lines[min(1, len(lines)-1)])
	check(t, err)
	var log struct{ TreeSize int }
	data, err = newMachine(t).client(stack.URL(sandbox.RekorV1)).Get(t.Context(), "api/v1/log", 1<<16)
	check(t, err)
	check(t, json.Unmarshal(data, &log))
	out.v1 = log.TreeSize
	return out
}

func sum(data []byte) string { return spelling.Sum(data) }

func entries(reply []byte) int {
	var uuids []string
	if json.Unmarshal(reply, &uuids) != nil {
		return -1
	}
	return len(uuids)
}
