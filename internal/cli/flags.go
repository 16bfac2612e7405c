// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/worktree"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// What is wrong with a command line is said before anybody is asked anything: every
// verb calls what is here first.

// checkOutputs refuses files that could not be written.
func checkOutputs(files ...*typed) error {
	for _, f := range files {
		if !f.set {
			continue
		}
		if err := file.Check(f.value); err != nil {
			return unwritten(err)
		}
	}
	return nil
}

// checkFolders refuses directories in which nothing could be written.
func checkFolders(dirs ...*typed) error {
	for _, d := range dirs {
		if !d.set {
			continue
		}
		if err := file.CheckDir(d.value); err != nil {
			return unwritten(err)
		}
	}
	return nil
}

// checkSignatures refuses to make a signature that could not be written.
func (o *signOptions) checkSignatures() error {
	const name = rekorbind.SignaturesDir + "/x"
	err := file.CheckIn(cmp.Or(o.git.value, "."), name)
	if o.output.set {
		err = file.CheckBelow(o.output.value, name)
	}
	if err != nil {
		return unwritten(err)
	}
	return nil
}

// checkConsent refuses to begin what nobody can agree to.
func (a *app) checkConsent(o *signOptions) error {
	if o.yes || a.Terminal && a.Stdin != nil {
		return nil
	}
	return &policy.Fault{
		Reason: policy.Usage, Text: "name and address of whoever signs, which becomes public for ever with the signature",
		Hint: "there is no terminal to answer on; say --yes",
	}
}

// checkSigner refuses flags with which nothing can be signed: by a key, by a program
// that has it, or by somebody who signs in.
func (a *app) checkSigner(o *signOptions) error {
	switch {
	case o.key.set && o.signer.set():
		return policy.Faultf(policy.Usage, "--key and --signer contradict each other")
	case o.expect.set && (o.key.set || o.signer.set()):
		return policy.Faultf(policy.Usage, "--expect-identity is about who signs in, and a key signs")
	case o.device && (o.key.set || o.signer.set()):
		return policy.Faultf(policy.Usage, "--device is about signing in, and a key signs")
	}
	if err := checkFolders(&o.output); err != nil {
		return err
	}
	if err := a.checkConfigs(o); err != nil {
		return err
	}
	if o.key.set || o.signer.set() {
		_, err := o.readSigner()
		return err
	}
	if _, err := o.expected(); err != nil {
		return err
	}
	return a.checkConsent(o)
}

// checkConfigs refuses signing configs by which nothing can be signed.
func (a *app) checkConfigs(o *signOptions) error {
	configs, err := o.readConfigs()
	if err == nil && len(configs) > 0 {
		_, err = a.parseConfigs(o, configs)
	}
	return err
}

// checkRelease refuses flags and arguments with which nothing can be authorised.
func (a *app) checkRelease(o *authorizeOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if !o.maxAge.set {
		o.maxAge.value, o.maxAge.set = authorizeMaxAge, true
	}
	o.fresh = true // who asks before it is published can wait for an answer
	if err := a.checkFind(&o.repoOptions, false); err != nil {
		return err
	}
	if _, err := gate.NamedSubjects(args); err != nil {
		return err
	}
	if o.after.set {
		if _, err := o.readAfter(); err != nil {
			return err
		}
	}
	if o.checkout.set {
		if _, err := worktree.Find(o.checkout.value); err != nil {
			return gate.NotCheckedOut(o.checkout.value)
		}
	}
	return checkOutputs(&o.report, &o.receipt)
}

// bounded returns a time that every document can write.
func bounded(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 }
