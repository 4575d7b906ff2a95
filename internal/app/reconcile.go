package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/relay/api"
)

// sweepMark keeps how far a sweep had come, so that a restart goes on from there.
const sweepMark = "reconcile_after"

// wireSweep makes the sweep that asks about everything that anything else may have missed: alone, or each replica
// about the payments that it watches.
func (a *App) wireSweep(ctx context.Context) error {
	list := func(ctx context.Context, after string, limit int) ([]string, error) {
		return a.store.ToReconcile(ctx, after, a.opts.Now(), limit)
	}
	ask := func(ctx context.Context, id string) (fallback.Finding, error) {
		found, err := a.relay.Reconcile(ctx, id)
		return fallback.Finding(found), err
	}
	options := fallback.SweepOptions{Every: a.config.ReconcileEvery, Logger: a.log, Now: a.opts.Now}
	if a.replicas != nil {
		options.Every = never // all begin together
		a.sweep = fallback.NewSweep(a.ownOnly(list), ask, options)
		a.sweeps = newSweeps(a)
		return nil
	}
	var err error
	if options.After, err = a.store.Mark(ctx, sweepMark); err != nil {
		return err
	}
	options.Progress = func(after string) {
		if err := a.store.SetMark(context.WithoutCancel(ctx), sweepMark, after); err != nil {
			a.log.Warn("progress of the sweep not kept", slog.Any("err", err))
		}
	}
	a.sweep = fallback.NewSweep(list, ask, options)
	return nil
}

// never is longer than any process runs.
const never = 100 * 365 * 24 * time.Hour

// ownOnly keeps to the payments that this replica watches.
func (a *App) ownOnly(list func(context.Context, string, int) ([]string, error)) func(context.Context, string, int) ([]string, error) {
	return func(ctx context.Context, after string, limit int) ([]string, error) {
		for {
			ids, err := list(ctx, after, limit)
			if err != nil || len(ids) == 0 {
				return nil, err
			}
			after = ids[len(ids)-1]
			if own := slices.DeleteFunc(ids, func(id string) bool { return !a.relay.Owns(id) }); len(own) > 0 {
				return own, nil
			}
		}
	}
}

func (a *App) reconciler() api.Reconciler {
	if a.sweeps != nil {
		return a.sweeps
	}
	return reconciler{a.sweep}
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
