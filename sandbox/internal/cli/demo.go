// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// maxReason is how many characters of an error the demo shows.
const maxReason = 240

// extensionNames are the names of Fulcio's extensions 1.3.6.1.4.1.57264.1.n, by
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md. Those below 8
// repeat what later ones say.
var extensionNames = map[int]string{
	8: "Issuer", 9: "Build Signer URI", 10: "Build Signer Digest", 11: "Runner Environment", 12: "Source Repository URI",
	13: "Source Repository Digest", 14: "Source Repository Ref", 15: "Source Repository Identifier", 16: "Source Repository Owner URI",
	17: "Source Repository Owner Identifier", 18: "Build Config URI", 19: "Build Config Digest", 20: "Build Trigger",
	21: "Run Invocation URI", 22: "Source Repository Visibility", 23: "Deployment Environment", 24: "Token Subject",
}

func (a *app) demo() *cobra.Command {
	var pause, more bool
	c := &cobra.Command{
		Use: "demo", Short: "start a stack, bind a policy, verify a release by it, and see the attacks refused", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDemo(cmd.Context(), pause, more) },
	}
	c.Flags().BoolVar(&pause, "pause", false, "wait for Enter before each chapter")
	c.Flags().BoolVar(&more, "more", false, "go on to what happens over years: a new log, another name, and what a foundation's root can say")
	return c
}

// show is the demo's own client: sigstore-go, which knows the stack only by its
// TUF repository.
type show struct {
	*app
	ctx     context.Context
	stack   *sandbox.Stack
	trusted *root.TrustedRoot
	config  *root.SigningConfig
	look    []string       // flags of every look-up
	wrong   int            // outcomes that were not as announced
	enter   *bufio.Scanner // waits for a line between chapters; nil to go on at once
}

// chapter begins a chapter of the demo.
func (d *show) chapter(format string, args ...any) {
	if d.enter != nil {
		fmt.Fprint(d.Stdout, "\n   … Enter goes on ")
		d.enter.Scan()
	}
	d.say("\n"+format, args...)
}

func (d *show) say(format string, args ...any) { fmt.Fprintf(d.Stdout, format+"\n", args...) }

