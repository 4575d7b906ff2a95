package callback_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// switchable is a backend that is down or up.
func switchable(up *atomic.Bool) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
}

func TestBreaker_waitingUsesUpNoAttemptAndRecoveryIsPaced(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		const callbacks = 1000
		var up atomic.Bool
		backend := b.backend("shop.example", switchable(&up))
		for i := range callbacks {
			b.queue(fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), shop)
		}
		var states []string
		opts := b.options()
		opts.PerEndpoint = 8
		opts.OnBreaker = func(_, state string) { states = append(states, state) }
		_, stop := b.run(b.box, opts)
		time.Sleep(time.Hour)
		synctest.Wait()

		// Five failures open it (and what was in flight beside them); then one probe every ten seconds.
		probes := len(backend.requests())
		if most := 2*8 + 3600/10 + 1; probes < 300 || probes > most {
			t.Errorf("the failing backend saw %d requests in an hour, want 300 to %d", probes, most)
		}
		if n := b.box.dueBefore(time.Now().Add(-time.Minute)); n > 0 {
			t.Errorf("%d callbacks stayed due for over a minute, want their due times moved", n)
		}

		up.Store(true)
		recovered := time.Since(b.start)
		time.Sleep(45 * time.Second) // a probe within 10 s, then 50 a second
		synctest.Wait()
		stop()
		if n := b.box.count(callback.Delivered); n != callbacks {
			t.Errorf("%d of %d delivered 45 s after the backend recovered, want all", n, callbacks)
		}
		perSecond := map[time.Duration]int{}
		for _, r := range backend.requests()[probes:] {
			perSecond[(r.after-recovered).Truncate(time.Second)]++
		}
		if len(perSecond) < 2 {
			t.Errorf("all came within %d second, want them paced", len(perSecond))
		}
		if got := strings.Join(states[:3], " ") + " … " + states[len(states)-1]; got != "open half-open open … closed" {
			t.Errorf("breaker went %s, want open half-open open … closed", got)
		}
	})
}

func TestBreaker_threeDaysDownLoseNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		var up atomic.Bool
		b.backend("shop.example", switchable(&up))
		s, stop := b.run(b.box, b.options())
		n := 0
		for range 3 * 24 {
			n++
			b.queue(fmt.Sprint("cb_", n), fmt.Sprint("pay_", n), shop)
			s.Wake(shop)
			time.Sleep(time.Hour)
		}
		up.Store(true)
		b.queue("last", "pay_last", shop)
		s.Wake(shop)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		stop()
		if got := b.box.count(callback.Delivered); got != n+1 {
			t.Errorf("%d of %d delivered half a minute after the recovery, %d dead; want all delivered", got, n+1, b.box.count(callback.Dead))
		}
	})
}

func TestBreaker_openForOverAWeekEndsAsDead(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		b.backend("shop.example", code(503))
		const callbacks = 600 // more than there are probes in an hour
		queued := time.Now().Add(time.Hour - callback.MaxAge)
		for i := range callbacks {
			if err := b.box.Queue(t.Context(), fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), shop, []byte(`{}`), queued); err != nil {
				t.Fatal(err)
			}
		}
		_, stop := b.run(b.box, b.options())
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n := b.box.count(callback.Pending); n != callbacks {
			t.Errorf("%d callbacks are pending just before seven days have passed, want all %d", n, callbacks)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		stop()
		if n := b.box.count(callback.Dead); n != callbacks {
			t.Errorf("%d of %d dead after seven days, want all", n, callbacks)
		}
	})
}

func TestBreaker_isOfOneEndpointOnly(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		const broken = "http://broken.example/"
		b.backend("broken.example", code(500))
		b.backend("shop.example", ok)
		for i := range 50 {
			b.queue(fmt.Sprint("broken_", i), fmt.Sprint("pay_b", i), broken)
			b.queue(fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), shop)
		}
		b.run(b.box, b.options(shop, broken))
		synctest.Wait()
		if n := b.box.count(callback.Delivered); n != 50 {
			t.Errorf("%d of the healthy endpoint's 50 callbacks delivered at once, want all", n)
		}
	})
}

