package realtime

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Events of a channel. Those from a socket carry its number and the frame's join_ref.
type (
	evTick struct{}
	evKey  struct { // a key was minted
		token secret.Value
		life  time.Duration
	}
	evNoKey struct{ unusable bool } // minting failed, or brought something that is no key
	evPlace struct {                // a socket has a place for the queued leg
		spare   bool
		socket  int
		apart   bool
		ref     string
		timeout time.Duration
	}
	evReply struct {
		socket       int
		joinRef, ref string
		reply        reply
	}
	evSystem struct {
		socket  int
		joinRef string
		system  system
	}
	evChange struct {
		socket  int
		joinRef string
		change  change
	}
	evEnd struct { // phx_close or phx_error
		socket  int
		joinRef string
		crashed bool
	}
	evSocketLost struct{ socket int }
	evMissed     struct{ reason string } // somebody found a change that this channel did not report
	evUnfollow   struct{}
)

// Effects of a step, to be carried out in order.
type (
	doNotify struct {
		kind           Kind
		status, reason string
		again          bool // it was live already
	}
	doMint struct{}
	doSend struct { // ref is empty for the shell to choose
		socket              int
		joinRef, ref, event string
		payload             any
	}
	doRejoin struct{ reason, detail string } // the channel has failed; for metrics and logs
	doSlow   struct{}                        // the project's limit was hit
	doShard  struct{ socket int }            // this socket takes no more channels
	doIgnore struct{ what string }           // a frame that does not count; for metrics
)

// step is the life of a channel: what happens to it by an event, and what is to be done about it. random is in [0, 1).
func step(c channel, event any, now time.Time, random func() float64) (channel, []any) {
	s := stepper{channel: c, now: now, random: random}
	switch e := event.(type) {
	case evTick: // only time has passed
	case evKey:
		s.takeKey(e)
	case evNoKey:
		s.noKey(e.unusable)
	case evPlace:
		s.place(e)
	case evReply:
		s.replied(e)
	case evSystem:
		s.system(e)
	case evChange:
		s.changed(e)
	case evEnd:
		s.ended(e)
	case evSocketLost:
		s.socketLost(e.socket)
	case evMissed:
		if s.main.phase >= joined {
			s.leave(s.main)
			s.lose(&s.main, transient, e.reason, "")
		}
	case evUnfollow:
		s.leave(s.main)
		s.leave(s.spare)
		return channel{target: c.target}, s.effects
	}
	s.pass()
	s.settle()
	return s.channel, s.effects
}

// stepper is a channel in the middle of a step.
type stepper struct {
	channel
	now     time.Time
	random  func() float64
	effects []any
}

func (s *stepper) do(effect any) { s.effects = append(s.effects, effect) }

func (s *stepper) passed(t time.Time) bool { return !t.IsZero() && !s.now.Before(t) }

// settle starts whatever the state calls for: a key, a place for the main leg, a place for the spare.
func (s *stepper) settle() {
	if !s.key.usable(s.now) {
		s.key = heldKey{}
	}
	wanted := s.main.phase >= joining || s.main.phase == off && !s.now.Before(s.retryAt)
	if wanted && !s.minting && !s.now.Before(s.mintAt) && !s.now.Before(s.key.renewAt) {
		s.minting = true
		s.do(doMint{})
	}
	// A key past its renewal still serves when no new one is to be had.
	if s.main.phase == off && wanted && !s.minting && !s.key.token.IsZero() {
		s.main = leg{phase: queued}
	}
	if s.passed(s.spareAt) && s.main.phase == live && s.spare.phase == off && !s.key.token.IsZero() {
		s.spareAt = time.Time{}
		s.spare = leg{phase: queued}
	}
}

