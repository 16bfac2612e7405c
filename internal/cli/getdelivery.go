// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// evidenceSuffix is how the target is called that is evidence for another one.
const evidenceSuffix = ".sigstore.json"

// delivery brings one target to its place: it grows in a private directory beside that, is compared with the
// metadata, judged by a policy where there is one, and then gets its name.
type delivery struct {
	*getting
	client  *tuf.Client
	target  tuf.TargetFile
	of      *trust.ReleaseOf // that the metadata names; nil for none
	scratch *file.Scratch

	content  *os.File
	name     string // of the content in the private directory
	sum      [sha256.Size]byte
	whole    os.FileInfo // the content when all of it was compared with the metadata
	question *question   // nil if no policy is consulted
	flags    *verifyOptions
	policy   *repopolicy.Policy
}

func (d *delivery) run(ctx context.Context) (err error) {
	d.name = sumOf(d.target) + ".partial"
	defer func() { err = errors.Join(err, d.tidy(err)) }()
	there, err := d.sameContent(ctx)
	if err != nil {
		return local(err)
	}
	if err := d.scratch.Only(d.name); err != nil { // what is of another version is of no use
		return command.Unwritten(err)
	}
	if d.content, err = d.scratch.Open(d.name); err != nil {
		return command.Unwritten(err)
	}
	defer func() { err = errors.Join(err, d.content.Close()) }()
	if err := d.ask(ctx); err != nil {
		return err
	}
	if there != nil {
		if err := d.copy(ctx); err != nil {
			return local(err)
		}
	}
	if err := d.download(ctx); err != nil {
		return err
	}
	said, err := d.judge(ctx)
	if err != nil {
		return err
	}
	if err := d.deliver(there); err != nil {
		return err
	}
	return said()
}

// local is the fault of an error of this machine, unless it is one already.
func local(err error) error {
	if err == nil || errors.As(err, new(*policy.Fault)) || errors.Is(err, context.Canceled) {
		return err
	}
	return command.Unwritten(err)
}

// tidy removes the private directory, unless what is in it is of use to the next run.
func (d *delivery) tidy(err error) error {
	class := policy.ClassOK
	if f := command.FaultOf(err); f != nil {
		class = f.Reason.Class()
	} else if decided := new(command.Decided); errors.As(err, decided) {
		class = decided.Class
	}
	info, serr := os.Stat(d.scratch.Path(d.name))
	useful := serr == nil && info.Size() > 0
	if useful && (class == policy.ClassUnavailable || class == policy.ClassAuth) {
		return d.scratch.Only(d.name)
	}
	return d.scratch.Remove()
}

// ask finds the policy by which the target is judged, if a repository is named, before anything is downloaded.
func (d *delivery) ask(ctx context.Context) (err error) {
	if d.of == nil && d.repo.IsZero() {
		return nil
	}
	v := d.judging()
	if d.of != nil {
		if !v.policy.Given {
			v.Repo.Value, v.Repo.Given = d.of.Repository.String(), true
		}
		if d.of.Tag != "" {
			v.tag.Value, v.tag.Given = d.of.Tag, true
		}
	}
	d.flags = v
	if d.question, err = d.app.question(v, []string{d.scratch.Path(d.name)}); err != nil {
		return err
	}
	d.policy, err = d.question.policy(find.On(ctx, d.Machine()))
	return err
}

// copy begins with the file that is there, which has the content.
func (d *delivery) copy(ctx context.Context) error {
	f, err := d.scratch.There()
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	resume := budget.Pause(ctx)
	defer resume()
	if err := d.content.Truncate(0); err != nil {
		return err
	}
	if _, err := d.content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(d.content, io.LimitReader(f, d.target.Length))
	return err
}

// download reads the target.
func (d *delivery) download(ctx context.Context) error {
	t := d.target
	tell, done := d.progress(t.Length)
	resume := budget.Pause(ctx)
	var err error
	d.sum, err = d.client.Download(ctx, t, d.content, tell)
	resume()
	done()
	if own := new(tuf.LocalError); errors.As(err, &own) {
		return command.Unwritten(own.Err)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return policy.Faultf(policy.Interrupted, "%s", err)
	case errors.Is(err, tuf.ErrMismatch):
		return &policy.Fault{
			Reason: policy.ArtifactMismatch, Text: fmt.Sprintf("%s: %s", d.address, err),
			Hint: "what was downloaded is not what was signed, and was removed; try again, and if it stays tell who keeps it",
		}
	case err != nil:
		return &policy.Fault{
			Reason: policy.ReleaseUnreachable, Text: fmt.Sprintf("%s: %s", d.address, err),
			Hint: "run the command again: it goes on where it stopped",
		}
	}
	if err := d.content.Sync(); err != nil {
		return command.Unwritten(err)
	}
	d.whole, err = d.content.Stat()
	return local(err)
}

// progress returns what is told how much there is.
func (d *delivery) progress(size int64) (tell func(int64), done func()) {
	d.Quiet = d.options.quiet
	if !d.options.quiet {
		d.Err.Line("getting %s: %d bytes", d.address, size)
	}
	return func(have int64) { d.Meter().Tell("getting "+d.name, command.Bytes, have, size) }, d.Meter().Stop
}

