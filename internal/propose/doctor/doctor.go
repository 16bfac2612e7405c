// SPDX-License-Identifier: Apache-2.0

// Package doctor says whether what a policy leans on is true today: its own expiry, the workflow
// that binds it, the workflows that its rules name, and settings of the forge. Values in, values
// out: the forge is asked through a function. What could not be looked at is never in order.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/clone"
	"github.com/repopolicy/repopolicy/internal/propose/settings"
	"github.com/repopolicy/repopolicy/policy"
)

const day = 24 * time.Hour

// Names of checks.
const (
	Version  = "version"
	Expiry   = "expiry"
	Bind     = "bind"
	Drift    = "drift"
	Settings = "settings"
	Releases = "releases"
	Roots    = "roots"
)

// Finding is what came of one check.
type Finding struct {
	Check   string        // one of the names
	Subject string        // what was looked at, such as a rule or an environment
	Reason  policy.Reason // why it is not in order; "" if it is
	Path    string        // in the policy; "" for none
	Text    string        // what was found
	Do      string        // what to do; "" if it is in order
	Command string        // that does it and only adds to what is there; "" if there is none
}

// Class returns the class of a finding: OK only for what was looked at and is in order.
func (f *Finding) Class() policy.Class {
	if f.Reason == "" {
		return policy.ClassOK
	}
	return f.Reason.Class()
}

// Ask returns what the API of the forge answers to a GET of a path; [fs.ErrNotExist] is in the
// error if there is nothing.
type Ask func(ctx context.Context, path string) ([]byte, error)

// Case is what is known of a repository.
type Case struct {
	File    *policy.File
	Now     time.Time
	Program string      // version of this program; "" if it has none
	Branch  string      // the default one; "" if it is not known
	Tags    []string    // of the clone
	Files   clone.Files // of the clone; nil if there is none
	NoFiles string      // why there is none
	Ask     Ask         // nil if the settings are not to be read
	NoAsk   string      // why they are not
}

// exam is the examination of a case.
type exam struct {
	*Case
	clone  *clone.Clone
	reader *ci.Reader
	listed bool     // rulesets were
	names  []string // of rulesets that are there
	out    []Finding
}

// Examine looks at everything that can be looked at.
func Examine(ctx context.Context, c *Case) []Finding {
	e := &exam{Case: c}
	e.expiry()
	asks := c.Ask != nil && c.File.Repository.Host() == "github.com"
	if asks {
		e.branch(ctx)
	}
	if c.Files == nil {
		const look = "run the command in a clone, or name one with --git"
		e.unread(Bind, "workflow", look, "%s", c.NoFiles)
		e.unread(Drift, "workflows", look, "%s", c.NoFiles)
	} else {
		e.clone = clone.New(c.Files)
		e.bind()
		e.drift()
	}
	if asks {
		e.runs(ctx)
		e.settings(ctx)
	} else {
		e.notAsked()
	}
	return e.out
}

// Look looks at the settings that a policy for github.com leans on, and at nothing else.
func Look(ctx context.Context, c *Case) []Finding {
	e := &exam{Case: c}
	e.branch(ctx)
	e.settings(ctx)
	return e.out
}

func (e *exam) add(f Finding) { e.out = append(e.out, f) }

// fine records what is in order.
func (e *exam) fine(check, subject, format string, args ...any) {
	e.add(Finding{Check: check, Subject: subject, Text: fmt.Sprintf(format, args...)})
}

// wrong records what is not in order.
func (e *exam) wrong(check, subject string, why policy.Reason, do, format string, args ...any) {
	e.add(Finding{Check: check, Subject: subject, Reason: why, Do: do, Text: fmt.Sprintf(format, args...)})
}

// lacks records settings that are not there, and the command that adds them.
func (e *exam) lacks(subject, do, command, format string, args ...any) {
	e.wrong(Settings, subject, policy.DoctorSetting, do, format, args...)
	e.out[len(e.out)-1].Command = command
}

// unread records what could not be looked at.
func (e *exam) unread(check, subject, do, format string, args ...any) {
	e.wrong(check, subject, policy.DoctorUnread, do, "not looked at: "+format, args...)
}

func (e *exam) expiry() {
	const do = "publish a new version: repopolicy renew"
	days, soon := e.File.ExpiresSoon(e.Now)
	switch {
	case !e.Now.Before(e.File.Expires):
		e.wrong(Expiry, "", policy.PolicyExpired, do, "the policy expired on %s", e.File.Expires.Format(time.DateOnly))
	case soon:
		e.wrong(Expiry, "", policy.DoctorExpires, do, "the policy expires in %d days, on %s", days,
			e.File.Expires.Format(time.DateOnly))
	default:
		e.fine(Expiry, "", "the policy expires on %s", e.File.Expires.Format(time.DateOnly))
	}
	if path := "expires"; e.out[0].Reason != "" {
		e.out[0].Path = path
	}
}

// notAsked names every setting that the policy leans on and nobody looked at.
func (e *exam) notAsked() {
	why := e.NoAsk
	if e.Ask != nil {
		why = "only the settings of github.com can be read"
	}
	branch := e.Branch
	if branch == "" {
		branch = "the default branch"
	}
	advice := settings.For(e.File, branch)
	if len(advice) == 0 {
		e.unread(Settings, e.File.Repository.Host(), "look at them at the forge", "%s", why)
	}
	for _, a := range advice {
		do := "look at " + a.Look
		if a.Look == "" {
			do = "look at https://" + e.File.Repository.Host() + "/" + e.File.Repository.Path() + "/settings/rules"
		}
		e.unread(Settings, a.Protects, do, "%s", why)
	}
}
