// SPDX-License-Identifier: Apache-2.0

package find

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// UserStateDir is in the user's cache directory: what is in it can be lost, and is then
// learned again as on a first use.
func UserStateDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "repopolicy"), err
}

// UserConfigDir returns where the user's own configuration is; "" if the user is not listed
// or has no home. The system's list of users says so: a variable of the environment
// must not lead to other roots. Where there are user numbers, [user.Current] may ask
// the environment about one that is not listed.
func UserConfigDir() (string, error) {
	if uid := os.Getuid(); uid >= 0 {
		return configOf(user.LookupId(strconv.Itoa(uid)))
	}
	return configOf(user.Current())
}

// configOf returns the same of what the system's list says. That it cannot be read says
// nothing about the user, and is an error; that there is none says that nobody is listed.
func configOf(u *user.User, err error) (string, error) {
	var unlisted user.UnknownUserIdError
	switch {
	case errors.As(err, &unlisted) || errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case u.HomeDir == "":
		return "", nil
	}
	return filepath.Join(u.HomeDir, ".config", "repopolicy"), nil
}
