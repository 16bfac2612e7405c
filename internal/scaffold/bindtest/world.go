// SPDX-License-Identifier: Apache-2.0

package bindtest

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

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/rekorbind"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// forge is a world of real bundles.
type Forge struct {
	T    testing.TB
	Inst *sigstoretest.Instance
	Root *sigstore.Root
	At   time.Time
}

func NewForge(t testing.TB) *Forge {
	f := &Forge{T: t, Inst: sigstoretest.New(t), At: sigstoretest.Now.Add(-100 * time.Hour)}
	f.Root = f.Trust(f.Inst)
	return f
}

func (f *Forge) Trust(i *sigstoretest.Instance) *sigstore.Root {
	f.T.Helper()
	// The second log begins after the first one, as in the public instance.
	data := i.Root(sigstoretest.RootOptions{LogV2: &sigstoretest.Window{Start: sigstoretest.Now.AddDate(0, -6, 0)}})
	r, err := sigstore.ParseRoot("test", data)
	if err != nil {
		f.T.Fatal(err)
	}
	return r
}

func (f *Forge) Next() time.Time {
	f.At = f.At.Add(time.Hour)
	return f.At
}

func (f *Forge) Sign(payload []byte, who string) []byte {
	return f.Inst.Sign(
		sigstoretest.Request{
			Statement: payload, SAN: who + "@example.com", Issuer: "https://accounts.google.com", At: f.Next(),
			Log: sigstoretest.LogV2, TSA: true,
		},
	)
}

func (f *Forge) SignKey(payload []byte, key crypto.Signer) []byte {
	return f.Inst.Sign(
		sigstoretest.Request{
			Statement: payload, Key: key, BareKey: true, At: f.Next(), Log: sigstoretest.LogV2, TSA: true,
		},
	)
}

// bind signs as the repository's workflow.
func (f *Forge) Bind(payload []byte, repo, id string, log sigstoretest.LogKind) []byte {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	return f.Inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com", At: f.Next(), Log: log, TSA: true,
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: id, 17: "2002", 18: wf,
			20: "repository_dispatch",
		},
	})
}

func (f *Forge) Statement(text, previous string) ([]byte, string) {
	f.T.Helper()
	payload, err := rekorbind.Encode([]byte(text), previous)
	if err != nil {
		f.T.Fatal(err)
	}
	return payload, spelling.Sum(payload)
}

// Chain returns the files of a chain of so many versions, which alice signs and the repository binds. The
// last one is signed now.
func (f *Forge) Chain(versions int) (files []bindings.File) {
	f.T.Helper()
	f.At = sigstoretest.Now.Add(-2 * time.Duration(versions) * time.Hour)
	previous := ""
	for v := 1; v <= versions; v++ {
		payload, digest := f.Statement(TextOf(v, "alice", ""), previous)
		previous = digest
		for _, data := range [][]byte{f.Sign(payload, "alice"), f.Bind(payload, Widget, "1001", sigstoretest.LogV2)} {
			files = append(files, bindings.File{Name: bindings.SignatureName(v, data, false), Data: data})
		}
	}
	return files
}

func TextOf(version int, who string, extra string) string {
	return fmt.Sprintf(
		"# %s%s", who, extra,
	) + "\n" + strings.NewReplacer("version = 1", fmt.Sprint("version = ", version), "alice", who).
		Replace(TestPolicy)
}

const Widget = "https://github.com/acme/widget"

func Locator(t testing.TB, s string) policy.Locator {
	t.Helper()
	l, err := policy.ParseLocator(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shardID is the id of the second log, which is not the SHA-256 of its key: such
// ids tell Rekor v2 from Rekor v1.
var ShardID = bytes.Repeat([]byte{2}, 32)

// chained is a repository with a genesis and a second version in both logs.
type Chained struct {
	*Forge
	One, Two []byte
	Files    []bindings.File
	V1       map[string]json.RawMessage // by name: entries as Rekor v1 answers them
	Names    []string                   // of bindings of both versions that no file holds
}

func NewChained(t testing.TB, generations ...int) *Chained {
	t.Helper()
	c := &Chained{Forge: NewForge(t), V1: map[string]json.RawMessage{}}
	c.Root = c.RootWith(generations...)
	var d1 string
	c.One, d1 = c.Statement(TestPolicy, "")
	c.Two, _ = c.Statement(TextOf(2, "alice", ""), d1)
	for i, payload := range [][]byte{c.One, c.Two} {
		r := sigstoretest.Request{Statement: payload, SAN: "alice@example.com", Issuer: "https://accounts.google.com"}
		c.Add(fmt.Sprint(i, "-signed"), r)
		c.Add(fmt.Sprint(i, "-bound"), Workflow(Widget, payload))
	}
	for _, payload := range [][]byte{c.One, c.Two} {
		name, _, _ := c.Log(Workflow(Widget, payload))
		c.Names = append(c.Names, name)
	}
	return c
}

// rootWith returns a root with the logs of those generations.
func (f *Forge) RootWith(generations ...int) *sigstore.Root {
	f.T.Helper()
	r, err := sigstore.ParseRoot("test", f.Inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.Tlogs[1].LogId.KeyId = ShardID
		var keep []*prototrust.TransparencyLogInstance
		for _, g := range generations {
			keep = append(keep, tr.Tlogs[g-1])
		}
		tr.Tlogs = keep
	}}))
	if err != nil {
		f.T.Fatal(err)
	}
	return r
}

