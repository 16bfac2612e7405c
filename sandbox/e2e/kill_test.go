// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// TestKill: sign is killed at any moment, and run again until it ends: then there
// are one signature in each log and no half-written file.
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
		env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "SIGSTORE_ID_TOKEN=" + token, asProgram + "=" + writeWorld(t, filepath.Join(home, "state"))}
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
			if _, err := run(20*time.Millisecond + rand.N(300*time.Millisecond)); err != nil {
				killed++
			}
		}
		// Rekor v1 answers 500 while an entry waits whose client went away; the
		// program says: run it again.
		out, err := run(0)
		for n := 0; err != nil && n < 10 && strings.Contains(out, "run the command again"); n++ {
			t.Log(out)
			time.Sleep(300 * time.Millisecond)
			out, err = run(0)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		files, err := filepath.Glob(filepath.Join(p.dir, ".repopolicy", "signatures", "*"))
		check(t, err)
		if len(files) != 2 {
			t.Errorf("%d files: %v", len(files), files)
		}
		statement := encode(t, policyText(name, 1, 1, "alice"), "")
		found, err := newMachine(t).hint().Client.Ask(t.Context(), "api/v1/index/retrieve", "application/json", []byte(`{"hash":"sha256:`+policy.Sum(statement)+`"}`), 1<<20)
		if err != nil || entries(found) != 1 {
			t.Errorf("entries %s, %v", found, err)
		}
		if left := git(t, p.dir, "status", "--porcelain", "--untracked-files=all"); strings.Count(left, ".sigstore.json") != 2 || strings.Count(left, "\n") != 1 {
			t.Errorf("left behind:\n%s", left)
		}
	}
	if killed == 0 {
		t.Error("nothing was killed in time")
	}
	t.Logf("%d of 36 runs were killed", killed)
}
