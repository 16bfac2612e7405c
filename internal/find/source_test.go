// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/policy"
)

// TestGitFault: what ends a run is never said to be the repository's fault, also if a
// server was the one that ended it.
func TestGitFault(t *testing.T) {
	for _, c := range []struct {
		err  error
		want policy.Reason
	}{
		{&budget.Exceeded{Need: 2, Limit: 1}, policy.BudgetExceeded},
		{fmt.Errorf("%w: %w", git.ErrUnreachableServer, &budget.Exceeded{Need: 2, Limit: 1}), policy.BudgetExceeded},
		{git.ErrTooMuchWork, policy.BudgetExceeded},
		{context.Canceled, policy.Interrupted},
		{fmt.Errorf("%w: %w", git.ErrUnreachableServer, context.Canceled), policy.Interrupted},
		{context.DeadlineExceeded, policy.Interrupted},
		{fmt.Errorf("%w: %w", git.ErrUnreachableServer, context.DeadlineExceeded), policy.RepositoryUnreachable},
		{git.ErrUnreachableServer, policy.RepositoryUnreachable},
		{git.ErrMalformed, policy.GitInvalid},
		{git.ErrUnsupported, policy.GitInvalid},
		{git.ErrNotFound, policy.GitIncomplete},
		{os.ErrNotExist, policy.Usage},
		{errors.New("other"), policy.RepositoryUnreachable},
	} {
		if w := GitFault(fmt.Errorf("x: %w", c.err)); w.Reason != c.want {
			t.Errorf("%v: %s, want %s", c.err, w.Reason, c.want)
		}
	}
}
