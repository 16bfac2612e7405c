// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/sandbox"
)

// TestKill: sign is killed at any moment, and run again until it ends: then there
// are one signature and one entry. A hidden temporary file may be left, which
// nobody reads.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	check(t, err)
	killed := 0
	for i := range 12 {
		name := fmt.Sprintf("acme/killed-%d", i)
		p := newProject(t, name)
		p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
		p.push()
		token, err := stack.Token(alice)
		check(t, err)
		home := t.TempDir()
		before := logSize(t)
		// Rekor v2 alone: Rekor v1 in memory never answers for an entry again whose
		// client went away while it waited.
		file := filepath.Join(home, "world.json")
		var w world
		data, err := os.ReadFile(writeWorld(t, filepath.Join(home, "state")))
		check(t, err)
		check(t, json.Unmarshal(data, &w))
		w.Configs = []json.RawMessage{stack.SigningConfig(2)}
		data, err = json.Marshal(w)
		check(t, err)
		check(t, os.WriteFile(file, data, 0o600))
		env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "SIGSTORE_ID_TOKEN=" + token, asProgram + "=" + file}
		run := func(life time.Duration) (string, error) {
			cmd := exec.CommandContext(t.Context(), self, "sign", "--git", p.dir, "--yes")
			cmd.Env = env
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			check(t, cmd.Start())
			if life > 0 {
				stop := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
				defer stop.Stop()
			}
			err := cmd.Wait()
			return out.String(), err
		}
		for range 3 {
			if _, err := run(20*time.Millisecond + rand.N(100*time.Millisecond)); err != nil {
				killed++
			}
		}
		out, err := run(0)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		files, err := filepath.Glob(filepath.Join(p.dir, ".repopolicy", "signatures", "[0-9]*"))
		check(t, err)
		if len(files) != 1 {
			t.Errorf("%d files: %v", len(files), files)
		}
		if after := logSize(t); after != before+1 {
			t.Errorf("%d entries, not one", after-before)
		}
	}
	if killed == 0 {
		t.Error("nothing was killed in time")
	}
	t.Logf("%d of 36 runs were killed", killed)
}

// logSize returns how many entries the shard of Rekor v2 has, in which every one
// is integrated before its client hears of it.
func logSize(t testing.TB) int {
	t.Helper()
	data, err := newMachine(t).client(stack.URL(sandbox.Rekor)).Get(t.Context(), "api/v2/checkpoint", 1<<16)
	check(t, err)
	lines := strings.Split(string(data), "\n")
	n, err := strconv.Atoi(lines[min(1, len(lines)-1)])
	check(t, err)
	return n
}
