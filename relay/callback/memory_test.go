package callback_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/callback/callbacktest"
)

// memory is an outbox as strict as the real ones: it passes the same suite.
type memory struct {
	mu   sync.Mutex
	rows []*row // in the order they were queued

	chose map[string]bool // payments with a URL of their own
}

type row struct {
	callback.Delivery
	state    callback.State
	due      time.Time
	leased   time.Time // end of the lease; zero: none
	again    bool      // at once, should the attempt in flight fail
	used     int       // attempts since queued
	lastTry  time.Time
	attempts []callbacktest.Attempt
}

func TestMemory(t *testing.T) {
	t.Parallel()
	callbacktest.TestOutbox(t, func(testing.TB) callbacktest.Box { return &memory{} })
}

// heads are the oldest unfinished callbacks of each payment.
func (m *memory) heads(url string) []*row {
	seen := map[string]bool{}
	var heads []*row
	for _, r := range m.rows {
		if r.state != callback.Pending || seen[r.PaymentID] {
			continue
		}
		seen[r.PaymentID] = true
		if r.URL == url {
			heads = append(heads, r)
		}
	}
	return heads
}

// claimableAt is when a head can be claimed.
func (r *row) claimableAt() time.Time {
	if !r.leased.IsZero() {
		return r.leased
	}
	return r.due
}

func (r *row) isLeased(now time.Time) bool { return r.leased.After(now) }

func (m *memory) NextDue(_ context.Context, url string) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next time.Time
	for _, r := range m.heads(url) {
		if at := r.claimableAt(); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next, nil
}

func (m *memory) Claim(_ context.Context, url string, limit int, now time.Time, lease time.Duration) ([]callback.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	heads := m.heads(url)
	slices.SortStableFunc(heads, func(a, b *row) int { return a.due.Compare(b.due) })
	var ds []callback.Delivery
	for _, r := range heads {
		if len(ds) < limit && !r.claimableAt().After(now) {
			r.leased, r.again = now.Add(lease), false
			r.Claim++
			r.Attempt = r.used + 1
			ds = append(ds, r.Delivery)
		}
	}
	return ds, nil
}

func (m *memory) Renew(_ context.Context, ds []callback.Delivery, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range ds {
		if r := m.find(d.ID); r != nil && r.Claim == d.Claim && !r.leased.IsZero() {
			r.leased = until
		}
	}
	return nil
}

func (m *memory) Finish(_ context.Context, d callback.Delivery, res callback.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(d.ID)
	if r == nil || r.state != callback.Pending || r.Claim != d.Claim || r.leased.IsZero() {
		return callback.ErrFenced
	}
	r.state, r.due, r.leased = res.State, res.NextAt, time.Time{}
	if r.again {
		r.due = res.At.Add(res.Duration)
	}
	if res.Attempted {
		r.used++
		r.lastTry = res.At
		r.attempts = append(r.attempts, callbacktest.Attempt{
			At: res.At, Duration: res.Duration, Code: res.Code, Err: res.Err, Response: res.Response,
		})
	}
	return nil
}

func (m *memory) Postpone(_ context.Context, url string, now, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if r.URL == url && r.state == callback.Pending && !r.isLeased(now) && !r.due.After(now) {
			r.due, r.leased = until, time.Time{}
		}
	}
	return nil
}

func (m *memory) Hasten(_ context.Context, url string, triedBefore, now time.Time, limit int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.rows {
		if n < limit && r.URL == url && r.state == callback.Pending && r.leased.IsZero() && r.due.After(now) && r.lastTry.Before(triedBefore) {
			r.due = now
			n++
		}
	}
	return n, nil
}

func (m *memory) Readdress(_ context.Context, configured []string, now time.Time) (moved, stranded int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		switch {
		case len(configured) == 0 || r.state != callback.Pending || r.isLeased(now) || slices.Contains(configured, r.URL):
		case now.Sub(r.QueuedAt) <= callback.Unserved || now.Sub(r.lastTry) <= callback.Unserved:
		case m.chose[r.PaymentID]:
			stranded++
		default:
			r.URL = configured[0]
			moved++
		}
	}
	return moved, stranded, nil
}

func (m *memory) Bury(_ context.Context, queuedBefore, now time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.rows {
		if r.state == callback.Pending && !r.isLeased(now) && r.QueuedAt.Before(queuedBefore) {
			r.state, r.leased = callback.Dead, time.Time{}
			n++
		}
	}
	return n, nil
}

func (m *memory) Queue(_ context.Context, id, payment, url string, body []byte, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		switch {
		case r.PaymentID != payment || r.state != callback.Pending:
		case !r.leased.IsZero():
			r.again = true
		case r.due.After(at):
			r.due = at
		}
	}
	m.rows = append(m.rows, &row{
		Delivery: callback.Delivery{ID: id, PaymentID: payment, Type: "payment.succeeded", URL: url, Body: body, QueuedAt: at},
		state:    callback.Pending, due: at,
	})
	return nil
}

func (m *memory) Redeliver(_ context.Context, id string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(id)
	r.state, r.due, r.leased, r.used, r.QueuedAt = callback.Pending, at, time.Time{}, 0, at
	r.lastTry = time.Time{}
	r.Claim++
	return nil
}

func (m *memory) Look(_ context.Context, id string) (callbacktest.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.find(id)
	if r == nil {
		return callbacktest.Row{}, fmt.Errorf("no callback %s", id)
	}
	return callbacktest.Row{State: r.state, Due: cmp.Or(r.leased, r.due), Attempts: slices.Clone(r.attempts)}, nil
}

func (m *memory) find(id string) *row {
	i := slices.IndexFunc(m.rows, func(r *row) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return m.rows[i]
}
