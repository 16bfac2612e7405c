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
func CheckOutputs(files ...*Once) error {
	for _, f := range files {
		if !f.Given {
			continue
		}
		if err := file.Check(f.Value); err != nil {
			return Unwritten(err)
		}
	}
	return nil
}

// checkFolders refuses directories in which nothing could be written.
func CheckFolders(dirs ...*Once) error {
	for _, d := range dirs {
		if !d.Given {
			continue
		}
		if err := file.CheckDir(d.Value); err != nil {
			return Unwritten(err)
		}
	}
	return nil
}

// checkSignatures refuses to make a signature that could not be written.
func (o *signOptions) checkSignatures() error {
	const name = rekorbind.SignaturesDir + "/x"
	err := file.CheckIn(cmp.Or(o.Git.Value, "."), name)
	if o.output.Given {
		err = file.CheckBelow(o.output.Value, name)
	}
	if err != nil {
		return Unwritten(err)
	}
	return nil
}

// checkConsent refuses to begin what nobody can agree to.
func (a *app) CheckConsent(o *signOptions) error {
	if o.Yes || a.Terminal && a.Stdin != nil {
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
	case o.Key.Given && o.Signer.Given():
		return policy.Faultf(policy.Usage, "--key and --signer contradict each other")
	case o.Expect.Given && (o.Key.Given || o.Signer.Given()):
		return policy.Faultf(policy.Usage, "--expect-identity is about who signs in, and a key signs")
	case o.Device && (o.Key.Given || o.Signer.Given()):
		return policy.Faultf(policy.Usage, "--device is about signing in, and a key signs")
	}
	if err := CheckFolders(&o.output); err != nil {
		return err
	}
	if err := a.checkConfigs(o); err != nil {
		return err
	}
	if o.Key.Given || o.Signer.Given() {
		_, err := o.ReadSigner()
		return err
	}
	if _, err := o.Expected(); err != nil {
		return err
	}
	return a.CheckConsent(o)
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
	if !o.MaxAge.Given {
		o.MaxAge.Value, o.MaxAge.Given = authorizeMaxAge, true
	}
	o.Fresh = true // who asks before it is published can wait for an answer
	if err := a.CheckFind(&o.Lookup, false); err != nil {
		return err
	}
	if _, err := gate.NamedSubjects(args); err != nil {
		return err
	}
	if o.after.Given {
		if _, err := o.readAfter(); err != nil {
			return err
		}
	}
	if o.checkout.Given {
		if _, err := worktree.Find(o.checkout.Value); err != nil {
			return gate.NotCheckedOut(o.checkout.Value)
		}
	}
	return CheckOutputs(&o.report, &o.receipt)
}

// bounded returns a time that every document can write.
func bounded(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 }
