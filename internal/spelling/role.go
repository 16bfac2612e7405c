// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"errors"
	"slices"
	"strings"
)

// topLevel is the role that lists targets in TUF; the others of the top level list none.
const topLevel = "targets"

var roleName = strings.NewReplacer("%", "%25", "/", "%2F")

// RoleWay writes the way to a role that lists targets (SPEC 5.13): the names of the roles that
// lead to it from the top-level role, it last, with "/" between them, and "%" and "/" in a name
// escaped; "targets" for the top-level role. A name alone says little: whoever is delegated to may
// call a role of his own like any other.
func RoleWay(names []string) string {
	if len(names) == 0 {
		return topLevel
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = roleName.Replace(n)
	}
	return strings.Join(out, "/")
}

// CheckRoleWay refuses what [RoleWay] writes of no role that a search ends at.
func CheckRoleWay(s string) error {
	if s == topLevel {
		return nil
	}
	for name := range strings.SplitSeq(s, "/") {
		rest := strings.NewReplacer("%25", "", "%2F", "").Replace(name)
		switch {
		case name == "":
			return errors.New("a name in it is empty")
		case slices.Contains([]string{topLevel, "root", "snapshot", "timestamp"}, name):
			return errors.New("nobody delegates to " + name)
		case strings.Contains(rest, "%"):
			return errors.New("'%' in a name is written %25, '/' is %2F")
		}
	}
	return nil
}
