package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Options tune a Relay. Durations that are zero take the contract's defaults.
type Options struct {
	WatchFor       time.Duration // how long a payment without a terminal status is watched; 72 h
	RealtimeWindow time.Duration // how long after registration it has a realtime channel; 10 min
	Logger         *slog.Logger
	Monitor        Monitor // required
	Now            func() time.Time
}

// Relay watches payments: it registers them, lets the feed and the schedule bring observations,
// commits what [Decide] says of them, and then tells pages and backends.
type Relay struct {
	opts     Options
	store    Store
	feed     Feed // nil without Supabase: polling only
	asker    Asker
	schedule Schedule
	hub      *Hub
	replicas Replicas                 // nil: this relay is the only one on its database
	reported func(callbackURL string) // wakes the sender of callbacks and the readers of the feed
	now      func() time.Time
	log      *slog.Logger

	hints   chan heardHint // waiting to be written
	follows *time.Timer    // pages have had their moment, see pagesFirst
	woken   chan struct{}
	reread  chan struct{} // there are touched ones
	behind  chan struct{} // news may have been lost

	mu        sync.Mutex
	heard     []heardHint // shown to pages, and nothing else yet
	watches   map[string]*watch
	wakeups   wakeups
	dollrDown bool            // the breaker is open
	storeDown bool            // the last transaction failed
	owned     map[string]bool // slots of payments, with replicas
	degraded  map[string]bool // slots whose owner cannot reach Dollr
	heldUntil time.Time       // end of the lease
	touched   map[string]bool // payments to be read again
	words     map[string]bool // unknown ones that were told
}

// Parts are what a Relay works with. Feed may be nil, and Replicas if the relay is the only one on its database.
type Parts struct {
	Store    Store
	Feed     Feed
	Asker    Asker
	Schedule Schedule
	Replicas Replicas
	Reported func(callbackURL string)
}

// New returns a Relay that does nothing before its Run.
func New(parts Parts, opts Options) (*Relay, error) {
	if parts.Store == nil || parts.Asker == nil || parts.Schedule == nil || parts.Reported == nil || opts.Monitor == nil {
		return nil, errors.New("relay: a store, an asker, a schedule, a listener for reports and a monitor are required")
	}
	if opts.WatchFor == 0 {
		opts.WatchFor = 72 * time.Hour
	}
	if opts.RealtimeWindow == 0 {
		opts.RealtimeWindow = 10 * time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	follows := time.NewTimer(time.Hour)
	follows.Stop()
	return &Relay{
		opts: opts, store: parts.Store, feed: parts.Feed, asker: parts.Asker, schedule: parts.Schedule,
		replicas: parts.Replicas, reported: parts.Reported, hub: NewHub(), now: opts.Now, log: opts.Logger,
		watches: map[string]*watch{}, words: map[string]bool{}, woken: make(chan struct{}, 1), hints: make(chan heardHint, maxWaitingHints), follows: follows,
		owned: map[string]bool{}, touched: map[string]bool{}, reread: make(chan struct{}, 1), behind: make(chan struct{}, 1),
	}, nil
}

// Hub returns the hub of this relay's pages.
func (r *Relay) Hub() *Hub { return r.hub }

// resumeBatch is how many payments are read at once.
const resumeBatch = 1000

// Run takes up the payments that the database knows as open, or waits to be given some (see [Relay.Own]), then keeps
// the deadlines of all watched ones until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	if r.replicas != nil {
		helpers.Go(func() { r.keepUp(ctx) })
	} else if err := r.resume(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("take up open payments: %w", err)
	}
	for range hintCommitters {
		helpers.Go(func() { r.commitHints(ctx) })
	}
	helpers.Go(func() { r.followHints(ctx) })
	helpers.Go(func() { r.watchStore(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(r.wakeDue())
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.woken:
		}
	}
}

func (r *Relay) resume(ctx context.Context) error {
	after, total := "", 0
	for {
		batch, err := r.store.Watched(ctx, after, r.now(), resumeBatch)
		if err != nil {
			return err
		}
		for _, p := range batch {
			r.follow(p)
			after = p.ID
		}
		total += len(batch)
		if len(batch) == 0 {
			r.log.InfoContext(ctx, "watching open payments", slog.Int("payments", total))
			return nil
		}
	}
}

