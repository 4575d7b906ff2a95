package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

const (
	maxChannels   = 100 // of a socket, the service's default (§7)
	maxJoins      = 20  // per second over all sockets
	joinsPending  = 4   // of a socket: each that fails holds the socket back 5 s
	joinTimeout   = 10 * time.Second
	refusedDialIn = time.Minute // 401, 403 and 404 are not retried faster (C2)
)

// lane is a queue for places on sockets.
type lane int

const (
	fresh lane = iota // first joins, and those after a channel that worked was lost
	apart             // after a join that failed: on sockets of their own kind
	moved             // spares: on a healthy socket other than the channel's own
	lanes
)

// pool is the sockets and who waits for a place on one.
type pool struct {
	sockets  map[int]*socket
	waiting  [lanes][]*follower
	turn     lane // whose turn it is, so that no lane starves
	limit    int  // channels of a socket
	pace     pacer
	dialFail backoff
	dialAt   time.Time // not before
	last     int       // number of the newest socket
}

func newPool(joinsPerSecond float64) pool {
	return pool{sockets: map[int]*socket{}, limit: maxChannels, pace: pacer{full: joinsPerSecond, rate: joinsPerSecond}}
}

// nextTry is when fillPlaces may get further by the passing of time alone.
func (p *pool) nextTry(now time.Time) time.Time {
	waiting := false
	for _, queue := range p.waiting {
		waiting = waiting || len(queue) > 0
	}
	var next earliest
	if waiting {
		for _, t := range []time.Time{p.pace.at(), p.dialAt} {
			if t.After(now) {
				next.add(t)
			}
		}
	}
	return next.at
}

// shard lowers the number of channels a socket gets to what this one has shown to bear. It stays so until the process
// ends: a project's plan changes seldom, and more sockets do no harm.
func (p *pool) shard(number int) {
	if s, ok := p.sockets[number]; ok && len(s.legs) > s.joins { // refused on an empty socket it is not about numbers
		p.limit = min(p.limit, len(s.legs)-s.joins)
	}
}

// find picks a socket with room for a channel of this topic, the fullest first so that others may run empty. wait tells that
// one will have room soon.
func (p *pool) find(topic string, kind lane) (best *socket, wait bool) {
	for _, s := range p.sockets {
		if s.apart != (kind == apart) || s.leaving || len(s.legs) >= p.limit {
			continue
		}
		if _, taken := s.legs[topic]; taken { // a second join there would end the first (§3.1)
			continue
		}
		if !s.open || s.joins >= joinsPending {
			wait = true
			continue
		}
		if best == nil || len(s.legs) > len(best.legs) || len(s.legs) == len(best.legs) && s.number < best.number {
			best = s
		}
	}
	return best, wait
}

// fillPlaces joins waiting channels, as fast as the pace allows and sockets have room.
func (l *loop) fillPlaces(ctx context.Context, now time.Time) {
	stuck := lane(0)
	for stuck < lanes && !now.Before(l.pool.pace.at()) {
		kind := l.pool.turn
		l.pool.turn = (kind + 1) % lanes
		if l.fillPlace(ctx, kind, now) {
			stuck = 0
		} else {
			stuck++
		}
	}
}

// fillPlace serves the first of a lane, and reports whether it could.
func (l *loop) fillPlace(ctx context.Context, kind lane, now time.Time) bool {
	queue := &l.pool.waiting[kind]
	for len(*queue) > 0 {
		fw := (*queue)[0]
		if fw.gone || fw.laneOf(kind == moved) != kind {
			l.leaveLane(fw, kind)
			continue
		}
		s, wait := l.pool.find(fw.channel.target.wireTopic(), kind)
		if s == nil {
			if !wait {
				l.openSocket(ctx, kind == apart, now)
			}
			return false
		}
		l.leaveLane(fw, kind)
		timeout := joinTimeout + time.Duration(s.joins+1)*joinHoldback
		l.step(fw, evPlace{spare: kind == moved, socket: s.number, apart: s.apart, ref: l.nextRef(), timeout: timeout}, now)
		return true
	}
	return false
}

func (l *loop) leaveLane(fw *follower, kind lane) {
	queue := &l.pool.waiting[kind]
	(*queue)[0] = nil
	*queue = (*queue)[1:]
	fw.waits[kind] = false
}

// laneOf is the lane that a leg waits in, or lanes if it does not wait.
func (fw *follower) laneOf(spare bool) lane {
	switch {
	case spare && fw.channel.spare.phase == queued:
		return moved
	case spare, fw.channel.main.phase != queued:
		return lanes
	case fw.channel.joinFailed:
		return apart
	}
	return fresh
}