// judge judges the content by the policy. A verdict that allows it is printed by say, when it has its name.
func (d *delivery) judge(ctx context.Context) (say func() error, err error) {
	if d.question == nil {
		return func() error {
			if !d.options.quiet {
				d.Out.Line("%s: by TUF alone; no policy was consulted", d.address)
			}
			return nil
		}, nil
	}
	if err := d.evidence(ctx); err != nil {
		return nil, err
	}
	if err := d.asOne(); err != nil {
		return nil, err
	}
	q := d.question
	stop := d.watch(q, d.policy)
	v, err := q.client.Verify(find.On(ctx, d.Machine()), d.policy, q.judged...)
	stop()
	if err != nil {
		return nil, err
	}
	entries := d.renamed(v.Entries())
	say = func() error { return d.say(ctx, q, v, slices.Values(entries), false) }
	if !v.OK() {
		if err := say(); err != nil {
			d.Report(err)
		}
		return nil, command.Decided{Class: v.Class()}
	}
	return say, d.isJudged(entries)
}

// asOne lets a checksum file be judged by its digest: as a file it would stand for what it lists.
func (d *delivery) asOne() (err error) {
	path := d.scratch.Path(d.name)
	if !release.IsSums(path) {
		return nil
	}
	if _, err := os.Lstat(path + evidenceSuffix); err == nil {
		d.flags.bundles = []string{path + evidenceSuffix}
	}
	client := d.question.client
	d.question, err = d.app.question(d.flags, []string{"sha256:" + hex.EncodeToString(d.sum[:])})
	if err == nil {
		d.question.client = client
	}
	return err
}

// evidence writes the target that is evidence beside the content, where verify looks for it.
func (d *delivery) evidence(ctx context.Context) error {
	name := d.target.Name + evidenceSuffix
	data, err := d.client.Target(ctx, name)
	switch {
	case errors.Is(err, tuf.ErrNoTarget):
		return nil
	case errors.Is(err, tuf.ErrMismatch):
		return policy.Faultf(policy.ArtifactMismatch, "%s", err)
	case err != nil:
		return policy.Faultf(policy.EvidenceUnreachable, "%s", err)
	}
	return local(d.scratch.Write(d.name+evidenceSuffix, data))
}

// renamed returns the entries with the address in the place of the private file.
func (d *delivery) renamed(entries []repopolicy.Entry) []repopolicy.Entry {
	private := map[string]string{
		d.scratch.Path(d.name):                  d.address.String(),
		d.scratch.Path(d.name + evidenceSuffix): d.address.String() + evidenceSuffix,
	}
	private["sha256:"+hex.EncodeToString(d.sum[:])] = d.address.String()
	public := func(s *string) {
		if name, ok := private[*s]; ok {
			*s = name
		}
	}
	for i := range entries {
		e := &entries[i]
		public(&e.Input)
		public(&e.For)
		if e.Result == nil {
			continue
		}
		public(&e.Result.Artifact)
		for _, ev := range append([]*repopolicy.Evidence{e.Result.Evidence}, e.Result.Others...) {
			if ev != nil {
				public(&ev.Path)
			}
		}
	}
	return entries
}

// isJudged returns an error unless the one thing that was judged is what was downloaded.
func (d *delivery) isJudged(entries []repopolicy.Entry) error {
	judged, same := 0, 0
	for _, e := range entries {
		if e.Fate != "judged" {
			continue
		}
		judged++
		if slices.Contains(e.Result.Digests, policy.Digest{Alg: "sha256", Hex: hex.EncodeToString(d.sum[:])}) {
			same++
		}
	}
	if judged != 1 || same != 1 {
		return policy.Faultf(policy.ArtifactChanged, "%s: what was judged is not what the metadata lists", d.address)
	}
	return nil
}

// deliver gives the content its name. There is the file that had the same content already; nil for none.
func (d *delivery) deliver(there os.FileInfo) error {
	now, err := d.content.Stat()
	if err != nil {
		return local(err)
	}
	if !asItWas(d.whole, now) {
		return policy.Faultf(policy.ArtifactChanged, "%s was written to after it was judged", d.scratch.Path(d.name))
	}
	if there != nil {
		f, err := d.scratch.There()
		if err != nil || f == nil {
			return policy.Faultf(policy.ArtifactChanged, "%s was removed while it was judged", d.output)
		}
		defer f.Close()
		if now, err := f.Stat(); err != nil || !os.SameFile(there, now) || !asItWas(there, now) {
			return policy.Faultf(policy.ArtifactChanged, "%s was written to while it was judged", d.output)
		}
		if !d.options.quiet {
			d.Err.Line("%s was there already", d.output)
		}
		return nil
	}
	err = d.scratch.Give(d.name, d.content, d.options.force)
	switch {
	case isExist(err):
		return policy.Faultf(policy.Usage, "%s came into being meanwhile, and is not replaced", d.output)
	case err != nil:
		return command.Unwritten(err)
	}
	d.wrote()
	return nil
}

func asItWas(a, b os.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
