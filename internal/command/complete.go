// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Limits of completion, which nobody waits for. Nothing is asked over the network for it.
const (
	completionTime = 2 * time.Second
	maxCompletions = 1000
)

// Words is the annotation of a flag with the words that may stand there.
const Words = "repopolicy_words"

// completing adds the verb that prints a shell's script, and says what may stand in the place of flags' values and
// of arguments if a shell asks.
func (r *Run) completing(root *cobra.Command, args []string) {
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "print the completion script of a shell"
		}
	}
	if len(args) == 0 || !strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return
	}
	root.SetOut(rawOut{r}) // a tab is a tab there; what strangers name has passed notPlain
	r.completes(root)
}

func (r *Run) completes(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch v := f.Value.(type) { // a shell's command line is read more than once
		case *Once:
			v.again = true
		case *Format:
			v.again = true
		}
		if _, there := cmd.GetFlagCompletionFunc(f.Name); !there {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, r.completion(f))
		}
	})
	if cmd.ValidArgsFunction == nil && cmd.Runnable() && cmd.ValidateArgs([]string{"x"}) != nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions // it takes none
	}
	for _, c := range cmd.Commands() {
		r.completes(c)
	}
}

// rawOut is the standard output for a shell, and not for a terminal.
type rawOut struct{ r *Run }

func (o rawOut) Write(b []byte) (int, error) {
	o.r.Out.Raw(string(b))
	return len(b), o.r.Out.Err()
}

// completion returns what completes the value of a flag.
func (r *Run) completion(f *pflag.Flag) cobra.CompletionFunc {
	if v, ok := f.Value.(*Format); ok {
		return fixed(v.Allowed...)
	}
	if words := f.Annotations[Words]; words != nil {
		return fixed(words...)
	}
	switch f.Name {
	case "tag":
		return listed(tagsHere)
	case "rule":
		return listed(rulesHere)
	case "trust-root", "tuf":
		return listed(r.rootsHere)
	case "require":
		return fixed(string(policy.GenesisPinned), string(policy.GenesisAnchored), string(policy.GenesisFirst),
			string(policy.GenesisClaimed), string(chain.CompleteProven), string(chain.CompleteSigned),
			string(chain.CompleteScanned), string(chain.CompleteHinted), string(chain.CompleteNone), "one-log")
	case "forge":
		return fixed("github", "gitlab", "forgejo")
	case "unbound", "maintainers":
		return fixed("repository")
	case "stage":
		return fixed("sign", "publish")
	case "status":
		return fixed("active", "expired")
	}
	switch value, _ := pflag.UnquoteUsage(f); value {
	case "FILE", "PATH", "PLACE", "PROGRAM", "FILE|sha256:HEX":
		return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		}
	case "DIR":
		return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		}
	}
	return cobra.NoFileCompletions
}

func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// listed completes by what is found on this machine.
func listed(find func(context.Context, *cobra.Command) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, stop := context.WithTimeout(context.Background(), completionTime)
		defer stop()
		var out []cobra.Completion
		for _, name := range find(ctx, cmd) {
			// A name that a shell would not take as one word, or that is shown as something else, is left out.
			if strings.HasPrefix(name, begun) && !strings.ContainsFunc(name, notPlain) && len(out) < maxCompletions {
				out = append(out, name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func notPlain(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("-._/@+", r)
}

// value returns what was given for a flag, "" if nothing was or there is none of the name.
func value(cmd *cobra.Command, flag string) string {
	if f := cmd.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

// tagsHere returns the tags of the clone that --git names, or of the working directory, the newest name first.
func tagsHere(ctx context.Context, cmd *cobra.Command) []string {
	repo, err := git.Open(ctx, cmp.Or(value(cmd, "git"), "."))
	if err != nil {
		return nil
	}
	defer repo.Close()
	tags, err := repo.Tags()
	if err != nil {
		return nil
	}
	slices.Sort(tags)
	slices.Reverse(tags)
	return tags
}

// rulesHere returns the names of the rules of the policy that --policy names, or of the working directory's.
func rulesHere(_ context.Context, cmd *cobra.Command) []string {
	text, err := ReadPolicy(cmp.Or(value(cmd, "policy"), DefaultPolicy))
	if err != nil {
		return nil
	}
	doc, err := policy.Parse(text)
	if err != nil {
		return nil
	}
	var out []string
	for _, rule := range doc.Content().Rules {
		out = append(out, rule.Name)
	}
	return out
}

// rootsHere returns the names of the roots that the user trusts.
func (r *Run) rootsHere(_ context.Context, cmd *cobra.Command) []string {
	out := []string{string(trust.PublicGood)}
	f := r.Finder()
	config, err := f.TrustConfig((&Roots{TrustConfig: Once{Value: value(cmd, "trust-config")}}).Trust())
	if err != nil || config == nil {
		return out
	}
	for _, root := range config.Roots {
		out = append(out, root.Name)
	}
	return out
}
