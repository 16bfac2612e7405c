// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// DefaultPolicy is where a repository keeps its policy.
const DefaultPolicy = ".repopolicy/policy.toml"

// LoadPolicy reads and parses a policy file to be used.
func LoadPolicy(path string) (*policy.Document, error) {
	src, err := ReadPolicy(path)
	if err != nil {
		return nil, err
	}
	return ParsePolicy(path, src)
}

// ParsePolicy parses the file of a policy to be used.
func ParsePolicy(path string, src []byte) (*policy.Document, error) {
	doc, err := policy.Parse(src)
	var pe *policy.ParseError
	if errors.As(err, &pe) {
		reason := pe.Reason()
		if reason == policy.PolicyNewerFormat {
			reason = policy.NeedsNewerVersion
		}
		p := pe.Problems[0]
		f := policy.Faultf(reason, "%s:%s", path, pe)
		if f.Hint = p.Hint; f.Hint == "" {
			f.Hint = "`repopolicy check` lists every fault"
		}
		return nil, f
	}
	if err != nil {
		return nil, err
	}
	return doc, nil
}

// ReadPolicy reads the file of a policy. More than is allowed is read, so that
// the parser can say how much too large it is.
func ReadPolicy(path string) ([]byte, error) {
	src, err := file.Read(path, 16*spelling.MaxPolicyBytes)
	switch {
	case errors.Is(err, file.ErrTooLarge):
		return nil, policy.Faultf(policy.PolicyTooLarge, "policy: %s", err)
	case err != nil:
		return nil, policy.Faultf(policy.PolicyUnreadable, "policy: %s", err)
	}
	return src, nil
}
