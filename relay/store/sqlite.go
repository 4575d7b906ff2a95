package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	_ "modernc.org/sqlite" // the driver, without cgo
)

// readConns is the size of the read pool. Reads are short; more connections were no faster on two cores.
const readConns = 4

// sqlite is one file, one writer connection and a pool of readers.
type sqlite struct {
	locked *os.File
	writer *sql.DB
	conn   *preparedConn
	pool   *preparedPool
	batch  batcher
	turn   func() (done func()) // nil: there is nobody else
}

// openSQLite opens or creates the database file and takes its lock: one file serves one process.
func openSQLite(ctx context.Context, path string, turn func() (done func())) (_ *sqlite, err error) {
	if path == "" {
		return nil, errors.New("sqlite: the path is missing, want sqlite:PATH")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("sqlite: create folder: %w", err)
	}
	s := &sqlite{turn: turn}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.locked, err = lockFile(path + ".lock"); err != nil {
		return nil, err
	}
	// synchronous(FULL): a commit is on the disk before it is acknowledged, also on power loss.
	if s.writer, err = openPool(path, 1, "journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)"); err != nil {
		return nil, err
	}
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	s.conn = &preparedConn{Conn: conn, prepared: map[string]*sql.Stmt{}}
	s.batch.run = func(batch []*member) { //nolint:contextcheck // a batch has the contexts of many callers, so none
		if turn != nil {
			defer turn()()
		}
		runBatch(s.conn, batch)
	}
	pool, err := openPool(path, readConns, "query_only(1)", "busy_timeout(10000)", "cache_size(-256)")
	if err != nil {
		return nil, err
	}
	s.pool = &preparedPool{DB: pool, prepared: map[string]*sql.Stmt{}}
	return s, nil
}

func openPool(path string, size int, pragmas ...string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+url.Values{"_pragma": pragmas}.Encode())
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// lockFile locks a sibling of the database. It is not the database itself, because closing any
// descriptor of that would drop SQLite's own locks.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the path
	if err != nil {
		return nil, fmt.Errorf("sqlite: open lock file: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: %s is locked: %w", path, ErrInUse), file.Close())
	}
	return file, nil
}

func (s *sqlite) inTx(ctx context.Context, fn func(ctx context.Context, tx querier) error) error {
	if err := ctx.Err(); err != nil {
		return err // nothing was begun
	}
	return s.batch.do(fn)
}

// writable implements [engine]. The transaction has taken the lock for writing already.
func (s *sqlite) writable(ctx context.Context, tx querier) error {
	var one int
	return tx.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

func (s *sqlite) mayMigrate(context.Context, querier) error { return nil }

func (s *sqlite) identity() string   { return "INTEGER PRIMARY KEY AUTOINCREMENT" }
func (s *sqlite) values() string     { return "json_each(p.metadata)" }
func (s *sqlite) skipLocked() string { return "" }
func (s *sqlite) shared() bool       { return s.turn != nil }

// reader implements [engine]. What reads a file is not kept waiting for long.
func (s *sqlite) reader(ctx context.Context) (context.Context, querier, func()) {
	return ctx, s.pool, func() {}
}

// keepOut has nothing to do: the lock file did it.
func (s *sqlite) keepOut(context.Context) error { return nil }

// lock has nothing to do: there is one writer.
func (s *sqlite) lock(context.Context, querier, int64) error { return nil }

func (s *sqlite) close() error {
	var errs []error
	if s.pool != nil {
		errs = append(errs, s.pool.close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.locked != nil {
		// Unlocked by name: a process that is being started at this moment has a copy of the descriptor.
		errs = append(errs, syscall.Flock(int(s.locked.Fd()), syscall.LOCK_UN), s.locked.Close())
	}
	return errors.Join(errs...)
}
