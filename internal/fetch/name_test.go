// SPDX-License-Identifier: Apache-2.0

package fetch

import "testing"

// TestFlagNames: a listing names no file that a program would take for a flag.
func TestFlagNames(t *testing.T) {
	for _, name := range []string{"-rf", "-", "--", "--output=x", "-x.tar.gz"} {
		if checkName(name) == nil {
			t.Errorf("%s is taken", name)
		}
		if _, err := parseRelease([]byte(`{"tag_name":"v1","assets":[{"name":"a"},{"name":"`+name+`"}]}`), "v1"); err == nil {
			t.Errorf("a listing with %s is taken", name)
		}
	}
	if err := checkName("a-rf"); err != nil {
		t.Error(err)
	}
}
