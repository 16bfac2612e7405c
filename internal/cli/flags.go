// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/worktree"
)

// What is wrong with a command line is said before anybody is asked anything: every
// verb calls what is here first.

// checkSignatures refuses to make a signature that could not be written.
func (o *signOptions) checkSignatures() error {
	const name = bindings.SignaturesDir + "/x"
	err := file.CheckIn(cmp.Or(o.Git.Value, "."), name)
	if o.output.Given {
		err = file.CheckBelow(o.output.Value, name)
	}
	if err != nil {
		return command.Unwritten(err)
	}
	return nil
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
	return command.CheckOutputs(&o.report, &o.receipt)
}

// bounded returns a time that every document can write.
func bounded(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 }
