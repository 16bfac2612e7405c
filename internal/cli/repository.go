// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// defaultMaxAge is how old what is known about a repository may be when it was
// asked for on-line.
const defaultMaxAge = 7 * 24 * time.Hour

// repoOptions are the flags of verbs that find a repository's policy.
type repoOptions struct {
	repo, git, require, maxAge, pin, lock typed
	witnesses, directory, staple, from    typed
	witnessed                             *rekorbind.WitnessPolicy // that witnesses names
	described                             *rekorbind.Descriptor    // that directory names
	stapled                               []byte                   // that staple names
	rootOptions
	open                       func(context.Context) ([]trust.Root, error) // if set, the one root to judge under
	carried                    *airgap.Bundle                              // judge by this instead of a repository
	record, recordBeside       func(target bool, name string, data []byte) // of the trust root's files, and of the root beside it
	branchOf                   func(policy.Locator) string                 // default branch, where a clone does not know it; nil for none
	moment                     time.Time                                   // as of which a carried policy is judged
	timeless                   bool                                        // --as-of says as of when anything is judged
	offline, scan, failOnAlarm bool
	fresh                      bool // nothing that is at hand saves asking: neither the repository's staple nor a cached trust root
	beyond                     bool // there is evidence about which no staple can say anything
}

func (o *repoOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.repo.name, o.require.name, o.maxAge.name, o.pin.name, o.lock.name = "URL", "LABELS", "DURATION", "sha256:HEX", "FILE"
	f.VarP(&o.repo, "repo", "R", "judge by the policy that this repository bound: a URL, or OWNER/NAME on github.com")
	f.Var(&o.require, "require", "proceed with this much knowledge: labels of genesis (pinned, anchored, first, claimed) and completeness (proven, signed, scanned, hinted, none), and one-log to demand also off-line that each log is shown to be of one history; separated by commas")
	f.Var(&o.maxAge, "max-age", "refuse what is known from longer ago, such as 24h; off with --offline")
	f.Var(&o.pin, "pin", "demand that the repository's first statement has this digest")
	f.Var(&o.lock, "lock", "demand what this lock file names")
	f.BoolVar(&o.scan, "scan", false, "read all entries of Rekor v2 instead of asking an index; the first time takes as long as the log is large")
	o.witnesses.name = "FILE"
	f.Var(&o.witnesses, "witness-policy", "demand that the witnesses of this policy cosigned what Rekor v2 shows; implies --scan")
	o.directoryFlags(f)
	o.stapleFlag(f)
	f.BoolVar(&o.failOnAlarm, "fail-on-alarm", false, "let every alarm decide")
}

// any reports whether a flag that needs --repo was given.
func (o *repoOptions) any() bool {
	return o.require.set || o.maxAge.set || o.pin.set || o.lock.set || o.witnesses.set || o.directory.set || o.staple.set || o.from.set || o.scan || o.failOnAlarm
}

// found is a repository's policy with what it was found from.
type found struct {
	repo     policy.Locator
	root     trust.Root
	snapshot *git.Snapshot
	res      *rekorbind.Resolution
	demand   chain.Demand
	files    []rekorbind.File // signatures
	answers  []rekorbind.File // of directories, that a registry has beside them
	local    bool             // read from a clone
	clone    string           // which one
	copied   bool             // read from a registry or layout

	described  string               // file of the directory's descriptor; "" for that of the root
	anchoredBy string               // name of the root; "" for none
	asked      *rekorbind.Directory // nil without one
	watch      *watch               // of the root's logs, and of time
}

