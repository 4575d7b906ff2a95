package relay

import (
	"context"
	"time"
)

// pageGap is for how long a page may be away between two connections, as it is between two long polls,
// before its payment's realtime channel is given up.
const pageGap = 30 * time.Second

// OpenPage joins a checkout page to its payment: its first Take brings the present status and the
// present link. Notify is called whenever there is something to take, also before OpenPage returns;
// it must neither block nor call back. The error is [ErrNotFound] or [ErrTooManyPages]; a page must be
// ended by [Relay.ClosePage].
func (r *Relay) OpenPage(ctx context.Context, id string, notify func()) (*Page, error) {
	page, err := r.hub.join(id, true, notify) // first, so that nothing published while we read is missed
	if err != nil {
		return nil, err
	}
	p, known := r.remembered(id)
	if !known {
		if p, err = r.store.Find(ctx, id); err != nil {
			r.hub.leave(page)
			return nil, err
		}
	}
	r.mu.Lock() // so that no change comes between status and link
	defer r.mu.Unlock()
	if w := r.watches[id]; w != nil {
		p = w.withHint(p)
	} else if !r.ownsLocked(id) && !p.Final() {
		r.watches[id] = &watch{place: -1, p: p.slim(), hinted: p.Hint(r.now()) != "", away: Sight{Live: p.Live}}
	}
	r.hub.seed(p.Shown(r.now()))
	r.hub.setLink(id, r.linkOfLocked(p))
	r.countPagesLocked(id)
	page.notify() // where other pages are open already nothing has changed, but this one has seen nothing yet
	return page, nil
}

// remembered is a watched payment as it was last committed, without asking the database: ten thousand pages that
// come back at once would ask it ten thousand times. Among replicas another one may have committed since, and a page
// that comes from there must not see an older version here.
func (r *Relay) remembered(id string) (p Payment, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	if w == nil || r.replicas != nil {
		return Payment{}, false
	}
	return w.p, true
}

// unsettledAfter is for how long after its withdrawal a hint may be what a page saw last.
const unsettledAfter = 30 * time.Second

// Unsettled reports whether pages of this payment may be shown a hint, or were until a moment ago.
func (r *Relay) Unsettled(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	return w != nil && !w.p.Final() && w.p.HintStatus != "" && w.p.HintStatus != w.p.Status &&
		r.now().Sub(w.p.HintAt) < HintLife+unsettledAfter
}

// ClosePage ends what OpenPage began.
func (r *Relay) ClosePage(page *Page) {
	r.hub.leave(page)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countPagesLocked(page.id)
}

// countPagesLocked lets the watch know how many pages are open: they keep the realtime channel and make
// questions more urgent.
func (r *Relay) countPagesLocked(id string) {
	if w := r.watches[id]; w != nil {
		w.pages = r.hub.OpenPages(id)
		r.refreshLocked(w)
	}
}

// Wait returns the payment as soon as its version is above since, or as it is when ctx ends.
func (r *Relay) Wait(ctx context.Context, id string, since int64) (Payment, error) {
	changed, notify := Wakeups()
	listener, err := r.hub.join(id, false, notify)
	if err != nil {
		return Payment{}, err
	}
	defer r.hub.leave(listener)
	for {
		p, err := r.store.Find(context.WithoutCancel(ctx), id)
		if err != nil || p.Version > since {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, nil
		case <-changed:
		}
	}
}
