// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestAttestationsAttacked doubles, reorders, enlarges, delays and withholds what GitHub's API and
// storage answer.
func TestAttestationsAttacked(t *testing.T) {
	const name, file = "acme/attacked", "widget_1.tar.gz"
	bound(t, name)
	f := stack.Forge()
	release := func(tag string) (content string, good []byte) {
		content = "content of " + tag
		check(t, f.Release(name, tag, map[string]string{file: content}))
		return content, provenance(t, name, tag, file, sha(content))
	}
	_, bad := release("other")
	const unreachable = policy.EvidenceUnreachable
	long := strings.Repeat("a", 1<<20)
	for what, c := range map[string]struct {
		good    int // where the good one of the bundles stands, from the newest; -1 for nowhere
		bad     int // how many others there are
		doubled int // how often the good one is there, beside
		manner  forge.Manner
		fault   malice.Fault // of the storage
		args    []string
		want    policy.Reason
	}{
		"the newest":            {good: 0, bad: 20, want: policy.Allowed},
		"the oldest":            {good: 20, bad: 20, want: policy.Allowed},
		"in between":            {good: 10, bad: 20, manner: forge.Manner{Stored: &forge.Storage{}}, want: policy.Allowed},
		"none of them":          {good: -1, bad: 20, want: policy.ArtifactMismatch},
		"twice":                 {good: 0, doubled: 1, want: policy.Allowed},
		"many times":            {good: 0, doubled: 90, manner: forge.Manner{Stored: &forge.Storage{}}, want: policy.Allowed},
		"behind a page of none": {good: 100, bad: 100, want: unreachable},
		"first of a full page":  {good: 0, bad: 99, want: policy.Allowed},
		"a full page of none":   {good: -1, bad: 100, want: unreachable},
		"one elsewhere, one not": {good: 0, bad: 1, want: policy.Allowed, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(s string) string { return strings.Replace(s, "/0.json", "/x.json", 1) }, // the oldest
		}}},
		"the good one elsewhere": {good: 0, bad: 1, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(s string) string { return strings.Replace(s, "/1.json", "/x.json", 1) }, // the newest
		}}},
		"the other's in its place": {good: 0, bad: 1, want: policy.ArtifactMismatch, manner: forge.Manner{
			Stored: &forge.Storage{Sign: func(s string) string { return strings.Replace(s, "/1.json", "/0.json", 1) }},
		}},
		"large ones": {good: -1, bad: 20, want: policy.BudgetExceeded,
			manner: forge.Manner{Stored: &forge.Storage{Encode: func(b []byte) []byte {
				return snappy.Encode(nil, append(slices.Clone(b), bytes.Repeat([]byte(" "), 15<<20)...))
			}}}},
		"a long address": {good: 0, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(s string) string { return strings.Replace(s, "/attestations/", "/attestations/"+long+"/", 1) },
		}}},
		"a long host": {good: 0, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(string) string { return "https://" + long + ".example/x" },
		}}},
		"a host turned round": {good: 0, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(string) string { return "https://\u202eten.swodniw.eroc.bolb.noitcudorpamt/x" },
		}}},
		"a path with an escape": {good: 0, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(s string) string { return strings.Replace(s, "/attestations/", "/attestations/%1b%5b2K/", 1) },
		}}},
		"a dot behind the host": {good: 0, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(s string) string { return strings.Replace(s, ".net/", ".net./", 1) },
		}}},
		"in capitals": {good: 0, want: unreachable, manner: forge.Manner{Stored: &forge.Storage{
			Sign: func(s string) string { return strings.Replace(s, "tmaproduction", "TMAproduction", 1) },
		}}},
		"dripping": {good: 0, want: policy.Interrupted, manner: forge.Manner{Stored: &forge.Storage{}},
			fault: malice.Drip{Every: time.Second}, args: []string{"--timeout", "4s"}},
		"without an answer": {good: 0, want: policy.Interrupted, manner: forge.Manner{Stored: &forge.Storage{}},
			fault: malice.Drop{}, args: []string{"--timeout", "4s"}},
		"late": {good: 0, want: policy.Allowed, manner: forge.Manner{Stored: &forge.Storage{}},
			fault: malice.Delay{By: time.Second}},
	} {
		t.Run(what, func(t *testing.T) {
			tag := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace("v-" + what)
			content, good := release(tag)
			var kept [][]byte // from the oldest
			for i := c.bad; i >= 0; i-- {
				if i == c.good {
					kept = append(kept, good)
				}
				if i > 0 {
					kept = append(kept, bad)
				}
			}
			check(t, f.Attest(name, "sha256:"+sha(content), append(kept, slices.Repeat([][]byte{good}, c.doubled)...)...))
			defer f.Behave(c.manner)()
			if c.fault != nil {
				defer misbehaves(t, "/attestations/", c.fault)()
			}
			user, _ := listener(t)
			to, start := filepath.Join(t.TempDir(), "new"), time.Now()
			args := append([]string{"verify", "--download", to, "https://github.com/" + name + "/releases/tag/" + tag},
				c.args...)
			code, out := user.repopolicy(args...)
			left, _ := filepath.Glob(filepath.Join(to, "*"))
			hidden, _ := filepath.Glob(filepath.Join(to, ".*"))
			reason := "[" + string(c.want) + "]"
			if c.want == policy.Allowed {
				reason = "released by "
			}
			if code != c.want.Class().Exit() || !strings.Contains(out, reason) || len(left) != map[bool]int{true: 1}[code == 0] {
				t.Errorf("exit %d, want %s, wrote %v\n%.3000s", code, c.want, left, out)
			}
			if len(hidden) > 0 || len(out) > 20_000 || strings.ContainsAny(out, "\x1b\u202e") ||
				time.Since(start) > 30*time.Second {
				t.Errorf("%d bytes of output, %v left, %s\n%.2000s", len(out), hidden, time.Since(start), out)
			}
		})
	}
}

// TestServicesInterrupted: whoever ends a run while a service keeps it waiting has no verdict, and
// nothing that was downloaded.
func TestServicesInterrupted(t *testing.T) {
	const name, file = "acme/interrupted", "widget_1.tar.gz"
	bound(t, name)
	f := stack.Forge()
	check(t, f.Release(name, "v1", map[string]string{file: "one"}))
	attest(t, name, "v1", file, "one")
	defer f.Behave(forge.Manner{Stored: &forge.Storage{}})()
	for _, path := range []string{"/repos/" + name + "/releases/", "/repos/" + name + "/attestations/",
		"/attestations/", "/github-production-release-asset/"} {
		t.Run(path, func(t *testing.T) {
			undo, err := stack.Misbehave("forge", malice.On{Path: path, Fault: malice.Drop{}})
			check(t, err)
			defer func() { check(t, undo()) }()
			on := newProcess(t, t.TempDir(), nil)
			to := filepath.Join(t.TempDir(), "new")
			var out bytes.Buffer
			cmd := on.command(&out, "verify", "--download", to, "https://github.com/"+name+"/releases/tag/v1")
			check(t, cmd.Start())
			time.Sleep(1500 * time.Millisecond) // sooner or later the run waits; it is ended wherever it is
			check(t, cmd.Process.Signal(syscall.SIGINT))
			_ = cmd.Wait() // the code says it
			left, _ := os.ReadDir(to)
			if code := cmd.ProcessState.ExitCode(); code != policy.ClassUnavailable.Exit() || len(left) > 0 {
				t.Errorf("exit %d, left %v\n%s", code, left, out.String())
			}
		})
	}
}
