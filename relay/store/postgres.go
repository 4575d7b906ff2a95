package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresConns is the size of the pool. Measured on two cores: 64 connections were no faster.
const postgresConns = 24

// answerTimeout ends what a server that has gone silent would hold for a quarter of an hour, and with it the question to
// Dollr that waits for a transaction, or the sweep that waits for a row. SQLite waits as long for its lock.
const answerTimeout = 10 * time.Second

// idleTransaction is after how many milliseconds the server ends a transaction whose process says nothing. A relay that is
// stopped in the middle of one would hold the row for as long, and everybody who wants it.
const idleTransaction = "5000"

// connectTimeout is for a server that does not answer, unless the URL says otherwise.
const connectTimeout = 5 * time.Second

// postgres is a database that several relays may share.
type postgres struct {
	db     *sql.DB
	config *pgx.ConnConfig
	held   *sql.Conn // holds the relay lock; nil if it was not taken
}

func openPostgres(ctx context.Context, url string) (*postgres, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", hidden(err))
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.RuntimeParams["idle_in_transaction_session_timeout"] = idleTransaction
	config.RuntimeParams["application_name"] = cmp.Or(config.RuntimeParams["application_name"], "dollr-relay")
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: %w", hidden(err)), db.Close())
	}
	return &postgres{db: db, config: config}, nil
}

// hidden keeps an error of the driver from quoting the URL, which holds a password.
func hidden(err error) error {
	var parse interface{ Unwrap() error }
	if errors.As(err, &parse) && parse.Unwrap() != nil {
		return parse.Unwrap()
	}
	return err
}

// limit is a context that ends after timeout. Who is not answered by then has a connection that is dead without knowing, and
// after a failover or behind a NAT those that idle are, too: they are given up with it.
func (p *postgres) limit(ctx context.Context, timeout time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.db.SetMaxIdleConns(0)
			p.db.SetMaxIdleConns(postgresConns)
		}
		cancel()
	}
}

// reader implements [engine].
func (p *postgres) reader(ctx context.Context) (context.Context, querier, func()) {
	ctx, done := p.limit(ctx, answerTimeout)
	return ctx, p.db, done
}

// inTx implements [engine]. Statements of a caller that goes away are not cancelled halfway.
func (p *postgres) inTx(ctx context.Context, fn func(ctx context.Context, tx querier) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err // nothing was begun
	}
	timeout := answerTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(timeout, time.Until(deadline)) // who gives it longer means it
	}
	ctx, done := p.limit(context.WithoutCancel(ctx), timeout)
	defer done()
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("store: transaction panicked: %v", r)
		}
		if err != nil {
			if undone := tx.Rollback(); !errors.Is(undone, sql.ErrTxDone) {
				err = errors.Join(err, undone)
			}
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// writable implements [engine].
func (p *postgres) writable(ctx context.Context, tx querier) error {
	var readOnly bool
	err := tx.QueryRowContext(ctx, `SELECT current_setting('transaction_read_only') = 'on'`).Scan(&readOnly)
	if err == nil && readOnly {
		return errors.New("postgres: read-only: it is a standby, or the user or the database is set to default_transaction_read_only")
	}
	return err
}

// mayMigrate implements [engine]. Since version 15 a user may make no tables in the schema public unless it is allowed to.
func (p *postgres) mayMigrate(ctx context.Context, tx querier) error {
	var (
		may    bool
		schema string
	)
	err := tx.QueryRowContext(ctx, `SELECT to_regclass('payments') IS NOT NULL OR COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE),
		COALESCE(current_schema(), '')`).Scan(&may, &schema)
	if err == nil && !may {
		return fmt.Errorf("postgres: the user may make no tables in the schema %q", schema)
	}
	return err
}

func (p *postgres) identity() string   { return "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY" }
func (p *postgres) values() string     { return "json_each_text(CAST(p.metadata AS json))" }
func (p *postgres) skipLocked() string { return " FOR UPDATE SKIP LOCKED" }
func (p *postgres) shared() bool       { return true }

func (p *postgres) close() error {
	if p.held == nil {
		return p.db.Close()
	}
	return errors.Join(p.held.Close(), p.db.Close())
}

// keepOut implements [engine]. Versions before the leases took this lock for themselves; later ones share it. It is
// the session's, so it ends with the process, however that ends.
func (p *postgres) keepOut(ctx context.Context) error {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	var ours bool
	if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock_shared($1)`, relayLock).Scan(&ours); err != nil || !ours {
		return errors.Join(err, conn.Close(), fmt.Errorf("postgres: %w; it is of a version that does not share it: stop that one first", ErrInUse))
	}
	p.held = conn
	return nil
}

// Locks that serialize what must not run at once in two relays; released with the transaction.
const (
	migrationLock = 0x646f6c01 // "dol" 1
	feedLock      = 0x646f6c02
	relayLock     = 0x646f6c03 // versions that do not share the database
)

func (p *postgres) lock(ctx context.Context, tx querier, which int64) error {
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, which)
	return err
}
