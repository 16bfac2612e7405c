// SPDX-License-Identifier: Apache-2.0

package rekorv1

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/google/trillian/extension"
	"github.com/google/trillian/monitoring"
	"github.com/google/trillian/storage/postgresql"
)

// schema is storage/postgresql/schema/storage.sql of Trillian v1.8.0, which its
// Go module does not embed.
//
//go:embed schema.sql
var schema string

// schemaLock is the key of the advisory lock under which the schema is made, so
// that two stacks can share a fresh database.
const schemaLock = 0x7265706f706f6c // "repopol"

// openPostgres opens the database and makes Trillian's tables where there are
// none.
func openPostgres(ctx context.Context, url string) (storage, error) {
	db, err := postgresql.OpenDB(url)
	if err != nil {
		return storage{}, fmt.Errorf("postgresql: %w", err)
	}
	tx, err := db.Begin(ctx)
	if err != nil {
		db.Close()
		return storage{}, fmt.Errorf("postgresql: %w", err)
	}
	_, err = tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", schemaLock)
	var made bool
	if err == nil {
		err = tx.QueryRow(ctx, "SELECT to_regclass('trees') IS NOT NULL").Scan(&made)
	}
	if err == nil && !made {
		_, err = tx.Exec(ctx, schema)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		_ = tx.Rollback(ctx) // a no-op after Commit
		db.Close()
		return storage{}, fmt.Errorf("postgresql: making the tables: %w", err)
	}
	return storage{
		extension.Registry{AdminStorage: postgresql.NewAdminStorage(db), LogStorage: postgresql.NewLogStorage(db, monitoring.InertMetricFactory{})},
		func() error { db.Close(); return nil },
	}, nil
}
