package sim

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// life is what one process of the relay owes to Dollr: its budget, a 429's hold, the breaker, one question per payment.
type life struct {
	tokens   float64
	filled   time.Duration
	heldFrom time.Duration
	held     time.Duration // nothing may come before
	flying   map[string]int

	phase   phase
	since   int // counts changes of phase: what began before one says nothing after it
	streak  int
	until   time.Duration
	probes  int
	icedAt  time.Duration // when it was frozen or went on last
	blurred bool          // a token was not to be had: that counts for whichever breaker asked for it, which cannot be seen from here
}

// phase is that of the breaker, as it should be.
type phase int

const (
	closed phase = iota
	open
	probing
)

const (
	breakAfter = 5
	breakFor   = 10 * time.Second
	grain      = 2 * time.Millisecond // timers are as exact as this
)

// question is one request of the relay to Dollr.
type question struct {
	life      *life
	what, key string
	at        time.Duration
	since     int
}

// asked checks that a request may come now.
func (r *referee) asked(process, what, key string) question {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.world.now()
	l := r.lifeLocked(process)
	l.tokens = min(r.burst(), l.tokens+(now-l.filled).Seconds()*r.world.plan.rate) - 1
	l.filled = now
	woken := l.icedAt != 0 && now < l.icedAt+time.Second // what waited to be sent comes at once
	if l.tokens < -0.05 && woken {
		l.tokens = 0
	}
	if l.tokens < -0.05 {
		r.failLocked("DOLLR_RATE", "relay#%s asks faster than %g per second: %s %s", process, r.world.plan.rate, what, short(key))
		l.tokens = 0
	}
	if !woken && now > l.heldFrom+grain && now < l.held-grain {
		r.failLocked("a 429 stops every call", "relay#%s asks (%s %s) %s before the end of Retry-After", process, what, short(key), l.held-now)
	}
	r.askedTogetherLocked(l, process, what, key)
	q := question{life: l, what: what, key: key, at: now}
	if what != "status" {
		return q
	}
	l.flying[key]++
	if l.flying[key] > 1 {
		time.AfterFunc(1, func() { r.confirmTwo(process, l, key) })
	}
	if f := r.keys[key]; f != nil {
		f.askedAt = now
	}
	switch {
	case l.blurred:
	case l.phase == open && now < l.until-grain:
		r.failLocked("the breaker holds", "relay#%s asks %s although its breaker must be open for another %s", process, short(key), l.until-now)
	case l.phase == open:
		l.phase, l.probes = probing, 0
		l.since++
		l.probes++
	case l.phase == probing:
		if l.probes++; l.probes > 1 {
			r.failLocked("a single probe", "relay#%s asks %s while a probe is under way", process, short(key))
		}
	case l.phase == closed:
	}
	q.since = l.since
	return q
}

// underWay reports whether a question or a callback is, or was when its process died.
func (r *referee) underWay() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lives {
		if len(l.flying) > 0 {
			return true
		}
	}
	for _, p := range r.reports {
		for _, n := range p.flying {
			if n > 0 {
				return true
			}
		}
	}
	return false
}

func (r *referee) lifeLocked(process string) *life {
	l := r.lives[process]
	if l == nil {
		l = &life{tokens: r.burst(), filled: r.world.now(), flying: map[string]int{}}
		r.lives[process] = l
	}
	return l
}

func (r *referee) burst() float64 { return math.Max(1, math.Floor(2*r.world.plan.rate)) }

// confirmTwo looks again when everybody is at rest: a question that was given up may have been still on its way out.
func (r *referee) confirmTwo(process string, l *life, key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.flying[key] > 1 {
		r.failLocked("one question per payment", "relay#%s has two questions about %s under way", process, short(key))
	}
}

// answered takes note of how a question ended, as far as the relay can tell.
func (r *referee) answered(q question, ctx context.Context, a *answer, honest bool) { //nolint:revive // the question is the subject
	r.mu.Lock()
	defer r.mu.Unlock()
	l, now := q.life, r.world.now()
	if a.code == http.StatusTooManyRequests && a.retryAfter() > 0 {
		l.heldFrom, l.held = now, max(l.held, now+a.retryAfter())
		r.heldLocked(l.held)
	}
	became := q.result(ctx, a, honest, now)
	if q.what == "token" && became == bad {
		l.blurred = true
	}
	if q.what != "status" {
		return
	}
	if l.flying[q.key]--; l.flying[q.key] == 0 {
		delete(l.flying, q.key)
	}
	if f := r.keys[q.key]; f != nil {
		f.answeredAt = now
	}
	if l.blurred {
		if became == good && len(l.flying) == 0 { // nothing is left that could still count as something unknown
			l.blurred, l.phase, l.streak = false, closed, 0
			l.since++
		}
		return
	}
	if q.since != l.since {
		return
	}
	if l.phase == probing {
		l.probes--
	}
	switch became {
	case good:
		l.streak = 0
		if l.phase == probing {
			l.phase = closed
			l.since++
		}
	case bad:
		if l.streak++; l.phase == probing || l.streak >= breakAfter {
			l.phase, l.until, l.streak = open, now+breakFor, 0
			l.since++
		}
	case neutral:
	}
}

type result int

const (
	neutral result = iota
	good
	bad
)

// result is what an answer says about Dollr's health.
func (q question) result(ctx context.Context, a *answer, honest bool, now time.Duration) result {
	switch {
	case a.code == 0 && ctx.Err() != nil && now-q.at < 9*time.Second:
		return neutral // the relay, or the connection, is gone
	case a.code == 0:
		return bad
	case a.code >= 400 && a.code < 500:
		return neutral
	case a.code == http.StatusOK && honest:
		return good
	}
	return bad
}

// frame counts joins.
func (r *referee) frame(f realtimetest.Frame) {
	if !f.FromClient || !bytes.Contains(f.Data, []byte(`"phx_join"`)) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.world.now()
	for len(r.joins) > 0 && now-r.joins[0] > time.Second {
		r.joins = r.joins[1:]
	}
	r.joins = append(r.joins, now)
	if len(r.joins) > 21 {
		r.failLocked("at most 20 joins per second", "%d joins in a second", len(r.joins))
	}
}
