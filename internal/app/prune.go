package app

import (
	"context"
	"log/slog"
	"time"
)

// pruneEvery is how often settled payments older than RELAY_RETAIN are looked for.
const pruneEvery = 10 * time.Minute

// prune deletes old settled payments, in small batches, until ctx ends.
func (a *App) prune(ctx context.Context, now func() time.Time) error {
	if a.config.Retain == 0 {
		return nil
	}
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		total, n, err := 0, 1, error(nil)
		for n > 0 && err == nil && ctx.Err() == nil {
			n, err = a.store.Prune(ctx, now().Add(-a.config.Retain))
			total += n
		}
		if err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "old payments not deleted", slog.Any("err", err))
		}
		if total > 0 {
			a.log.InfoContext(ctx, "old payments deleted", slog.Int("payments", total), slog.Duration("retain", a.config.Retain))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
