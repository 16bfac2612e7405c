// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/policy"
)

// defaultPolicy is where a repository keeps its policy.
const defaultPolicy = ".repopolicy/policy.toml"

type checkDoc struct {
	Schema   string         `json:"schema"`
	Verdict  string         `json:"verdict"`
	Exit     int            `json:"exit"`
	Reason   policy.Reason  `json:"reason,omitempty"`
	File     string         `json:"file"`
	Digest   string         `json:"digest,omitempty"`
	Problems []checkProblem `json:"problems"`
}

type checkProblem struct {
	Severity string        `json:"severity"` // "error" or "warning"
	Line     int           `json:"line,omitempty"`
	Column   int           `json:"column,omitempty"`
	Path     string        `json:"path,omitempty"`
	Code     policy.Reason `json:"code"`
	Message  string        `json:"message"`
	Hint     string        `json:"hint,omitempty"`
}

func (a *app) checkCommand() *cobra.Command {
	f := &format{allowed: []string{"text", "json", "sarif", "github"}}
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "check a policy file and point at what is wrong or weak in it",
		Long: "Check reads a policy file, by default " + defaultPolicy + ", and prints every fault and\n" +
			"every piece of advice with its place. It exits 0 if the policy is valid, whatever\n" +
			"the advice, and 6 if it is not.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := defaultPolicy
			if len(args) == 1 {
				path = args[0]
			}
			return a.check(path, f.value)
		},
	}
	cmd.Flags().Var(f, "format", "form of the output")
	return cmd
}

func (a *app) check(path, form string) error {
	src, err := readPolicy(path)
	if err != nil {
		return err
	}
	doc := checkDoc{Schema: schemaURL("check-v1"), File: path, Problems: []checkProblem{}}
	class := policy.ClassOK
	d, err := policy.Parse(src)
	var pe *policy.ParseError
	switch {
	case errors.As(err, &pe):
		class, doc.Reason = pe.Reason().Class(), pe.Reason()
		doc.add("error", pe.Problems)
	case err != nil:
		return err
	default:
		doc.Digest = d.Digest().String()
		doc.add("warning", d.Lint(a.Now()))
	}
	doc.Verdict, doc.Exit = class.String(), class.Exit()
	switch err = nil; form {
	case "json":
		err = a.out.json(doc)
	case "sarif":
		err = a.out.json(checkSARIF(&doc))
	case "github":
		a.checkGitHub(&doc)
	default:
		a.printCheck(&doc)
	}
	if err != nil {
		return err
	}
	if class != policy.ClassOK {
		return decided{class}
	}
	return nil
}

func (c *checkDoc) add(severity string, ps []policy.Problem) {
	for _, p := range ps {
		c.Problems = append(c.Problems, checkProblem{severity, p.Pos.Line, p.Pos.Column, p.Path, p.Reason, p.Msg, p.Hint})
	}
}

// text returns the message after the path that it is about.
func (p checkProblem) text() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

func (a *app) printCheck(c *checkDoc) {
	for _, p := range c.Problems {
		place := c.File
		if pos := (policy.Pos{Line: p.Line, Column: p.Column}).String(); pos != "" {
			place += ":" + pos
		}
		a.out.line("%s: %s: %s [%s]", place, p.Severity, p.text(), p.Code)
		if p.Hint != "" {
			a.out.line("  hint: %s", p.Hint)
		}
	}
	a.printCheckTotal(c)
}

func (a *app) printCheckTotal(c *checkDoc) {
	errs := 0
	for _, p := range c.Problems {
		if p.Severity == "error" {
			errs++
		}
	}
	if errs > 0 {
		a.out.line("%s: %d %s: %s", c.File, errs, plural(errs, "error"), c.Verdict)
		return
	}
	a.out.line("%s: valid, %d %s: %s", c.File, len(c.Problems), plural(len(c.Problems), "warning"), c.Verdict)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// readPolicy reads the file of a policy. More than is allowed is read, so that
// the parser can say how much too large it is.
func readPolicy(path string) ([]byte, error) {
	src, err := file.Read(path, 16*policy.MaxPolicyBytes)
	switch {
	case errors.Is(err, file.ErrTooLarge):
		return nil, policy.Faultf(policy.PolicyTooLarge, "policy: %s", err)
	case err != nil:
		return nil, policy.Faultf(policy.PolicyUnreadable, "policy: %s", err)
	}
	return src, nil
}
