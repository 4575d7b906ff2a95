package fallback

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

// ErrStopped reports that the Asker's Run has ended before the question was answered.
var ErrStopped = errors.New("fallback: asker stopped")

// StatusSource answers questions; [*dollr.Client] does. It calls [dollr.Ticket.Begin] right before sending.
type StatusSource interface {
	Status(ctx context.Context, s dollr.Subject, t *dollr.Ticket) (dollr.Status, error)
}

// Question asks how one payment stands.
type Question struct {
	ID      string        // the relay's own id of the payment
	Subject dollr.Subject // the same payment in Dollr's terms
	Via     string        // why it is asked: poll, audit, verify, reconcile, …; goes through untouched
	Urgency dollr.Urgency
	KnownAt time.Time // how old what is known already is, for metrics; goes through untouched
	SentAt  time.Time // when it went to Dollr, so that its answer is no older; zero until then and if it never did
}

// Answer is what came of a question.
type Answer[R any] struct {
	// Value is what settle returned; the zero value if it was not called.
	Value R
	// Err is why there is no truth: settle's own error, else what the source said (a [*dollr.Error]), an [*OpenError] if the
	// breaker was open, [ErrStopped], or the error of the asker's context, whose question goes on without it.
	Err error
	// Joined means that the question was on its way already when this asker came, so that the answer may be older than its asking.
	Joined bool
}

// AskerOptions tune an [Asker]. The zero value is ready for production.
type AskerOptions struct {
	// Now tells the time, for [Question].SentAt. Default [time.Now].
	Now func() time.Time
	// OnChange hears every change of the breaker in order, outside of all locks. It must not block.
	OnChange func(from, to State)
	// OnRefused hears of questions of AskAgain that the breaker refused and nobody waits for, so that they can be
	// put on the schedule. It must not block.
	OnRefused func(Question)
}

// Asker sends questions to Dollr: at most one per payment in flight, all through one breaker. Who asks about a
// payment that is being asked about joins that question, makes it as urgent as its own, and gets the same answer.
//
// What came of a question goes to settle exactly once, before any asker is released: the status, or the error if Dollr
// failed to give one. settle is not called when nothing was learned: the breaker refused, or Run's context ended the
// question. What was known before, last_error included, then stays as it is.
type Asker[R any] struct {
	source  StatusSource
	settle  func(ctx context.Context, q Question, s dollr.Status, err error) (R, error)
	opts    AskerOptions
	breaker *Breaker
	wake    chan struct{}

	mu      sync.Mutex
	flights map[string]*flight[R] // by payment
	ready   []*flight[R]          // for Run to start
	stopped bool
}

// flight is one question under way.
type flight[R any] struct {
	ticket *dollr.Ticket
	done   chan struct{}
	answer Answer[R] // set before done is closed

	// Guarded by the Asker's lock.
	question Question
	started  bool
	waiters  bool      // somebody waits for the answer
	again    *Question // a hint that came while it was on its way
}

// NewAsker returns an Asker that does nothing until Run. settle gets a context that does not end with Run's; it
// bounds its own time.
func NewAsker[R any](source StatusSource, settle func(ctx context.Context, q Question, s dollr.Status, err error) (R, error), opts AskerOptions) *Asker[R] {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Asker[R]{
		source: source, settle: settle, opts: opts, breaker: NewBreaker(opts.OnChange),
		wake: make(chan struct{}, 1), flights: map[string]*flight[R]{},
	}
}

// State is the breaker's.
func (a *Asker[R]) State() State { return a.breaker.State() }

// RetryAfter is how long the breaker lets nothing through; 0 when it would now.
func (a *Asker[R]) RetryAfter() time.Duration { return a.breaker.RetryAfter() }

// Run sends the questions until ctx ends; then it ends those under way and returns nil. Questions asked
// before Run wait for it.
func (a *Asker[R]) Run(ctx context.Context) error {
	var questions sync.WaitGroup
	for {
		select {
		case <-ctx.Done():
			for _, f := range a.stop() {
				a.finish(f, Answer[R]{Err: ErrStopped})
			}
			questions.Wait()
			return nil
		case <-a.wake:
			for _, f := range a.take() {
				questions.Go(func() { a.ask(ctx, f) })
			}
		}
	}
}

