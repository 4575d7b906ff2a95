package callback_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// These measure the Sender alone, over loopback, on an outbox in memory; what the database adds is measured with
// the store.

// benchSender runs a Sender to a local receiver that tells of each arrival, and each stored result.
func benchSender(b *testing.B, box *memory) (s *callback.Sender, url string, arrived, stored <-chan time.Time) {
	b.Helper()
	arrivals, results := make(chan time.Time, 4096), make(chan time.Time, 4096)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrivals <- time.Now() }))
	secret, err := callback.ParseSecret(vectorSecret)
	if err != nil {
		b.Fatal(err)
	}
	s, err = callback.New(box, callback.Options{
		URLs: []string{srv.URL}, Secrets: []callback.Secret{secret}, Logger: slog.New(slog.DiscardHandler),
		OnResult: func(callback.Delivery, callback.Result) { results <- time.Now() },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("Run = %v, want nil", err)
		}
		srv.Close()
	})
	return s, srv.URL, arrivals, results
}

// BenchmarkSender_latency is the time from the commit's wake-up until the request is at the receiver.
func BenchmarkSender_latency(b *testing.B) {
	box := &memory{}
	s, url, arrived, stored := benchSender(b, box)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		box.forget()
		start := time.Now()
		if err := box.Queue(b.Context(), fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), url, []byte(`{}`), start); err != nil {
			b.Fatal(err)
		}
		s.Wake(url)
		took = append(took, (<-arrived).Sub(start))
		<-stored
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkSender_drain is the rate at which a backlog of 1,000 callbacks leaves.
func BenchmarkSender_drain(b *testing.B) {
	const backlog = 1000
	box := &memory{}
	s, url, arrived, stored := benchSender(b, box)
	for i := 0; b.Loop(); i++ {
		box.forget()
		for j := range backlog {
			id := fmt.Sprint(i, "_", j)
			if err := box.Queue(b.Context(), id, id, url, []byte(`{}`), time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		s.Wake(url)
		for range backlog {
			<-arrived
			<-stored
		}
	}
	b.ReportMetric(float64(b.N*backlog)/b.Elapsed().Seconds(), "callbacks/s")
}

// forget drops what is finished.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return r.state != callback.Pending })
}
