// SPDX-License-Identifier: Apache-2.0

// Package repopolicy answers who may release a repository, and whether an artifact was
// released by them, from the repository's URL alone.
//
// A repository binds a policy: a small file that names, by OIDC identity, the people and
// workflows who may release. Its versions are signed by its maintainers, each by the ones
// before, and every version is bound to the repository by an entry in Rekor, Sigstore's
// transparency log. So nobody has to be told a key first: what everybody can see in the log
// stands for it. The specification is schema/SPEC.md.
//
// # Judging a release
//
// A [Client] finds the policy and judges by it. Its zero value works as the command
// repopolicy does without flags:
//
//	var c repopolicy.Client
//	p, err := c.Find(ctx, "github.com/acme/widget")
//	if err != nil {
//		return err // there is no policy to judge by
//	}
//	v, err := c.Verify(ctx, p, repopolicy.File("widget.tar.gz"), repopolicy.Tag("v1.2.3"))
//	if err != nil {
//		return err // nothing could be judged
//	}
//	if !v.OK() {
//		return errors.New("not released by acme/widget")
//	}
//
// A [Policy] can be used for many artifacts, one after another or at the same time, for as
// long as what is known of the repository may be old; see [Client.MaxAge]. Who already has a
// policy file that they trust judges by that with [Client.Pinned], off-line if the trusted
// root is at hand, too.
//
// # What an answer is
//
// [Client.Verify] returns a [Verdict]: what became of every input. Only [Verdict.OK] is a
// yes. It is a yes if something was judged and nothing that was is denied; evidence that is
// missing, withheld or malformed never helps.
//
// Errors say that there is no answer. Most are a [*policy.Fault], whose reason has a class:
// no policy is bound, it expired, a service did not answer, an alarm leaves it open. The
// others are those of this machine. None of them is a reason to go on.
//
// # Before a release
//
// [Client.Authorize] answers a run that is about to sign, by its ID token, whether it may:
// before a certificate names it in public, and before somebody else has to find out.
//
// # What a client needs
//
// Every question has a budget, whatever strangers send: 96 MiB for what they do send, and ten
// minutes, but for the content of artifacts; or the time that the context has.
//
// It asks the forge for the repository's files by Git, Rekor for what else was bound, and
// where the user or the trusted root names one, a directory that answers with proofs. It
// remembers what it saw, so that a later answer cannot be older. Each of these edges can be
// replaced: see the fields of [Client], [State], [Git] and [Clock].
//
// What is trusted comes from the caller, from the user's trust.toml and from what is built
// in, never from the environment, the working directory or what is judged.
package repopolicy
