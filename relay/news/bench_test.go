package news_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/news"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// BenchmarkBoard measures how long news takes from one replica to another through PostgreSQL, at a rate and flat out.
func BenchmarkBoard(b *testing.B) {
	cluster, err := pgtest.Start(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cluster.Stop() })
	for _, listeners := range []int{2, 8} {
		for _, perSecond := range []int{100, 1000, 5000, 0} {
			name := fmt.Sprintf("listeners=%d/rate=%d", listeners, perSecond)
			if perSecond == 0 {
				name = fmt.Sprintf("listeners=%d/flat_out", listeners)
			}
			b.Run(name, func(b *testing.B) { benchmarkBoard(b, cluster.Database(b), listeners, perSecond) })
		}
	}
}

func benchmarkBoard(b *testing.B, url string, listeners, perSecond int) {
	db, err := store.Open(b.Context(), url, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	leases, _ := db.Leases()
	ctx, stop := context.WithCancel(b.Context())
	var running, ready sync.WaitGroup
	defer running.Wait()
	defer stop()

	var mu sync.Mutex
	var took []time.Duration
	all := make(chan struct{})
	board := func(id string, first bool) *news.Board {
		ready.Add(1)
		board := news.New(news.Options{
			ID: id, Channel: leases, Max: store.MaxNews, Logger: slog.New(slog.DiscardHandler), CaughtUp: ready.Done,
			Heard: func(i news.Item) {
				if !first {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if took = append(took, time.Duration(time.Now().UnixNano()-i.Payment.Revision)); len(took) == b.N {
					close(all)
				}
			},
		})
		running.Go(func() { _ = board.Run(ctx) })
		return board
	}
	teller := board("teller", false)
	for i := range listeners - 1 {
		board(fmt.Sprint("listener", i), i == 0)
	}
	ready.Wait()
	b.ResetTimer()
	began := time.Now()
	for i := range b.N {
		teller.TellPayment(relay.News{ID: "pay_aaaaaaaaaaaaaaaaaaaaaaaa", Revision: time.Now().UnixNano(), Status: &relay.PageStatus{
			Version: 3, Status: "COMPLETED", Outcome: relay.Succeeded, Verified: true, Final: true, Via: relay.ViaVerify, At: began,
		}})
		if perSecond > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		} else if i%2000 == 1999 {
			time.Sleep(time.Millisecond) // what waits is bounded
		}
	}
	<-all
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "changes/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
