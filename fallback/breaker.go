package fallback

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

const (
	// failuresToOpen and openFor are the contract's (section 7).
	failuresToOpen = 5
	openFor        = 10 * time.Second
	// probeWait is what callers are told to wait while a single probe decides: it may be over at any moment.
	probeWait = time.Second
	// clockGrain: gobreaker opens the way only after, not at, the end of its open time.
	clockGrain = time.Millisecond
)

// State of a breaker, numbered as the metric breaker_state shows it.
type State int

// The states.
const (
	Closed   State = 0
	HalfOpen State = 1
	Open     State = 2
)

// String is the word for logs.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	}
	return "unknown"
}

// ErrOpen reports that the breaker let nothing through: nothing was sent, nothing was learned. Match it with
// [errors.Is]; the error itself is an [*OpenError] and says when to try again.
var ErrOpen = errors.New("fallback: breaker open")

// OpenError is [ErrOpen] with the time to wait.
type OpenError struct {
	RetryAfter time.Duration // above zero
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("%v, try again in %s", ErrOpen, e.RetryAfter.Round(time.Second))
}

// Is makes it match [ErrOpen].
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// Counts is the table of what a breaker takes for a failure of the other side. Errors that know
// (those of internal/dollr) decide themselves; of others everything counts but the end of the caller's context and
// questions that could not be put.
func Counts(err error) bool {
	var known interface{ CountsForBreaker() bool }
	switch {
	case err == nil:
		return false
	case errors.As(err, &known):
		return known.CountsForBreaker()
	}
	for _, own := range []error{context.Canceled, context.DeadlineExceeded, dollr.ErrBadSubject} {
		if errors.Is(err, own) {
			return false
		}
	}
	return true
}

// Breaker stops sending to a side that is in trouble. Closed, it lets everything through and opens after 5 failures in a
// row (see [Counts]). Open, it lets nothing through for 10 s. Then it is half-open: the next call is the single
// probe, and its success closes, its failure opens. Errors that do not count neither fail nor mend anything.
type Breaker struct {
	gate     *gobreaker.TwoStepCircuitBreaker[any]
	onChange func(from, to State)

	mu        sync.Mutex
	openUntil time.Time
	probes    int        // probes under way
	changes   [][2]State // not yet reported
	reporting bool       // somebody reports, and will report these too
}

// NewBreaker returns a closed breaker. onChange, if not nil, hears every change in order, outside of all locks.
func NewBreaker(onChange func(from, to State)) *Breaker {
	b := &Breaker{onChange: onChange}
	b.gate = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       openFor,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failuresToOpen },
		IsExcluded:    func(err error) bool { return err != nil && !Counts(err) },
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(state(from), state(to)) },
	})
	return b
}

func state(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	case gobreaker.StateClosed:
	}
	return Closed
}

// State returns the present state. An open breaker whose time is over is half-open, also if nobody has called yet.
func (b *Breaker) State() State {
	defer b.report()
	return state(b.gate.State())
}

// RetryAfter is how long to wait until a call may be let through; 0 when it would be now.
func (b *Breaker) RetryAfter() time.Duration {
	s := b.State()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s == Open:
		return max(time.Until(b.openUntil), 0) + clockGrain
	case s == HalfOpen && b.probes > 0:
		return probeWait
	}
	return 0
}

// Do makes a call that waits with this ticket: refused at once while the breaker is open, and when its turn comes if the breaker
// has opened meanwhile. It returns call's error, or an [*OpenError] if nothing was sent.
func (b *Breaker) Do(t *dollr.Ticket, call func() error) error {
	pass, err := b.Admit()
	if err != nil {
		return err
	}
	t.OnTurn(pass.Begin)
	err = errPanicked
	defer func() { pass.End(err) }()
	err = call()
	return err
}

// errPanicked is what a call that never returned ended with.
var errPanicked = errors.New("fallback: call panicked")

// Pass is the leave to make one call, in three steps because calls wait in a queue between the first and
// the second: a breaker that opened meanwhile refuses at the second. It belongs to one goroutine. End it always.
type Pass struct {
	breaker *Breaker
	done    func(error)
	probe   bool
}

// Admit is the first step: it refuses at once while the breaker is open or a probe is under way.
// Half-open, it makes the caller's call the probe.
func (b *Breaker) Admit() (*Pass, error) {
	p := &Pass{breaker: b}
	switch b.State() {
	case Closed:
		return p, nil
	case HalfOpen:
		// The probe takes its leave before it queues, so that no crowd queues up behind it just to be refused.
		if err := p.Begin(); err != nil {
			return nil, err
		}
		return p, nil
	case Open:
	}
	return nil, b.refusal()
}

func (b *Breaker) refusal() error { return &OpenError{RetryAfter: max(b.RetryAfter(), clockGrain)} }

// Begin is the second step, right before sending. Its error is an [*OpenError]. A call that had to queue again begins again: a
// breaker that has opened since then refuses, or makes it the probe.
func (p *Pass) Begin() error {
	if p.done != nil && (p.probe || p.breaker.State() == Closed) {
		return nil
	}
	done, err := p.breaker.gate.Allow()
	if err != nil {
		return p.breaker.refusal()
	}
	p.done = done // how the first beginning would have ended interests nobody: the breaker has opened since
	if p.breaker.State() == HalfOpen {
		p.probe = true
		p.breaker.countProbe(1)
	}
	return nil
}

// End is the third step: how the call ended. It makes up for the second if that was left out: either the call was sent without
// asking its ticket, which counts; or it was not sent at all, and errors of that are neutral.
func (p *Pass) End(err error) {
	if p.done == nil && !errors.Is(err, ErrOpen) {
		_ = p.Begin()
	}
	if p.done == nil {
		return
	}
	p.done(err)
	if p.probe {
		p.breaker.countProbe(-1)
	}
	p.breaker.report()
}

func (b *Breaker) countProbe(by int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes += by
}

// changed notes a change while gobreaker's own lock is held.
func (b *Breaker) changed(from, to State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if to == Open {
		b.openUntil = time.Now().Add(openFor)
	}
	if b.onChange != nil {
		b.changes = append(b.changes, [2]State{from, to})
	}
}

// report calls back for the changes noted so far, one after the other.
func (b *Breaker) report() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reporting {
		return
	}
	b.reporting = true
	for len(b.changes) > 0 {
		change := b.changes[0]
		b.changes = b.changes[1:]
		b.mu.Unlock()
		b.onChange(change[0], change[1])
		b.mu.Lock()
	}
	b.reporting = false
}
