package callback

import (
	"context"
	"errors"
	"time"
)

// State is where a callback stands.
type State string

// The states of a callback.
const (
	Pending   State = "pending"   // waits to be sent, or is being sent
	Delivered State = "delivered" // acknowledged by the receiver
	Dead      State = "dead"      // given up; it can be redelivered
)

// Delivery is one callback claimed for one attempt.
type Delivery struct {
	ID        string // webhook-id: the same on every attempt
	PaymentID string
	Type      string // such as payment.succeeded
	URL       string
	Body      []byte // stored once, sent identically every time

	// Claim is the fencing number: it grows with every claim (and redelivery) of this callback, and
	// Finish and Renew with an older one are refused.
	Claim int64
	// Attempt is 1 for the first attempt: those used up so far and one. Redelivering starts it again.
	Attempt int
	// QueuedAt is when the callback was created or last redelivered. [MaxAge] counts from here.
	QueuedAt time.Time
}

// Result is what one attempt brought and what follows from it. The store writes it in one transaction: the
// callback's state, and a row of its attempts if Attempted.
type Result struct {
	At       time.Time     // when the request left
	Duration time.Duration // until the answer, or until nothing was waited for any more
	Code     int           // HTTP status; 0: no answer
	Reason   Reason        // why it was not acknowledged; for metrics
	Err      string        // the same for people, at most 256 bytes, without URL or secret; "" when acknowledged
	Response string        // the beginning of the answer, at most 1 KiB of valid UTF-8

	State  State
	NextAt time.Time // when State is Pending: when it is due again

	// Attempted is false if the callback was given back unsent (the endpoint's breaker, a stop) or its
	// sending was cut off by a stop. It uses up no attempt then, and no attempt is recorded.
	Attempted bool
}

// Unserved is how long nobody has touched a callback that nobody serves.
const Unserved = 10 * time.Minute

// ErrFenced reports that another claim has taken over, or that the callback is finished already. Whoever gets
// it drops the result: the present claim's holder says what happens.
var ErrFenced = errors.New("callback: taken over by another claim")

// Outbox is the part of the store that the Sender needs. Its callbacks were put there by the transactions that
// settled their payments; putting one there makes the same payment's waiting ones due at once, and one in flight again at once
// should it not be acknowledged.
//
// A callback is claimable if it is pending, not leased to anybody, due, and the oldest one of its payment that
// is neither delivered nor dead. Times are the Sender's; a store may cut them to milliseconds. The conformance
// suite is in package callbacktest.
type Outbox interface {
	// NextDue tells when the next callback of url becomes claimable, by its due time or by the end of its lease,
	// whichever holds it; it may be past. Zero: none waits. It is asked every two seconds and at every wake-up,
	// so it should be a read of an index.
	NextDue(ctx context.Context, url string) (time.Time, error)
	// Claim leases up to limit claimable callbacks of url, those due first, until now plus lease, and returns
	// them in any order. A callback whose lease has run out (its sender crashed) is claimable again.
	Claim(ctx context.Context, url string, limit int, now time.Time, lease time.Duration) ([]Delivery, error)
	// Renew prolongs the leases of those claims that still hold and ignores the others: what was finished or
	// claimed again meanwhile stays as it is.
	Renew(ctx context.Context, ds []Delivery, until time.Time) error
	// Finish ends a claim with what came of it, or returns ErrFenced and changes nothing.
	Finish(ctx context.Context, d Delivery, r Result) error
	// Postpone moves the due time of all callbacks of url that are due and not leased to until. It uses up no
	// attempt. Called while the endpoint's breaker is open.
	Postpone(ctx context.Context, url string, now, until time.Time) error
	// Hasten makes up to limit waiting callbacks of url due now, oldest first: those that are pending, not
	// leased, due after now, and whose last attempt (if any) was before triedBefore. It returns how many.
	// Called again and again, paced, after the endpoint recovered; triedBefore is the time of the recovery and
	// keeps a callback that goes on failing from being hastened twice.
	Hasten(ctx context.Context, url string, triedBefore, now time.Time, limit int) (int, error)
	// Readdress gives pending, unleased callbacks whose URL is not among the configured ones to the first of these, if there
	// is any: the default has moved. Only those go that were neither queued nor tried for [Unserved]: others may be served
	// by a replica of another configuration. Those of payments that chose their URL stay, for nobody else may be told of them. It returns
	// how many went and how many of them stay.
	Readdress(ctx context.Context, configured []string, now time.Time) (moved, stranded int, err error)
	// Bury makes all pending, unleased callbacks dead that were queued before that time, whatever their URL,
	// and returns how many.
	Bury(ctx context.Context, queuedBefore, now time.Time) (int, error)
}
