package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

var _ callback.Outbox = (*Store)(nil)

// oldest keeps to the oldest pending callback of each payment: those of one payment go out in order.
const oldest = `NOT EXISTS (SELECT 1 FROM callbacks o WHERE o.payment_id = c.payment_id AND o.state = 'pending' AND o.seq < c.seq)`

// againAtOnce is the due time of a callback that is being sent while a younger one of its payment comes: should this attempt
// fail, the next one follows at once. It lies so far back that whoever finds the lease run out finds it due.
const againAtOnce = 1

// insertCallback puts a report into the outbox and makes the payment's waiting callbacks due: a
// late success must not wait days behind a failure that could not be delivered.
func insertCallback(ctx context.Context, tx querier, id string, p relay.Payment, r relay.Report, url string, delay time.Duration) error {
	if _, err := tx.ExecContext(ctx, `UPDATE callbacks SET next_at = CASE WHEN lease_until > 0 THEN $1 WHEN next_at > $2 THEN $2 ELSE next_at END
		WHERE payment_id = $3 AND state = 'pending'`, againAtOnce, ms(r.At), p.ID); err != nil {
		return fmt.Errorf("make waiting callbacks due: %w", err)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO callbacks (id, payment_id, type, url, state, created_at, queued_at, next_at, tried_at, lease_until, claims, attempts)
		VALUES ($1, $2, $3, $4, 'pending', $5, $5, $6, 0, 0, 0, 0)`, id, p.ID, r.Type, url, ms(r.At), ms(r.At.Add(delay)))
	if err != nil {
		return fmt.Errorf("enqueue callback: %w", err)
	}
	return nil
}

// NextDue implements [callback.Outbox]. Each half is the head of an index: the leased ones are few, and of the
// many others only the first is read.
func (s *Store) NextDue(ctx context.Context, url string) (due time.Time, err error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	err = db.QueryRowContext(ctx, `SELECT COALESCE(MIN(at), 0) FROM (
		SELECT at FROM (SELECT next_at AS at FROM callbacks c WHERE url = $1 AND state = 'pending' AND lease_until = 0 AND `+oldest+` ORDER BY next_at LIMIT 1) AS free
		UNION ALL
		SELECT CASE WHEN lease_until > next_at THEN lease_until ELSE next_at END FROM callbacks c
			WHERE url = $1 AND state = 'pending' AND lease_until > 0 AND `+oldest+`) AS waiting`, url).Scan(millis{&due})
	return due, err
}

// Claim implements [callback.Outbox].
func (s *Store) Claim(ctx context.Context, url string, limit int, now time.Time, lease time.Duration) (claimed []callback.Delivery, err error) {
	err = s.write(ctx, "claim", func(ctx context.Context, tx querier) error {
		claimed, err = query(ctx, tx, scanDelivery, `UPDATE callbacks SET claims = claims + 1, lease_until = $1,
				next_at = CASE WHEN next_at = $5 THEN $3 ELSE next_at END
			WHERE seq IN (SELECT seq FROM callbacks c WHERE url = $2 AND state = 'pending' AND next_at <= $3 AND lease_until <= $3 AND `+oldest+`
				ORDER BY next_at, seq LIMIT $4`+s.engine.skipLocked()+`)
			RETURNING id, payment_id, type, url, claims, attempts + 1, queued_at, (SELECT body FROM reports r WHERE r.id = callbacks.id)`,
			ms(now.Add(lease)), url, ms(now), limit, againAtOnce)
		return err
	})
	return claimed, err
}

func scanDelivery(s scanner) (d callback.Delivery, err error) {
	return d, s.Scan(&d.ID, &d.PaymentID, &d.Type, &d.URL, &d.Claim, &d.Attempt, millis{&d.QueuedAt}, &d.Body)
}

// Renew implements [callback.Outbox].
func (s *Store) Renew(ctx context.Context, ds []callback.Delivery, until time.Time) error {
	return s.write(ctx, "renew", func(ctx context.Context, tx querier) error {
		for _, d := range ds {
			if _, err := tx.ExecContext(ctx, `UPDATE callbacks SET lease_until = $1 WHERE id = $2 AND claims = $3 AND lease_until > 0 AND state = 'pending'`,
				ms(until), d.ID, d.Claim); err != nil {
				return err
			}
		}
		return nil
	})
}

// Finish implements [callback.Outbox].
func (s *Store) Finish(ctx context.Context, d callback.Delivery, r callback.Result) error {
	return s.write(ctx, "finish", func(ctx context.Context, tx querier) error {
		used, tried, next := 0, int64(0), r.NextAt
		if r.Attempted {
			used, tried = 1, ms(r.At)
		}
		if r.State == callback.Dead {
			next = r.At.Add(r.Duration) // of a dead one it is when it died
		}
		err := changedOne(tx.ExecContext(ctx, `UPDATE callbacks SET state = $1, next_at = CASE WHEN next_at = $7 THEN CAST($8 AS BIGINT) ELSE CAST($2 AS BIGINT) END, lease_until = 0, attempts = attempts + $3,
			tried_at = CASE WHEN CAST($4 AS BIGINT) > 0 THEN CAST($4 AS BIGINT) ELSE tried_at END WHERE id = $5 AND claims = $6 AND lease_until > 0 AND state = 'pending'`,
			string(r.State), ms(next), used, tried, d.ID, d.Claim, againAtOnce, ms(r.At.Add(r.Duration))))
		if errors.Is(err, errRetry) {
			return callback.ErrFenced
		}
		if err != nil || !r.Attempted {
			return err
		}
		if r.State != callback.Pending {
			if err := noteCallback(ctx, tx, d.ID, relay.ViaCallback, r.At, string(r.State)); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO attempts (callback_id, at, status, duration_ms, error, response) VALUES ($1, $2, $3, $4, $5, $6)`,
			d.ID, ms(r.At), r.Code, r.Duration.Milliseconds(), r.Err, r.Response)
		return err
	})
}

