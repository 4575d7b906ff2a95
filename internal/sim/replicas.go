package sim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// mishap is what happens to one of several replicas. Those that end a process are kill and restart.
type mishap struct {
	at, lasts time.Duration
	what      string
	post      int // whose: replicas are posts, held by one process after the other
}

// Words for mishaps.
const (
	replicaKilled    = "is killed"
	replicaRestarted = "is restarted"
	newsLost         = "does not hear all news"
	listenerCut      = "loses its listener"
	databaseAway     = "does not reach the database"
	replicaFrozen    = "is frozen"
	dollrAway        = "does not reach Dollr"
	realtimeAway     = "does not reach realtime"
	databaseGone     = "and all others lose the database" // one for all, by the first's name
)

// drawReplicas lets one in six plans have several replicas.
func (p *plan) drawReplicas() {
	r := p.dice.roll("replicas")
	p.replicas = 1
	if !chance(r, 1.0/6) {
		return
	}
	p.replicas = 2 + r.IntN(2)
	for range r.IntN(4) {
		m := mishap{
			at: p.moment(r), lasts: between(r, 100*time.Millisecond, 20*time.Second), post: r.IntN(p.replicas),
			what: pick(r, replicaKilled, replicaKilled, replicaRestarted, newsLost, newsLost, listenerCut, databaseAway),
		}
		if m.what == replicaKilled || m.what == replicaRestarted {
			m.post = 1 + r.IntN(p.replicas-1) // crashes are the first one's
		}
		if m.what == databaseAway && chance(r, 0.5) {
			m.lasts += 15 * time.Second // its lease runs out
		}
		m.lasts = min(m.lasts, p.lasts-m.at)
		p.mishaps = append(p.mishaps, m)
	}
	p.drawTrials()
	p.drawSlow()
	slices.SortFunc(p.mishaps, func(a, b mishap) int { return int(a.at - b.at) })
}

// drawTrials adds what lasts: at most one replica is frozen, and the database is gone once.
func (p *plan) drawTrials() {
	r := p.dice.roll("trials")
	add := func(what string, least, most time.Duration, post int) {
		m := mishap{at: p.moment(r), lasts: between(r, least, most), what: what, post: post}
		m.lasts = min(m.lasts, p.lasts-m.at)
		p.mishaps = append(p.mishaps, m)
	}
	if chance(r, 0.3) {
		add(replicaFrozen, 100*time.Millisecond, pick(r, 12*time.Second, 75*time.Second), r.IntN(p.replicas))
	}
	if chance(r, 0.2) {
		add(databaseGone, 100*time.Millisecond, pick(r, 10*time.Second, 60*time.Second), 0)
	}
	if chance(r, 0.2) {
		add(dollrAway, 5*time.Second, 60*time.Second, r.IntN(p.replicas))
	}
	if chance(r, 0.2) {
		add(realtimeAway, time.Second, 60*time.Second, r.IntN(p.replicas))
	}
}

// drawSlow adds what shows late. A replica loses its lease, and nothing but the lease, while a payment that only questions can settle
// stays open. Or somebody looks for long at a payment that stays
// open and whose own time with realtime is over: then only the look, at whichever replica, keeps the channel. That shows while no replica
// comes or goes, or a while after one has.
func (p *plan) drawSlow() {
	r := p.dice.roll("slow")
	switch draw := r.Float64(); {
	case draw < 0.3:
		m := mishap{at: between(r, p.lasts/3, p.lasts-20*time.Second), lasts: between(r, 15*time.Second, 45*time.Second), what: databaseAway, post: r.IntN(p.replicas)}
		m.lasts = min(m.lasts, p.lasts-m.at)
		p.mishaps = append(p.mishaps, m)
		o := p.drawOrder(len(p.orders))
		o.operation, o.session, o.sourceTyp, o.sourceID, o.steps = relay.Payout, 0, "", 0, nil
		o.again, o.verify, o.visits = nil, nil, nil
		p.orders = append(p.orders, o)
	case draw < 0.8:
		p.window, p.mishaps = shortWindow, nil
		o := p.drawOrder(len(p.orders))
		o.operation, o.session, o.sourceTyp, o.sourceID, o.steps = relay.Collection, 50+int64(o.number), "INVOICE", 100, nil
		o.visits = []visit{{at: o.register + shortWindow + between(r, time.Second, 10*time.Second), stays: p.lasts}}
		p.orders = append(p.orders, o)
		if draw > 0.6 { // and then its replica, or another one, dies
			p.mishaps = []mishap{{at: o.visits[0].at + 5*time.Second, lasts: time.Second, what: replicaKilled, post: 1}}
		}
	}
}

