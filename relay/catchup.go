package relay

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// catchUpEvery is how often the rows of payments with pages here are read again: news may get lost.
	catchUpEvery = 5 * time.Second
	// rereadBatch bounds how many rows are read at once.
	rereadBatch = 500
	// rereadAgain is the pause after the database gave no answer.
	rereadAgain = time.Second
)

// HearNews takes what another replica tells. Pages are shown it at once, the row is read again.
func (r *Relay) HearNews(n News) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[n.ID]
	if n.Status != nil {
		r.hub.publish(*n.Status)
		if s := n.Status; w != nil && !s.Verified && s.Via == ViaRealtime && s.Version == w.p.Version && !w.p.Final() {
			w.p.HintStatus, w.p.HintAt, w.hinted = s.Status, s.At, true
			r.refreshLocked(w)
		}
	}
	if w == nil && !r.ownsLocked(n.ID) {
		return
	}
	if w == nil || n.Revision == 0 || n.Revision > w.p.Revision {
		r.touchLocked(n.ID)
	}
}

// CatchUp reads again whatever news may have been about: some may have been lost.
func (r *Relay) CatchUp() {
	select {
	case r.behind <- struct{}{}:
	default: // it is about to
	}
}

// touchLocked has a row read again soon.
func (r *Relay) touchLocked(id string) {
	r.touched[id] = true
	select {
	case r.reread <- struct{}{}:
	default:
	}
}

// keepUp reads rows again until ctx ends: those that were told of, and now and then all that matter here and are
// another's.
func (r *Relay) keepUp(ctx context.Context) {
	tick := time.NewTicker(catchUpEvery)
	defer tick.Stop()
	for {
		err := error(nil)
		select {
		case <-ctx.Done():
			return
		case <-r.reread:
			err = r.readTouched(ctx)
		case <-tick.C:
			err = r.readAll(ctx)
		case <-r.behind:
			err = r.readAll(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.storeAnswered(err)
			r.log.DebugContext(ctx, "payments not read again", slog.Any("err", err))
			select {
			case <-ctx.Done():
			case <-time.After(rereadAgain):
				r.CatchUp()
			}
		}
	}
}

// readTouched reads the rows that were told of, and what others know of them.
func (r *Relay) readTouched(ctx context.Context) error {
	r.mu.Lock()
	ids := slices.Sorted(maps.Keys(r.touched)) // in the same order whenever the simulator plays it
	clear(r.touched)
	r.mu.Unlock()
	for batch := range slices.Chunk(ids, rereadBatch) {
		if err := r.readRows(ctx, batch); err != nil {
			r.mu.Lock()
			for _, id := range ids {
				r.touched[id] = true
			}
			r.mu.Unlock()
			return err
		}
	}
	return nil
}

func (r *Relay) readRows(ctx context.Context, ids []string) error {
	sights, err := r.replicas.Sights(ctx, ids)
	if err != nil {
		return err
	}
	rows, err := r.replicas.FindAll(ctx, ids)
	if err != nil {
		return err
	}
	r.seeSights(ids, sights)
	for _, p := range rows {
		r.adopt(ctx, p)
	}
	return nil
}

// adopt takes a row that somebody else has written. A change that realtime should have told of here is a miss.
func (r *Relay) adopt(ctx context.Context, p Payment) {
	deaf := r.deaf(p.ID)
	r.mu.Lock()
	w := r.watches[p.ID]
	missed := deaf && w != nil && p.Version > w.p.Version
	r.mu.Unlock()
	r.follow(p)
	if missed {
		r.missed(ctx, p)
	}
}

// seeSights takes what others know of payments.
func (r *Relay) seeSights(ids []string, sights map[string]Sight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if w := r.watches[id]; w != nil && w.away != sights[id] {
			w.away = sights[id]
			r.refreshLocked(w)
		}
	}
}

// readAll makes good what may not have been heard: of the payments that somebody looks at here, and of pages that are
// open elsewhere.
func (r *Relay) readAll(ctx context.Context) error {
	if err := r.lookedAt(ctx); err != nil {
		return err
	}
	for ids := range slices.Chunk(r.strangers(), rereadBatch) {
		revisions, err := r.replicas.Revisions(ctx, ids)
		if err != nil {
			return err
		}
		sights, err := r.replicas.Sights(ctx, ids)
		if err != nil {
			return err
		}
		r.seeSights(ids, sights)
		r.mu.Lock()
		for id, revision := range revisions {
			if w := r.watches[id]; w == nil || w.p.Revision < revision {
				r.touchLocked(id)
			}
		}
		r.mu.Unlock()
	}
	return nil
}

// strangers are the payments that are looked at here and watched elsewhere.
func (r *Relay) strangers() []string {
	ids := r.hub.unsettled()
	r.mu.Lock()
	defer r.mu.Unlock()
	ids = slices.DeleteFunc(ids, r.ownsLocked)
	slices.Sort(ids)
	return ids
}

// lookedAt lets our watches know which of them have pages open at other replicas.
func (r *Relay) lookedAt(ctx context.Context) error {
	ids, err := r.replicas.Looked(ctx)
	if err != nil {
		return err
	}
	looked := make(map[string]bool, len(ids))
	for _, id := range ids {
		looked[id] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.thoseLocked(func(w *watch) bool { return r.ownsLocked(w.p.ID) && w.away.Pages != looked[w.p.ID] }) {
		w.away.Pages = looked[w.p.ID]
		r.refreshLocked(w)
	}
	return nil
}
