// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Machine returns the machine as those see it who find policies.
func (r *Run) Machine() find.Machine {
	return find.Machine{
		StateDir:   r.StateDir,
		ConfigDir:  r.ConfigDir,
		Timeout:    r.Timeout,
		Credential: r.Credential,
		Instance:   r.Root,
	}
}

// Finder returns what finds policies on this machine.
func (r *Run) Finder() *find.Finder {
	return &find.Finder{
		Machine: r.Machine(), Now: r.Now, Transport: r.Transport, Agent: UserAgent(),
		Say:      func(line string) { r.Err.Line("%s", line) },
		Progress: func(log string, done, total int64) { r.Meter().Tell("reading "+log, Entries, done, total) },
	}
}

// Roots are the flags that say what is trusted.
type Roots struct {
	TrustedRoots           []string // trusted_root.json files
	TrustRoot, TrustConfig Once
}

const rootUsage = "trust this trusted_root.json `FILE` instead of Sigstore's public instance"

// RootFlags defines the flags; more is what several files mean.
func (o *Roots) RootFlags(cmd *cobra.Command, more string) {
	f := cmd.Flags()
	o.TrustRoot.Kind, o.TrustConfig.Kind = "NAME", "FILE"
	f.Var((*List)(&o.TrustedRoots), "trusted-root", rootUsage+more)
	f.Var(&o.TrustRoot, "trust-root", "trust the root of this name in your trust.toml alone")
	f.Var(&o.TrustConfig, "trust-config", "read this file instead of trust.toml in your configuration directory")
}

// Trust says what the flags trust.
func (o *Roots) Trust() *find.Trust {
	return &find.Trust{Files: o.TrustedRoots, Name: o.TrustRoot.Value, Config: o.TrustConfig.Value}
}

// Lookup are the flags of verbs that find a repository's policy.
type Lookup struct {
	Repo, Git, Require, MaxAge, Pin, Lock Once
	Witnesses, Directory, Staple, From    Once
	Roots
	Offline, Scan, FailOnAlarm bool

	Carried *airgap.Bundle // judge by this instead of a repository
	// Record and RecordBeside get the files of the trust root, and of the root beside it.
	Record, RecordBeside func(target bool, name string, data []byte)
	RecordTargets        func(root string, target bool, name string, data []byte)    // of roots that rules name
	RecordIntroduced     func(depth int) func(target bool, name string, data []byte) // of those that it introduces
	// BranchOf returns the default branch, where a clone does not know it; nil for none.
	BranchOf func(policy.Locator) string
	Read     map[string][]byte // files that were read, by path
	Fresh    bool              // nothing that is at hand saves asking
}

// Flags defines the flags.
func (o *Lookup) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.Repo.Kind, o.Require.Kind, o.MaxAge.Kind, o.Pin.Kind, o.Lock.Kind = "URL", "LABELS", "DURATION", "sha256:HEX", "FILE"
	f.VarP(&o.Repo, "repo", "R", "judge by the policy that this repository bound: a URL, or OWNER/NAME on github.com")
	f.Var(&o.Require, "require",
		"proceed with this much knowledge: labels of genesis (pinned, anchored, first, claimed) and"+
			" completeness (proven, signed, scanned, hinted, none), and one-log to demand also off-line"+
			" that each log is shown to be of one history; separated by commas")
	f.Var(&o.MaxAge, "max-age", "refuse what is known from longer ago, such as 24h; off with --offline")
	f.Var(&o.Pin, "pin", "demand that the repository's first statement has this digest")
	f.Var(&o.Lock, "lock", "demand what this lock file names")
	f.BoolVar(&o.Scan, "scan", false,
		"read all entries of Rekor v2 instead of asking an index; the first time takes as long as the log is large")
	o.Witnesses.Kind = "FILE"
	f.Var(&o.Witnesses, "witness-policy",
		"demand that the witnesses of this policy cosigned what Rekor v2 shows; implies --scan")
	o.DirectoryFlags(f)
	o.StapleFlag(f)
	f.BoolVar(&o.FailOnAlarm, "fail-on-alarm", false, "let every alarm decide")
}

// Any reports whether a flag that needs --repo was given.
func (o *Lookup) Any() bool {
	return o.Require.Given || o.MaxAge.Given || o.Pin.Given || o.Lock.Given || o.Witnesses.Given ||
		o.Directory.Given || o.Staple.Given || o.From.Given || o.Scan || o.FailOnAlarm
}

