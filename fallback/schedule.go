package fallback

import (
	"cmp"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

// Why a question is asked, as the timeline shows it.
const (
	ViaPoll      = "poll"
	ViaAudit     = "audit"
	ViaVerify    = "verify"
	ViaReconcile = "reconcile"
)

// Ages at which the interval grows, and what it grows to (design, "Asking Dollr").
const (
	youngFor    = 2 * time.Minute // every 1 to 2.5 × PollMin
	freshFor    = 10 * time.Minute
	freshEvery  = 15 * time.Second
	recentFor   = time.Hour
	recentEvery = 45 * time.Second
	oldEvery    = 5 * time.Minute
)

const (
	// hintFor is how long a terminal hint that truth does not confirm is asked about every PollMin.
	hintFor = 60 * time.Second
	// lostWithin is when, at the latest, the first poll after the loss of the feed is due: the contract
	// gives 5 s, and the question needs a moment too. The losses of one socket are spread over it.
	lostWithin = 4 * time.Second
	// reopenedEvery: a final payment of which Dollr said something non-terminal.
	reopenedEvery = 5 * time.Minute
	// unansweredEvery and unansweredFor: a reconciling question that got no answer.
	unansweredEvery = 15 * time.Minute
	unansweredFor   = 24 * time.Hour
	// refusedEvery: Dollr said 401, 403 or 422. Only a person can change that.
	refusedEvery = time.Minute
)

// Cadence is how often is asked. Zero fields have the contract's defaults.
type Cadence struct {
	PollMin    time.Duration // RELAY_POLL_MIN, 2s: no interval is shorter
	PollMax    time.Duration // RELAY_POLL_MAX, 5m: no interval of an open payment that is not live is longer
	AuditEvery time.Duration // RELAY_AUDIT_EVERY, 30s: of a payment whose feed is live
}

// Facts are what the schedule depends on.
type Facts struct {
	CreatedAt time.Time // its age counts from here: registered, or registered again
	LastAsked time.Time // last question that ended, answered or not; zero if never
	Failures  int       // questions in a row that brought no answer; counts for final payments only
	Refused   bool      // the last of them with 401, 403 or 422

	Live     bool      // the feed would tell of a change
	LostAt   time.Time // when it ceased to be live or turned out not to become so; zero if never
	PageOpen bool      // a customer is looking
	HintedAt time.Time // a terminal hint that truth has not confirmed; zero if none

	WatchUntil time.Time // one last question is due then

	Final         bool
	FinalAt       time.Time
	Succeeded     bool      // the final outcome is succeeded or mismatch
	ReopenedUntil time.Time // final, but Dollr said something non-terminal since: asked every 5 min until then
}

// Next says when a payment is to be asked about next, why and how urgently. ok is false when never again. It may lie in
// the past: then it is due now. jitter, 0 to 1, spreads payments with equal facts.
//
//   - Never asked: now.
//   - Open and live: every AuditEvery, ±20 %.
//   - Open and not live: every 1 to 2.5 × PollMin until 2 min old, then 15 s, from 10 min 45 s, from 1 h 5 min, each ±20 % and
//     within PollMin and PollMax; the first within 4 s of losing the feed. Questions without an answer do not stretch it, the
//     breaker is there for that; refused ones (401, 403, 422) are asked once a minute.
//   - A terminal hint without truth (not after a success): every PollMin for 60 s.
//   - At WatchUntil once, whatever the interval.
//   - Final: 1 h and 24 h after FinalAt; unless succeeded, every 5 min while reopened. If there was no answer, every 15 min for a day.
func (c Cadence) Next(f Facts, now time.Time, jitter float64) (due time.Time, via string, u dollr.Urgency, ok bool) {
	c.PollMin = cmp.Or(c.PollMin, 2*time.Second)
	c.PollMax = cmp.Or(c.PollMax, 5*time.Minute)
	c.AuditEvery = cmp.Or(c.AuditEvery, 30*time.Second)
	// When the clock was set back nothing must wait until it catches up.
	f.CreatedAt, f.LastAsked, f.FinalAt = notAfter(f.CreatedAt, now), notAfter(f.LastAsked, now), notAfter(f.FinalAt, now)
	if hinted(f, now) {
		due = f.HintedAt
		if !f.LastAsked.Before(f.HintedAt) || f.HintedAt.After(now) {
			due = f.LastAsked.Add(c.PollMin)
		}
		return due, ViaVerify, dollr.UrgentVerify, true
	}
	if f.Final {
		due, ok = c.nextFinal(f, jitter)
		return due, ViaReconcile, dollr.UrgentOld, ok
	}
	due, via, u = c.nextOpen(f, now, jitter)
	return due, via, u, true
}

// hinted reports whether the 60 s of an unconfirmed terminal hint are still running.
func hinted(f Facts, now time.Time) bool {
	if f.Final && f.Succeeded {
		return false
	}
	return !f.HintedAt.IsZero() && now.Before(f.HintedAt.Add(hintFor))
}

func (c Cadence) nextOpen(f Facts, now time.Time, jitter float64) (due time.Time, via string, u dollr.Urgency) {
	age := now.Sub(f.CreatedAt)
	via, u = ViaPoll, urgency(f, age)
	switch {
	case f.LastAsked.IsZero():
		due = f.CreatedAt
	case f.Live:
		via, u = ViaAudit, dollr.UrgentAudit
		due = f.LastAsked.Add(spread(c.AuditEvery, jitter))
	default:
		due = f.LastAsked.Add(c.interval(f, age, jitter))
		if first := f.LostAt.Add(scale(lostWithin, jitter)); f.LastAsked.Before(f.LostAt) && first.Before(due) {
			due = first
		}
	}
	if !f.WatchUntil.IsZero() && f.LastAsked.Before(f.WatchUntil) && f.WatchUntil.Before(due) {
		due, via = f.WatchUntil, ViaPoll
	}
	return due, via, u
}

// urgency of an open payment that is not live. An open page counts at any age: somebody is waiting in front of it, and by
// its age it is asked rarely anyway.
func urgency(f Facts, age time.Duration) dollr.Urgency {
	switch {
	case f.PageOpen:
		return dollr.UrgentPage
	case age < freshFor:
		return dollr.UrgentYoung
	}
	return dollr.UrgentOld
}

func (c Cadence) interval(f Facts, age time.Duration, jitter float64) time.Duration {
	var every time.Duration
	switch {
	case age < youngFor:
		every = c.PollMin + scale(c.PollMin*3/2, jitter)
	case age < freshFor:
		every = spread(freshEvery, jitter)
	case age < recentFor:
		every = spread(recentEvery, jitter)
	default:
		every = spread(oldEvery, jitter)
	}
	if f.Refused {
		every = max(every, spread(refusedEvery, jitter))
	}
	return min(max(every, c.PollMin), c.PollMax)
}

// nextFinal is about payments that are settled: a late success or a contradiction must not go unseen.
func (c Cadence) nextFinal(f Facts, jitter float64) (due time.Time, ok bool) {
	for _, after := range []time.Duration{time.Hour, 24 * time.Hour} {
		slot := f.FinalAt.Add(after)
		switch {
		case f.LastAsked.Before(slot):
			due, ok = slot, true
		case f.Failures > 0 && f.LastAsked.Before(slot.Add(unansweredFor)):
			due, ok = f.LastAsked.Add(spread(unansweredEvery, jitter)), true
		default:
			continue
		}
		break
	}
	if !f.Succeeded {
		if again := f.LastAsked.Add(spread(reopenedEvery, jitter)); again.Before(f.ReopenedUntil) && (!ok || again.Before(due)) {
			return again, true
		}
	}
	return due, ok
}

func notAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

// spread is every ±20 %.
func spread(every time.Duration, jitter float64) time.Duration {
	return every*4/5 + scale(every*2/5, jitter)
}

// scale is the jitter's share of d.
func scale(d time.Duration, jitter float64) time.Duration {
	return time.Duration(float64(d) * min(max(jitter, 0), 1))
}
