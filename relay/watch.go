package relay

import (
	"slices"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/lease"
)

// watch is a payment that this process watches, as it was last committed, and what is known of it
// here only. Of a payment that another replica watches there is one while pages are open here.
type watch struct {
	p         Payment   // slim
	pages     int       // open checkout pages here
	visited   bool      // a page was open anywhere when we last looked
	leftAt    time.Time // when the last page was closed
	following bool      // the feed was asked to follow it
	live      bool      // and has proof that it does
	hinted    bool      // pages were shown a hint that still stands
	unwritten []Hint    // that pages were shown and the row has not got
	link      Link      // as pages were last told
	askedAt   time.Time
	lostAt    time.Time // when realtime ceased to be proven
	newsAt    time.Time // when something was heard, or could be heard again: older truth may be out of date
	heardAt   time.Time // when realtime last told of a change
	rumor     Outcome   // what a terminal word of realtime would have made of the payment
	rumorAt   time.Time // when it was heard first
	failures  int       // questions in a row without an answer
	alerted   bool      // the operator was told that Dollr tells nothing
	away      Sight     // what other replicas know of it
	noted     Sight     // what they were told

	wakeAt time.Time // when refresh is due; zero: never
	place  int       // in the heap of wake-ups; -1: not in it
}

// follow takes a committed payment into the watch, shows pages a version that they have not seen, or
// lets go of it.
func (r *Relay) follow(p Payment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[p.ID]
	if w != nil && p.CreatedAt.UnixMilli() > w.p.CreatedAt.UnixMilli() {
		r.dropLocked(w) // deleted after RELAY_RETAIN and registered anew
		w = nil
	}
	if w == nil {
		w = &watch{place: -1, pages: r.hub.OpenPages(p.ID)}
		if !r.ownsLocked(p.ID) && w.pages == 0 {
			r.hub.publish(p.Shown(r.now())) // somebody may wait for it
			return
		}
		r.watches[p.ID] = w
	}
	if p.Revision < w.p.Revision {
		return // the news of an older commit came later
	}
	if !p.LastCheckedAt.Equal(w.p.LastCheckedAt) {
		w.failures++
		if p.LastError == "" || p.LastError == "not_found" {
			w.failures = 0
		}
	}
	news := p.Version > w.p.Version
	w.p = w.withHint(p).slim()
	w.hinted = w.p.Hint(r.now()) != ""
	if news {
		r.hub.publish(w.p.Shown(r.now()))
	}
	r.refreshLocked(w)
}

// withHint is a payment from the database with what was heard here and is not committed yet.
func (w *watch) withHint(p Payment) Payment {
	if w.p.HintAt.After(p.HintAt) {
		p.HintStatus, p.HintAt = w.p.HintStatus, w.p.HintAt
	}
	return p
}

// asked takes note that a payment is asked about now, so that an answer that cannot be committed
// does not make the schedule ask without pause. What was not sent in the end does not count as asked: unsent takes it back.
func (r *Relay) asked(id string) (p Payment, unsent func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	if w == nil || !r.ownsLocked(id) || r.lapsedLocked() {
		return Payment{}, nil, false
	}
	before, now := w.askedAt, r.now()
	w.askedAt = now
	return w.p, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if w.askedAt.Equal(now) {
			w.askedAt = before
		}
	}, true
}

// covered reports whether realtime would tell of a change: it is live, and truth has caught up with
// what may have happened before.
func (w *watch) covered() bool { return w.live && !w.p.TruthAt.Before(w.newsAt) }

// deaf reports whether realtime would have told of a change to the payment by now, and has not.
func (r *Relay) deaf(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	return w != nil && w.covered() && r.now().Sub(w.heardAt).Abs() >= HintLife
}

// refresh works out anew what follows from a payment's state at this moment.
func (r *Relay) refresh(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.watches[id]; w != nil {
		r.refreshLocked(w)
	}
}

