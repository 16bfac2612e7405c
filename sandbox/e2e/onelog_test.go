// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestOneLog: a release whose evidence lies in a forked log is not OK, however its policy is
// found, and off-line that is said to be open.
func TestOneLog(t *testing.T) {
	const name, url = "acme/onelog", "https://github.com/acme/onelog"
	_, good := bound(t, name)
	dir := newOperator(t)
	dir.build()
	repo, err := stack.Forge().Find(name)
	check(t, err)
	who := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"}

	victim := false
	undo, err := stack.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return victim }})
	check(t, err)
	defer func() { check(t, undo()) }()
	victim = true
	signBlob(t, []byte("between"), who)
	forged := releaseFile(t, "widget_2.tar.gz", who)
	victim = false

	ways := map[string][]string{
		"by default": nil, "scan": {"--scan"}, "alarms decide": {"--fail-on-alarm"}, "directory": {"--directory", dir.descriptorFile},
		"scan and directory": {"--scan", "--directory", dir.descriptorFile},
	}
	verify := func(file string, more ...string) []string {
		return append([]string{"verify", "-R", url, file}, more...)
	}
	for way, more := range ways { // the log has not signed so large a tree
		c := newComputer(t)
		c.must(policy.ClassOK, verify(good, more...)...)
		if out := c.must(policy.ClassUnavailable, verify(forged, more...)...); !strings.Contains(out, "nothing shows") {
			t.Errorf("%s: %s", way, out)
		}
	}
	signBlob(t, []byte("one"), who)
	signBlob(t, []byte("two"), who)
	signBlob(t, []byte("three"), who)
	dir.build()
	for way, more := range ways {
		for _, knows := range []bool{false, true} {
			c := newComputer(t)
			if knows {
				c.must(policy.ClassOK, verify(good, more...)...)
			}
			if out := c.must(policy.ClassAlarm, verify(forged, more...)...); !strings.Contains(out, "log-forked") {
				t.Errorf("%s: %s", way, out)
			}
			evidence, err := filepath.Glob(filepath.Join(c.state, "state", "*", "evidence", "fork-*.json"))
			if err != nil || len(evidence) == 0 {
				t.Errorf("%s: no evidence (%v)", way, err)
			}
			c.must(policy.ClassOK, verify(good, more...)...)
			c.must(policy.ClassAlarm, append(verify(forged, more...), good)...) // nothing else of that run is believed
		}
	}

	// Off-line nobody can be asked, unless the file brings the proofs along.
	bare, whole := filepath.Join(t.TempDir(), "bare.airgap"), filepath.Join(t.TempDir(), "whole.airgap")
	online := newComputer(t)
	online.must(policy.ClassOK, "export-bundle", "-R", url, "--directory", dir.descriptorFile, "-o", bare)
	online.must(policy.ClassOK, "export-bundle", "-R", url, "--directory", dir.descriptorFile, "-o", whole, good+".sigstore.json")
	online.must(policy.ClassAlarm, "export-bundle", "-R", url, "--directory", dir.descriptorFile, "-o", filepath.Join(t.TempDir(), "x"), forged+".sigstore.json")
	carried := func(file, artifact string, more ...string) []string {
		return append([]string{"verify", "-R", url, "--airgap", file, "--directory", dir.descriptorFile, "--format", "json", artifact}, more...)
	}
	for _, x := range []struct {
		file, artifact string
		more           []string
		class          policy.Class
		open           bool
	}{
		{whole, good, nil, policy.ClassOK, false},
		{whole, good, []string{"--require", "signed,one-log"}, policy.ClassOK, false},
		{bare, good, nil, policy.ClassOK, true},
		{bare, good, []string{"--require", "signed,one-log"}, policy.ClassUnavailable, true},
		{bare, forged, nil, policy.ClassOK, true},
		{whole, forged, []string{"--require", "signed,one-log"}, policy.ClassUnavailable, true},
	} {
		c := newComputer(t)
		if out := c.must(x.class, carried(x.file, x.artifact, x.more...)...); strings.Contains(out, "log-unproven") != x.open {
			t.Errorf("%s %s: %s", filepath.Base(x.file), filepath.Base(x.artifact), out)
		}
	}
}

// TestClockFloor: a clock that was set back is found out by what was proven, in this run or an
// earlier one; one that is a little behind is not.
func TestClockFloor(t *testing.T) {
	const name, url = "acme/floor", "https://github.com/acme/floor"
	_, good := bound(t, name)
	dir := newOperator(t)
	dir.build()
	verify := func(more ...string) []string { return append([]string{"verify", "-R", url, good}, more...) }
	for way, more := range map[string][]string{"by default": nil, "scan": {"--scan"}, "directory": {"--directory", dir.descriptorFile}} {
		for _, ahead := range []time.Duration{-24 * time.Hour, -7 * time.Minute} {
			c := newComputer(t)
			c.ahead = ahead
			if out := c.must(policy.ClassUnavailable, verify(more...)...); !strings.Contains(out, "clock says") {
				t.Errorf("%s, %s: %s", way, ahead, out)
			}
		}
		c := newComputer(t)
		c.ahead = -4 * time.Minute
		c.must(policy.ClassOK, verify(more...)...)
	}

	// A machine that saw a later time remembers it, and says how to forget it.
	c := newComputer(t)
	c.ahead = 40 * 24 * time.Hour
	other := claims.GitHub{Repository: "acme/other", Ref: "refs/tags/v1"}
	signBlob(t, []byte("another"), other)
	c.ahead = 0
	c.must(policy.ClassOK, verify()...)
	c.ahead = -10 * time.Minute
	out := c.must(policy.ClassUnavailable, verify()...)
	_, path, found := strings.Cut(out, "remove ")
	path, _, _ = strings.Cut(path, "\n")
	if !found {
		t.Fatal(out)
	}
	check(t, os.Remove(strings.TrimSpace(path)))
	c.must(policy.ClassUnavailable, verify()...) // what is at hand proves it again
}
