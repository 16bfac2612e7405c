// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// agree demands that an answer proves what it says under the leaf in it.
func agree(key string, data []byte) error {
	a, err := answers.ParseAnswer(data)
	if err != nil {
		return err
	}
	leaf, err := answers.ParseDirectoryLeaf(a.Leaf)
	if err != nil {
		return err
	}
	want := leaf.Maps[0].Hash
	for _, k := range a.Keys {
		var values []prefixmap.Hash
		for _, r := range k.Records {
			text, err := r.Text()
			if err != nil {
				return err
			}
			values = append(values, value(text))
		}
		if root, err := k.Path.Member(prefixmap.KeyHash(k.Key), k.Blocks, values); err != nil || root != want {
			return fmt.Errorf("%s: root %x, not %x: %v", k.Key, root, want, err)
		}
	}
	if x := a.Absent; x != nil {
		root, err := x.Path.Diverged(prefixmap.KeyHash(key), x.Other)
		if len(x.Items) > 0 {
			root, err = x.Path.Absent(prefixmap.KeyHash(key), x.Depth, x.Items)
		}
		if err != nil || root != want {
			return fmt.Errorf("%s: root %x, not %x: %v", key, root, want, err)
		}
	}
	return nil
}

// TestServer asks while the next states are built: every answer agrees with the leaf
// in it.
func TestServer(t *testing.T) {
	inst := sigstoretest.New(t)
	var bodies [][]byte
	for i := range 4000 {
		bodies = append(bodies, syntheticBody(i, 40))
	}
	log := newTestLog(t, inst, bodies)
	log.show(0)
	b := testBuilder(t, log, t.TempDir(), synthetic{})
	s, err := NewServer(b.Store)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/"+path, nil))
		return w
	}
	if w := get("checkpoint"); w.Code != 503 {
		t.Errorf("before the first build: %d", w.Code)
	}
	all, err := b.Store.Maps()
	if err != nil {
		t.Fatal(err)
	}
	id := all[0].ID
	build := func(n int) {
		t.Helper()
		log.show(n)
		if _, err := b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Advance(); err != nil {
			t.Fatal(err)
		}
	}
	build(0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; ctx.Err() == nil; i++ {
				key := repoName(i % 60) // a third of them is not there
				w := get(lookupPath(id, prefixmap.KeyHash(key)))
				if w.Code != 200 {
					t.Errorf("%s: %d", key, w.Code)
				} else if err := agree(key, w.Body.Bytes()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, n := range []int{1, 100, 1500, 1600, 4000} {
		build(n)
	}
	cancel()
	wg.Wait()

	hash := fmt.Sprintf("%x", prefixmap.KeyHash(repoName(1)))
	number := fmt.Sprintf("%x", prefixmap.KeyHash("https://github.com#15:1"))
	for path, want := range map[string]int{
		"checkpoint": 200, "tile/entries/000.p/6": 200, "tile/entries/001": 404,
		id + "/lookup/" + hash[:2] + "/" + hash + ".json.gz":                      200,
		id + "/lookup/" + hash[:2] + "/" + hash:                                   404,
		id + "/lookup/00/" + hash + ".json.gz":                                    404,
		id + "/lookup/" + hash[:2] + "/" + hash[:62] + ".json.gz":                 404,
		id + "/lookup/" + hash[:2] + "/" + hash[:63] + "X.json.gz":                404,
		id + "/lookup/" + number[:2] + "/" + number + ".json.gz":                  404, // of no locator
		strings.Repeat("0", 32) + "/lookup/" + hash[:2] + "/" + hash + ".json.gz": 404,
		id + "/page/" + hash[:2] + "/" + hash + "/0.json.gz":                      200,
		id + "/page/" + hash[:2] + "/" + hash + "/1.json.gz":                      404,
		id + "/page/" + hash[:2] + "/" + hash + "/00.json.gz":                     404,
		id + "/page/" + hash[:2] + "/" + hash + "/-1.json.gz":                     404,
		id + "/absent/00.json.gz":                                                 200, id + "/absent/0.json.gz": 404,
		id + "/absent/0g.json.gz": 404, id + "/absent/0123456789.json.gz": 200,
		id + "/disclosed/0": 200, id + "/disclosed/6": 404, id + "/disclosed/x": 404,
		"statement/00/" + strings.Repeat("0", 64): 404, "state.db": 404, "": 404,
	} {
		if w := get(path); w.Code != want {
			t.Errorf("%s: %d, not %d", path, w.Code, want)
		}
	}
	page, err := answers.ParsePage(get(id + "/page/" + hash[:2] + "/" + hash + "/0.json.gz").Body.Bytes())
	if err != nil || page.Key != repoName(1) {
		t.Errorf("%v", err)
	}
	for n := range 256 { // what a client without luck asks for
		digits := fmt.Sprintf("%02x", n)
		if err := agreeAbsent(get(id+"/absent/"+digits+".json.gz").Body.Bytes(), digits); err != nil {
			t.Error(err)
		}
	}

	// A build that was cut off leaves maps that are ahead of the newest leaf: nothing
	// is published of it.
	b.Transport = newTestLog(t, inst, append(bodies, syntheticBody(4000, 40))).transport(t)
	p, err := b.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.Advance(); !errors.Is(err, ErrUnfinished) {
		t.Errorf("served while unfinished: %v", err)
	}
	if err := b.Store.Publish(filepath.Join(t.TempDir(), "site"), noWarn); !errors.Is(err, ErrUnfinished) {
		t.Errorf("published while unfinished: %v", err)
	}
	if w := get("checkpoint"); w.Code != 200 {
		t.Errorf("the state before is gone: %d", w.Code)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// agreeAbsent takes some key with these first digits that is not there.
func agreeAbsent(data []byte, digits string) error {
	for i := range 1 << 20 {
		key := fmt.Sprintf("https://example.com/not/%d", i)
		if hash := prefixmap.KeyHash(key); strings.HasPrefix(fmt.Sprintf("%x", hash), digits) {
			return agree(key, data)
		}
	}
	return errors.New("no key with these digits")
}
