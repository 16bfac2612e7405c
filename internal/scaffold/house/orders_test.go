// SPDX-License-Identifier: Apache-2.0

package house

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/commandtest"
	"github.com/repopolicy/repopolicy/internal/trustcli"
)

// TestOrders: every command that signs as somebody stands in the table, and nothing public
// stands in it before everything that can be checked.
func TestOrders(t *testing.T) {
	found := map[string]bool{}
	for _, program := range []*cobra.Command{cli.Command(), trustcli.Command()} {
		commandtest.Verbs(program, func(c *cobra.Command) {
			path := c.CommandPath()
			if f := c.Flags().Lookup("expect-identity"); f != nil && !f.Hidden || path == "repopolicy bind" {
				found[path] = true
				if command.Orders[path] == nil {
					t.Errorf("%s signs as somebody, and its steps are in no table", path)
				}
			}
		})
	}
	rank := map[command.Step]int{
		command.StepFlags: 0, command.StepLook: 1, command.StepToken: 1, command.StepIdentity: 2, command.StepConsent: 3,
		command.StepTree: 4, command.StepCertificate: 5, command.StepStamp: 6, command.StepV1: 7, command.StepV2: 8,
		command.StepFile: 9,
	}
	for path, steps := range command.Orders {
		if !found[path] {
			t.Errorf("%s: no such command signs", path)
		}
		for i, s := range steps {
			if at, known := rank[s]; !known || i > 0 && at < rank[steps[i-1]] {
				t.Errorf("%s: %s out of its order", path, s)
			}
		}
	}
}
