// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/trust"
)

// auditPrinter prints an audit for people.
type auditPrinter struct {
	*Printer
	keys map[string]trust.KeyHolder
}

// Audit prints the history of a trust root for people.
func (p *Printer) Audit(audit *trust.Audit) { (&auditPrinter{p, audit.Keys}).print(audit) }

func (p *auditPrinter) print(audit *trust.Audit) {
	first := audit.Roots[0]
	v := audit.AsOf
	p.Line("pinned: root %d, %s", first.Version, first.Digest)
	p.Line("as of:  root %d, timestamp %s, snapshot %s, targets %s", v.Root, orNotRead(v.Timestamp), orNotRead(v.Snapshot),
		orNotRead(v.Targets))
	for i := range audit.Roots {
		p.root(&audit.Roots[i])
	}
	for i := range audit.Roles {
		p.role(&audit.Roles[i])
	}
	p.Line("")
	p.Line("keys")
	for _, id := range slices.Sorted(maps.Keys(audit.Keys)) {
		k := audit.Keys[id]
		line := fmt.Sprintf("  %s  %s", id, k.Scheme)
		if k.Name != "" {
			line += ", " + k.Name
		}
		p.Line("%s", line)
	}
	p.Line("")
	if problem := audit.Problem; problem != nil {
		p.Line("%s: the history ends at %s: %s", audit.Verdict, problem.File, trust.AuditCodes[problem.Code])
		return
	}
	p.Line("%s: %d %s, each signed as the one before and as itself demand", audit.Verdict, len(audit.Roots),
		Plural(len(audit.Roots), "root"))
}

// orNotRead returns a version, or that there is none.
func orNotRead(version int64) string {
	if version == 0 {
		return "not read"
	}
	return fmt.Sprint(version)
}

func (p *auditPrinter) field(name, format string, args ...any) {
	p.Line("  %-11s %s", name, fmt.Sprintf(format, args...))
}

// called returns how keys are called: by the beginning of the ID, and by the name.
func (p *auditPrinter) called(ids []string) string {
	if len(ids) == 0 {
		return "nobody"
	}
	var out []string
	for _, id := range ids {
		short := id
		if len(short) > 16 {
			short = short[:16] + "…"
		}
		if name := p.keys[id].Name; name != "" {
			if strings.ContainsAny(name, `(),;"`) { // what the metadata calls it must not look like another one
				name = strconv.Quote(name)
			}
			short = name + " (" + short + ")"
		}
		out = append(out, short)
	}
	return strings.Join(out, ", ")
}

func (p *auditPrinter) root(r *trust.AuditedRoot) {
	p.Line("")
	p.Line("root version %d", r.Version)
	p.field("digest", "%s", r.Digest)
	p.field("expires", "%s", r.Expires.Format(time.RFC3339))
	if s := r.Before; s != nil {
		p.field("ceremony", "of version %d, %d of %d demanded: %s", r.Version-1, s.Threshold, s.Of, p.called(s.By))
		p.field("", "of its own, %d of %d demanded: %s", r.Own.Threshold, r.Own.Of, p.called(r.Own.By))
	} else {
		p.field("signed", "by its own, %d of %d demanded: %s", r.Own.Threshold, r.Own.Of, p.called(r.Own.By))
	}
	if r.Before == nil {
		for _, role := range slices.Sorted(maps.Keys(r.Roles)) {
			k := r.Roles[role]
			p.field(role, "%d of %s", k.Threshold, p.called(k.Keys))
		}
		return
	}
	for _, c := range r.Changes {
		var what []string
		if len(c.Threshold) > 0 {
			what = append(what, fmt.Sprintf("%d demanded instead of %d", c.Threshold[1], c.Threshold[0]))
		}
		if len(c.Added) > 0 {
			what = append(what, "added "+p.called(c.Added))
		}
		if len(c.Removed) > 0 {
			what = append(what, "removed "+p.called(c.Removed))
		}
		p.field("changed", "%s: %s", c.Role, strings.Join(what, "; "))
	}
	if len(r.Changes) == 0 {
		p.field("changed", "no keys and no thresholds")
	}
}

func (p *auditPrinter) role(r *trust.AuditedRole) {
	p.Line("")
	p.Line("%s version %d", r.Role, r.Version)
	p.field("digest", "%s", r.Digest)
	p.field("expires", "%s", r.Expires.Format(time.RFC3339))
	p.field("signed", "as %s says, %d of %d demanded: %s", r.By, r.Threshold, len(r.Keys), p.called(r.Signed))
	for _, path := range slices.Concat(r.Paths, r.HashPrefixes) {
		p.field("for", "%s", path)
	}
	if r.Terminating {
		p.field("", "and nobody after it")
	}
	for _, t := range r.Targets {
		more := ""
		for _, s := range []string{t.Usage, t.Status} {
			if s != "" {
				more += ", " + s
			}
		}
		if !t.Found {
			more += ", and who looks for it does not find it here"
		}
		p.field("target", "%s, %d bytes%s", t.Path, t.Length, more)
		for _, alg := range slices.Sorted(maps.Keys(t.Hashes)) {
			p.field("", "%s:%s", alg, t.Hashes[alg])
		}
	}
}
