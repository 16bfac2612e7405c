// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/rekorbind"
)

// ofTestLog makes a bundle one of the log that the directory reads.
func ofTestLog(b *protobundle.Bundle) {
	b.VerificationMaterial.TlogEntries[0].LogId.KeyId = bytes.Repeat([]byte{2}, 32)
}

// bindingFile returns the bundle of a workflow of a repository, which binds if the event is one
// that does.
func bindingFile(inst *sigstoretest.Instance, repo, event string, payload []byte, at time.Time) []byte {
	wf := repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	return inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: wf, Issuer: "https://token.actions.githubusercontent.com", At: at, Log: sigstoretest.LogV2,
		TSA: true, Mutate: ofTestLog,
		Extensions: map[int]string{
			9: wf, 11: "github-hosted", 12: repo, 14: "refs/heads/main", 15: "1001", 17: "2002", 18: wf, 20: event,
		},
	})
}

// memberFile returns the bundle of a person.
func memberFile(inst *sigstoretest.Instance, who string, payload []byte) []byte {
	return inst.Sign(sigstoretest.Request{
		Statement: payload, SAN: who + "@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2,
		TSA: true, Mutate: ofTestLog,
	})
}

// second returns a version 2 that names another member.
func second(t testing.TB, repo, who string, first []byte) []byte {
	t.Helper()
	text := strings.NewReplacer("version = 1", "version = 2", "alice", who).Replace(fmt.Sprintf(policyText, repo, "alice"))
	payload, err := rekorbind.Encode([]byte(text), spelling.Sum(first))
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// desk is a directory that takes what is handed in.
type desk struct {
	t    testing.TB
	b    *Builder
	s    *Server
	d    answers.Descriptor
	now  time.Time
	stop func() error
}

func newDesk(t testing.TB, log *testLog, dir string) *desk {
	t.Helper()
	b := testBuilder(t, log, dir, nil)
	return deskOf(t, b, dir)
}

func deskOf(t testing.TB, b *Builder, dir string) *desk {
	t.Helper()
	d := &desk{t: t, b: b, now: sigstoretest.Now}
	b.Now = func() time.Time { return d.now }
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	signer, vkey, err := ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	d.d = answers.Descriptor{URL: "https://directory.example", Key: vkey}
	if d.s, err = NewServer(b.Store); err != nil {
		t.Fatal(err)
	}
	if d.s.Intake, err = NewIntake(b.Store, signer, b.Now); err != nil {
		t.Fatal(err)
	}
	d.stop = func() error { return errors.Join(d.s.Close(), b.Output.Close(), b.Store.Close()) }
	t.Cleanup(func() { _ = d.s.Close() })
	return d
}

func formOf(t testing.TB, files ...[]byte) (contentType string, body []byte) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for i, data := range files {
		p, err := w.CreateFormFile("file", fmt.Sprint(i))
		if err == nil {
			_, err = p.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), buf.Bytes()
}

func (d *desk) post(contentType string, body []byte) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/hand-in", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	d.s.ServeHTTP(w, r)
	return w
}

// handIn hands files in and returns the leaf of the receipt.
func (d *desk) handIn(files ...[]byte) int64 {
	d.t.Helper()
	w := d.post(formOf(d.t, files...))
	if w.Code != http.StatusOK {
		d.t.Fatalf("%d %s", w.Code, w.Body)
	}
	r, err := d.d.OpenReceipt(w.Body.Bytes())
	if err != nil {
		d.t.Fatal(err)
	}
	return r.Leaf
}

