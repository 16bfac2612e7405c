// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust/author"
	"github.com/repopolicy/repopolicy/policy"
)

// change opens the repository in a directory for one change and says how it then stands.
func (a *app) change(dir string, f func(*author.Repository) error) error {
	r, err := author.Open(dir, a.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return &policy.Fault{
			Reason: policy.Usage,
			Text:   err.Error(),
			Hint:   "`repopolicy-trust init` begins a repository",
		}
	}
	if err != nil {
		return policy.Faultf(policy.Usage, "%s", err)
	}
	defer r.Close()
	if err := f(r); err != nil {
		if command.FaultOf(err) != nil {
			return err
		}
		return policy.Faultf(policy.Usage, "%s", err)
	}
	return a.standing(r)
}

// standing says which roles wait for whom, and what expires soon.
func (a *app) standing(r *author.Repository) error {
	all, err := r.Status()
	if err != nil {
		return err
	}
	waiting := false
	for _, s := range all {
		switch {
		case s.Need > 0 && (s.Role == author.Root || s.Role != author.Snapshot && s.Role != author.Timestamp):
			waiting = true
			a.Err.Line("%s version %d needs %d more of %s", s.Role, s.Version, s.Need, keyNames(s.Missing))
		case s.Renew(a.Now()):
			a.Err.Line("note: %s expires %s", s.Role, s.Expires.Format("2006-01-02"))
		}
	}
	if waiting {
		a.Err.Line("next: `repopolicy-trust sign`, each where the key is")
	} else {
		a.Err.Line("next: `repopolicy-trust publish`")
	}
	return nil
}

// keyNames names keys for a person.
func keyNames(keys []author.Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.String())
	}
	return strings.Join(out, ", ")
}
