package dollr

import "sync"

// Urgency orders the calls that wait for the budget, most urgent first (contract, section 7).
type Urgency int

// The urgencies, most urgent first.
const (
	UrgentVerify  Urgency = iota // somebody waits for the truth: verify requests and terminal hints
	UrgentPageKey                // realtime keys for payments with an open page
	UrgentPage                   // payments with an open page
	UrgentYoung                  // young payments
	UrgentAudit                  // payments whose realtime channel is live
	UrgentOld                    // old payments and sweeps
)

// urgentToken goes before everything: without a token nothing else can be sent.
const urgentToken Urgency = -1

// Urgencies lists all of them, most urgent first, for metrics by priority.
func Urgencies() []Urgency {
	return []Urgency{UrgentVerify, UrgentPageKey, UrgentPage, UrgentYoung, UrgentAudit, UrgentOld}
}

// String is the word for metrics and logs.
func (u Urgency) String() string {
	switch u {
	case urgentToken:
		return "token"
	case UrgentVerify:
		return "verify"
	case UrgentPageKey:
		return "page_key"
	case UrgentPage:
		return "page"
	case UrgentYoung:
		return "young"
	case UrgentAudit:
		return "audit"
	case UrgentOld:
		return "old"
	}
	return "unknown"
}

// Ticket is one call's place in the queue for the budget. Whoever holds it may raise its urgency while it waits.
// A Ticket serves one call at a time.
type Ticket struct {
	mu      sync.Mutex
	urgency Urgency
	admit   func() error
	queue   *budget // where it waits now; nil when it does not

	place *waiter // guarded by the budget's lock
}

// NewTicket returns a ticket of urgency u; one outside the known range becomes the nearest known one.
func NewTicket(u Urgency) *Ticket {
	return &Ticket{urgency: min(max(u, UrgentVerify), UrgentOld)}
}

// Urgency returns the present urgency.
func (t *Ticket) Urgency() Urgency {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.urgency
}

// Raise makes the call as urgent as u, at once if it is waiting already. A less urgent u changes nothing.
func (t *Ticket) Raise(u Urgency) {
	t.mu.Lock()
	raised := u >= UrgentVerify && u < t.urgency
	if raised {
		t.urgency = u
	}
	queue := t.queue
	t.mu.Unlock()
	if raised && queue != nil {
		queue.move(t)
	}
}

// Waiting reports whether the call stands in the queue, so that what it will bring is still to be asked.
func (t *Ticket) Waiting() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue != nil
}

// OnTurn sets a last check, made whenever the call's turn has come and before anything is sent for it: again if it had to
// queue once more, after a token was fetched or refused. An error from it ends the call and is returned as it is. A circuit
// breaker belongs here: calls that waited while it opened must not be sent any more.
func (t *Ticket) OnTurn(admit func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.admit = admit
}

// Begin makes the check of [Ticket.OnTurn]. Whoever sends on behalf of a ticket calls it right before sending.
func (t *Ticket) Begin() error {
	t.mu.Lock()
	admit := t.admit
	t.mu.Unlock()
	if admit == nil {
		return nil
	}
	return admit()
}

func (t *Ticket) enter(b *budget) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = b
}

func (t *Ticket) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = nil
}
