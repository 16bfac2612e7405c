// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// TestPlaceProof: a place proof says that a tree of a log of the root existed at a time by
// the word of an authority of the root; everything else about one is refused.
func TestPlaceProof(t *testing.T) {
	c, other := bindtest.NewChained(t, 1, 2), bindtest.NewChained(t, 1, 2)
	now := sigstoretest.Now.Add(-time.Minute)
	good := c.Proof(3, now)
	notes := c.Inst.BodiesV2()
	v1 := c.Root.Logs()[0]
	if v1.Generation != 1 {
		t.Fatal(v1)
	}
	with := func(change func(*bindings.PlaceProof)) *bindings.PlaceProof {
		p := *good
		change(&p)
		return &p
	}
	restamped := func(note []byte) *bindings.PlaceProof {
		return with(func(p *bindings.PlaceProof) { p.Checkpoint, p.Stamp = note, c.Inst.Stamp(note, now) })
	}
	ended := c.Windows(sigstoretest.RootOptions{LogV2: &sigstoretest.Window{Start: now.AddDate(-1, 0, 0), End: now}})
	for name, x := range map[string]struct {
		p      *bindings.PlaceProof
		root   *sigstore.Root // nil for that of c
		reason policy.Reason  // "" if it verifies
		text   string
	}{
		"good":                             {p: good},
		"in the last second of the window": {p: good, root: ended},
		"a log that is not in the root": {
			p: with(func(p *bindings.PlaceProof) { p.Log = strings.Repeat("ab", 32) }), reason: policy.LogInvalid,
			text: "not in the trusted root",
		},
		"the other log of the root": {
			p: with(func(p *bindings.PlaceProof) { p.Log = v1.ID }), reason: policy.LogInvalid, text: "not one of Rekor v2",
		},
		"a tree of Rekor v1": {p: with(func(p *bindings.PlaceProof) {
			p.Log, p.Checkpoint = v1.ID, []byte(c.Inst.ShardV1(4711, 0))
			p.Stamp = c.Inst.Stamp(p.Checkpoint, now)
		}), reason: policy.LogInvalid, text: "not one of Rekor v2"},
		"signed by a log of the same address": {
			p: restamped(other.Inst.CheckpointV2(notes[:3], other.Inst.Origin())), reason: policy.LogInvalid,
		},
		"under another origin": {
			p: restamped(c.Inst.CheckpointV2(notes[:3], "log.example")), reason: policy.LogInvalid, text: "the checkpoint is of",
		},
		"unsigned": {
			p: restamped(good.Checkpoint[:bytes.Index(good.Checkpoint, []byte("\n\n"))+2]), reason: policy.LogInvalid,
		},
		"no checkpoint": {p: restamped([]byte(c.Inst.NoteV2("x\n"))), reason: policy.LogInvalid},
		"with a signature of somebody else": {
			p: restamped(append(bytes.Clone(good.Checkpoint), "— witness.example AAAAAAAA\n"...)), reason: policy.LogInvalid,
			text: "other signatures",
		},
		"of an empty tree": {
			p: restamped(c.Inst.CheckpointV2(nil, c.Inst.Origin())), reason: policy.LogInvalid, text: "empty tree",
		},
		"stamped over the text alone": {p: with(func(p *bindings.PlaceProof) {
			p.Stamp = c.Inst.Stamp(p.Checkpoint[:bytes.Index(p.Checkpoint, []byte("\n\n"))+1], now)
		}), reason: policy.TimeInvalid},
		"stamped over another tree": {
			p: with(func(p *bindings.PlaceProof) { p.Stamp = c.Proof(2, now).Stamp }), reason: policy.TimeInvalid,
		},
		"by an authority of another root": {
			p: with(func(p *bindings.PlaceProof) { p.Stamp = other.Inst.Stamp(p.Checkpoint, now) }), reason: policy.TimeInvalid,
		},
		"not a stamp": {p: with(func(p *bindings.PlaceProof) { p.Stamp = []byte("x") }), reason: policy.TimeInvalid},
		"a stamp with much behind it": {
			p:      with(func(p *bindings.PlaceProof) { p.Stamp = append(bytes.Clone(p.Stamp), make([]byte, 17<<10)...) }),
			reason: policy.TimeInvalid, text: "at most",
		},
		"a root without authorities": {
			p: good, root: c.Windows(sigstoretest.RootOptions{NoTSA: true}), reason: policy.TimeInvalid,
			text: "names no time stamp authority",
		},
		"the root of somebody else": {p: good, root: other.Root, reason: policy.LogInvalid},
		"before the window of the log": {
			p: good, root: c.Windows(sigstoretest.RootOptions{LogV2: &sigstoretest.Window{Start: now.Add(time.Second)}}),
			reason: policy.LogInvalid, text: "did not trust this log",
		},
		"after the window of the log": {
			p: c.Proof(3, now.Add(time.Second)), root: ended, reason: policy.LogInvalid, text: "did not trust this log",
		},
		"before the authority was trusted": {
			p: good, root: c.Windows(sigstoretest.RootOptions{TSA: &sigstoretest.Window{Start: now.Add(time.Second)}}),
			reason: policy.TimeInvalid,
		},
		"after the authority was trusted": {
			p: good,
			root: c.Windows(sigstoretest.RootOptions{
				TSA: &sigstoretest.Window{Start: now.AddDate(-1, 0, 0), End: now.Add(-time.Second)},
			}),
			reason: policy.TimeInvalid,
		},
	} {
		root := x.root
		if root == nil {
			root = c.Root
		}
		p, err := bindings.ParsePlaceProof(x.p.Bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := p.Verify(root)
		if x.reason == "" {
			if err != nil || got.Log != p.Log || got.Size != 3 || !got.Time.Equal(now) || got.Authority == "" {
				t.Errorf("%s: %+v %v", name, got, err)
			}
			continue
		}
		var e *sigstore.Error
		if !errors.As(err, &e) || e.Reason != x.reason || !strings.Contains(err.Error(), x.text) {
			t.Errorf("%s: %v, want %s %q", name, err, x.reason, x.text)
		}
	}
}

// TestPlaceProofForm: what is not exactly of the form is refused.
func TestPlaceProofForm(t *testing.T) {
	good := string((&bindings.PlaceProof{Log: "ab01", Checkpoint: []byte("note"), Stamp: []byte("stamp")}).Bytes())
	if _, err := bindings.ParsePlaceProof([]byte(good)); err != nil {
		t.Fatal(err)
	}
	swap := func(old, now string) string {
		if !strings.Contains(good, old) {
			t.Fatal(old)
		}
		return strings.Replace(good, old, now, 1)
	}
	for name, data := range map[string]string{
		"nothing":                "",
		"null":                   "null",
		"a list":                 "[]",
		"an empty object":        "{}",
		"another schema":         swap("place-v1", "fork-v1"),
		"no schema":              swap(`"schema"`, `"log"`),
		"an unknown key":         swap(`"log"`, `"more":1,"log"`),
		"a key twice":            swap(`"log"`, `"log":"00","log"`),
		"another spelling":       swap(`"stamp"`, `"Stamp"`),
		"log: upper case":        swap(`"ab01"`, `"AB01"`),
		"log: no hex":            swap(`"ab01"`, `"rekor"`),
		"log: empty":             swap(`"ab01"`, `""`),
		"log: null":              swap(`"ab01"`, `null`),
		"checkpoint: empty":      swap(`"note"`, `""`),
		"checkpoint: a number":   swap(`"note"`, `1`),
		"stamp: empty":           swap(`"c3RhbXA="`, `""`),
		"stamp: null":            swap(`"c3RhbXA="`, `null`),
		"stamp: unpadded":        swap(`"c3RhbXA="`, `"c3RhbXA"`),
		"stamp: URL-safe base64": swap(`"c3RhbXA="`, `"_-8="`),
		"stamp: a line break":    swap(`"c3RhbXA="`, `"c3Rh\nbXA="`),
		"something behind it":    good + "{}",
		"not UTF-8":              swap("note", "\xff"),
		"too large":              good + strings.Repeat(" ", bindings.MaxPlaceBytes+1-len(good)),
	} {
		if _, err := bindings.ParsePlaceProof([]byte(data)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	_, err := bindings.ParsePlaceProof([]byte(good + strings.Repeat(" ", bindings.MaxPlaceBytes-len(good))))
	if err != nil {
		t.Error(err)
	}
}

// TestPlaceProofChanged: a proof in which a byte is another one says the same, or nothing.
func TestPlaceProofChanged(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	now := sigstoretest.Now.Add(-time.Minute)
	data := c.Proof(3, now).Bytes()
	for i := 0; i < len(data); i += 3 {
		changed := bytes.Clone(data)
		changed[i] ^= 1
		p, err := bindings.ParsePlaceProof(changed)
		if err != nil {
			continue
		}
		if got, err := p.Verify(c.Root); err == nil &&
			(got.Size != 3 || !got.Time.Equal(now) || got.Log != hex.EncodeToString(bindtest.ShardID)) {
			t.Errorf("byte %d: %+v", i, got)
		}
	}
}

// FuzzPlaceProof: what is read is written back as it is.
func FuzzPlaceProof(f *testing.F) {
	good := (&bindings.PlaceProof{Log: "ab01", Checkpoint: []byte("a\n1\nx\n\n— a b\n"), Stamp: []byte("stamp")}).Bytes()
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"log"`), []byte(`"Log"`), 1))
	f.Add(bytes.Replace(good, []byte(`"stamp"`), []byte(`"stamp":"","stamp"`), 1))
	f.Add([]byte("null"))
	c := bindtest.NewChained(f, 2)
	f.Add(c.Proof(1, sigstoretest.Now).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := bindings.ParsePlaceProof(data)
		if err != nil {
			return
		}
		b, err := bindings.ParsePlaceProof(a.Bytes())
		if err != nil || cmp.Diff(a, b) != "" {
			t.Errorf("%q: %v", data, err)
		}
		if p, err := a.Verify(c.Root); err == nil && (p.Size < 1 || p.Authority == "" || p.Time.IsZero()) {
			t.Errorf("%q: %+v", data, p)
		}
	})
}

// TestPlaceName: what is fetched is where place proofs are, and nothing else.
func TestPlaceName(t *testing.T) {
	if n := bindings.PlaceName(12, []byte("x")); !bindings.IsPlaceName(n) || !bindings.IsPolicyName(n) ||
		bindings.IsSignatureName(n) ||
		!strings.HasPrefix(path.Base(n), "12-") {
		t.Error(n)
	}
	for name, want := range map[string]bool{
		bindings.SignaturesDir + "/.place.json":         true,
		bindings.SignaturesDir + "/1.place.json.txt":    false,
		bindings.SignaturesDir + "/1.PLACE.json":        false,
		bindings.SignaturesDir + "/1/1.place.json":      false,
		bindings.SignaturesDir + "/../1.place.json":     false,
		bindings.Dir + "/1.place.json":                  false,
		"x/" + bindings.SignaturesDir + "/1.place.json": false,
		bindings.SignaturesDir + "/1.sigstore.json":     false,
	} {
		if bindings.IsPlaceName(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// TestPlaces: place proofs that count are in the history once, those that do not are
// ignored by name; whatever is there, the chain is the same as without them.
func TestPlaces(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	last := sigstoretest.Now
	file := func(name string, data []byte) bindings.File {
		return bindings.File{Name: bindings.SignaturesDir + "/" + name + bindings.PlaceSuffix, Data: data}
	}
	size := len(c.Inst.BodiesV2())
	one, all := file("1", c.Proof(1, last).Bytes()), file("all", c.Proof(size, last.Add(-time.Second)).Bytes())
	junk := []bindings.File{
		file("junk", []byte("{}")), file("bundle", c.Files[0].Data),
		file("later", bytes.Replace(one.Data, []byte("stamp\":\"M"), []byte("stamp\":\"N"), 1)),
	}
	look := func() bindings.Lookup { return c.Scan(c.Honest(), bindtest.NewState(t)) }
	plain := c.Resolve(c.Files, look())
	if len(plain.History().Moments) != 0 || plain.Chain.Reason() != "" {
		t.Fatal(plain.Chain.Problems())
	}
	for name, x := range map[string]struct {
		files   []bindings.File
		moments int
		ignored []string
	}{
		"one":           {[]bindings.File{one}, 1, nil},
		"two":           {[]bindings.File{one, all}, 2, nil},
		"doubled":       {[]bindings.File{one, all, one, file("copy", one.Data)}, 2, nil},
		"junk":          {junk, 0, []string{"junk", "bundle", "later"}},
		"junk and good": {append(slices.Clone(junk), all), 1, []string{"junk", "bundle", "later"}},
		"as a signature": {
			[]bindings.File{{Name: bindings.SignaturesDir + "/1" + bindings.SignatureSuffix, Data: one.Data}}, 0, []string{"1"},
		},
	} {
		got := c.Resolve(append(slices.Clone(x.files), c.Files...), look())
		var ignored []string
		for _, i := range got.Ignored {
			base, _, _ := strings.Cut(path.Base(i.Name), ".")
			ignored = append(ignored, base)
		}
		if len(got.History().Moments) != x.moments ||
			cmp.Diff(x.ignored, ignored, cmpopts.SortSlices(strings.Compare)) != "" {
			t.Errorf("%s: %d moments, ignored %v", name, len(got.History().Moments), got.Ignored)
		}
		if got.Chain.Reason() != "" || len(got.Chain.Versions()) != 2 || len(got.Chain.Alarms()) > 0 ||
			bindtest.Decide(got.Chain) != bindtest.Decide(plain.Chain) {
			t.Errorf("%s: %s %+v %+v", name, got.Chain.Reason(), got.Chain.Problems(), got.Chain.Alarms())
		}
	}

	// An authority that dates a tree before its entries is believed in nothing, and named.
	early := file("early", c.Proof(size, last.AddDate(0, -1, 0)).Bytes())
	got := c.Resolve(append([]bindings.File{one, early}, c.Files...), look())
	if a := got.Chain.Alarms(); len(a) != 1 || a[0].Code != "stamps" ||
		!strings.Contains(a[0].Text, "https://tsa.example") {
		t.Errorf("%+v", a)
	}
	if got.Chain.Reason() != "" || len(got.Chain.Versions()) != 2 {
		t.Error(got.Chain.Problems())
	}

	// A log that signed two trees of one size is one that contradicts itself.
	forked := c.Inst.CheckpointV2(append(slices.Clone(c.Inst.BodiesV2()[:2]), []byte("other")), c.Inst.Origin())
	fork := file(
		"fork",
		(&bindings.PlaceProof{
			Log: hex.EncodeToString(bindtest.ShardID), Checkpoint: forked, Stamp: c.Inst.Stamp(forked, last),
		}).Bytes(),
	)
	same := file("same", c.Proof(3, last).Bytes())
	for _, files := range [][]bindings.File{{fork, same}, {same, fork}} {
		got := c.Resolve(append(files, c.Files...))
		if got.Fork == nil || bindtest.Decide(got.Chain) != policy.LogForked {
			t.Errorf("%+v %s", got.Fork, bindtest.Decide(got.Chain))
		} else if _, err := got.Fork.Judge(c.Root); err != nil {
			t.Error(err)
		}
	}
}

// TestPlacesLimit: beyond the limit place proofs are ignored, and no signature is.
func TestPlacesLimit(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	var files []bindings.File
	for i := range bindings.MaxPlaceFiles {
		files = append(
			files,
			bindings.File{
				Name: fmt.Sprintf("%s/%d%s", bindings.SignaturesDir, i, bindings.PlaceSuffix),
				Data: []byte(fmt.Sprint(i)),
			},
		)
	}
	good := bindings.File{
		Name: bindings.SignaturesDir + "/last" + bindings.PlaceSuffix,
		Data: c.Proof(1, sigstoretest.Now).Bytes(),
	}
	got := c.Resolve(append(append(files[:bindings.MaxPlaceFiles-1:bindings.MaxPlaceFiles-1], good), c.Files...))
	if len(got.Ignored) != bindings.MaxPlaceFiles-1 || len(got.History().Moments) != 1 {
		t.Errorf("%d ignored, %d moments", len(got.Ignored), len(got.History().Moments))
	}
	got = c.Resolve(append(append(files[:bindings.MaxPlaceFiles:bindings.MaxPlaceFiles], good), c.Files...))
	if len(got.Ignored) != bindings.MaxPlaceFiles+1 || len(got.History().Moments) != 0 ||
		len(got.History().Statements) != 2 {
		t.Errorf(
			"%d ignored, %d moments, %d statements", len(got.Ignored), len(got.History().Moments),
			len(got.History().Statements),
		)
	}
}

// dating is an instance that makes place proofs: a log that serves its newest checkpoint, and
// an authority.
type dating struct {
	*bindtest.Chained
	now    time.Time                                     // of the authority
	log    func(http.ResponseWriter, *http.Request) bool // false to go on as usual
	tsa    func(http.ResponseWriter, *http.Request) bool
	stamps int
	warned []string
}

func (d *dating) dater() *bindings.Dater {
	d.T.Helper()
	honest := d.Inst.TSA(func() time.Time { return d.now })
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tsa", func(w http.ResponseWriter, r *http.Request) {
		if d.stamps++; d.tsa == nil || !d.tsa(w, r) {
			honest.ServeHTTP(w, r)
		}
	})
	mux.HandleFunc("GET /api/v2/checkpoint", func(w http.ResponseWriter, r *http.Request) {
		if d.log == nil || !d.log(w, r) {
			_, _ = w.Write(d.Inst.CheckpointV2(d.Inst.BodiesV2(), d.Inst.Origin()))
		}
	})
	srv := httptest.NewServer(mux)
	d.T.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	bindtest.Check(d.T, err)
	clients := map[string]*web.Client{}
	for _, l := range d.Root.Logs() {
		clients[l.ID] = client
	}
	out := &bindings.Dater{
		Root: d.Root, Client: &sigstore.Client{Services: sigstore.Services{TSA: srv.URL + "/tsa"}}, Logs: clients,
		Now: func() time.Time { return sigstoretest.Now }, Warn: func(text string) { d.warned = append(d.warned, text) },
	}
	out.SetGap(time.Nanosecond)
	return out
}

// TestDater: the newest tree of each open log of Rekor v2 is stamped, and the one that shows
// an entry; whatever does not go well leaves a proof out, with a warning.
func TestDater(t *testing.T) {
	status := func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "not today", http.StatusForbidden)
		return true
	}
	answer := func(data []byte) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write(data)
			return true
		}
	}
	c := bindtest.NewChained(t, 1, 2)
	other := bindtest.NewChained(t, 2)
	window := func(start, end time.Duration) *sigstore.Root {
		w := &sigstoretest.Window{Start: sigstoretest.Now.Add(start)}
		if end != 0 {
			w.End = sigstoretest.Now.Add(end)
		}
		return c.Windows(sigstoretest.RootOptions{LogV2: w})
	}
	_, _, bundles := c.Log(bindtest.Workflow(bindtest.Widget, c.One)) // of Rekor v1, and of v2
	logs := func(n int) *sigstore.Root {
		r, err := sigstore.ParseRoot(
			"test",
			c.Inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
				shard := tr.Tlogs[1]
				tr.Tlogs = nil
				for i := range n {
					l := proto.Clone(shard).(*prototrust.TransparencyLogInstance)
					l.LogId.KeyId = bytes.Repeat([]byte{byte(2 + i)}, 32)
					tr.Tlogs = append(tr.Tlogs, l)
				}
			}}),
		)
		bindtest.Check(t, err)
		return r
	}
	many := func(n int) func(*dating, *bindings.Dater) {
		return func(_ *dating, d *bindings.Dater) {
			client := d.Logs[hex.EncodeToString(bindtest.ShardID)]
			d.Root, d.Logs = logs(n), map[string]*web.Client{}
			for _, l := range d.Root.Logs() {
				d.Logs[l.ID] = client
			}
		}
	}
	for name, x := range map[string]struct {
		change func(*dating, *bindings.Dater)
		open   int
		own    bool
		warns  int
		stamps int
	}{
		"all is well":     {func(*dating, *bindings.Dater) {}, 1, true, 0, 2},
		"no authority":    {func(_ *dating, d *bindings.Dater) { d.Client.Services.TSA = "" }, 0, false, 0, 0},
		"the log is away": {func(x *dating, _ *bindings.Dater) { x.log = status }, 0, true, 1, 1},
		"another log answers": {func(x *dating, _ *bindings.Dater) {
			x.log = answer(other.Inst.CheckpointV2(other.Inst.BodiesV2(), other.Inst.Origin()))
		}, 0, true, 1, 1},
		"an empty log": {
			func(x *dating, _ *bindings.Dater) { x.log = answer(c.Inst.CheckpointV2(nil, c.Inst.Origin())) }, 0, true, 0, 1,
		},
		"the authority is away": {func(x *dating, _ *bindings.Dater) { x.tsa = status }, 0, false, 2, 2},
		"another authority": {func(x *dating, _ *bindings.Dater) {
			x.tsa = func(w http.ResponseWriter, r *http.Request) bool {
				other.Inst.TSA(func() time.Time { return x.now }).ServeHTTP(w, r)
				return true
			}
		}, 0, false, 2, 2},
		"a stamp of another time": {
			func(x *dating, _ *bindings.Dater) { x.now = sigstoretest.Now.AddDate(-4, 0, 0) }, 0, false, 2, 2,
		},
		"the log is not open yet": {func(_ *dating, d *bindings.Dater) { d.Root = window(time.Second, 0) }, 0, false, 1, 1},
		"the log has ended": {
			func(_ *dating, d *bindings.Dater) { d.Root = window(-time.Hour, -time.Second) }, 0, false, 1, 1,
		},
		"it began before":           {func(_ *dating, d *bindings.Dater) { d.Root = window(-time.Hour, 0) }, 1, true, 0, 2},
		"as many logs as are asked": {many(bindings.MaxOpenLogs), bindings.MaxOpenLogs, true, 0, bindings.MaxOpenLogs + 1},
		"more logs than that": {
			many(bindings.MaxOpenLogs + 1), bindings.MaxOpenLogs, true, 1, bindings.MaxOpenLogs + 1,
		},
		"a log without a client": {func(_ *dating, d *bindings.Dater) { d.Logs = nil }, 0, true, 0, 1},
	} {
		x2 := &dating{Chained: c, now: sigstoretest.Now}
		d := x2.dater()
		x.change(x2, d)
		open := d.Newest(t.Context())
		own := d.Beside(t.Context(), bundles[1], nil)
		if len(open) != x.open || (own != nil) != x.own || len(x2.warned) != x.warns || x2.stamps != x.stamps {
			t.Errorf("%s: %d of open logs, own %v, %d stamps, %q", name, len(open), own != nil, x2.stamps, x2.warned)
		}
		for _, data := range append(open, own) {
			if data == nil {
				continue
			}
			p, err := bindings.ParsePlaceProof(data)
			bindtest.Check(t, err)
			if place, err := p.Verify(d.Root); err != nil || place.Size != int64(len(c.Inst.BodiesV2())) {
				t.Errorf("%s: %+v %v", name, place, err)
			}
		}
		if own != nil && d.Beside(t.Context(), bundles[1], [][]byte{[]byte("{}"), own}) != nil {
			t.Errorf("%s: made twice", name)
		}
	}

	// None of these asks anybody.
	x := &dating{Chained: c, now: sigstoretest.Now}
	d := x.dater()
	for _, bundle := range [][]byte{nil, []byte("{"), []byte("{}")} {
		if d.Beside(t.Context(), bundle, nil) != nil {
			t.Errorf("%q", bundle)
		}
	}
	if none := (*bindings.Dater)(nil); none.Newest(t.Context()) != nil ||
		none.Beside(t.Context(), bundles[1], nil) != nil ||
		x.stamps > 0 ||
		len(x.warned) != 2 {
		t.Errorf("%d stamps, %q", x.stamps, x.warned)
	}
	// The certificate is asked for in a later second, where another log is open: within one
	// the index decides.
	for logs, gap := range map[int]time.Duration{1: time.Hour, 2: 0} { // an hour would not end
		x := &dating{Chained: c, now: sigstoretest.Now}
		d := x.dater()
		many(logs)(x, d)
		d.SetGap(gap)
		begin := time.Now()
		if n := len(d.Newest(t.Context())); n != logs || logs > 1 && time.Since(begin) < bindings.PlaceGap {
			t.Errorf("of %d logs %d, after %s", logs, n, time.Since(begin))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d.Newest(ctx) != nil {
		t.Error("stamped although the run has ended")
	}
}
