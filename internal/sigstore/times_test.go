// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// element is a time stamp or a log entry that a bundle can have beside others.
type element struct {
	name  string
	stamp []byte
	entry *protorekor.TransparencyLogEntry
	// at is the trusted time that it shows; zero if it shows none.
	at time.Time
	// absent is what counts as if it were not there.
	absent bool
	// ruins is what verifies, at a time at which the certificate was not valid.
	ruins bool
	// log is what shows that the signature is logged.
	log bool
}

// elements returns a bundle without log entry and time stamp, and what can be
// added to it.
func elements(t testing.TB, inst, stranger *sigstoretest.Instance) (*bundlep, []element) {
	now := sigstoretest.Now
	b := decode(t, inst.Sign(message(func(r *request) { r.Log = sigstoretest.LogBoth })))
	v1, v2 := b.VerificationMaterial.TlogEntries[0], b.VerificationMaterial.TlogEntries[1]
	b.VerificationMaterial.TlogEntries = nil
	other := decode(t, inst.Sign(message(nil)))
	change := func(
		e *protorekor.TransparencyLogEntry, f func(*protorekor.TransparencyLogEntry),
	) *protorekor.TransparencyLogEntry {
		out := proto.Clone(e).(*protorekor.TransparencyLogEntry)
		f(out)
		return out
	}
	promised := func(after time.Duration) *protorekor.TransparencyLogEntry {
		return change(v1, func(e *protorekor.TransparencyLogEntry) {
			e.LogIndex += int64(after / time.Second)
			e.IntegratedTime += int64(after / time.Second)
			inst.Promise(e)
		})
	}
	sig := b.GetMessageSignature().Signature
	return b, []element{
		{name: "stamp", stamp: inst.Stamp(sig, now), at: now},
		{name: "stamp, 2 minutes later", stamp: inst.Stamp(sig, now.Add(2*time.Minute)), at: now.Add(2 * time.Minute)},
		{name: "stamp, 5 minutes later", stamp: inst.Stamp(sig, now.Add(5*time.Minute)), at: now.Add(5 * time.Minute)},
		{name: "stamp, too late", stamp: inst.Stamp(sig, now.Add(time.Hour)), at: now.Add(time.Hour), ruins: true},
		{name: "stamp over something else", stamp: inst.Stamp([]byte("other"), now), absent: true},
		{name: "stamp by a stranger", stamp: stranger.Stamp(sig, now.Add(3*time.Minute)), absent: true},
		{name: "no stamp at all", stamp: []byte("stamp"), absent: true},
		{name: "entry", entry: v1, at: now, log: true},
		{name: "entry, 3 minutes later", entry: promised(3 * time.Minute), at: now.Add(3 * time.Minute), log: true},
		{name: "entry, too late", entry: promised(time.Hour), at: now.Add(time.Hour), ruins: true, log: true},
		{
			name:  "entry without promise",
			entry: change(v1, func(e *protorekor.TransparencyLogEntry) { e.InclusionPromise = nil }), log: true,
		},
		{name: "entry of Rekor v2", entry: v2, log: true},
		{name: "entry of another signature", entry: entry(other), absent: true},
		{
			name: "entry with another time", entry: change(v1, func(e *protorekor.TransparencyLogEntry) { e.IntegratedTime++ }),
			absent: true,
		},
		{
			name:  "entry with another root",
			entry: change(v2, func(e *protorekor.TransparencyLogEntry) { e.InclusionProof.RootHash[0] ^= 1 }), absent: true,
		},
		{name: "entry of a stranger's log", entry: entry(decode(t, stranger.Sign(message(nil)))), absent: true},
	}
}

// with verifies the bundle with the elements, in their order.
func with(t testing.TB, r *Root, b *bundlep, all []element, o Options) (*Verified, policy.Reason) {
	t.Helper()
	b = proto.Clone(b).(*bundlep)
	var stamps []*protocommon.RFC3161SignedTimestamp
	for _, e := range all {
		if e.entry != nil {
			b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, e.entry)
		} else {
			stamps = append(stamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: e.stamp})
		}
	}
	b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: stamps}
	data, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseBundle(data)
	if err != nil {
		return nil, reasonOf(t, err)
	}
	v, err := parsed.Verify(r, sha(artifact), nil, o)
	if err != nil {
		return nil, reasonOf(t, err)
	}
	return v, ""
}

func namesOf(all []element) (out []string) {
	for _, e := range all {
		out = append(out, e.name)
	}
	return out
}

