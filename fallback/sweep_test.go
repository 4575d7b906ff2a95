package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
)

// book is a list of payments to reconcile and the findings about them.
type book struct {
	mu    sync.Mutex
	ids   []string
	found map[string]fallback.Finding
	errs  map[string]error // used up by one question each
	asked []string
	lists int
	down  int // so many listings fail
}

func newBook(n int) *book {
	b := &book{found: map[string]fallback.Finding{}, errs: map[string]error{}}
	for i := range n {
		b.ids = append(b.ids, fmt.Sprintf("pay_%04d", i))
	}
	return b
}

func (b *book) list(_ context.Context, after string, limit int) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists++
	if b.down > 0 {
		b.down--
		return nil, errors.New("database is locked")
	}
	from, known := slices.BinarySearch(b.ids, after)
	if known {
		from++
	}
	return slices.Clone(b.ids[from:min(from+limit, len(b.ids))]), nil
}

func (b *book) ask(_ context.Context, id string) (fallback.Finding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errs[id]; err != nil {
		delete(b.errs, id)
		return fallback.Finding{}, err
	}
	b.asked = append(b.asked, id)
	return b.found[id], nil
}

func (b *book) asks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

func runSweep(t *testing.T, b *book, opts fallback.SweepOptions) *fallback.Sweep {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	s := fallback.NewSweep(b.list, b.ask, opts)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

func TestSweep_asksAboutEverythingEverySoOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(250)
		s := runSweep(t, b, fallback.SweepOptions{})
		if _, ok := s.Report(); ok {
			t.Error("there is a report before the first sweep")
		}
		time.Sleep(5*time.Minute - 1)
		if n := b.asks(); n != 0 {
			t.Errorf("%d questions before the first period, want 0", n)
		}
		time.Sleep(time.Second)
		if n := b.asks(); n != 250 {
			t.Errorf("%d questions in the first sweep, want 250", n)
		}
		time.Sleep(5 * time.Minute)
		if n := b.asks(); n != 500 {
			t.Errorf("%d questions in two sweeps, want 500", n)
		}
	})
}

func TestSweep_reportsWhatItFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(10)
		b.found["pay_0001"] = fallback.Finding{Late: true, Missed: true}
		b.found["pay_0002"] = fallback.Finding{Missed: true}
		b.found["pay_0003"] = fallback.Finding{Mismatched: true}
		b.found["pay_0004"] = fallback.Finding{Contradicted: true}
		b.errs["pay_0005"] = errDown
		s := runSweep(t, b, fallback.SweepOptions{})
		begun := s.Start()
		if begun.StartedAt.IsZero() || !begun.EndedAt.IsZero() {
			t.Errorf("Start() = %+v, want a sweep that has begun and not ended", begun)
		}
		synctest.Wait()
		got, ok := s.Report()
		want := fallback.Report{
			StartedAt: begun.StartedAt, EndedAt: begun.StartedAt, Asked: 9, Failed: 1, Late: 1, Missed: 2, Mismatched: 1, Contradicted: 1,
		}
		if !ok || got != want {
			t.Errorf("Report() = %+v, %t, want %+v", got, ok, want)
		}
	})
}

func TestSweep_waitsForTheBreakerAndAsksTheSameAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(10)
		b.errs["pay_0005"] = &fallback.OpenError{RetryAfter: 10 * time.Second}
		s := runSweep(t, b, fallback.SweepOptions{})
		s.Start()
		time.Sleep(9 * time.Second)
		if r, _ := s.Report(); r.Asked != 9 || !r.EndedAt.IsZero() {
			t.Errorf("Report() = %+v while the breaker is open, want 9 asked and no end", r)
		}
		if again := s.Start(); again.Asked != 9 {
			t.Errorf("Start() during a sweep = %+v, want the running one", again)
		}
		time.Sleep(2 * time.Second)
		if r, _ := s.Report(); r.Asked != 10 || r.Failed != 0 || r.EndedAt.IsZero() {
			t.Errorf("Report() = %+v, want all 10 asked, none failed", r)
		}
	})
}

func TestSweep_survivesItsDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(3)
		b.down = 3
		s := runSweep(t, b, fallback.SweepOptions{})
		s.Start()
		time.Sleep(16 * time.Second)
		if n := b.asks(); n != 3 {
			t.Errorf("%d questions, want 3 once the list can be read", n)
		}
	})
}

func TestSweep_resumesWhereTheLastProcessEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(250)
		var progress []string
		runSweep(t, b, fallback.SweepOptions{After: "pay_0099", Progress: func(after string) { progress = append(progress, after) }})
		synctest.Wait()
		if n := b.asks(); n != 150 {
			t.Errorf("%d questions after a restart, want the 150 that were left", n)
		}
		if want := []string{"pay_0199", "pay_0249", ""}; !slices.Equal(progress, want) {
			t.Errorf("Progress heard %q, want %q", progress, want)
		}
	})
}
