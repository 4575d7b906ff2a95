package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

// figures are of one server with one number of pages.
type figures struct {
	bytes, resident int64   // memory of a page, and of the process with all of them
	peak            int64   // of the process while they all come back
	idle            float64 // share of a core while nothing happens
	back            time.Duration
	hints           []time.Duration // from the socket that brings it to the page
	callbacks       []time.Duration // from the terminal hint to the backend
}

// board is where the customers write down what they see: when which page first saw which status.
type board struct {
	mu   sync.Mutex
	seen map[string][]time.Time // by status, by page
}

func newBoard(pages int) *board {
	return &board{seen: map[string][]time.Time{processing: make([]time.Time, pages), completed: make([]time.Time, pages)}}
}

const processing, completed = "PROCESSING", "COMPLETED"

func (b *board) hear(page int, message []byte) {
	now := time.Now()
	for status, at := range b.seen {
		if bytes.Contains(message, []byte(`"status":"`+status+`"`)) {
			b.mu.Lock()
			if at[page].IsZero() {
				at[page] = now
			}
			b.mu.Unlock()
		}
	}
}

// floorPages measures the floor.
func (c *promises) floorPages(ctx context.Context, n int) (f figures, err error) {
	w := newWorld()
	defer w.close()
	server, err := w.startFloor(ctx)
	if err != nil {
		return f, err
	}
	defer server.kill()
	payments, err := w.followPages(ctx, server, n)
	if err != nil {
		return f, err
	}
	return f, c.measure(ctx, w, server, payments, n/10, &f)
}

// relayPages measures the relay; a tenth of the payments are heard of by realtime.
func (c *promises) relayPages(ctx context.Context, n int, binary, database string) (f figures, err error) {
	w := newWorld()
	defer w.close()
	relay, err := w.startRelay(ctx, binary, database)
	if err != nil {
		return f, err
	}
	defer relay.kill()
	payments, err := w.registerPages(ctx, relay, n)
	if err != nil {
		return f, err
	}
	live := payments[:n/10]
	err = c.measure(ctx, w, relay, payments, n/10, &f)
	for _, p := range live {
		for _, callback := range w.delivered()[p.Reference] {
			f.callbacks = append(f.callbacks, callback.at.Sub(w.sentAt(p.Reference)))
		}
	}
	if err == nil && !c.Hints && len(f.callbacks) != len(live) {
		err = fmt.Errorf("%d callbacks for %d payments", len(f.callbacks), len(live))
	}
	return f, err
}

// registerPages makes a payment for each page, the first tenth heard of by realtime, and returns when nothing more happens to them.
func (w *world) registerPages(ctx context.Context, relay *process, n int) ([]payment, error) {
	live, err := w.register(ctx, relay, dollrtest.Collection, "PENDING", n/10, 32)
	if err != nil {
		return nil, err
	}
	others, err := w.register(ctx, relay, dollrtest.Payout, "PENDING", n-n/10, 32)
	if err != nil {
		return nil, err
	}
	err = await(ctx, "every collection is live", func() (bool, error) {
		values, err := relay.metrics(ctx)
		return values[`dollr_relay_payments{link="live"}`] == float64(len(live)), err
	})
	time.Sleep(5 * time.Second) // first questions are over
	return append(live, others...), err
}

// measure opens the pages, cuts them, opens them again, and changes the first of the payments.
func (c *promises) measure(ctx context.Context, w *world, server *process, payments []payment, changing int, f *figures) error {
	before, err := server.resident()
	if err != nil {
		return err
	}
	seen, tokens := newBoard(len(payments)), make([]string, len(payments))
	for i, p := range payments {
		tokens[i] = p.Token
	}
	pages := newCrowd(server.Public, tokens, seen.hear)
	defer pages.cut()
	if _, err := pages.open(ctx, 64); err != nil {
		return err
	}
	if !c.Hints {
		if err := f.stand(ctx, server, pages, before); err != nil {
			return err
		}
	}
	time.Sleep(6 * time.Second) // the crowd has come: what it left behind is tidied up
	if f.hints, err = c.hints(ctx, w, payments[:changing], seen, processing, c.Rate); err != nil {
		return err
	}
	if c.Hints {
		return pages.err()
	}
	time.Sleep(2 * time.Second) // the truth about it
	if _, err = c.hints(ctx, w, payments[:changing], seen, completed, c.Ends); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return pages.err()
}

// stand measures the open pages while nothing happens, cuts them, and opens them again.
func (f *figures) stand(ctx context.Context, server *process, pages *crowd, before int64) (err error) {
	time.Sleep(10 * time.Second)
	if f.resident, err = server.resident(); err != nil {
		return err
	}
	f.bytes = (f.resident - before) / int64(len(pages.tokens))
	cpu, err := server.cpu()
	if err != nil {
		return err
	}
	const quiet = 25 * time.Second // one ping for each page
	time.Sleep(quiet)
	after, err := server.cpu()
	if err != nil {
		return err
	}
	f.idle = float64(after-cpu) / float64(quiet)
	pages.cut()
	peak := server.watch(ctx)
	f.back, err = pages.open(ctx, len(pages.tokens))
	f.peak = peak()
	return err
}

// hints changes payments at the wanted rate, and returns how long each took to its page.
func (c *promises) hints(ctx context.Context, w *world, payments []payment, seen *board, status string, rate int) ([]time.Duration, error) {
	began := time.Now()
	for i, p := range payments {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		if err := w.dollr.SetStatus(dollrtest.ExecutionKey(dollrtest.Collection, p.Reference), status); err != nil {
			return nil, err
		}
	}
	took := make([]time.Duration, len(payments))
	return took, await(ctx, status+" on every page", func() (bool, error) {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		for i, p := range payments {
			at := seen.seen[status][i]
			if at.IsZero() {
				return false, nil
			}
			took[i] = at.Sub(w.sentAt(p.Reference))
		}
		return true, nil
	})
}
