// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/web"
)

// Limits of Rekor v1's index, which anyone can fill under any key.
const (
	maxIndexReply = 8 << 20
	maxEntriesV1  = 16 << 20
	entriesBatch  = 10 // as many as the service takes in one request
)

// search returns the names of the entries that the index lists under a SHA-256,
// in hex.
func search(ctx context.Context, client *web.Client, hash string) ([]string, error) {
	body, err := json.Marshal(map[string]string{"hash": "sha256:" + hash})
	if err != nil {
		return nil, err
	}
	reply, err := client.Ask(ctx, "api/v1/index/retrieve", "application/json", body, maxIndexReply)
	if err != nil {
		return nil, err
	}
	uuids, err := parseIndex(reply)
	if err != nil {
		return nil, fmt.Errorf("index of %s: %w", client.URL(), err)
	}
	return uuids, nil
}

// retrieve returns at most entriesBatch entries, in no order and perhaps not all.
func retrieve(ctx context.Context, client *web.Client, uuids []string) ([]json.RawMessage, error) {
	body, err := json.Marshal(map[string][]string{"entryUUIDs": uuids})
	if err != nil {
		return nil, err
	}
	reply, err := client.Ask(ctx, "api/v1/log/entries/retrieve", "application/json", body, maxEntriesV1)
	if err != nil {
		return nil, err
	}
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(reply, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", client.URL(), err)
	}
	var out []json.RawMessage
	for _, m := range entries {
		for _, raw := range m {
			out = append(out, raw)
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
		if _, ok := leafOfUUID(u); !ok {
			return nil, fmt.Errorf("%q is not an entry's name", clip(u))
		}
	}
	return uuids, nil
}

// leafOfUUID returns the leaf hash in the name of an entry, which has 64 hex
// digits, after 16 of the tree's number in newer instances.
func leafOfUUID(u string) (string, bool) {
	if len(u) != 64 && len(u) != 80 || strings.Trim(u, "0123456789abcdef") != "" {
		return "", false
	}
	return u[len(u)-64:], true
}
