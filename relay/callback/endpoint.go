package callback

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	breakAfter = 5                // failures in a row; any answer but 2xx is one
	openFor    = 10 * time.Second // then the next due callback is sent as a probe

	// A recovered endpoint gets what waited at this pace, on top of what is due: it may be still weak.
	hastenEvery = time.Second
	hastenBatch = 50
)

// errFailed is what the breaker is told of an attempt that brought no acknowledgement.
var errFailed = errors.New("not acknowledged")

// endpoint sends the callbacks of one URL. All fields but opts, outbox, client, wake and ended belong to the
// goroutine of run.
type endpoint struct {
	opts   Options
	outbox Outbox
	url    string
	client *http.Client
	log    *slog.Logger

	wake  chan struct{}
	ended chan landing // holds as many as can be in flight: sending to it never blocks

	flying      map[claim]flight
	breaker     *gobreaker.TwoStepCircuitBreaker[struct{}]
	state       gobreaker.State // the breaker's, as last seen
	openUntil   time.Time
	recoveredAt time.Time // when the breaker closed, while callbacks that waited are still being hastened
	nextHasten  time.Time
}

// claim names one claim of one callback: after a lost lease two of the same callback may be in flight.
type claim struct {
	id     string
	number int64
}

type flight struct {
	delivery Delivery
	tell     func(error) // tells the breaker
}

type landing struct {
	claim  claim
	reason Reason
}

func newEndpoint(rawURL string, outbox Outbox, opts Options) *endpoint {
	e := &endpoint{
		opts: opts, outbox: outbox, url: rawURL,
		client: newClient(opts.Transport, opts.PerEndpoint),
		log:    opts.Logger.With(slog.String("endpoint", label(rawURL))),
		wake:   make(chan struct{}, 1),
		ended:  make(chan landing, opts.PerEndpoint),
		flying: map[claim]flight{},
	}
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
	})
	return e
}

// label is a URL for logs: no user, no query.
func label(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// run claims and sends until ctx ends, then waits for what is in flight.
func (e *endpoint) run(ctx context.Context) {
	// Requests and the store's writes outlive ctx, until Drain cuts them off.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	renewal := time.NewTicker(lease / 3)
	defer renewal.Stop()
	stop := ctx.Done()
	var drained <-chan time.Time
	for stop != nil || len(e.flying) > 0 {
		var pause <-chan time.Time
		if ctx.Err() == nil {
			pause = time.After(e.step(work))
		}
		select {
		case <-stop:
			stop, drained = nil, time.After(e.opts.Drain)
		case <-drained:
			cut()
		case <-renewal.C:
			e.renew(work)
		case l := <-e.ended:
			e.land(l)
		case <-e.wake:
		case <-pause:
		}
	}
}

// step sends what is due, as far as the breaker and the free workers allow, and returns how long to sleep if
// nothing else happens.
func (e *endpoint) step(ctx context.Context) time.Duration {
	e.landAll()
	now := e.opts.Now()
	state := e.look(now)
	sleep := scanEvery
	if state == gobreaker.StateClosed && !e.recoveredAt.IsZero() {
		e.hasten(ctx, now)
		sleep = hastenEvery
	}
	room := e.opts.PerEndpoint - len(e.flying)
	if state == gobreaker.StateHalfOpen {
		room = 1 - len(e.flying)
	}
	if room <= 0 {
		return sleep // an attempt that ends wakes the loop
	}

	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	due, err := e.outbox.NextDue(call, e.url)
	switch {
	case err != nil:
		return e.storeFailed(ctx, "next due", err)
	case due.IsZero():
		return sleep
	case due.After(now):
		return min(sleep, due.Sub(now))
	}
	if state == gobreaker.StateOpen {
		if err := e.outbox.Postpone(call, e.url, now, e.openUntil); err != nil {
			return e.storeFailed(ctx, "postpone", err)
		}
		return min(sleep, max(e.openUntil.Sub(now), time.Millisecond))
	}
	claimed, err := e.outbox.Claim(call, e.url, room, now, lease)
	if err != nil {
		return e.storeFailed(ctx, "claim", err)
	}
	for _, d := range claimed {
		e.start(ctx, d)
	}
	if len(claimed) == 0 {
		return 50 * time.Millisecond // another replica was faster, or the store's clock is behind ours
	}
	return 0 // look again: there may be more
}

// storeFailed logs that the outbox cannot be used now; nothing is lost by waiting.
func (e *endpoint) storeFailed(ctx context.Context, call string, err error) time.Duration {
	e.log.WarnContext(ctx, "callbacks wait: store failed", slog.String("call", call), slog.Any("err", err))
	return scanEvery
}

// start sends one callback, in a goroutine that ends by a landing.
func (e *endpoint) start(ctx context.Context, d Delivery) {
	c := claim{d.ID, d.Claim}
	tell, refused := e.breaker.Allow()
	if refused != nil {
		tell = func(error) {}
	}
	e.flying[c] = flight{d, tell}
	givenBack := Result{At: e.opts.Now(), Reason: Stopped, State: Pending, NextAt: e.openUntil}
	go func() {
		r := givenBack
		if refused == nil {
			r = After(d, e.attempt(ctx, d), e.opts.Schedule, e.opts.Rand())
		}
		e.finish(ctx, d, r)
		e.ended <- landing{c, r.Reason}
	}()
}

// finish stores a result. If the store is down for longer than a few seconds, or than there is time for at a stop, the lease
// runs out and the callback is sent again, with the same id.
func (e *endpoint) finish(work context.Context, d Delivery, r Result) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), storeTimeout)
	defer cancel()
	stop := context.AfterFunc(work, func() { time.AfterFunc(e.opts.Drain/4, cancel) })
	defer stop()
	log := e.log.With(slog.String("payment", d.PaymentID), slog.String("webhook_id", d.ID), slog.Int("attempt", d.Attempt))
	err := e.outbox.Finish(ctx, d, r)
	for wait := 50 * time.Millisecond; err != nil && !errors.Is(err, ErrFenced) && ctx.Err() == nil; wait *= 2 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			err = e.outbox.Finish(ctx, d, r)
		}
	}
	switch {
	case errors.Is(err, ErrFenced):
		log.InfoContext(ctx, "callback was taken over while it was sent", slog.String("result", string(r.Reason)))
		return
	case err != nil:
		log.ErrorContext(ctx, "callback's result not stored; it will be sent again", slog.Any("err", err))
		return
	case r.State == Dead:
		log.ErrorContext(ctx, "callback dead", slog.String("type", d.Type), slog.String("reason", string(r.Reason)), slog.String("detail", r.Err))
	case r.Attempted && r.State == Pending && d.Attempt == 1:
		log.WarnContext(ctx, "callback not acknowledged", slog.String("reason", string(r.Reason)), slog.String("detail", r.Err))
	}
	e.opts.OnResult(d, r)
}
