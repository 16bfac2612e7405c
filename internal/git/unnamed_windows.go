// SPDX-License-Identifier: Apache-2.0

package git

import (
	"crypto/rand"
	"os"
	"path/filepath"
)

// deleteOnClose is FILE_FLAG_DELETE_ON_CLOSE.
const deleteOnClose = 0x04000000

// unnamed returns a temporary file that is gone when it is closed, or the program ends.
func unnamed() (*os.File, error) {
	return os.OpenFile(filepath.Join(os.TempDir(), "repopolicy-pack-"+rand.Text()),
		os.O_RDWR|os.O_CREATE|os.O_EXCL|deleteOnClose, 0o600)
}
