// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

// keyOptions are the flags that name who signs.
type keyOptions struct {
	keyFiles, identities []string
	threshold, days      int
}

func (o *keyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var((*command.List)(&o.keyFiles), "key", "the public key in this PEM `FILE` signs; may be repeated")
	f.Var((*command.List)(&o.identities), "identity",
		"who signs in as this signs: `NAME=ISSUER`, such as alice@example.com=https://accounts.google.com; may be repeated")
	f.IntVar(&o.threshold, "threshold", 0, "how many of them have to sign; has to be given if there are several")
	f.IntVar(&o.days, "days", 0, "for how many days signatures are good; by default 365, of snapshot and timestamp 30")
}

// setup returns who signs.
func (o *keyOptions) setup() (author.Setup, error) {
	s := author.Setup{Threshold: o.threshold, Days: o.days}
	for _, path := range o.keyFiles {
		data, err := file.Read(path, command.MaxPublicKey)
		if err != nil {
			return s, policy.Faultf(policy.Usage, "--key: %s", err)
		}
		k, err := author.ParsePublicKey(data)
		if err != nil {
			return s, &policy.Fault{
				Reason: policy.Usage, Text: fmt.Sprintf("--key: %s: %s", path, err), Hint: keys.Hint(err),
			}
		}
		name := filepath.Base(path)
		s.Keys = append(s.Keys, k.Called(strings.TrimSuffix(name, filepath.Ext(name))))
	}
	for _, text := range o.identities {
		at := max(strings.LastIndex(text, "=https://"), strings.LastIndex(text, "="+spelling.PKI))
		if at < 0 {
			return s, policy.Faultf(policy.Usage,
				"--identity: %s is not written like alice@example.com=https://accounts.google.com", text)
		}
		k, err := author.Identity(text[:at], text[at+1:])
		if err != nil {
			return s, policy.Faultf(policy.Usage, "--identity: %s", err)
		}
		s.Keys = append(s.Keys, k)
	}
	if len(s.Keys) == 0 {
		return s, &policy.Fault{
			Reason: policy.Usage, Text: "nobody signs",
			Hint: "name keys with --key, or identities with --identity",
		}
	}
	if s.Threshold == 0 {
		if len(s.Keys) > 1 { // that any of them would do is never assumed
			return s, &policy.Fault{
				Reason: policy.Usage, Text: fmt.Sprintf("--threshold: not given, and %d may sign", len(s.Keys)),
				Hint: "say how many of them have to",
			}
		}
		s.Threshold = 1
	}
	return s, nil
}
