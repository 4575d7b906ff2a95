package realtime

import (
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Deadlines of a channel.
const (
	reportWithin  = 5 * time.Second  // not live this long after following or after the join's reply: say so, others poll meanwhile
	confirmWithin = 30 * time.Second // a cold change feed confirms late (§3.3); after this the join is repeated (C9)
	freshWithin   = 10 * time.Second // after a pushed key; then the channel is joined on another socket before this one is left
	endGrace      = 5 * time.Second  // the server ends a channel at its key's exp; if it has not by now, we do
	refusedPause  = 5 * time.Minute  // after a refusal that only another key or another configuration can change
)

// phase is how far a leg has come.
type phase int

const (
	off     phase = iota
	queued        // waits for a place on a socket
	joining       // phx_join is sent
	joined        // the reply is here, the database subscription is not proven
	live          // `system` ok as well
)

// leg is one join of the channel's topic on one socket.
type leg struct {
	phase    phase
	socket   int    // number of the socket
	apart    bool   // that socket is one for channels whose join has failed
	ref      string // the join's ref, also join_ref of everything after it
	binding  int64  // the id that changes carry
	proven   bool   // `system` ok came before the reply
	dueAt    time.Time
	freshBy  time.Time    // zero, or when a pushed key has to be confirmed
	token    secret.Value // the key last sent
	matureAt time.Time    // from here on its expiry is nobody's fault
	endsAt   time.Time    // of that key
	cause    string       // a `system` error that phx_close is about to follow
}

// channel is the subscription of one payment: a value that [step] turns into its successor. Usually it is one leg. A second one, the
// spare, is joined on another socket when the first is not to be left before its successor is live.
type channel struct {
	target      Target
	main, spare leg

	key      heldKey
	minting  bool
	mintAt   time.Time // not before
	mintFail backoff

	retryAt    time.Time // main is off: not before
	spareAt    time.Time // zero, or when to join the spare
	joinFail   backoff
	joinFailed bool // main's last join was refused or never answered: try again apart from healthy channels
	refusals   int  // of keys, in a row

	liveSince time.Time // zero, or since when main is live
	reported  Kind      // Live or Lost, zero at first
	reportBy  time.Time
}

// follow is the channel of a payment that has just been taken on.
func follow(t Target, now time.Time) channel {
	return channel{target: t, reportBy: now.Add(reportWithin)}
}

// state is the channel's present state in one word, for gauges and logs.
func (c channel) state() string {
	switch c.main.phase {
	case queued:
		return "queued"
	case joining:
		return "joining"
	case joined:
		return "joined"
	case live:
		return "live"
	case off:
	}
	if c.minting {
		return "minting"
	}
	return "waiting"
}

// due is the earliest time at which a tick can change anything; zero if only an event can.
func (c channel) due() time.Time {
	var d earliest
	if c.reported == 0 {
		d.add(c.reportBy)
	}
	for _, l := range []leg{c.main, c.spare} {
		switch l.phase {
		case joining, joined:
			d.add(l.dueAt)
		case live:
			d.add(l.freshBy)
		case off, queued:
		}
		if l.phase >= joined {
			d.add(l.endsAt.Add(endGrace))
		}
	}
	switch {
	case c.minting:
	case c.main.phase >= joining:
		d.add(latest(c.key.renewAt, c.mintAt))
	case c.main.phase == off:
		d.add(latest(c.retryAt, c.mintAt))
		if !c.key.token.IsZero() {
			d.add(c.retryAt)
		}
	}
	if c.main.phase == live && c.spare.phase == off && !c.key.token.IsZero() {
		d.add(c.spareAt)
	}
	return d.at
}

type earliest struct{ at time.Time }

func (e *earliest) add(t time.Time) {
	if !t.IsZero() && (e.at.IsZero() || t.Before(e.at)) {
		e.at = t
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