// Register watches a payment, or returns the one that is known already. A field that differs from
// the known one is a [*ConflictError].
func (r *Relay) Register(ctx context.Context, g Registration) (p Payment, created bool, err error) {
	now := r.now()
	p, created, effects, err := r.store.Register(ctx, g.ID(), func(known *Payment) (Payment, []Effect, error) {
		if known == nil {
			opened, effects := g.Open(r.opts.WatchFor, now)
			return opened, effects, nil
		}
		return g.Merge(*known, r.opts.WatchFor, now)
	})
	r.storeAnswered(err)
	if err != nil {
		return Payment{}, false, err
	}
	if created {
		r.log.InfoContext(ctx, "payment registered", slog.String("payment", p.ID), slog.String("operation", string(p.Operation)))
	}
	r.committed(ctx, p, effects)
	if !created {
		p.Live = r.liveElsewhere(ctx, p.ID)
	}
	return p, created, nil
}

// Check asks Dollr about a watched payment because the schedule says so.
func (r *Relay) Check(ctx context.Context, id string, via Via, u Urgency) {
	p, unsent, ok := r.asked(id)
	if !ok {
		return
	}
	_, _, err := r.asker.Ask(ctx, Question{Payment: p, Via: via, Urgency: u})
	if err != nil {
		r.log.DebugContext(ctx, "no answer", slog.String("payment", id), slog.String("via", string(via)), slog.Any("err", err))
	}
	if failed, ok := errors.AsType[*AskError](err); ok && failed.Unsent {
		unsent()
		return // the schedule comes back to it by itself, as soon as there is a point in it
	}
	r.refresh(id)
}

// Verify asks Dollr now, also when the payment is final. A question that was under way already and
// brings pending, or leaves the payment expired, is asked once more, because it may have left before the customer paid. The error
// is an [*AskError] if Dollr brought no truth.
func (r *Relay) Verify(ctx context.Context, id string, via Via) (Payment, error) {
	p, err := r.store.Find(ctx, id)
	if err != nil {
		return Payment{}, err
	}
	q := Question{Payment: p.slim(), Via: via, Urgency: UrgentVerify}
	answer, joined, err := r.asker.Ask(ctx, q)
	if joined && err == nil && (!answer.Final() || answer.Outcome == Expired) {
		answer, _, err = r.asker.Ask(ctx, q)
	}
	if err != nil {
		return Payment{}, err
	}
	return r.store.Find(ctx, answer.ID)
}

// Observe commits what Decide says of an observation, and then carries out its effects. An error
// means that nothing was committed and nobody was told.
func (r *Relay) Observe(ctx context.Context, id string, seen Observation) (Payment, error) {
	now, deaf, hints := r.now(), r.deaf(id), r.takeUnwritten(id)
	before := Payment{}
	p, effects, err := r.store.Apply(ctx, id, func(p Payment) (Payment, []Effect) {
		before = p
		p, records := decideHints(p, hints)
		p, effects := Decide(p, seen, now)
		return p, append(records, effects...)
	})
	r.storeAnswered(err)
	if errors.Is(err, ErrNotFound) {
		r.forget(id) // deleted: settled longer ago than RELAY_RETAIN
	}
	if err != nil {
		r.putBack(id, hints)
		return Payment{}, fmt.Errorf("commit observation of %s: %w", id, err)
	}
	r.committed(ctx, p, effects)
	switch seen := seen.(type) {
	case Truth:
		if deaf && p.Version > before.Version {
			r.missed(ctx, p)
		}
	case Silence:
		r.watchSilence(ctx, p, seen)
	case Hint:
	}
	return p, nil
}

// committed is the one place from which anybody hears of a change: the database has it now.
func (r *Relay) committed(ctx context.Context, p Payment, effects []Effect) {
	r.follow(p)
	news := News{ID: p.ID, Revision: p.Revision}
	for _, effect := range effects {
		switch effect := effect.(type) {
		case AskNow:
			r.asker.AskAgain(Question{Payment: p.slim(), Via: ViaVerify, Urgency: UrgentVerify})
		case Report:
			r.opts.Monitor.Reported(effect.what())
			r.log.InfoContext(ctx, "outcome", slog.String("payment", p.ID), slog.String("type", effect.Type),
				slog.String("status", p.Status), slog.Bool("late", p.Late), slog.Int64("version", p.Version))
			r.reported(p.CallbackURL)
			news.Reported = true
		case UnknownWord:
			r.unknownWord(ctx, p, effect.Word)
		case Publish: // shown here by follow
			news.Status = &effect.Status
		case Record: // written in the transaction
		}
	}
	if len(effects) > 0 {
		r.tell(news)
	}
}
