// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/. Only
// what is written stands here; a test holds it against the standard's schema.
const (
	sarifVersion = "2.1.0"
	SARIFSchema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

	// FingerprintName names how partial fingerprints are made: repository,
	// artifact and reason, so that a finding stays the same one while bytes,
	// signers and versions of the policy change.
	FingerprintName = "repositoryArtifactReason/v1"
)

type SARIF struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []SARIFResult     `json:"results"`
	Properties  map[string]any    `json:"properties"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	Version        string      `json:"version"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID      string        `json:"id"`
	Short   sarifText     `json:"shortDescription"`
	Help    *sarifText    `json:"help,omitempty"`
	HelpURI string        `json:"helpUri"`
	Default sarifDefaults `json:"defaultConfiguration"`
}

type sarifDefaults struct {
	Level string `json:"level"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	ExitCode      int                 `json:"exitCode"`
	ExitText      string              `json:"exitCodeDescription"`
	Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"` // alarms, and that there is no policy
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

type SARIFResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Kind         string            `json:"kind"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations"`
	Related      []sarifLocation   `json:"relatedLocations,omitempty"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Properties   map[string]any    `json:"properties,omitempty"`
}

type sarifLocation struct {
	ID       int            `json:"id,omitempty"`
	Physical *sarifPhysical `json:"physicalLocation,omitempty"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	Message  *sarifText     `json:"message,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   *sarifRegion  `json:"region,omitempty"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn,omitempty"`
}

type sarifLogical struct {
	FullName string `json:"fullyQualifiedName"`
}

// MostSARIF is how many results a run in a SARIF log has at most, by what GitHub's code scanning takes.
const MostSARIF = 25_000

// NewSARIF returns the report as a SARIF log with one result for each artifact.
func NewSARIF(r *Report) *SARIF {
	class := classOf(r.Exit)
	repository := ""
	props := map[string]any{"verdict": r.Verdict, "exit": r.Exit, "trusted_roots": r.Criteria.Roots}
	if p := r.Criteria.Policy; p != nil {
		repository = p.Repository
		props["policy"] = p
	}
	notices := r.Alarms
	if u := r.Criteria.Unbound; u != nil {
		repository = u.Repository
		props["unbound"] = u
		notices = append([]string{u.Weaker()}, notices...)
	}
	var used []policy.Reason
	for i := range r.Artifacts {
		used = append(used, r.Artifacts[i].Reason)
	}
	run := NewSARIFRun(class, used)
	if len(r.NotJudged) > 0 {
		props["not_judged"] = r.NotJudged
	}
	run.Properties = props
	for _, notice := range notices {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{
			"warning", sarifMessage(notice),
		})
	}
	for i := range r.Artifacts {
		x := &r.Artifacts[i]
		res := run.result(x.Reason, x.Reason.Class())
		if x.Permitted != (res.Kind == "pass") {
			res.Kind, res.Level = "fail", "error"
		}
		text := x.Message
		if x.Permitted && x.Rule != "" {
			text += " (rule " + x.Rule + ")"
		}
		for _, more := range []string{x.Detail, x.Hint, x.Next} {
			if more != "" {
				text += ". " + more
			}
		}
		res.Message = sarifMessage(x.Artifact + ": " + text)
		res.Locations = []sarifLocation{artifactLocation(x.Artifact)}
		res.Fingerprints = map[string]string{FingerprintName: fingerprint(repository, x.Artifact, string(x.Reason))}
		res.Properties = map[string]any{"verdict": x.Verdict, "digests": x.Digests}
		for k, v := range map[string]string{"rule": x.Rule, "tag": x.Tag} {
			if v != "" {
				res.Properties[k] = v
			}
		}
		if len(x.JudgedBy) > 0 {
			res.Properties["judged_by"] = x.JudgedBy
		}
		if ev := x.Evidence; ev != nil {
			loc := artifactLocation(ev.Path)
			if ev.Target != nil { // no file
				loc = sarifLocation{Logical: []sarifLogical{{Escape(ev.Path)}}}
			}
			loc.ID, loc.Message = 1, &sarifText{"evidence"}
			res.Related = []sarifLocation{loc}
			res.Properties["signer"], res.Properties["verified"] = ev.Signer, ev.Verified
		}
		run.Results = append(run.Results, res)
	}
	return &SARIF{SARIFSchema, sarifVersion, []sarifRun{run}}
}

