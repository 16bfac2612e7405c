// SPDX-License-Identifier: Apache-2.0

package airgap

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Unpack writes the evidence into a new directory and returns the paths. Every file keeps
// its name, whose ending says what it is, and those of one folder stay together, unless a
// file system may take their names for the same.
func (b *Bundle) Unpack(dir string) (paths []string, err error) {
	folders, taken := map[string]string{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(b.Evidence)) {
		parent, base := path.Split(name)
		for n := 0; ; n++ {
			key := fmt.Sprintf("%s\x00%d", parent, n)
			if folders[key] == "" {
				folders[key] = filepath.Join(dir, fmt.Sprintf("%d", len(folders)+1))
				if err := os.Mkdir(folders[key], 0o700); err != nil {
					return nil, err
				}
			}
			folded := filepath.Join(folders[key], strings.ToLower(base))
			if taken[folded] {
				continue
			}
			taken[folded] = true
			to := filepath.Join(folders[key], base)
			if err := os.WriteFile(to, b.Evidence[name], 0o600); err != nil {
				return nil, err
			}
			paths = append(paths, to)
			break
		}
	}
	return paths, nil
}
