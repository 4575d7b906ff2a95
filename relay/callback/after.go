package callback

import (
	"fmt"
	"net/http"
	"time"
)

// MaxAge is how long after it was queued a callback is given up, whatever it waited for. The schedule alone ends
// after three days; waiting behind an endpoint's breaker uses up no attempt and must end too.
const MaxAge = 7 * 24 * time.Hour

// maxRetryAfter bounds what a receiver may put off the next try by.
const maxRetryAfter = time.Hour

// jitterShare spreads the schedule, so that callbacks which failed together do not return together.
const jitterShare = 0.2

// Reason is why an attempt was not acknowledged: a bounded set of words, for metrics.
type Reason string

// The reasons.
const (
	Acknowledged Reason = ""
	Refused      Reason = "refused"     // an answer other than 2xx
	Redirected   Reason = "redirected"  // a redirect, which is never followed
	Gone         Reason = "gone"        // 410: the receiver wants no more of this callback
	Timeout      Reason = "timeout"     // no answer in time
	Unreachable  Reason = "unreachable" // no connection, TLS refused, connection lost
	Stopped      Reason = "stopped"     // given back by us; says nothing about the receiver
)

// Answer is what came back from one attempt.
type Answer struct {
	At         time.Time
	Duration   time.Duration
	Code       int           // HTTP status; 0: none
	RetryAfter time.Duration // of a 429 or 503; 0: none
	Response   string
	Failure    Reason // if Code is 0: Timeout, Unreachable or Stopped
	Err        string // if Code is 0: why, for people
}

// DefaultSchedule is the delay before each attempt: 11 attempts over 75 hours. The first counts from when the
// callback was queued, each other one from the attempt before it.
func DefaultSchedule() []time.Duration {
	return []time.Duration{
		0, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute,
		2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// After decides what follows from the answer to an attempt: any 2xx is an acknowledgement, 410 ends it, everything
// else waits for the next entry of the schedule (±20 %: jitter is uniform in 0..1) or, if that is later, for what
// Retry-After asks (at most an hour), until the schedule or [MaxAge] ends.
func After(d Delivery, a Answer, schedule []time.Duration, jitter float64) Result {
	r := Result{At: a.At, Duration: a.Duration, Code: a.Code, Response: a.Response, Attempted: true}
	ended := a.At.Add(a.Duration)
	switch {
	case a.Code == 0 && a.Failure == Stopped:
		r.Reason, r.Err = Stopped, a.Err
		r.State, r.NextAt, r.Attempted = Pending, ended, false
		return r
	case a.Code == 0:
		r.Reason, r.Err = a.Failure, a.Err
	case a.Code >= 200 && a.Code <= 299:
		r.State = Delivered
		return r
	default:
		r.Reason, r.Err = explain(a.Code)
	}

	if r.Reason == Gone || d.Attempt >= len(schedule) || ended.Sub(d.QueuedAt) >= MaxAge {
		r.State = Dead
		return r
	}
	delay := time.Duration(float64(schedule[d.Attempt]) * (1 - jitterShare + 2*jitterShare*jitter))
	if a.Code == http.StatusTooManyRequests || a.Code == http.StatusServiceUnavailable {
		delay = max(delay, min(a.RetryAfter, maxRetryAfter))
	}
	r.State, r.NextAt = Pending, ended.Add(delay)
	return r
}

// explain puts an answer that is no acknowledgement into words that help whoever looks at the callback.
func explain(code int) (Reason, string) {
	answered := fmt.Sprintf("answered %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusGone:
		return Gone, answered + ": the receiver wants no more of it"
	case code >= 300 && code <= 399:
		return Redirected, answered + ": redirects are not followed; configure the final URL"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return Refused, answered + ": secret_mismatch? the receiver may verify with a secret that is not in RELAY_CALLBACK_SECRETS"
	default:
		return Refused, answered
	}
}
