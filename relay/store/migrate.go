package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrateTimeout is for tables with millions of rows, and for relays that start at once and wait for each other.
const migrateTimeout = time.Hour

// migrate applies the migrations that are missing, in order of their names. One transaction for
// all: a failure leaves the database as it was.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	return s.write(ctx, "migrate", func(ctx context.Context, tx querier) error {
		if err := s.engine.lock(ctx, tx, migrationLock); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&version); err != nil {
			return err
		}
		for i, file := range files {
			if i < version {
				continue
			}
			statements, err := s.statements(file)
			if err != nil {
				return err
			}
			for _, statement := range statements {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO schema_version (version) VALUES ($1)", i+1); err != nil {
				return err
			}
		}
		return nil
	})
}

// statements are those of a migration in the engine's words.
func (s *Store) statements(file string) ([]string, error) {
	text, err := migrations.ReadFile(file)
	if err != nil {
		return nil, err
	}
	words := strings.NewReplacer("{{ID}}", s.engine.identity(), "{{VALUES}}", s.engine.values())
	var all []string
	for statement := range strings.SplitSeq(words.Replace(string(text)), ";\n") {
		if strings.TrimSpace(statement) != "" {
			all = append(all, statement)
		}
	}
	return all, nil
}
