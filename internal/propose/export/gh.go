// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// publicGoodCA is the name of the authority of Sigstore's public instance, as gh
// prints it. gh itself would also take GitHub's own instance, which has no log.
const publicGoodCA = "CN=sigstore-intermediate,O=sigstore.dev"

// gh writes one `gh attestation verify` for a workflow. What gh has no flag for
// stands in --jq, which gets the verified certificate (extensions .8 to .22) of
// each attestation; an error in it ends gh with 1. Flags and JSON as of gh v2.80.
func (e *exporter) gh() {
	w := e.rule.Workflow
	switch {
	case w == nil && !e.rule.GitHubRelease && e.rule.Target == nil:
		field := "identities"
		if len(e.rule.Identities) == 0 {
			field = "keys"
		}
		e.leave(e.at+"."+field, "`--to cosign` can express it", "gh verifies attestations by workflows only")
		return
	case w == nil:
		return
	case e.file.Repository.Host() != "github.com":
		e.refuse("repository", "", "gh verifies repositories on github.com only")
		return
	}
	if w.Environment != "" {
		e.no("environment", "the environment (.23): it reads certificates up to .22")
	}
	if w.SignerDigest != "" && w.SignerRef == "" {
		e.cannot(e.at+".signer-ref", "add signer-ref to the rule", "gh needs the signer's whole name, with its ref")
	}
	ref := e.ref()
	e.refuseRef(ref)
	artifact, _ := e.files()
	if ref != "" {
		e.comment("rule %s, for %s", e.rule.Name, ref)
	} else {
		e.comment("rule %s", e.rule.Name)
	}
	fmt.Fprintf(
		&e.out,
		"%sgh attestation verify %s --repo %s",
		e.notExpired(),
		artifact,
		quote(e.file.Repository.Path()),
	)
	if !w.Signer.IsZero() {
		fmt.Fprintf(&e.out, " --signer-repo %s", quote(w.Signer.Path()))
	}
	fmt.Fprintf(&e.out, " --cert-oidc-issuer %s", quote(w.Issuer))
	if ref != "" {
		fmt.Fprintf(&e.out, " --source-ref %s", quote(ref))
	}
	if w.SignerDigest != "" {
		fmt.Fprintf(&e.out, " --signer-digest %s", w.SignerDigest)
	}
	if w.Runner == "github-hosted" {
		e.out.WriteString(" --deny-self-hosted-runners")
	}
	fmt.Fprintf(&e.out, " --format json --jq %s\n", quote(e.jq(w, ref)))
}

// refuseRef refuses a ref that gh cannot be asked for, and one that the rule does
// not allow.
func (e *exporter) refuseRef(ref string) {
	r := e.rule
	tag, _ := strings.CutPrefix(ref, "refs/tags/")
	switch own := len(r.Refs.Patterns()) == 0 && !r.Refs.Any(); {
	case !own && ref == "" && e.Strict:
		e.no("refs", "more than one ref")
	case !own && !r.Tags.Any():
		e.no("tags", "the tag of a release from %s: a package's version names it, which gh does not read", ref)
	case !own:
	case ref == "" && !e.Strict:
	case ref == "":
		e.refuse(
			e.at+".tags",
			"name the release with --tag",
			"%s compares whole names, so the tag must be known",
			e.target,
		)
	case !spelling.ValidTag(tag) || !r.Tags.Match(tag):
		e.refuse(e.at+".tags", "", "the rule does not allow the tag %s", tag)
	}
}

