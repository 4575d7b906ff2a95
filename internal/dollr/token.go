package dollr

import (
	"context"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

const (
	// refreshBefore is how long before its end a token is replaced; one that lives less than twice
	// that long is replaced at half of its life.
	refreshBefore = 5 * time.Minute
	// probeEvery is how often refused credentials are tried again, and how long a failed early refresh rests.
	probeEvery = 10 * time.Second
)

// tokens keeps the one access token of the process. Whoever first finds it old refreshes it; the others go on with the
// old one while it lives, and wait for that one refresh when it does not.
//
// Lives are measured on the monotonic clock: a jump of the wall clock makes no token young or old.
type tokens struct {
	fetch func(ctx context.Context) (secret.Value, time.Duration, error)

	mu        sync.Mutex
	token     secret.Value
	expires   time.Time
	refreshAt time.Time
	flight    *flight // the refresh under way, if any

	refusal      *Error // why the credentials do not work, if they do not
	refusedUntil time.Time
}

// flight is one refresh that several callers wait for.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
}

// current returns the token to use now. ok is false when there is none, or when it is the caller's turn to refresh it.
func (s *tokens) current() (token secret.Value, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	alive := now.Before(s.expires)
	if alive && (now.Before(s.refreshAt) || s.flight != nil) {
		return s.token, true
	}
	return secret.Value{}, false
}

// refresh gets a new token or waits for the refresh under way. Its error is that refresh's error, for all who waited:
// one failed request must not become many. A failure while the old token is alive is none: it is used on.
func (s *tokens) refresh(ctx context.Context) error {
	for {
		s.mu.Lock()
		f := s.flight
		if f == nil {
			f = &flight{done: make(chan struct{})}
			s.flight = f
			s.mu.Unlock()
			return s.lead(ctx, f)
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return stopped(ctx, endpointToken)
		case <-f.done:
		}
		if e, ok := f.err.(*Error); ok { //nolint:errorlint // set by lead, never wrapped
			if e.Reason() == "" {
				continue // its leader was called off, which is no answer: lead the next one
			}
			shared := *e
			shared.neutral = true // the breaker counts the request that failed, once
			return &shared
		}
		return f.err
	}
}

func (s *tokens) lead(ctx context.Context, f *flight) error {
	token, life, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch now := time.Now(); {
	case err == nil:
		s.keepLocked(token, life)
	case now.Before(s.expires):
		s.refreshAt = now.Add(probeEvery)
		err = nil
	}
	f.err = err
	s.flight = nil
	close(f.done)
	return err
}

// keep makes token the one to use.
func (s *tokens) keep(token secret.Value, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(token, life)
}

func (s *tokens) keepLocked(token secret.Value, life time.Duration) {
	s.token, s.expires = token, time.Now().Add(life)
	s.refreshAt = s.expires.Add(-min(refreshBefore, life/2))
}

// reject drops a token that Dollr no longer accepts. A newer one stays.
func (s *tokens) reject(token secret.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.Equal(token.Reveal()) {
		s.token, s.expires = secret.Value{}, time.Time{}
	}
}

// refuse notes that the credentials do not work. It reports whether that is news.
func (s *tokens) refuse(why *Error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = s.refusal == nil
	s.refusal = why
	s.refusedUntil = time.Now().Add(probeEvery)
	return news
}

// accept notes that Dollr took the credentials. It reports whether that is news.
func (s *tokens) accept() (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = s.refusal != nil
	s.refusal = nil
	return news
}

// refused returns the error to fail with while the credentials do not work. Every 10 s one caller
// that asks as a probe gets nil instead and finds out.
func (s *tokens) refused(endpoint string, probe bool) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal == nil {
		return nil
	}
	left := time.Until(s.refusedUntil)
	if left <= 0 && probe {
		s.refusedUntil = time.Now().Add(probeEvery)
		return nil
	}
	e := *s.refusal
	e.Endpoint, e.retryAfter = endpoint, max(left, time.Second)
	return &e
}
