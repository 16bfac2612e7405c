// SPDX-License-Identifier: Apache-2.0

// Package find finds the policy of a repository as one machine and its user do: under the
// root that the user trusts for it, from the repository's own files, with what logs,
// directories and this machine's memory say beside them.
package find

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// DefaultMaxAge is how old what is known about a repository may be when it was
// asked for on-line.
const DefaultMaxAge = 7 * 24 * time.Hour

// Skew is how far the machine's clock may be behind the services whose time stamps are
// judged.
const Skew = 5 * time.Minute

// Finder is the machine that asks, and what its user trusts. Its methods may be called
// from several goroutines.
type Finder struct {
	Machine
	Now       func() time.Time
	Transport http.RoundTripper // nil for the default one
	Agent     string            // how the program calls itself to services
	Store     memory.Store      // where is remembered instead of in StateDir; nil for there
	// Repositories returns what a forge shows of a repository; nil asks the forge by Git.
	Repositories func(ctx context.Context, repo policy.Locator) (*git.Snapshot, error)
	Say          func(line string)                   // to the user, beside the answer; nil for nobody
	Progress     func(log string, done, total int64) // of reading a log; nil for nobody
}

// Trust says what is trusted instead of the user's map.
type Trust struct {
	Files  []string // trusted_root.json files
	Name   string   // of a root in the map, alone; "" for the map's scopes
	Config string   // file with the map; "" for the user's own
}

// Query is a question for a repository's policy. Its zero value but for the repository asks
// on-line, and the logs' index or the directory of the trusted root.
type Query struct {
	Repository policy.Locator
	Trust
	Root func(context.Context) (trust.Root, error) // opens the one to judge under; nil for that of Trust

	Clone string         // directory of a clone to read instead of the forge's; "" for none
	From  *oci.Reference // registry or layout to read instead; nil for none
	// BranchOf names the default branch, where a clone does not know it; nil for none.
	BranchOf func(policy.Locator) string

	Demand chain.Demand  // but for the age
	MaxAge time.Duration // of what is known; 0 for a week on-line and any off-line
	Pin    string        // hex digest of the first statement; "" for none
	Lock   *Lock
	// Witnesses have to have cosigned what logs show. It demands Scan.
	Witnesses *rekor.WitnessPolicy
	Scan      bool // read all entries of Rekor v2

	Directory     *answers.Descriptor // nil for that of the root
	DirectoryFile string              // that it was read from
	Staple        []byte              // answer of the directory, of any age

	Offline bool
	AtHand  bool     // what forges show is at hand without a network: see Finder.Repositories
	Fresh   bool     // nothing that is at hand saves asking: neither the repository's staple nor a cached trust root
	Beyond  bool     // there is evidence about which no staple can say anything
	Beside  []string // numbers of the repository, by certificates of releases; see [bindings.Query]
	Index   bool     // the index of each log is asked beside a directory, too, which may not list what that has

	Carried  *airgap.Bundle // to be judged by instead of a repository
	Moment   time.Time      // as of which what is carried is judged; zero for now
	Timeless bool           // the user says as of when anything is judged
	// Record and RecordBeside are called with the files of the trust root, and of the root
	// beside it.
	Record, RecordBeside func(target bool, name string, data []byte)
	// RecordTargets is called with the files of the roots that rules name, by their names there.
	RecordTargets func(root string, target bool, name string, data []byte)
	// RecordIntroduced returns what is called with those of a root that was introduced; the
	// first one's depth is 1.
	RecordIntroduced func(depth int) func(target bool, name string, data []byte)
}

// Found is a repository's policy with what it was found from.
type Found struct {
	Repository policy.Locator
	Root       trust.Root
	Snapshot   *git.Snapshot
	Resolution *bindings.Resolution
	Demand     chain.Demand
	Files      []bindings.File    // signature files and place proofs
	Directory  *answers.Directory // that was asked; nil without one
	AnchoredBy string             // name of the root; "" for none
	Watch      *Watch             // of the root's logs, and of time

	query   *Query
	answers []bindings.File // of directories, that a registry has beside the files
	facts   []policy.RootFact
}

