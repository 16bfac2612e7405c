// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

const maxTargetFile = 8 << 20

// addOptions are the flags of add.
type addOptions struct{ role, status, usage string }

func (a *app) addCommand() *cobra.Command {
	o := &addOptions{}
	cmd := &cobra.Command{
		Use:   "add DIR PATH=FILE...|--status STATUS PATH...",
		Short: "stage files that a trust root says, and the status of keys among them",
		Long: `Add stages files that a role of a trust root lists: its own settings, keys from which
rules of policies take them, and artifacts that "repopolicy verify --tuf" or a rule with tuf
lets pass.

A key counts for a rule while its status is active. With --status it is staged with that
status, and a PATH without a file gets another one later: "expired" ends a key, after
which only what it signed before the until of a rule counts. A key that is replaced by
another one under the same path has to be given its status again.`,
		Example: `  repopolicy-trust add foundation --status active artifact.pub=release.pub
  repopolicy-trust add foundation --status expired artifact.pub
  repopolicy-trust add foundation --role widget widget/v1.2.3/widget.tar.gz=dist/widget.tar.gz`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			status, err := o.keyStatus()
			if err != nil {
				return err
			}
			return a.change(args[0], func(r *author.Repository) error {
				for _, t := range args[1:] {
					if err := o.add(r, t, status, a.Now()); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.role, "role", author.Targets, "let this `ROLE` say it")
	f.StringVar(&o.status, "status", "", "the `STATUS` of keys: active or expired (custom.sigstore.status)")
	f.StringVar(&o.usage, "usage", "", "what keys are for, as Sigstore's root says it (custom.sigstore.usage)")
	return cmd
}

// keyStatus reads --status and --usage; nil without them.
func (o *addOptions) keyStatus() (*author.KeyStatus, error) {
	status, ok := map[string]string{"active": "Active", "expired": "Expired", "": ""}[o.status]
	switch {
	case !ok:
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: fmt.Sprintf("--status: %q is no status of a key", o.status),
			Hint: "write active or expired",
		}
	case status == "" && o.usage != "":
		return nil, policy.Faultf(policy.Usage, "--usage without --status: a key without a status counts for nothing")
	case status == "":
		return nil, nil
	}
	return &author.KeyStatus{Status: status, Usage: o.usage}, nil
}

// add stages one file, or the status of one that is listed.
func (o *addOptions) add(r *author.Repository, text string, status *author.KeyStatus, now time.Time) error {
	path, _, named := strings.Cut(text, "=")
	before := r.KeyStatus(o.role, path)
	if named || status == nil {
		name, data, err := readTarget(text, now, r.Target)
		if err != nil {
			return err
		}
		if status == nil && before.Status != "" && !r.Lists(o.role, name, data) {
			return &policy.Fault{
				Reason: policy.Usage, Text: name + " is a key with a status, and the one in its place would have none",
				Hint: "say which it has: --status active",
			}
		}
		if err := r.Add(o.role, name, data); err != nil {
			return err
		}
	}
	if status == nil {
		return nil
	}
	next := *status
	next.Usage = cmp.Or(next.Usage, before.Usage)
	return r.SetKeyStatus(o.role, path, next)
}

// readTarget reads PATH=FILE; listed is that of [trust.CheckTarget].
func readTarget(
	text string, now time.Time, listed func(string) ([]byte, error),
) (path string, data []byte, err error) {
	path, from, ok := strings.Cut(text, "=")
	if !ok {
		return "", nil, policy.Faultf(policy.Usage, "%s is not written like %s=FILE", text, trust.TrustedRootTarget)
	}
	if data, err = file.Read(from, maxTargetFile); err != nil {
		return "", nil, policy.Faultf(policy.Usage, "%s", err)
	}
	if err := trust.CheckTarget(path, data, now, listed); err != nil {
		return "", nil, policy.Faultf(policy.TrustRootInvalid, "%s: %s", from, err)
	}
	return path, data, nil
}