// pass ends what was due by now.
func (s *stepper) pass() {
	if s.reported == 0 && s.passed(s.reportBy) {
		s.lost("unconfirmed")
	}
	for _, l := range []*leg{&s.spare, &s.main} {
		switch {
		case l.phase == joining && s.passed(l.dueAt):
			s.leave(*l)
			s.loseJoin(l, transient, "join_timeout", "")
		case l.phase == joined && s.passed(l.dueAt):
			s.leave(*l)
			s.lose(l, transient, "unconfirmed", "")
		case l.phase >= joined && s.passed(l.endsAt.Add(endGrace)):
			s.leave(*l)
			s.lose(l, credential, "expired", "")
		case l.phase == live && s.passed(l.freshBy):
			l.freshBy = time.Time{}
			s.spareAt = s.now
		}
	}
}

// takeKey holds a new key for joins to come and pushes it to those that are through (§6, C26).
func (s *stepper) takeKey(e evKey) {
	s.minting, s.mintFail, s.mintAt = false, backoff{}, time.Time{}
	s.key = hold(e.token, e.life, s.now, s.random())
	s.push(&s.main)
	s.push(&s.spare)
}

// push sends the present key to a joined leg that has another one. There is no reply: a fresh `system` ok is the proof.
func (s *stepper) push(l *leg) {
	if l.phase < joined || l.token == s.key.token || !s.key.usable(s.now) {
		return
	}
	if l.phase == live { // in any case before the old key ends
		l.freshBy = s.now.Add(min(freshWithin, max(time.Second, l.endsAt.Sub(s.now)/2)))
	}
	s.carry(l)
	s.do(doSend{socket: l.socket, joinRef: l.ref, event: eventToken, payload: map[string]string{"access_token": s.key.token.Reveal()}})
}

// carry notes that the leg has the present key.
func (s *stepper) carry(l *leg) {
	l.token, l.matureAt, l.endsAt = s.key.token, s.key.renewAt, s.key.endsAt
}

// noKey puts the next try off. A mint that brings rubbish is asked as seldom as a server that refuses keys.
func (s *stepper) noKey(unusable bool) {
	var wait time.Duration
	s.mintFail, wait = s.mintFail.fail(s.random())
	if unusable {
		s.refusals++
		wait = s.pauseAfterRefusal(wait)
	}
	s.minting, s.mintAt = false, s.now.Add(wait)
	if s.main.phase < joining {
		s.lost("key")
	}
}

// place joins the queued leg, with the newest key there is at this moment (C6).
func (s *stepper) place(e evPlace) {
	l := &s.main
	if e.spare {
		l = &s.spare
	}
	if l.phase != queued {
		return
	}
	if !s.key.usable(s.now) { // it has waited too long: first another key
		*l = leg{}
		if e.spare {
			s.spareAt = s.now
		}
		return
	}
	*l = leg{phase: joining, socket: e.socket, apart: e.apart, ref: e.ref, dueAt: s.now.Add(e.timeout)}
	s.carry(l)
	s.do(doSend{socket: l.socket, joinRef: l.ref, ref: l.ref, event: eventJoin, payload: newJoinPayload(s.target, l.token.Reveal())})
}

// at finds the leg that a frame belongs to. A join_ref of another join is late news (§2.3); none at all is accepted.
func (s *stepper) at(socket int, joinRef string) *leg {
	for _, l := range []*leg{&s.main, &s.spare} {
		if l.phase >= joining && l.socket == socket && (joinRef == "" || joinRef == l.ref) {
			return l
		}
	}
	s.do(doIgnore{"stale_join"})
	return nil
}

func (s *stepper) replied(e evReply) {
	l := s.at(e.socket, e.joinRef)
	switch {
	case l == nil:
	case l.phase == joining && e.ref == l.ref && e.reply.ok:
		s.accepted(l, e.reply)
	case l.phase == joining && e.ref == l.ref:
		class := classify(e.reply.reason)
		s.loseJoin(l, class, class.word(), e.reply.reason)
	case l.phase >= joined && !e.reply.ok && e.reply.reason == "unmatched topic":
		s.lose(l, transient, "forgotten", "") // the server does not know the channel any more (C25)
	}
}