func Workflow(repo string, payload []byte) sigstoretest.Request {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	return sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com",
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf,
			20: "repository_dispatch",
		},
	}
}

// log signs, and returns the entry's name in Rekor v1 and the bundles, one for
// each log of the root.
func (c *Chained) Log(r sigstoretest.Request) (name string, entry json.RawMessage, bundles [][]byte) {
	c.T.Helper()
	r.At, r.TSA = c.Next(), true
	r.Mutate = func(b *protobundle.Bundle) {
		for _, e := range b.VerificationMaterial.TlogEntries {
			if e.IntegratedTime == 0 {
				e.LogId.KeyId = ShardID
			}
		}
	}
	for _, l := range c.Root.Logs() {
		r.Log = sigstoretest.LogV1
		if l.Generation == 2 {
			r.Log = sigstoretest.LogV2
		}
		raw := c.Inst.Sign(r)
		bundles = append(bundles, raw)
		if l.Generation == 1 {
			name, entry = EntryV1(c.T, raw)
			c.V1[name] = entry
		}
	}
	return name, entry, bundles
}

func (c *Chained) Add(file string, r sigstoretest.Request) {
	_, _, bundles := c.Log(r)
	for i, b := range bundles {
		c.Files = append(
			c.Files,
			bindings.File{Name: fmt.Sprintf("%s/%s-%d.sigstore.json", bindings.SignaturesDir, file, i), Data: b},
		)
	}
}

// entryV1 turns the log entry of a bundle into the form of Rekor v1.
func EntryV1(t testing.TB, bundle []byte) (name string, entry json.RawMessage) {
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
	entry = json.RawMessage(
		fmt.Sprintf(
			`{"body":%q,"integratedTime":%s,"logID":%q,"logIndex":%s,"verification":{"signedEntryTimestamp":%q}}`,
			base64.StdEncoding.EncodeToString(
				e.CanonicalizedBody,
			),
			e.IntegratedTime,
			hex.EncodeToString(e.LogID.KeyID),
			e.LogIndex,
			base64.StdEncoding.EncodeToString(e.InclusionPromise.SignedEntryTimestamp),
		),
	)
	return fmt.Sprintf("%016x%s", 4711, sigstore.LeafHash(e.CanonicalizedBody)), entry
}

// decide judges a release that no rule could allow, to see what the chain says
// before that.
func Decide(c *chain.Chain) policy.Reason {
	d, _ := c.Trusted(chain.Demand{}).Precheck(policy.Request{Now: sigstoretest.Now}, policy.Claims{})
	return d.Reason
}

func EcKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (c *Chained) Resolve(files []bindings.File, lookups ...bindings.Lookup) *bindings.Resolution {
	c.T.Helper()
	r := &bindings.Resolver{Root: c.Root, Lookups: lookups, Now: sigstoretest.Now}
	out, err := r.Resolve(c.T.Context(), Locator(c.T, Widget), files)
	if err != nil {
		c.T.Fatal(err)
	}
	return out
}

func NewState(t testing.TB) *memory.State {
	t.Helper()
	s, err := memory.OpenState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const TestPolicy = `format = "repopolicy/v1"
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
func (c *Chained) Proof(n int, at time.Time) *bindings.PlaceProof {
	c.T.Helper()
	note := c.Inst.CheckpointV2(c.Inst.BodiesV2()[:n], c.Inst.Origin())
	return &bindings.PlaceProof{Log: hex.EncodeToString(ShardID), Checkpoint: note, Stamp: c.Inst.Stamp(note, at)}
}

// windows returns the root with another window of the Rekor v2 log.
func (c *Chained) Windows(o sigstoretest.RootOptions) *sigstore.Root {
	c.T.Helper()
	o.Mutate = func(tr *prototrust.TrustedRoot) { tr.Tlogs[1].LogId.KeyId = ShardID }
	r, err := sigstore.ParseRoot("test", c.Inst.Root(o))
	Check(c.T, err)
	return r
}

// failing is a keeper of which one half fails.
type Failing struct {
	bindings.Keeper
	Load, Store error
	Lost        int // how often another process was first
}

func (k *Failing) Kept(l policy.Locator) (chain.Kept, error) {
	if k.Load != nil {
		return chain.Kept{}, k.Load
	}
	return k.Keeper.Kept(l)
}

func (k *Failing) Keep(l policy.Locator, old, next chain.Kept) (bool, error) {
	if k.Store != nil {
		return false, k.Store
	}
	if k.Lost > 0 {
		k.Lost--
		return false, nil
	}
	return k.Keeper.Keep(l, old, next)
}