// place brings sockets and lanes in line with a channel's legs.
func (l *loop) place(fw *follower, before, after channel, now time.Time) {
	topic := after.target.wireTopic()
	for _, old := range []leg{before.main, before.spare} {
		s, ok := l.pool.sockets[old.socket]
		if !ok || old.phase < joining {
			continue
		}
		if old.phase == joining && !isJoining(after, old) {
			s.joins--
		}
		if !after.isOn(old.socket) {
			delete(s.legs, topic)
			l.schedule(s, now)
		}
	}
	for _, spare := range []bool{false, true} {
		if kind := fw.laneOf(spare); kind != lanes && !fw.waits[kind] {
			fw.waits[kind] = true
			l.pool.waiting[kind] = append(l.pool.waiting[kind], fw)
		}
	}
}

func isJoining(c channel, l leg) bool {
	return c.main.phase == joining && c.main.ref == l.ref || c.spare.phase == joining && c.spare.ref == l.ref
}

func (c channel) isOn(socket int) bool {
	return c.main.phase >= joining && c.main.socket == socket || c.spare.phase >= joining && c.spare.socket == socket
}

// openSocket starts a dial, unless one is under way or the last ones have failed.
func (l *loop) openSocket(ctx context.Context, isApart bool, now time.Time) {
	if now.Before(l.pool.dialAt) {
		return
	}
	for _, s := range l.pool.sockets {
		if !s.open && s.apart == isApart {
			return
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // closeAll ends it, with a close frame
	l.pool.last++
	s := &socket{number: l.pool.last, apart: isApart, legs: map[string]*follower{}, out: make(chan []byte, outgoing), stop: cancel}
	s.alarm = newDeadline(func(now time.Time) { l.tend(s, now) })
	l.pool.sockets[s.number] = s
	l.running.Go(func() { l.runSocket(ctx, s) })
}

func (l *loop) opened(s *socket, now time.Time) {
	if l.pool.sockets[s.number] != s {
		return
	}
	s.open, s.openedAt, s.emptyAt = true, now, now
	s.beat.nextAt = now.Add(heartbeatEvery)
	l.schedule(s, now)
	l.countSockets(1)
	l.log.Info("realtime socket open", slog.Int("socket", s.number))
}

// closed takes a socket out and tells its channels.
func (l *loop) closed(s *socket, err error, now time.Time) {
	if l.pool.sockets[s.number] != s {
		return // we have left it already
	}
	l.remove(s)
	wait := l.pool.dialAt.Sub(now)
	if wait <= 0 { // sockets that fall together are one failure
		if !s.openedAt.IsZero() && now.Sub(s.openedAt) >= stableAfter {
			l.pool.dialFail = backoff{}
		}
		l.pool.dialFail, wait = l.pool.dialFail.fail(l.opts.Random())
	}
	if upgrade, ok := errors.AsType[*UpgradeError](err); ok {
		if upgrade.Misconfigured() {
			wait = refusedDialIn + time.Duration(l.opts.Random()*float64(refusedDialIn))
		}
		if upgrade.Status == 429 {
			l.pool.pace.slow(now)
		}
	}
	l.pool.dialAt = now.Add(wait)
	l.log.Warn("realtime socket lost", slog.Int("socket", s.number), slog.Any("err", err), slog.Duration("retry_in", wait))
	l.report(closeWord(err))
	for _, fw := range s.followers() {
		l.step(fw, evSocketLost{s.number}, now)
	}
}

func (l *loop) report(word string) {
	if hook := l.opts.Hooks.Closed; hook != nil {
		hook(word)
	}
}

// remove forgets a socket and lets its goroutines end.
func (l *loop) remove(s *socket) {
	delete(l.pool.sockets, s.number)
	l.times.set(s.alarm, time.Time{})
	s.stop()
	if s.open {
		l.countSockets(-1)
	}
}

func (l *loop) countSockets(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Sockets += by
}

// sendFrame queues a frame; a socket that takes none any more is cut, and its channels hear of it as of any other loss.
func (l *loop) sendFrame(fw *follower, e doSend, now time.Time) {
	s, ok := l.pool.sockets[e.socket]
	if !ok {
		return
	}
	topic := fw.channel.target.wireTopic()
	if e.event == eventJoin {
		s.legs[topic] = fw
		s.joins++
		l.schedule(s, now)
		if hook := l.opts.Hooks.Join; hook != nil {
			hook()
		}
		l.pool.pace.take(now)
	}
	payload, err := json.Marshal(e.payload)
	if err != nil {
		return // strings and booleans of our own always encode
	}
	if e.ref == "" {
		e.ref = l.nextRef()
	}
	l.sendText(s, Frame{JoinRef: e.joinRef, Ref: e.ref, Topic: topic, Event: e.event, Payload: payload})
}

func (l *loop) sendText(s *socket, frame Frame) {
	data, err := frame.Encode()
	if err != nil {
		return
	}
	select {
	case s.out <- data:
	default:
		s.stop()
	}
}
