// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// Limits of what a build looks for, so that nobody's repository delays another's.
const (
	maxLooked   = 10_000 // repositories
	lookers     = 8      // at a time; each may hold budget.Default of memory, and git.MaxPackBytes on disk
	lookTimeout = 30 * time.Second
	lookAll     = 15 * time.Minute
	// everyTry is for how many tries a statement is looked for in every build; then
	// more and more rarely, up to every maxPause builds.
	everyTry = 24
	maxPause = 24
)

// Forge fetches what a repository publishes: its signature files.
type Forge func(ctx context.Context, repo policy.Locator) ([]bindings.File, error)

// GitForge fetches the default branch and the one of the bindings, as clients do.
func GitForge(transport http.RoundTripper, agent string) Forge {
	return func(ctx context.Context, repo policy.Locator) ([]bindings.File, error) {
		s, err := git.Fetch(ctx, repo.String(), agent, transport, []string{"refs/heads/" + bindings.BindingBranch},
			bindings.Dir, bindings.IsSignatureName)
		if err != nil {
			return nil, err
		}
		var out []bindings.File
		for _, ref := range []string{s.Default, "refs/heads/" + bindings.BindingBranch} {
			files, err := s.Dir(ref, bindings.SignaturesDir, bindings.IsSignatureName)
			if err != nil {
				return nil, err
			}
			if len(files) > bindings.MaxSignatureFiles {
				return nil, fmt.Errorf("%d signature files, at most %d are read", len(files), bindings.MaxSignatureFiles)
			}
			for _, f := range files {
				out = append(out, bindings.File{Name: f.Name, Data: f.Data})
			}
		}
		return out, nil
	}
}

// names returns what log entries show of a statement: in Rekor v2 the digest of its
// pre-authentication encoding, in Rekor v1 that of the payload.
func names(payload []byte) []string {
	s, _ := rekorbind.ParseStatement(payload) // one that is refused was published, too
	return []string{s.PAE(), s.Digest()}
}

// look looks for the statements of bindings of which not all that is needed is listed.
func (b *Builder) look(ctx context.Context, maps []*Map) error {
	todo, leaf, err := b.wanted()
	if err != nil || b.Forge == nil {
		return err
	}
	all, cancel := context.WithTimeout(ctx, lookAll)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(lookers)
	var mu sync.Mutex // one transaction at a time, and one warning
	for _, r := range todo {
		g.Go(func() error {
			if all.Err() != nil {
				return ctx.Err() // the rest is for the next build
			}
			repo, err := policy.ParseLocator(r.repository)
			if err != nil {
				return fmt.Errorf("state: %w", err)
			}
			within, cancel := context.WithTimeout(all, cmp.Or(b.LookTimeout, lookTimeout))
			defer cancel()
			files, err := b.Forge(within, repo)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				b.warn("%s: %s", repo, err)
			}
			return b.Store.looked(r, files, maps, leaf)
		})
	}
	return g.Wait()
}

// lookup is a repository and the statements that are looked for in it.
type lookup struct {
	repository string
	statements []string
	tries      int
}

// wanted returns where this build looks, those first that were looked at least
// often, and the index of its leaf.
func (b *Builder) wanted() ([]lookup, int64, error) {
	by := map[string]*lookup{}
	var leaf int64
	err := b.Store.db.View(func(tx *bolt.Tx) error {
		leaf = leaves(tx)
		return tx.Bucket(bucketWanted).ForEach(func(name, data []byte) error {
			var w want
			if err := unmarshal(name, data, &w); err != nil {
				return err
			}
			statement, repo, _ := strings.Cut(string(name), "\x00")
			if w.Tries > 0 && w.Last == leaf || leaf-w.Last < int64(min(max(w.Tries-everyTry, 0), maxPause)) {
				return nil
			}
			if by[repo] == nil {
				by[repo] = &lookup{repository: repo, tries: w.Tries}
			}
			by[repo].statements = append(by[repo].statements, statement)
			by[repo].tries = min(by[repo].tries, w.Tries)
			return nil
		})
	})
	out := slices.SortedFunc(maps.Values(by), func(a, b *lookup) int {
		return cmp.Or(cmp.Compare(a.tries, b.tries), cmp.Compare(a.repository, b.repository))
	})
	var todo []lookup
	for _, l := range out[:min(len(out), maxLooked)] {
		todo = append(todo, *l)
	}
	return todo, leaf, err
}

// looked keeps what a repository published of what was wanted, and that it was
// looked at.
func (s *Store) looked(l lookup, files []bindings.File, all []*Map, leaf int64) error {
	isWanted := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(l.statements, n) })
	}
	var offers []bindings.Offer
	for _, m := range all {
		offers = append(offers, bindings.Offers(m.root, m.forges, files, nil)...)
	}
	return s.update(func(tx *bolt.Tx) error {
		if err := offered(tx, offers, isWanted); err != nil {
			return err
		}
		for _, statement := range l.statements {
			name := wantName(statement, l.repository)
			var w want
			if ok, err := get(tx.Bucket(bucketWanted), name, &w); err != nil || !ok {
				return cmp.Or(err, errors.New("state: what was looked for is not wanted"))
			}
			w.Tries, w.Last = w.Tries+1, leaf
			if err := put(tx.Bucket(bucketWanted), name, w); err != nil {
				return err
			}
		}
		return nil
	})
}
