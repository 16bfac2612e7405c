// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestLook: a repository that does not answer delays no other; what is not found is
// looked for in every build at first, then more rarely; what is found, no more.
func TestLook(t *testing.T) {
	inst := sigstoretest.New(t)
	base := len(inst.BodiesV2())
	const repositories = 40
	for i := range 6 { // others bind the same statement, and publish nothing
		sign(inst, fmt.Sprintf("https://github.com/mallory/r%d", i), "schedule", statement(t, repoName(3), "alice"),
			sigstoretest.Now.Add(-time.Minute))
	}
	for i := range repositories {
		sign(inst, repoName(i), "schedule", statement(t, repoName(i), "alice"),
			sigstoretest.Now.Add(time.Duration(i)*time.Second))
	}
	log := newTestLog(t, inst, inst.BodiesV2()[base:])
	b := testBuilder(t, log, t.TempDir(), nil)
	var mu sync.Mutex
	asked := map[string]int{}
	files := map[string][]bindings.File{}
	for i := range repositories {
		files[repoName(i)] = handIn(inst, statement(t, repoName(i), "alice"))
	}
	b.Forge = func(ctx context.Context, repo policy.Locator) ([]bindings.File, error) {
		mu.Lock()
		asked[repo.String()]++
		mu.Unlock()
		switch repo.String() {
		case repoName(0), repoName(1): // as if for ever
			<-ctx.Done()
			return nil, ctx.Err()
		case repoName(2):
			return nil, errors.New("gone")
		}
		if strings.Contains(repo.String(), "mallory") {
			return nil, nil
		}
		return files[repo.String()], nil
	}
	b.LookTimeout = 200 * time.Millisecond
	var warned []string
	b.Warn = func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }
	const builds = everyTry + 10
	for range builds {
		if _, err := b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range repositories {
		n := asked[repoName(i)]
		switch {
		case i > 2 && n != 1:
			t.Errorf("%s was asked %d times", repoName(i), n)
		case i <= 2 && (n <= everyTry || n >= builds-3):
			t.Errorf("%s was asked %d times in %d builds", repoName(i), n, builds)
		}
	}
	if len(warned) < 3 {
		t.Errorf("%v", warned)
	}

	// The run that is ended ends at once, and nothing is said to have been looked for.
	ctx, cancel := context.WithCancel(t.Context())
	b.Forge = func(ctx context.Context, _ policy.Locator) ([]bindings.File, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b.LookTimeout = time.Hour
	for range 2 * maxPause { // until one of them is looked for again
		if _, err := b.Build(ctx); errors.Is(err, context.Canceled) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("none of them is looked for any more")
}
