package realtime

import (
	"context"
	"log/slog"
	"time"
)

const (
	mintsAtOnce = 32
	mintTimeout = time.Minute // the budget for calls to Dollr may make a key wait
	clockSkew   = time.Minute // worth a warning
)

// mints are the keys being asked for. Channels that are live go first: they have something to lose.
type mints struct {
	urgent, normal []*follower
	underWay       int
}

// keyMinted is a mint's answer.
type keyMinted struct {
	fw  *follower
	key Key
	err error
}

func (m *mints) queue(fw *follower) {
	if fw.channel.main.phase == live {
		m.urgent = append(m.urgent, fw)
		return
	}
	m.normal = append(m.normal, fw)
}

func (m *mints) next() *follower {
	for _, queue := range []*[]*follower{&m.urgent, &m.normal} {
		for len(*queue) > 0 {
			fw := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if !fw.gone {
				return fw
			}
		}
	}
	return nil
}

// startMints asks for as many keys as may be asked for at once, each on a goroutine of its own.
func (l *loop) startMints(ctx context.Context) {
	for l.mints.underWay < mintsAtOnce {
		fw := l.mints.next()
		if fw == nil {
			return
		}
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
