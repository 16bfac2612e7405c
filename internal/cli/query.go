// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

func (a *app) machine() find.Machine {
	return find.Machine{StateDir: a.StateDir, ConfigDir: a.ConfigDir, Timeout: a.Timeout, Credential: a.Credential, Instance: a.Root}
}

// finder returns what finds policies on this machine.
func (a *app) finder() *find.Finder {
	f := &find.Finder{
		Machine: a.machine(), Now: a.Now, Transport: a.Transport, Agent: userAgent(),
		Say: func(line string) { a.err.Line("%s", line) },
	}
	if a.Terminal {
		f.Progress = func(log string, done, total int64) { a.err.Status("reading %s: %d of %d", log, done, total) }
	}
	return f
}

// rootOptions are the flags that say what is trusted.
type rootOptions struct {
	roots             []string // trusted_root.json files
	rootName, rootMap typed
}

const rootUsage = "trust this trusted_root.json `FILE` instead of Sigstore's public instance"

// rootFlags defines the flags; more is what several files mean.
func (o *rootOptions) rootFlags(cmd *cobra.Command, more string) {
	f := cmd.Flags()
	o.rootName.name, o.rootMap.name = "NAME", "FILE"
	f.StringArrayVar(&o.roots, "trusted-root", nil, rootUsage+more)
	f.Var(&o.rootName, "trust-root", "trust the root of this name in your trust.toml alone")
	f.Var(&o.rootMap, "trust-config", "read this file instead of trust.toml in your configuration directory")
}

// trust says what the flags trust.
func (o *rootOptions) trust() *find.Trust {
	return &find.Trust{Files: o.roots, Name: o.rootName.value, Config: o.rootMap.value}
}

