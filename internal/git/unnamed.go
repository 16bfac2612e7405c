// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package git

import "os"

// unnamed returns a temporary file that is gone when it is closed, or the program ends.
func unnamed() (*os.File, error) {
	f, err := os.CreateTemp("", "repopolicy-pack-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
