// SPDX-License-Identifier: Apache-2.0

// Package rekor runs shards of Rekor v2 on files. The service that joins the
// public parts of rekor-tiles is internal there; this one makes the same calls,
// with an awaiter that polls more often, and can be closed.
package rekor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	pb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"github.com/sigstore/sigstore/pkg/signature"
	logfmt "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	tposix "github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// Origin is the origin of every shard: Sigstore's clients take it from the
	// host name of the log's URL, without the port.
	Origin = "127.0.0.1"

	maxRequest     = 4 << 20 // as upstream
	checkpoint     = 100 * time.Millisecond
	poll           = 10 * time.Millisecond
	batchAge       = 5 * time.Millisecond
	batchSize      = 256
	recent         = 256 // entries whose duplicates are found without the store
	witnessTimeout = time.Second

	codeHeader    = "x-http-code"
	messageHeader = "x-http-error-message"
	indexHeader   = "x-log-index"
)

// algorithms are the client's algorithms that upstream takes by default.
var algorithms = []protocommon.PublicKeyDetails{
	protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
	protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
	protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256,
	protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
	protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
	protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
	protocommon.PublicKeyDetails_PKIX_ED25519,
	protocommon.PublicKeyDetails_PKIX_ED25519_PH,
}

// Shard is one running log.
type Shard struct {
	http.Handler
	pb.UnimplementedRekorServer

	logID    []byte
	verifier note.Verifier
	registry *signature.AlgorithmRegistryConfig
	appender *tessera.Appender
	reader   tessera.LogReader
	awaiter  *tessera.PublicationAwaiter
	shutdown func(context.Context) error
	antispam *antispam
	frozen   atomic.Bool
}

// Start runs a shard in a directory. With a witness policy its checkpoints are
// cosigned; like upstream it publishes without cosignatures when witnesses do
// not answer.
func Start(ctx context.Context, dir string, key ed25519.PrivateKey, witnessPolicy string) (*Shard, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	signer, err := signature.LoadED25519SignerVerifier(key)
	if err != nil {
		return nil, err
	}
	noteSigner, err := rekornote.NewNoteSigner(ctx, Origin, signer)
	if err != nil {
		return nil, err
	}
	s := &Shard{}
	if s.verifier, err = rekornote.NewNoteVerifier(Origin, signer); err != nil {
		return nil, err
	}
	if _, s.logID, err = rekornote.KeyHash(Origin, key.Public()); err != nil {
		return nil, err
	}
	if s.registry, err = signature.NewAlgorithmRegistryConfig(algorithms); err != nil {
		return nil, err
	}
	tree := filepath.Join(dir, "tree")
	driver, err := tposix.New(ctx, tposix.Config{Path: tree})
	if err != nil {
		return nil, err
	}
	if s.antispam, err = openAntispam(filepath.Join(dir, "antispam.db")); err != nil {
		return nil, err
	}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(noteSigner).WithCheckpointInterval(checkpoint).
		WithBatching(batchSize, batchAge).WithAntispam(recent, s.antispam)
	if witnessPolicy != "" {
		group, err := tessera.NewWitnessGroupFromPolicy([]byte(witnessPolicy))
		if err != nil {
			return nil, errors.Join(err, s.antispam.Close())
		}
		opts = opts.WithWitnesses(group, &tessera.WitnessOptions{FailOpen: true, Timeout: witnessTimeout})
	}
	if s.appender, s.shutdown, s.reader, err = tessera.NewAppender(ctx, driver, opts); err != nil {
		return nil, errors.Join(err, s.antispam.Close())
	}
	s.awaiter = tessera.NewPublicationAwaiter(ctx, s.reader.ReadCheckpoint, poll)
	if s.Handler, err = s.handler(ctx, tree); err != nil {
		return nil, errors.Join(err, s.antispam.Close())
	}
	return s, nil
}

// LogID is the id that entries name, as in the trusted root.
func (s *Shard) LogID() []byte { return s.logID }

// Verifier checks the shard's checkpoints.
func (s *Shard) Verifier() note.Verifier { return s.verifier }

// Freeze makes the shard refuse entries from now on, as upstream does with old
// shards.
func (s *Shard) Freeze() { s.frozen.Store(true) }

// Drain waits until everything that was taken is published. Entries are refused
// from then on.
func (s *Shard) Drain(ctx context.Context) error { return s.shutdown(ctx) }

// Close closes the store of duplicates. The context of Start must have ended.
func (s *Shard) Close() error { return s.antispam.Close() }

func (s *Shard) handler(ctx context.Context, tree string) (http.Handler, error) {
	strict := &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitUnpopulated: true}}}
	gateway := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, strict),
		runtime.WithForwardResponseOption(respond),
		runtime.WithErrorHandler(func(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			md, ok := runtime.ServerMetadataFromContext(ctx)
			if !ok || len(md.HeaderMD.Get(codeHeader)) == 0 || respond(ctx, w, nil) != nil {
				runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
			}
		}),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) { return key, key == indexHeader }),
	)
	if err := pb.RegisterRekorHandlerServer(ctx, gateway, s); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.MaxBytesHandler(gateway, maxRequest))
	files := http.StripPrefix("/api/v2", http.FileServer(http.Dir(tree)))
	mux.Handle("GET /api/v2/checkpoint", files)
	mux.Handle("GET /api/v2/tile/", files)
	return mux, nil
}

