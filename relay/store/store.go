package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Store is the database. It implements relay.Store and callback.Outbox.
type Store struct {
	engine engine
	opts   Options
}

// Options tune a Store. The zero value is ready for production.
type Options struct {
	// CallbackURLs are where reports go: the first is the default. None: reports are only read
	// from the event feed.
	CallbackURLs []string
	// FirstDelay is how long a callback waits before its first attempt.
	FirstDelay time.Duration
	// AsItIs opens the database without applying migrations, to look at it.
	AsItIs bool
	// Turn, where it is set, lets several stores in this process share one SQLite file as processes share a PostgreSQL: it
	// waits until no other has a transaction, and is told when this one's has ended. Simulators need it.
	Turn func() (done func())
	// Observe hears how long an operation took.
	Observe func(op string, took time.Duration)
}

// querier is what statements run on: a transaction or the read pool.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// engine is what the databases do differently.
type engine interface {
	// inTx runs fn in a transaction that is durable when inTx returns nil. It may run fn in
	// another goroutine and, after [errRetry], again.
	inTx(ctx context.Context, fn func(ctx context.Context, tx querier) error) error
	// reader is for statements of their own, outside of transactions. They run with the context that it returns, which ends
	// when done is called.
	reader(ctx context.Context) (limited context.Context, db querier, done func())
	identity() string   // the identity column of a table
	values() string     // lists the members of the JSON object p.metadata, in a migration
	skipLocked() string // suffix of a claiming SELECT
	shared() bool       // whether other processes may use the database, too
	// keepOut makes sure that no relay of a version that cannot share serves from this database.
	keepOut(ctx context.Context) error
	// writable tells why what runs a transaction takes no writes in it, mayMigrate why it lets nobody make the tables that are
	// missing. Neither changes anything.
	writable(ctx context.Context, tx querier) error
	mayMigrate(ctx context.Context, tx querier) error
	// lock keeps other processes out until the transaction ends.
	lock(ctx context.Context, tx querier, which int64) error
	close() error
}

// ErrInUse reports that the database serves another relay already, with which it cannot be shared.
var ErrInUse = errors.New("another process uses this database")

// errRetry reports that a compare-and-swap lost: the row has changed since it was read.
var errRetry = errors.New("store: row changed meanwhile")

// Open opens the database at url (`sqlite:PATH` or `postgres://…`), and applies missing migrations.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	var (
		e   engine
		err error
	)
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		e, err = openSQLite(ctx, rest, opts.Turn)
	case "postgres", "postgresql":
		e, err = openPostgres(ctx, url)
	default:
		return nil, fmt.Errorf("open database: unknown scheme %q, want sqlite:PATH or postgres://…", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if opts.Observe == nil {
		opts.Observe = func(string, time.Duration) {}
	}
	s := &Store{engine: e, opts: opts}
	if opts.AsItIs {
		return s, nil
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate database: %w", err), e.close())
	}
	return s, nil
}

// KeepOut keeps relays of versions that must be alone on a database out of it, as long as this process lives, or tells
// that there is one.
func (s *Store) KeepOut(ctx context.Context) error { return s.engine.keepOut(ctx) }

// Close closes the database. Nothing may use the store any more.
func (s *Store) Close() error { return s.engine.close() }

// Ping reports whether the database answers, and is not a standby that would take no writes.
func (s *Store) Ping(ctx context.Context) error { return s.write(ctx, "ping", s.engine.writable) }

// MayServe reports whether a relay could begin to work with the database, and changes nothing.
func (s *Store) MayServe(ctx context.Context) error {
	return s.write(ctx, "ping", func(ctx context.Context, tx querier) error {
		if err := s.engine.writable(ctx, tx); err != nil {
			return err
		}
		return s.engine.mayMigrate(ctx, tx)
	})
}

// write runs fn in a transaction, again while compare-and-swap loses.
func (s *Store) write(ctx context.Context, op string, fn func(ctx context.Context, tx querier) error) error {
	started := time.Now()
	defer func() { s.opts.Observe(op, time.Since(started)) }()
	for {
		err := s.engine.inTx(ctx, fn)
		if !errors.Is(err, errRetry) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// query reads all rows of a SELECT.
func query[T any](ctx context.Context, db querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// read reads all rows of a SELECT that needs no transaction.
func read[T any](ctx context.Context, e engine, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	ctx, db, done := e.reader(ctx)
	defer done()
	return query(ctx, db, scan, text, args...)
}

type scanner interface{ Scan(dest ...any) error }

// millis scans a Unix time in milliseconds, 0 as the zero time.
type millis struct{ t *time.Time }

func (m millis) Scan(src any) error {
	ms, ok := src.(int64)
	if !ok {
		return fmt.Errorf("scan time: got %T, want an integer", src)
	}
	*m.t = time.Time{}
	if ms != 0 {
		*m.t = time.UnixMilli(ms).UTC()
	}
	return nil
}

// ms is a time as it is stored.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
