// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

func now() time.Time { return time.Now().UTC() }

// TestResume: a run that ends after any step is repeated, and makes neither a
// second signature nor a second entry.
func TestResume(t *testing.T) {
	for _, last := range []string{rekorbind.StepDraft, rekorbind.StepV1, rekorbind.StepV2} {
		m := newMachine(t)
		statement := encode(t, policyText("acme/resume-"+last, 1, 1, "alice"), "")
		tokens := 0
		r := rekorbind.Request{Statement: statement, Version: 1, Signature: rekorbind.Signature{Who: "alice", Token: func(context.Context) (string, error) { tokens++; return stack.Token(alice) }}}
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

func sum(data []byte) string { return policy.Sum(data) }

func entries(reply []byte) int {
	var uuids []string
	if json.Unmarshal(reply, &uuids) != nil {
		return -1
	}
	return len(uuids)
}
