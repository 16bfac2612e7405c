// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// settings returns what readConfig finds, as `git config --list -z` prints it.
func settings(text string) (string, error) {
	var out strings.Builder
	err := readConfig([]byte(text), func(section, subsection, key, value string) error {
		if out.WriteString(section); subsection != "" {
			out.WriteString("." + subsection)
		}
		out.WriteString("." + key + "\n" + value + "\x00")
		return nil
	})
	return out.String(), err
}

// TestConfig has one row for each form and each refusal.
func TestConfig(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{text: ""},
		{text: "\xef\xbb\xbf[a]\r\n\tb = c\r\n", want: "a.b\nc\x00"},
		{text: "[A]b=c", want: "a.b\nc\x00"},
		{text: "[a]\nB-2 = x ; y\n# z\n;\n", want: "a.b-2\nx\x00"},
		{text: "[a]\nb\n", want: "a.b\n\x00"},
		{text: "[a \"B\\\"\\c]\"]\nb = \n", want: "a.B\"c].b\n\x00"},
		{text: "[A.B]\nc = 1", want: "a.b.c\n1\x00"},
		{text: "[a]\nb =  x  \" # y \"  \n", want: "a.b\nx   # y \x00"},
		{text: "[a]\nb = \\\"\\\\\\n\\t\\b\\\n  z \\\n", want: "a.b\n\"\\\n\t\b  z \x00"},
		{text: "b = c", err: "line 1"},
		{text: "[a]\n\n= c", err: "line 3"},
		{text: "[a]\n2 = c", err: "line 2"},
		{text: "[a]\nb c", err: "line 2"},
		{text: "[a]\nb # c", err: "line 2"},
		{text: "[a]\nb = \"c\n", err: "line 2"},
		{text: "[a]\nb = \\x", err: "line 2"},
		{text: "[a]\nb = \\", err: "line 2"},
		{text: "[a]\nb = \x00", err: "zero"},
		{text: "[a", err: "line 1"},
		{text: "[]", err: "line 1"},
		{text: "[.a]", err: "line 1"},
		{text: "[ \"a\"]", err: "line 1"},
		{text: "[a_b]", err: "line 1"},
		{text: "[a b]", err: "line 1"},
		{text: "[a \"b]", err: "line 1"},
		{text: "[a \"b\\", err: "line 1"},
		{text: "[a \"b\" ]", err: "line 1"},
		{text: "\xef[a]", err: "line 1"},
	} {
		got, err := settings(c.text)
		switch {
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("%q: %q, %v; want %q", c.text, got, err, c.want)
		case c.err != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: %q, %v; want %s", c.text, got, err, c.err)
		}
	}
	stop := errors.New("enough")
	err := readConfig([]byte("[a]\nb\nc\n"), func(_, _, key, _ string) error {
		if key == "c" {
			t.Error("the next setting is read after an error")
		}
		return stop
	})
	if err != stop {
		t.Errorf("the error of what is called: %v", err)
	}
}

// TestConfigAsGit reads texts that are put together at random as git config does. Of what Git
// reads it may refuse sections without a name, and settings outside of sections.
func TestConfigAsGit(t *testing.T) {
	parts := []string{
		"[a]", "[Core]", "[a.B]", `[x "Y"]`, `[x "Y\" ]"]`, "[", "]", "b", "Key", "=", " = ", "1", "-", "\"",
		"\\", "\\n", "\\\n",
		"\n", "\n", "\r\n", "\r", " ", "\t", "\v", "\f", "#", ";", "é", "\xff", ".", "x y", "\\\"", "url = https://a/b#c",
	}
	r := rand.New(rand.NewPCG(1, 2))
	read, refused := 0, 0
	for range 300 {
		var text strings.Builder
		text.WriteString("[s]\n")
		for range 1 + r.IntN(6) {
			text.WriteString(parts[r.IntN(len(parts))])
		}
		cmd := exec.Command("git", "config", "--no-includes", "--list", "-z", "-f", "-")
		cmd.Stdin = strings.NewReader(text.String())
		out, err := cmd.Output()
		got, mine := settings(text.String())
		// Git tells a key without a value from one with the empty value.
		want := strings.ReplaceAll(string(bytes.ReplaceAll(out, []byte("\n\x00"), []byte("\x00"))), "\n\x00", "\x00")
		switch {
		case err != nil && mine == nil:
			t.Errorf("%q: git config refuses it, and not we", text.String())
		case err == nil && mine != nil && !strings.Contains(text.String(), "[]"):
			t.Errorf("%q: %v; git config has %q", text.String(), mine, out)
		case err == nil && mine == nil && strings.ReplaceAll(got, "\n\x00", "\x00") != want:
			t.Errorf("%q: %q; git config has %q", text.String(), got, out)
		case err == nil:
			read++
		default:
			refused++
		}
	}
	if read < 50 || refused < 50 {
		t.Errorf("%d read, %d refused: the texts are too much alike", read, refused)
	}
}

// FuzzConfig: what is read is read the same way when the settings are written plainly.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://github.com/acme/widget # x\n"))
	f.Add([]byte("[a.b]c\r\nd = \"x\\\"\" y \\\nz\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		type setting struct{ section, subsection, key, value string }
		var all []setting
		keep := func(section, subsection, key, value string) error {
			all = append(all, setting{section, subsection, key, value})
			return nil
		}
		if readConfig(data, keep) != nil {
			return
		}
		escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
		var plain strings.Builder
		for _, s := range all {
			plain.WriteString("[" + s.section + ` "` + escape.Replace(s.subsection) + "\"]\n" + s.key + ` = "`)
			plain.WriteString(strings.ReplaceAll(escape.Replace(s.value), "\n", `\n`) + "\"\n")
		}
		first := all
		all = nil
		if err := readConfig([]byte(plain.String()), keep); err != nil || len(all) != len(first) {
			t.Fatalf("%q: %v", plain.String(), err)
		}
		for i := range all {
			if all[i] != first[i] {
				t.Fatalf("%q: %+v, then %+v", data, first[i], all[i])
			}
		}
	})
}
