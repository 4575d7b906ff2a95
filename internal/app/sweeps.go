package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/news"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

const (
	// lookEvery is how often a replica looks whether a sweep was started, in case it was not told.
	lookEvery = time.Second
	// sweepPatience bounds what a request about sweeps may ask the database.
	sweepPatience = 3 * time.Second
)

// sweeps lets all replicas sweep at the same time, each over the payments that it watches: so nobody else asks about
// them, and it alone knows what realtime should have told. The report is the sum of their parts.
type sweeps struct {
	replicas *replicas
	sweep    *fallback.Sweep
	every    time.Duration
	log      *slog.Logger
	wake     chan struct{}

	began  time.Time // when run did
	number int64     // of the sweep that this replica has taken part in last
	told   part      // as it was written last
}

// part is what one replica has found of a sweep.
type part struct {
	Number int64
	Report fallback.Report
}

func newSweeps(a *App) *sweeps {
	return &sweeps{replicas: a.replicas, sweep: a.sweep, every: a.config.ReconcileEvery, log: a.log, wake: make(chan struct{}, 1)}
}

// look makes run look for a sweep now.
func (s *sweeps) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run starts sweeps when they are due, and takes part in those that anybody has started, until ctx ends.
func (s *sweeps) run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	s.began = time.Now()
	for {
		if err := s.step(ctx); err != nil && ctx.Err() == nil {
			s.log.DebugContext(ctx, "sweep not looked for", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

func (s *sweeps) step(ctx context.Context) error {
	last, err := s.replicas.LastSweep(ctx)
	if err != nil {
		return err
	}
	if last.Number == 0 {
		last.Age = time.Since(s.began)
	}
	switch {
	case last.Number > s.number:
		s.number = last.Number
		s.sweep.Start()
	case last.Age >= s.every:
		return s.replicas.StartSweep(ctx, s.every)
	}
	return s.write(ctx)
}

// write lets the others know how far this part is.
func (s *sweeps) write(ctx context.Context) error {
	report, ok := s.sweep.Report()
	now := part{s.number, report}
	if !ok || now == s.told {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := s.replicas.SetSweepPart(ctx, s.replicas.id, string(text)); err != nil {
		return err
	}
	s.told = now
	return nil
}

// Start implements [api.Reconciler].
func (s *sweeps) Start() api.ReconcileReport {
	ctx, cancel := context.WithTimeout(context.Background(), sweepPatience)
	defer cancel()
	if r, err := s.read(ctx); err == nil && !r.StartedAt.IsZero() && r.EndedAt.IsZero() {
		return r
	}
	if err := s.replicas.StartSweep(ctx, 0); err != nil {
		s.log.WarnContext(ctx, "sweep not started for all replicas", slog.Any("err", err))
		return reconcileReport(s.sweep.Start())
	}
	s.look()
	s.replicas.board.Tell(news.Item{Sweep: true})
	return s.Report()
}

// Report implements [api.Reconciler].
func (s *sweeps) Report() api.ReconcileReport {
	ctx, cancel := context.WithTimeout(context.Background(), sweepPatience)
	defer cancel()
	r, err := s.read(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "report of the sweep not read", slog.Any("err", err))
		return reconciler{s.sweep}.Report()
	}
	return r
}

func (s *sweeps) read(ctx context.Context) (api.ReconcileReport, error) {
	last, err := s.replicas.LastSweep(ctx)
	if err == nil && last.Number > 0 {
		err = s.replicas.SweepParts(ctx, &last)
	}
	return sum(last), err
}

// sum adds up the parts. The sweep has ended when those of all replicas that are there have.
func sum(s store.Sweep) api.ReconcileReport {
	total := fallback.Report{StartedAt: s.StartedAt}
	ended := len(s.Parts) > 0
	for replica, text := range s.Parts {
		var p part
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Number != s.Number {
			ended = ended && !s.Present[replica]
			continue
		}
		r := p.Report
		total.Asked += r.Asked
		total.Failed += r.Failed
		total.Late += r.Late
		total.Missed += r.Missed
		total.Mismatched += r.Mismatched
		total.Contradicted += r.Contradicted
		if r.EndedAt.After(total.EndedAt) {
			total.EndedAt = r.EndedAt
		}
		ended = ended && (!r.EndedAt.IsZero() || !s.Present[replica])
	}
	for replica := range s.Present {
		_, has := s.Parts[replica]
		ended = ended && has
	}
	if !ended {
		total.EndedAt = time.Time{}
	}
	return reconcileReport(total)
}
