package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// These run the real Sender on the real store against receivers on loopback: what a merchant's backend gets,
// from the commit of an outcome until the request is there.

// post is a store with a Sender at work.
type post struct {
	*store.Store

	sender *callback.Sender
	stored <-chan callback.Delivery // whose result was stored
}

// deliver starts a Sender from a fresh database to the URLs.
func deliver(tb testing.TB, urls ...string) post {
	tb.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(tb.TempDir(), "relay.db"), store.Options{CallbackURLs: urls})
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := callback.ParseSecret(callback.NewSecretText())
	if err != nil {
		tb.Fatal(err)
	}
	stored := make(chan callback.Delivery, 1<<14)
	sender, err := callback.New(s, callback.Options{
		URLs: urls, Secrets: []callback.Secret{secret}, Logger: slog.New(slog.DiscardHandler), Drain: 10 * time.Millisecond,
		OnResult: func(d callback.Delivery, _ callback.Result) { stored <- d },
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run() = %v, want nil", err)
		}
		if err := s.Close(); err != nil {
			tb.Errorf("Close() = %v", err)
		}
	})
	return post{s, sender, stored}
}

// settle registers a payment whose callbacks go to url, commits its success and wakes the Sender. It
// returns the payment's id and when the commit had returned.
func (p post) settle(tb testing.TB, url string) (id string, committed time.Time) {
	tb.Helper()
	g := collection()
	g.SourceID, g.CallbackURL = 0, url
	_, _, _, err := p.Register(tb.Context(), g.ID(), func(*relay.Payment) (relay.Payment, []relay.Effect, error) {
		opened, effects := g.Open(time.Hour, time.Now())
		return opened, effects, nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if _, _, err := observe(tb.Context(), p.Store, g.ID(), completed(), time.Now()); err != nil {
		tb.Fatal(err)
	}
	committed = time.Now()
	p.sender.Wake(url)
	return g.ID(), committed
}

// arrival is a callback at a receiver.
type arrival struct {
	payment string
	at      time.Time
}

// receiver acknowledges at once and tells of each arrival.
func receiver(tb testing.TB) (url string, arrived <-chan arrival) {
	tb.Helper()
	arrivals := make(chan arrival, 1<<14)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		var body struct{ Data struct{ ID string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			tb.Errorf("a callback's body: %v", err)
		}
		arrivals <- arrival{body.Data.ID, at}
		w.WriteHeader(http.StatusNoContent)
	}))
	tb.Cleanup(srv.Close)
	return srv.URL, arrivals
}

// latencies settles n payments one after the other and returns how long each callback took, sorted.
func (p post) latencies(tb testing.TB, url string, arrived <-chan arrival, n int) []time.Duration {
	tb.Helper()
	var took []time.Duration
	for range n {
		id, committed := p.settle(tb, url)
		select {
		case a := <-arrived:
			if a.payment != id {
				tb.Fatalf("the callback of %s came, want that of %s", a.payment, id)
			}
			took = append(took, a.at.Sub(committed))
		case <-time.After(20 * time.Second):
			tb.Fatal("no callback came")
		}
		for d := range p.stored {
			if d.PaymentID == id {
				break
			}
		}
	}
	slices.Sort(took)
	return took
}

// percentile of sorted durations.
func percentile(sorted []time.Duration, share int) time.Duration {
	return sorted[min(len(sorted)*share/100, len(sorted)-1)]
}

// A backend that hangs costs a healthy one less than 10 ms (what is asserted leaves room for a busy machine).
func TestDelivery_hangingEndpointSlowsNobody(t *testing.T) {
	t.Parallel()
	const rounds = 200
	healthy, arrived := receiver(t)
	hanging := make(chan struct{}, 1<<10)
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client has left
		hanging <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(stuck.Close)
	p := deliver(t, healthy, stuck.URL)

	before := p.latencies(t, healthy, arrived, rounds)
	for range 300 { // ten times what its workers can hold
		p.settle(t, stuck.URL)
	}
	for range 32 { // all of them hang
		<-hanging
	}
	during := p.latencies(t, healthy, arrived, rounds)
	t.Logf("healthy endpoint alone: p50 %v, p99 %v; beside a hanging one: p50 %v, p99 %v",
		percentile(before, 50), percentile(before, 99), percentile(during, 50), percentile(during, 99))
	if got := percentile(during, 50); got > percentile(before, 50)+50*time.Millisecond {
		t.Errorf("beside a hanging endpoint the median callback takes %v, alone %v; want at most 50ms more", got, percentile(before, 50))
	}
}

