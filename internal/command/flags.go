// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
)

// Once is the value of a flag that may be given at most once: which of two
// contradictory values would win must not be a matter of order.
type Once struct {
	Value string
	Given bool
	Kind  string // of its values in help texts; "" for string

	again bool // a shell asks, for which the command line is read more than once
}

// String returns the value.
func (o *Once) String() string { return o.Value }

// Type returns what help texts call the value.
func (o *Once) Type() string { return cmp.Or(o.Kind, "string") }

// Set takes the value of the command line.
func (o *Once) Set(s string) error {
	if o.Given && !o.again {
		return errors.New("given twice")
	}
	if s == "" {
		return errors.New("must not be empty")
	}
	o.Value, o.Given = s, true
	return nil
}

// List is the value of a flag that may be repeated. pflag's own makes a writer of CSV for each flag,
// before anything is read.
type List []string

// String returns "", as nothing has a default.
func (l *List) String() string { return "" }

// Type returns what pflag calls the value.
func (l *List) Type() string { return "stringArray" }

// Set adds a value.
func (l *List) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// Format is the value of --format.
type Format struct {
	Once
	Allowed []string
}

// Type returns the values that are allowed.
func (f *Format) Type() string { return strings.Join(f.Allowed, "|") }

// Set takes the value of the command line.
func (f *Format) Set(s string) error {
	for _, w := range f.Allowed {
		if s == w {
			return f.Once.Set(s)
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(f.Allowed, ", "))
}

// JSON reports whether the output is JSON.
func (f *Format) JSON() bool { return f.Value == "json" }

// Document reports whether the output is one document for programs, beside which
// there is no talk.
func (f *Format) Document() bool {
	return f.Value != "" && f.Value != "text" && f.Value != "github"
}

// CheckOutputs refuses files that could not be written.
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

// CheckFolders refuses directories in which nothing could be written.
func CheckFolders(dirs ...*Once) error {
	for _, d := range dirs {
		if !d.Given {
			continue
		}
		if err := CheckFolder(d.Value); err != nil {
			return err
		}
	}
	return nil
}

// CheckFolder refuses a directory in which nothing could be written.
func CheckFolder(dir string) error {
	if err := file.CheckDir(dir); err != nil {
		return Unwritten(err)
	}
	return nil
}
