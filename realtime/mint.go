package realtime

import (
	"context"
	"log/slog"
	"time"
)

const (
	mintsAtOnce = 32          // and as many again in a hurry
	mintTimeout = time.Minute // the budget for calls to Dollr may make a key wait
	clockSkew   = time.Minute // worth a warning
)

// mints are the keys being asked for. Payments in a hurry go first, somebody looks at them, then channels that are live: they
// have something to lose.
type mints struct {
	hurried, live, normal []*follower
	underWay              int
}

// keyMinted is a mint's answer.
type keyMinted struct {
	fw  *follower
	key Key
	err error
}

func (m *mints) queue(fw *follower) {
	fw.noKey = true
	switch {
	case fw.inHurry:
		m.hurried = append(m.hurried, fw)
	case fw.channel.main.phase == live:
		m.live = append(m.live, fw)
	default:
		m.normal = append(m.normal, fw)
	}
}

// hurry lets a follower go first from now on. One that waits has two places then, of which the later finds it served.
func (m *mints) hurry(fw *follower) {
	if fw.inHurry {
		return
	}
	fw.inHurry = true
	if fw.noKey {
		m.hurried = append(m.hurried, fw)
	}
}

// next is whose key is asked for now, nil if nobody waits or as many are under way as may be.
func (m *mints) next() *follower {
	queues := []*[]*follower{&m.hurried, &m.live, &m.normal}
	switch {
	case m.underWay >= 2*mintsAtOnce:
		return nil
	case m.underWay >= mintsAtOnce:
		queues = queues[:1]
	}
	for _, queue := range queues {
		for len(*queue) > 0 {
			fw := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if fw.noKey && !fw.gone {
				fw.noKey = false
				return fw
			}
		}
	}
	return nil
}

// startMints asks for as many keys as may be asked for at once, each on a goroutine of its own.
func (l *loop) startMints(ctx context.Context) {
	for fw := l.mints.next(); fw != nil; fw = l.mints.next() {
		l.mints.underWay++
		ctx, cancel := context.WithTimeout(ctx, mintTimeout)
		fw.stopMint = cancel
		target := fw.channel.target
		l.running.Go(func() {
			defer cancel()
			key, err := l.opts.Keys.RealtimeKey(ctx, target)
			l.tell(keyMinted{fw, key, err})
		})
	}
}

func (l *loop) minted(m keyMinted, now time.Time) {
	l.mints.underWay--
	m.fw.stopMint = nil
	if m.fw.gone {
		return
	}
	id := slog.String("payment", m.fw.channel.target.ID)
	if m.err != nil {
		l.log.Warn("realtime key not minted", id, slog.Any("err", m.err))
		l.step(m.fw, evNoKey{}, now)
		return
	}
	life, skew, err := lifetime(m.key, l.opts.Now())
	if err != nil {
		l.log.Error("realtime key unusable", id, slog.Any("err", err))
		l.step(m.fw, evNoKey{unusable: true}, now)
		return
	}
	if skew.Abs() > clockSkew {
		l.log.Warn("realtime key was issued by another clock", id, slog.Duration("ahead", skew))
	}
	l.step(m.fw, evKey{m.key.Token, life}, now)
}
