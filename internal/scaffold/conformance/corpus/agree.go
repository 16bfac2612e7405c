// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trust"
)

// agree runs the command line on a case in every form of output and compares
// what each says with the exit code.
func (c *corpus) agree(t *tally, what string, tc *testCase, flags ...string) {
	root := c.named[tc.Trust.Root]
	if rel, ok := strings.CutPrefix(tc.Trust.Root, "custom:"); ok {
		root = rel
	}
	args := append(
		[]string{"verify", "--offline", "--trusted-root", c.path(root), "-b", c.path(tc.Bundle.Path)},
		flags...)
	if a := tc.Artifact; a != nil && a.Path != nil && a.Name != "" { // the file has another name
		args = append(args, "--name", a.Name)
	}
	args = append(args, c.argument(tc))
	dir, err := os.MkdirTemp("", "corpus-agree-")
	if err != nil {
		t.check(false, what, "%s", err)
		return
	}
	defer os.RemoveAll(dir)

	run := func(format string) spoken {
		var out bytes.Buffer
		exit := cli.Main(append(args, "--format", format), command.Env{
			Stdout: &out, Stderr: io.Discard, Now: time.Now,
			Root:   func(context.Context, trust.Options) ([]trust.Root, error) { return nil, os.ErrNotExist },
			Getenv: func(name string) string { return filepath.Join(dir, name) },
		})
		return spoken{exit, out.Bytes()}
	}
	first := run("json")
	verdict, err := first.json()
	if err != nil {
		t.check(false, what, "JSON: %s", err)
		return
	}
	t.check(
		first.exit == verdict.exit && (first.exit == 0) == verdict.permitted, what, "exits %d, JSON says %+v",
		first.exit, verdict,
	)
	readers := map[string]func(spoken) (verdictText, error){
		"text": spoken.text, "sarif": spoken.sarif,
		"github": func(s spoken) (verdictText, error) { return s.github(filepath.Join(dir, "GITHUB_OUTPUT")) },
	}
	if slices.Contains(flags, "--policy") {
		readers["vsa"] = func(s spoken) (verdictText, error) { return s.vsa(verdict) }
	}
	for _, format := range slices.Sorted(maps.Keys(readers)) {
		s := run(format)
		got, err := readers[format](s)
		switch {
		case err != nil:
			t.check(false, what, "%s: %s", format, err)
		default:
			t.check(
				s.exit == first.exit && got == verdict, what, "%s exits %d and says %+v, JSON exits %d and says %+v",
				format, s.exit, got, first.exit, verdict,
			)
		}
	}
}

// spoken is the exit code and standard output of a run.
type spoken struct {
	exit int
	out  []byte
}

// verdictText is what an output says about the one artifact of a run.
type verdictText struct {
	class     string
	exit      int
	permitted bool // the artifact
}

func (s spoken) json() (verdictText, error) {
	var doc struct {
		Verdict   string
		Exit      int
		Artifacts []struct{ Verdict string }
	}
	if err := json.Unmarshal(s.out, &doc); err != nil {
		return verdictText{}, err
	}
	if len(doc.Artifacts) != 1 || doc.Artifacts[0].Verdict != doc.Verdict {
		return verdictText{}, fmt.Errorf("%s of %+v", doc.Verdict, doc.Artifacts)
	}
	return verdictText{doc.Verdict, doc.Exit, doc.Verdict == "OK"}, nil
}

func (s spoken) text() (verdictText, error) {
	lines := strings.Split(strings.TrimSpace(string(s.out)), "\n")
	class, _, _ := strings.Cut(lines[0], " ")
	if last := lines[len(lines)-1]; strings.HasSuffix(last, " allowed") { // the run has another class than the artifact
		return verdictText{}, fmt.Errorf("begins %q and ends %q", lines[0], last)
	}
	return verdictText{class, s.exit, class == "OK"}, nil
}

func (s spoken) sarif() (verdictText, error) {
	var log struct {
		Runs []struct {
			Invocations []struct {
				ExitCode int
				Text     string `json:"exitCodeDescription"`
			}
			Results []struct{ Kind, Level string }
		}
	}
	if err := json.Unmarshal(s.out, &log); err != nil {
		return verdictText{}, err
	}
	if len(log.Runs) != 1 || len(log.Runs[0].Invocations) != 1 || len(log.Runs[0].Results) != 1 {
		return verdictText{}, errors.New("not one run, invocation and result")
	}
	run := log.Runs[0]
	class, _, _ := strings.Cut(run.Invocations[0].Text, ":")
	if res := run.Results[0]; (res.Kind == "pass") != (res.Level == "none") {
		return verdictText{}, fmt.Errorf("kind %s has level %s", res.Kind, res.Level)
	}
	return verdictText{class, run.Invocations[0].ExitCode, run.Results[0].Kind == "pass"}, nil
}

// github reads the outputs of the step, and from the commands on standard output
// whether there was an error.
func (s spoken) github(path string) (verdictText, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return verdictText{}, err
	}
	outputs := map[string]string{}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i := 0; i+2 < len(lines); i += 3 {
		name, delimiter, ok := strings.Cut(lines[i], "<<")
		if !ok || lines[i+2] != delimiter {
			return verdictText{}, fmt.Errorf("outputs %q", data)
		}
		outputs[name] = lines[i+1]
	}
	exit, err := strconv.Atoi(outputs["exit-code"])
	if err != nil || outputs["judged"] != "1" {
		return verdictText{}, fmt.Errorf("outputs %v", outputs)
	}
	failed := strings.Contains("\n"+string(s.out), "\n::error ")
	if failed == (outputs["allowed"] == "1") {
		return verdictText{}, fmt.Errorf("outputs %v, commands %q", outputs, s.out)
	}
	return verdictText{outputs["verdict"], exit, !failed}, nil
}

// vsa knows passed and failed only; the class is taken over. A denial without a
// known digest has no statement.
func (s spoken) vsa(v verdictText) (verdictText, error) {
	if len(s.out) == 0 && !v.permitted {
		return v, nil
	}
	var st struct {
		Subject   []struct{ Digest map[string]string }
		Predicate struct {
			Result string `json:"verificationResult"`
		}
	}
	if err := json.Unmarshal(s.out, &st); err != nil {
		return verdictText{}, err
	}
	if len(st.Subject) != 1 || len(st.Subject[0].Digest) == 0 {
		return verdictText{}, fmt.Errorf("subjects %v", st.Subject)
	}
	v.permitted = st.Predicate.Result == "PASSED"
	return v, nil
}

// argument returns the case's artifact as a user would name it.
func (c *corpus) argument(tc *testCase) string {
	if tc.Artifact != nil && tc.Artifact.Path != nil {
		return c.path(*tc.Artifact.Path)
	}
	if d, ok := tc.digest(); ok && d.Alg != "sha1" {
		return d.String()
	}
	return fmt.Sprintf("sha256:%064d", 0)
}
