package api

import "time"

const (
	pingEvery    = 25 * time.Second // scripts cannot see protocol pings, so there is a message, too
	pongTimeout  = 10 * time.Second
	writeTimeout = 5 * time.Second // a page that cannot be written to for this long is dropped
)

// upkeep is what the sweep knows of an open page: when it is due for what. Times are those of the
// monotonic clock, but for the token's, which ends by the wall clock.
type upkeep struct {
	pingAt  time.Time
	pongBy  time.Time // zero while no ping is unanswered
	partAt  time.Time // zero unless the server stops
	renewAt time.Time // when the page needs a fresh token
}

// duty is something that is due for a page; several may be due at once.
type duty uint8

const (
	dutyNews  duty = 1 << iota // the hub has a newer state
	dutyPing                   // both pings: the message and the protocol's
	dutyToken                  // a fresh token
	dutyClose                  // the reason is known
)

// step says what is due now, and why the page must end if it must. Ponged tells that a pong has come
// since the last step, and renewEvery how long a fresh token serves.
func (u upkeep) step(now, wall time.Time, ponged bool, renewEvery time.Duration) (upkeep, duty, why) {
	if ponged {
		u.pongBy = time.Time{}
	}
	switch {
	case !u.partAt.IsZero() && !now.Before(u.partAt):
		return u, dutyClose, stopping
	case !u.pongBy.IsZero() && !now.Before(u.pongBy):
		return u, dutyClose, silent
	}
	due := duty(0)
	if !now.Before(u.pingAt) {
		due |= dutyPing
		u.pingAt, u.pongBy = now.Add(pingEvery), now.Add(pongTimeout)
	}
	if !wall.Before(u.renewAt) {
		due |= dutyToken
		u.renewAt = wall.Add(renewEvery)
	}
	return u, due, ""
}

// next is when the page is due again.
func (u upkeep) next(now, wall time.Time) time.Time {
	next := now.Add(u.renewAt.Sub(wall))
	for _, at := range []time.Time{u.pingAt, u.pongBy, u.partAt} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}
