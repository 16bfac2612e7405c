// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// slow are tests that build or run programs of others. They need nothing of the other tests,
// and run beside them, in a process with services of its own.
var slow = "^(" + strings.Join([]string{
	"TestOwnRelease", "TestCosign", "TestGH", "TestGuides", "TestAct", "TestAction", "TestInstall", "TestConsumer",
	"TestPublishedFaults",
	"TestNPM", "TestCosignProducer", "TestCosignImages", "TestGHDownload", "TestToolsOfAMachine", "TestGoreleaser",
	"TestKo",
	"TestActionsAttest", "TestServicesInWorld", "TestLoginsInWorld", "TestAttestationsAttacked",
}, "|") + ")$"

// beside starts the slow tests in a process of their own and lets this one run the others,
// where all tests are to run. The function that it returns waits for the process, prints
// what it printed, and reports whether it passed.
func beside() (wait func() bool, err error) {
	value := func(name string) string { return flag.Lookup("test." + name).Value.String() }
	for _, name := range []string{"run", "skip", "list", "bench", "fuzz"} {
		if value(name) != "" {
			return func() bool { return true }, nil
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-test.run=" + slow, "-test.timeout=" + value("timeout"), "-postgres=" + *postgres}
	if value("v") != "false" {
		args = append(args, "-test.v")
	}
	if value("short") == "true" {
		args = append(args, "-test.short")
	}
	out, err := os.CreateTemp("", "e2e-beside")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := flag.Set("test.skip", slow); err != nil {
		return nil, err
	}
	return func() bool {
		defer os.Remove(out.Name())
		failed := cmd.Wait()
		text, err := os.ReadFile(out.Name())
		if failed != nil || err != nil || value("v") != "false" {
			fmt.Printf("beside:\n%s%v\n", text, failed)
		}
		return failed == nil && err == nil
	}, nil
}
