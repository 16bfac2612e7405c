// SPDX-License-Identifier: Apache-2.0

package rekorbind

import "testing"

func newState(t testing.TB) *State {
	t.Helper()
	s, err := OpenState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
