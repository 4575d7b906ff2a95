package realtime

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"
)

var errDeaf = errors.New("realtime: no answer to a heartbeat")

// schedule sets the time at which a socket has to be looked after.
func (l *loop) schedule(s *socket, now time.Time) {
	if !s.open || s.leaving {
		return
	}
	var next earliest
	next.add(s.beat.due())
	if len(s.legs) > 0 {
		s.emptyAt = time.Time{}
	} else {
		if s.emptyAt.IsZero() {
			s.emptyAt = now
		}
		next.add(s.emptyAt.Add(emptySocketFor))
	}
	l.times.set(s.alarm, next.at)
}

// tend sends a due heartbeat, gives up a socket that does not answer, and closes one that nobody uses.
func (l *loop) tend(s *socket, now time.Time) {
	switch {
	case s.beat.ref != "" && !now.Before(s.beat.answerBy):
		l.closed(s, errDeaf, now)
		return
	case s.beat.ref == "" && !now.Before(s.beat.nextAt):
		s.beat = s.beat.sent(l.nextRef(), now, s.joins)
		l.sendText(s, Frame{Ref: s.beat.ref, Topic: topicPhoenix, Event: eventHeartbeat})
	}
	if len(s.legs) == 0 && !s.emptyAt.IsZero() && now.Sub(s.emptyAt) >= emptySocketFor {
		l.log.Info("realtime socket closed", slog.Int("socket", s.number), slog.String("reason", "empty"))
		l.part(s)
		return
	}
	l.schedule(s, now)
}

// heartbeatAnswered shows that the socket is alive; about subscriptions it says nothing (C21).
func (l *loop) heartbeatAnswered(m frameCame, now time.Time) {
	s := m.s
	if m.frame.Event != eventReply || m.frame.Ref == "" || m.frame.Ref != s.beat.ref {
		l.ignore("unknown_topic")
		return
	}
	if hook := l.opts.Hooks.Heartbeat; hook != nil {
		hook(now.Sub(s.beat.sentAt))
	}
	s.beat.ref = ""
	l.schedule(s, now)
}

// part closes a socket with a close frame, in its own goroutine's time; one whose server does not answer is cut.
func (l *loop) part(s *socket) {
	delete(l.pool.sockets, s.number)
	l.times.set(s.alarm, time.Time{})
	if !s.open {
		s.stop()
		return
	}
	s.leaving = true
	l.countSockets(-1)
	close(s.out)
	time.AfterFunc(goodbyeWithin, s.stop)
}

// closeAll is the end of [Feed.Run].
func (l *loop) closeAll() {
	for _, s := range slices.Collect(maps.Values(l.pool.sockets)) {
		l.part(s)
	}
}

// followers are the channels on a socket, in a fixed order, so that a seeded run repeats.
func (s *socket) followers() []*follower {
	all := make([]*follower, 0, len(s.legs))
	for _, topic := range slices.Sorted(maps.Keys(s.legs)) {
		all = append(all, s.legs[topic])
	}
	return all
}