// TestEveryTime adds elements at random: every time that is shown counts and no
// other does (SPEC 5.7), order and copies change nothing, and what does not verify
// counts as absent.
func TestEveryTime(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	b, all := elements(t, inst, stranger)
	rnd := rand.New(rand.NewPCG(1, 2))
	pass := 0
	for range 250 {
		var some []element
		for _, i := range rnd.Perm(len(all))[:rnd.IntN(7)] {
			if !all[i].ruins || rnd.IntN(3) == 0 {
				some = append(some, all[i])
			}
		}
		o := Options{Unlogged: rnd.IntN(2) == 0}
		what := fmt.Sprintf("%q, %+v", namesOf(some), o)
		v, reason := with(t, r, b, some, o)

		var want []time.Time
		logged, stamped, ruined := false, false, false
		for _, e := range some {
			if !e.at.IsZero() {
				want = append(want, e.at)
			}
			logged, ruined, stamped = logged || e.log, ruined || e.ruins, stamped || e.stamp != nil && !e.absent
		}
		if ok := (logged || o.Unlogged && stamped) && len(want) > 0 && !ruined; ok != (reason == "") {
			t.Fatalf("%s: %q", what, reason)
		}
		if v != nil {
			pass++
			var got []time.Time
			for _, at := range v.Times {
				got = append(got, at.Time)
			}
			if slices.SortFunc(got, time.Time.Compare); !slices.EqualFunc(slices.Compact(got), unique(want), time.Time.Equal) {
				t.Fatalf("%s: %v, want %v", what, got, want)
			}
		}

		// Order and copies.
		moved := slices.Clone(some)
		if len(some) > 0 {
			moved = append(moved, some[rnd.IntN(len(some))], some[rnd.IntN(len(some))])
		}
		rnd.Shuffle(len(moved), func(i, j int) { moved[i], moved[j] = moved[j], moved[i] })
		if other, otherReason := with(t, r, b, moved, o); !reflect.DeepEqual(v, other) ||
			reason.Class() != otherReason.Class() {
			t.Fatalf("%s: %+v %q, but as %q %+v %q", what, v, reason, namesOf(moved), other, otherReason)
		}

		// Without one of them.
		for i := range some {
			less, lessReason := with(t, r, b, slices.Delete(slices.Clone(some), i, i+1), o)
			switch {
			case some[i].absent && (!reflect.DeepEqual(v, less) || (reason == "") != (lessReason == "")):
				t.Fatalf("%s: %q is not absent", what, some[i].name)
			case reason != "" && lessReason == "" && !some[i].ruins:
				t.Fatalf("%s: passes without %q", what, some[i].name)
			}
		}
	}
	if pass < 40 {
		t.Errorf("only %d of the sets verify", pass)
	}
}