// build makes a leaf, an hour after the last one, and returns its index.
func (d *desk) build() int64 {
	d.t.Helper()
	d.now = d.now.Add(time.Hour)
	h, err := d.b.Build(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.s.Advance(); err != nil {
		d.t.Fatal(err)
	}
	return h.Index
}

// shown returns the leaf that lists a statement, and how many signatures over it are; -1 if none.
func (d *desk) shown(payload []byte) (leaf int64, signatures int) {
	d.t.Helper()
	leaf = -1
	if err := d.b.Store.db.View(func(tx *bolt.Tx) error {
		p, ok, err := publishedAs(tx, spelling.Sum(payload))
		if ok {
			leaf = p.At.Leaf
		}
		return errors.Join(err,
			eachSignature(tx, spelling.Sum(payload), func(bindings.SignatureRecord, signature) error {
				signatures++
				return nil
			}))
	}); err != nil {
		d.t.Fatal(err)
	}
	return leaf, signatures
}

// waits returns how much waits.
func (d *desk) waits() (n int) {
	d.t.Helper()
	if err := d.b.Store.db.View(func(tx *bolt.Tx) error {
		n = tx.Bucket(bucketWaiting).Stats().KeyN + tx.Bucket(bucketHandedIn).Stats().KeyN
		return nil
	}); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// TestHandInRefused: only what a valid binding shows is taken, and nothing of the rest is kept.
func TestHandInRefused(t *testing.T) {
	inst, other := sigstoretest.New(t), sigstoretest.New(t)
	at := sigstoretest.Now
	read, unread := statement(t, repoName(0), "alice"), statement(t, repoName(1), "alice")
	bindingFile(inst, repoName(0), "schedule", read, at)
	good := memberFile(inst, "alice", read)
	shown := len(inst.BodiesV2())
	next := second(t, repoName(0), "bob", read)
	bound, pushed := bindingFile(inst, repoName(1), "schedule", unread, at),
		bindingFile(inst, repoName(1), "push", unread, at)
	log := newTestLog(t, inst, inst.BodiesV2())
	log.show(shown)
	d := newDesk(t, log, t.TempDir())
	d.build()
	artifact := inst.Sign(sigstoretest.Request{
		Artifact: []byte("x"), SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2,
		TSA: true, Mutate: ofTestLog,
	})
	broken := inst.Sign(sigstoretest.Request{Statement: read, SAN: "alice@example.com",
		Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2, TSA: true, Mutate: func(b *protobundle.Bundle) {
			ofTestLog(b)
			b.GetDsseEnvelope().Signatures[0].Sig[9] ^= 1
		}})
	moved := inst.Sign(sigstoretest.Request{
		Statement: unread, SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2,
		TSA: true,
	})
	form := func(files ...[]byte) func() (string, []byte) {
		return func() (string, []byte) { return formOf(t, files...) }
	}
	text := func(contentType, body string) func() (string, []byte) {
		return func() (string, []byte) { return contentType, []byte(body) }
	}
	many := slices.Repeat([][]byte{[]byte("x")}, answers.MaxHandInFiles+1)
	for what, c := range map[string]struct {
		request func() (string, []byte)
		code    int
		say     string
	}{
		"nothing":                 {form(), 400, "nothing is handed in"},
		"no media type":           {text("", "x"), 415, "multipart"},
		"another media type":      {text("text/plain", string(good)), 415, "multipart"},
		"a form without boundary": {text("multipart/form-data", "x"), 415, "multipart"},
		"a form that is none":     {text("multipart/form-data; boundary=x", "junk"), 400, "cannot be read"},
		"a form that is cut off": {
			text("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data\r\n\r\nabc"), 400, "cannot be read",
		},
		"JSON that is none":    {text("application/json", "{"), 400, "cannot be read"},
		"JSON of another kind": {text("application/json", `{"files":[]}`), 400, "cannot be read"},
		"JSON with more":       {text("application/json", `{"bundles":[],"x":1}`), 400, "cannot be read"},
		"JSON without bundles": {text("application/json", `{"bundles":[]}`), 400, "nothing is handed in"},
		"too large": {
			form(bytes.Repeat([]byte{' '}, answers.MaxHandInBytes)), 413, "more than 1048576 bytes",
		},
		"too large JSON": {
			text("application/json", strings.Repeat(" ", answers.MaxHandInBytes+1)), 413, "more than 1048576 bytes",
		},
		"too many files": {form(many...), 413, "more than 64 files"},
		"too many bundles": {
			text("application/json", `{"bundles":[`+strings.Repeat("1,", 64)+"1]}"), 413, "more than 64 files",
		},
		"a file that is too large": {
			form(append(bytes.Repeat([]byte{' '}, maxSignatureBytes), good...)), 422, "file 1: not a signature over a policy",
		},
		"junk":                       {form([]byte("junk")), 422, "file 1: not a signature over a policy"},
		"junk beside it":             {form(good, []byte("junk")), 422, "file 2: not a signature over a policy"},
		"a signature over something": {form(artifact), 422, "not a signature over a policy"},
		"two statements":             {form(good, bound), 422, "more than one statement"},
		"an unknown statement":       {form(memberFile(inst, "alice", unread)), 409, "no binding of the statement"},
		"a statement that follows":   {form(memberFile(inst, "bob", next)), 409, "no binding of the statement"},
		"a run that does not bind":   {form(memberFile(inst, "alice", unread), pushed), 422, "file 2: neither a binding"},
		"a binding of another instance": {
			form(bindingFile(other, repoName(1), "schedule", unread, at)), 422, "file 1: neither a binding",
		},
		"a binding in a log that is not": {form(moved), 422, "file 1: neither a binding"},
		"a signature by nobody":          {form(memberFile(inst, "mallory", read)), 422, "file 1: neither a binding"},
		"a signature by nobody beside":   {form(good, memberFile(inst, "mallory", read)), 422, "file 2: neither a binding"},
		"a broken signature":             {form(broken), 422, "file 1: neither a binding"},
	} {
		w := d.post(c.request())
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.say) {
			t.Errorf("%s: %d %s, not %d %s", what, w.Code, w.Body, c.code, c.say)
		}
		if n := d.waits(); n != 0 {
			t.Fatalf("%s: %d things are kept", what, n)
		}
	}
	w := httptest.NewRecorder()
	d.s.ServeHTTP(w, httptest.NewRequest("GET", "/hand-in", nil))
	if w.Code == http.StatusOK {
		t.Errorf("GET: %d", w.Code)
	}
	d.s.Intake, w = nil, d.post(formOf(t, good))
	if w.Code != http.StatusOK {
		t.Errorf("what counts: %d %s", w.Code, w.Body)
	}
	if w := d.post(formOf(t, good)); w.Code != http.StatusNotFound {
		t.Errorf("who takes nothing: %d", w.Code)
	}
}

// TestHandIn: what is handed in is listed by the leaf of the receipt, once, whether its binding
// was read before or not, and auditors agree.
func TestHandIn(t *testing.T) {
	inst := sigstoretest.New(t)
	at := sigstoretest.Now
	one := statement(t, repoName(0), "alice")
	two := second(t, repoName(0), "bob", one)
	bindOne := bindingFile(inst, repoName(0), "schedule", one, at)
	sigOne := memberFile(inst, "alice", one)
	shown := len(inst.BodiesV2())
	sigTwo := [][]byte{memberFile(inst, "alice", two), memberFile(inst, "bob", two)}
	bindTwo := bindingFile(inst, repoName(0), "schedule", two, at.Add(time.Minute))
	log := newTestLog(t, inst, inst.BodiesV2())
	dir := t.TempDir()
	d := newDesk(t, log, dir)
	log.show(shown)
	if got := d.handIn(bindOne, sigOne); got != 0 { // before the first build
		t.Errorf("leaf %d", got)
	}
	d.build()
	if leaf, n := d.shown(one); leaf != 0 || n != 1 || d.waits() != 0 {
		t.Errorf("leaf %d, %d signatures, %d wait", leaf, n, d.waits())
	}
	if got := d.handIn(sigOne); got != 0 || d.waits() != 0 { // again
		t.Errorf("leaf %d, %d wait", got, d.waits())
	}
	// Alice is no member of version 2, but of the one before.
	if got := d.handIn(bindTwo, sigTwo[0]); got != 1 {
		t.Errorf("leaf %d", got)
	}
	if got := d.build(); got != 1 {
		t.Fatal(got)
	}
	if leaf, _ := d.shown(two); leaf != -1 || d.waits() == 0 {
		t.Errorf("listed in leaf %d although its binding was not read", leaf)
	}
	log.show(len(log.bodies))
	if got := d.handIn(sigTwo...); got != 2 { // what waits is known to be bound
		t.Errorf("leaf %d", got)
	}
	if w := d.post("application/json", fmt.Appendf(nil, `{"bundles":[%s]}`, sigTwo[1])); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	d.build()
	if leaf, n := d.shown(two); leaf != 2 || n != 2 || d.waits() != 0 {
		t.Errorf("leaf %d, %d signatures, %d wait", leaf, n, d.waits())
	}
	l := &liar{t: t, log: log, b: d.b, dir: dir, site: filepath.Join(dir, "site"), state: t.TempDir()}
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	l.key = string(key)
	if err := d.b.Store.Publish(l.site, noWarn); err != nil {
		t.Fatal(err)
	}
	if n, err := l.audit(); err != nil || n != 3 {
		t.Errorf("audited %d leaves: %v", n, err)
	}
}

// TestHandInWhileBuilding: a build that has begun does not promise what it may not have read.
func TestHandInWhileBuilding(t *testing.T) {
	inst := sigstoretest.New(t)
	var payloads, bindings [][]byte
	for i := range 4 {
		payloads = append(payloads, statement(t, repoName(i), "alice"))
		bindings = append(bindings,
			bindingFile(inst, repoName(i), "schedule", payloads[i], sigstoretest.Now.Add(time.Duration(i)*time.Second)))
	}
	log := newTestLog(t, inst, inst.BodiesV2())
	base := len(log.bodies) - 4
	d := newDesk(t, log, t.TempDir())
	log.show(base + 1)
	var once sync.Once
	var asked int64
	log.change = func(path string, data []byte) []byte {
		if strings.HasSuffix(path, "/checkpoint") { // the answer is on its way
			once.Do(func() { asked = d.handIn(bindings[1]) })
		}
		return data
	}
	d.build()
	if asked != 1 {
		t.Errorf("while the logs are asked: leaf %d", asked)
	}
	log.show(base + 3)
	p, err := d.b.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := d.handIn(bindings[0]); got != 2 { // is bound, but the build may have passed it
		t.Errorf("while a build runs: leaf %d", got)
	}
	if got := d.handIn(bindings[2]); got != 2 {
		t.Errorf("while a build runs: leaf %d", got)
	}
	if err := d.b.prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := d.handIn(bindings[3]); got != 2 { // beyond what it reads
		t.Errorf("before a build ends: leaf %d", got)
	}
	if _, err := d.b.append(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	log.show(base + 4)
	d.build()
	for i, want := range []int64{1, 1, 1, 2} {
		if leaf, _ := d.shown(payloads[i]); leaf != want {
			t.Errorf("%d: leaf %d, not %d", i, leaf, want)
		}
	}
}

// TestHandInCutOff: what there is a receipt for is not lost, wherever the directory is killed.
func TestHandInCutOff(t *testing.T) {
	for _, after := range []string{"the receipt", "begin", "gather", "take", "prepare"} {
		t.Run(after, func(t *testing.T) {
			inst := sigstoretest.New(t)
			payload := statement(t, repoName(0), "alice")
			files := [][]byte{
				bindingFile(inst, repoName(0), "schedule", payload, sigstoretest.Now), memberFile(inst, "alice", payload),
			}
			log := newTestLog(t, inst, inst.BodiesV2())
			dir := t.TempDir()
			d := newDesk(t, log, dir)
			d.build()
			d.handIn(files...)
			if after != "the receipt" {
				p, err := d.b.begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				all, err := d.b.Store.Maps()
				if err != nil {
					t.Fatal(err)
				}
				switch after {
				case "gather":
					err = d.b.gather(all, p.At.Leaf)
				case "take":
					err = errors.Join(d.b.gather(all, p.At.Leaf), d.b.take(p, all))
				case "prepare":
					err = d.b.prepare(t.Context(), p)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			d = newDesk(t, log, dir)
			if got := d.handIn(files...); got > 2 { // what it was promised, or later
				t.Errorf("leaf %d", got)
			}
			d.build()
			if leaf, n := d.shown(payload); leaf != 1 || n != 1 {
				t.Errorf("leaf %d, %d signatures", leaf, n)
			}
			d.build()
			if _, n := d.shown(payload); n != 1 || d.waits() != 0 {
				t.Errorf("%d signatures, %d wait", n, d.waits())
			}
		})
	}
}

// TestHandInConcurrent hands in while builds are made: every receipt is kept.
func TestHandInConcurrent(t *testing.T) {
	inst := sigstoretest.New(t)
	var payloads [][]byte
	var files [][][]byte
	for i := range 24 {
		p := statement(t, repoName(i), "alice")
		payloads = append(payloads, p)
		files = append(files, [][]byte{
			bindingFile(inst, repoName(i), "schedule", p, sigstoretest.Now.Add(time.Duration(i)*time.Second)),
			memberFile(inst, "alice", p),
		})
	}
	log := newTestLog(t, inst, inst.BodiesV2())
	d := newDesk(t, log, t.TempDir())
	d.b.Now = time.Now
	promised := make([]int64, len(files))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < len(files); i += 4 {
				promised[i] = d.handIn(files[i]...)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	built := func() {
		if _, err := d.b.Build(t.Context()); err != nil {
			t.Error(err)
		}
		if err := d.s.Advance(); err != nil {
			t.Error(err)
		}
	}
	for range 5 {
		built()
	}
	wg.Wait()
	built()
	built()
	for i, p := range payloads {
		if leaf, n := d.shown(p); leaf < 0 || leaf > promised[i] || n != 1 {
			t.Errorf("%d: leaf %d with %d signatures, promised was %d", i, leaf, n, promised[i])
		}
	}
}

// TestHandInFlood: a flood is refused with the time after which to come again; it puts nothing
// out, and neither who binds much later nor a member who signs much keeps others away.
func TestHandInFlood(t *testing.T) {
	inst := sigstoretest.New(t)
	at := sigstoretest.Now
	early := statement(t, repoName(0), "early")
	bindEarly := bindingFile(inst, repoName(0), "schedule", early, at)
	var late [][]byte
	for i := range maxWaitingRepo + 1 {
		late = append(late,
			bindingFile(inst, repoName(0), "schedule", statement(t, repoName(0), fmt.Sprintf("m%d", i)),
				at.Add(time.Duration(i+1)*time.Second)))
	}
	elsewhere := bindingFile(inst, repoName(1), "schedule", statement(t, repoName(1), "alice"), at)
	var signed [][]byte
	for range maxPerMember + 1 {
		signed = append(signed, memberFile(inst, "alice", early))
	}
	d := newDesk(t, newTestLog(t, inst, inst.BodiesV2()), t.TempDir())
	refused := func(what string, code int, files ...[]byte) {
		t.Helper()
		w := d.post(formOf(t, files...))
		if w.Code != code || (code != 422) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: %d %q %s", what, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
	d.build()
	for _, f := range late[1:] {
		d.handIn(f)
	}
	refused("one more than waits", 429,
		bindingFile(inst, repoName(0), "schedule", statement(t, repoName(0), "z"), at.Add(time.Hour)))
	d.handIn(late[0]) // bound before all of them
	d.handIn(bindEarly)
	d.handIn(elsewhere)
	d.handIn(signed[:maxPerMember]...)
	d.handIn(signed[maxPerMember], signed[0]) // one more by a member: of no use, and no harm
	d.now = d.now.Add(time.Minute)
	for range filesAtOnce / len(signed[:maxPerMember]) {
		d.handIn(signed[:maxPerMember]...)
	}
	refused("too fast", 429, bindEarly)
	d.now = d.now.Add(time.Second)
	d.handIn(bindEarly)
	d.build()
	if _, n := d.shown(early); d.waits() != 0 || n != maxPerMember {
		t.Errorf("%d wait, %d signatures", d.waits(), n)
	}

	// Bounds that no test reaches by itself.
	for what, c := range map[string]struct {
		w    waiting
		n    int
		code int
	}{
		"bytes of the repository": {waiting{Repository: repoName(1), Bytes: maxRepoBytes}, 1, 429},
		"bytes of all":            {waiting{Repository: repoName(2), Bytes: maxWaitingBytes}, 1, 503},
		"statements of all":       {waiting{Repository: repoName(2)}, maxWaitingAll, 503},
		"bytes of others":         {waiting{Repository: repoName(2), Bytes: maxRepoBytes}, 2, 200},
	} {
		fill := func(put func(b *bolt.Bucket, key, data []byte) error) {
			data, err := json.Marshal(c.w)
			if err == nil {
				err = d.b.Store.db.Update(func(tx *bolt.Tx) error {
					for i := range c.n {
						if err := put(tx.Bucket(bucketWaiting), fmt.Appendf(nil, "%064x", i), data); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		d.now = d.now.Add(time.Minute)
		fill(func(b *bolt.Bucket, key, data []byte) error { return b.Put(key, data) })
		w := d.post(formOf(t, memberFile(inst, "alice", statement(t, repoName(1), "alice"))))
		if w.Code != c.code {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
		fill(func(b *bolt.Bucket, key, _ []byte) error { return b.Delete(key) })
	}
	for range cap(d.s.slots) {
		d.s.slots <- struct{}{}
	}
	refused("too many at once", 503, bindEarly)
}

// TestHandInLate: what a log showed as bound and then does not have is dropped, and said.
func TestHandInLate(t *testing.T) {
	inst := sigstoretest.New(t)
	payload := statement(t, repoName(0), "alice")
	file := bindingFile(inst, repoName(0), "schedule", payload, sigstoretest.Now)
	log := newTestLog(t, inst, inst.BodiesV2())
	log.show(0)
	d := newDesk(t, log, t.TempDir())
	var warned []string
	d.b.Warn = func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }
	d.handIn(file)
	for range lateLeaves + 1 {
		d.build()
	}
	if d.waits() == 0 || len(warned) > 0 {
		t.Errorf("%d wait, %v", d.waits(), warned)
	}
	d.build()
	if d.waits() != 0 || len(warned) != 1 || !strings.Contains(warned[0], "is dropped") {
		t.Errorf("%d wait, %v", d.waits(), warned)
	}
	if leaf, _ := d.shown(payload); leaf >= 0 {
		t.Errorf("listed in leaf %d", leaf)
	}
}

// FuzzReadHandIn: a request has no more files than it may, and what was read reads the same
// again in the other form.
func FuzzReadHandIn(f *testing.F) {
	kind, body := formOf(f, []byte(`{"a":1}`), []byte("x"))
	f.Add(kind, body)
	f.Add("application/json", []byte(`{"bundles":[{"a":[1,2]},3,"x"]}`))
	f.Add("application/json; charset=utf-8", []byte(`{"bundles":[null]}`))
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\n\r\n\r\n--x--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		files, err := readHandIn(contentType, bytes.NewReader(body))
		if err != nil {
			if r := isRefusal(err); r == nil || r.Status < 400 || r.Status > 499 {
				t.Errorf("%v", err)
			}
			return
		}
		if len(files) == 0 || len(files) > answers.MaxHandInFiles {
			t.Errorf("%d files", len(files))
		}
		var data [][]byte
		for _, x := range files {
			data = append(data, x.Data)
		}
		kind, form := formOf(t, data...)
		again, err := readHandIn(kind, bytes.NewReader(form))
		if err != nil ||
			!slices.EqualFunc(files, again, func(a, b bindings.File) bool {
				return a.Name == b.Name && bytes.Equal(a.Data, b.Data)
			}) {
			t.Errorf("%v", err)
		}
	})
}
