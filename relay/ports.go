package relay

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound reports a payment that is not registered.
var ErrNotFound = errors.New("payment not found")

// Store keeps payments, their timelines and their reports.
type Store interface {
	// Register runs decide on the known payment, nil if there is none, and commits the payment
	// and the effects that it returns in one transaction. An error of decide changes nothing.
	Register(ctx context.Context, id string, decide func(known *Payment) (Payment, []Effect, error)) (p Payment, created bool, effects []Effect, err error)
	// Apply runs decide on the payment as just read and commits what it returns, likewise.
	Apply(ctx context.Context, id string, decide func(Payment) (Payment, []Effect)) (Payment, []Effect, error)
	// Find reads a payment, or returns [ErrNotFound].
	Find(ctx context.Context, id string) (Payment, error)
	// Watched reads the payments that are open, or final and to be asked again, in pages by id.
	Watched(ctx context.Context, after string, now time.Time, limit int) ([]Payment, error)
	// Ping reports whether the database answers, Probe whether it also takes a write.
	Ping(ctx context.Context) error
	Probe(ctx context.Context) error
}

// Urgency orders questions to Dollr, most urgent first (contract, section 7).
type Urgency int

// The urgencies.
const (
	UrgentVerify Urgency = iota // verify calls and terminal hints
	UrgentKey                   // keys for open pages
	UrgentPage                  // payments with an open page
	UrgentYoung
	UrgentAudit
	UrgentOld // old payments and sweeps
)

// Question asks Dollr about a payment.
type Question struct {
	Payment Payment // identity only; see [Payment.slim]
	Via     Via
	Urgency Urgency
}

// Asker asks Dollr, at most one question per payment at a time. Every question that was asked
// ends in [Relay.Observe] before its askers hear of it.
type Asker interface {
	// Ask waits for the answer. Joined tells that the question was under way already. The error
	// is an [*AskError] if Dollr brought no truth.
	Ask(ctx context.Context, q Question) (p Payment, joined bool, err error)
	// AskAgain asks at once, or once more after a question that is under way. It does not wait.
	AskAgain(q Question)
}

// AskError says why a question brought no truth.
type AskError struct {
	Reason     string        // as in [Silence]
	RetryAfter time.Duration // how long asking again is pointless; 0 if that is not known
	Unsent     bool          // Dollr was not asked at all
	Err        error
}

func (e *AskError) Error() string { return "ask Dollr: " + e.Reason + ": " + e.Err.Error() }

func (e *AskError) Unwrap() error { return e.Err }

// Feed follows payments on Supabase Realtime and reports to [Relay.Hear].
type Feed interface {
	Follow(p Payment)
	Unfollow(id string)
	// Rejoin renews a channel that has missed a change.
	Rejoin(id string)
	// Hurry lets a payment go before those that nobody looks at.
	Hurry(id string)
}

// Schedule keeps when each payment is asked next, and calls [Relay.Check] when it is due.
type Schedule interface {
	// Plan puts a payment in its place, and reports false if it is never to be asked again.
	Plan(id string, f Facts) bool
	Forget(id string)
}

// Facts are what the schedule needs to know of a payment.
type Facts struct {
	CreatedAt time.Time // its age counts from here: registered, or registered again
	LastAsked time.Time // last question that ended, answered or not
	Failures  int       // questions in a row that brought no truth
	Refused   bool      // the last of them because of our credentials

	Live     bool      // realtime would tell of a change
	LostAt   time.Time // when it ceased to; zero if never
	PageOpen bool
	HintedAt time.Time // a terminal hint that truth has not confirmed; zero if there is none

	WatchUntil time.Time // one last question is due then

	Final         bool
	FinalAt       time.Time
	Succeeded     bool      // the final outcome is succeeded or mismatch
	ReopenedUntil time.Time // final, but Dollr said something non-terminal since: asked every 5 minutes until then
}

// facts are the payment's part of its [Facts].
func (p Payment) facts(now time.Time) Facts {
	f := Facts{
		CreatedAt: p.WatchSince, LastAsked: p.LastCheckedAt, Refused: p.LastError == "refused", WatchUntil: p.WatchUntil,
		Final: p.Final(), FinalAt: p.FinalAt, Succeeded: p.Outcome == Succeeded || p.Outcome == Mismatch, ReopenedUntil: p.ReopenedUntil,
	}
	if hint := p.Hint(now); hint != "" && outcomeOf(p.Operation, hint) != Pending {
		f.HintedAt = p.HintAt
	}
	return f
}

// slim is the payment without what only the database needs to hold.
func (p Payment) slim() Payment {
	p.Metadata, p.CallbackURL, p.Siblings = nil, "", nil
	return p
}

// Monitor hears of what an operator wants to count. Its methods must not block.
type Monitor interface {
	// Reported hears of every outcome, and of contradicted successes, by the last word of their type.
	Reported(what string)
	UnknownWord(op Operation, word string)
	MissedByRealtime()
	HintToPage(took time.Duration)
}
