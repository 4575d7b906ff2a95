package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// ErrNoCallback reports a callback that does not exist.
var ErrNoCallback = errors.New("callback not found")

// Callback is one callback as operators see it.
type Callback struct {
	ID, PaymentID, Type, URL string
	State                    callback.State
	CreatedAt                time.Time
	NextAt                   time.Time // zero when it is not waiting, or is being sent and will be again at once
	Attempts                 []Attempt // oldest first

	seq int64
}

// Attempt is one try to deliver a callback.
type Attempt struct {
	At         time.Time
	Status     int // HTTP status; 0: no answer
	DurationMS int64
	Error      string
	Response   string
}

const callbackColumns = `seq, id, payment_id, type, url, state, created_at, next_at`

// Callbacks lists callbacks, newest first, of one state or (empty) of all, and the cursor of the
// next page, 0 at the end.
func (s *Store) Callbacks(ctx context.Context, state callback.State, before int64, limit int) ([]Callback, int64, error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	found, err := query(ctx, db, scanCallback, `SELECT `+callbackColumns+` FROM callbacks
		WHERE (CAST($1 AS TEXT) = '' OR state = CAST($1 AS TEXT)) AND (CAST($2 AS BIGINT) = 0 OR seq < CAST($2 AS BIGINT)) ORDER BY seq DESC LIMIT $3`, string(state), before, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("list callbacks: %w", err)
	}
	next := int64(0)
	if len(found) > limit {
		found = found[:limit]
		next = found[limit-1].seq
	}
	for i := range found {
		if found[i].Attempts, err = attempts(ctx, db, found[i].ID); err != nil {
			return nil, 0, err
		}
	}
	return found, next, nil
}

// CallbacksOf lists a payment's callbacks, oldest first.
func (s *Store) CallbacksOf(ctx context.Context, paymentID string) ([]Callback, error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	found, err := query(ctx, db, scanCallback, `SELECT `+callbackColumns+` FROM callbacks WHERE payment_id = $1 ORDER BY seq`, paymentID)
	if err != nil {
		return nil, fmt.Errorf("list callbacks of %s: %w", paymentID, err)
	}
	for i := range found {
		if found[i].Attempts, err = attempts(ctx, db, found[i].ID); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Redeliver puts a callback of any state back into the outbox, due now, with the schedule from its
// start. Its claim number grows, so that a sender which has it in flight cannot finish it.
func (s *Store) Redeliver(ctx context.Context, id string, now time.Time) (c Callback, err error) {
	err = s.write(ctx, "redeliver", func(ctx context.Context, tx querier) error {
		_, err := tx.ExecContext(ctx, `UPDATE callbacks SET state = 'pending', queued_at = $1, next_at = $1, lease_until = 0,
			claims = claims + 1, attempts = 0 WHERE id = $2`, ms(now), id)
		if err != nil {
			return err
		}
		if err := noteCallback(ctx, tx, id, relay.ViaOperator, now, "is sent again"); err != nil {
			return err
		}
		c, err = scanCallback(tx.QueryRowContext(ctx, `SELECT `+callbackColumns+` FROM callbacks WHERE id = $1`, id))
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: %s", ErrNoCallback, id)
		}
		if err != nil {
			return err
		}
		c.Attempts, err = attempts(ctx, tx, id)
		return err
	})
	return c, err
}

func attempts(ctx context.Context, db querier, id string) ([]Attempt, error) {
	found, err := query(ctx, db, func(s scanner) (a Attempt, err error) {
		return a, s.Scan(millis{&a.At}, &a.Status, &a.DurationMS, &a.Error, &a.Response)
	}, `SELECT at, status, duration_ms, error, response FROM attempts WHERE callback_id = $1 ORDER BY seq`, id)
	if err != nil {
		return nil, fmt.Errorf("read attempts of %s: %w", id, err)
	}
	return found, nil
}

func scanCallback(s scanner) (c Callback, err error) {
	err = s.Scan(&c.seq, &c.ID, &c.PaymentID, &c.Type, &c.URL, &c.State, millis{&c.CreatedAt}, millis{&c.NextAt})
	if c.State != callback.Pending || c.NextAt.UnixMilli() == againAtOnce {
		c.NextAt = time.Time{}
	}
	return c, err
}
