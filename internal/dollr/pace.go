package dollr

import (
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxHold is the longest that one Retry-After is believed (contract, section 7).
	maxHold = 5 * time.Minute
	// maxStrikes caps the exponential pause after 429 answers without Retry-After at 64 s.
	maxStrikes = 6
	// slowest is the smallest share of the configured rate that repeated 429 answers lead to.
	slowest = 1.0 / 16
	// recoverEvery and recoverBy: each 10 s without a 429 give back a tenth of the configured rate.
	recoverEvery = 10 * time.Second
	recoverBy    = 1.0 / 10
)

// pace says when the next request may leave. It has no clock of its own: every method is told the time.
type pace struct {
	full    rate.Limit // as configured
	limiter *rate.Limiter

	heldUntil time.Time // nothing leaves before
	slowedAt  time.Time // the last 429 that lowered the rate
	strikes   int       // 429 answers without Retry-After in a row
	recoverAt time.Time // when the next share of the rate comes back
}

func newPace(perSecond float64) pace {
	full := rate.Limit(perSecond)
	return pace{full: full, limiter: rate.NewLimiter(full, burst(full))}
}

// burst is twice the rate, and at least the one request without which nothing would ever leave.
func burst(r rate.Limit) int { return max(1, int(2*r)) }

// leastShare keeps a client that was left no share of the rate from standing still.
const leastShare = 1.0 / 50

// resize makes the configured rate another one; what 429 answers have taken of it stays taken.
func (p *pace) resize(now time.Time, perSecond float64) {
	left := p.limiter.Limit() / p.full
	p.full = rate.Limit(perSecond)
	p.limiter.SetLimitAt(now, left*p.full)
	p.limiter.SetBurstAt(now, burst(left*p.full))
	if p.heldUntil.After(now) {
		p.startGently()
	}
}

// hold takes note of a 429 that somebody else got.
func (p *pace) hold(now time.Time, d time.Duration) {
	until := now.Add(min(d, maxHold))
	if !until.After(p.heldUntil) {
		return
	}
	p.heldUntil = until
	p.recoverAt = until.Add(recoverEvery)
	p.startGently()
}

// startGently makes a pause end with a single request: a bucket that filled up meanwhile would answer it with a burst.
func (p *pace) startGently() {
	p.limiter = rate.NewLimiter(p.limiter.Limit(), burst(p.limiter.Limit()))
	p.limiter.AllowN(p.heldUntil, p.limiter.Burst()-1)
}

// take lets one request leave and returns 0, or returns how long to wait before asking again.
func (p *pace) take(now time.Time) time.Duration {
	if now.Before(p.heldUntil) {
		return p.heldUntil.Sub(now)
	}
	p.recover(now)
	if p.limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - p.limiter.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(p.limiter.Limit())*float64(time.Second)))
}

// recover gives back what the time without a 429 has earned.
func (p *pace) recover(now time.Time) {
	for p.limiter.Limit() < p.full && !now.Before(p.recoverAt) {
		next := min(p.full, p.limiter.Limit()+p.full*recoverBy)
		p.limiter.SetLimitAt(now, next)
		p.limiter.SetBurstAt(now, burst(next))
		p.recoverAt = p.recoverAt.Add(recoverEvery)
	}
}

// limited takes note of a 429 for a request that was let go at granted. retryAfter is 0 when Dollr named none.
//
// The rate is halved once per wave: requests that were on their way when it was lowered say nothing about the
// lowered rate. It returns how long everything is held.
func (p *pace) limited(now, granted time.Time, retryAfter time.Duration) time.Duration {
	sameWave := granted.Before(p.slowedAt)
	if retryAfter == 0 && !sameWave {
		retryAfter = time.Second << p.strikes
		p.strikes = min(p.strikes+1, maxStrikes)
	}
	if until := now.Add(min(retryAfter, maxHold)); until.After(p.heldUntil) {
		p.heldUntil = until
	}
	lowered := p.limiter.Limit()
	if !sameWave {
		lowered = max(lowered/2, p.full*slowest)
		p.slowedAt = now
	}
	p.recoverAt = p.heldUntil.Add(recoverEvery)

	p.limiter = rate.NewLimiter(lowered, burst(lowered))
	p.startGently()
	return p.heldUntil.Sub(now)
}

// answered takes note of an answer other than 429 for a request that was let go at granted.
func (p *pace) answered(granted time.Time) {
	if !granted.Before(p.slowedAt) {
		p.strikes = 0
	}
}
