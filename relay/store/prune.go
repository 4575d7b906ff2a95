package store

import (
	"context"
	"fmt"
	"time"
)

const (
	// pruneBatch bounds one transaction of Prune, so that nobody waits long behind it.
	pruneBatch = 200
	// awaited holds for a callback c that waits, or that died since $1 and may yet be redelivered.
	awaited = `(c.state = 'pending' OR c.state = 'dead' AND c.next_at >= $1)`
)

// Prune deletes up to a batch of payments that settled before a time and have no callback waiting, nor one that
// died since then and may yet be redelivered, with their timelines and callbacks, and returns how many. Their reports leave a stub without a
// body: cursors of the event feed stay valid, and an outcome that was reported is never reported
// again, not even if the payment is registered anew.
func (s *Store) Prune(ctx context.Context, settledBefore time.Time) (n int, err error) {
	err = s.write(ctx, "prune", func(ctx context.Context, tx querier) error {
		n = 0
		old, err := query(ctx, tx, scanRow, `SELECT seq, revision, `+paymentColumns+` FROM payments p WHERE outcome <> 'pending' AND final_at > 0 AND final_at < $1
				AND NOT EXISTS (SELECT 1 FROM callbacks c WHERE c.payment_id = p.id AND `+awaited+`)
			ORDER BY final_at LIMIT $2`+s.engine.skipLocked(), ms(settledBefore), pruneBatch)
		if err != nil {
			return fmt.Errorf("find payments to prune: %w", err)
		}
		for _, p := range old {
			done, err := s.pruneOne(ctx, tx, p, settledBefore)
			if err != nil {
				return fmt.Errorf("prune payment %s: %w", p.ID, err)
			}
			if done {
				n++
			}
		}
		return nil
	})
	return n, err
}

// pruneOne deletes a payment, unless one of its callbacks is in use or waits after all: it may have been redelivered while
// the payments were looked for.
func (s *Store) pruneOne(ctx context.Context, tx querier, p row, settledBefore time.Time) (done bool, err error) {
	var all int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM callbacks WHERE payment_id = $1`, p.ID).Scan(&all); err != nil {
		return false, err
	}
	free, err := query(ctx, tx, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
		`SELECT id FROM callbacks c WHERE NOT `+awaited+` AND payment_id = $2`+s.engine.skipLocked(), ms(settledBefore), p.ID)
	if err != nil || len(free) < all {
		return false, err
	}
	if err := deleteLabels(ctx, tx, p); err != nil {
		return false, err
	}
	for _, statement := range []string{
		`DELETE FROM attempts WHERE callback_id IN (SELECT id FROM callbacks WHERE payment_id = $1)`,
		`DELETE FROM callbacks WHERE payment_id = $1`,
		`UPDATE reports SET body = '' WHERE payment_id = $1`,
		`DELETE FROM events WHERE payment_id = $1`,
		`DELETE FROM payments WHERE id = $1`,
	} {
		if _, err := tx.ExecContext(ctx, statement, p.ID); err != nil {
			return false, err
		}
	}
	return true, nil
}