// Machine is what a program knows of the machine that it runs on.
type Machine struct {
	// StateDir returns the directory for what is remembered between runs, and for TUF
	// metadata; nil for none.
	StateDir func() (string, error)
	// ConfigDir returns the directory of the user's own configuration; "" if there is
	// none, and so does nil.
	ConfigDir func() (string, error)
	Timeout   time.Duration // that a service has for an attempt; 0 for as long as people wait
	// Credential returns how to log in at a registry; nil asks as anybody.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
	// Instance, if set, returns the trusted root of Sigstore's public instance instead of
	// following its TUF repository.
	Instance func(ctx context.Context, how trust.Options) ([]trust.Root, error)
	// Recorded is the same for GitHub's own instance.
	Recorded func(ctx context.Context, how trust.Options) ([]trust.Root, error)
}

type machineKey struct{}

// On returns a context of a run on a machine.
func On(ctx context.Context, m Machine) context.Context {
	return context.WithValue(ctx, machineKey{}, m)
}

// MachineOf returns the machine that a run is on: that of [On], or else this one and its user.
func MachineOf(ctx context.Context) Machine {
	if m, ok := ctx.Value(machineKey{}).(Machine); ok {
		return m
	}
	return Machine{StateDir: UserStateDir, ConfigDir: UserConfigDir}
}

func (f *Finder) say(format string, args ...any) {
	if f.Say != nil {
		f.Say(fmt.Sprintf(format, args...))
	}
}

// begin opens the trusted root, and says which directory there is to ask; nil for none.
func (f *Finder) begin(ctx context.Context, q *Query) (*Found, *answers.Descriptor, error) {
	if err := q.Check(); err != nil {
		return nil, nil, err
	}
	out := &Found{Repository: q.Repository, query: q, Demand: q.Demand, Snapshot: &git.Snapshot{}}
	out.Demand.MaxAge = q.MaxAge
	if q.MaxAge == 0 && !q.Offline {
		out.Demand.MaxAge = DefaultMaxAge
	}
	var err error
	if out.Root, err = f.OneRoot(ctx, q); err != nil {
		return nil, nil, err
	}
	descriptor, err := out.descriptor()
	return out, descriptor, err
}

// Find finds the policy that a question is about. The error is a [*policy.Fault], or says
// that this machine failed.
func (f *Finder) Find(ctx context.Context, q *Query) (*Found, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	begun, kept := f.fetchAhead(ctx, q), false
	defer func() {
		if !kept {
			begun.end()
		}
	}()
	out, descriptor, err := f.begin(ctx, q)
	if err != nil {
		return nil, err
	}
	anchor, by, err := f.anchor(ctx, q)
	if err != nil {
		return nil, err
	}
	out.AnchoredBy = by
	if err := f.read(ctx, out, descriptor != nil, begun); err != nil {
		return nil, err
	}
	kept = true
	state, err := f.State(out.Root)
	if err != nil {
		return nil, err
	}
	if out.Watch, err = f.NewWatch(q, out.Root, state); err != nil {
		return nil, err
	}
	if q.Carried != nil {
		if err := out.Watch.carry(ctx, q.Carried); err != nil {
			return nil, err
		}
	}
	lookups, err := f.lookups(out, descriptor, state)
	if err != nil {
		return nil, err
	}
	r := &bindings.Resolver{
		Root: out.Root.Root, Forges: out.Root.Forges, Lookups: lookups, Trees: out.Watch.trees, Clock: out.Watch.clock,
		Keeper: state, Now: cmp.Or(q.Moment, f.Now()).UTC(), Pin: q.Pin, Anchor: anchor, Index: q.Index,
		Beside: q.Beside,
	}
	if out.Snapshot.Default != "" {
		r.DefaultRefs = []string{out.Snapshot.Default}
	}
	if err := q.Lock.demand(r, q.Repository, state); err != nil {
		return nil, err
	}
	if out.Resolution, err = r.Resolve(ctx, q.Repository, out.Files); errors.As(err, new(*budget.Exceeded)) {
		return nil, policy.Faultf(policy.BudgetExceeded, "%s", err)
	} else if err != nil {
		return nil, err
	}
	return out, f.settle(out, state)
}

// settle looks at what was found as a whole: at the clock, at evidence that somebody lied,
// and at who gave no answer.
func (f *Finder) settle(out *Found, state *memory.State) error {
	q, w := out.query, out.Watch
	w.oneLog = out.Demand.OneLog
	if out.Directory != nil {
		w.staple, w.ask = out.Directory.Stapled(), !q.Offline && !q.Beyond
	}
	if err := w.check(); err != nil {
		return err
	}
	if err := w.clock.Save(state); err != nil {
		return err
	}
	if q.Scan && out.Resolution.Fork == nil {
		for name, err := range out.Resolution.Failed {
			if errors.Is(err, bindings.ErrNoIndex) || out.Directory != nil && name == out.Directory.Name() {
				continue
			}
			return &policy.Fault{
				Reason: policy.BelowRequired, Text: fmt.Sprintf("no answer from the %s: %s", name, err),
				Hint: "try again, or do without --scan: then the index is believed, which may leave out what was bound",
			}
		}
	}
	f.keepEvidence(out.Resolution, state, q)
	return out.unanswered()
}