// repoOptions are the flags of verbs that find a repository's policy.
type repoOptions struct {
	repo, git, require, maxAge, pin, lock typed
	witnesses, directory, staple, from    typed
	rootOptions
	offline, scan, failOnAlarm bool

	carried              *airgap.Bundle                              // judge by this instead of a repository
	record, recordBeside func(target bool, name string, data []byte) // of the trust root's files, and of the root beside it
	branchOf             func(policy.Locator) string                 // default branch, where a clone does not know it; nil for none
	read                 map[string][]byte                           // files that were read, by path
	fresh                bool                                        // nothing that is at hand saves asking
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

// directoryFlags are the flags about a directory and its answers.
func (o *repoOptions) directoryFlags(f *pflag.FlagSet) {
	o.directory.name = "FILE"
	f.Var(&o.directory, "directory", "look the repository up in the directory that this descriptor names, and demand at least its signed word")
}

func (o *repoOptions) stapleFlag(f *pflag.FlagSet) {
	o.staple.name = "FILE"
	f.Var(&o.staple, "staple", "use this answer of the directory instead of asking it, whatever its age")
}

func (o *repoOptions) fromFlag(cmd *cobra.Command) {
	o.from.name = "REFERENCE"
	cmd.Flags().Var(&o.from, "from", "read the policy from this registry (oci:…) or layout (oci-layout:…), or from what is attached to an image there, instead of the repository")
}

// sources are the flags that verify has already.
func (o *repoOptions) sources(cmd *cobra.Command) {
	o.git.name = "DIR"
	cmd.Flags().Var(&o.git, "git", "read the repository from this clone instead of fetching it")
	o.fromFlag(cmd)
	o.rootFlags(cmd, "")
	cmd.Flags().BoolVar(&o.offline, "offline", false, "do not use the network")
}

// find finds the policy of the repository that the flags name.
func (a *app) find(ctx context.Context, o *repoOptions) (*find.Found, error) {
	q, err := a.query(o, false)
	if err != nil {
		return nil, err
	}
	return a.finder().Find(ctx, q)
}

// checkFind refuses flags by which no policy can be found. Joined says that several
// roots may judge the repository.
func (a *app) checkFind(o *repoOptions, joined bool) error {
	_, err := a.query(o, joined)
	return err
}

// query reads the flags, and refuses those by which no policy can be found.
func (a *app) query(o *repoOptions, joined bool) (*find.Query, error) {
	q, err := o.query()
	if err != nil {
		return nil, err
	}
	if !o.repo.set {
		return q, a.isClone(o)
	}
	if q.Lock != nil && q.Lock.Repository != q.Repository.String() {
		return nil, policy.Faultf(policy.Usage, "--lock: %s is about %s", o.lock.value, q.Lock.Repository)
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := a.isClone(o); err != nil {
		return nil, err
	}
	if !joined {
		_, _, err = a.finder().RootOf(&q.Trust, q.Repository)
	}
	return q, err
}

// isClone refuses a clone that is none.
func (a *app) isClone(o *repoOptions) error {
	if !o.git.set {
		return nil
	}
	r, err := git.Open(cmp.Or(a.ctx, context.Background()), o.git.value)
	if err != nil {
		return find.GitFault(err)
	}
	r.Close()
	return nil
}

// query reads the flags and the files that they name.
func (o *repoOptions) query() (*find.Query, error) {
	q := &find.Query{
		Trust: *o.trust(), Clone: o.git.value, BranchOf: o.branchOf, Scan: o.scan, Offline: o.offline, Fresh: o.fresh,
		Carried: o.carried, Record: o.record, RecordBeside: o.recordBeside,
	}
	var err error
	if o.repo.set {
		if q.Repository, err = policy.NormalizeLocator(o.repo.value); err != nil {
			return nil, &policy.Fault{
				Reason: policy.Usage, Text: "--repo: " + err.Error(),
				Hint: "write it like https://github.com/acme/widget or acme/widget",
			}
		}
	}
	if err := o.demand(q); err != nil {
		return nil, err
	}
	if o.pin.set {
		if d, err := policy.ParseDigest(o.pin.value); err != nil || d.Alg != "sha256" {
			return nil, policy.Faultf(policy.Usage, "--pin: not a digest like sha256:…")
		}
		q.Pin = strings.TrimPrefix(o.pin.value, "sha256:")
	}
	if o.lock.set {
		if q.Lock, err = o.readLock(); err != nil {
			return nil, err
		}
	}
	if o.directory.set {
		if q.Directory, err = o.readDescriptor(); err != nil {
			return nil, err
		}
		q.DirectoryFile = o.directory.value
	}
	if o.staple.set {
		if q.Staple, err = o.readStaple(); err != nil {
			return nil, err
		}
	}
	if o.from.set {
		if q.From, err = o.fromReference(); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// demand reads the flags that say how much has to be known.
func (o *repoOptions) demand(q *find.Query) error {
	q.Demand = chain.Demand{FailOnAlarm: o.failOnAlarm}
	if o.require.set {
		d, err := q.Demand.ParseRequire(o.require.value)
		if err != nil {
			return policy.Faultf(policy.Usage, "--require: %s", err)
		}
		q.Demand = d
	}
	if o.maxAge.set {
		d, err := time.ParseDuration(o.maxAge.value)
		if err != nil || d <= 0 {
			return &policy.Fault{Reason: policy.Usage, Text: "--max-age: not a duration", Hint: "write it like 24h"}
		}
		q.MaxAge = d
	}
	if o.witnesses.set {
		data, err := o.file(o.witnesses.value, rekorbind.MaxWitnessPolicyBytes)
		if err != nil {
			return policy.Faultf(policy.Usage, "--witness-policy: %s", err)
		}
		if q.Witnesses, err = rekorbind.ParseWitnessPolicy(data); err != nil {
			return policy.Faultf(policy.Usage, "--witness-policy: %s: %s", o.witnesses.value, err)
		}
		q.Scan = true
	}
	return nil
}

// fromReference reads --from.
func (o *repoOptions) fromReference() (*oci.Reference, error) {
	if o.git.set {
		return nil, policy.Faultf(policy.Usage, "--git and --from contradict each other")
	}
	ref, err := oci.ParseReference(o.from.value)
	if err != nil {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--from: " + err.Error(),
			Hint: "write it like oci:registry.example.com/acme/widget:policy",
		}
	}
	return &ref, nil
}

// file reads a file that a flag names, once.
func (o *repoOptions) file(path string, limit int64) ([]byte, error) {
	if data, ok := o.read[path]; ok {
		return data, nil
	}
	data, err := file.Read(path, limit)
	if err == nil {
		if o.read == nil {
			o.read = map[string][]byte{}
		}
		o.read[path] = append([]byte{}, data...) // never nil
	}
	return data, err
}

func (o *repoOptions) readStaple() ([]byte, error) {
	data, err := o.file(o.staple.value, rekorbind.MaxAnswerBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--staple: %s", err)
	}
	return append([]byte{}, data...), nil // never nil
}

func (o *repoOptions) readLock() (*find.Lock, error) {
	data, err := o.file(o.lock.value, find.MaxLockBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--lock: %s", err)
	}
	l, err := find.ParseLock(data)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--lock: %s: %s", o.lock.value, err)
	}
	return l, nil
}

func (o *repoOptions) readDescriptor() (*rekorbind.Descriptor, error) {
	data, err := o.file(o.directory.value, rekorbind.MaxDescriptorBytes)
	return parseDescriptor("--directory", o.directory.value, data, err)
}

func readDescriptor(path string) (*rekorbind.Descriptor, error) {
	return readDescriptorOf("--directory", path)
}

func readDescriptorOf(flag, path string) (*rekorbind.Descriptor, error) {
	data, err := file.Read(path, rekorbind.MaxDescriptorBytes)
	return parseDescriptor(flag, path, data, err)
}

func parseDescriptor(flag, path string, data []byte, err error) (*rekorbind.Descriptor, error) {
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s: %s", flag, err)
	}
	d, err := rekorbind.ParseDescriptor(data)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "%s: %s: %s", flag, path, err)
	}
	return d, nil
}

// warn prints what is not part of the verdict but should be known.
func (a *app) warn(f *find.Found) {
	for _, line := range f.Warnings() {
		a.err.Line("%s", line)
	}
}
