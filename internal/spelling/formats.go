// SPDX-License-Identifier: Apache-2.0

package spelling

// The names of our own formats.
const (
	// Name is the public name that stands in formats, predicate types and schema identifiers.
	Name = "github.com/repopolicy/repopolicy"
	// Format is the value of `format` in every policy of this version (SPEC 3.2).
	Format = "repopolicy/v1"
	// StatementPredicate is the predicate type of a statement over one version of a policy
	// (SPEC 6.1).
	StatementPredicate = "https://" + Name + "/policy/v1"
	// ApprovalPredicate is the predicate type of an approval (SPEC 14.1).
	ApprovalPredicate = "https://" + Name + "/approval/v1"
)

// Limits that several rooms keep.
const (
	MaxPolicyBytes = 64 << 10 // of a policy file (SPEC 3.1)
	MaxApprovals   = 100      // looked at for one artifact (SPEC 14.2)
	// MaxStatementBytes is the largest statement that is read: a policy of the largest size, of
	// which JSON escapes every byte, and what stands around it.
	MaxStatementBytes = 6*MaxPolicyBytes + 8<<10
)
