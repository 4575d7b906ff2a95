package callback_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// frail is an outbox whose process can die or whose database can go away: before or after one call, and for good.
type frail struct {
	callback.Outbox

	mu     sync.Mutex
	calls  int // made so far
	dieAt  int // the call at which it dies; 0: never
	after  bool
	dead   bool
	onDead func()
}

// do passes one call through, unless the process is dead or dies here.
func (f *frail) do(call func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errDown
	}
	f.calls++
	if f.calls != f.dieAt {
		return call()
	}
	if f.after {
		_ = call()
	}
	f.dead = true
	f.onDead()
	return errDown
}

func (f *frail) Claim(ctx context.Context, url string, limit int, now time.Time, lease time.Duration) (ds []callback.Delivery, err error) {
	err = f.do(func() error { ds, err = f.Outbox.Claim(ctx, url, limit, now, lease); return err })
	if err != nil {
		return nil, err
	}
	return ds, nil
}

func (f *frail) Finish(ctx context.Context, d callback.Delivery, r callback.Result) error {
	return f.do(func() error { return f.Outbox.Finish(ctx, d, r) })
}

func (f *frail) Renew(ctx context.Context, ds []callback.Delivery, until time.Time) error {
	return f.do(func() error { return f.Outbox.Renew(ctx, ds, until) })
}

func (f *frail) Postpone(ctx context.Context, url string, now, until time.Time) error {
	return f.do(func() error { return f.Outbox.Postpone(ctx, url, now, until) })
}

func (f *frail) Hasten(ctx context.Context, url string, triedBefore, now time.Time, limit int) (n int, err error) {
	err = f.do(func() error { n, err = f.Outbox.Hasten(ctx, url, triedBefore, now, limit); return err })
	return n, err
}

func (f *frail) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

// The process dies at each of its writes in turn, before or after it is done; another one goes on. Nothing is
// lost, nothing is invented, and what was interrupted starts again within the lease and the scan.
func TestSender_crashAtEachWriteLosesNothing(t *testing.T) {
	t.Parallel()
	for dieAt := 1; dieAt <= 24; dieAt++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d after=%t", dieAt, after), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(b *bed) { crash(b, dieAt, after) })
			})
		}
	}
}

func crash(b *bed, dieAt int, after bool) {
	b.t.Helper()
	const callbacks = 10
	var known sync.Map
	backend := b.backend("shop.example", func(_ int, w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		if _, again := known.LoadOrStore(r.Header.Get("webhook-id"), true); !again {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	for i := range callbacks {
		b.queue(fmt.Sprint("cb_", i), fmt.Sprint("pay_", i/2), shop) // two of each payment
	}
	opts := b.options()
	opts.PerEndpoint = 3
	opts.Drain = time.Millisecond
	ctx, cancel := context.WithCancel(b.t.Context())
	first := &frail{Outbox: b.box, dieAt: dieAt, after: after, onDead: cancel}
	doomed, err := callback.New(first, opts)
	if err != nil {
		b.t.Fatal(err)
	}
	go func() { _ = doomed.Run(ctx) }()
	<-ctx.Done() // it has died; its outbox refuses everything from now on
	died := time.Since(b.start)

	_, stop := b.run(b.box, b.options())
	time.Sleep(10*time.Minute - died)
	synctest.Wait()
	stop()
	if n := b.box.count(callback.Delivered); n != callbacks {
		b.t.Errorf("%d of %d delivered, want all", n, callbacks)
	}
	came := checkReceived(b, backend, callbacks)
	for i := 0; i < callbacks; i += 2 {
		if came[fmt.Sprint("cb_", i)] > came[fmt.Sprint("cb_", i+1)] {
			b.t.Errorf("cb_%d came after cb_%d of the same payment", i, i+1)
		}
	}
	for _, r := range b.box.rows {
		if n := len(r.attempts); n == 0 || n > 2 {
			b.t.Errorf("%s used up %d attempts, want the first (unless the crash took its record) and the second", r.ID, n)
		}
	}
}

// checkReceived shows that every callback came, always with its own bytes, and tells which request was its first.
func checkReceived(b *bed, backend *backend, callbacks int) (first map[string]int) {
	b.t.Helper()
	first = map[string]int{}
	for i, r := range backend.requests() {
		if want := `{"id":"` + r.id + `"}`; r.body != want {
			b.t.Errorf("%s came with body %s, want %s", r.id, r.body, want)
		}
		if _, ok := first[r.id]; !ok {
			first[r.id] = i
		}
	}
	if len(first) != callbacks {
		b.t.Errorf("backend saw %d different callbacks, want %d", len(first), callbacks)
	}
	return first
}

func TestSender_deadSendersCallbacksAreTakenOverWithinTheLease(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				hang(n, w, r)
			}
		})
		b.queue("cb_1", "pay_1", shop)
		doomed := &frail{Outbox: b.box}
		b.run(doomed, b.options())
		time.Sleep(5 * time.Second)
		doomed.kill() // after one renewal
		b.run(b.box, b.options())
		time.Sleep(20 * time.Second)
		synctest.Wait()
		b.wantState("cb_1", callback.Delivered, 1)
		seen := backend.requests()
		if len(seen) != 2 || seen[1].after < 10*time.Second || seen[1].after > 15*time.Second {
			t.Errorf("backend saw %d requests, want a second one within 10 s of the crash and not before the lease's end", len(seen))
		}
	})
}

