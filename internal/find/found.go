// SPDX-License-Identifier: Apache-2.0

package find

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Trusted returns the policy to judge by.
func (f *Found) Trusted() *chain.Trusted {
	return f.Resolution.Chain.Trusted(f.Demand).Knowing(f.facts)
}

// Know lets the policy judge by what trust roots say of the targets that its rules take keys from.
func (f *Found) Know(facts []policy.RootFact) { f.facts = facts }

// RootKeys says of each target that the rules take a key from what became of it, a line each.
func (f *Found) RootKeys() (out []string) {
	for i, t := range f.Trusted().KeyTargets() {
		line := t.String() + ": not asked"
		if i < len(f.facts) {
			state, id, why := f.facts[i].State()
			line = t.String() + ": " + state
			if id != "" {
				line += ", sha256:" + id
			}
			if why != "" {
				line += ", " + why
			}
		}
		out = append(out, line)
	}
	return out
}

// Versions returns the versions of the policy, the first one first.
func (f *Found) Versions() []chain.Version { return f.Resolution.Chain.Versions() }

// Head returns the version in force. There must be one; see [Found.Usable].
func (f *Found) Head() chain.Version {
	vs := f.Versions()
	return vs[len(vs)-1]
}

// Cloned returns the directory of the clone that was read; "" for none.
func (f *Found) Cloned() string { return f.query.Clone }

// Carried returns what the policy was read from; nil if it was not carried.
func (f *Found) Carried() *airgap.Bundle { return f.query.Carried }

// Silent returns who gave no answer.
func (f *Found) Silent() []string { return slices.Sorted(maps.Keys(f.Resolution.Failed)) }

// Usable returns why the chain cannot be relied upon, nil if it can: the same that would be
// said of every artifact.
func (f *Found) Usable(now time.Time) error {
	t := f.Trusted()
	d, refused := t.Precheck(policy.Request{Now: now, Skew: Skew}, policy.Claims{})
	if !refused && len(f.Versions()) == 0 { // nor was there one when it was looked for
		d, refused = t.DecideAdopted(policy.Request{Now: now, Skew: Skew})
	}
	switch d.Reason.Class() {
	case policy.ClassDeny, policy.ClassOK:
		return nil // about the empty claim, not about the chain
	}
	if !refused {
		return nil
	}
	out := policy.Faultf(d.Reason, "%s: %s", f.Repository, d.Reason.Text())
	if d.Detail != "" {
		out.Text += ": " + d.Detail
	}
	if d.Reason == policy.BelowRequired {
		out.Hint = f.goingOn(t.Missing())
	}
	if hint := f.MayLag(); d.Reason == policy.Undisclosed && hint != "" {
		out.Hint = hint
	}
	if hint := f.BranchHint(); hint != "" {
		out.Hint = hint
	}
	if (d.Reason == policy.RepositoryChanged || d.Reason == policy.OwnerChanged) && f.ofAnother() {
		out.Hint = "ask the maintainers; if they say that it is the same project, a new lock file pins their policy: " +
			"`repopolicy lock -R " + f.Repository.String() + " -o FILE`"
	}
	return out
}

// goingOn says, where a service gave no answer or none was asked, whether what is kept allows to go
// on, by which flag, and what that gives up; "" where nobody was silent.
func (f *Found) goingOn(missing []string) string {
	silent := f.Silent()
	if len(silent) == 0 && !f.query.Offline {
		return ""
	}
	again := "go on-line"
	if len(silent) > 0 {
		again = "try again, since the " + strings.Join(silent, " and the ") + " may answer then"
	}
	kept := "this machine has seen nothing of this policy before, so the files that it reads would be believed alone"
	if n := f.Resolution.Chain.Seen(); n > 0 {
		kept = fmt.Sprintf("this machine has seen the policy up to version %d before, and nothing older passes", n)
	}
	var lost []string
	for _, label := range missing {
		lost = append(lost, givenUp[label])
	}
	flags := "--require " + strings.Join(missing, ",")
	if !f.query.Offline { // a log that is silent about this may be so about its history, which a flag does not lift
		lost = append(lost, "no log is asked whether it shows others the same")
		if flags = "--offline " + flags; f.query.Clone == "" {
			flags += " and --git DIR, a clone"
		}
	}
	return fmt.Sprintf("%s; to go on now, add %s: %s, and %s; see `repopolicy help assurance`", again, flags, kept,
		strings.Join(lost, ", and "))
}

// givenUp says what a label of SPEC 9 leaves open that is less than the default demands.
var givenUp = map[string]string{
	string(policy.GenesisClaimed): "nothing shows that the first version is the repository's",
	string(chain.CompleteNone):    "nothing shows what else was bound, revoked or yanked",
	string(chain.CompleteHinted):  "nobody proves what else was bound",
	string(chain.CompleteScanned): "no directory proves what else was bound",
	string(chain.CompleteSigned):  "the directory may tell others something else",
}

// ofAnother reports whether the policy is of another repository or owner than the lock's, of when
// nothing was bound.
func (f *Found) ofAnother() bool {
	l, versions := f.query.Lock, f.Versions()
	return l != nil && l.Unbound != nil && len(versions) > 0 && versions[0].Ids != l.Unbound.ids()
}

// MayLag is what to do about a copy that lacks what the log shows; "" for the repository.
func (f *Found) MayLag() string {
	if hint := f.handInHint(); hint != "" {
		return hint
	}
	switch {
	case f.query.Clone != "":
		return "the clone may be behind: run `git fetch`; if it stays, a version with [[void]] settles it"
	case f.query.From != nil:
		return "the registry may be behind: run `repopolicy export --oci` again, or do without --from"
	}
	return ""
}

