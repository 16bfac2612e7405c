// SPDX-License-Identifier: Apache-2.0

package find

import (
	"errors"
	"fmt"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// lookups returns what is asked about entries that the repository does not show.
func (f *Finder) lookups(out *Found, d *answers.Descriptor, state *memory.State) ([]bindings.Lookup, error) {
	q, root := out.query, out.Root
	var all []bindings.Lookup
	if d != nil {
		var err error
		if out.Directory, err = f.inDirectory(out, d, state); err != nil {
			return nil, err
		}
		all = append(all, out.Directory)
	}
	if q.Offline {
		return all, nil
	}
	// The directory is asked instead of an index, unless what the index says would do.
	first := len(all)
	index := q.Index || out.Directory == nil || !out.Demand.Completeness.Beats(chain.CompleteHinted)
	now := func() time.Time { return f.Now().UTC() }
	clients := out.Watch.trees.Clients
	scan := &lookup.Scan{
		Root: root.Root, Forges: root.Forges, Clients: clients, Cursors: state,
		Witnesses: q.Witnesses, Now: now, Progress: f.Progress,
	}
	for _, l := range root.Logs() {
		if l.Generation == 1 && index {
			entries, err := state.Entries(l.ID, root.Root, root.Forges)
			if err != nil {
				return nil, err
			}
			all = append(all, &lookup.Hint{
				Root: root.Root, Forges: root.Forges, Client: clients[l.ID], Now: now, Entries: entries, Log: l.ID,
			})
		}
	}
	if q.Scan || index && len(all) == first && len(clients) > 0 { // without an index there is no other way
		all = append(all, scan)
	}
	return all, nil
}

// Web returns a client of a service.
func (f *Finder) Web(url string) (*web.Client, error) {
	c, err := web.New(url, f.Transport, f.Agent)
	if err == nil && f.Timeout > 0 {
		c.SetTimeout(f.Timeout)
	}
	return c, err
}

// newTrees returns what compares the trees that the logs of a root show: unless off-line, it
// asks the logs.
func (f *Finder) newTrees(q *Query, root trust.Root, state *memory.State) (*rekor.Trees, error) {
	t := &rekor.Trees{
		Root: root.Root, Clients: map[string]*web.Client{}, Heads: state, Witnesses: q.Witnesses,
		Now: func() time.Time { return f.Now().UTC() },
	}
	if q.Offline {
		return t, nil
	}
	for _, l := range root.Logs() {
		client, err := f.Web(l.URL)
		if err != nil {
			return nil, err
		}
		t.Clients[l.ID] = client // the id does not always tell the generation
	}
	return t, nil
}

// descriptor returns the directory to ask, that of the question or that of the trusted root,
// and says what is demanded with it; nil without one.
func (f *Found) descriptor() (*answers.Descriptor, error) {
	q, d := f.query, f.query.Directory
	if d == nil {
		d = f.Root.Directory
	}
	if d == nil {
		if q.Staple != nil {
			return nil, stapleAlone()
		}
		return nil, nil
	}
	if q.Staple != nil && q.MaxAge == 0 {
		f.Demand.MaxAge = 0
	}
	if f.Demand.Completeness == "" { // who drops its answers must not be better off
		f.Demand.Completeness = chain.CompleteSigned
	}
	return d, nil
}

func stapleAlone() *policy.Fault {
	return &policy.Fault{
		Reason: policy.Usage, Text: "--staple without --directory",
		Hint: "the descriptor says whose key signed it",
	}
}

// inDirectory returns the look-up in the directory: with what is stapled, to the question or
// else to the repository, and unless off-line with whom to ask.
func (f *Finder) inDirectory(
	out *Found, described *answers.Descriptor, state *memory.State,
) (*answers.Directory, error) {
	q := out.query
	d := &answers.Directory{
		Root: out.Root.Root, Forges: out.Root.Forges, Descriptor: described, Staple: q.Staple, Heads: state,
		Now: func() time.Time { return f.Now().UTC() },
	}
	if q.Carried != nil {
		d.Pages = q.Carried.Pages
		if d.Staple == nil {
			d.Staple = q.Carried.Answer
		}
	}
	if d.Staple == nil || q.Beyond {
		d.Staple, d.StapleAge = nil, out.Demand.MaxAge
		var err error
		if !q.Beyond && !q.Fresh {
			d.Staple, err = out.staple()
		}
		if err != nil {
			return nil, GitFault(err)
		}
		if !q.Offline {
			if d.Client, err = f.Web(described.URL); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// staple returns the answer that the repository or a registry keeps beside the policy, of
// several the newest by its own word; nil if there is none.
func (f *Found) staple() ([]byte, error) {
	name := bindings.StapleName(f.Root.Root, f.Root.Forges)
	var newest []byte
	last := int64(-1)
	for _, file := range f.answers {
		if file.Name != name {
			continue
		}
		if a, err := answers.ParseAnswer(file.Data); err == nil && a.Index > last {
			newest, last = file.Data, a.Index
		}
	}
	if newest != nil {
		return newest, nil
	}
	only := func(n string) bool { return n == name }
	files, err := f.Snapshot.Dir("refs/heads/"+bindings.BindingBranch, bindings.StapleDir, only)
	if err != nil || len(files) != 1 {
		return nil, err
	}
	return files[0].Data, nil
}

// unanswered returns the fault that the directory gave no answer, where that
// decides. One that lied or forked is an alarm of the chain.
func (f *Found) unanswered() error {
	d, res := f.Directory, f.Resolution
	if d == nil || res.Fork != nil || res.Lie != nil || !f.Demand.Completeness.Beats(chain.CompleteHinted) {
		return nil
	}
	err := res.Failed[d.Name()]
	if err == nil || res.Chain.View().Completeness.Beats(chain.CompleteScanned) {
		return nil
	}
	hint := "try again, or proceed with --require first,hinted, which also looks the repository up as without " +
		"--directory: an index may " +
		"leave out what was bound, revoked or yanked"
	if f.query.Offline || f.query.Staple != nil && !f.query.Beyond {
		hint = "name a newer answer with --staple, or go on-line without one"
	}
	return &policy.Fault{
		Reason: policy.BelowRequired, Text: fmt.Sprintf("no answer from the %s: %s", d.Name(), err),
		Hint: hint,
	}
}

// Answered refuses to begin something public on what nobody could be asked about: what a
// log has of the repository is not known, and what is signed could not be logged.
func (f *Found) Answered() error {
	if f.Resolution.Chain.View().Completeness.Beats(chain.CompleteNone) {
		return nil
	}
	for _, name := range f.Silent() {
		if err := f.Resolution.Failed[name]; !errors.Is(err, bindings.ErrNoIndex) {
			return &policy.Fault{
				Reason: policy.BelowRequired, Text: fmt.Sprintf("no answer from the %s: %s", name, err),
				Hint: "try again: only it says what is bound",
			}
		}
	}
	return nil
}
