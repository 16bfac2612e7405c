// SPDX-License-Identifier: Apache-2.0

package report

import "runtime/debug"

// Version returns the module version that the toolchain recorded.
func Version() string {
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" {
		return bi.Main.Version
	}
	return "(devel)"
}

// SchemaURL returns the identifier of a JSON document's schema.
func SchemaURL(name string) string {
	return "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/" + name + ".json"
}
