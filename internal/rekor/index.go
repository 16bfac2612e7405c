// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// Limits of Rekor v1's index, which anyone can fill under any key.
const (
	MaxIndexReply = 8 << 20
	MaxEntriesV1  = 4 << 20 // of several entries
	MaxEntryV1    = 8 << 20 // of one: the log takes no more than 4 MiB, here in base64
	EntriesBatch  = 10      // as many as the service takes in one request
)

// search returns the names of the entries that the index lists under a SHA-256,
// in hex.
func Search(ctx context.Context, client *web.Client, hash string) ([]string, error) {
	body, err := json.Marshal(map[string]string{"hash": "sha256:" + hash})
	if err != nil {
		return nil, err
	}
	reply, err := client.Ask(ctx, "api/v1/index/retrieve", "application/json", body, MaxIndexReply)
	if err != nil {
		return nil, err
	}
	uuids, err := parseIndex(reply)
	if err != nil {
		return nil, fmt.Errorf("index of %s: %w", client.URL(), err)
	}
	return uuids, nil
}

// namedEntry is an entry under the name that the service gives it.
type namedEntry struct {
	name string
	Data json.RawMessage
}

// retrieveSome returns at most entriesBatch entries like [retrieve]. Strangers' entries may be
// large: together those of a request must not be more than can be had.
func RetrieveSome(ctx context.Context, client *web.Client, uuids []string) ([]namedEntry, error) {
	out, err := Retrieve(ctx, client, uuids)
	if n := len(uuids); n > 1 && errors.Is(err, web.ErrTooLarge) {
		if out, err = RetrieveSome(ctx, client, uuids[:n/2]); err != nil {
			return nil, err
		}
		rest, err := RetrieveSome(ctx, client, uuids[n/2:])
		return append(out, rest...), err
	}
	return out, err
}

// retrieve returns at most entriesBatch entries, in no order and perhaps not all.
func Retrieve(ctx context.Context, client *web.Client, uuids []string) ([]namedEntry, error) {
	body, err := json.Marshal(map[string][]string{"entryUUIDs": uuids})
	if err != nil {
		return nil, err
	}
	limit := int64(MaxEntriesV1)
	if len(uuids) == 1 {
		limit = MaxEntryV1
	}
	reply, err := client.Ask(ctx, "api/v1/log/entries/retrieve", "application/json", body, limit)
	if err != nil {
		return nil, err
	}
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(reply, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", client.URL(), err)
	}
	var out []namedEntry
	for _, m := range entries {
		for name, data := range m {
			out = append(out, namedEntry{name, data})
		}
	}
	return out, nil
}

// assign returns the entry of each name: the one that the service calls so, else one whose
// body has the hash in the name. One entry is not two, but under a name without its shard.
func Assign(names []string, entries []namedEntry) ([]namedEntry, error) {
	hashes, used := make([]string, len(entries)), make([]bool, len(entries))
	for i, e := range entries { // the hash is that of the body, whatever the service calls it
		parsed, _ := sigstore.ParseEntryV1(e.Data)
		hashes[i] = parsed.LeafHash
		if hashes[i] == "" || !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, hashes[i]) }) {
			return nil, errors.New("an entry that was not asked for")
		}
	}
	out := make([]namedEntry, len(names))
	for _, fits := range []func(n, i int) bool{
		func(n, i int) bool { return !used[i] && entries[i].name == names[n] },
		func(n, i int) bool { return !used[i] && strings.HasSuffix(entries[i].name, names[n]) },
		func(n, i int) bool { return !used[i] },
		func(n, i int) bool { return len(names[n]) == NameDigits },
	} {
		for n, name := range names {
			for i, e := range entries {
				if out[n].Data == nil && strings.HasSuffix(name, hashes[i]) && fits(n, i) {
					out[n], used[i] = e, true
				}
			}
		}
	}
	for n, name := range names {
		if out[n].Data == nil {
			return nil, fmt.Errorf("the entry %s is listed and withheld", name)
		}
	}
	return out, nil
}

// parseIndex reads the names of entries. Null is no list: that nothing is there
// has to be said.
func parseIndex(reply []byte) ([]string, error) {
	var uuids []string
	if err := json.Unmarshal(reply, &uuids); err != nil {
		return nil, err
	}
	if uuids == nil {
		return nil, errors.New("null is no list of entries")
	}
	for _, u := range uuids {
		if _, ok := LeafOfUUID(u); !ok {
			return nil, fmt.Errorf("%q is not an entry's name", clip.Text(u))
		}
	}
	return uuids, nil
}

// Digits of an entry's name: the hash of its leaf, after the number of the shard's tree in
// newer instances.
const (
	NameDigits  = 64
	ShardDigits = 16
)

// EntryName returns the whole name of an entry: the number of its shard's tree, in decimal, and
// the hex hash of its leaf; "" where the number is none.
func EntryName(tree, leafHash string) string {
	n, err := strconv.ParseUint(tree, 10, 64)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%0*x%s", ShardDigits, n, leafHash)
}

// LeafOfUUID returns the leaf hash in the name of an entry.
func LeafOfUUID(u string) (string, bool) {
	if len(u) != NameDigits && len(u) != ShardDigits+NameDigits || strings.Trim(u, "0123456789abcdef") != "" {
		return "", false
	}
	return u[len(u)-NameDigits:], true
}
