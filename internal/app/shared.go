package app

import (
	"context"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
	"github.com/dollr-relay/dollr-relay/relay/news"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// Leases are what replicas share beside the payments: [store.Leases] on PostgreSQL.
type Leases interface {
	lease.Table
	news.Channel
	Note(ctx context.Context, me string, sights map[string]relay.Sight) error
	Sights(ctx context.Context, me string, ids []string) (map[string]relay.Sight, error)
	Looked(ctx context.Context, me string) ([]string, error)
	Revisions(ctx context.Context, ids []string) (map[string]int64, error)
	FindAll(ctx context.Context, ids []string) ([]relay.Payment, error)
	OfSlots(ctx context.Context, slots []string, open bool, after string, now time.Time, limit int) ([]relay.Payment, error)
	StartSweep(ctx context.Context, every time.Duration) error
	LastSweep(ctx context.Context) (store.Sweep, error)
	SweepParts(ctx context.Context, s *store.Sweep) error
	SetSweepPart(ctx context.Context, me, part string) error
}

// Shared stands for a PostgreSQL where several relays run in one process on one SQLite file: in the simulator.
type Shared interface {
	// Turn is [store.Options.Turn].
	Turn() (done func())
	// Leases are the tables that SQLite does not have, for the relay on this store.
	Leases(s *store.Store) Leases
	// ID is this relay's.
	ID() string
}
