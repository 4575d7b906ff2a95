package sim

import (
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/lease"
)

const (
	takeover = 10 * time.Second // until a dead replica's payments have another owner
	holdTold = 1200 * time.Millisecond
	newsTake = 2 * time.Second // the news themselves take milliseconds
)

// together is what all replicas owe to Dollr as one.
type together struct {
	tokens   float64
	filled   time.Duration
	heldFrom time.Duration
	held     time.Duration
	doubled  map[string]time.Duration // topics with more than one channel, and since when
}

// askedTogether checks a question against what all replicas owe, and whose it is to ask.
func (r *referee) askedTogetherLocked(l *life, process, what, key string) {
	d := r.world.database
	if d == nil {
		return
	}
	all, now, plan := &r.all, r.world.now(), r.world.plan
	most := 2*r.burst() + 2 // who leaves has used its part, and who takes it over begins with a burst
	if all.filled == 0 {
		all.tokens = most
	}
	all.tokens = min(most, all.tokens+(now-all.filled).Seconds()*plan.rate) - 1
	all.filled = now
	if all.tokens < 0 && r.world.still(time.Second) {
		all.tokens = 0 // what a frozen one was about to send comes at once
	}
	if all.tokens < 0 {
		r.failLocked("DOLLR_RATE holds for all replicas together", "they ask faster than %g per second", plan.rate)
		all.tokens = most
	}
	if now > all.heldFrom+holdTold && now < all.held-grain && !plan.befalls(databaseAway, databaseGone) && d.quiet(takeover) {
		r.failLocked("a 429 at one stops all replicas", "relay#%s asks %s before the end of Retry-After", process, all.held-now)
	}
	alone := plan.mishap(now, databaseAway, r.world.postOf(process)) && !plan.recent(now, takeover, databaseGone, replicaFrozen) && plan.calm("dollr")
	if f := r.keys[key]; alone && what == "status" && f != nil && f.order.session == 0 && d.lapsed("relay#"+process) > 3*time.Second && now-f.poked > time.Minute {
		r.failLocked("who has lost its lease asks nothing", "relay#%s asks about order %d", process, f.order.number)
	}
	// A question that waited since before the payment changed hands is not taken back: for its turn while Dollr limits the rate,
	// or for a token that is not to be had.
	asking := takeover
	if !plan.calm("dollr") || plan.befalls(dollrAway) {
		asking = 45 * time.Second
	}
	roomy := plan.rate >= 2*float64(plan.replicas)
	if f := r.keys[key]; what == "status" && f != nil && roomy && plan.calm(dollrLimits) && !plan.recent(now, takeover, databaseAway, databaseGone) && now > l.icedAt+5*time.Second && now-f.poked > 20*time.Second {
		owner, since := d.ownerOf(f.order.id())
		if owner != "relay#"+process && time.Since(since) > asking {
			r.failLocked("one replica watches a payment", "relay#%s asks about order %d, which %q has", process, f.order.number, owner)
		}
	}
}

// heldLocked notes a 429 with Retry-After.
func (r *referee) heldLocked(until time.Duration) {
	if until > r.all.held {
		r.all.heldFrom, r.all.held = r.world.now(), until
	}
}

// channels checks that, while nothing happens, no payment is followed twice: who takes over follows it before the other's channel has
// ended, and a channel whose key is not taken is joined on a second socket before the first one is left.
func (r *referee) channels(now map[string]int, steady bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !steady {
		r.all.doubled = nil
	}
	before := r.all.doubled
	r.all.doubled = map[string]time.Duration{}
	for topic, n := range now {
		if n < 2 || !steady {
			continue
		}
		since, known := before[topic]
		if !known {
			since = r.world.now()
		}
		if r.all.doubled[topic] = since; r.world.now()-since > 5*time.Second {
			r.failLocked("at most one channel per payment", "%s has %d", topic, n)
		}
	}
}

// steady reports whether nothing has happened to replicas and realtime for a while.
func (w *world) steady() bool {
	const settled = takeover + 20*time.Second
	now := w.now()
	return w.plan.healthy(now, settled, realtimePoint) && w.database.quiet(settled) && !w.plan.recent(now, settled, realtimeAway, replicaFrozen)
}

