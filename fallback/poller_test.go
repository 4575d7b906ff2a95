package fallback_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

// asked is what a Poller asked, and when.
type asked struct {
	mu  sync.Mutex
	log []string
	at  map[string][]time.Time
}

func (a *asked) note(id, via string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string][]time.Time{}
	}
	a.log = append(a.log, id+" "+via)
	a.at[id] = append(a.at[id], time.Now())
}

func (a *asked) want(t *testing.T, log ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.log, log) {
		t.Errorf("asked %q, want %q", a.log, log)
	}
}

// runPoller runs p until the test ends.
func runPoller(t *testing.T, p *fallback.Poller) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func TestPoller_asksWhenDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		var p *fallback.Poller
		p = fallback.NewPoller(func(_ context.Context, id, via string, _ dollr.Urgency) {
			a.note(id, via)
			p.Remove(id)
		}, fallback.PollerOptions{})
		start := time.Now()
		p.Set("before run", start.Add(time.Second), "poll", dollr.UrgentYoung)
		runPoller(t, p)
		p.Set("late", start.Add(time.Minute), "poll", dollr.UrgentOld)
		p.Set("past", start.Add(-time.Hour), "poll", dollr.UrgentOld)
		p.Set("sooner", start.Add(time.Hour), "poll", dollr.UrgentOld)
		p.Set("removed", start.Add(3*time.Second), "poll", dollr.UrgentOld)
		synctest.Wait()
		p.Set("sooner", start.Add(2*time.Second), "verify", dollr.UrgentVerify)
		p.Remove("removed")
		p.Remove("unknown")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		a.want(t, "past poll", "before run poll", "sooner verify", "late poll")
		for id, want := range map[string]time.Duration{"past": 0, "before run": time.Second, "sooner": 2 * time.Second, "late": time.Minute} {
			if got := a.at[id][0].Sub(start); got != want {
				t.Errorf("%s was asked after %s, want %s", id, got, want)
			}
		}
		if n := p.Len(); n != 0 {
			t.Errorf("Len() = %d, want 0", n)
		}
	})
}

func TestPoller_setWhileItsQuestionIsPutHoldsForTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		release := make(chan struct{})
		p := fallback.NewPoller(func(_ context.Context, id, via string, _ dollr.Urgency) {
			a.note(id, via)
			<-release
		}, fallback.PollerOptions{})
		runPoller(t, p)
		p.Set("a", time.Now(), "poll", dollr.UrgentOld)
		synctest.Wait()
		p.Set("a", time.Now(), "verify", dollr.UrgentVerify)
		time.Sleep(time.Second)
		a.want(t, "a poll")
		release <- struct{}{}
		synctest.Wait()
		a.want(t, "a poll", "a verify")
		p.Remove("a")
		release <- struct{}{}
		time.Sleep(time.Minute)
		a.want(t, "a poll", "a verify")
	})
}

func TestPoller_losesNobodyWhoseQuestionEndedWithoutANewTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		p := fallback.NewPoller(func(_ context.Context, id, via string, _ dollr.Urgency) { a.note(id, via) }, fallback.PollerOptions{})
		runPoller(t, p)
		p.Set("a", time.Now(), "poll", dollr.UrgentOld)
		time.Sleep(11 * time.Second)
		a.want(t, "a poll", "a poll", "a poll")
	})
}

func TestPoller_mostUrgentFirstWithinItsWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		busy, most := 0, 0
		var mu sync.Mutex
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			busy += by
			most = max(most, busy)
		}
		var p *fallback.Poller
		p = fallback.NewPoller(func(_ context.Context, id, via string, _ dollr.Urgency) {
			count(1)
			time.Sleep(time.Second)
			a.note(id, via)
			p.Remove(id)
			count(-1)
		}, fallback.PollerOptions{Workers: 1})
		now := time.Now()
		for i, u := range slices.Backward(dollr.Urgencies()) {
			p.Set(u.String(), now.Add(-time.Duration(i)*time.Second), "x", u)
		}
		runPoller(t, p)
		time.Sleep(time.Minute)
		synctest.Wait()
		a.want(t, "verify x", "page_key x", "page x", "young x", "audit x", "old x")
		if most != 1 {
			t.Errorf("%d questions at once, want 1", most)
		}
	})
}

func TestPoller_holdsWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		opened := time.Now()
		var p *fallback.Poller
		p = fallback.NewPoller(func(_ context.Context, id, via string, _ dollr.Urgency) {
			a.note(id, via)
			p.Remove(id)
		}, fallback.PollerOptions{Hold: func() time.Duration { return time.Until(opened.Add(10 * time.Second)) }})
		runPoller(t, p)
		for i := range 10 {
			p.Set(fmt.Sprint(i), time.Now().Add(time.Duration(i)*time.Second), "poll", dollr.UrgentYoung)
		}
		time.Sleep(10*time.Second - 1)
		a.want(t)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := len(a.log); n != 10 {
			t.Errorf("%d questions after the hold, want all 10", n)
		}
	})
}

