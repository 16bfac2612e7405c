// SPDX-License-Identifier: Apache-2.0

// Package rekorv1 runs Rekor v1 for a stack: the upstream server on Trillian and
// a Redis, all in this process. Trillian keeps the log in memory or in
// PostgreSQL. Rekor keeps its state in package variables, so a process can run
// one at a time.
//
// In memory it forgets everything at the end; whoever needs a restart uses
// PostgreSQL.
package rekorv1

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-openapi/loads"
	"github.com/google/trillian"
	"github.com/google/trillian/extension"
	trillianlog "github.com/google/trillian/log"
	"github.com/google/trillian/monitoring"
	"github.com/google/trillian/quota"
	"github.com/google/trillian/server"
	"github.com/google/trillian/server/admin"
	"github.com/google/trillian/storage/memory"
	"github.com/google/trillian/util/clock"
	"github.com/google/trillian/util/election"
	"github.com/google/trillian/util/election2"
	"github.com/sigstore/rekor/pkg/api"
	"github.com/sigstore/rekor/pkg/generated/restapi"
	"github.com/sigstore/rekor/pkg/generated/restapi/operations"
	rekorlog "github.com/sigstore/rekor/pkg/log"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/rekor/pkg/types/dsse"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1" // registers the version
	"github.com/sigstore/rekor/pkg/types/hashedrekord"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1" // registers the version
	"github.com/sigstore/rekor/pkg/types/intoto"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.1" // registers the version
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2" // registers the version
	"github.com/spf13/viper"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	sequencerInterval = 20 * time.Millisecond
	sequencerBatch    = 256
	maxRequest        = 32 << 20 // as upstream
	treeFile          = "tree-id"
)

// Log is a Rekor v1 log; it is what sandbox.Options.RekorV1 takes.
type Log struct {
	// Postgres is the URL of a PostgreSQL database that several stacks can
	// share, each with a tree of its own. Default: memory.
	Postgres string
}

var (
	running sync.Mutex
	quiet   = sync.OnceFunc(func() { rekorlog.Logger = zap.NewNop().Sugar() })
)

// Start runs the log. What a restart needs beside the database, the number of
// the tree and the search index, is kept in dir. It is an error if the process
// runs one already.
func (l Log) Start(ctx context.Context, dir, hostname string, _ *ecdsa.PrivateKey, keyFile string) (_ http.Handler, _ func() error, err error) {
	if !running.TryLock() {
		return nil, nil, errors.New("a process can run one Rekor v1 log, and this one does")
	}
	quiet()
	ctx, cancel := context.WithCancel(ctx)
	closers := []func() error{func() error { cancel(); return nil }}
	stop := func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		running.Unlock()
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	storage, err := l.storage(ctx)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, storage.close)
	backend, err := startTrillian(ctx, storage, &closers)
	if err != nil {
		return nil, nil, fmt.Errorf("trillian: %w", err)
	}
	index, err := startIndex(filepath.Join(dir, "index.journal"), l.Postgres != "")
	if err != nil {
		return nil, nil, fmt.Errorf("search index: %w", err)
	}
	closers = append(closers, index.close)
	tree, err := l.tree(ctx, filepath.Join(dir, treeFile), backend)
	if err != nil {
		return nil, nil, fmt.Errorf("tree: %w", err)
	}
	handler, err := startRekor(hostname, keyFile, backend.at, index.redis.Addr(), tree)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, func() error { api.StopAPI(); return nil })
	return http.MaxBytesHandler(handler, maxRequest), stop, nil
}