// handInHint is what to do about a version that a directory waits for; "" if it waits for none.
func (f *Found) handInHint() string {
	if !slices.ContainsFunc(f.Resolution.Chain.Problems(), func(p chain.Problem) bool { return p.Waits }) {
		return ""
	}
	more := ""
	if f.query.Clone != "" {
		more += " --git " + spelling.ShellWord(f.query.Clone)
	}
	if f.query.DirectoryFile != "" {
		more += " --directory " + spelling.ShellWord(f.query.DirectoryFile)
	}
	return fmt.Sprintf("who has its files hands them in: `repopolicy hand-in -R %s%s`; "+
		"what nobody hands in within %d days lapses", f.Repository, more, int(chain.Grace.Hours()/24))
}

// BranchHint is what to do about a first version that was bound from another branch than the
// default one of today; "" where that is not why there is no chain.
func (f *Found) BranchHint() string {
	for _, p := range f.Resolution.Chain.Problems() {
		if p.Ref == "" {
			continue
		}
		text := fmt.Sprintf("if %s was the default branch, a maintainer runs the pipeline of the one of today, "+
			"whose `repopolicy bind` binds the policy again", p.Ref)
		if f.query.Clone != "" {
			text += "; a clone may be behind: `git remote set-head origin --auto`"
		}
		return text
	}
	return ""
}

// Known is how a policy is known.
type Known struct {
	Genesis      policy.GenesisLabel
	Completeness chain.Completeness
	Statement    string    // digest of the newest version's statement, sha256:HEX; "" if there is none
	AsOf         time.Time // when it was known to be complete; zero if that is not known
	InputsOf     time.Time // when the newest of what a directory read of a log was made; zero if that is not known
	Directory    string    // URL of the one that says so; "" for none
	WithoutV1    []int     // versions that are bound in Rekor v2 alone
}

// Known returns how the policy is known.
func (f *Found) Known() Known {
	c := f.Resolution.Chain
	view := c.View()
	k := Known{Genesis: c.Genesis(), Completeness: view.Completeness, AsOf: view.AsOf, InputsOf: view.Inputs}
	if view.Completeness.Beats(chain.CompleteScanned) && f.Directory != nil {
		k.Directory = f.Directory.Descriptor.URL
	}
	for _, v := range f.Versions() {
		k.Statement = "sha256:" + v.Statement
		if v.WithoutV1 {
			k.WithoutV1 = append(k.WithoutV1, v.Number)
		}
	}
	return k
}

// Unknown says what a verdict by what was carried cannot know; nothing where it was not.
func (f *Found) Unknown() (out []string) {
	carried := f.query.Carried
	if carried == nil {
		return nil
	}
	view := f.Resolution.Chain.View()
	if view.AsOf.IsZero() || view.Completeness == chain.CompleteNone {
		out = []string{
			"what else the repository has bound: the file carries no answer of a directory that this machine knows",
			"what was removed, revoked or yanked by versions that are not in the file",
		}
	} else {
		made := carried.Made.UTC().Format(time.RFC3339)
		out = []string{
			"what the repository has bound, revoked or yanked after " + view.AsOf.UTC().Format(time.RFC3339),
			"what the trust root has changed after the file was made, " + made + " by the clock of who made it",
		}
	}
	if f.Root.Forges.NamesBranch(f.Repository) {
		out = append(out, "whether "+carried.Default+
			" is the default branch, on which alone a binding counts: who made the file says so")
	}
	return out
}

// AlarmText is an alarm on one line.
func AlarmText(a chain.Alarm) string {
	text := a.Code + ": " + a.Text
	if a.Acknowledged {
		text += " (acknowledged)"
	}
	return text
}

// Warnings returns what is not part of the verdict but should be known at a moment, a line each.
func (f *Found) Warnings(now time.Time) (out []string) {
	if c := f.Trusted().Content(); c != nil {
		if days, soon := c.ExpiresSoon(now); soon && now.Before(c.Expires) {
			out = append(out, fmt.Sprintf("note: the policy expires on %s, in %d days; what is signed after that is denied, "+
				"until its maintainers renew it (repopolicy renew)", c.Expires.UTC().Format(time.DateOnly), days))
		}
	}
	for _, n := range f.Root.Notes {
		out = append(out, "note: "+n)
	}
	if len(f.Root.By) > 0 {
		out = append(out, fmt.Sprintf("note: %s is judged under the root %s", f.Repository, f.Root.Name()))
	}
	for _, name := range f.Silent() {
		out = append(out, fmt.Sprintf("note: no answer from the %s: %s", name, f.Resolution.Failed[name]))
	}
	for _, i := range f.Resolution.Ignored {
		out = append(out, fmt.Sprintf("note: ignored %s: %s", i.Name, i.Why))
	}
	for _, a := range f.Resolution.Chain.Alarms() {
		out = append(out, "alarm: "+AlarmText(a))
	}
	for _, v := range f.Versions() {
		if v.WithoutV1 {
			out = append(out, fmt.Sprintf("note: version %d is bound in Rekor v2 alone: no index lists it, "+
				"and it is never ordered against releases in Rekor v1", v.Number))
		}
	}
	return out
}

// Keys returns the keys that may release by a policy, which is called so in messages.
func Keys(t release.Policy, called string) ([]*sigstore.Key, error) {
	var out []*sigstore.Key
	for _, k := range t.Keys() {
		key, err := sigstore.ParseKey([]byte(k.PEM), time.Time{}, time.Time{})
		if err != nil {
			return nil, policy.Faultf(policy.PolicyValue, "%s: key sha256:%s: %s", called, k.ID, err)
		}
		out = append(out, key)
	}
	return out, nil
}