// find resolves the policy of the repository that the flags name.
func (a *app) find(ctx context.Context, o *repoOptions) (*found, error) {
	if err := a.checkFind(o, false); err != nil {
		return nil, err
	}
	repo, err := policy.NormalizeLocator(o.repo.value)
	if err != nil {
		return nil, &fault{reason: policy.Usage, msg: "--repo: " + err.Error(), hint: "write it like https://github.com/acme/widget or acme/widget"}
	}
	out := &found{repo: repo, local: o.git.set, clone: o.git.value, copied: o.from.set}
	if err := out.readDemand(o); err != nil {
		return nil, err
	}
	var l *lock
	if o.lock.set {
		if l, err = readLock(o.lock.value); err != nil {
			return nil, err
		}
	}
	if out.root, err = a.oneRoot(ctx, o, repo); err != nil {
		return nil, err
	}
	if err := out.readDirectory(o); err != nil {
		return nil, err
	}
	anchor, by, err := a.anchor(ctx, o, repo)
	if err != nil {
		return nil, err
	}
	out.anchoredBy = by
	files, err := a.files(ctx, o, out)
	if err != nil {
		return nil, err
	}
	state, err := a.state(out.root)
	if err != nil {
		return nil, err
	}
	if out.watch, err = a.newWatch(o, out.root, state); err != nil {
		return nil, err
	}
	if o.carried != nil {
		if err := out.watch.carry(ctx, o.carried); err != nil {
			return nil, err
		}
	}
	lookups, err := a.lookups(o, out, state)
	if err != nil {
		return nil, err
	}
	r := &rekorbind.Resolver{Root: out.root.Root, Forges: out.root.Forges, Lookups: lookups, Trees: out.watch.trees, Clock: out.watch.clock, Keeper: state, Now: cmp.Or(o.moment, a.Now()).UTC(), Pin: strings.TrimPrefix(o.pin.value, "sha256:"), Anchor: anchor}
	if out.snapshot.Default != "" {
		r.DefaultRefs = []string{out.snapshot.Default}
	}
	if l != nil {
		kept, err := state.Kept(repo)
		if err != nil {
			return nil, fmt.Errorf("what was kept of %s: %w", repo, err)
		}
		if r.Keeper, err = l.beside(kept); err != nil {
			return nil, err
		}
		r.Pin = l.Chain[0]
	}
	if out.res, err = r.Resolve(ctx, repo, files); errors.As(err, new(*budget.Exceeded)) {
		return nil, faultf(policy.BudgetExceeded, "%s", err)
	} else if err != nil {
		return nil, err
	}
	out.watch.oneLog = out.demand.OneLog
	if out.asked != nil {
		out.watch.staple, out.watch.ask = out.asked.Stapled(), !o.offline && !o.beyond
	}
	if err := out.watch.check(); err != nil {
		return nil, err
	}
	if err := out.watch.clock.Save(state); err != nil {
		return nil, err
	}
	if o.scan && out.res.Fork == nil {
		for name, err := range out.res.Failed {
			if errors.Is(err, rekorbind.ErrNoIndex) || out.asked != nil && name == out.asked.Name() {
				continue
			}
			return nil, &fault{reason: policy.BelowRequired, msg: fmt.Sprintf("no answer from the %s: %s", name, err), hint: "try again, or do without --scan"}
		}
	}
	for _, digest := range slices.Sorted(maps.Keys(out.res.Evidence)) {
		if path, err := state.WriteEvidence("alarm", out.res.Evidence[digest].Bytes()); err == nil {
			a.err.line("evidence: %s, sha256:%s", path, digest)
		}
	}
	a.keepEvidence(out.res, state)
	return out, out.unanswered(o, out.asked)
}

func (f *found) readDemand(o *repoOptions) error {
	f.demand = chain.Demand{FailOnAlarm: o.failOnAlarm}
	if o.require.set {
		d, err := f.demand.ParseRequire(o.require.value)
		if err != nil {
			return faultf(policy.Usage, "--require: %s", err)
		}
		f.demand = d
	}
	if !o.offline {
		f.demand.MaxAge = defaultMaxAge
	}
	if o.maxAge.set {
		d, err := time.ParseDuration(o.maxAge.value)
		if err != nil || d <= 0 {
			return &fault{reason: policy.Usage, msg: "--max-age: not a duration", hint: "write it like 24h"}
		}
		f.demand.MaxAge = d
	}
	if o.witnesses.set {
		data, err := file.Read(o.witnesses.value, rekorbind.MaxWitnessPolicyBytes)
		if err != nil {
			return faultf(policy.Usage, "--witness-policy: %s", err)
		}
		if o.witnessed, err = rekorbind.ParseWitnessPolicy(data); err != nil {
			return faultf(policy.Usage, "--witness-policy: %s: %s", o.witnesses.value, err)
		}
		o.scan = true
	}
	if o.offline && o.scan {
		return faultf(policy.Usage, "--offline: no log is read, which --scan and --witness-policy demand")
	}
	if o.pin.set {
		if d, err := policy.ParseDigest(o.pin.value); err != nil || d.Alg != "sha256" {
			return faultf(policy.Usage, "--pin: not a digest like sha256:…")
		}
	}
	return nil
}

