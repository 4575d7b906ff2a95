package relay

import (
	"context"
	"errors"
	"time"
)

const (
	// pingStoreEvery and storePatience: pages hear within 5 s that the database does not work, also when
	// nothing else uses it. A database that hangs gives no error, so silence counts as one.
	pingStoreEvery = 2 * time.Second
	storePatience  = 2 * time.Second
)

// SetDollrDown tells the relay whether Dollr cannot be reached (the breaker is open).
func (r *Relay) SetDollrDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dollrDown != down {
		r.dollrDown = down
		r.relinkLocked()
	}
}

// storeAnswered takes note whether the relay's own database works. A refusal, or a caller that gave
// up, tells neither.
func (r *Relay) storeAnswered(err error) {
	var conflict *ConflictError
	if errors.Is(err, ErrNotFound) || errors.As(err, &conflict) || errors.Is(err, context.Canceled) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if down := err != nil; r.storeDown != down {
		r.storeDown = down
		r.relinkLocked()
	}
}

// relinkLocked tells all open payments' pages of a change that concerns all.
func (r *Relay) relinkLocked() {
	for _, w := range r.thoseLocked(func(w *watch) bool { return r.linkLocked(w) != w.link }) {
		w.link = r.linkLocked(w)
		r.hub.setLink(w.p.ID, w.link)
	}
}

// watchStore asks the database from time to time until ctx ends whether it works.
func (r *Relay) watchStore(ctx context.Context) {
	tick := time.NewTicker(pingStoreEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.tryStore(ctx)
		}
	}
}

// tryStore asks once. A database that works is asked for an answer only. One that did not must take a
// write before it is believed again: a full disk answers every question.
func (r *Relay) tryStore(ctx context.Context) {
	r.mu.Lock()
	down, open := r.storeDown, r.openLocked()
	r.mu.Unlock()
	if !open {
		return // nobody has a link that could change
	}
	answer := make(chan error, 1)
	go func() {
		if down {
			answer <- r.store.Probe(ctx)
		} else {
			answer <- r.store.Ping(ctx)
		}
	}()
	var err error
	select {
	case err = <-answer:
	case <-time.After(storePatience):
		r.storeAnswered(errSilentStore)
		err = <-answer
	}
	if err != nil || down {
		r.storeAnswered(err)
	}
}

func (r *Relay) openLocked() bool {
	for _, w := range r.watches {
		if !w.p.Final() {
			return true
		}
	}
	return false
}

var errSilentStore = errors.New("the database does not answer")
