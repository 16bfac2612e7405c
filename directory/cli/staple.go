// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

func (a *app) stapleCommand() *cobra.Command {
	o := &siteOptions{}
	roots := &rootOptions{}
	var repo, out string
	cmd := &cobra.Command{
		Use: "staple", Short: "keep a directory's answer with the repository or a release",
		Long: `Fetches what the directory says about a repository and writes it to where clients
look for it on the branch "repopolicy", below the current directory, or into a file
to be given to them. Nothing in it is verified here: whoever uses it does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.staple(cmd.Context(), o, roots, repo, out) },
	}
	o.flags(cmd)
	cmd.Flags().StringVarP(&repo, "repo", "R", "", "`REPOSITORY` that the answer is about")
	roots.flags(cmd, "answer for")
	cmd.Flags().StringVarP(&out, "output", "o", "", "`FILE` to write")
	if err := cmd.MarkFlagRequired("repo"); err != nil {
		panic(err)
	}
	return cmd
}

func (a *app) staple(ctx context.Context, o *siteOptions, roots *rootOptions, repo, out string) error {
	_, client, err := a.site(o)
	if err != nil {
		return err
	}
	l, err := policy.NormalizeLocator(repo)
	if err != nil {
		return &fault{class: policy.ClassUsage, err: fmt.Errorf("-R: %w", err)}
	}
	under, err := a.one(ctx, roots)
	if err != nil {
		return err
	}
	root, err := sigstore.ParseRoot("trusted root", under.root)
	if err != nil {
		return err
	}
	var forges *bindings.Forges
	if len(under.forges) > 0 {
		if forges, err = bindings.ParseForges(under.forges); err != nil {
			return &fault{class: policy.ClassInvalid, err: err}
		}
	}
	id := bindings.MapID(bindings.MapVersion, root.Digest().Hex, forges.Digest())
	hash := prefixmap.KeyHash(l.String())
	digits := hex.EncodeToString(hash[:])
	answer, err := client.Get(ctx, id+"/lookup/"+digits[:2]+"/"+digits+".json.gz", answers.MaxAnswerBytes)
	if err != nil {
		return err
	}
	if _, err := answers.ParseAnswer(answer); err != nil {
		return &fault{class: policy.ClassInvalid, err: err}
	}
	if out == "" {
		name := path.Join(bindings.Dir, "directory", id+".json.gz")
		out, err = filepath.FromSlash(name), file.WriteBelow(".", name, answer, 0o644)
	} else {
		err = file.Write(out, answer, 0o644)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Stdout, out)
	return err
}