// keepEvidence stores what shows that somebody signed two things of which one is a lie.
func (f *Finder) keepEvidence(res *bindings.Resolution, state *memory.State, q *Query) {
	keep := func(kind string, data []byte, more ...string) {
		if path, err := state.WriteEvidence(kind, data); err == nil {
			f.say("evidence: %s", q.Trust.judges(path, more...))
		}
	}
	for _, digest := range slices.Sorted(maps.Keys(res.Evidence)) {
		keep("alarm", res.Evidence[digest].Bytes())
	}
	if res.Fork != nil {
		keep("fork", res.Fork.Bytes())
	}
	if res.Lie == nil {
		return
	}
	if q.DirectoryFile == "" { // the root names it
		keep("directory-lie", res.Lie.Bytes())
		return
	}
	keep("directory-lie", res.Lie.Bytes(), "--directory", q.DirectoryFile)
}

// judges says by which command a file of evidence is judged under the same root.
func (t Trust) judges(path string, flags ...string) string {
	words := append([]string{"repopolicy", "evidence", "show"}, flags...)
	for _, file := range t.Files {
		words = append(words, "--trusted-root", file)
	}
	if t.Name != "" {
		words = append(words, "--trust-root", t.Name)
	}
	if t.Config != "" {
		words = append(words, "--trust-config", t.Config)
	}
	for i, w := range words {
		words[i] = spelling.ShellWord(w)
	}
	return "`" + strings.Join(append(words, spelling.ShellWord(path)), " ") + "` judges it on any machine"
}

// Check refuses a question by which no policy can be found.
func (q *Query) Check() error {
	if q.Repository.IsZero() {
		return &policy.Fault{Reason: policy.Usage, Text: "no repository given", Hint: "name it with -R"}
	}
	if q.Lock != nil {
		if err := q.Lock.fits(q); err != nil {
			return err
		}
	}
	if err := q.checkSource(); err != nil {
		return err
	}
	if q.Staple != nil && q.Directory == nil && len(q.Files) > 0 { // a followed root may name a directory
		return stapleAlone()
	}
	return nil
}

// checkSource refuses a question that contradicts itself in where the policy is read.
func (q *Query) checkSource() error {
	switch {
	case q.Offline && q.Scan:
		return policy.Faultf(policy.Usage, "--offline: no log is read, which --scan and --witness-policy demand")
	case q.Clone != "" && q.From != nil:
		return policy.Faultf(policy.Usage, "--git and --from contradict each other")
	case q.From != nil && q.Offline && q.From.Layout == "":
		return &policy.Fault{
			Reason: policy.Usage, Text: "--offline: no registry is asked",
			Hint: "name a layout: oci-layout:DIR",
		}
	case q.From == nil && q.Offline && q.Clone == "" && q.Carried == nil && !q.AtHand:
		return unfetched()
	}
	return nil
}

func unfetched() *policy.Fault {
	return &policy.Fault{
		Reason: policy.Usage, Text: "--offline: the repository cannot be fetched",
		Hint: "name a clone of it with --git DIR",
	}
}

// State opens what is remembered under a root.
func (f *Finder) State(root trust.Root) (*memory.State, error) {
	name := root.Identity
	if name == "" {
		name = root.Digest().Hex
	}
	name = name[:min(len(name), 32)]
	if f.Store != nil {
		return memory.StateIn(below{f.Store, "state/" + name + "/"}), nil
	}
	dir, err := f.StateDir()
	if err != nil {
		return nil, fmt.Errorf("no directory to keep state in: %w", err)
	}
	return memory.OpenState(filepath.Join(dir, "state", name))
}

// below is a store in which all names begin with a directory.
type below struct {
	memory.Store
	dir string
}

func (b below) Load(name string) ([]byte, error) { return b.Store.Load(b.dir + name) }

func (b below) Swap(name string, old, next []byte) (bool, error) {
	return b.Store.Swap(b.dir+name, old, next)
}
