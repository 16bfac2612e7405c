// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/internal/cli"
	"github.com/repopolicy/repopolicy/sandbox/rekorv1"
)

// TestDemo: with Rekor v1 the demo goes on to what an index can hide.
func TestDemo(t *testing.T) {
	var out, talk bytes.Buffer
	code := cli.Main([]string{"demo"}, cli.Env{
		Name: "repopolicy-sandbox-rekorv1", Stdout: &out, Stderr: &talk,
		RekorV1: func(postgres string) sandbox.LogV1 { return rekorv1.Log{Postgres: postgres} },
	})
	if code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out.String(), talk.String())
	}
	for _, want := range []string{
		"starting: Rekor v1", "bound, in both generations of the log", "complete   hinted: the word of the index's operator",
		"thorough$ repopolicy verify -R https://github.com/acme/lever --scan widget_lever.tar.gz\n     error: https://github.com/acme/lever: the log binds a version of the policy that is not at hand",
		"Everything as announced",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
