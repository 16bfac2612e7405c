// SPDX-License-Identifier: Apache-2.0

package command

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func typedFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("verify", pflag.ContinueOnError)
	f.StringP("repo", "R", "", "")
	f.StringArrayP("bundle", "b", nil, "")
	f.String("tag", "", "")
	f.String("name", "", "")
	f.BoolP("quiet", "q", false, "")
	f.BoolP("verbose", "v", false, "")
	return f
}

func TestTyped(t *testing.T) {
	explain := func(t *Typed) *Typed { return t.Verb("verify", "explain") }
	tag := func(t *Typed) *Typed { return t.With("tag", "v1.6.0") }
	release := func(t *Typed) *Typed { return t.Without("tag").Without("repo").Arguments("https://example.com/r") }
	for _, c := range []struct {
		name, typed, want string
		change            func(*Typed) *Typed
	}{
		{"another verb", "verify -R acme/widget x", "p explain -R acme/widget x", explain},
		{"the verb is no value", "--name verify verify verify", "p --name verify explain verify", explain},
		{"no flag is read after --", "verify -- verify --tag", "p explain -- verify --tag", explain},
		{"a flag in its place", "verify --tag 1.6.0 x", "p verify --tag v1.6.0 x", tag},
		{"with its value", "verify --tag=1.6.0 x", "p verify --tag v1.6.0 x", tag},
		{"a flag that is a value", "verify --name --tag x", "p verify --tag v1.6.0 --name --tag x", tag},
		{"a new flag", "verify -vR acme/widget x", "p verify --tag v1.6.0 -vR acme/widget x", tag},
		{"before --", "verify -R acme/widget -- -x", "p verify --tag v1.6.0 -R acme/widget -- -x", tag},
		{"letters", "verify -qvb f -bg -Racme/widget --tag x y", "p verify -qvb f -bg https://example.com/r", release},
		{"other arguments", "verify -R a/b --tag x -- y z", "p verify https://example.com/r", release},
		{"a word of several", "verify it's|$(id)", `p explain 'it'\''s|$(id)'`, explain},
		{"what cannot be shown", "verify x\x1b[31m", "", explain},
		{"what a runner would obey", "verify ##[add-mask]x", "", explain},
		{"what looks like another", "verify \u202ex", "", explain},
	} {
		got := strings.Join(c.change(TypedFor("p", strings.Split(c.typed, " "), typedFlags())).Words(), " ")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := TypedFor("p", []string{"verify"}, typedFlags()).With("tag", "-x").Arguments("-y").Words(); !slices.Equal(got,
		[]string{"p", "verify", "'--tag=-x'", "./-y"}) {
		t.Errorf("%q", got)
	}
}

// FuzzTyped reads what is shown with a shell: it has the words that were typed, or nothing is shown.
func FuzzTyped(f *testing.F) {
	seeds := []string{"x", "it's", "$(id)", "a b", "`id`", "-n", "--tag", "\\", "\"", "*", "~", "!!", "ü", "##[x"}
	for _, s := range seeds {
		f.Add(s)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("there is no sh")
	}
	f.Fuzz(func(t *testing.T, word string) {
		words := TypedFor("p", []string{"verify", "--", word}, typedFlags()).Words()
		if words == nil {
			return
		}
		out, err := exec.Command(sh, "-c", "printf '%s\\n' "+strings.Join(words, " ")).Output()
		if want := "p\nverify\n--\n" + word + "\n"; err != nil || string(out) != want {
			t.Errorf("%q is read as %q (%v)", words, out, err)
		}
	})
}
