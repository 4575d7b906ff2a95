package sim

import (
	"context"
	"time"
)

// noticed is when a load balancer takes a replica that does not answer for dead.
const noticed = 3 * time.Second

// freeze holds still what the party does with others, as SIGSTOP holds a process: nothing is read, written, dialled or closed, no
// call of the database is made and none returns, until thaw. What was under way goes on as if no time had passed.
func (l *line) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ice == nil {
		l.ice = make(chan struct{})
	}
}

// thaw ends that.
func (l *line) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ice != nil {
		close(l.ice)
		l.ice = nil
	}
}

func (l *line) frozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ice != nil
}

// rest waits while the party is frozen.
func (l *line) rest() { l.restUnless(nil) }

// restUnless waits no longer than until something is over.
func (l *line) restUnless(over <-chan struct{}) {
	l.mu.Lock()
	ice := l.ice
	l.mu.Unlock()
	if ice == nil {
		return
	}
	select {
	case <-ice:
	case <-over:
	}
}

// freeze holds a replica still, as the plan says.
func (w *world) freeze(ctx context.Context, m mishap) {
	if !w.sleepUntil(ctx, m.at) {
		return
	}
	p := w.at(m.post)
	if p == nil {
		return // it is dead
	}
	w.history.note("world", "relay#%d is frozen", p.number)
	p.line.freeze()
	w.referee.iced(p)
	w.database.disturb()
	if alive(p, min(noticed, m.lasts)) && m.lasts > noticed {
		w.net.retire(p.public, p.admin)
		if alive(p, m.lasts-noticed) {
			w.net.serve(relayHost, p.public)
			w.net.serve(adminHost, p.admin)
		}
	}
	w.history.note("world", "relay#%d goes on", p.number)
	w.referee.iced(p)
	w.database.disturb()
	p.line.thaw()
}

// alive waits, and reports whether the process still lives.
func alive(p *process, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.died:
		return false
	case <-timer.C:
		return true
	}
}

// iced notes that a process stops or goes on: what it does next was decided before, and its breaker may have counted what cannot be
// seen from here.
func (r *referee) iced(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lifeLocked(p.name())
	l.blurred, l.icedAt = true, r.world.now()
}
