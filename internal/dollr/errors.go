package dollr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Reasons, the contract's words for why a question brought no truth (its field last_error).
const (
	ReasonNotFound    = "not_found"    // Dollr does not know the id (yet)
	ReasonRefused     = "refused"      // credentials or permissions: a person must look
	ReasonRateLimited = "rate_limited" // 429: every call is held already, just ask again
	ReasonUnreachable = "unreachable"  // 5xx, time-out, no connection
	ReasonUnreadable  = "unreadable"   // an answer that is no answer to the question
)

// Error is how every failed call to Dollr ends. Its methods say what to do next; none of its text holds a
// secret, a payload or a query string.
type Error struct {
	Endpoint string // the bounded word of metrics, such as "collection" or "token"
	Code     int    // HTTP status code; 0 when there was no answer
	Detail   string // what went wrong, for logs

	reason     string
	neutral    bool // says nothing about Dollr's health
	retryAfter time.Duration
	cause      error
}

func (e *Error) Error() string {
	text := "dollr: " + e.Endpoint + ": "
	if e.reason == "" {
		return text + "stopped before an answer: " + e.Detail
	}
	text += e.reason
	if e.Code != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Code)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap gives the cause, when there was one beyond the answer itself.
func (e *Error) Unwrap() error { return e.cause }

// Reason is the contract's last_error word. It is empty when the caller's own context ended the call:
// nothing was learned, so what was known before stays.
func (e *Error) Reason() string { return e.reason }

// CountsForBreaker reports whether the failure says that Dollr is in trouble: no connection, a time-out, 5xx or an
// unreadable answer. Every 4xx, 429 and the caller's own cancellation are neutral.
func (e *Error) CountsForBreaker() bool {
	return !e.neutral && (e.reason == ReasonUnreachable || e.reason == ReasonUnreadable)
}

// RetryAfter is how long Dollr, or the client on its behalf, wants to be left alone; 0 when unknown, at most 5 minutes.
func (e *Error) RetryAfter() time.Duration { return min(e.retryAfter, maxHold) }

// Temporary reports whether the same call may succeed later without anybody changing anything.
func (e *Error) Temporary() bool { return e.reason != ReasonRefused }

// fromCode turns an HTTP status that is no success into its error.
func fromCode(endpoint string, code int) *Error {
	e := &Error{Endpoint: endpoint, Code: code}
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		e.reason = ReasonNotFound
	case code == http.StatusTooManyRequests:
		e.reason = ReasonRateLimited
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		// The server gave up on this one request: no verdict on the request, and as a 4xx none on Dollr's health.
		e.reason, e.neutral = ReasonUnreachable, true
	case code >= 400 && code < 500:
		e.reason = ReasonRefused
	case code >= 500:
		e.reason = ReasonUnreachable
	default:
		// A redirect would take the credentials and the question to somebody else; a 204 or 206 holds no whole answer.
		e.reason = ReasonUnreadable
		e.Detail = "unexpected status " + strconv.Itoa(code)
	}
	return e
}

func unreadable(endpoint, detail string) *Error {
	return &Error{Endpoint: endpoint, Code: http.StatusOK, Detail: detail, reason: ReasonUnreadable}
}

// stopped is a call that the caller's own context ended.
func stopped(ctx context.Context, endpoint string) *Error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, ctx.Err()) {
		cause = errors.Join(ctx.Err(), cause)
	}
	return &Error{Endpoint: endpoint, Detail: cause.Error(), neutral: true, cause: cause}
}