// tree returns the number of the tree that this log had before, and makes one at
// first use.
func (l Log) tree(ctx context.Context, file string, b *backend) (int64, error) {
	if l.Postgres != "" {
		data, err := os.ReadFile(file)
		if err == nil {
			return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		} else if !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	tree, err := b.admin.CreateTree(ctx, &trillian.CreateTreeRequest{Tree: &trillian.Tree{
		TreeType: trillian.TreeType_LOG, TreeState: trillian.TreeState_ACTIVE, MaxRootDuration: durationpb.New(0),
	}})
	if err != nil {
		return 0, err
	}
	if _, err := b.log.InitLog(ctx, &trillian.InitLogRequest{LogId: tree.TreeId}); err != nil {
		return 0, err
	}
	return tree.TreeId, os.WriteFile(file, []byte(strconv.FormatInt(tree.TreeId, 10)), 0o600)
}

// backend is a running Trillian.
type backend struct {
	log   trillian.TrillianLogServer
	admin trillian.TrillianAdminServer
	at    *net.TCPAddr
}

// storage is where Trillian keeps its trees.
type storage struct {
	extension.Registry
	close func() error
}

func (l Log) storage(ctx context.Context) (storage, error) {
	if l.Postgres != "" {
		return openPostgres(ctx, l.Postgres)
	}
	ts := memory.NewTreeStorage()
	logs := &unique{LogStorage: memory.NewLogStorage(ts, monitoring.InertMetricFactory{}), leaves: map[int64]map[string]*trillian.LogLeaf{}}
	return storage{
		extension.Registry{AdminStorage: memory.NewAdminStorage(ts), LogStorage: logs},
		func() error { return nil },
	}, nil
}

// startTrillian runs log server and sequencer.
func startTrillian(ctx context.Context, s storage, closers *[]func() error) (*backend, error) {
	registry := s.Registry
	registry.ElectionFactory = election2.NoopFactory{}
	registry.QuotaManager = quota.Noop()
	registry.MetricFactory = monitoring.InertMetricFactory{}
	registry.SetProcessStatus = func(string) {}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &backend{
		log:   server.NewTrillianLogRPCServer(registry, clock.System),
		admin: admin.New(registry, []trillian.TreeType{trillian.TreeType_LOG}),
		at:    listener.Addr().(*net.TCPAddr),
	}
	g := grpc.NewServer()
	trillian.RegisterTrillianLogServer(g, b.log)
	trillian.RegisterTrillianAdminServer(g, b.admin)
	var running sync.WaitGroup
	running.Go(func() { _ = g.Serve(listener) }) // ends with Stop
	sequencerCtx, cancel := context.WithCancel(ctx)
	manager := trillianlog.NewOperationManager(trillianlog.OperationInfo{
		Registry: registry, BatchSize: sequencerBatch, NumWorkers: 1, RunInterval: sequencerInterval, TimeSource: clock.System,
		ElectionConfig: election.RunnerConfig{PreElectionPause: time.Millisecond, MasterHoldInterval: time.Hour, MasterHoldJitter: time.Minute, TimeSource: clock.System},
	}, trillianlog.NewSequencerManager(registry, 0))
	running.Go(func() { manager.OperationLoop(sequencerCtx) })
	*closers = append(*closers, func() error {
		g.Stop()
		cancel()
		running.Wait()
		return nil
	})
	return b, nil
}

// startRekor configures the server as its command line would, and returns its
// handler. Upstream panics where it cannot start.
func startRekor(hostname, keyFile string, trillianAt *net.TCPAddr, redisAt string, tree int64) (h http.Handler, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("rekor: %v", p)
		}
	}()
	redisHost, redisPort, err := net.SplitHostPort(redisAt)
	if err != nil {
		return nil, err
	}
	for key, value := range map[string]any{
		"trillian_log_server.address": trillianAt.IP.String(), "trillian_log_server.port": trillianAt.Port, "trillian_log_server.tls": false,
		"rekor_server.hostname": hostname, "rekor_server.signer": keyFile, "rekor_server.signer-passwd": "",
		"enable_retrieve_api": true, "search_index.storage_provider": "redis", "redis_server.address": redisHost, "redis_server.port": redisPort,
		"enabled_api_endpoints": []string{
			"searchIndex", "getLogInfo", "getPublicKey", "getLogProof", "createLogEntry", "getLogEntryByIndex", "getLogEntryByUUID", "searchLogQuery",
		},
		"max_request_body_size": maxRequest,
	} {
		viper.Set(key, value)
	}
	types.SetAllowedKindsForSubmission([]string{hashedrekord.KIND, dsse.KIND, intoto.KIND})
	doc, err := loads.Embedded(restapi.SwaggerJSON, restapi.FlatSwaggerJSON)
	if err != nil {
		return nil, err
	}
	srv := restapi.NewServer(operations.NewRekorServerAPI(doc))
	api.ConfigureAPI(tree)
	srv.ConfigureAPI()
	return srv.GetHandler(), nil
}
