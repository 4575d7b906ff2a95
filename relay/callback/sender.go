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
	tidyEvery    = time.Minute
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
	running.Go(func() { s.tidy(ctx) })
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

// tidy looks after callbacks that no endpoint looks after: it readdresses those of a URL that is no longer configured, and gives
// up those older than MaxAge.
func (s *Sender) tidy(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	stranded := 0
	for {
		stranded = s.readdress(ctx, stranded)
		s.bury(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// readdress returns how many callbacks have a URL that nobody serves, and says so when they have become more.
func (s *Sender) readdress(ctx context.Context, before int) int {
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	moved, stranded, err := s.outbox.Readdress(call, s.opts.URLs, s.opts.Now())
	if moved > 0 {
		s.opts.Logger.WarnContext(ctx, "callbacks of a URL that is not configured any more go to the default one", slog.Int("count", moved))
		s.Wake(s.opts.URLs[0])
	}
	if stranded > before {
		s.opts.Logger.ErrorContext(ctx, "callbacks wait for a URL that their payments chose and that is not configured any more: configure it again, "+
			"or they die of age", slog.Int("count", stranded), slog.Duration("max_age", MaxAge))
	}
	if err != nil && ctx.Err() == nil {
		s.opts.Logger.WarnContext(ctx, "callbacks not readdressed: store failed", slog.Any("err", err))
		return before
	}
	return stranded
}

func (s *Sender) bury(ctx context.Context) {
	now := s.opts.Now()
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	buried, err := s.outbox.Bury(call, now.Add(-MaxAge), now)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.opts.Logger.WarnContext(ctx, "old callbacks not looked for: store failed", slog.Any("err", err))
	case buried > 0:
		s.opts.Logger.ErrorContext(ctx, "callbacks dead of age", slog.Int("count", buried), slog.Duration("max_age", MaxAge))
	}
}
