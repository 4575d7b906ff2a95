package relay

import (
	"context"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/lease"
)

// Replicas are the other relays on the same database. Only what takes a context waits for the database.
type Replicas interface {
	// Tell tells them, after the commit, or of a hint. It may get lost.
	Tell(n News)
	// Note keeps for them what only this relay knows of a payment.
	Note(id string, s Sight)
	// OfSlots reads the payments of slots that are to be watched, in pages by id: the open ones, or the final ones.
	OfSlots(ctx context.Context, slots []string, open bool, after string, now time.Time, limit int) ([]Payment, error)
	// FindAll and Revisions read payments, or only how often each was written; unknown ones are left out.
	FindAll(ctx context.Context, ids []string) ([]Payment, error)
	Revisions(ctx context.Context, ids []string) (map[string]int64, error)
	// Sights is what they know of payments, Looked those of which they have pages open.
	Sights(ctx context.Context, ids []string) (map[string]Sight, error)
	Looked(ctx context.Context) ([]string, error)
}

// Sight is what one replica knows of a payment and others need.
type Sight struct {
	Pages bool // checkout pages are open there
	Live  bool // realtime is proven there
}

// News is what one replica tells the others of a payment. It is a hint to look: the row is the truth.
type News struct {
	ID       string
	Revision int64       // of the row; 0: something else has changed
	Status   *PageStatus // what its pages are shown, if that has changed
	Reported bool        // an outcome was reported
}

// Owns reports whether this relay watches a payment: it is alone, or has the payment's slot and its lease has not run out.
func (r *Relay) Owns(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ownsLocked(id) && !r.lapsedLocked()
}

func (r *Relay) ownsLocked(id string) bool { return r.replicas == nil || r.owned[lease.SlotOf(id)] }

// lapsedLocked reports whether the lease may have run out. Both clocks count: one of them stands still while the
// machine sleeps.
func (r *Relay) lapsedLocked() bool {
	now := time.Now()
	return r.replicas != nil && (now.After(r.heldUntil) || now.Round(0).After(r.heldUntil.Round(0)))
}

// Hold implements [lease.Owner]. While the lease had run out others may have removed what was noted: it is noted again.
func (r *Relay) Hold(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lapsed := r.lapsedLocked()
	r.heldUntil = until
	if lapsed {
		for _, w := range r.thoseLocked(func(w *watch) bool { return w.noted != Sight{} }) {
			r.replicas.Note(w.p.ID, w.noted)
		}
	}
}

// Own implements [lease.Owner]. The slots are ours before their payments are read, so that what is told meanwhile is
// not missed.
func (r *Relay) Own(ctx context.Context, slots []string) error {
	r.mu.Lock()
	for _, slot := range slots {
		r.owned[slot] = true
	}
	r.mu.Unlock()
	err := r.take(ctx, slots, true)
	if err == nil {
		err = r.take(ctx, slots, false)
	}
	if err != nil {
		r.Disown(slots)
		return err
	}
	return r.lookedAt(ctx)
}

// take reads the payments of slots and watches them.
func (r *Relay) take(ctx context.Context, slots []string, open bool) error {
	after := ""
	for {
		batch, err := r.replicas.OfSlots(ctx, slots, open, after, r.now(), resumeBatch)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, p := range batch {
			r.follow(p)
			after = p.ID
		}
	}
}

// Disown implements [lease.Owner].
func (r *Relay) Disown(slots []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := make(map[string]bool, len(slots))
	for _, slot := range slots {
		gone[slot] = true
		delete(r.owned, slot)
	}
	for _, w := range r.thoseLocked(func(w *watch) bool { return gone[lease.SlotOf(w.p.ID)] }) {
		r.refreshLocked(w)
	}
}

// Seen implements [lease.Owner]. Where the database counts other open payments than are watched here, something was not
// heard of.
func (r *Relay) Seen(ctx context.Context, degraded map[string]bool, open map[string]int) {
	wrong := r.compare(degraded, open)
	if len(wrong) == 0 {
		return
	}
	if err := r.take(ctx, wrong, true); err != nil {
		r.storeAnswered(err)
	}
}

// compare returns the slots whose payments must be read anew.
func (r *Relay) compare(degraded map[string]bool, open map[string]int) (wrong []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(degraded)+len(r.degraded) > 0 {
		r.degraded = degraded
		r.relinkLocked()
	}
	if open == nil {
		return nil
	}
	watched := map[string]int{}
	for id, w := range r.watches {
		if slot := lease.SlotOf(id); r.owned[slot] && !w.p.Final() {
			watched[slot]++
		}
	}
	for slot := range r.owned {
		if watched[slot] != open[slot] {
			wrong = append(wrong, slot)
		}
	}
	for id, w := range r.watches {
		if slot := lease.SlotOf(id); r.owned[slot] && !w.p.Final() && watched[slot] > open[slot] {
			r.touchLocked(id) // settled elsewhere
		}
	}
	return wrong
}

// liveElsewhere reports whether a payment is heard of by realtime at another replica, as far as the database tells.
func (r *Relay) liveElsewhere(ctx context.Context, id string) bool {
	if r.replicas == nil || r.Owns(id) {
		return false
	}
	sights, err := r.replicas.Sights(ctx, []string{id})
	return err == nil && sights[id].Live
}

func (r *Relay) tell(n News) {
	if r.replicas != nil {
		r.replicas.Tell(n)
	}
}

// noteLocked keeps for the other replicas what is known here, if it has changed.
func (r *Relay) noteLocked(w *watch, s Sight) {
	if r.replicas != nil && s != w.noted {
		w.noted = s
		r.replicas.Note(w.p.ID, s)
	}
}
