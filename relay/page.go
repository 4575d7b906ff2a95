package relay

import "context"

// OpenPage joins a checkout page to its payment: its first Take brings the present status and the
// present link. It is [ErrNotFound] or [ErrTooManyPages], and must be ended by [Relay.ClosePage].
func (r *Relay) OpenPage(ctx context.Context, id string) (*Page, error) {
	page, err := r.hub.join(id, true) // first, so that nothing published while we read is missed
	if err != nil {
		return nil, err
	}
	p, err := r.store.Find(ctx, id)
	if err != nil {
		r.hub.leave(page)
		return nil, err
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
	page.wake() // where other pages are open already nothing has changed, but this one has seen nothing yet
	return page, nil
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
	listener, err := r.hub.join(id, false)
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
		case <-listener.Changed:
		}
	}
}
