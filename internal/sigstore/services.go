// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-openapi/runtime"
	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore-go/pkg/sign"
	tessera "github.com/transparency-dev/tessera/client"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
)

// rekorV1Client is what sign.Rekor asks Rekor v1 with: rekor's own client, but
// through our transport.
func rekorV1Client(
	ctx context.Context, base string, transport http.RoundTripper, timeout time.Duration,
) (sign.RekorClient, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Path == "" {
		u.Path = client.DefaultBasePath
	}
	rt := httptransport.NewWithClient(u.Host, u.Path, []string{u.Scheme}, &http.Client{
		Transport: transport, Timeout: timeout,
	})
	rt.Consumers["application/json"] = runtime.JSONConsumer()
	rt.Producers["application/json"] = runtime.JSONProducer()
	registry := strfmt.NewFormats()
	registry.Add("signedCheckpoint", &util.SignedNote{}, util.SignedCheckpointValidator)
	return patientV1{client.New(rt, registry).Entries, ctx, timeout}, nil
}

// integrationPoll is between two questions for an entry that waits.
const integrationPoll = 500 * time.Millisecond

// patientV1 waits for an entry of which Rekor v1 says that it has it: until it is
// integrated, which takes seconds, the log answers that there is none.
type patientV1 struct {
	sign.RekorClient
	ctx     context.Context // of the one entry that is logged
	timeout time.Duration
}

// GetLogEntryByUUID implements sign.RekorClient. After the timeout it returns
// the log's answer.
func (p patientV1) GetLogEntryByUUID(
	params *entries.GetLogEntryByUUIDParams, opts ...entries.ClientOption,
) (*entries.GetLogEntryByUUIDOK, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
	defer cancel()
	tick := time.NewTicker(integrationPoll)
	defer tick.Stop()
	for {
		resp, err := p.RekorClient.GetLogEntryByUUID(params, opts...)
		var none *entries.GetLogEntryByUUIDNotFound
		if !errors.As(err, &none) {
			return resp, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return resp, err
		}
	}
}

// rekorV2 is what sign.Rekor asks Rekor v2 with. Unlike the library's client it
// takes the answer that the entry is there already, and reads it from the tiles.
type rekorV2 struct {
	base string
	http *http.Client
	root *Root
}

// Add implements sign.RekorV2Client.
func (w *rekorV2) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	h, ok := entry.(*rekortiles.HashedRekordRequestV002)
	if !ok {
		return nil, fmt.Errorf("unsupported entry type %T", entry)
	}
	body, err := protojson.Marshal(&rekortiles.CreateEntryRequest{
		Spec: &rekortiles.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: h},
	})
	if err != nil {
		return nil, err
	}
	resp, err := w.do(ctx, http.MethodPost, "api/v2/log/entries", body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusCreated:
		tle := &protorekor.TransparencyLogEntry{}
		if err := protojson.Unmarshal(data, tle); err != nil {
			return nil, errors.New("the answer is malformed: " + cleanProto(err))
		}
		return tle, answerV2(tle)
	case http.StatusConflict:
		index, err := canonical.ParseNumber(resp.Header.Get("x-log-index"))
		if err != nil {
			return nil, errors.New("the entry is in the log already, but the log does not say where")
		}
		return w.existing(ctx, index)
	}
	return nil, fmt.Errorf("unexpected answer: %s: %s", resp.Status, clip.Text(strings.TrimSpace(string(data))))
}

func (w *rekorV2) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	u, err := url.JoinPath(w.base, path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return w.http.Do(req)
}

// existing builds the answer for an entry that is in the log: its body, and the
// proof that it is in the newest tree. Both are checked where every bundle is.
func (w *rekorV2) existing(ctx context.Context, index int64) (*protorekor.TransparencyLogEntry, error) {
	base, err := url.Parse(w.base)
	if err != nil {
		return nil, err
	}
	tiles, err := tessera.NewHTTPFetcher(base.JoinPath("api/v2/"), w.http)
	if err != nil {
		return nil, err
	}
	note, err := tiles.ReadCheckpoint(ctx)
	if err != nil {
		return nil, err
	}
	var cp Checkpoint
	var id []byte
	err = errors.New("the log is not in the trusted root")
	for _, l := range w.root.Logs() {
		if l.Generation != 2 {
			continue
		}
		if cp, err = w.root.OpenCheckpoint(l.ID, note); err == nil {
			id, err = hex.DecodeString(l.ID)
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if index >= cp.Size {
		return nil, errors.New("the entry is not in the newest tree yet; try again")
	}
	proofs, err := tessera.NewProofBuilder(ctx, uint64(cp.Size), tiles.ReadTile)
	if err != nil {
		return nil, err
	}
	hashes, err := proofs.InclusionProof(ctx, uint64(index))
	if err != nil {
		return nil, err
	}
	bundle, err := tessera.GetEntryBundle(ctx, tiles.ReadEntryBundle, uint64(index)/256, uint64(cp.Size))
	if err != nil {
		return nil, err
	}
	if uint64(len(bundle.Entries)) <= uint64(index)%256 {
		return nil, errors.New("the log does not show the entry that it has already")
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: index, LogId: &protocommon.LogId{KeyId: id},
		KindVersion: &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.2"},
		InclusionProof: &protorekor.InclusionProof{
			LogIndex: index, RootHash: cp.Root, TreeSize: cp.Size, Hashes: hashes,
			Checkpoint: &protorekor.Checkpoint{Envelope: string(note)},
		},
		CanonicalizedBody: bundle.Entries[uint64(index)%256],
	}, nil
}
