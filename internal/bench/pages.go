package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// figures are of one server with one number of pages.
type figures struct {
	bytes, resident int64   // memory of a page, and of the process with all of them
	peak            int64   // of the process while they all come back
	idle            float64 // share of a core while nothing happens
	back            time.Duration
	busy, calm      []time.Duration // from the socket that brings a hint to the page, see [side.changes]
	asked           []time.Duration // the same as busy, of a floor beside which Dollr is asked, see [side.asking]
	callbacks       []time.Duration // from the terminal hint to the backend
}

// board is where the customers write down what they see: when which page first saw which status.
type board struct {
	mu   sync.Mutex
	seen map[string][]time.Time // by status, by page
}

func newBoard(pages int) *board {
	return &board{seen: map[string][]time.Time{processing: make([]time.Time, pages), completed: make([]time.Time, pages), failed: make([]time.Time, pages)}}
}

// changing is how many of the payments realtime tells of: as many as a p99 needs that is not a single one's.
func changing(pages int) int { return min(pages, 1000) }

const processing, completed, failed = "PROCESSING", "COMPLETED", "FAILED"

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

// side is a server with its pages and all that is around it.
type side struct {
	figures

	world    *world
	server   *process
	payments []payment
	seen     *board
	pages    *crowd
	after    func(payment) // each change; nil for nothing
}

// floorSide starts a floor whose pages are to be opened.
func floorSide(ctx context.Context, n int) (*side, error) {
	w := newWorld()
	server, err := w.startFloor(ctx)
	if err != nil {
		w.close()
		return nil, err
	}
	s := &side{world: w, server: server}
	s.payments, err = w.followPages(ctx, server, n)
	return s, err
}

// relaySide starts a relay whose pages are to be opened.
func relaySide(ctx context.Context, n int, binary, database string) (*side, error) {
	w := newWorld()
	relay, err := w.startRelay(ctx, binary, database)
	if err != nil {
		w.close()
		return nil, err
	}
	s := &side{world: w, server: relay}
	s.payments, err = w.registerPages(ctx, relay, n)
	return s, err
}

// end is for nil, too.
func (s *side) end() {
	if s == nil {
		return
	}
	if s.pages != nil {
		s.pages.cut()
	}
	s.server.kill()
	s.world.close()
}

// open opens the pages, as a crowd that comes one after the other.
func (s *side) open(ctx context.Context) error {
	s.seen = newBoard(len(s.payments))
	tokens := make([]string, len(s.payments))
	for i, p := range s.payments {
		tokens[i] = p.Token
	}
	s.pages = newCrowd(s.server.Public, tokens, s.seen.hear)
	_, err := s.pages.open(ctx, 64)
	return err
}

// registerPages makes a payment for each page, the first of them heard of by realtime, and returns when nothing more happens to them.
func (w *world) registerPages(ctx context.Context, relay *process, n int) ([]payment, error) {
	live, err := w.register(ctx, relay, dollrtest.Collection, "PENDING", changing(n), 32)
	if err != nil {
		return nil, err
	}
	others, err := w.register(ctx, relay, dollrtest.Payout, "PENDING", n-changing(n), 32)
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

// stand measures the open pages while nothing happens, cuts them, opens them again, and cuts them.
func (s *side) stand(ctx context.Context) error {
	before, err := s.server.resident()
	if err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	if s.resident, err = s.server.resident(); err != nil {
		return err
	}
	s.bytes = (s.resident - before) / int64(len(s.payments))
	cpu, err := s.server.cpu()
	if err != nil {
		return err
	}
	const quiet = 25 * time.Second // one ping for each page
	time.Sleep(quiet)
	after, err := s.server.cpu()
	if err != nil {
		return err
	}
	s.idle = float64(after-cpu) / float64(quiet)
	s.pages.cut()
	peak := s.server.watch(ctx)
	s.back, err = s.pages.open(ctx, len(s.payments))
	s.peak = peak()
	s.pages.cut()
	return err
}

// changes opens the pages and changes the payments that realtime tells of, twice: all at the rate of a busy minute, and then each to its end,
// so slowly that one is through before the next begins.
func (s *side) changes(ctx context.Context, c *promises) (err error) {
	if err := s.open(ctx); err != nil {
		return err
	}
	time.Sleep(6 * time.Second) // the crowd has come: what it left behind is tidied up
	if s.busy, err = s.change(ctx, processing, c.Rate); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // the truth about it
	if s.calm, err = s.change(ctx, completed, c.Ends); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	return s.pages.err()
}

// asking has Dollr asked about each change a moment after it, as whoever runs a floor has to in some way: then the machine has the
// work of the relay's questions, but for what the relay does with the answers.
func (s *side) asking(ctx context.Context, c *promises) (err error) {
	client, err := dollr.New(dollr.Options{
		BaseURL: s.world.server.URL, ClientID: dollrtest.ClientID, ClientSecret: secret.New(dollrtest.ClientSecret), Rate: 10000,
	})
	if err != nil {
		return err
	}
	if err := client.CheckCredentials(ctx); err != nil {
		return err
	}
	var questions errgroup.Group
	s.after = func(p payment) {
		questions.Go(func() error {
			time.Sleep(time.Millisecond)
			_, err := client.Status(ctx, dollr.Subject{Operation: dollrtest.Collection, ReferenceID: p.Reference}, nil)
			return err
		})
	}
	s.asked, err = s.change(ctx, failed, c.Rate)
	return errors.Join(err, questions.Wait())
}

// called is how long the callbacks about the ends took.
func (s *side) called() (took []time.Duration, err error) {
	delivered, live := s.world.delivered(), s.payments[:changing(len(s.payments))]
	for _, p := range live {
		for _, callback := range delivered[p.Reference] {
			took = append(took, callback.at.Sub(s.world.sentAt(p.Reference)))
		}
	}
	if len(took) != len(live) {
		err = fmt.Errorf("%d callbacks for %d payments", len(took), len(live))
	}
	return took, err
}

// change gives the payments that realtime tells of a status at the wanted rate, and returns how long each took to its page.
func (s *side) change(ctx context.Context, status string, rate int) ([]time.Duration, error) {
	payments := s.payments[:changing(len(s.payments))]
	began := time.Now()
	for i, p := range payments {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		if err := s.world.dollr.SetStatus(dollrtest.ExecutionKey(dollrtest.Collection, p.Reference), status); err != nil {
			return nil, err
		}
		if s.after != nil {
			s.after(p)
		}
	}
	took := make([]time.Duration, len(payments))
	return took, await(ctx, status+" on every page", func() (bool, error) {
		s.seen.mu.Lock()
		defer s.seen.mu.Unlock()
		for i, p := range payments {
			at := s.seen.seen[status][i]
			if at.IsZero() {
				return false, nil
			}
			took[i] = at.Sub(s.world.sentAt(p.Reference))
		}
		return true, nil
	})
}