// respond turns the metadata of an answer into status and body, as upstream's
// gateway does.
func respond(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	md, ok := runtime.ServerMetadataFromContext(ctx)
	if !ok {
		return nil
	}
	for name := range w.Header() {
		if strings.HasPrefix(name, "Grpc-") {
			w.Header().Del(name)
		}
	}
	if v := md.HeaderMD.Get(codeHeader); len(v) > 0 {
		code, err := strconv.Atoi(v[0])
		if err != nil {
			return err
		}
		w.WriteHeader(code)
	}
	if v := md.HeaderMD.Get(messageHeader); len(v) > 0 {
		if _, err := w.Write([]byte(v[0] + "\n")); err != nil {
			return err
		}
	}
	return nil
}

// CreateEntry takes an entry and answers when a checkpoint covers it.
func (s *Shard) CreateEntry(ctx context.Context, req *pb.CreateEntryRequest) (*protorekor.TransparencyLogEntry, error) {
	if s.frozen.Load() {
		_ = grpc.SetHeader(ctx, metadata.Pairs(codeHeader, "405", messageHeader, "This log has been frozen, please switch to the latest log."))
		return nil, status.Error(codes.Unimplemented, "log frozen")
	}
	hr := req.GetHashedRekordRequestV002()
	if hr == nil {
		return nil, status.Error(codes.InvalidArgument, "invalid type, must be hashedrekord")
	}
	entry, err := hashedrekord.ToLogEntry(hr, s.registry)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "invalid hashedrekord request: %v", err)
	}
	data, err := protojson.Marshal(entry)
	if err == nil {
		data, err = jsoncanonicalizer.Transform(data)
	}
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "invalid entry")
	}
	tle, err := s.add(ctx, tessera.NewEntry(data))
	var dup duplicate
	switch {
	case errors.As(err, &dup):
		_ = grpc.SetHeader(ctx, metadata.Pairs(indexHeader, strconv.FormatUint(uint64(dup), 10)))
		return nil, status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, tessera.ErrPushback):
		return nil, status.Error(codes.Unavailable, "reached max pushback; retry")
	case errors.Is(err, context.Canceled):
		return nil, status.Error(codes.Canceled, err.Error())
	case err != nil:
		return nil, status.Errorf(codes.Unknown, "failed to integrate entry: %v", err)
	}
	tle.KindVersion = &protorekor.KindVersion{Kind: entry.Kind, Version: entry.ApiVersion}
	tle.LogId = &protocommon.LogId{KeyId: s.logID}
	_ = grpc.SetHeader(ctx, metadata.Pairs(codeHeader, "201"))
	return tle, nil
}

// GetTile and its siblings are served as files.
func (s *Shard) GetTile(context.Context, *pb.TileRequest) (*httpbody.HttpBody, error) {
	return nil, status.Error(codes.Unimplemented, "served as a file")
}

// GetEntryBundle is served as a file.
func (s *Shard) GetEntryBundle(context.Context, *pb.EntryBundleRequest) (*httpbody.HttpBody, error) {
	return nil, status.Error(codes.Unimplemented, "served as a file")
}

// GetCheckpoint is served as a file.
func (s *Shard) GetCheckpoint(context.Context, *emptypb.Empty) (*httpbody.HttpBody, error) {
	return nil, status.Error(codes.Unimplemented, "served as a file")
}

// duplicate is the index of an entry that the log has already.
type duplicate uint64

func (d duplicate) Error() string {
	return fmt.Sprintf("an equivalent entry already exists in the transparency log with index %d", uint64(d))
}

func (s *Shard) add(ctx context.Context, entry *tessera.Entry) (*protorekor.TransparencyLogEntry, error) {
	idx, signed, err := s.awaiter.Await(ctx, s.appender.Add(ctx, entry))
	if err != nil {
		return nil, err
	}
	if idx.IsDup {
		return nil, duplicate(idx.Index)
	}
	var cp logfmt.Checkpoint
	if _, err := cp.Unmarshal(signed); err != nil {
		return nil, err
	}
	builder, err := client.NewProofBuilder(ctx, cp.Size, s.reader.ReadTile)
	if err != nil {
		return nil, err
	}
	hashes, err := builder.InclusionProof(ctx, idx.Index)
	if err != nil {
		return nil, err
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, idx.Index, cp.Size, entry.LeafHash(), hashes, cp.Hash); err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: int64(idx.Index), CanonicalizedBody: entry.Data(),
		InclusionProof: &protorekor.InclusionProof{
			LogIndex: int64(idx.Index), RootHash: cp.Hash, TreeSize: int64(cp.Size), Hashes: hashes,
			Checkpoint: &protorekor.Checkpoint{Envelope: string(signed)},
		},
	}, nil
}
