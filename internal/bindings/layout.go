// SPDX-License-Identifier: Apache-2.0

package bindings

// Where a repository keeps its policy, and on which branch its workflow leaves
// the bindings. Both refs are read, and the union counts (SPEC 7).
const (
	Dir           = ".repopolicy"
	PolicyFile    = Dir + "/policy.toml"
	SignaturesDir = Dir + "/signatures"
	StapleDir     = Dir + "/directory"
	BindingBranch = "repopolicy"
)