// Ask asks and waits for the answer. The end of ctx ends only the waiting, not the question.
func (a *Asker[R]) Ask(ctx context.Context, q Question) Answer[R] {
	f, joined := a.join(q)
	if f == nil {
		return Answer[R]{Err: ErrStopped}
	}
	select {
	case <-f.done:
		answer := f.answer
		answer.Joined = joined
		return answer
	case <-ctx.Done():
		return Answer[R]{Err: ctx.Err(), Joined: joined}
	}
}

// AskAgain asks without waiting, and once more if a question about this payment was on its way already: that
// one may have been answered before what the hint tells about. Several hints during one question cause one more.
func (a *Asker[R]) AskAgain(q Question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	f := a.flights[q.ID]
	switch {
	case f == nil:
		a.startLocked(q)
	case f.onItsWay():
		if f.again == nil || q.Urgency < f.again.Urgency {
			f.again = &q
		}
	default:
		f.adopt(q)
	}
}

// join finds or starts the question about q's payment. late reports that it was on its way already.
func (a *Asker[R]) join(q Question) (f *flight[R], late bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil, false
	}
	f = a.flights[q.ID]
	if f == nil {
		f = a.startLocked(q)
	} else {
		late = f.onItsWay()
		f.adopt(q)
	}
	f.waiters = true
	return f, late
}

func (a *Asker[R]) startLocked(q Question) *flight[R] {
	f := &flight[R]{question: q, ticket: dollr.NewTicket(q.Urgency), done: make(chan struct{})}
	a.flights[q.ID] = f
	a.ready = append(a.ready, f)
	select {
	case a.wake <- struct{}{}:
	default: // Run is being woken already
	}
	return f
}

// onItsWay reports whether the question may have reached Dollr. In doubt it says yes.
func (f *flight[R]) onItsWay() bool { return f.started && !f.ticket.Waiting() }

// adopt makes the question as urgent as q, and q's reason its reason if that is the more urgent one.
func (f *flight[R]) adopt(q Question) {
	if q.Urgency < f.question.Urgency {
		f.question.Urgency, f.question.Via = q.Urgency, q.Via
		f.ticket.Raise(q.Urgency)
	}
}

func (a *Asker[R]) take() []*flight[R] {
	a.mu.Lock()
	defer a.mu.Unlock()
	ready := a.ready
	a.ready = nil
	for _, f := range ready {
		f.started = true
	}
	return ready
}

func (a *Asker[R]) stop() []*flight[R] {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	ready := a.ready
	a.ready = nil
	return ready
}

// ask sends one question and settles what came of it.
func (a *Asker[R]) ask(ctx context.Context, f *flight[R]) {
	status, sent, err := a.guarded(ctx, f)
	a.mu.Lock()
	q := f.question
	a.mu.Unlock()
	q.SentAt = sent

	var answer Answer[R]
	switch {
	case err != nil && (errors.Is(err, ErrOpen) || ctx.Err() != nil):
		answer.Err = err
		if ctx.Err() != nil {
			answer.Err = errors.Join(ErrStopped, err)
		}
	default:
		answer.Value, answer.Err = a.settle(context.WithoutCancel(ctx), q, status, err)
		if answer.Err == nil {
			answer.Err = err
		}
	}
	a.finish(f, answer)
}

// guarded asks the source through the breaker, and tells when the question was sent.
func (a *Asker[R]) guarded(ctx context.Context, f *flight[R]) (status dollr.Status, sent time.Time, ended error) {
	pass, err := a.breaker.Admit()
	if err != nil {
		return dollr.Status{}, sent, err
	}
	f.ticket.OnTurn(func() error {
		sent = a.opts.Now()
		return pass.Begin()
	})
	ended = errPanicked
	defer func() { pass.End(ended) }()
	status, ended = a.source.Status(ctx, f.question.Subject, f.ticket)
	return status, sent, ended
}

// finish releases the askers, and asks once more if a hint wants it.
func (a *Asker[R]) finish(f *flight[R], answer Answer[R]) {
	f.answer = answer
	a.mu.Lock()
	delete(a.flights, f.question.ID)
	again := f.again
	refused := errors.Is(answer.Err, ErrOpen)
	if again == nil && refused && !f.waiters {
		again = &f.question
	}
	if again != nil && !refused && !a.stopped {
		a.startLocked(*again)
	}
	a.mu.Unlock()
	close(f.done)
	if again != nil && refused && a.opts.OnRefused != nil {
		a.opts.OnRefused(*again)
	}
}