// The database is away for a minute while the backend acknowledges: the callback may come twice, with one id.
func TestSender_databaseDownForAMinute(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		box := &flaky{Outbox: b.box}
		backend := b.backend("shop.example", func(n int, _ http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				box.down(time.Minute)
			}
		})
		b.queue("cb_1", "pay_1", shop)
		b.run(box, b.options())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.wantState("cb_1", callback.Delivered, 1)
		seen := backend.requests()
		if len(seen) != 2 || seen[1].id != "cb_1" || seen[1].after > 63*time.Second {
			t.Errorf("backend saw %d requests, want the second with the same id within 2 s of the recovery", len(seen))
		}
	})
}

// Random answers, random delays, no wake-up at all, a fake clock: nothing starts before it is due or more than two
// seconds late, and everything ends.
func TestSender_randomSchedules(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(b *bed) { randomRun(b, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func randomRun(b *bed, rng *rand.Rand) {
	b.t.Helper()
	var mu sync.Mutex // guards rng, which answers and jitter share
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	backend := b.backend("shop.example", func(n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case n%2 == 0: // never five failures in a row: breakers have their own tests
		case n%7 == 0:
			hang(n, w, r)
		default:
			w.WriteHeader([]int{404, 500, 503, 429, 204}[random(5)])
		}
	})
	box := &punctual{Outbox: b.box, tb: b.t, due: map[string]time.Time{}}
	opts := b.options()
	opts.Rand = func() float64 { return float64(random(1000)) / 1000 }
	opts.OnBreaker = func(_, state string) {
		b.t.Errorf("breaker is %s, want it closed all the time", state)
	}
	opts.Schedule = make([]time.Duration, 2+random(6))
	for i := 1; i < len(opts.Schedule); i++ {
		opts.Schedule[i] = time.Duration(random(600_000)) * time.Millisecond
	}
	_, stop := b.run(box, opts)
	callbacks := 20 + random(20)
	for i := range callbacks {
		time.Sleep(time.Duration(random(5000)) * time.Millisecond)
		b.queue(fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), shop)
	}
	time.Sleep(4 * time.Hour)
	synctest.Wait()
	stop()
	if n := b.box.count(callback.Pending); n != 0 {
		b.t.Errorf("%d callbacks are pending after their schedule, want none", n)
	}
	checkReceived(b, backend, callbacks)
}

// punctual is an outbox that watches when its callbacks are claimed.
type punctual struct {
	callback.Outbox

	tb  testing.TB
	mu  sync.Mutex
	due map[string]time.Time // by id, once attempted
}

func (p *punctual) Claim(ctx context.Context, url string, limit int, now time.Time, lease time.Duration) ([]callback.Delivery, error) {
	ds, err := p.Outbox.Claim(ctx, url, limit, now, lease)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range ds {
		due, tried := p.due[d.ID]
		if !tried {
			due = d.QueuedAt
		}
		if late := time.Since(due); late < 0 || late > 2*time.Second {
			p.tb.Errorf("%s attempt %d started %s after it was due, want 0 to 2s", d.ID, d.Attempt, late)
		}
	}
	return ds, err
}

func (p *punctual) Finish(ctx context.Context, d callback.Delivery, r callback.Result) error {
	err := p.Outbox.Finish(ctx, d, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due[d.ID] = r.NextAt
	return err
}

// flaky is an outbox whose database is away now and then.
type flaky struct {
	callback.Outbox

	mu    sync.Mutex
	until time.Time
}

func (f *flaky) down(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = time.Now().Add(d)
}

func (f *flaky) isDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.until)
}

func (f *flaky) NextDue(ctx context.Context, url string) (time.Time, error) {
	if f.isDown() {
		return time.Time{}, errDown
	}
	return f.Outbox.NextDue(ctx, url)
}

func (f *flaky) Finish(ctx context.Context, d callback.Delivery, r callback.Result) error {
	if f.isDown() {
		return errDown
	}
	return f.Outbox.Finish(ctx, d, r)
}

func (f *flaky) Renew(ctx context.Context, ds []callback.Delivery, until time.Time) error {
	if f.isDown() {
		return errDown
	}
	return f.Outbox.Renew(ctx, ds, until)
}
