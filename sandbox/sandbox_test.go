// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"testing"

	"github.com/repopolicy/repopolicy/sandbox"
)

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{Witnesses: 3})
	artifact := []byte("hello")
	tr := trustedRoot(t, s)
	check(t, judge(tr, mustSign(t, s, blob(artifact), signing{}), artifact, jobSAN, jobIssuer))
	check(t, judge(tr, mustSign(t, s, dsse(artifact), signing{}), artifact, jobSAN, jobIssuer))
}
