// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// forge is a world of real bundles.
type forge struct {
	t    testing.TB
	inst *sigstoretest.Instance
	root *sigstore.Root
	at   time.Time
}

func newForge(t testing.TB) *forge {
	f := &forge{t: t, inst: sigstoretest.New(t), at: sigstoretest.Now.Add(-100 * time.Hour)}
	f.root = f.trust(f.inst)
	return f
}

func (f *forge) trust(i *sigstoretest.Instance) *sigstore.Root {
	f.t.Helper()
	// The second log begins after the first one, as in the public instance.
	data := i.Root(sigstoretest.RootOptions{LogV2: &sigstoretest.Window{Start: sigstoretest.Now.AddDate(0, -6, 0)}})
	r, err := sigstore.ParseRoot("test", data)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *forge) next() time.Time {
	f.at = f.at.Add(time.Hour)
	return f.at
}

func (f *forge) sign(payload []byte, who string) []byte {
	return f.inst.Sign(sigstoretest.Request{Statement: payload, SAN: who + "@example.com", Issuer: "https://accounts.google.com", At: f.next(), Log: sigstoretest.LogV2, TSA: true})
}

func (f *forge) signKey(payload []byte, key crypto.Signer) []byte {
	return f.inst.Sign(sigstoretest.Request{Statement: payload, Key: key, BareKey: true, At: f.next(), Log: sigstoretest.LogV2, TSA: true})
}

// bind signs as the repository's workflow.
func (f *forge) bind(payload []byte, repo, id string, log sigstoretest.LogKind) []byte {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	return f.inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com", At: f.next(), Log: log, TSA: true,
		Extensions: map[int]string{9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: id, 17: "2002", 18: wf, 20: "repository_dispatch"},
	})
}

func (f *forge) statement(text, previous string) ([]byte, string) {
	f.t.Helper()
	payload, err := Encode([]byte(text), previous)
	if err != nil {
		f.t.Fatal(err)
	}
	return payload, policy.Sum(payload)
}

func textOf(version int, who string, extra string) string {
	return fmt.Sprintf("# %s%s", who, extra) + "\n" + strings.NewReplacer("version = 1", fmt.Sprint("version = ", version), "alice", who).Replace(testPolicy)
}

const widget = "https://github.com/acme/widget"

func locator(t testing.TB, s string) policy.Locator {
	t.Helper()
	l, err := policy.ParseLocator(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shardID is the id of the second log, which is not the SHA-256 of its key: such
// ids tell Rekor v2 from Rekor v1.
var shardID = bytes.Repeat([]byte{2}, 32)

// chained is a repository with a genesis and a second version in both logs.
type chained struct {
	*forge
	one, two []byte
	files    []File
	v1       map[string]json.RawMessage // by name: entries as Rekor v1 answers them
	names    []string                   // of bindings of both versions that no file holds
}

func newChained(t testing.TB, generations ...int) *chained {
	t.Helper()
	c := &chained{forge: newForge(t), v1: map[string]json.RawMessage{}}
	c.root = c.rootWith(generations...)
	var d1 string
	c.one, d1 = c.statement(testPolicy, "")
	c.two, _ = c.statement(textOf(2, "alice", ""), d1)
	for i, payload := range [][]byte{c.one, c.two} {
		r := sigstoretest.Request{Statement: payload, SAN: "alice@example.com", Issuer: "https://accounts.google.com"}
		c.add(fmt.Sprint(i, "-signed"), r)
		c.add(fmt.Sprint(i, "-bound"), workflow(widget, payload))
	}
	for _, payload := range [][]byte{c.one, c.two} {
		name, _, _ := c.log(workflow(widget, payload))
		c.names = append(c.names, name)
	}
	return c
}

// rootWith returns a root with the logs of those generations.
func (f *forge) rootWith(generations ...int) *sigstore.Root {
	f.t.Helper()
	r, err := sigstore.ParseRoot("test", f.inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs[1].LogId.KeyId = shardID
		var keep []*prototrust.TransparencyLogInstance
		for _, g := range generations {
			keep = append(keep, tr.Tlogs[g-1])
		}
		tr.Tlogs = keep
	}}))
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func workflow(repo string, payload []byte) sigstoretest.Request {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	return sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com",
		Extensions: map[int]string{9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf, 20: "repository_dispatch"},
	}
}

