package callback

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// lease is how long a claim holds without being renewed: a crashed sender's callbacks wait that long. It is
	// renewed three times as often, so that one lost renewal does no harm.
	lease = 10 * time.Second
	// scanEvery bounds how late a callback starts whose wake-up was lost.
	scanEvery = 2 * time.Second
	// storeTimeout bounds each call of the outbox.
	storeTimeout = 5 * time.Second
	buryEvery    = time.Minute
)

// Sender delivers the callbacks of an outbox.
type Sender struct {
	outbox    Outbox
	opts      Options
	endpoints map[string]*endpoint // by URL
}

// New checks the options, naming everything that is wrong with them, and starts nothing.
func New(outbox Outbox, opts Options) (*Sender, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("callback sender: %w", err)
	}
	s := &Sender{outbox: outbox, opts: opts.withDefaults(), endpoints: map[string]*endpoint{}}
	for _, u := range s.opts.URLs {
		s.endpoints[u] = newEndpoint(u, outbox, s.opts)
	}
	return s, nil
}

// Run delivers until ctx ends, then claims nothing new, lets requests in flight end within [Options.Drain], gives
// back what was cut off, and returns nil.
func (s *Sender) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, e := range s.endpoints {
		running.Go(func() { e.run(ctx) })
	}
	running.Go(func() { s.buryOld(ctx) })
	running.Wait()
	return nil
}

// Wake makes the Sender look for due callbacks of url now. Call it after the commit that put one there. It never
// blocks, and a lost one costs two seconds at most.
func (s *Sender) Wake(url string) {
	if e, ok := s.endpoints[url]; ok {
		select {
		case e.wake <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}

// buryOld gives up callbacks older than MaxAge: those behind a breaker that never closed, and those of a URL that
// is no longer configured.
func (s *Sender) buryOld(ctx context.Context) {
	tick := time.NewTicker(buryEvery)
	defer tick.Stop()
	for {
		now := s.opts.Now()
		call, cancel := context.WithTimeout(ctx, storeTimeout)
		buried, err := s.outbox.Bury(call, now.Add(-MaxAge), now)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.opts.Logger.WarnContext(ctx, "old callbacks not looked for: store failed", slog.Any("err", err))
		case buried > 0:
			s.opts.Logger.ErrorContext(ctx, "callbacks dead of age", slog.Int("count", buried), slog.Duration("max_age", MaxAge))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
