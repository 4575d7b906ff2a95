package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Readdress implements [callback.Outbox].
func (s *Store) Readdress(ctx context.Context, configured []string, now time.Time) (moved, stranded int, err error) {
	if len(configured) == 0 {
		return 0, 0, nil
	}
	type heap struct {
		url  string
		size int
	}
	heaps, err := read(ctx, s.engine, func(s scanner) (h heap, err error) { return h, s.Scan(&h.url, &h.size) },
		`SELECT url, COUNT(*) FROM callbacks WHERE state = 'pending' AND lease_until <= $1 AND queued_at < $2 AND tried_at < $2 GROUP BY url`,
		ms(now), ms(now.Add(-callback.Unserved)))
	if err != nil {
		return 0, 0, fmt.Errorf("count waiting callbacks: %w", err)
	}
	for _, h := range heaps {
		if slices.Contains(configured, h.url) {
			continue
		}
		n, err := s.inBulks(ctx, true, "readdress", `UPDATE callbacks SET url = $1 WHERE seq IN (SELECT seq FROM callbacks c
			WHERE url = $2 AND state = 'pending' AND lease_until <= $3 AND queued_at < $4 AND tried_at < $4
				AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.id = c.payment_id AND p.callback_url = c.url) LIMIT $5`+s.engine.skipLocked()+`)`,
			configured[0], h.url, ms(now), ms(now.Add(-callback.Unserved)), bulk)
		moved, stranded = moved+n, stranded+h.size-n
		if err != nil {
			return moved, stranded, fmt.Errorf("readdress callbacks: %w", err)
		}
	}
	return moved, stranded, nil
}