func (a *app) runDemo(ctx context.Context, pause, more bool) (err error) {
	dir, err := os.MkdirTemp("", "repopolicy-sandbox-demo-")
	if err != nil {
		return unavailable(err)
	}
	defer os.RemoveAll(dir)
	d := &show{app: a, ctx: ctx}
	if pause {
		d.enter = bufio.NewScanner(a.Stdin)
	}
	begin := time.Now()
	d.say("1. A whole Sigstore starts on 127.0.0.1:")
	options := sandbox.Options{Witnesses: 2, Progress: func(what string) { d.say("   starting: %s", what) }}
	if a.RekorV1 != nil {
		options.RekorV1 = a.RekorV1("")
		d.look = []string{"--scan"} // where there is an index it would be asked instead
	}
	if d.stack, err = sandbox.Start(ctx, dir, options); err != nil {
		return unavailable(err)
	}
	defer func() { err = errors.Join(err, d.stack.Close()) }()
	d.say("   ready after %s", time.Since(begin).Round(time.Millisecond))
	if err := d.bootstrap(dir); err != nil {
		return unavailable(err)
	}

	job := claims.GitHub{
		Repository: "acme/widget", RepositoryID: 4711, OwnerID: 42, Ref: "refs/tags/v1.2.3", Event: "push", Environment: "release",
		Workflow: ".github/workflows/release.yml", WorkflowName: "release", RunID: 7,
	}
	const san = "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1.2.3"
	artifact := []byte("widget 1.2.3\n")
	sum := sha256.Sum256(artifact)
	statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"widget_1.2.3.tar.gz","digest":{"sha256":"%s"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`, hex.EncodeToString(sum[:]))

	d.chapter("3. The release job of acme/widget signs its artifact and a statement about it; a fork signs the artifact too:")
	blob, err := d.sign(job, "artifact", &sign.PlainData{Data: artifact})
	if err != nil {
		return unavailable(err)
	}
	dsse, err := d.sign(job, "statement", &sign.DSSEData{Data: statement, PayloadType: "application/vnd.in-toto+json"})
	if err != nil {
		return unavailable(err)
	}

	forkJob := job
	forkJob.Repository, forkJob.RepositoryID, forkJob.OwnerID = "mallory/widget", 0, 0
	fork, err := d.sign(forkJob, "fork", &sign.PlainData{Data: artifact})
	if err != nil {
		return unavailable(err)
	}

	d.chapter("4. What the certificate says of the job:")
	if err := d.certificate(dsse); err != nil {
		return unavailable(err)
	}

	d.chapter("5. Anybody with the trusted root can verify both:")
	d.expect("the artifact, by its signature", true, d.verify(blob, artifact, san))
	d.expect("the artifact, by the statement", true, d.verify(dsse, artifact, san))

	d.chapter("6. And what must be refused is refused:")
	d.expect("a changed artifact", false, d.verify(blob, append([]byte("x"), artifact...), san))
	d.expect("a bundle of the fork mallory/widget", false, d.verify(fork, artifact, san))
	d.expect("a log entry whose place was changed", false, d.verify(tampered(blob, func(b *protobundle.Bundle) {
		b.VerificationMaterial.TlogEntries[0].LogIndex++
		b.VerificationMaterial.TlogEntries[0].InclusionProof.LogIndex++
	}), artifact, san))
	d.expect("a log entry taken from the other bundle", false, d.verify(tampered(blob, func(b *protobundle.Bundle) {
		b.VerificationMaterial.TlogEntries = dsse.VerificationMaterial.TlogEntries
	}), artifact, san))
	if err := d.policy(dir); err != nil {
		return unavailable(err)
	}
	if more {
		if err := d.more(dir); err != nil {
			return unavailable(err)
		}
	}
	if d.wrong > 0 {
		return failed{exitDeny, fmt.Errorf("%d outcomes were not as announced", d.wrong)}
	}
	d.say("\nEverything as announced, in %s.", time.Since(begin).Round(time.Millisecond))
	return nil
}

func (d *show) bootstrap(dir string) error {
	pinned, err := d.stack.TUFRoot()
	if err != nil {
		return err
	}
	client, err := tuf.New(&tuf.Options{Root: pinned, RepositoryBaseURL: d.stack.URL(sandbox.TUF), CachePath: dir + "/client"})
	if err != nil {
		return err
	}
	if d.trusted, err = root.GetTrustedRoot(client); err != nil {
		return err
	}
	// Beside Rekor v1 the new one is opted into, as on the public instance.
	target := "signing_config.v0.2.json"
	if d.RekorV1 != nil {
		target = "signing_config_rekor_v2.v0.2.json"
	}
	data, err := client.GetTarget(target)
	if err != nil {
		return err
	}
	if d.config, err = root.NewSigningConfigFromJSON(data); err != nil {
		return err
	}
	d.chapter("2. A client that knows one file, the pinned root.json, learns the rest by TUF:")
	d.say("   certificates  %s", d.config.FulcioCertificateAuthorityURLs()[0].URL)
	d.say("   log           %s (Rekor v%d, %d witnesses)", d.config.RekorLogURLs()[0].URL, d.config.RekorLogURLs()[0].MajorAPIVersion, strings.Count(d.stack.WitnessPolicy(), "witness "))
	d.say("   time stamps   %s", d.config.TimestampAuthorityURLs()[0].URL)
	return nil
}

func (d *show) sign(who claims.Claims, what string, content sign.Content) (*bundle.Bundle, error) {
	begin := time.Now()
	token, err := d.stack.Token(who)
	if err != nil {
		return nil, err
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	log := d.config.RekorLogURLs()[0]
	b, err := sign.Bundle(content, key, sign.BundleOptions{
		Context:                    d.ctx,
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: d.config.FulcioCertificateAuthorityURLs()[0].URL}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
		TimestampAuthorities:       []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: d.config.TimestampAuthorityURLs()[0].URL})},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: log.URL, Version: log.MajorAPIVersion})},
	})
	if err != nil {
		return nil, err
	}
	d.say("   %-9s certificate, time stamp and log entry %d after %s", what, b.VerificationMaterial.TlogEntries[0].LogIndex, time.Since(begin).Round(time.Millisecond))
	return bundle.NewBundle(b)
}

func (d *show) certificate(b *bundle.Bundle) error {
	cert, err := x509.ParseCertificate(b.VerificationMaterial.GetCertificate().RawBytes)
	if err != nil {
		return err
	}
	for _, uri := range cert.URIs {
		d.say("   %-40s %s", "Subject Alternative Name", uri)
	}
	arc := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1}
	for _, e := range cert.Extensions {
		if len(e.Id) != len(arc)+1 || !e.Id[:len(arc)].Equal(arc) {
			continue
		}
		n := e.Id[len(arc)]
		var value string
		if name, ok := extensionNames[n]; ok {
			if _, err := asn1.Unmarshal(e.Value, &value); err != nil {
				return fmt.Errorf("extension .%d: %w", n, err)
			}
			d.say("   %-40s %s", fmt.Sprintf("%s (.%d)", name, n), value)
		}
	}
	return nil
}

func (d *show) verify(b *bundle.Bundle, artifact []byte, san string) error {
	v, err := verify.NewVerifier(d.trusted, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		return err
	}
	id, err := verify.NewShortCertificateIdentity(claims.GitHubIssuer, "", san, "")
	if err != nil {
		return err
	}
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(artifact)), verify.WithCertificateIdentity(id)))
	return err
}

func tampered(b *bundle.Bundle, change func(*protobundle.Bundle)) *bundle.Bundle {
	c := &bundle.Bundle{Bundle: proto.Clone(b.Bundle).(*protobundle.Bundle)}
	change(c.Bundle)
	return c
}

func (d *show) expect(what string, accepted bool, err error) {
	mark := "verified"
	if err != nil {
		mark = "refused "
	}
	d.say("   %s  %s", mark, what)
	if err != nil {
		reason := []rune(strings.Join(strings.Fields(err.Error()), " "))
		if len(reason) > maxReason {
			reason = append(reason[:maxReason], '…')
		}
		d.say("             reason: %s", string(reason))
	}
	if (err == nil) != accepted {
		d.wrong++
		d.say("             this was not expected")
	}
}
