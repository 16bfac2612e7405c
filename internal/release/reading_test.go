// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestReading: who hashes a large file tells how far that is, and in the end that it is over, also
// when it was interrupted; of a small one nothing is said.
func TestReading(t *testing.T) {
	t.Parallel()
	write := func(name string, size int64) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const large = 5 * tellEvery / 2
	for what, c := range map[string]struct {
		size int64
		stop bool // once something was told
		want []int64
	}{
		"large":       {large, false, []int64{tellEvery, large, 2 * tellEvery, large, large, large}},
		"small":       {tellEvery - 1, false, nil},
		"interrupted": {large, true, []int64{tellEvery, large, tellEvery, tellEvery}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var got []int64
		path := write(what, c.size)
		ctx = Reading(ctx, func(name string, done, total int64) {
			if name != path {
				t.Errorf("%s: of %s", what, name)
			}
			got = append(got, done, total)
			if c.stop {
				cancel()
			}
		})
		_, err := (&Artifact{Path: path}).Digest(ctx)
		if (err != nil) != c.stop {
			t.Errorf("%s: %v", what, err)
		}
		if len(got) != len(c.want) {
			t.Fatalf("%s: told %v, want %v", what, got, c.want)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: told %v, want %v", what, got, c.want)
				break
			}
		}
		cancel()
	}
}
