// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/repopolicy/repopolicy/sandbox"
)

// writeForEver starts a stack and signs without a pause, four at a time, until
// it is killed. Each bundle is a line of standard output.
func writeForEver(dir string) error {
	s, err := sandbox.Start(context.Background(), dir, sandbox.Options{Witnesses: 2})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	failed := make(chan error)
	for range 4 {
		go func() {
			for {
				b, err := signing{}.sign(context.Background(), s, blob([]byte("crash")))
				if err != nil {
					failed <- err
					return
				}
				data, err := b.MarshalJSON()
				if err != nil {
					failed <- err
					return
				}
				mu.Lock()
				fmt.Println(base64.StdEncoding.EncodeToString(data))
				mu.Unlock()
			}
		}()
	}
	return <-failed
}

// TestKill ends a writing stack with SIGKILL, twice, and continues it: every
// bundle that was handed out is still valid, and the log goes on.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	check(t, err)
	var bundles []*bundle.Bundle
	for round := range 2 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), "SANDBOX_TEST_WRITER="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for n := 0; lines.Scan(); n++ {
			data, err := base64.StdEncoding.DecodeString(lines.Text())
			if err != nil {
				break // the line that was being written
			}
			b := &bundle.Bundle{}
			check(t, b.UnmarshalJSON(data))
			bundles = append(bundles, b)
			if n == 9 {
				check(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("round %d: %v\n%s", round, err, stderr.String())
		}
	}
	if len(bundles) < 20 {
		t.Fatalf("only %d bundles", len(bundles))
	}

	s := startIn(t, dir, sandbox.Options{Witnesses: 2})
	tr := trustedRoot(t, s)
	last := int64(-1)
	for _, b := range bundles {
		check(t, judge(tr, b, []byte("crash"), jobSAN, jobIssuer))
		last = max(last, b.VerificationMaterial.TlogEntries[0].LogIndex)
	}
	next := mustSign(t, s, blob([]byte("after")), signing{})
	check(t, judge(tr, next, []byte("after"), jobSAN, jobIssuer))
	if got := next.VerificationMaterial.TlogEntries[0].LogIndex; got <= last {
		t.Errorf("index %d after %d", got, last)
	}
	checkLog(t, s, append(bundles, next))
}
