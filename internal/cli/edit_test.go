// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

const bumpTail = "\n[maintainers]\nthreshold = 1\nrepository = true\n"

// TestBump: exactly two values change, wherever they stand.
func TestBump(t *testing.T) {
	until := time.Date(2031, 5, 6, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ before, after string }{
		{"version = 9\nexpires = 2030-01-01T00:00:00Z\n", "version = 10\nexpires = 2031-05-06T00:00:00Z\n"},
		{
			"  version=1#one\n   expires  =   2030-01-01T00:00:00Z   # x = y\n",
			"  version=2#one\n   expires  =   2031-05-06T00:00:00Z   # x = y\n",
		},
		{
			"# version = 7\nexpires = 2030-01-01T00:00:00Z # version = 3\nversion = 3 # expires = 3\n",
			"# version = 7\nexpires = 2031-05-06T00:00:00Z # version = 3\nversion = 4 # expires = 3\n",
		},
	} {
		head := "format = \"repopolicy/v1\" # é\nrepository = \"https://github.com/acme/widget\"\n"
		d, err := policy.Parse([]byte(head + c.before + bumpTail))
		if err != nil {
			t.Fatal(err)
		}
		got, err := bump(d, until)
		if err != nil || string(got) != head+c.after+bumpTail {
			t.Errorf("%q: %q %v", c.before, got, err)
		}
		if string(d.Text()) != head+c.before+bumpTail {
			t.Error("the text of the document changed")
		}
	}
	// What cannot be carried over is said.
	d, err := policy.Parse(
		[]byte(
			"format = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = 1\n" +
				"expires = 2030-01-01T00:00:00Z\nrecovers = \"sha256:" + strings.Repeat(
				"0", 64,
			) + "\"\n" + bumpTail,
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	var f *policy.Fault
	if _, err := bump(d, until); !errors.As(err, &f) || f.Reason != policy.PolicyValue ||
		!strings.Contains(f.Text, "recovers") {
		t.Error(err)
	}
}

// TestEditor: an editor is asked until the text is a policy; what is given up is
// kept.
func TestEditor(t *testing.T) {
	sh := filepath.Join(t.TempDir(), "editor")
	count := filepath.Join(t.TempDir(), "count")
	script := "#!/bin/sh\nif [ -e " + count + " ]; then echo good > \"$1\"; cat " + count +
		" > \"$1\"; else echo bad > \"$1\"; cp " + count + ".good " + count + "; fi\n"
	good := "format = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = 2\n" +
		"expires = 2030-01-01T00:00:00Z\n" + bumpTail
	err := errors.Join(os.WriteFile(sh, []byte(script), 0o700), os.WriteFile(count+".good", []byte(good), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if os.PathSeparator != '/' {
		t.Skip("the editor is a shell script")
	}
	edit := func(editor, answer string) ([]byte, string, error) {
		var out, talk bytes.Buffer
		// A file, as a terminal is: the editor gets it as it is.
		stdin := filepath.Join(t.TempDir(), "stdin")
		if err := os.WriteFile(stdin, []byte(answer), 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(stdin)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		a := &app{
			&command.Run{
				Env: command.Env{
					Stdout:   &out,
					Stderr:   &talk,
					Terminal: true,
					Stdin:    in,
					Getenv:   func(k string) string { return map[string]string{"EDITOR": editor}[k] },
				},
				Out: report.NewPrinter(&out),
				Err: report.NewPrinter(&talk),
			},
		}
		fields, err := a.editorOf()
		if err != nil {
			return nil, "", err
		}
		text, err := a.editor(t.Context(), fields, []byte("x"))
		return text, talk.String(), err
	}
	text, talk, err := edit(sh, "y\n")
	if err != nil || string(text) != good || !strings.Contains(talk, "error: 1:") {
		t.Errorf("%q %q %v", text, talk, err)
	}
	if err := os.Remove(count); err != nil {
		t.Fatal(err)
	}
	var f *policy.Fault
	_, _, err = edit(sh, "n\n")
	if !errors.As(err, &f) || f.Reason.Class() != policy.ClassInvalid {
		t.Fatal(err)
	}
	_, path, _ := strings.Cut(f.Hint, "it is in ")
	if kept, err := os.ReadFile(path); err != nil || string(kept) != "bad\n" {
		t.Errorf("%q %v", kept, err)
	}
	os.RemoveAll(filepath.Dir(path))
	if _, _, err := edit("false", ""); !errors.As(err, &f) || f.Reason != policy.Usage {
		t.Error(err)
	}
	if _, _, err := edit("", ""); !errors.As(err, &f) || !strings.Contains(f.Hint, "VISUAL") {
		t.Error(err)
	}
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("x", 3600))
	for s, want := range map[string]string{
		"1y": "2027-02-03", "10y": "2036-02-03", "90d": "2026-05-04", "11y": "", "0d": "", "": "", "y": "", "1": "", "1m": "",
		"01y": "", "-1d": "", "1yd": "", "9999d": "", "1.5y": "",
	} {
		at, err := expiry(now, s)
		if got := at.Format(time.DateOnly); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s %v", s, got, err)
		}
	}
}