func TestSender_renewsTheLeaseWhileARequestIsInFlight(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", func(int, http.ResponseWriter, *http.Request) { time.Sleep(14 * time.Second) })
		b.queue("cb_1", "pay_1", shop)
		b.run(b.box, b.options())
		b.run(b.box, b.options()) // another replica
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(backend.requests()); n != 1 {
			t.Errorf("backend saw %d requests while the first was in flight, want 1", n)
		}
		b.wantState("cb_1", callback.Delivered, 1)
	})
}

func TestSender_stopLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", func(int, http.ResponseWriter, *http.Request) { time.Sleep(12 * time.Second) })
		b.queue("in flight", "pay_1", shop)
		_, stop := b.run(b.box, b.options())
		time.Sleep(time.Second)
		b.queue("too late", "pay_2", shop)
		stop()
		if took := time.Since(b.start); took != 12*time.Second {
			t.Errorf("stopping took until %s, want until the answer at 12s", took)
		}
		b.wantState("in flight", callback.Delivered, 1)
		b.wantState("too late", callback.Pending, 0)
		if n := len(backend.requests()); n != 1 {
			t.Errorf("backend saw %d requests, want none after the stop", n)
		}
	})
}

func TestSender_stopCutsOffWhatOutlastsTheDrain(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		b.backend("shop.example", hang)
		b.queue("cb_1", "pay_1", shop)
		opts := b.options()
		opts.Drain = 3 * time.Second
		_, stop := b.run(b.box, opts)
		time.Sleep(time.Second)
		stop()
		if took := time.Since(b.start); took != 4*time.Second {
			t.Errorf("stopping took until %s, want 3s from the stop at 1s", took)
		}
		b.wantState("cb_1", callback.Pending, 0)
		ds, err := b.box.Claim(t.Context(), shop, 1, time.Now(), time.Second)
		if err != nil || len(ds) != 1 || ds[0].Attempt != 1 {
			t.Errorf("what was cut off = %+v, %v; want it due at once, at attempt 1", ds, err)
		}
	})
}

// The database is away when the sender stops: results are not stored, and that is not waited for beyond the grace.
func TestSender_stopDoesNotWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		box := &flaky{Outbox: b.box}
		b.backend("shop.example", func(int, http.ResponseWriter, *http.Request) {
			time.Sleep(3500 * time.Millisecond)
			box.down(time.Minute)
		})
		b.queue("cb_1", "pay_1", shop)
		opts := b.options()
		opts.Drain = 4 * time.Second
		_, stop := b.run(box, opts)
		time.Sleep(time.Second)
		stop()
		if took := time.Since(b.start); took != 6*time.Second {
			t.Errorf("stopping took until %s, want 5 s from the stop at 1 s", took)
		}
		b.wantState("cb_1", callback.Pending, 0)
	})
}

func TestSender_logsWithoutSecretsOrQueries(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		const hidden = "http://user:sesame@shop.example/hooks?token=open-sesame"
		b.backend("shop.example", code(500))
		for i := range 5 {
			b.queue(fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), hidden)
		}
		var log syncBuffer
		opts := b.options(hidden)
		opts.Schedule = []time.Duration{0, time.Second}
		opts.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		_, stop := b.run(b.box, opts)
		time.Sleep(time.Minute)
		stop()
		text := log.String()
		for _, want := range []string{"callback not acknowledged", "breaker open", "callback dead", "http://shop.example/hooks", "cb_0", "pay_0"} {
			if !strings.Contains(text, want) {
				t.Errorf("log lacks %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "sesame") {
			t.Errorf("log shows the query or the user:\n%s", text)
		}
	})
}

func TestSender_reportsOptionsErrorsWithoutSecrets(t *testing.T) {
	t.Parallel()
	_, err := callback.New(&memory{}, callback.Options{URLs: []string{"http://a:sesame@x.example", "http://a:sesame@x.example", "http://b:sesame@%zz"}})
	if err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("New error = %v, want one without the password", err)
	}
}

var errDown = errors.New("database is down")

// syncBuffer is a bytes.Buffer for many goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
