// SPDX-License-Identifier: Apache-2.0

package repopolicy_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/policy"
)

// at is when what the examples run on was recorded.
type at struct{}

func (at) Now() time.Time { return time.Date(2026, 6, 1, 12, 5, 0, 0, time.UTC) }

func file(name string) string { return filepath.Join("schema", "testdata", "client", name) }

func read(name string) []byte {
	data, err := os.ReadFile(file(name))
	if err != nil {
		log.Fatal(err)
	}
	return data
}

// offline is a client of a private instance without a network.
func offline() *repopolicy.Client {
	dir, err := os.MkdirTemp("", "repopolicy-example")
	if err != nil {
		log.Fatal(err)
	}
	return &repopolicy.Client{
		TrustedRoots: []string{file("trusted_root.json")}, Directory: read("directory.json"),
		Offline: true, StateDir: dir, Clock: at{},
	}
}

// A download is judged by the policy that its repository bound. Here an air-gap file carries
// the policy; without it, and with a zero client, the repository is asked.
func ExampleClient_Verify() {
	ctx, c := context.Background(), offline()
	defer os.RemoveAll(c.StateDir)
	p, err := c.Find(ctx, "github.com/acme/widget", repopolicy.Carried(read("widget.airgap")))
	if err != nil {
		log.Fatal(err)
	}
	v, err := c.Verify(ctx, p, repopolicy.File(file("widget_1.2.3_amd64.tar.gz")), repopolicy.Tag("v1.2.3"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("released by acme/widget:", v.OK())
	k := p.Knowledge()
	fmt.Println("known:", k.Genesis, k.Completeness)
	// Output:
	// released by acme/widget: true
	// known: first signed
}

// Everything that a checksum file lists is one batch: one denial makes the run a denial.
func ExampleVerdict_Entries() {
	ctx, c := context.Background(), offline()
	defer os.RemoveAll(c.StateDir)
	p, err := c.Find(ctx, "github.com/acme/widget", repopolicy.Carried(read("widget.airgap")))
	if err != nil {
		log.Fatal(err)
	}
	v, err := c.Verify(ctx, p, repopolicy.Artifact(file("SHA256SUMS")), repopolicy.Tag("v1.2.4"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Class())
	for _, e := range v.Entries() {
		if e.Result != nil {
			fmt.Println(filepath.Base(e.Input), e.Result.Decision.Reason)
		}
	}
	// Output:
	// DENY
	// SHA256SUMS tag-mismatch
	// widget_1.2.3_amd64.tar.gz tag-mismatch
	// widget_1.2.3_arm64.tar.gz tag-mismatch
}

// Who has a policy file that they trust needs no repository, no directory and no network.
func ExampleClient_Pinned() {
	ctx := context.Background()
	c := repopolicy.Client{TrustedRoots: []string{file("trusted_root.json")}, Offline: true, Clock: at{}}
	p, err := c.Pinned(ctx, "policy.toml", read("policy.toml"))
	if err != nil {
		log.Fatal(err)
	}
	v, err := c.Verify(ctx, p, repopolicy.File(file("widget_1.2.3_arm64.tar.gz")), repopolicy.Tag("v1.2.3"))
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range v.Entries() {
		if r := e.Result; r != nil {
			fmt.Println(r.Class(), r.Decision.Rule, r.Evidence.Signer.Ref())
		}
	}
	// Output:
	// OK binaries refs/tags/v1.2.3
}

// An admission webhook has a digest and asks whether it may run. Whatever is no yes is no:
// that nobody could be asked is said with another status, so that it is tried again.
func ExampleVerdict_OK() {
	c := offline()
	defer os.RemoveAll(c.StateDir)
	policyOf, err := c.Find(context.Background(), "github.com/acme/widget", repopolicy.Carried(read("widget.airgap")))
	if err != nil {
		log.Fatal(err)
	}
	admit := func(w http.ResponseWriter, r *http.Request) {
		v, err := c.Verify(r.Context(), policyOf,
			repopolicy.Artifact(r.FormValue("digest")), repopolicy.Name(r.FormValue("name")), repopolicy.Tag("v1.2.3"),
			repopolicy.Bundle(file("SHA256SUMS"), file("SHA256SUMS.sigstore.json")))
		var f *policy.Fault
		switch {
		case errors.As(err, &f) && f.Reason.Class() == policy.ClassUnavailable:
			http.Error(w, f.Text, http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !v.OK():
			http.Error(w, v.Class().String(), http.StatusForbidden)
		}
	}
	ask := func(digest string) {
		w := httptest.NewRecorder()
		admit(w, httptest.NewRequest("GET", "/?name=widget_1.2.3_amd64.tar.gz&digest="+digest, nil))
		fmt.Println(w.Code)
	}
	ask("sha256:" + string(read("SHA256SUMS")[:64]))
	ask("sha256:0000000000000000000000000000000000000000000000000000000000000000")
	// Output:
	// 200
	// 403
}
