package app

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
	"github.com/dollr-relay/dollr-relay/relay/news"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// replicas joins this relay with the others on its database. There are none on SQLite: then it is nil.
type replicas struct {
	Leases

	id     string // of this process
	keeper *lease.Keeper
	board  *news.Board
	notes  *news.Notes
}

var _ relay.Replicas = (*replicas)(nil)

// wireReplicas needs the client of Dollr, whose rate is shared, and comes before what uses the replicas.
func (a *App) wireReplicas(client *dollr.Client) {
	var leases Leases
	id := uuid.NewString()
	if a.opts.Shared != nil {
		leases, id = a.opts.Shared.Leases(a.store), a.opts.Shared.ID()
	} else {
		shared, ok := a.store.Leases()
		if !ok {
			return
		}
		leases = shared
	}
	r := &replicas{Leases: leases, id: id}
	r.board = news.New(news.Options{
		ID: r.id, Channel: leases, Max: store.MaxNews, Heard: a.heard, CaughtUp: a.caughtUp, Logger: a.log,
	})
	r.notes = news.NewNotes(func(ctx context.Context, sights map[string]relay.Sight) error {
		return leases.Note(ctx, r.id, sights)
	}, func(id string) { r.board.TellPayment(relay.News{ID: id}) }, a.log)
	client.SetShare(0) // until the others have made room
	r.keeper = lease.New(lease.Options{
		ID: r.id, Table: leases, Owner: owner{a}, Share: client.SetShare, Held: client.Hold,
		Changed: func() { r.board.Tell(news.Item{Look: true}) }, Logger: a.log,
	})
	a.replicas = r
}

// heard takes what another replica tells.
func (a *App) heard(item news.Item) {
	if item.Look {
		a.replicas.keeper.Look()
	}
	if item.Sweep {
		a.sweeps.look()
	}
	if item.Payment != nil {
		told := item.Payment.News()
		a.relay.HearNews(told)
		if told.Reported {
			a.reports.Ring()
		}
	}
}

// caughtUp makes good what others may have told while they were not heard.
func (a *App) caughtUp() {
	a.relay.CatchUp()
	a.reports.Ring()
	a.replicas.keeper.Look()
}

// owner lets the keeper give the relay its payments; the relay is made after the keeper.
type owner struct{ *App }

// Own implements [lease.Owner].
func (o owner) Own(ctx context.Context, slots []string) error { return o.relay.Own(ctx, slots) }

// Disown implements [lease.Owner].
func (o owner) Disown(slots []string) { o.relay.Disown(slots) }

// Hold implements [lease.Owner].
func (o owner) Hold(until time.Time) { o.relay.Hold(until) }

// Seen implements [lease.Owner].
func (o owner) Seen(ctx context.Context, degraded map[string]bool, open map[string]int) {
	o.relay.Seen(ctx, degraded, open)
}

// Tell implements [relay.Replicas].
func (r *replicas) Tell(n relay.News) { r.board.TellPayment(n) }

// Note implements [relay.Replicas].
func (r *replicas) Note(id string, s relay.Sight) { r.notes.Note(id, s) }

// Sights implements [relay.Replicas].
func (r *replicas) Sights(ctx context.Context, ids []string) (map[string]relay.Sight, error) {
	return r.Leases.Sights(ctx, r.id, ids)
}

// Looked implements [relay.Replicas].
func (r *replicas) Looked(ctx context.Context) ([]string, error) { return r.Leases.Looked(ctx, r.id) }