// accepted is a join's ok reply, which proves nothing about the database subscription (C9).
func (s *stepper) accepted(l *leg, r reply) {
	id, ok := r.bindingID(s.target.binding())
	if !ok {
		s.leave(*l)
		s.loseJoin(l, refused, "mismatch", "")
		return
	}
	l.phase, l.binding = joined, id
	l.dueAt = s.now.Add(confirmWithin)
	if l == &s.main {
		s.joinFailed = false
	}
	s.push(l)
	if l.proven {
		s.prove(l)
	}
}

func (s *stepper) system(e evSystem) {
	l := s.at(e.socket, e.joinRef)
	if l == nil {
		return
	}
	if e.system.Channel != "" && e.system.Channel != s.target.Topic() {
		s.do(doIgnore{"foreign_system"})
		return
	}
	ok := e.system.Status == "ok"
	switch {
	case e.system.Extension != extensionChanges && !ok:
		l.cause = e.system.Message
	case e.system.Extension != extensionChanges: // "Server requested disconnect": the socket's close follows
	case ok && l.phase == joining:
		l.proven = true
	case ok:
		s.prove(l)
	case classifySystem(e.system.Message) == refused:
		s.leave(*l)
		s.lose(l, refused, "refused", e.system.Message)
	case l.phase == live: // the server tries again by itself: wait as for a cold feed, but not longer, however often it fails
		l.phase, l.freshBy, l.dueAt = joined, time.Time{}, s.now.Add(confirmWithin)
		if l == &s.main {
			s.steady()
			s.do(doRejoin{"system_error", e.system.Message})
			s.lost("system_error")
		}
	default:
		l.proven = false
	}
}

// prove is the confirmation of a joined leg. Each one is reported: whatever came before it may have been missed (C19).
func (s *stepper) prove(l *leg) {
	if l == &s.spare {
		s.leave(s.main)
		s.main, s.spare = s.spare, leg{}
		l = &s.main
	}
	l.phase, l.freshBy = live, time.Time{}
	if s.liveSince.IsZero() {
		s.liveSince = s.now
	}
	if l.apart && s.spareAt.IsZero() {
		s.spareAt = s.now.Add(stableAfter) // back among the healthy ones, without a gap
	}
	s.do(doNotify{kind: Live, again: s.reported == Live})
	s.reported = Live
}

// changed takes a row change as a hint, if it is for this channel (C14).
func (s *stepper) changed(e evChange) {
	l := s.at(e.socket, e.joinRef)
	if l == nil {
		return
	}
	if l.phase < joined || !slices.Contains(e.change.ids, l.binding) || !s.target.isOwnRow(e.change.referenceID) {
		s.do(doIgnore{"foreign_change"})
		return
	}
	switch e.change.kind {
	case "INSERT", "UPDATE", "DELETE":
		s.do(doNotify{kind: Change, status: e.change.status})
	default:
		s.do(doIgnore{"foreign_change"})
	}
}

func (s *stepper) ended(e evEnd) {
	l := s.at(e.socket, e.joinRef)
	switch {
	case l == nil:
	case e.crashed:
		s.lose(l, transient, "crashed", "")
	default:
		class, word := classify(l.cause), "closed"
		if class != transient {
			word = class.word()
		}
		s.lose(l, class, word, l.cause)
	}
}

func (s *stepper) socketLost(socket int) {
	for _, l := range []*leg{&s.spare, &s.main} { // the spare first: a main leg falls back on it
		if l.phase >= joining && l.socket == socket {
			s.lose(l, transient, "socket", "")
		}
	}
}

// leave says goodbye to a leg on the wire; nobody waits for the answer (C27).
func (s *stepper) leave(l leg) {
	if l.phase >= joining {
		s.do(doSend{socket: l.socket, joinRef: l.ref, event: eventLeave, payload: json.RawMessage("{}")})
	}
}