// files returns the signature files of the policy: those of the repository, those that are
// carried, or those of a registry.
func (a *app) files(ctx context.Context, o *repoOptions, f *found) ([]rekorbind.File, error) {
	var err error
	if o.carried != nil {
		f.snapshot = &git.Snapshot{Default: o.carried.Default}
		f.files = carriedFiles(o.carried)
		return f.files, nil
	}
	if o.from.set {
		err := a.fromRegistry(ctx, o, f) // which sets what is returned
		return f.files, err
	}
	if f.snapshot, err = a.snapshot(ctx, o, f.root, f.repo); err != nil {
		return nil, err
	}
	if f.files, err = policyFiles(f.snapshot); err != nil {
		return nil, gitFault(err)
	}
	return f.files, nil
}

// snapshot returns the newest state of the repository's refs: from the clone
// named by --git, or from its server.
func (a *app) snapshot(ctx context.Context, o *repoOptions, root trust.Root, repo policy.Locator) (*git.Snapshot, error) {
	if o.git.set {
		r, err := git.Open(ctx, o.git.value)
		if err != nil {
			return nil, gitFault(err)
		}
		s, err := r.Local()
		if err != nil {
			return nil, gitFault(err)
		}
		if s.Default == "" && o.branchOf != nil {
			s.Default = o.branchOf(repo)
		}
		return s, nil
	}
	if o.offline {
		return nil, unfetched()
	}
	// What was fetched is read later, and ends with the run alone.
	fetching, cancel := context.WithCancelCause(ctx)
	if a.Timeout > 0 {
		timer := time.AfterFunc(a.Timeout, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	a.stops = append(a.stops, func() { cancel(nil) })
	s, err := git.Fetch(fetching, repo.String(), userAgent(), a.Transport, []string{"refs/heads/" + rekorbind.BindingBranch}, rekorbind.Dir, o.fetched(root))
	if err != nil && context.Cause(fetching) == context.DeadlineExceeded {
		return nil, faultf(policy.RepositoryUnreachable, "no answer within %s", a.Timeout)
	}
	if err != nil {
		return nil, gitFault(err)
	}
	if s.MovedTo != "" {
		a.err.line("note: %s has moved to %s", repo, s.MovedTo)
	}
	return s, nil
}

func gitFault(err error) *fault {
	reason := policy.RepositoryUnreachable
	switch {
	case errors.As(err, new(*budget.Exceeded)), errors.Is(err, git.ErrTooMuchWork):
		reason = policy.BudgetExceeded
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, git.ErrUnreachableServer):
		reason = policy.Interrupted
	case errors.Is(err, git.ErrMalformed), errors.Is(err, git.ErrUnsupported):
		reason = policy.GitInvalid
	case errors.Is(err, git.ErrNotFound):
		reason = policy.GitIncomplete
	case errors.Is(err, os.ErrNotExist):
		reason = policy.Usage
	}
	return faultf(reason, "%s", err)
}

// policyFiles returns the signature files and place proofs of both refs.
func policyFiles(s *git.Snapshot) ([]rekorbind.File, error) {
	var out []rekorbind.File
	for _, ref := range []string{s.Default, "refs/heads/" + rekorbind.BindingBranch} {
		files, err := s.Dir(ref, rekorbind.SignaturesDir, rekorbind.IsPolicyName)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			out = append(out, rekorbind.File(f))
		}
	}
	return out, nil
}

// state opens what is remembered under the root.
func (a *app) state(root trust.Root) (*rekorbind.State, error) {
	dir, err := a.StateDir()
	if err != nil {
		return nil, fmt.Errorf("no directory to keep state in: %w", err)
	}
	name := root.Identity
	if name == "" {
		name = root.Digest().Hex
	}
	return rekorbind.OpenState(filepath.Join(dir, "state", name[:min(len(name), 32)]))
}