// CheckSARIF returns what check found as a SARIF log with one result for each
// problem.
func CheckSARIF(c *Check) *SARIF {
	var used []policy.Reason
	for _, p := range c.Problems {
		used = append(used, p.Code)
	}
	run := NewSARIFRun(classOf(c.Exit), used)
	run.Properties = map[string]any{"verdict": c.Verdict, "exit": c.Exit}
	for _, p := range c.Problems {
		res := run.result(p.Code, p.Code.Class())
		res.Kind, res.Level = "fail", p.Severity
		res.Message = sarifMessage(p.text())
		loc := artifactLocation(c.File)
		if loc.Physical != nil && p.Line > 0 {
			loc.Physical.Region = &sarifRegion{p.Line, p.Column}
		}
		res.Locations = []sarifLocation{loc}
		res.Fingerprints = map[string]string{
			FingerprintName: fingerprint("", c.File, string(p.Code), p.Path, p.Message),
		}
		run.Results = append(run.Results, res)
	}
	return &SARIF{SARIFSchema, sarifVersion, []sarifRun{run}}
}

// NewSARIFRun returns a run without results whose rules are the rows of the
// reason table that are used, in the table's order.
func NewSARIFRun(class policy.Class, used []policy.Reason) sarifRun {
	run := sarifRun{
		Tool: sarifTool{
			sarifDriver{
				Name: "repopolicy", Version: Version(), InformationURI: "https://" + spelling.Name,
				Rules: []sarifRule{},
			},
		},
		// Whoever runs a SARIF tool asks first whether it came to a conclusion.
		Invocations: []sarifInvocation{
			{Successful: concluded(class), ExitCode: class.Exit(), ExitText: class.String() + ": " + class.Meaning()},
		},
		Results: []SARIFResult{},
	}
	for _, r := range policy.Reasons() {
		if !slices.Contains(used, r) {
			continue
		}
		rule := sarifRule{
			ID: string(
				r,
			), Short: sarifText{r.Text()}, HelpURI: "https://" + spelling.Name + "/blob/main/docs/errors.md",
		}
		if r.Hint() != "" {
			rule.Help = &sarifText{r.Hint()}
		}
		_, rule.Default.Level = kindAndLevel(r.Class())
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	return run
}

func (run *sarifRun) result(r policy.Reason, c policy.Class) SARIFResult {
	kind, level := kindAndLevel(c)
	return SARIFResult{
		RuleID: string(r), Kind: kind, Level: level,
		RuleIndex: slices.IndexFunc(run.Tool.Driver.Rules, func(x sarifRule) bool { return x.ID == string(r) }),
	}
}

// kindAndLevel says how grave a class is. SARIF's kind "open" would say better
// that no conclusion was reached, but must have the level "none", and who
// filters by level would not see it.
func kindAndLevel(c policy.Class) (kind, level string) {
	switch {
	case c == policy.ClassOK:
		return "pass", "none"
	case !concluded(c) && c != policy.ClassInternal:
		return "fail", "warning"
	}
	return "fail", "error"
}

// concluded reports whether a run of that class answered its question.
func concluded(c policy.Class) bool {
	switch c {
	case policy.ClassOK,
		policy.ClassDeny,
		policy.ClassInvalid,
		policy.ClassNoPolicy,
		policy.ClassAlarm,
		policy.ClassStale:
		return true
	}
	return false
}

func classOf(exit int) policy.Class {
	for _, c := range policy.Classes() {
		if c.Exit() == exit {
			return c
		}
	}
	return policy.ClassInternal
}

func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s\n", len(p), filepath.ToSlash(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// artifactLocation returns where an artifact is: a file has a physical
// location; a digest or a Git ref has only a name.
func artifactLocation(arg string) sarifLocation {
	if !isFile(arg) {
		return sarifLocation{Logical: []sarifLogical{{Escape(arg)}}}
	}
	return sarifLocation{Physical: &sarifPhysical{Artifact: sarifArtifact{fileURI(arg)}}}
}

// isFile reports whether an artifact's name is that of a file.
func isFile(arg string) bool {
	_, digest, _ := release.ParseDigestArg(arg)
	return !digest && !strings.HasPrefix(arg, "refs/")
}

// fileURI returns a path as a URI (RFC 3986): absolute with the scheme file,
// else relative. Every byte that is not unreserved is escaped, so that neither a
// scheme nor a query can come from a name.
func fileURI(path string) string {
	path = filepath.ToSlash(path)
	var b strings.Builder
	switch {
	case filepath.VolumeName(path) != "" && !strings.HasPrefix(path, "//"):
		b.WriteString("file:///")
	case strings.HasPrefix(path, "/"):
		path = strings.TrimLeft(path, "/")
		b.WriteString("file:///")
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// sarifMessage returns text as a SARIF message: what a viewer would take for a
// placeholder or a link (sections 3.11.5 and 3.11.6) means nothing.
func sarifMessage(s string) sarifText {
	s = strings.ReplaceAll(Escape(s), "](", "] (")
	return sarifText{strings.NewReplacer("{", "{{", "}", "}}").Replace(s)}
}
