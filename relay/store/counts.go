package store

import (
	"context"
	"fmt"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Undelivered counts the callbacks that wait and those that were given up. The many delivered ones it does not touch.
func (s *Store) Undelivered(ctx context.Context) (pending, dead int, err error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	err = db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM callbacks WHERE state = 'pending'),
		(SELECT COUNT(*) FROM callbacks WHERE state = 'dead')`).Scan(&pending, &dead)
	if err != nil {
		return 0, 0, fmt.Errorf("count undelivered callbacks: %w", err)
	}
	return pending, dead, nil
}

// CallbackCounts counts the callbacks of each state.
func (s *Store) CallbackCounts(ctx context.Context) (map[callback.State]int, error) {
	counts := map[callback.State]int{callback.Pending: 0, callback.Delivered: 0, callback.Dead: 0}
	type count struct {
		state callback.State
		n     int
	}
	found, err := read(ctx, s.engine, func(s scanner) (c count, err error) { return c, s.Scan(&c.state, &c.n) },
		`SELECT state, COUNT(*) FROM callbacks GROUP BY state`)
	if err != nil {
		return nil, fmt.Errorf("count callbacks: %w", err)
	}
	for _, c := range found {
		counts[c.state] = c.n
	}
	return counts, nil
}