// refreshLocked is the whole upkeep of a watch: its channel, its link, a hint that has stood too
// long, its next question and its next wake-up.
func (r *Relay) refreshLocked(w *watch) {
	now := r.now()
	owns := r.ownsLocked(w.p.ID)
	if !owns && w.pages == 0 {
		r.dropLocked(w)
		return
	}
	if w.visited && !w.lookedAt() {
		w.leftAt = now
	}
	hurry := w.lookedAt() && !w.visited
	w.visited = w.lookedAt()
	until := w.p.WatchSince.Add(r.opts.RealtimeWindow) // the channel is kept without a page
	if back := w.leftAt.Add(pageGap); back.After(until) {
		until = back
	}
	// After a failure a change would still matter: a late success is shown as soon as it is heard of.
	settled := w.p.Outcome == Succeeded || w.p.Outcome == Mismatch
	want := owns && r.feed != nil && w.p.HasRealtime() && !settled && (w.lookedAt() || now.Before(until))
	switch {
	case want && !w.following:
		w.following, hurry = true, w.lookedAt()
		r.feed.Follow(w.p)
	case !want && w.following:
		w.following, w.live = false, false
		r.feed.Unfollow(w.p.ID)
	}
	if hurry && w.following {
		r.feed.Hurry(w.p.ID)
	}

	r.noteLocked(w, Sight{Pages: w.pages > 0 && !w.p.Final(), Live: w.live})
	if link := r.linkLocked(w); link != w.link {
		w.link = link
		r.hub.setLink(w.p.ID, link)
	}
	if w.hinted && w.p.Hint(now) == "" {
		w.hinted = false
		r.hub.publish(w.p.PageStatus()) // truth did not confirm it: withdrawn
	}

	if !owns {
		r.schedule.Forget(w.p.ID)
	} else if !r.schedule.Plan(w.p.ID, r.factsLocked(w)) {
		r.dropLocked(w)
		return
	}
	w.wakeAt = time.Time{}
	if w.following && !w.lookedAt() {
		w.wakeAt = until
	}
	if withdraw := w.p.HintAt.Add(HintLife); w.hinted && (w.wakeAt.IsZero() || withdraw.Before(w.wakeAt)) {
		w.wakeAt = withdraw
	}
	r.wakeups.set(w)
	r.wake()
}

// factsLocked are what the schedule needs to know.
func (r *Relay) factsLocked(w *watch) Facts {
	facts := w.p.facts(r.now())
	facts.Live = w.covered()
	facts.LostAt, facts.PageOpen, facts.Failures = w.lostAt, w.lookedAt(), w.failures
	if w.p.Final() && w.rumor != w.p.Outcome {
		facts.HintedAt = w.rumorAt
	}
	if w.askedAt.After(facts.LastAsked) {
		facts.LastAsked = w.askedAt
	}
	return facts
}

// lookedAt reports whether a checkout page is open, here or at another replica.
func (w *watch) lookedAt() bool { return w.pages > 0 || w.away.Pages }

// LookedAt reports whether a checkout page of a payment that this relay watches is open anywhere.
func (r *Relay) LookedAt(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.watches[id]
	return w != nil && w.lookedAt()
}

// thoseLocked are the watches that fit, by id: in the same order whenever the simulator plays it.
func (r *Relay) thoseLocked(fit func(*watch) bool) []*watch {
	var those []*watch
	for _, w := range r.watches {
		if fit(w) {
			those = append(those, w)
		}
	}
	slices.SortFunc(those, func(a, b *watch) int { return strings.Compare(a.p.ID, b.p.ID) })
	return those
}

// forget lets go of a payment that is not in the database any more.
func (r *Relay) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.watches[id]; w != nil {
		r.dropLocked(w)
	}
}

// dropLocked lets go of a payment that will not be asked about again.
func (r *Relay) dropLocked(w *watch) {
	if w.following {
		w.following = false
		r.feed.Unfollow(w.p.ID)
	}
	w.live = false
	r.noteLocked(w, Sight{})
	w.wakeAt = time.Time{}
	r.wakeups.set(w)
	r.schedule.Forget(w.p.ID)
	delete(r.watches, w.p.ID)
}

func (r *Relay) linkLocked(w *watch) Link {
	down, live := r.dollrDown, w.live
	if !r.ownsLocked(w.p.ID) {
		down, live = r.degraded[lease.SlotOf(w.p.ID)], w.away.Live
	}
	switch {
	case w.p.Final():
		return Unwatched
	case down || r.storeDown:
		return Degraded
	case live:
		return Live
	default:
		return Polling
	}
}

// Link says how the relay hears of a payment now.
func (r *Relay) Link(p Payment) Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.linkOfLocked(p)
}

func (r *Relay) linkOfLocked(p Payment) Link {
	if w := r.watches[p.ID]; w != nil {
		return r.linkLocked(w)
	}
	if p.Final() {
		return Unwatched
	}
	return r.linkLocked(&watch{p: p, away: Sight{Live: p.Live}})
}

// Links counts the open payments that this relay watches by link.
func (r *Relay) Links() map[Link]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[Link]int{Live: 0, Polling: 0, Degraded: 0}
	for id, w := range r.watches {
		if !w.p.Final() && r.ownsLocked(id) {
			counts[r.linkLocked(w)]++
		}
	}
	return counts
}
