// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// inspectOptions are the flags of inspect.
type inspectOptions struct {
	command.Roots
	published      publishedOptions
	repo, tag, git command.Once
	bundles, keys  []string
	offline        bool
	format         command.Format
	client         *repopolicy.Client
	about          []repopolicy.VerifyOption
}

func (a *app) inspectCommand() *cobra.Command {
	o := &inspectOptions{format: command.Format{Allowed: []string{"text", "json"}}}
	cmd := &cobra.Command{
		Use:   "inspect [flags] FILE|BUNDLE|DIR|SHA256SUMS|LAYOUT|refs/tags/TAG|sha256:HEX|URL|PURL|oci://IMAGE...",
		Short: "show what evidence there is and who signed it, without a verdict",
		Long: `Inspect shows the evidence for what verify would judge, wherever verify would find it,
or what is in a file that is evidence itself: who signed, when, in which log, and every field of
the certificate. It needs no policy and gives no verdict: whether a signer may release is for
verify to say.

The first word of each line says what it rests on. verified: a signature, certificate, log or
time stamp shows it under your trusted root. signed: it is the word of a signer that is verified.
claimed: it is the evidence's own word, and nothing vouches for it. missing: it is not there.

With -R, or where a URL names the repository, evidence is looked for in its release of --tag and
elsewhere, too, and the trusted roots are those that trust.toml has for it.

The exit code says whether everything was shown, and nothing more: 0 if it was, also if none of it
is verified; 1 if there is no evidence, or a file could not be read; 3 if something could not be
had; 6 if a file that you named is malformed evidence. The form of --format json is schema/inspection-v1.json.`,
		Example: `  repopolicy inspect widget_1.2.3.tar.gz
  repopolicy inspect widget_1.2.3.tar.gz.sigstore.json
  repopolicy inspect https://github.com/acme/widget/releases/tag/v1.2.3
  repopolicy inspect --format json oci://ghcr.io/acme/widget:v1.2.3`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), o, args) },
	}
	f := cmd.Flags()
	o.repo.Kind, o.tag.Kind, o.git.Kind = "URL", "TAG", "DIR"
	f.VarP(&o.repo, "repo", "R", "the repository that it is of: a URL, or OWNER/NAME on github.com")
	f.Var(&o.tag, "tag", "look for evidence in the release of this tag, too")
	f.VarP((*command.List)(&o.bundles), "bundle", "b",
		"show what this `FILE` says of each artifact, instead of what lies beside it; may be repeated")
	f.Var((*command.List)(&o.keys), "public-key",
		"verify what a bare key signed with the one in this `FILE`; may be repeated")
	f.Var(&o.git, "git", "read Git tags from the repository in this directory instead of here")
	o.published.flags(f)
	o.RootFlags(cmd, "; may be repeated, each is used alone")
	f.BoolVar(&o.offline, "offline", false, "do not use the network; the trusted root comes from a file or the cache")
	f.Var(&o.format, "format", "form of the output")
	return cmd
}

func (a *app) inspect(ctx context.Context, o *inspectOptions, args []string) error {
	if err := a.inspection(o, args); err != nil {
		return err
	}
	ctx = find.On(ctx, a.Machine())
	results, err := o.client.Inspect(ctx, o.repo.Value, o.about...)
	if err != nil {
		return err
	}
	doc := report.NewInspection(results)
	if o.format.JSON() {
		if err := a.Out.JSON(doc); err != nil {
			return err
		}
	} else {
		a.Out.Inspection(doc)
	}
	if class := doc.Class(); class != policy.ClassOK {
		return command.Decided{Class: class}
	}
	return nil
}

// inspection reads flags and arguments, and the files that they name. What is wrong with them is said
// before anybody is asked anything.
func (a *app) inspection(o *inspectOptions, args []string) error {
	q := &question{options: &verifyOptions{}, repo: o.repo.Value, tag: o.tag.Value}
	if err := q.name(args); err != nil { // of the URL of a release
		return err
	}
	o.repo.Value = q.repo
	if len(o.TrustedRoots) > 0 && o.TrustRoot.Given {
		return policy.Faultf(policy.Usage, "--trusted-root and --trust-root contradict each other")
	}
	s, err := a.sources(&o.published)
	if err != nil {
		return err
	}
	o.client = &repopolicy.Client{
		HTTP: a.Transport, Clock: clock(a.Now), Agent: command.UserAgent(), Log: func(line string) { a.Err.Line("%s", line) },
		TrustedRoots: o.TrustedRoots, TrustRoot: o.TrustRoot.Value, TrustConfig: o.TrustConfig.Value, Offline: o.offline,
		Sources: s,
	}
	for _, path := range o.keys {
		pem, err := file.Read(path, command.MaxPublicKey)
		if err == nil {
			_, err = keys.Parse(pem)
		}
		if err != nil {
			return &policy.Fault{Reason: policy.Usage, Text: "--public-key: " + path + ": " + err.Error(), Hint: keys.Hint(err)}
		}
		o.client.Keys = append(o.client.Keys, pem)
	}
	o.about = []repopolicy.VerifyOption{
		repopolicy.Artifact(args...), repopolicy.Tag(o.tag.Value), repopolicy.Bundle(o.bundles...),
		repopolicy.Worktree(o.git.Value),
	}
	return o.client.Check(o.repo.Value, o.about...)
}