func TestPoller_aJumpOfTheClockMovesNothing(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &asked{}
				var offset time.Duration
				clock := func() time.Time { return time.Now().Add(offset).Round(0) }
				var p *fallback.Poller
				p = fallback.NewPoller(func(_ context.Context, id, via string, _ dollr.Urgency) {
					a.note(id, via)
					p.Remove(id)
				}, fallback.PollerOptions{Now: clock})
				p.Set("a", clock().Add(10*time.Second), "poll", dollr.UrgentYoung)
				offset = jump
				p.Set("b", clock().Add(20*time.Second), "poll", dollr.UrgentYoung)
				runPoller(t, p)
				time.Sleep(9 * time.Second)
				a.want(t)
				time.Sleep(2 * time.Second)
				a.want(t, "a poll")
				time.Sleep(10 * time.Second)
				a.want(t, "a poll", "b poll")
			})
		})
	}
}

// Issue: with 10,000 open payments at 10 requests per second, 50 young ones with an open page are still asked at least every 10 s,
// and nobody starves.
func TestPoller_overloadKeepsTheUrgentOnesFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		for n := range byte(200) {
			err := srv.Put(dollrtest.Payment{Operation: dollrtest.Collection, ReferenceID: subject(n).ReferenceID, Status: "PENDING"})
			if err != nil {
				t.Fatal(err)
			}
		}
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		seen := &asked{}
		rng := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		jitter := func() float64 {
			mu.Lock()
			defer mu.Unlock()
			return rng.Float64()
		}
		created := time.Now()
		var p *fallback.Poller
		p = fallback.NewPoller(func(ctx context.Context, id, via string, u dollr.Urgency) {
			// Ids beyond the subjects share them: Dollr does not mind, and the Asker goes by id.
			var n int
			_, _ = fmt.Sscanf(id, "pay_%d", &n)
			q := fallback.Question{ID: id, Subject: subject(byte(n % 200)), Via: via, Urgency: u}
			if got := a.Ask(ctx, q); got.Err != nil {
				return
			}
			seen.note(id, u.String())
			f := fallback.Facts{CreatedAt: created, LastAsked: time.Now(), PageOpen: n < 50}
			if n >= 50 {
				f.CreatedAt = created.Add(-30 * time.Minute)
			}
			due, via, u, _ := fallback.Cadence{}.Next(f, time.Now(), jitter())
			p.Set(id, due, via, u)
		}, fallback.PollerOptions{Hold: a.RetryAfter})
		for n := range 10_000 {
			u := dollr.UrgentOld
			if n < 50 {
				u = dollr.UrgentPage
			}
			p.Set(fmt.Sprintf("pay_%d", n), created, "poll", u)
		}
		runPoller(t, p)
		time.Sleep(2 * time.Minute)

		var worst time.Duration
		seen.mu.Lock()
		defer seen.mu.Unlock()
		for n := range 50 {
			last := created
			for _, at := range append(seen.at[fmt.Sprintf("pay_%d", n)], created.Add(2*time.Minute)) {
				worst = max(worst, at.Sub(last))
				last = at
			}
		}
		if worst > 10*time.Second {
			t.Errorf("a young payment with an open page was not asked for %s, want at most 10 s", worst)
		}
		old := 0
		for n := 50; n < 10_000; n++ {
			old += len(seen.at[fmt.Sprintf("pay_%d", n)])
		}
		if old < 100 {
			t.Errorf("%d questions about the other 9,950 in 2 min, want at least one turn in eight of 1,200", old)
		}
	})
}

func BenchmarkPoller_addRemove(b *testing.B) {
	p, ids := filled(b)
	due := time.Now().Add(time.Hour)
	b.ResetTimer()
	for i := range b.N {
		id := ids[i%len(ids)]
		p.Remove(id)
		p.Set(id, due.Add(time.Duration(i)*time.Microsecond), "poll", dollr.UrgentOld)
	}
}

func BenchmarkPoller_reschedule(b *testing.B) {
	p, ids := filled(b)
	due := time.Now().Add(time.Hour)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ResetTimer()
	for i := range b.N {
		p.Set(ids[i%len(ids)], due.Add(time.Duration(rng.Int64N(int64(time.Hour)))), "poll", dollr.UrgentOld)
	}
}

// BenchmarkPoller_memory reports what 100,000 payments on the schedule take.
func BenchmarkPoller_memory(b *testing.B) {
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p, ids := filled(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(ids)), "B/payment")
		runtime.KeepAlive(p)
	}
}

// filled returns a Poller with 100,000 payments, spread over the next hours.
func filled(b *testing.B) (*fallback.Poller, []string) {
	b.Helper()
	p := fallback.NewPoller(func(context.Context, string, string, dollr.Urgency) {}, fallback.PollerOptions{})
	ids := make([]string, 100_000)
	now := time.Now()
	for i := range ids {
		ids[i] = fmt.Sprintf("pay_%026d", i)
		p.Set(ids[i], now.Add(time.Hour+time.Duration(i)*time.Millisecond), "poll", dollr.UrgentOld)
	}
	return p, ids
}

// BenchmarkPoller_idle reports the share of a core that 100,000 payments on the schedule take while 10 questions per second are put.
func BenchmarkPoller_idle(b *testing.B) {
	p, ids := filled(b)
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	const span = 2 * time.Second
	for range b.N {
		before := cpuTime(b)
		for i := range 20 {
			p.Set(ids[i], time.Now().Add(span*time.Duration(i)/20), "poll", dollr.UrgentOld)
		}
		time.Sleep(span)
		b.ReportMetric(float64(cpuTime(b)-before)/float64(span)*100, "%core")
	}
	cancel()
	running.Wait()
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