// BenchmarkDelivery_latency is the time from the commit of an outcome until its callback is at the receiver.
func BenchmarkDelivery_latency(b *testing.B) {
	url, arrived := receiver(b)
	p := deliver(b, url)
	var took []time.Duration
	for b.Loop() {
		took = append(took, p.latencies(b, url, arrived, 1)...)
	}
	slices.Sort(took)
	b.ReportMetric(float64(percentile(took, 50).Microseconds()), "p50-µs")
	b.ReportMetric(float64(percentile(took, 99).Microseconds()), "p99-µs")
}

// BenchmarkDelivery_drain is the rate at which a backlog leaves: claimed, sent, acknowledged and stored.
func BenchmarkDelivery_drain(b *testing.B) {
	for _, backlog := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			url, arrived := receiver(b)
			p := deliver(b, url)
			var took time.Duration
			for i := 0; b.Loop(); i++ {
				fill(b, p, url, fmt.Sprint(i), backlog)
				begin := time.Now()
				p.sender.Wake(url)
				for range backlog {
					<-arrived
					<-p.stored
				}
				took += time.Since(begin)
			}
			b.ReportMetric(float64(b.N*backlog)/took.Seconds(), "callbacks/s")
		})
	}
}

// fill puts a backlog into the outbox that is not due until all of it is there.
func fill(b *testing.B, p post, url, name string, backlog int) {
	b.Helper()
	ready := time.Now().Add(time.Duration(backlog) * 300 * time.Microsecond)
	var filling sync.WaitGroup
	for worker := range 16 {
		filling.Go(func() {
			for j := worker; j < backlog; j += 16 {
				id := name + "_" + fmt.Sprint(j)
				if err := (store.Box{Store: p.Store}).Queue(b.Context(), id, id, url, []byte(`{"data":{"id":"`+id+`"}}`), ready); err != nil {
					b.Error(err)
				}
			}
		})
	}
	filling.Wait()
	if late := time.Since(ready); late > 0 {
		b.Logf("the backlog was ready %v late", late)
	}
	time.Sleep(time.Until(ready))
}

// What is put off or buried is more than one transaction changes.
func TestDelivery_putsOffAndBuriesAll(t *testing.T) {
	t.Parallel()
	const many = 1201
	s := openSQLite(t, filepath.Join(t.TempDir(), "relay.db"))
	var filling sync.WaitGroup
	for worker := range 16 {
		filling.Go(func() {
			for i := worker; i < many; i += 16 {
				id := fmt.Sprint("cb_", i)
				if err := (store.Box{Store: s}).Queue(t.Context(), id, id, hook, []byte(`{}`), noon); err != nil {
					t.Error(err)
				}
			}
		})
	}
	filling.Wait()
	later := noon.Add(10 * time.Second)
	if err := s.Postpone(t.Context(), hook, noon, later); err != nil {
		t.Fatal(err)
	}
	if due, err := s.NextDue(t.Context(), hook); err != nil || !due.Equal(later) {
		t.Errorf("NextDue() = %v, %v; want %v, none left behind", due, err, later)
	}
	if err := s.Postpone(t.Context(), hook, later, noon); err != nil { // a clock that was set back ends, too
		t.Fatal(err)
	}
	if n, err := s.Bury(t.Context(), noon.Add(time.Hour), later); err != nil || n != many {
		t.Errorf("Bury() = %d, %v; want %d", n, err, many)
	}
	if due, err := s.NextDue(t.Context(), hook); err != nil || !due.IsZero() {
		t.Errorf("NextDue() = %v, %v; want none", due, err)
	}
}
