// SPDX-License-Identifier: Apache-2.0

package bindtest

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

	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
)

// index is a search index of Rekor v1 that may lie.
type Index struct {
	List func() string // reply to a search
	// reply to a retrieval; nil for the honest one
	Entries func(asked []string, honest []map[string]json.RawMessage) string
	Fetched []string
	Renamed bool // also asked under another name
}

func (c *Chained) serve(x *Index) *web.Client {
	c.T.Helper()
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Hash       string   `json:"hash"`
			EntryUUIDs []string `json:"entryUUIDs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			c.T.Error(err)
		}
		switch r.URL.Path {
		case "/api/v1/index/retrieve":
			if q.Hash != "sha256:"+Locator(c.T, Widget).Anchor() && !x.Renamed {
				c.T.Errorf("asked for %s", q.Hash)
			}
			_, _ = io.WriteString(w, x.List())
		case "/api/v1/log/entries/retrieve":
			if len(q.EntryUUIDs) == 0 || len(q.EntryUUIDs) > rekor.EntriesBatch {
				c.T.Errorf("asked for %d entries", len(q.EntryUUIDs))
			}
			mu.Lock()
			x.Fetched = append(x.Fetched, q.EntryUUIDs...)
			mu.Unlock()
			honest := []map[string]json.RawMessage{}
			for _, u := range q.EntryUUIDs {
				if e, ok := c.V1[u]; ok {
					honest = append(honest, map[string]json.RawMessage{u: e})
				}
			}
			if x.Entries != nil {
				_, _ = io.WriteString(w, x.Entries(q.EntryUUIDs, honest))
				return
			}
			_ = json.NewEncoder(w).Encode(honest)
		default:
			http.NotFound(w, r)
		}
	}))
	c.T.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.T.Fatal(err)
	}
	return client
}

func (c *Chained) Hint(x *Index) *lookup.Hint {
	return &lookup.Hint{Root: c.Root, Client: c.serve(x), Now: func() time.Time { return sigstoretest.Now }}
}

func List(names ...string) func() string {
	out, err := json.Marshal(names)
	if err != nil {
		panic(err)
	}
	return func() string { return string(out) }
}

// remembering remembers in memory.
type Remembering struct {
	Entries []lookup.Looked
	Err     error
}

func (m *Remembering) Get(name string) (lookup.Looked, bool) {
	i := slices.IndexFunc(m.Entries, func(l lookup.Looked) bool { return l.Name == name })
	if i < 0 {
		return lookup.Looked{}, false
	}
	return m.Entries[i], true
}

func (m *Remembering) Age(string) int { return 0 }

func (m *Remembering) Add(entries []lookup.Looked) error {
	m.Entries = append(m.Entries, entries...)
	return m.Err
}

// relog logs the envelope of an entry once more, in another shard, a year later, as
// anybody can. It returns the entry's name there, which has the same leaf hash.
func (c *Chained) Relog(name, shard string) string {
	c.T.Helper()
	var e struct {
		Body     []byte `json:"body"`
		LogIndex int64  `json:"logIndex"`
	}
	if err := json.Unmarshal(c.V1[name], &e); err != nil {
		c.T.Fatal(err)
	}
	again := shard + name[rekor.ShardDigits:]
	c.V1[again] = c.Promised(e.Body, e.LogIndex+1_000_000+int64(len(c.V1)), sigstoretest.Now.AddDate(1, 0, 0))
	return again
}

// promised is an entry of any body that the log vouches for.
func (c *Chained) Promised(body []byte, index int64, at time.Time) json.RawMessage {
	entry := c.Inst.PromiseV1(body, index, at)
	return json.RawMessage(
		fmt.Sprintf(
			`{"body":%q,"integratedTime":%d,"logID":%q,"logIndex":%d,"verification":{"signedEntryTimestamp":%q}}`,
			base64.StdEncoding.EncodeToString(
				body,
			),
			at.Unix(),
			c.Inst.IDV1(),
			index,
			base64.StdEncoding.EncodeToString(entry),
		),
	)
}
