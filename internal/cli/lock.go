// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const maxLockBytes = 4 << 20

// lock is a file that carries what was found to a machine without memory: the
// digests of the chain's statements, genesis first.
type lock struct {
	Schema     string   `json:"schema"`
	Repository string   `json:"repository"`
	Chain      []string `json:"chain"` // hex SHA-256
}

// Kept implements rekorbind.Keeper.
func (l *lock) Kept(policy.Locator) (chain.Kept, error) { return chain.Kept{Chain: l.Chain}, nil }

// Keep implements rekorbind.Keeper: a lock file is never changed by what it is
// checked against.
func (l *lock) Keep(policy.Locator, chain.Kept, chain.Kept) (bool, error) { return true, nil }

// beside returns what has to be continued where the machine remembers something as
// well: the longer of both, one of which is the beginning of the other.
func (l *lock) beside(kept chain.Kept) (*lock, error) {
	n := min(len(l.Chain), len(kept.Chain))
	switch {
	case !slices.Equal(l.Chain[:n], kept.Chain[:n]):
		return nil, faultf(policy.ChainForked, "--lock: the file names another chain of %s than this machine has seen", l.Repository)
	case n == len(l.Chain):
		return &lock{l.Schema, l.Repository, kept.Chain}, nil
	}
	return l, nil
}

func readLock(path string) (*lock, error) {
	data, err := file.Read(path, maxLockBytes)
	if err != nil {
		return nil, faultf(policy.Usage, "--lock: %s", err)
	}
	l := &lock{}
	if err := lockRules.Decode(data, l); err != nil {
		return nil, faultf(policy.Usage, "--lock: %s is not a lock file: %s", path, err)
	}
	if err := l.check(); err != nil {
		return nil, faultf(policy.Usage, "--lock: %s: %s", path, err)
	}
	return l, nil
}

// lockRules: a lock file is reviewed by people, who must see the pin that is enforced.
var lockRules = strictjson.Rules{Known: []string{"schema", "repository", "chain"}}

func (l *lock) check() error {
	if l.Schema != schemaURL("lock-v1") {
		return fmt.Errorf("the schema is %q", l.Schema)
	}
	if _, err := policy.ParseLocator(l.Repository); err != nil {
		return fmt.Errorf("the repository: %w", err)
	}
	if len(l.Chain) == 0 {
		return errors.New("it names no statement")
	}
	if slices.ContainsFunc(l.Chain, func(d string) bool { return len(d) != 64 || strings.Trim(d, "0123456789abcdef") != "" }) {
		return errors.New("a digest is malformed")
	}
	return nil
}

func (a *app) lockCommand() *cobra.Command {
	o := &repoOptions{}
	out := typed{name: "FILE"}
	cmd := &cobra.Command{
		Use:   "lock -R URL -o FILE",
		Short: "write down the policy that was found, for machines without memory",
		Long: `Lock finds the policy of a repository and writes the digests of its versions to a
file. With --lock FILE, verify accepts only a continuation of what the file names:
no other first version and nothing older. A lock file belongs into version
control, beside what pins the project's own version. With --lock, the repository
need not be named again, and lock itself writes a file that continues the old one.`,
		Example: `  repopolicy lock -R acme/widget -o widget.lock
  repopolicy verify --lock widget.lock --tag v1.2.3 widget_1.2.3.tar.gz
  repopolicy lock -R acme/widget --lock widget.lock -o widget.lock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.repo.set || !out.set {
				return &fault{reason: policy.Usage, msg: "which repository, and where to?", hint: "repopolicy lock -R acme/widget -o widget.lock"}
			}
			if err := checkOutputs(&out); err != nil {
				return err
			}
			f, err := a.inForce(cmd.Context(), o)
			if err != nil {
				return err
			}
			l := lock{Schema: schemaURL("lock-v1"), Repository: f.repo.String()}
			for _, v := range f.res.Chain.Versions() {
				l.Chain = append(l.Chain, v.Statement)
			}
			data, err := json.MarshalIndent(l, "", "  ")
			if err != nil {
				return err
			}
			if err := file.Write(out.value, append(data, '\n'), 0o644); err != nil {
				return unwritten(err)
			}
			a.err.line("wrote %s: %d %s, first sha256:%s", out.value, len(l.Chain), plural(len(l.Chain), "version"), l.Chain[0])
			return nil
		},
	}
	o.flags(cmd)
	o.sources(cmd)
	cmd.Flags().VarP(&out, "output", "o", "file to write")
	return cmd
}