// unique sorts times and removes copies.
func unique(all []time.Time) []time.Time {
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// TestWindowsAtEachTime: logs, authorities and certificates have to be trusted at
// every time, not at the first one alone.
func TestWindowsAtEachTime(t *testing.T) {
	now := sigstoretest.Now
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	b, all := elements(t, inst, stranger)
	pick := func(names ...string) (out []element) {
		for _, e := range all {
			if slices.Contains(names, e.name) {
				out = append(out, e)
			}
		}
		return out
	}
	until := func(d time.Duration) *sigstoretest.Window {
		return &sigstoretest.Window{Start: now.AddDate(-1, 0, 0), End: now.Add(d)}
	}
	from := func(d time.Duration) *sigstoretest.Window { return &sigstoretest.Window{Start: now.Add(d)} }
	unlogged := Options{Unlogged: true}
	for name, c := range map[string]struct {
		with    []element
		root    roots
		opt     Options
		reason  policy.Reason
		times   int
		entries int
	}{
		"two stamps": {with: pick("entry of Rekor v2", "stamp", "stamp, 5 minutes later"), times: 2, entries: 1},
		"two stamps under a root with the authority twice": {with: pick("entry of Rekor v2", "stamp",
			"stamp, 5 minutes later"), times: 2, entries: 1,
			root: roots{Mutate: func(tr *prototrust.TrustedRoot) {
				tr.TimestampAuthorities = append(tr.TimestampAuthorities, tr.TimestampAuthorities[0])
			}}},
		"the authority for certificates ended between them": {
			with: pick("entry of Rekor v2", "stamp", "stamp, 5 minutes later"), root: roots{CA: until(time.Minute)},
			reason: policy.CertificateChain,
		},
		"it began between them": {
			with: pick("entry of Rekor v2", "stamp", "stamp, 5 minutes later"), root: roots{CA: from(time.Minute)},
			reason: policy.CertificateChain,
		},
		"the log ended between them": {
			with: pick("entry of Rekor v2", "stamp", "stamp, 5 minutes later"), root: roots{LogV2: until(time.Minute)},
			reason: policy.TimeInvalid,
		},
		"it began between them, too": {
			with: pick("entry of Rekor v2", "stamp", "stamp, 5 minutes later"), root: roots{LogV2: from(time.Minute)},
			reason: policy.TimeInvalid,
		},
		"the stamps' authority ended between them": {
			with: pick("entry of Rekor v2", "stamp", "stamp, 5 minutes later"), root: roots{TSA: until(time.Minute)}, times: 1,
			entries: 1,
		},
		"two promises": {with: pick("entry", "entry, 3 minutes later"), times: 2, entries: 2},
		"the log ended between the promises": {
			with: pick("entry", "entry, 3 minutes later"), root: roots{Log: until(time.Minute)}, times: 1, entries: 1,
		},
		"one of two logs ended before a stamp": {
			with: pick("entry", "entry of Rekor v2", "stamp, 5 minutes later"), root: roots{Log: until(time.Minute)}, times: 2,
			entries: 1,
		},
		"the only log ended before a stamp": {
			with: pick("entry", "stamp, 5 minutes later"), root: roots{Log: until(time.Minute)}, reason: policy.TimeInvalid,
		},
		"it does not have to be logged": {
			with: pick("entry", "stamp, 5 minutes later"), root: roots{Log: until(time.Minute)}, opt: unlogged, times: 2,
		},
		"the same without a stamp": {
			with: pick("entry", "entry, 3 minutes later"), root: roots{Log: until(-time.Minute)}, opt: unlogged,
			reason: policy.LogInvalid,
		},
		"unlogged, and two stamps": {with: pick("stamp", "stamp, 2 minutes later"), opt: unlogged, times: 2},
		"unlogged, and one too late": {
			with: pick("stamp", "stamp, too late"), opt: unlogged, reason: policy.TimeInvalid,
		},
		"unlogged, and logged too late": {with: pick("stamp", "entry, too late"), opt: unlogged, reason: policy.TimeInvalid},
	} {
		r, err := ParseRoot("test", inst.Root(c.root))
		if err != nil {
			t.Fatal(err)
		}
		v, reason := with(t, r, b, c.with, c.opt)
		if reason != c.reason || v != nil && (len(v.Times) != c.times || len(v.Entries) != c.entries) {
			t.Errorf("%s: %q %+v", name, reason, v)
		}
	}
}

// TestTwoAuthorities: stamps of two authorities at one moment are two times.
func TestTwoAuthorities(t *testing.T) {
	now := sigstoretest.Now
	inst, second := sigstoretest.New(t), sigstoretest.New(t)
	b, _ := elements(t, inst, second)
	sig := b.GetMessageSignature().Signature
	var theirs prototrust.TrustedRoot
	if err := protojson.Unmarshal(second.Root(roots{}), &theirs); err != nil {
		t.Fatal(err)
	}
	theirs.TimestampAuthorities[0].Uri = "https://other.example"
	r, err := ParseRoot("test", inst.Root(roots{Mutate: func(tr *prototrust.TrustedRoot) {
		tr.TimestampAuthorities = append(tr.TimestampAuthorities, theirs.TimestampAuthorities...)
	}}))
	if err != nil {
		t.Fatal(err)
	}
	all := []element{{stamp: inst.Stamp(sig, now)}, {stamp: second.Stamp(sig, now)}, {stamp: inst.Stamp(sig, now)}}
	for range all {
		all = append(all[1:], all[0])
		v, reason := with(t, r, b, all, Options{Unlogged: true})
		if reason != "" || len(v.Times) != 2 || v.Times[0].URI == v.Times[1].URI {
			t.Errorf("%q, %+v", reason, v)
		}
	}
}

// TestValidAt asks our own check alone: the library repeats much of it.
func TestValidAt(t *testing.T) {
	now := sigstoretest.Now
	inst := sigstoretest.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	bare, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), now, now)
	if err != nil {
		t.Fatal(err)
	}
	tsa := func(d ...time.Duration) (out []Time) {
		for _, after := range d {
			out = append(out, Time{now.Add(after), sourceTSA, ""})
		}
		return out
	}
	for name, c := range map[string]struct {
		change func(*request)
		root   roots
		key    *Key
		times  []Time
		reason policy.Reason
	}{
		"a certificate":     {times: tsa(0, time.Minute)},
		"too late at last":  {times: tsa(0, time.Hour), reason: policy.TimeInvalid},
		"too late at first": {times: tsa(time.Hour, 0), reason: policy.TimeInvalid},
		"logged too late": {
			times: []Time{{now, sourceTSA, ""}, {now.Add(time.Hour), sourceLog, ""}}, reason: policy.TimeInvalid,
		},
		"logged too early": {times: []Time{{now.Add(-time.Hour), sourceLog, ""}}, reason: policy.TimeInvalid},
		"no SCT": {
			change: func(r *request) { r.NoSCT = true }, times: tsa(0, time.Minute), reason: policy.SCTInvalid,
		},
		"no SCT, and no log for such": {
			change: func(r *request) { r.NoSCT = true }, root: roots{NoCT: true}, times: tsa(0),
		},
		"a certificate for other usage": {
			change: func(r *request) { r.Template = func(c *x509.Certificate) { c.KeyUsage = 0 } }, times: tsa(0),
			reason: policy.CertificateBad,
		},
		"a key":                   {key: bare, times: tsa(0)},
		"a key, too late at last": {key: bare, times: tsa(0, time.Minute), reason: policy.TimeInvalid},
		"a key, too early":        {key: bare, times: tsa(-time.Minute, 0), reason: policy.TimeInvalid},
	} {
		r, err := ParseRoot("test", inst.Root(c.root))
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseBundle(inst.Sign(message(c.change)))
		if err != nil {
			t.Fatal(err)
		}
		var reason policy.Reason
		if refused := b.validAt(r, c.key, c.times); refused != nil {
			reason = refused.Reason
		}
		if reason != c.reason {
			t.Errorf("%s: %q, want %q", name, reason, c.reason)
		}
	}
}