// log signs, and returns the entry's name in Rekor v1 and the bundles, one for
// each log of the root.
func (c *chained) log(r sigstoretest.Request) (name string, entry json.RawMessage, bundles [][]byte) {
	c.t.Helper()
	r.At, r.TSA = c.next(), true
	r.Mutate = func(b *protobundle.Bundle) {
		for _, e := range b.VerificationMaterial.TlogEntries {
			if e.IntegratedTime == 0 {
				e.LogId.KeyId = shardID
			}
		}
	}
	for _, l := range c.root.Logs() {
		r.Log = sigstoretest.LogV1
		if l.Generation == 2 {
			r.Log = sigstoretest.LogV2
		}
		raw := c.inst.Sign(r)
		bundles = append(bundles, raw)
		if l.Generation == 1 {
			name, entry = entryV1(c.t, raw)
			c.v1[name] = entry
		}
	}
	return name, entry, bundles
}

func (c *chained) add(file string, r sigstoretest.Request) {
	_, _, bundles := c.log(r)
	for i, b := range bundles {
		c.files = append(c.files, File{fmt.Sprintf("%s/%s-%d.sigstore.json", SignaturesDir, file, i), b})
	}
}

// entryV1 turns the log entry of a bundle into the form of Rekor v1.
func entryV1(t testing.TB, bundle []byte) (name string, entry json.RawMessage) {
	t.Helper()
	var b struct {
		VerificationMaterial struct {
			TlogEntries []struct {
				LogIndex, IntegratedTime string
				LogID                    struct{ KeyID []byte }
				InclusionPromise         struct{ SignedEntryTimestamp []byte }
				CanonicalizedBody        []byte
			}
		}
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	e := b.VerificationMaterial.TlogEntries[0]
	entry = json.RawMessage(fmt.Sprintf(`{"body":%q,"integratedTime":%s,"logID":%q,"logIndex":%s,"verification":{"signedEntryTimestamp":%q}}`,
		base64.StdEncoding.EncodeToString(e.CanonicalizedBody), e.IntegratedTime, hex.EncodeToString(e.LogID.KeyID), e.LogIndex, base64.StdEncoding.EncodeToString(e.InclusionPromise.SignedEntryTimestamp)))
	return fmt.Sprintf("%016x%s", 4711, sigstore.LeafHash(e.CanonicalizedBody)), entry
}

// decide judges a release that no rule could allow, to see what the chain says
// before that.
func decide(c *chain.Chain) policy.Reason {
	d, _ := c.Trusted(chain.Demand{}).Precheck(policy.Request{Now: sigstoretest.Now}, policy.Claims{})
	return d.Reason
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (c *chained) resolve(files []File, lookups ...Lookup) *Resolution {
	c.t.Helper()
	r := &Resolver{Root: c.root, Lookups: lookups, Now: sigstoretest.Now}
	out, err := r.Resolve(c.t.Context(), locator(c.t, widget), files)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func NewState(t testing.TB) *State {
	t.Helper()
	s, err := OpenState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const testPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// proof returns a place proof of the first n entries of the Rekor v2 log.
func (c *chained) proof(n int, at time.Time) *PlaceProof {
	c.t.Helper()
	note := c.inst.CheckpointV2(c.inst.BodiesV2()[:n], c.inst.Origin())
	return &PlaceProof{hex.EncodeToString(shardID), note, c.inst.Stamp(note, at)}
}

// windows returns the root with another window of the Rekor v2 log.
func (c *chained) windows(o sigstoretest.RootOptions) *sigstore.Root {
	c.t.Helper()
	o.Mutate = func(tr *prototrust.TrustedRoot) { tr.Tlogs[1].LogId.KeyId = shardID }
	r, err := sigstore.ParseRoot("test", c.inst.Root(o))
	check(c.t, err)
	return r
}

// failing is a keeper of which one half fails.
type failing struct {
	Keeper
	load, store error
	lost        int // how often another process was first
}

func (k *failing) Kept(l policy.Locator) (chain.Kept, error) {
	if k.load != nil {
		return chain.Kept{}, k.load
	}
	return k.Keeper.Kept(l)
}

func (k *failing) Keep(l policy.Locator, old, next chain.Kept) (bool, error) {
	if k.store != nil {
		return false, k.store
	}
	if k.lost > 0 {
		k.lost--
		return false, nil
	}
	return k.Keeper.Keep(l, old, next)
}
