// SPDX-License-Identifier: Apache-2.0

// Package ctlog runs TesseraCT, the certificate transparency log, on files.
//
// Specification: https://c2sp.org/static-ct-api.
package ctlog

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/tessera"
	tposix "github.com/transparency-dev/tessera/storage/posix"
	"github.com/transparency-dev/tesseract"
	"github.com/transparency-dev/tesseract/storage"
	"github.com/transparency-dev/tesseract/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

const (
	// origin is the host under which the log is reached; TesseraCT refuses one
	// with a port, but accepts requests to any port of it.
	origin = "127.0.0.1"

	maxChain   = 1 << 20
	deadline   = 10 * time.Second
	checkpoint = 100 * time.Millisecond // Tessera's least
	batchAge   = 5 * time.Millisecond
	batchSize  = 256
)

// Log is a running log.
type Log struct {
	http.Handler
	shutdown func(context.Context) error
}

// Start runs a log in a directory. It takes chains that end in root.
func Start(ctx context.Context, dir string, key *ecdsa.PrivateKey, root *x509.Certificate) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), 0o600); err != nil {
		return nil, err
	}
	tree := filepath.Join(dir, "tree")
	l := &Log{}
	create := func(_ context.Context, signer note.Signer) (*storage.CTStorage, error) {
		driver, err := tposix.New(ctx, tposix.Config{Path: tree})
		if err != nil {
			return nil, err
		}
		opts := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCTLayout().
			WithCheckpointInterval(checkpoint).WithBatching(batchSize, batchAge).WithAntispam(256, nil)
		appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, opts)
		if err != nil {
			return nil, err
		}
		l.shutdown = shutdown
		issuers, err := posix.NewIssuerStorage(ctx, tree)
		if err != nil {
			return nil, err
		}
		return storage.NewCTStorage(ctx, &storage.CTStorageOptions{Appender: appender, Reader: reader, IssuerStorage: issuers})
	}
	submit, err := tesseract.NewLogHandler(ctx, origin, key, tesseract.ChainValidationConfig{RootsPEMFile: roots, ExtKeyUsages: "CodeSigning"},
		create, deadline, false, "", tesseract.LogHandlerOpts{MaxCertChainBytes: maxChain, DedupRL: -1})
	if err != nil {
		return nil, fmt.Errorf("tesseract: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ct/v1/", submit)
	files := http.FileServer(http.Dir(tree))
	for _, p := range []string{"/checkpoint", "/tile/", "/issuer/"} {
		mux.Handle("GET "+p, files)
	}
	l.Handler = mux
	return l, nil
}

// Close waits until everything that was taken is integrated.
func (l *Log) Close(ctx context.Context) error {
	if l.shutdown == nil {
		return errors.New("the log never started")
	}
	return l.shutdown(ctx)
}
