// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// TestFormsAgree prints one verdict for every reason, and for every reason beside
// an allowed artifact, in every form: class, exit code and the number of allowed
// artifacts are the same in all (case 360).
func TestFormsAgree(t *testing.T) {
	files := runnerFiles(t)
	type said struct {
		class   string
		exit    int
		allowed int
	}
	for _, r := range policy.Reasons() {
		for _, reasons := range [][]policy.Reason{{r}, {policy.Allowed, r}, {r, policy.Allowed}} {
			r := syntheticReport("widget", "because", reasons...)
			want := said{r.Verdict, r.Exit, 0}
			for _, x := range reasons {
				if x.Class() == policy.ClassOK {
					want.allowed++
				}
			}
			if (want.exit == 0) != (want.allowed == len(reasons)) {
				t.Fatalf("%v: %+v", reasons, want)
			}
			for _, form := range []string{"text", "json", "sarif", "github", "vsa"} {
				var out bytes.Buffer
				a := &app{
					&command.Run{
						Env: command.Env{Getenv: os.Getenv},
						Out: report.NewPrinter(&out),
						Err: report.NewPrinter(&out),
					},
				}
				o := &verifyOptions{}
				o.format.Value = form
				if err := a.print(o, r); err != nil || a.Out.Err() != nil {
					t.Fatal(err, a.Out.Err())
				}
				got := want
				switch form {
				case "text":
					lines := strings.Split(strings.TrimSpace(out.String()), "\n")
					got.class, _, _ = strings.Cut(lines[0], " ")
					got.allowed = strings.Count("\n"+out.String(), "\nOK    widget  ")
					if len(reasons) > 1 {
						class, counts, _ := strings.Cut(lines[len(lines)-1], ": ")
						n, _, _ := strings.Cut(counts, " ")
						if got.class = class; n != strconv.Itoa(got.allowed) {
							t.Errorf("%v: %s", reasons, out.String())
						}
					}
				case "json":
					var doc report.Report
					if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
						t.Fatal(err)
					}
					got = said{doc.Verdict, doc.Exit, 0}
					for _, x := range doc.Artifacts {
						if x.Verdict == "OK" {
							got.allowed++
						}
					}
				case "sarif":
					var log report.SARIF
					if err := json.Unmarshal(out.Bytes(), &log); err != nil {
						t.Fatal(err)
					}
					inv := log.Runs[0].Invocations[0]
					class, _, _ := strings.Cut(inv.ExitText, ":")
					got = said{class, inv.ExitCode, 0}
					for _, x := range log.Runs[0].Results {
						if x.Kind == "pass" && x.Level == "none" {
							got.allowed++
						}
					}
				case "github":
					outputs, md := files()
					got.class = outputs["verdict"]
					got.exit, _ = strconv.Atoi(outputs["exit-code"])
					got.allowed, _ = strconv.Atoi(outputs["allowed"])
					if rows := strings.Count(md, "\n| OK |"); rows != want.allowed {
						t.Errorf("%v: the summary has %d of %d", reasons, rows, want.allowed)
					}
					failed := false
					for _, c := range readCommands(t, out.String()) {
						failed = failed || c.name == "error"
					}
					if failed != (want.exit != 0) {
						t.Errorf("%v: %s", reasons, out.String())
					}
				case "vsa":
					var s report.VSA
					if err := json.Unmarshal(out.Bytes(), &s); err != nil {
						t.Fatal(err)
					}
					if (s.Predicate.Result == "PASSED") != (want.exit == 0) || len(s.Subject) != len(reasons) {
						t.Errorf("%v: %+v", reasons, s)
					}
				}
				if got != want {
					t.Errorf("%v: %s says %+v, the verdict is %+v", reasons, form, got, want)
				}
			}
		}
	}
}
