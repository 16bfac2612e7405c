// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// UserAgent names our programs to servers.
func UserAgent() string { return "repopolicy/" + report.Version() + " (https://" + spelling.Name + ")" }

type versionDoc struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Formats string `json:"policy_format"`
}

// version returns the line that says which program this is.
func (r *Run) version(root *cobra.Command) string {
	return fmt.Sprintf("%s %s %s %s/%s, policy format %s", root.Name(), report.Version(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, spelling.Format)
}

// VersionCommand returns the verb that prints the version of the program.
func (r *Run) VersionCommand(program string) *cobra.Command {
	f := &Format{Allowed: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "print the version of this program",
		Example: "  " + program + " version --format json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.JSON() {
				return r.Out.JSON(versionDoc{
					report.SchemaURL("version-v1"), report.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, spelling.Format,
				})
			}
			r.Out.Line("%s", r.version(cmd.Root()))
			return nil
		},
	}
	cmd.Flags().Var(f, "format", "form of the output")
	return cmd
}