// DirectoryFlags defines the flags about a directory and its answers.
func (o *Lookup) DirectoryFlags(f *pflag.FlagSet) {
	o.Directory.Kind = "FILE"
	f.Var(&o.Directory, "directory",
		"look the repository up in the directory that this descriptor names, and demand at least its signed word")
}

// StapleFlag defines --staple.
func (o *Lookup) StapleFlag(f *pflag.FlagSet) {
	o.Staple.Kind = "FILE"
	f.Var(&o.Staple, "staple", "use this answer of the directory instead of asking it, whatever its age")
}

// FromFlag defines --from.
func (o *Lookup) FromFlag(cmd *cobra.Command) {
	o.From.Kind = "REFERENCE"
	cmd.Flags().Var(&o.From, "from", "read the policy from this registry (oci:…) or layout (oci-layout:…),"+
		" or from what is attached to an image there, instead of the repository")
}

// SourceFlags defines the flags that verify has already.
func (o *Lookup) SourceFlags(cmd *cobra.Command) {
	o.Git.Kind = "DIR"
	cmd.Flags().Var(&o.Git, "git", "read the repository from this clone instead of fetching it")
	o.FromFlag(cmd)
	o.RootFlags(cmd, "")
	cmd.Flags().BoolVar(&o.Offline, "offline", false, "do not use the network")
}

// Find finds the policy of the repository that the flags name.
func (r *Run) Find(ctx context.Context, o *Lookup) (*find.Found, error) {
	q, err := r.Query(o, false)
	if err != nil {
		return nil, err
	}
	return r.Finder().Find(ctx, q)
}

// CheckFind refuses flags by which no policy can be found. Joined says that several
// roots may judge the repository.
func (r *Run) CheckFind(o *Lookup, joined bool) error {
	_, err := r.Query(o, joined)
	return err
}