// TestManyTimes: as many as are read, and each counts although the library takes
// fewer.
func TestManyTimes(t *testing.T) {
	now := sigstoretest.Now
	inst := sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	b, all := elements(t, inst, inst)
	var many []element
	for i := range bundle.MaxStamps {
		at := now.Add(time.Duration(i) * time.Second)
		many = append(many, element{stamp: inst.Stamp(b.GetMessageSignature().Signature, at), at: at})
	}
	i := slices.IndexFunc(all, func(e element) bool { return e.name == "entry, 3 minutes later" })
	late := slices.IndexFunc(all, func(e element) bool { return e.name == "entry, too late" })
	if v, reason := with(t, r, b, append(slices.Clone(many), all[i]), Options{}); reason != "" ||
		len(v.Times) != bundle.MaxStamps+1 {
		t.Errorf("%q, %+v", reason, v)
	}
	if _, reason := with(t, r, b, append(slices.Clone(many), all[i], all[late]), Options{}); reason != policy.TimeInvalid {
		t.Errorf("one of many is outside: %q", reason)
	}
	if _, reason := with(t, r, b, append(many, many[0], all[i]), Options{}); reason != policy.BundleTooLarge {
		t.Errorf("more than are read: %q", reason)
	}
}

// TestKeyAtEachTime: a bare key has to be valid at every time, too.
func TestKeyAtEachTime(t *testing.T) {
	now := sigstoretest.Now
	inst := sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		start, end time.Time
		ok         bool
	}{
		"always": {ok: true}, "until the first": {end: now.Add(time.Minute)},
		"from the second on": {start: now.Add(time.Minute)},
		"for both":           {start: now, end: now.Add(2 * time.Minute), ok: true},
	} {
		for order := range 2 {
			req := message(func(r *request) {
				r.BareKey, r.Key, r.Log, r.TSA = true, key, sigstoretest.LogV2, true
				r.Mutate = func(b *bundlep) {
					stamps := append(stampsOf(b), &protocommon.RFC3161SignedTimestamp{
						SignedTimestamp: inst.Stamp(b.GetMessageSignature().Signature, now.Add(2*time.Minute)),
					})
					if order > 0 {
						slices.Reverse(stamps)
					}
					b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps = stamps
				}
			})
			parsed, err := ParseBundle(inst.Sign(req))
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			k, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), c.start, c.end)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parsed.Verify(r, sha(artifact), k, Options{}); (err == nil) != c.ok {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
