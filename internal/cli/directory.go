// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// directoryFlags are the flags about a directory and its answers.
func (o *repoOptions) directoryFlags(f *pflag.FlagSet) {
	o.directory.name = "FILE"
	f.Var(&o.directory, "directory", "look the repository up in the directory that this descriptor names, and demand at least its signed word")
}

func (o *repoOptions) stapleFlag(f *pflag.FlagSet) {
	o.staple.name = "FILE"
	f.Var(&o.staple, "staple", "use this answer of the directory instead of asking it, whatever its age")
}

// readDirectory reads the descriptor, or takes that of the trusted root, and says what is
// demanded with it.
func (f *found) readDirectory(o *repoOptions) error {
	var err error
	f.described = o.directory.value
	if o.described = f.root.Directory; o.directory.set {
		if o.described, err = readDescriptor(o.directory.value); err != nil {
			return err
		}
	}
	if o.described == nil {
		if o.staple.set {
			return stapleAlone()
		}
		return nil
	}
	if o.carried != nil {
		o.stapled = o.carried.Answer
	}
	if o.staple.set {
		if o.stapled, err = o.readStaple(); err != nil {
			return err
		}
		if !o.maxAge.set {
			f.demand.MaxAge = 0
		}
	}
	if f.demand.Completeness == "" { // who drops its answers must not be better off
		f.demand.Completeness = chain.CompleteSigned
	}
	return nil
}

func stapleAlone() *fault {
	return &fault{reason: policy.Usage, msg: "--staple without --directory", hint: "the descriptor says whose key signed it"}
}

func (o *repoOptions) readStaple() ([]byte, error) {
	data, err := file.Read(o.staple.value, rekorbind.MaxAnswerBytes)
	if err != nil {
		return nil, faultf(policy.Usage, "--staple: %s", err)
	}
	return data, nil
}

func readDescriptor(path string) (*rekorbind.Descriptor, error) {
	return readDescriptorOf("--directory", path)
}

func readDescriptorOf(flag, path string) (*rekorbind.Descriptor, error) {
	data, err := file.Read(path, rekorbind.MaxDescriptorBytes)
	if err != nil {
		return nil, faultf(policy.Usage, "%s: %s", flag, err)
	}
	d, err := rekorbind.ParseDescriptor(data)
	if err != nil {
		return nil, faultf(policy.Usage, "%s: %s: %s", flag, path, err)
	}
	return d, nil
}

// inDirectory returns the look-up in the directory: with what is stapled, to the
// command line or else to the repository, and unless off-line with whom to ask.
func (a *app) inDirectory(o *repoOptions, f *found, state *rekorbind.State) (*rekorbind.Directory, error) {
	d := &rekorbind.Directory{Root: f.root.Root, Forges: f.root.Forges, Descriptor: o.described, Staple: o.stapled, Heads: state, Now: func() time.Time { return a.Now().UTC() }}
	if o.carried != nil {
		d.Pages = o.carried.Pages
	}
	if d.Staple == nil || o.beyond {
		d.Staple, d.StapleAge = nil, f.demand.MaxAge
		var err error
		if !o.beyond && !o.fresh {
			d.Staple, err = f.staple()
		}
		if err != nil {
			return nil, gitFault(err)
		}
		if !o.offline {
			if d.Client, err = web.New(o.described.URL, a.Transport, userAgent()); err != nil {
				return nil, err
			}
			if a.Timeout > 0 {
				d.Client.SetTimeout(a.Timeout)
			}
		}
	}
	return d, nil
}

// staple returns the answer that the repository or a registry keeps beside the policy, of
// several the newest by its own word; nil if there is none.
func (f *found) staple() ([]byte, error) {
	name := rekorbind.StapleName(f.root.Root, f.root.Forges)
	var newest []byte
	last := int64(-1)
	for _, file := range f.answers {
		if file.Name != name {
			continue
		}
		if a, err := rekorbind.ParseAnswer(file.Data); err == nil && a.Index > last {
			newest, last = file.Data, a.Index
		}
	}
	if newest != nil {
		return newest, nil
	}
	files, err := f.snapshot.Dir("refs/heads/"+rekorbind.BindingBranch, rekorbind.StapleDir, func(n string) bool { return n == name })
	if err != nil || len(files) != 1 {
		return nil, err
	}
	return files[0].Data, nil
}

// unanswered returns the fault that the directory gave no answer, where that
// decides. One that lied or forked is an alarm of the chain.
func (f *found) unanswered(o *repoOptions, d *rekorbind.Directory) error {
	if d == nil || f.res.Fork != nil || f.res.Lie != nil || !f.demand.Completeness.Beats(chain.CompleteHinted) {
		return nil
	}
	err := f.res.Failed[d.Name()]
	if err == nil || f.res.Chain.View().Completeness.Beats(chain.CompleteScanned) {
		return nil
	}
	hint := "try again, or proceed with --require first,hinted, which also looks the repository up as without --directory"
	if o.offline || o.staple.set && !o.beyond {
		hint = "name a newer answer with --staple, or go on-line without one"
	}
	return &fault{reason: policy.BelowRequired, msg: fmt.Sprintf("no answer from the %s: %s", d.Name(), err), hint: hint}
}

// fetched says which files of a repository are wanted.
func (o *repoOptions) fetched(root trust.Root) func(name string) bool {
	staple := rekorbind.StapleName(root.Root, root.Forges)
	return func(name string) bool {
		return rekorbind.IsPolicyName(name) || o.described != nil && name == staple
	}
}

// keepEvidence stores what shows that a log or a directory misbehaves.
func (a *app) keepEvidence(res *rekorbind.Resolution, state *rekorbind.State) {
	if f := res.Fork; f != nil {
		if path, err := state.WriteEvidence("fork", f.Bytes()); err == nil {
			a.err.line("evidence: %s", path)
		}
	}
	if l := res.Lie; l != nil {
		if path, err := state.WriteEvidence("directory-lie", l.Bytes()); err == nil {
			a.err.line("evidence: %s", path)
		}
	}
}