// jq returns the expression that an array of verified attestations must satisfy.
func (e *exporter) jq(w *policy.Workflow, ref string) string {
	repo := e.file.Repository
	signer, run := repo, str(ref)
	if !w.Signer.IsZero() {
		signer = w.Signer
	}
	isRef := "$c.sourceRepositoryRef == " + run
	if ref == "" {
		run = `($c.sourceRepositoryRef // "")`
		isRef = run + " | test(" + str(`\A(?:`+e.refExpression()+`)\z`) + ")"
	}
	signerRef := run
	if w.SignerRef != "" {
		signerRef = str(w.SignerRef)
	}
	isSigner := fmt.Sprintf("($c.subjectAlternativeName | is(%s; %s + %s))", str(signer.String()), str("/"+w.Path+"@"),
		signerRef)
	if w.SignerRef == "" && w.SignerDigest != "" { // what follows is how the caller named the commit
		isSigner = fmt.Sprintf(
			"($c.subjectAlternativeName | begins(%s; %s))",
			str(signer.String()),
			str("/"+w.Path+"@"),
		)
	}
	conds := []string{
		"$c.certificateIssuer == " + str(publicGoodCA),
		`any($r.verifiedTimestamps[]?; .type == "Tlog")`,
		"$c.issuer == " + str(w.Issuer),
		fmt.Sprintf(`($c.sourceRepositoryURI | is(%s; ""))`, str(repo.String())),
		isSigner,
		"$c.buildSignerURI == $c.subjectAlternativeName",
		fmt.Sprintf("($c.buildConfigURI | is(%s; %s + %s))", str(repo.String()), str("/"+w.Caller+"@"), run),
		"(" + isRef + ")",
		fmt.Sprintf("any(%s; . == $c.buildTrigger)", strings.Join(quoted(w.Triggers), ", ")),
	}
	if w.SignerDigest != "" {
		conds = append(conds, "$c.buildSignerDigest == "+str(w.SignerDigest))
	}
	if w.Runner != "any" {
		conds = append(conds, "$c.runnerEnvironment == "+str(w.Runner))
	}
	if !e.rule.SetOnly {
		conds = append(
			conds,
			`all($a.bundle.verificationMaterial.tlogEntries[]; (.inclusionProof.checkpoint.envelope // "") != "")`,
		)
	}
	if !e.rule.Artifacts.Any() {
		// gh has expressions only; these are whole and every other byte is escaped.
		var res []string
		for _, p := range e.rule.Artifacts.Patterns() {
			res = append(res, expression(p.String()))
		}
		conds = append(
			conds,
			fmt.Sprintf(
				"all($r.statement.subject[]; (.name // \"\") | test(%s))",
				str(`\A(?:`+strings.Join(res, "|")+`)\z`),
			),
		)
	}
	begins := ""
	if strings.Contains(isSigner, "begins") {
		begins = `def begins($repo; $rest): type == "string" and (.[:($repo | length)] | ascii_downcase) == $repo ` +
			`and (.[($repo | length):] | startswith($rest)); `
	}
	return `def is($repo; $rest): type == "string" and (.[:($repo | length)] | ascii_downcase) == $repo ` +
		`and .[($repo | length):] == $rest; ` + begins +
		"if any(.[]; .attestation as $a | .verificationResult as $r | $r.signature.certificate as $c | " + strings.Join(
		conds,
		" and ",
	) + ") " +
		"then " + str("allowed by rule "+e.rule.Name) + " else error(" + str(
		"rule "+e.rule.Name+" does not allow this",
	) + ") end"
}

// expression returns a pattern of the policy as the inside of an anchored
// regular expression.
func expression(pattern string) string {
	var b strings.Builder
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c == '*':
			b.WriteString("[^/]*")
		case c >= '0' && c <= '9',
			c >= 'A' && c <= 'Z',
			c >= 'a' && c <= 'z',
			c == '/',
			c == '_',
			c == '-',
			c == '@',
			c == ':',
			c == '%':
			b.WriteByte(c)
		default:
			b.WriteString(`\` + string(c))
		}
	}
	return b.String()
}

// str returns s, which a policy's parser has found to be printable, as a string
// of jq: the interpolation \( cannot occur where a backslash is escaped.
func str(s string) string { return strconv.QuoteToASCII(s) }

func quoted(ss []string) []string {
	out := slices.Clone(ss)
	for i := range out {
		out[i] = str(out[i])
	}
	return out
}