// trees returns what compares the trees that the logs of a root show: unless off-line, it asks
// the logs.
func (a *app) trees(o *repoOptions, root trust.Root, state *rekorbind.State) (*rekorbind.Trees, error) {
	t := &rekorbind.Trees{Root: root.Root, Clients: map[string]*web.Client{}, Heads: state, Witnesses: o.witnessed, Now: func() time.Time { return a.Now().UTC() }}
	if o.offline {
		return t, nil
	}
	for _, l := range root.Logs() {
		client, err := web.New(l.URL, a.Transport, userAgent())
		if err != nil {
			return nil, err
		}
		if a.Timeout > 0 {
			client.SetTimeout(a.Timeout)
		}
		t.Clients[l.ID] = client // the id does not always tell the generation
	}
	return t, nil
}

// lookups returns what is asked about entries that the repository does not show.
func (a *app) lookups(o *repoOptions, f *found, state *rekorbind.State) ([]rekorbind.Lookup, error) {
	root := f.root
	var out []rekorbind.Lookup
	if o.described != nil {
		var err error
		if f.asked, err = a.inDirectory(o, f, state); err != nil {
			return nil, err
		}
		out = append(out, f.asked)
	}
	if o.offline {
		return out, nil
	}
	// The directory is asked instead of an index, unless what the index says would do.
	first, index := len(out), f.asked == nil || !f.demand.Completeness.Beats(chain.CompleteHinted)
	now := func() time.Time { return a.Now().UTC() }
	scan := &rekorbind.Scan{Root: root.Root, Forges: root.Forges, Clients: f.watch.trees.Clients, Cursors: state, Witnesses: o.witnessed, Now: now}
	if a.Terminal {
		scan.Progress = func(log string, done, total int64) { a.err.status("reading %s: %d of %d", log, done, total) }
	}
	for _, l := range root.Logs() {
		if l.Generation == 1 && index {
			entries, err := state.Entries(l.ID, root.Root, root.Forges)
			if err != nil {
				return nil, err
			}
			out = append(out, &rekorbind.Hint{Root: root.Root, Forges: root.Forges, Client: f.watch.trees.Clients[l.ID], Now: now, Entries: entries, Log: l.ID})
		}
	}
	if o.scan || index && len(out) == first && len(scan.Clients) > 0 { // without an index there is no other way
		out = append(out, scan)
	}
	return out, nil
}

// trusted returns the policy to judge by.
func (f *found) trusted() *chain.Trusted { return f.res.Chain.Trusted(f.demand) }

// alarmText is an alarm on one line.
func alarmText(a chain.Alarm) string {
	text := a.Code + ": " + a.Text
	if a.Acknowledged {
		text += " (acknowledged)"
	}
	return text
}

// warn prints what is not part of the verdict but should be known.
func (a *app) warn(f *found) {
	for _, name := range slices.Sorted(maps.Keys(f.res.Failed)) {
		a.err.line("note: no answer from the %s: %s", name, f.res.Failed[name])
	}
	for _, i := range f.res.Ignored {
		a.err.line("note: ignored %s: %s", i.Name, i.Why)
	}
	for _, al := range f.res.Chain.Alarms() {
		a.err.line("alarm: %s", alarmText(al))
	}
	for _, v := range f.res.Chain.Versions() {
		if v.WithoutV1 {
			a.err.line("note: version %d is bound in Rekor v2 alone: no index lists it, and it is never ordered against releases in Rekor v1", v.Number)
		}
	}
}

// summary describes the policy for reports; nil if there is none.
func (f *found) summary() *policySummary {
	versions := f.res.Chain.Versions()
	view := f.res.Chain.View()
	if len(versions) == 0 {
		return nil
	}
	head := versions[len(versions)-1]
	out := &policySummary{
		Digest: head.Document.Digest().String(), Repository: f.repo.String(), Version: head.Number, Expires: head.Document.Content().Expires,
		Genesis: string(f.res.Chain.Genesis()), Completeness: string(view.Completeness), Statement: "sha256:" + head.Statement,
	}
	if view.Completeness.Beats(chain.CompleteScanned) && f.asked != nil {
		out.Directory = f.asked.Descriptor.URL
	}
	for _, v := range versions {
		if v.WithoutV1 {
			out.WithoutV1 = append(out.WithoutV1, v.Number)
		}
	}
	if !view.AsOf.IsZero() {
		at := view.AsOf.UTC().Truncate(time.Second)
		out.KnownAsOf = &at
	}
	if !view.Inputs.IsZero() {
		at := view.Inputs.UTC()
		out.InputsOf = &at
	}
	return out
}
