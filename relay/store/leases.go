package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/lease"
)

// Leases are the tables that several relays on one PostgreSQL share. They use its clock only, and every statement
// stands for itself: a process that stops between two of them holds nobody up.
type Leases struct{ store *Store }

var _ lease.Table = Leases{}

// Leases returns them; ok is false on SQLite, which has no such tables.
func (s *Store) Leases() (l Leases, ok bool) {
	_, ok = s.engine.(*postgres)
	return Leases{s}, ok
}

const (
	// clockNow is the database's clock in Unix milliseconds.
	clockNow = `CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`
	// slotOf is the slot of a payment, as in [lease.SlotOf].
	slotOf = `substr(id, 5, 2)`
	// forgetAfter is when a replica that is gone is forgotten, in milliseconds. One that was only paused that long is new.
	forgetAfter = `600000`
)

// exec runs a statement that stands for itself.
func (l Leases) exec(ctx context.Context, text string, args ...any) error {
	ctx, db, done := l.store.engine.reader(ctx)
	defer done()
	_, err := db.ExecContext(ctx, text, args...)
	return err
}

// Renew implements [lease.Table] in one statement. What it reads is how things stood before it.
func (l Leases) Renew(ctx context.Context, me lease.Replica) (lease.View, error) {
	type line struct {
		lease.Replica

		slots string
	}
	lines, err := read(ctx, l.store.engine, func(s scanner) (r line, err error) {
		var left, share, down, held int64
		err = s.Scan(&r.ID, &left, &share, &down, &held, &r.slots)
		r.Left, r.Share, r.Down, r.Held = time.Duration(left)*time.Millisecond, float64(share)/1e6, down != 0, time.Duration(held)*time.Millisecond
		return r, err
	}, `WITH clock AS (SELECT `+clockNow+` AS now),
		renewed AS (INSERT INTO replicas (id, lease_until, share, down, held_until)
			SELECT CAST($1 AS TEXT), now + CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), now + CAST($5 AS BIGINT) FROM clock
			ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, share = excluded.share, down = excluded.down, held_until = excluded.held_until)
		SELECT r.id, r.lease_until - clock.now, r.share, r.down, r.held_until - clock.now,
			COALESCE((SELECT string_agg(slot, ' ') FROM slots WHERE owner = r.id), '')
		FROM replicas r, clock ORDER BY r.id`,
		me.ID, lease.Length.Milliseconds(), int64(me.Share*1e6), bit(me.Down), me.Held.Milliseconds())
	if err != nil {
		return lease.View{}, fmt.Errorf("renew lease: %w", err)
	}
	v := lease.View{Me: me.ID, Owners: map[string]string{}}
	for _, r := range lines {
		for slot := range strings.FieldsSeq(r.slots) {
			v.Owners[slot] = r.ID
		}
		if r.ID == me.ID {
			v.Lapsed = r.Left <= 0
			continue
		}
		v.Replicas = append(v.Replicas, r.Replica)
	}
	me.Left = lease.Length
	v.Replicas = append(v.Replicas, me)
	return v, nil
}

// CountOpen implements [lease.Table].
func (l Leases) CountOpen(ctx context.Context) (map[string]int, error) {
	open := map[string]int{}
	_, err := read(ctx, l.store.engine, func(s scanner) (none struct{}, err error) {
		var (
			slot string
			n    int
		)
		err = s.Scan(&slot, &n)
		open[slot] = n
		return none, err
	}, `SELECT `+slotOf+`, COUNT(*) FROM payments WHERE outcome = 'pending' GROUP BY 1`)
	if err != nil {
		return nil, fmt.Errorf("count open payments: %w", err)
	}
	return open, nil
}

// Clean implements [lease.Table].
func (l Leases) Clean(ctx context.Context) error {
	for _, statement := range []string{
		`DELETE FROM replicas WHERE lease_until < ` + clockNow + ` - ` + forgetAfter,
		`DELETE FROM presence p WHERE NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = p.replica)`,
	} {
		if err := l.exec(ctx, statement); err != nil {
			return fmt.Errorf("forget dead replicas: %w", err)
		}
	}
	return nil
}

// heldLease holds for a replica r that must be respected: [lease.Grace] is in it.
const heldLease = `r.lease_until > ` + clockNow + ` - 500`

// Claim implements [lease.Table]. A slot that is free for two at once goes to the first of them.
func (l Leases) Claim(ctx context.Context, me string, slots []string) ([]string, error) {
	claimed, err := read(ctx, l.store.engine, func(s scanner) (slot string, err error) { return slot, s.Scan(&slot) },
		`INSERT INTO slots (slot, owner) SELECT slot, CAST($1 AS TEXT) FROM unnest(CAST($2 AS TEXT[])) AS wanted (slot) ORDER BY slot
		ON CONFLICT (slot) DO UPDATE SET owner = excluded.owner
			WHERE NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = slots.owner AND `+heldLease+`)
		RETURNING slot`, me, slots)
	if err != nil {
		return nil, fmt.Errorf("claim slots: %w", err)
	}
	return claimed, nil
}

// Release implements [lease.Table].
func (l Leases) Release(ctx context.Context, me string, slots []string) error {
	err := l.exec(ctx, `UPDATE slots SET owner = '' WHERE owner = $1 AND slot = ANY(CAST($2 AS TEXT[]))`, me, slots)
	if err != nil {
		return fmt.Errorf("release slots: %w", err)
	}
	return nil
}

// Leave implements [lease.Table]: who has no row holds nothing.
func (l Leases) Leave(ctx context.Context, me string) error {
	err := l.exec(ctx, `WITH gone AS (DELETE FROM replicas WHERE id = $1), away AS (DELETE FROM presence WHERE replica = $1)
		UPDATE slots SET owner = '' WHERE owner = $1`, me)
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}
