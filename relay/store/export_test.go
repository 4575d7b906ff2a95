package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/callback/callbacktest"
)

// LimitPages makes a SQLite database full when it has more than this many pages.
func LimitPages(ctx context.Context, s *Store, pages int) error {
	engine, ok := s.engine.(*sqlite)
	if !ok {
		return errors.New("no SQLite")
	}
	rows, err := engine.conn.Conn.QueryContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
	if err != nil {
		return err
	}
	return rows.Close()
}

// Relabel forgets what payments can be searched by and has the migration find it anew.
func Relabel(ctx context.Context, s *Store) error {
	files, err := fs.Glob(migrations, "migrations/*_search.sql")
	if err != nil || len(files) != 1 {
		return fmt.Errorf("migrations %q, %w", files, err)
	}
	statements, err := s.statements(files[0])
	if err != nil {
		return err
	}
	return s.write(ctx, "test", func(ctx context.Context, tx querier) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM labels`); err != nil {
			return err
		}
		for _, statement := range statements {
			if !strings.HasPrefix(statement, "INSERT INTO labels") {
				continue
			}
			_, err := tx.ExecContext(ctx, statement)
			return err
		}
		return errors.New("the migration does not fill labels")
	})
}

// MarkAndThen sets a mark in a transaction that ends as then says.
func MarkAndThen(ctx context.Context, s *Store, name string, then func() error) error {
	return s.write(ctx, "test", func(ctx context.Context, tx querier) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO marks (name, value) VALUES ($1, 'set')`, name)
		return errors.Join(err, then())
	})
}

// Labels counts what payments can be searched by.
func Labels(ctx context.Context, s *Store) (int, error) {
	return count(ctx, s, "labels")
}

// Box lets the outbox suite put callbacks in that no payment has brought.
type Box struct{ *Store }

// Queue implements [callbacktest.Box].
func (b Box) Queue(ctx context.Context, id, paymentID, url string, body []byte, at time.Time) error {
	return b.write(ctx, "test", func(ctx context.Context, tx querier) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO reports (id, payment_id, type, at, body, chain) VALUES ($1, $2, 'test', $3, $4, '')`,
			id, paymentID, ms(at), string(body)); err != nil {
			return err
		}
		return insertCallback(ctx, tx, id, relay.Payment{ID: paymentID}, relay.Report{Type: "test", At: at}, url, 0)
	})
}

// Redeliver implements [callbacktest.Box].
func (b Box) Redeliver(ctx context.Context, id string, at time.Time) error {
	_, err := b.Store.Redeliver(ctx, id, at)
	return err
}

// Look implements [callbacktest.Box].
func (b Box) Look(ctx context.Context, id string) (callbacktest.Row, error) {
	ctx, db, done := b.engine.reader(ctx)
	defer done()
	c, err := scanCallback(db.QueryRowContext(ctx, `SELECT `+callbackColumns+` FROM callbacks WHERE id = $1`, id))
	if err != nil {
		return callbacktest.Row{}, err
	}
	row := callbacktest.Row{State: c.State, Due: c.NextAt}
	tries, err := attempts(ctx, db, id)
	for _, a := range tries {
		row.Attempts = append(row.Attempts, callbacktest.Attempt{
			At: a.At, Duration: time.Duration(a.DurationMS) * time.Millisecond, Code: a.Status, Err: a.Error, Response: a.Response,
		})
	}
	return row, err
}

var _ callback.Outbox = Box{}

// ExpireLease makes a replica's lease one that ran out so long ago.
func ExpireLease(ctx context.Context, s *Store, id string, ago time.Duration) error {
	return Leases{s}.exec(ctx, `UPDATE replicas SET lease_until = `+clockNow+` - CAST($2 AS BIGINT) WHERE id = $1`, id, ago.Milliseconds())
}

// Newer changes a database as a later version's expanding migration might.
func Newer(ctx context.Context, url string) error {
	engine, err := openPostgres(ctx, url)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`ALTER TABLE payments ADD COLUMN later TEXT NOT NULL DEFAULT ''`, `CREATE TABLE later (id TEXT)`,
		`INSERT INTO schema_version (version) VALUES (99)`,
	} {
		if _, err := engine.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return engine.close()
}

// Presences counts what replicas have noted.
func Presences(ctx context.Context, s *Store) (int, error) {
	return count(ctx, s, "presence")
}

func count(ctx context.Context, s *Store, table string) (n int, err error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	err = db.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n)
	return n, err
}
