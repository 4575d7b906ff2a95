package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// preparedConn keeps every statement prepared: parsing costs more than running most of them. Only
// one goroutine at a time uses it.
type preparedConn struct {
	*sql.Conn
	courtesy

	mu       sync.Mutex
	prepared map[string]*sql.Stmt
}

func (c *preparedConn) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if statement := c.prepared[text]; statement != nil {
		return statement, nil
	}
	statement, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.prepared[text] = statement
	return statement, nil
}

func (c *preparedConn) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	c.letBy(yield)
	statement, err := c.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}

func (c *preparedConn) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	c.letBy(yield)
	statement, err := c.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (c *preparedConn) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	c.letBy(yield)
	statement, err := c.statement(ctx, text)
	if err != nil {
		return c.Conn.QueryRowContext(ctx, text, args...) // fails the same way, in the row's Scan
	}
	return statement.QueryRowContext(ctx, args...)
}

func (c *preparedConn) close() error {
	var errs []error
	for _, statement := range c.prepared {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, c.Close())...)
}

// preparedPool does the same for the readers, of whom there are many at a time. The texts of this
// package are few, so the map stays small.
type preparedPool struct {
	*sql.DB

	mu       sync.RWMutex
	prepared map[string]*sql.Stmt
}

func (p *preparedPool) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.RLock()
	statement := p.prepared[text]
	p.mu.RUnlock()
	if statement != nil {
		return statement, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if statement := p.prepared[text]; statement != nil {
		return statement, nil
	}
	statement, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.prepared[text] = statement
	return statement, nil
}

func (p *preparedPool) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	statement, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (p *preparedPool) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	statement, err := p.statement(ctx, text)
	if err != nil {
		return p.DB.QueryRowContext(ctx, text, args...) // fails the same way, in the row's Scan
	}
	return statement.QueryRowContext(ctx, args...)
}

func (p *preparedPool) close() error {
	var errs []error
	for _, statement := range p.prepared {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, p.Close())...)
}
