// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

// assuranceTopic explains the two labels of a verdict; it does nothing.
func (a *app) assuranceTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "assurance",
		Short: "how sure it is that a policy is the repository's, and complete",
		Long: `A verdict says of the policy by which it judged:

  policy version 3 of 4, in force when it was logged (2026-06-01 - 2026-11-25);
  first: yes (first); complete: as the log's index says (hinted)

Version: a release is judged by the version that was in force when its
signature was logged, so that nobody changes later who might have released it.
What a later version revokes, yanks or adopts counts all the same.

First: why the first version is believed to be the repository's (the genesis).

  pinned     you said so, with --pin, --lock or --policy
  anchored   a trust root of yours names it
  first      the log shows it, before every other that this repository bound
  claimed    only the chain of versions says so itself

Complete: what other versions may exist that are not known here.

  proven     none: a directory proves it, and witnesses or what you saw before
             keep it from telling others something else
  signed     none, by the signed word of a directory
  scanned    none: all of the log was read (--scan)
  hinted     none that the log's index knows; its operator may leave one out
  none       nobody was asked

By default a policy must be at least first and hinted. --require takes labels
that you accept instead, such as --require claimed,none, and the verdict names
what it had. With less than the default, somebody who keeps versions from you
may show you an older policy, in which a person or a key is still trusted that
is not any more.

"repopolicy log -R URL" lists the versions, and docs/consumer.md has more.`,
	}
}
