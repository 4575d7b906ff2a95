package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Mark returns a value that was kept under a name, empty if there is none.
func (s *Store) Mark(ctx context.Context, name string) (value string, err error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	err = db.QueryRowContext(ctx, `SELECT value FROM marks WHERE name = $1`, name).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read mark %s: %w", name, err)
	}
	return value, nil
}

// SetMark keeps a value under a name.
func (s *Store) SetMark(ctx context.Context, name, value string) error {
	return s.write(ctx, "mark", func(ctx context.Context, tx querier) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2`, name, value)
		return err
	})
}

// Probe reports whether the database takes a write.
func (s *Store) Probe(ctx context.Context) error { return s.SetMark(ctx, "probe", "") }
