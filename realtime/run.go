package realtime

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// loop is all that [Feed.Run] owns. One goroutine touches it; sockets and mints run beside it and talk to it through the inbox.
type loop struct {
	*Feed
	followers map[string]*follower // by payment id
	times     deadlines
	pool      pool
	mints     mints
	refs      uint64
	running   sync.WaitGroup
}

// follower is a payment's channel and what the loop keeps beside it.
type follower struct {
	channel  channel
	alarm    *deadline
	waits    [lanes]bool // in that lane
	stopMint context.CancelFunc
	noKey    bool // waits for its turn to have one minted
	inHurry  bool
	gone     bool
}

// Run follows payments until ctx ends, then closes all sockets and returns nil. Call it once.
func (f *Feed) Run(ctx context.Context) error {
	l := &loop{Feed: f, followers: map[string]*follower{}, pool: newPool(f.opts.JoinsPerSecond)}
	ctx, cancel := context.WithCancel(ctx)
	defer l.running.Wait()
	defer close(f.done)
	defer cancel()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.fillPlaces(ctx, time.Now())
		l.startMints(ctx)
		timer.Reset(l.untilNext(time.Now()))
		select {
		case <-ctx.Done():
			l.closeAll()
			return nil
		case <-f.wake:
			l.obey(time.Now())
		case message := <-f.inbox:
			l.receive(message, time.Now())
		case <-timer.C:
			l.times.fire(time.Now())
		}
	}
}

// untilNext is how long nothing is due.
func (l *loop) untilNext(now time.Time) time.Duration {
	var next earliest
	next.add(l.times.next())
	next.add(l.pool.nextTry(now))
	if next.at.IsZero() {
		return time.Hour
	}
	return max(0, next.at.Sub(now))
}

func (l *loop) obey(now time.Time) {
	l.mu.Lock()
	commands := l.commands
	l.commands = nil
	l.mu.Unlock()
	for _, c := range commands {
		switch c := c.(type) {
		case followCommand:
			l.follow(c.target, now)
		case unfollowCommand:
			l.unfollow(c.id, now)
		case rejoinCommand:
			if fw, ok := l.followers[c.id]; ok {
				l.step(fw, evMissed{c.reason}, now)
			}
		case hurryCommand:
			if fw, ok := l.followers[c.id]; ok {
				l.mints.hurry(fw)
			}
		}
	}
}

func (l *loop) follow(t Target, now time.Time) {
	if known, ok := l.followers[t.ID]; ok {
		if known.channel.target == t {
			return
		}
		l.unfollow(t.ID, now) // the payment has learnt its session: another topic
	}
	fw := &follower{channel: follow(t, now)}
	fw.alarm = newDeadline(func(now time.Time) { l.step(fw, evTick{}, now) })
	l.followers[t.ID] = fw
	l.count("", fw.channel.state())
	l.step(fw, evTick{}, now)
}

func (l *loop) unfollow(id string, now time.Time) {
	fw, ok := l.followers[id]
	if !ok {
		return
	}
	l.step(fw, evUnfollow{}, now)
	fw.gone = true
	if fw.stopMint != nil {
		fw.stopMint()
	}
	l.times.set(fw.alarm, time.Time{})
	l.count(fw.channel.state(), "")
	delete(l.followers, id)
}

// receive takes a message of a socket or a mint.
func (l *loop) receive(message any, now time.Time) {
	switch m := message.(type) {
	case frameCame:
		l.frame(m, now)
	case frameIgnored:
		l.ignore(m.what)
	case socketOpened:
		l.opened(m.s, now)
	case socketClosed:
		l.closed(m.s, m.err, now)
	case keyMinted:
		l.minted(m, now)
	}
}

// frame finds the channel that a frame is for.
func (l *loop) frame(m frameCame, now time.Time) {
	if l.pool.sockets[m.s.number] != m.s {
		return // read before the socket was given up
	}
	if m.frame.Topic == topicPhoenix {
		l.heartbeatAnswered(m, now)
		return
	}
	fw, ok := m.s.legs[m.frame.Topic]
	if !ok {
		if m.frame.Event != eventReply && m.frame.Event != eventClose { // those answer our own goodbyes
			l.ignore("unknown_topic")
		}
		return
	}
	number := m.s.number
	switch body := m.body.(type) {
	case reply:
		l.step(fw, evReply{number, m.frame.JoinRef, m.frame.Ref, body}, now)
	case system:
		l.step(fw, evSystem{number, m.frame.JoinRef, body}, now)
	case change:
		l.step(fw, evChange{number, m.frame.JoinRef, body}, now)
	default:
		l.step(fw, evEnd{number, m.frame.JoinRef, m.frame.Event == eventError}, now)
	}
}

// step moves a channel on, carries out what follows from it, and brings the loop's books in line with the new state.
func (l *loop) step(fw *follower, event any, now time.Time) {
	if fw.gone {
		return // late news for a payment that nobody follows any more
	}
	before := fw.channel
	after, effects := step(before, event, now, l.opts.Random)
	fw.channel = after
	for _, e := range effects {
		l.carryOut(fw, e, now)
	}
	l.place(fw, before, after, now)
	l.times.set(fw.alarm, after.due())
	if from, to := before.state(), after.state(); from != to {
		l.count(from, to)
		l.log.Debug("realtime channel", slog.String("payment", after.target.ID), slog.String("from", from), slog.String("to", to))
	}
}

func (l *loop) carryOut(fw *follower, effect any, now time.Time) {
	id := fw.channel.target.ID
	switch e := effect.(type) {
	case doNotify:
		if e.kind != Change && !e.again {
			l.log.Info("realtime link", slog.String("payment", id), slog.String("link", e.kind.String()), slog.String("reason", e.reason))
		}
		l.opts.Notify(Event{ID: id, Kind: e.kind, Status: e.status, Reason: e.reason, At: l.opts.Now()})
	case doMint:
		l.mints.queue(fw)
	case doSend:
		l.sendFrame(fw, e, now)
	case doRejoin:
		l.log.Info("realtime channel failed", slog.String("payment", id), slog.String("reason", e.reason), slog.String("detail", clip(e.detail)))
		if hook := l.opts.Hooks.Rejoin; hook != nil {
			hook(e.reason)
		}
	case doSlow:
		l.pool.pace.slow(now)
	case doShard:
		l.pool.shard(e.socket)
	case doIgnore:
		l.ignore(e.what)
	}
}

func (l *loop) ignore(what string) {
	if hook := l.opts.Hooks.Ignored; hook != nil {
		hook(what)
	}
}

// count moves one channel from a state to another; the empty word is outside.
func (l *loop) count(from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from != "" {
		l.stats.Channels[from]--
	}
	if to != "" {
		l.stats.Channels[to]++
	}
}

// nextRef is unique over all sockets, so it is unique and increasing on each (§2.3, C3).
func (l *loop) nextRef() string {
	l.refs++
	return strconv.FormatUint(l.refs, 10)
}
