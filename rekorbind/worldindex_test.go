// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
)

// index is a search index of Rekor v1 that may lie.
type index struct {
	list    func() string                                                    // reply to a search
	entries func(asked []string, honest []map[string]json.RawMessage) string // reply to a retrieval; nil for the honest one
	fetched []string
	renamed bool // also asked under another name
}

func (c *chained) serve(x *index) *web.Client {
	c.t.Helper()
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Hash       string   `json:"hash"`
			EntryUUIDs []string `json:"entryUUIDs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			c.t.Error(err)
		}
		switch r.URL.Path {
		case "/api/v1/index/retrieve":
			if q.Hash != "sha256:"+locator(c.t, widget).Anchor() && !x.renamed {
				c.t.Errorf("asked for %s", q.Hash)
			}
			_, _ = io.WriteString(w, x.list())
		case "/api/v1/log/entries/retrieve":
			if len(q.EntryUUIDs) == 0 || len(q.EntryUUIDs) > entriesBatch {
				c.t.Errorf("asked for %d entries", len(q.EntryUUIDs))
			}
			mu.Lock()
			x.fetched = append(x.fetched, q.EntryUUIDs...)
			mu.Unlock()
			honest := []map[string]json.RawMessage{}
			for _, u := range q.EntryUUIDs {
				if e, ok := c.v1[u]; ok {
					honest = append(honest, map[string]json.RawMessage{u: e})
				}
			}
			if x.entries != nil {
				_, _ = io.WriteString(w, x.entries(q.EntryUUIDs, honest))
				return
			}
			_ = json.NewEncoder(w).Encode(honest)
		default:
			http.NotFound(w, r)
		}
	}))
	c.t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

func (c *chained) hint(x *index) *Hint {
	return &Hint{Root: c.root, Client: c.serve(x), Now: func() time.Time { return sigstoretest.Now }}
}

func list(names ...string) func() string {
	out, err := json.Marshal(names)
	if err != nil {
		panic(err)
	}
	return func() string { return string(out) }
}

// remembering remembers in memory.
type remembering struct {
	entries []Looked
	err     error
}

func (m *remembering) Get(name string) (Looked, bool) {
	i := slices.IndexFunc(m.entries, func(l Looked) bool { return l.Name == name })
	if i < 0 {
		return Looked{}, false
	}
	return m.entries[i], true
}

func (m *remembering) Age(string) int { return 0 }

func (m *remembering) Add(entries []Looked) error {
	m.entries = append(m.entries, entries...)
	return m.err
}

// relog logs the envelope of an entry once more, in another shard, a year later, as
// anybody can. It returns the entry's name there, which has the same leaf hash.
func (c *chained) relog(name, shard string) string {
	c.t.Helper()
	var e struct {
		Body     []byte `json:"body"`
		LogIndex int64  `json:"logIndex"`
	}
	if err := json.Unmarshal(c.v1[name], &e); err != nil {
		c.t.Fatal(err)
	}
	again := shard + name[shardDigits:]
	c.v1[again] = c.promised(e.Body, e.LogIndex+1_000_000+int64(len(c.v1)), sigstoretest.Now.AddDate(1, 0, 0))
	return again
}

// promised is an entry of any body that the log vouches for.
func (c *chained) promised(body []byte, index int64, at time.Time) json.RawMessage {
	entry := c.inst.PromiseV1(body, index, at)
	return json.RawMessage(fmt.Sprintf(`{"body":%q,"integratedTime":%d,"logID":%q,"logIndex":%d,"verification":{"signedEntryTimestamp":%q}}`,
		base64.StdEncoding.EncodeToString(body), at.Unix(), c.inst.IDV1(), index, base64.StdEncoding.EncodeToString(entry)))
}