// mishap reports whether something is wrong with a replica.
func (p *plan) mishap(at time.Duration, what string, post int) bool {
	return slices.ContainsFunc(p.mishaps, func(m mishap) bool {
		return m.what == what && m.post == post && m.at <= at && at < m.at+m.lasts
	})
}

// unreachable reports whether a process does not get through to the database.
func (p *plan) unreachable(at time.Duration, post int) bool {
	return p.mishap(at, databaseAway, post) || p.mishap(at, databaseGone, 0)
}

// recent reports whether any replica has such a mishap, or had one less than d ago.
func (p *plan) recent(at, d time.Duration, words ...string) bool {
	return slices.ContainsFunc(p.mishaps, func(m mishap) bool {
		return slices.Contains(words, m.what) && m.at <= at && at < m.at+m.lasts+d
	})
}

func (p *plan) replicaText() string {
	if p.replicas == 1 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d replicas\n", p.replicas)
	for _, m := range p.mishaps {
		fmt.Fprintf(&b, "%.1fs: replica %d %s, for %.1fs\n", m.at.Seconds(), m.post, m.what, m.lasts.Seconds())
	}
	return b.String()
}

// share makes the file that all replicas use, and starts all but the first, which the plan's crashes are for.
func (w *world) share(ctx context.Context) {
	w.database = newDatabase(w, w.databasePath())
	if err := os.MkdirAll(filepath.Dir(w.database.path), 0o700); err != nil {
		w.referee.fail("simulator", "make a folder: %v", err)
	}
	for post := range w.plan.replicas {
		w.launchAt(ctx, post, "")
	}
}

// link is a path of a process' own that leads to the shared file: so each has its own lock, and its own disk.
func (d *database) link() (string, error) {
	path := d.world.databasePath()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, os.Symlink(d.path, path)
}

// befall ends and starts replicas as the plan says.
func (w *world) befall(ctx context.Context) {
	var lasting sync.WaitGroup
	defer lasting.Wait()
	for _, m := range w.plan.mishaps {
		switch m.what {
		case replicaFrozen:
			lasting.Go(func() { w.freeze(ctx, m) })
		case realtimeAway:
			lasting.Go(func() { w.deafen(ctx, m) })
		}
	}
	for _, m := range w.plan.mishaps {
		if m.what != replicaKilled && m.what != replicaRestarted {
			continue
		}
		if !w.sleepUntil(ctx, m.at) {
			return
		}
		p := w.at(m.post)
		if p == nil {
			return // it did not start: reported already
		}
		if m.what == replicaRestarted {
			w.history.note("world", "relay#%d is asked to stop", p.number)
			p.stop()
		} else {
			p.mu.Lock()
			p.dieLocked("now")
			p.mu.Unlock()
			p.end()
			w.leave(p)
		}
		sleep(ctx, m.lasts)
		w.launchAt(ctx, m.post, "")
	}
}

// deafen cuts a replica off from realtime. It does not get through again for a while, see tryLaunch.
func (w *world) deafen(ctx context.Context, m mishap) {
	if !w.sleepUntil(ctx, m.at) {
		return
	}
	if p := w.at(m.post); p != nil {
		p.line.dropTo(supabaseHost)
	}
}

// at is the process that holds a post; nil while none does.
func (w *world) at(post int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.posts[post]
}

// leave ends a process' time at its post.
func (w *world) leave(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.posts[p.post] == p {
		delete(w.posts, p.post)
	}
	w.net.retire(p.public, p.admin)
	if w.database != nil {
		w.database.disturb()
	}
}

// guard sees to it, second by second, that somebody has every payment.
func (w *world) guard(ctx context.Context) {
	for w.database != nil && sleep(ctx, 1003*time.Millisecond) {
		if o := w.watchOwners(); o != nil {
			w.referee.fail("taken over within 10 s", "no living replica has order %d", o.number)
			return
		}
		steady := w.steady()
		w.referee.channels(w.bank.realtime.Channels(), steady)
		if steady {
			w.referee.openPages()
		}
		if sum := w.database.shares(); sum > 1.001 && w.database.quiet(takeover) {
			w.referee.fail("DOLLR_RATE holds for all replicas together", "they have %.3f of it", sum)
		}
	}
}