// Query reads the flags, and refuses those by which no policy can be found.
func (r *Run) Query(o *Lookup, joined bool) (*find.Query, error) {
	q, err := o.query()
	if err != nil {
		return nil, err
	}
	if !o.Repo.Given {
		return q, r.isClone(o)
	}
	if q.Lock != nil && q.Lock.Repository != q.Repository.String() {
		return nil, policy.Faultf(policy.Usage, "--lock: %s is about %s", o.Lock.Value, q.Lock.Repository)
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := r.isClone(o); err != nil {
		return nil, err
	}
	if !joined {
		_, _, err = r.Finder().RootOf(&q.Trust, q.Repository)
	}
	return q, err
}

// isClone refuses a clone that is none.
func (r *Run) isClone(o *Lookup) error {
	if !o.Git.Given {
		return nil
	}
	clone, err := git.Open(cmp.Or(r.ctx, context.Background()), o.Git.Value)
	if err != nil {
		return find.GitFault(err)
	}
	clone.Close()
	return nil
}

// query reads the flags and the files that they name.
func (o *Lookup) query() (*find.Query, error) {
	q := &find.Query{
		Trust: *o.Trust(), Clone: o.Git.Value, BranchOf: o.BranchOf, Scan: o.Scan, Offline: o.Offline, Fresh: o.Fresh,
		Carried: o.Carried, Record: o.Record, RecordBeside: o.RecordBeside,
		RecordTargets:    o.RecordTargets,
		RecordIntroduced: o.RecordIntroduced,
	}
	var err error
	if o.Repo.Given {
		if q.Repository, err = policy.NormalizeLocator(o.Repo.Value); err != nil {
			return nil, notRepository(o.Repo.Value, err)
		}
	}
	if err := o.demand(q); err != nil {
		return nil, err
	}
	if o.Pin.Given {
		if d, err := policy.ParseDigest(o.Pin.Value); err != nil || d.Alg != "sha256" {
			return nil, policy.Faultf(policy.Usage, "--pin: not a digest like sha256:…")
		}
		q.Pin = strings.TrimPrefix(o.Pin.Value, "sha256:")
	}
	if o.Lock.Given {
		if q.Lock, err = o.ReadLock(); err != nil {
			return nil, err
		}
	}
	if o.Directory.Given {
		if q.Directory, err = o.readDescriptor(); err != nil {
			return nil, err
		}
		q.DirectoryFile = o.Directory.Value
	}
	if o.Staple.Given {
		if q.Staple, err = o.readStaple(); err != nil {
			return nil, err
		}
	}
	if o.From.Given {
		if q.From, err = o.fromReference(); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// demand reads the flags that say how much has to be known.
func (o *Lookup) demand(q *find.Query) error {
	q.Demand = chain.Demand{FailOnAlarm: o.FailOnAlarm}
	if o.Require.Given {
		d, err := q.Demand.ParseRequire(o.Require.Value)
		if err != nil {
			return policy.Faultf(policy.Usage, "--require: %s", err)
		}
		q.Demand = d
	}
	if o.MaxAge.Given {
		d, err := time.ParseDuration(o.MaxAge.Value)
		if err != nil || d <= 0 {
			return &policy.Fault{Reason: policy.Usage, Text: "--max-age: not a duration", Hint: "write it like 24h"}
		}
		q.MaxAge = d
	}
	if o.Witnesses.Given {
		data, err := o.file(o.Witnesses.Value, rekor.MaxWitnessPolicyBytes)
		if err != nil {
			return policy.Faultf(policy.Usage, "--witness-policy: %s", err)
		}
		if q.Witnesses, err = rekor.ParseWitnessPolicy(data); err != nil {
			return policy.Faultf(policy.Usage, "--witness-policy: %s: %s", o.Witnesses.Value, err)
		}
		q.Scan = true
	}
	return nil
}

// fromReference reads --from.
func (o *Lookup) fromReference() (*oci.Reference, error) {
	if o.Git.Given {
		return nil, policy.Faultf(policy.Usage, "--git and --from contradict each other")
	}
	ref, err := oci.ParseReference(o.From.Value)
	if err != nil {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--from: " + err.Error(),
			Hint: "write it like oci:registry.example.com/acme/widget:policy",
		}
	}
	return &ref, nil
}

// file reads a file that a flag names, once.
func (o *Lookup) file(path string, limit int64) ([]byte, error) {
	if data, ok := o.Read[path]; ok {
		return data, nil
	}
	data, err := file.Read(path, limit)
	if err == nil {
		if o.Read == nil {
			o.Read = map[string][]byte{}
		}
		o.Read[path] = append([]byte{}, data...) // never nil
	}
	return data, err
}

func (o *Lookup) readStaple() ([]byte, error) {
	data, err := o.file(o.Staple.Value, answers.MaxAnswerBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--staple: %s", err)
	}
	return append([]byte{}, data...), nil // never nil
}

// ReadLock reads the file of --lock.
func (o *Lookup) ReadLock() (*find.Lock, error) {
	data, err := o.file(o.Lock.Value, find.MaxLockBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--lock: %s", err)
	}
	l, err := find.ParseLock(data)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--lock: %s: %s", o.Lock.Value, err)
	}
	return l, nil
}

func (o *Lookup) readDescriptor() (*answers.Descriptor, error) {
	data, err := o.file(o.Directory.Value, answers.MaxDescriptorBytes)
	return parseDescriptor("--directory", o.Directory.Value, data, err)
}

// ReadDescriptor reads the descriptor of a directory that a flag names.
func ReadDescriptor(flag, path string) (*answers.Descriptor, error) {
	data, err := file.Read(path, answers.MaxDescriptorBytes)
	return parseDescriptor(flag, path, data, err)
}

func parseDescriptor(flag, path string, data []byte, err error) (*answers.Descriptor, error) {
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s: %s", flag, err)
	}
	d, err := answers.ParseDescriptor(data)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s: %s: %s", flag, path, err)
	}
	return d, nil
}

// Warn prints what is not part of the verdict but should be known.
func (r *Run) Warn(f *find.Found) {
	for _, line := range f.Warnings(r.Now()) {
		r.Err.Line("%s", line)
	}
}

// InForce resolves the policy for a verb that copies it: one that verify would judge by.
func (r *Run) InForce(ctx context.Context, o *Lookup) (*find.Found, error) {
	f, err := r.Find(ctx, o)
	if err != nil {
		return nil, err
	}
	r.Warn(f)
	if err := f.Usable(r.Now()); err != nil {
		return nil, err
	}
	return f, nil
}

// notRepository says why a text names no repository, and what to write.
func notRepository(s string, err error) error {
	f := &policy.Fault{
		Reason: policy.Usage, Text: "--repo: " + err.Error(),
		Hint: "write it like https://github.com/acme/widget or acme/widget",
	}
	if better := meantRepository(s); better != "" {
		f.Hint = "write " + better
	}
	return f
}

// meantRepository returns what to write instead of a repository without its scheme, or of a page of
// one; "" where that cannot be told.
func meantRepository(s string) string {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		rest = s
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if len(parts) < 3 || !strings.Contains(parts[0], ".") {
		return ""
	}
	l, err := policy.NormalizeLocator("https://" + strings.Join(parts[:3], "/"))
	if err != nil || len(parts) > 3 && l.Host() != "github.com" && l.Host() != "codeberg.org" {
		return ""
	}
	return l.String()
}
