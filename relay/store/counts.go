package store

import (
	"context"
	"fmt"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// CallbackCounts counts the callbacks of each state.
func (s *Store) CallbackCounts(ctx context.Context) (map[callback.State]int, error) {
	counts := map[callback.State]int{callback.Pending: 0, callback.Delivered: 0, callback.Dead: 0}
	type count struct {
		state callback.State
		n     int
	}
	found, err := query(ctx, s.engine.reader(), func(s scanner) (c count, err error) { return c, s.Scan(&c.state, &c.n) },
		`SELECT state, COUNT(*) FROM callbacks GROUP BY state`)
	if err != nil {
		return nil, fmt.Errorf("count callbacks: %w", err)
	}
	for _, c := range found {
		counts[c.state] = c.n
	}
	return counts, nil
}
