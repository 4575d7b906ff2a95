package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dollr-relay/dollr-relay/relay"
)

// Search finds payments by their id, their reference, the webhook-id of a report or any value of their metadata, newest
// first. Ids and references are found in any case, values exactly as they are.
func (s *Store) Search(ctx context.Context, text string, limit int) ([]relay.Payment, error) {
	rows, err := read(ctx, s.engine, scanRow, `SELECT seq, revision, `+paymentColumns+` FROM payments WHERE seq IN (
			SELECT seq FROM payments WHERE id = $1
			UNION SELECT seq FROM (SELECT seq FROM payments WHERE reference_id = $1 AND reference_id <> '' ORDER BY seq DESC LIMIT $3) AS r
			UNION SELECT p.seq FROM reports e JOIN payments p ON p.id = e.payment_id WHERE e.id = $1
			UNION SELECT seq FROM (SELECT seq FROM labels WHERE value = $2 ORDER BY seq DESC LIMIT $3) AS l
		) ORDER BY seq DESC LIMIT $3`, strings.ToLower(text), text, limit)
	if err != nil {
		return nil, fmt.Errorf("search payments: %w", err)
	}
	return payments(rows), nil
}

// insertLabels makes a payment's metadata searchable. Values that are known already stay.
func insertLabels(ctx context.Context, tx querier, p relay.Payment) error {
	for _, value := range labels(p.Metadata) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO labels (value, seq) SELECT CAST($1 AS TEXT), seq FROM payments WHERE id = $2
			ON CONFLICT DO NOTHING`, value, p.ID); err != nil {
			return fmt.Errorf("index metadata of %s: %w", p.ID, err)
		}
	}
	return nil
}

// deleteLabels undoes insertLabels for a payment that is deleted.
func deleteLabels(ctx context.Context, tx querier, r row) error {
	for _, value := range labels(r.Metadata) {
		if _, err := tx.ExecContext(ctx, `DELETE FROM labels WHERE value = $1 AND seq = $2`, value, r.seq); err != nil {
			return err
		}
	}
	return nil
}

// labels are the different values of metadata, in an order of their own.
func labels(metadata map[string]string) []string {
	values := make([]string, 0, len(metadata))
	for _, value := range metadata {
		if value != "" {
			values = append(values, value)
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}
