package app

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/web/console"
)

// countPatience bounds what the console may wait for the database before it says that it does not work.
const countPatience = time.Second

// deafAfter is how long joining a first realtime channel may take before it is called trouble.
const deafAfter = 4 * time.Second

// operator tells the console how this process is doing.
type operator struct {
	app     *App
	started time.Time
	client  *dollr.Client
	keys    *keyMinter
	journal journal

	mu       sync.Mutex
	breakers map[string]console.Breaker // by name, as they were told last

	deafSince, looked time.Time // see deaf
}

func newOperator(a *App) *operator {
	o := &operator{app: a, started: a.opts.Now(), breakers: map[string]console.Breaker{}}
	a.metrics.onBreaker = func(name string, s fallback.State) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.breakers[name] = console.Breaker{State: s.String(), Since: a.opts.Now()}
	}
	return o
}

// wireAdmin makes what the admin listener serves: health, metrics and the operator console.
func (a *App) wireAdmin() (http.Handler, error) {
	host, _, err := net.SplitHostPort(a.config.AdminListen)
	if err != nil {
		host = "" // the caller has brought a listener
	}
	page, err := console.New(console.Options{
		Payments: a.relay, Records: a.store, System: a.operator, Redelivered: a.wakeSender,
		Host: host, Version: a.config.Version, Logger: a.log, Now: a.opts.Now,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	health := a.api.Admin(a.metrics.handler())
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle(path, health)
	}
	mux.Handle("/", page.Handler())
	return mux, nil
}

// Health implements [console.System].
func (o *operator) Health(ctx context.Context) console.Health {
	a := o.app
	level := o.client.Level()
	asked, silent := o.journal.since(a.opts.Now().Add(-time.Minute))
	h := console.Health{
		Started: o.started, Stopping: a.api.Stopping(), StoreDown: a.relay.StoreDown(),
		Dollr:  o.asked("status", a.asker.State(), a.asker.RetryAfter()),
		Budget: console.Budget{Full: level.Full, Rate: level.Rate, Held: level.Held, Waiting: level.Waiting},
		Keys:   o.asked("realtime_key", o.keys.breaker.State(), o.keys.breaker.RetryAfter()),
		Asked:  asked, Silent: silent, Supabase: a.feed != nil, Links: a.relay.Links(), Pages: a.api.OpenPages(),
	}
	if a.feed != nil {
		stats := a.feed.Stats()
		h.Sockets, h.Channels = stats.Sockets, stats.Channels
		h.Deaf = o.deaf(stats.Channels)
	}
	for i, url := range a.config.CallbackURLs {
		name := "callback_" + strconv.Itoa(i+1)
		h.Endpoints = append(h.Endpoints, console.Endpoint{Name: name, URL: url, Breaker: o.breaker(name)})
	}
	h.Replicas = o.replicas()
	ctx, cancel := context.WithTimeout(ctx, countPatience)
	defer cancel()
	var err error
	if h.Pending, h.Dead, err = a.store.Undelivered(ctx); err != nil {
		h.StoreError = true
	}
	return h
}

// Questions implements [console.System].
func (o *operator) Questions(paymentID string) []console.Question { return o.journal.of(paymentID) }

// Reconcile implements [console.System].
func (o *operator) Reconcile() { o.app.reconciler().Start() }

// Sweep implements [console.System].
func (o *operator) Sweep() console.Sweep {
	r := o.app.reconciler().Report()
	return console.Sweep{
		Started: r.StartedAt, Ended: r.EndedAt, Asked: r.Asked, Failed: r.Failed,
		Late: r.Late, Missed: r.Missed, Mismatched: r.Mismatched, Contradicted: r.Contradicted,
	}
}

// breaker is a breaker as it was told last.
func (o *operator) breaker(name string) console.Breaker {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.breakers[name]
}

// asked is the present state of a breaker that can be asked for it.
func (o *operator) asked(name string, s fallback.State, retry time.Duration) console.Breaker {
	b := o.breaker(name)
	b.State, b.Retry = s.String(), retry
	return b
}

// deaf reports whether realtime channels are wanted and none is live. That is so for a moment after each first registration,
// so it must last to count, or a channel must have failed.
func (o *operator) deaf(channels map[string]int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.app.opts.Now()
	wanted := 0
	for _, n := range channels {
		wanted += n
	}
	if wanted == 0 || channels["live"] > 0 {
		o.deafSince = time.Time{}
		return false
	}
	if o.deafSince.IsZero() || now.Sub(o.looked) > 2*deafAfter {
		o.deafSince = now
	}
	o.looked = now
	return channels["waiting"] > 0 || now.Sub(o.deafSince) >= deafAfter
}

// replicas are the relays on this database as this one saw them last; none on SQLite.
func (o *operator) replicas() []console.Replica {
	if o.app.replicas == nil {
		return nil
	}
	members, seen := o.app.replicas.keeper.Members()
	all := make([]console.Replica, len(members))
	for i, m := range members {
		m.Left -= time.Since(seen)
		all[i] = console.Replica{
			ID: m.ID, Me: m.Me, Left: m.Left, Gone: !m.Holds(), Share: m.Share, Down: m.Down, Held: max(0, m.Held-time.Since(seen)), Payments: m.Payments,
		}
	}
	return all
}
