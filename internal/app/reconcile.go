package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/relay/api"
)

// sweepMark keeps how far a sweep had come, so that a restart goes on from there.
const sweepMark = "reconcile_after"

// newSweep makes the sweep that asks about everything that anything else may have missed.
func (a *App) newSweep(ctx context.Context, now func() time.Time) (*fallback.Sweep, error) {
	after, err := a.store.Mark(ctx, sweepMark)
	if err != nil {
		return nil, err
	}
	list := func(ctx context.Context, after string, limit int) ([]string, error) {
		return a.store.ToReconcile(ctx, after, now(), limit)
	}
	ask := func(ctx context.Context, id string) (fallback.Finding, error) {
		found, err := a.relay.Reconcile(ctx, id)
		return fallback.Finding(found), err
	}
	return fallback.NewSweep(list, ask, fallback.SweepOptions{
		Every: a.config.ReconcileEvery, After: after, Logger: a.log, Now: now,
		Progress: func(after string) {
			if err := a.store.SetMark(context.WithoutCancel(ctx), sweepMark, after); err != nil {
				a.log.Warn("progress of the sweep not kept", slog.Any("err", err))
			}
		},
	}), nil
}

// reconciler lets the API start sweeps and read their reports.
type reconciler struct{ sweep *fallback.Sweep }

// Start implements [api.Reconciler].
func (r reconciler) Start() api.ReconcileReport { return reconcileReport(r.sweep.Start()) }

// Report implements [api.Reconciler].
func (r reconciler) Report() api.ReconcileReport {
	report, _ := r.sweep.Report()
	return reconcileReport(report)
}

func reconcileReport(r fallback.Report) api.ReconcileReport {
	return api.ReconcileReport{
		StartedAt: r.StartedAt, EndedAt: r.EndedAt, Asked: r.Asked, Failed: r.Failed, Late: r.Late,
		Missed: r.Missed, Mismatched: r.Mismatched, Contradicted: r.Contradicted,
	}
}
