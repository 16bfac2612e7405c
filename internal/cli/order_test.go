// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestOrders: every verb that signs as somebody stands in the table, and nothing public
// stands in it before everything that can be checked.
func TestOrders(t *testing.T) {
	found := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(c.CommandPath(), "repopolicy ")
		if c.Flags().Lookup("expect-identity") != nil || name == "bind" {
			found[name] = true
			if Orders[name] == nil {
				t.Errorf("%s signs as somebody, and its steps are in no table", name)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Command())
	rank := map[Step]int{StepFlags: 0, StepLook: 1, StepToken: 1, StepIdentity: 2, StepConsent: 3, StepTree: 4, StepCertificate: 5, StepStamp: 6, StepV1: 7, StepV2: 8, StepFile: 9}
	for verb, steps := range Orders {
		if !found[verb] {
			t.Errorf("%s: no such verb signs", verb)
		}
		for i, s := range steps {
			if at, known := rank[s]; !known || i > 0 && at < rank[steps[i-1]] {
				t.Errorf("%s: %s out of its order", verb, s)
			}
		}
	}
}
