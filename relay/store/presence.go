package store

import (
	"context"
	"fmt"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// Note keeps what a replica knows of payments for the others, as long as its lease holds.
func (l Leases) Note(ctx context.Context, me string, sights map[string]relay.Sight) error {
	var (
		ids, none   []string
		pages, live []int64
	)
	for id, s := range sights {
		if s == (relay.Sight{}) {
			none = append(none, id)
			continue
		}
		ids, pages, live = append(ids, id), append(pages, bit(s.Pages)), append(live, bit(s.Live))
	}
	err := l.exec(ctx, `WITH gone AS (DELETE FROM presence WHERE replica = $1 AND payment_id = ANY(CAST($2 AS TEXT[])))
		INSERT INTO presence (payment_id, replica, pages, live)
		SELECT id, CAST($1 AS TEXT), pages, live FROM unnest(CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[])) AS seen (id, pages, live)
		ON CONFLICT (payment_id, replica) DO UPDATE SET pages = excluded.pages, live = excluded.live`, me, none, ids, pages, live)
	if err != nil {
		return fmt.Errorf("note presence: %w", err)
	}
	return nil
}

// Sights reads what the other replicas know of payments; those of which they know nothing are left out.
func (l Leases) Sights(ctx context.Context, me string, ids []string) (map[string]relay.Sight, error) {
	sights := map[string]relay.Sight{}
	_, err := read(ctx, l.store.engine, scanSight(sights), `SELECT p.payment_id, MAX(p.pages), MAX(p.live) FROM presence p JOIN replicas r ON r.id = p.replica
		WHERE p.payment_id = ANY(CAST($1 AS TEXT[])) AND p.replica <> $2 AND `+heldLease+` GROUP BY p.payment_id`, ids, me)
	if err != nil {
		return nil, fmt.Errorf("read presence: %w", err)
	}
	return sights, nil
}

// Looked names the payments of which other replicas have pages open.
func (l Leases) Looked(ctx context.Context, me string) ([]string, error) {
	ids, err := read(ctx, l.store.engine, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
		`SELECT DISTINCT p.payment_id FROM presence p JOIN replicas r ON r.id = p.replica WHERE p.pages > 0 AND p.replica <> $1 AND `+heldLease, me)
	if err != nil {
		return nil, fmt.Errorf("read presence: %w", err)
	}
	return ids, nil
}

func scanSight(into map[string]relay.Sight) func(scanner) (struct{}, error) {
	return func(s scanner) (none struct{}, err error) {
		var (
			id          string
			pages, live int64
		)
		err = s.Scan(&id, &pages, &live)
		into[id] = relay.Sight{Pages: pages > 0, Live: live > 0}
		return none, err
	}
}

// Revisions reads how often the rows of payments have been written; unknown ones are left out.
func (l Leases) Revisions(ctx context.Context, ids []string) (map[string]int64, error) {
	revisions := map[string]int64{}
	_, err := read(ctx, l.store.engine, func(s scanner) (none struct{}, err error) {
		var (
			id string
			n  int64
		)
		err = s.Scan(&id, &n)
		revisions[id] = n
		return none, err
	}, `SELECT id, revision FROM payments WHERE id = ANY(CAST($1 AS TEXT[]))`, ids)
	if err != nil {
		return nil, fmt.Errorf("read revisions: %w", err)
	}
	return revisions, nil
}

// FindAll reads payments; unknown ones are left out. It does not read siblings.
func (l Leases) FindAll(ctx context.Context, ids []string) ([]relay.Payment, error) {
	rows, err := read(ctx, l.store.engine, scanRow, `SELECT seq, revision, `+paymentColumns+` FROM payments WHERE id = ANY(CAST($1 AS TEXT[]))`, ids)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	return payments(rows), nil
}

// OfSlots reads the payments of slots that are to be watched, in pages by id: the open ones, or those final ones that
// [Store.Watched] has, too.
func (l Leases) OfSlots(ctx context.Context, slots []string, open bool, after string, now time.Time, limit int) ([]relay.Payment, error) {
	which := `outcome <> 'pending' AND (reopened_until > $3 OR (final_at > 0 AND ` + unanswered + `))`
	if open { // apart, because these are urgent and have an index of their own
		which = `outcome = 'pending' AND CAST($2 AS BIGINT) + CAST($3 AS BIGINT) > 0`
	}
	rows, err := read(ctx, l.store.engine, scanRow, `SELECT seq, revision, `+paymentColumns+` FROM payments
		WHERE id > $1 AND `+which+` AND `+slotOf+` = ANY(CAST($5 AS TEXT[])) ORDER BY id LIMIT $4`,
		after, relay.LastRecheck.Milliseconds(), ms(now), limit, slots)
	if err != nil {
		return nil, fmt.Errorf("read payments of slots: %w", err)
	}
	return payments(rows), nil
}