// noteCallback writes into the payment's timeline what became of a callback.
func noteCallback(ctx context.Context, tx querier, id string, via relay.Via, at time.Time, what string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO events (payment_id, at, via, status, outcome, version, detail)
		SELECT p.id, $1, $2, p.status, p.outcome, p.version, 'Callback ' || c.type || ' ' || $3
		FROM callbacks c JOIN payments p ON p.id = c.payment_id WHERE c.id = $4`, ms(at), string(via), what, id)
	return err
}

// bulk bounds how many rows one transaction changes for an endpoint that is down: others wait for it,
// and 20,000 in one go would hold up a healthy endpoint's callbacks for 70 ms.
const bulk = 500

// Postpone implements [callback.Outbox].
func (s *Store) Postpone(ctx context.Context, url string, now, until time.Time) error {
	_, err := s.inBulks(ctx, until.After(now), "postpone", `UPDATE callbacks SET next_at = $1 WHERE seq IN (SELECT seq FROM callbacks
		WHERE url = $2 AND state = 'pending' AND next_at <= $3 AND lease_until <= $3 ORDER BY next_at LIMIT $4`+s.engine.skipLocked()+`)`,
		ms(until), url, ms(now), bulk)
	return err
}

// Hasten implements [callback.Outbox].
func (s *Store) Hasten(ctx context.Context, url string, triedBefore, now time.Time, limit int) (n int, err error) {
	return s.count(ctx, "hasten", `UPDATE callbacks SET next_at = $1 WHERE seq IN (SELECT seq FROM callbacks
		WHERE url = $2 AND state = 'pending' AND next_at > $1 AND lease_until <= $1 AND tried_at < $3 ORDER BY seq LIMIT $4`+s.engine.skipLocked()+`)`,
		ms(now), url, ms(triedBefore), limit)
}

// Bury implements [callback.Outbox].
func (s *Store) Bury(ctx context.Context, queuedBefore, now time.Time) (total int, err error) {
	for {
		var ids []string
		err := s.write(ctx, "bury", func(ctx context.Context, tx querier) (err error) {
			ids, err = query(ctx, tx, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
				`UPDATE callbacks SET state = 'dead', next_at = $2, lease_until = 0 WHERE seq IN (SELECT seq FROM callbacks
				WHERE state = 'pending' AND queued_at < $1 AND lease_until <= $2 LIMIT $3`+s.engine.skipLocked()+`) RETURNING id`,
				ms(queuedBefore), ms(now), bulk)
			for _, id := range ids {
				err = errors.Join(err, noteCallback(ctx, tx, id, relay.ViaCallback, now, string(callback.Dead)))
			}
			return err
		})
		if err != nil {
			return total, fmt.Errorf("bury callbacks: %w", err)
		}
		if total += len(ids); len(ids) < bulk {
			return total, nil
		}
	}
}

// inBulks repeats a statement that changes up to [bulk] rows, each time in a transaction of its own, until
// none is left. It runs once if what it has changed would match again.
func (s *Store) inBulks(ctx context.Context, again bool, op, text string, args ...any) (total int, err error) {
	for {
		n, err := s.count(ctx, op, text, args...)
		total += n
		if err != nil || n < bulk || !again {
			return total, err
		}
	}
}

// count runs one statement and returns how many rows it changed.
func (s *Store) count(ctx context.Context, op, text string, args ...any) (n int, err error) {
	err = s.write(ctx, op, func(ctx context.Context, tx querier) error {
		result, err := tx.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		changed, err := result.RowsAffected()
		n = int(changed)
		return err
	})
	return n, err
}

// ExpireLeases ends the leases of a sender that crashed, at the start of a process. Where other
// processes share the database they hold leases of their own, and the crashed one's run out.
func (s *Store) ExpireLeases(ctx context.Context) error {
	if s.engine.shared() {
		return nil
	}
	_, err := s.count(ctx, "expire_leases", `UPDATE callbacks SET lease_until = 0 WHERE state = 'pending' AND lease_until > 0`)
	return err
}
