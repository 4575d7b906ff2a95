package store

import (
	"context"
	"fmt"

	"github.com/dollr-relay/dollr-relay/relay"
)

func insertEvent(ctx context.Context, tx querier, paymentID string, e relay.Event) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO events (payment_id, at, via, status, outcome, version, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		paymentID, ms(e.At), string(e.Via), e.Status, string(e.Outcome), e.Version, e.Detail)
	return err
}

// Events returns a payment's timeline, oldest first, or [relay.ErrNotFound].
func (s *Store) Events(ctx context.Context, paymentID string) ([]relay.Event, error) {
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	if _, err := findRow(ctx, db, paymentID); err != nil {
		return nil, err
	}
	events, err := query(ctx, db, func(s scanner) (e relay.Event, err error) {
		return e, s.Scan(millis{&e.At}, &e.Via, &e.Status, &e.Outcome, &e.Version, &e.Detail)
	}, `SELECT at, via, status, outcome, version, detail FROM events WHERE payment_id = $1 ORDER BY seq`, paymentID)
	if err != nil {
		return nil, fmt.Errorf("read timeline of %s: %w", paymentID, err)
	}
	return events, nil
}