// openPages checks, while nothing happens, that an open page keeps its payment's channel, at whichever replica it is.
func (r *referee) openPages() {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, now := r.world.plan, r.world.now()
	const takes, backoff = 20 * time.Second, 90 * time.Second // keys and joins that failed are tried again within 60 s,
	const refused = 6*time.Minute + takes                     // but those that were refused within 6 minutes
	jumped := slices.ContainsFunc(p.jumps, func(j jump) bool { return j.at <= now && now < j.at+takes })
	if jumped || !p.healthy(now, backoff, "dollr", realtimePoint, diskFull) || !p.healthy(now, refused, realtimePoint+joinsRefused) || p.recent(now, backoff, dollrAway, realtimeAway) || r.world.misled() {
		return
	}
	for v := range r.views {
		if v.link == "polling" && now-v.linkAt > takes && now-v.opened > takes && v.customer.order.session != 0 && !v.customer.visit.sleepy {
			r.failLocked("an open page keeps realtime", "%s hears of link polling for %s", v.customer.name(), now-v.linkAt)
		}
	}
}

// pokes notes that somebody has a replica of the load balancer's choice ask about a payment.
func (r *referee) pokes(o *order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[o.id()].poked = r.world.now()
}

// expectNewsLocked has every open page show a version soon that one page was shown.
func (r *referee) expectNewsLocked(f *file, version int64) {
	if r.world.database == nil || version <= f.toldPages || r.world.misled() {
		return
	}
	f.toldPages = version
	time.AfterFunc(newsTake, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.world.misled() || !r.world.database.quiet(newsTake) {
			return // who had committed it may have died before it told
		}
		for v := range r.views {
			if r.files[v.customer.merchant.id] == f && v.last.Version < version && !v.customer.visit.sleepy && r.world.now()-v.opened > newsTake {
				r.failLocked("replicas tell each other", "%s does not show version %d, which another page did %s ago", v.customer.name(), version, newsTake)
			}
		}
	})
}

// befalls reports whether the plan has such a mishap.
func (p *plan) befalls(words ...string) bool {
	return slices.ContainsFunc(p.mishaps, func(m mishap) bool { return slices.Contains(words, m.what) })
}

// misled reports whether some replica does not hear all that others tell, or did not just now: rows are read again every 5 s.
func (w *world) misled() bool {
	return w.plan.recent(w.now(), 8*time.Second, newsLost, listenerCut, databaseAway, databaseGone, replicaFrozen)
}

// still reports whether some replica is frozen, or was less than d ago.
func (w *world) still(d time.Duration) bool { return w.plan.recent(w.now(), d, replicaFrozen) }

// disturb notes that replicas come or go: payments change hands.
func (d *database) disturb() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disturbed = time.Now()
}

// quiet reports whether all replicas have been up, and reached the database, for a while.
func (d *database) quiet(d0 time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.world.now()
	away := slices.ContainsFunc(d.world.plan.mishaps, func(m mishap) bool {
		return (m.what == databaseAway || m.what == databaseGone) && m.at <= now && now < m.at+m.lasts+d0
	})
	return !away && time.Since(d.disturbed) > d0
}

// shares is the part of the rate that all replicas use together.
func (d *database) shares() (sum float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.replicas {
		if r.holds(time.Now()) {
			sum += r.Share
		}
	}
	return sum
}

// lapsed is how long ago a replica's lease has run out; zero and below: it has not, or there is none.
func (d *database) lapsed(id string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, there := d.replicas[id]; there {
		return time.Since(r.until)
	}
	return 0
}

// ownerOf is the replica that has a payment's slot, and since when.
func (d *database) ownerOf(id string) (owner string, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := lease.SlotOf(id)
	return d.slots[slot], d.moved[slot]
}

// unowned names an order that no living replica has although there was time to take it, or is empty.
func (w *world) watchOwners() (ownerless *order) {
	d := w.database
	if !d.quiet(takeover) {
		return nil
	}
	if !w.anybody() {
		d.disturb() // there is nobody to take it
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range w.plan.orders {
		slot := lease.SlotOf(o.id())
		owner, there := d.replicas[d.slots[slot]]
		if (!there || !owner.holds(time.Now())) && time.Since(d.moved[slot]) > takeover {
			return o
		}
	}
	return nil
}

// anybody reports whether any replica lives and moves.
func (w *world) anybody() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		if !p.line.frozen() {
			return true
		}
	}
	return false
}
