package callback

import (
	"context"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"
)

// land takes note of an attempt that has ended.
func (e *endpoint) land(l landing) {
	f := e.flying[l.claim]
	delete(e.flying, l.claim)
	switch l.reason {
	case Acknowledged:
		f.tell(nil)
	case Stopped: // says nothing about the endpoint
	default:
		f.tell(errFailed)
	}
	e.look(e.opts.Now())
}

// landAll takes note of all that have ended by now, so that one claim fills all their places.
func (e *endpoint) landAll() {
	for {
		select {
		case l := <-e.ended:
			e.land(l)
		default:
			return
		}
	}
}

// look reads the breaker's state and does what a change of it asks for.
func (e *endpoint) look(now time.Time) gobreaker.State {
	before := e.state
	e.state = e.breaker.State()
	if e.state == before {
		return e.state
	}
	switch e.state {
	case gobreaker.StateOpen:
		e.openUntil = now.Add(openFor)
		e.recoveredAt = time.Time{}
		if before == gobreaker.StateClosed { // a failed probe is no news
			e.log.Warn("callback endpoint fails: breaker open", slog.Int("failures_in_a_row", breakAfter))
		}
	case gobreaker.StateHalfOpen:
	case gobreaker.StateClosed:
		e.recoveredAt, e.nextHasten = now, time.Time{}
		e.log.Info("callback endpoint recovered: breaker closed")
	}
	e.opts.OnBreaker(e.url, e.state.String())
	return e.state
}

// hasten makes callbacks due that wait for a later try of an endpoint that has recovered, a batch at a time.
func (e *endpoint) hasten(ctx context.Context, now time.Time) {
	if time.Now().Before(e.nextHasten) {
		return
	}
	e.nextHasten = time.Now().Add(hastenEvery)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	n, err := e.outbox.Hasten(ctx, e.url, e.recoveredAt, now, hastenBatch)
	switch {
	case err != nil:
		e.storeFailed(ctx, "hasten", err)
	case n < hastenBatch:
		e.recoveredAt = time.Time{} // all of them
	}
}

// renew keeps the leases of what is in flight, so that nobody else sends it meanwhile.
func (e *endpoint) renew(ctx context.Context) {
	if len(e.flying) == 0 {
		return
	}
	held := make([]Delivery, 0, len(e.flying))
	for _, f := range e.flying {
		held = append(held, f.delivery)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := e.outbox.Renew(ctx, held, e.opts.Now().Add(lease)); err != nil {
		e.storeFailed(ctx, "renew", err)
	}
}
