package fallback

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// sweepPage is how many payments are listed at a time, and so how much a restart may ask twice.
	sweepPage = 100
	// listAgain is the pause after a failed listing: the database is in trouble and the sweep has time.
	listAgain = 5 * time.Second
)

// Finding is what one reconciling question brought to light.
type Finding struct {
	Late         bool // a success after another outcome had been reported
	Missed       bool // a change that the live feed should have told
	Mismatched   bool // a success with another amount than expected
	Contradicted bool // something else than the reported success
}

// Report sums up a sweep: while EndedAt is zero, so far.
type Report struct {
	StartedAt    time.Time
	EndedAt      time.Time
	Asked        int // questions that were answered
	Failed       int // questions that Dollr gave no answer to; they are asked again in the next sweep
	Late         int
	Missed       int
	Mismatched   int
	Contradicted int
}

// SweepOptions tune a [Sweep]. The zero value works.
type SweepOptions struct {
	// Every is the time from the start of one sweep to that of the next (RELAY_RECONCILE_EVERY). Defaults to 5 min. A sweep that
	// takes longer is not interrupted.
	Every time.Duration
	// Workers is how many questions of a sweep wait for the budget at once. Defaults to 8, enough to use the whole
	// DOLLR_RATE when nobody more urgent does.
	Workers int
	// After resumes the first sweep behind this id, and Progress, if set, hears how far a sweep is: "" at its end.
	After    string
	Progress func(after string)
	// Logger gets one line per sweep. Defaults to [slog.Default].
	Logger *slog.Logger
	// Now is the clock of reports. Defaults to [time.Now].
	Now func() time.Time
}

// Sweep asks about everything that is due for reconciliation, every so often and on demand, in case the schedule
// or the live feed missed something.
type Sweep struct {
	list func(ctx context.Context, after string, limit int) ([]string, error)
	ask  func(ctx context.Context, id string) (Finding, error)
	opts SweepOptions
	now  chan struct{}

	mu      sync.Mutex
	report  Report
	running bool
}

// NewSweep returns a Sweep that does nothing until Run. list names at most limit payments behind the id after, in the order of
// their ids; an empty list is the end. ask puts one question; while its error is an [*OpenError] the sweep waits and asks again.
func NewSweep(list func(ctx context.Context, after string, limit int) ([]string, error), ask func(ctx context.Context, id string) (Finding, error), opts SweepOptions) *Sweep {
	opts.Every = cmp.Or(opts.Every, 5*time.Minute)
	opts.Workers = cmp.Or(opts.Workers, 8)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Sweep{list: list, ask: ask, opts: opts, now: make(chan struct{}, 1)}
}

// Run sweeps every so often until ctx ends, and returns nil.
func (s *Sweep) Run(ctx context.Context) error {
	after := s.opts.After
	timer := time.NewTimer(s.opts.Every)
	defer timer.Stop()
	if after != "" {
		timer.Reset(0) // the last process did not come to the end
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.now:
		}
		timer.Reset(s.opts.Every)
		s.begin()
		s.sweep(ctx, after)
		after = ""
		s.end(ctx)
	}
}

// Start starts a sweep now, unless one is running, and returns its report so far.
func (s *Sweep) Start() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		s.running = true
		s.report = Report{StartedAt: s.opts.Now()}
		s.now <- struct{}{}
	}
	return s.report
}

// Report returns the report of the running or else the last sweep; ok is false before the first.
func (s *Sweep) Report() (r Report, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report, !s.report.StartedAt.IsZero()
}

func (s *Sweep) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		s.running = true
		s.report = Report{StartedAt: s.opts.Now()}
		return
	}
	select {
	case <-s.now: // Start came at the same moment as the timer: it is this one
	default:
	}
}

func (s *Sweep) end(ctx context.Context) {
	s.mu.Lock()
	s.running = false
	s.report.EndedAt = s.opts.Now()
	r := s.report
	s.mu.Unlock()
	s.opts.Logger.InfoContext(ctx, "reconciled", slog.Int("asked", r.Asked), slog.Int("failed", r.Failed), slog.Int("late", r.Late),
		slog.Int("missed", r.Missed), slog.Int("mismatched", r.Mismatched), slog.Int("contradicted", r.Contradicted),
		slog.Duration("took", r.EndedAt.Sub(r.StartedAt)))
}

// sweep asks about everything behind after, page by page.
func (s *Sweep) sweep(ctx context.Context, after string) {
	for ctx.Err() == nil {
		ids, err := s.list(ctx, after, sweepPage)
		if err != nil {
			if ctx.Err() == nil {
				s.opts.Logger.ErrorContext(ctx, "list payments to reconcile", slog.Any("err", err))
			}
			pause(ctx, listAgain)
			continue
		}
		if len(ids) > 0 {
			s.askAll(ctx, ids)
		}
		if ctx.Err() != nil {
			return
		}
		after = ""
		if len(ids) > 0 {
			after = ids[len(ids)-1]
		}
		if s.opts.Progress != nil {
			s.opts.Progress(after)
		}
		if len(ids) == 0 {
			return
		}
	}
}

func (s *Sweep) askAll(ctx context.Context, ids []string) {
	var questions errgroup.Group
	questions.SetLimit(s.opts.Workers)
	for _, id := range ids {
		questions.Go(func() error {
			s.askOne(ctx, id)
			return nil
		})
	}
	_ = questions.Wait() // never an error
}

func (s *Sweep) askOne(ctx context.Context, id string) {
	for ctx.Err() == nil {
		found, err := s.ask(ctx, id)
		if open, ok := errors.AsType[*OpenError](err); ok {
			pause(ctx, open.RetryAfter)
			continue
		}
		if ctx.Err() == nil || err == nil {
			s.count(found, err)
		}
		return
	}
}

func (s *Sweep) count(found Finding, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.report.Failed++
	} else {
		s.report.Asked++
	}
	for _, c := range []struct {
		found bool
		count *int
	}{
		{found.Late, &s.report.Late},
		{found.Missed, &s.report.Missed},
		{found.Mismatched, &s.report.Mismatched},
		{found.Contradicted, &s.report.Contradicted},
	} {
		if c.found {
			*c.count++
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
