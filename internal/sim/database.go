package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// database plays the PostgreSQL that several relays share. The payments are in one SQLite file, whose writers take turns;
// leases, presence, sweeps and notifications are here, with the promises that PostgreSQL gives: each call is
// atomic, goes by the database's clock, and what a dead process began does not happen.
type database struct {
	world *world
	path  string        // of the SQLite file
	turn  chan struct{} // of the one who writes to it

	mu        sync.Mutex
	replicas  map[string]row
	slots     map[string]string
	owners    map[string]string // slots of those that are known; nil: to be worked out anew
	presence  map[sighted]relay.Sight
	sweep     store.Sweep
	listeners map[*listener]struct{}
	told      int                  // notifications so far
	disturbed time.Time            // when a replica came or went last
	moved     map[string]time.Time // when slots changed hands
}

type row struct {
	lease.Replica // Left and Held as of now do not count: until and heldUntil do
	until         time.Time
	heldUntil     time.Time
}

func (r row) holds(now time.Time) bool { return r.until.After(now.Add(-lease.Grace)) }

type sighted struct{ payment, replica string }

// listener is a connection that notifications come through, in order.
type listener struct {
	heard chan string
	post  int
	last  time.Time // when the newest one arrives
}

// maxUnread is more than any relay leaves unread.
const maxUnread = 10_000

func newDatabase(w *world, path string) *database {
	return &database{
		world: w, path: path, turn: make(chan struct{}, 1), replicas: map[string]row{}, slots: map[string]string{},
		presence: map[sighted]relay.Sight{}, listeners: map[*listener]struct{}{}, moved: map[string]time.Time{},
	}
}

// seat is the database as one process has it.
type seat struct {
	*database
	process *process
	store   *store.Store
}

var (
	_ app.Shared = (*seat)(nil)
	_ app.Leases = (*seat)(nil)
)

var errAway = errors.New("the database is away")

// Turn implements [app.Shared].
func (s *seat) Turn() (done func()) {
	s.process.line.rest()
	s.turn <- struct{}{}
	return func() {
		<-s.turn
		s.process.line.rest() // committed, and it does not know yet
	}
}

// Leases implements [app.Shared].
func (s *seat) Leases(on *store.Store) app.Leases {
	s.store = on
	return s
}

// ID implements [app.Shared].
func (s *seat) ID() string { return fmt.Sprintf("relay#%d", s.process.number) }

// call runs fn as one statement, unless the process is dead or the database away. How long it takes depends on what it is, too: of
// two calls at the same moment the same one comes first in every replay.
func (s *seat) call(ctx context.Context, what string, fn func(now time.Time)) error {
	w := s.world
	if !sleep(ctx, between(w.dice.roll("database", what, s.process.number, time.Now().UnixNano()), 100*time.Microsecond, 5*time.Millisecond)) {
		return ctx.Err()
	}
	s.process.line.rest()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.process.mu.Lock()
	dead := s.process.dead
	s.process.mu.Unlock()
	if dead {
		return errDead
	}
	if w.plan.unreachable(w.now(), s.process.post) {
		return errAway
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(time.Now())
	return nil
}

// Renew implements [lease.Table]. What it reads is how things stood before it.
func (s *seat) Renew(ctx context.Context, me lease.Replica) (v lease.View, err error) {
	err = s.call(ctx, "Renew", func(now time.Time) {
		v = lease.View{Me: me.ID}
		before, known := s.replicas[me.ID]
		v.Lapsed = known && !before.until.After(now)
		for _, id := range slices.Sorted(maps.Keys(s.replicas)) {
			if r := s.replicas[id]; id != me.ID {
				r.Left, r.Held = r.until.Sub(now), r.heldUntil.Sub(now)
				v.Replicas = append(v.Replicas, r.Replica)
			}
		}
		v.Owners = s.ownersLocked()
		if !known {
			s.owners = nil
		}
		s.replicas[me.ID] = row{me, now.Add(lease.Length), now.Add(me.Held)}
		me.Left = lease.Length
		v.Replicas = append(v.Replicas, me)
	})
	return v, err
}

// ownersLocked is who has which slot. Nobody changes what was given out.
func (d *database) ownersLocked() map[string]string {
	if d.owners == nil {
		d.owners = maps.Clone(d.slots)
		maps.DeleteFunc(d.owners, func(_, owner string) bool { _, there := d.replicas[owner]; return !there })
	}
	return d.owners
}

// Claim implements [lease.Table].
func (s *seat) Claim(ctx context.Context, me string, slots []string) (claimed []string, err error) {
	err = s.call(ctx, "Claim", func(now time.Time) {
		for _, slot := range slots {
			if owner, there := s.replicas[s.slots[slot]]; !there || !owner.holds(now) {
				s.slots[slot], s.moved[slot], s.owners = me, now, nil
				claimed = append(claimed, slot)
			}
		}
	})
	return claimed, err
}

// Release implements [lease.Table].
func (s *seat) Release(ctx context.Context, me string, slots []string) error {
	return s.call(ctx, "Release", func(now time.Time) {
		for _, slot := range slots {
			if s.slots[slot] == me {
				s.moved[slot], s.owners = now, nil
				delete(s.slots, slot)
			}
		}
	})
}

// Clean implements [lease.Table].
func (s *seat) Clean(ctx context.Context) error {
	return s.call(ctx, "Clean", func(now time.Time) {
		s.owners = nil
		maps.DeleteFunc(s.replicas, func(_ string, r row) bool { return now.Sub(r.until) > 10*time.Minute })
		maps.DeleteFunc(s.presence, func(at sighted, _ relay.Sight) bool { _, there := s.replicas[at.replica]; return !there })
	})
}

// Leave implements [lease.Table].
func (s *seat) Leave(ctx context.Context, me string) error {
	return s.call(ctx, "Leave", func(now time.Time) {
		s.disturbed, s.owners = now, nil
		delete(s.replicas, me)
		maps.DeleteFunc(s.presence, func(at sighted, _ relay.Sight) bool { return at.replica == me })
		maps.DeleteFunc(s.slots, func(_, owner string) bool { return owner == me })
	})
}

// Note keeps what a replica knows of payments.
func (s *seat) Note(ctx context.Context, me string, sights map[string]relay.Sight) error {
	return s.call(ctx, "Note", func(time.Time) {
		for id, sight := range sights {
			s.presence[sighted{id, me}] = sight
			if sight == (relay.Sight{}) {
				delete(s.presence, sighted{id, me})
			}
		}
	})
}

// Sights reads what the others know.
func (s *seat) Sights(ctx context.Context, me string, ids []string) (map[string]relay.Sight, error) {
	sights := map[string]relay.Sight{}
	err := s.call(ctx, "Sights", func(now time.Time) {
		for at, seen := range s.presence {
			if at.replica != me && s.replicas[at.replica].holds(now) && slices.Contains(ids, at.payment) {
				sum := sights[at.payment]
				sights[at.payment] = relay.Sight{Pages: sum.Pages || seen.Pages, Live: sum.Live || seen.Live}
			}
		}
	})
	return sights, err
}

// Looked names the payments of which others have pages open.
func (s *seat) Looked(ctx context.Context, me string) (ids []string, err error) {
	err = s.call(ctx, "Looked", func(now time.Time) {
		for at, seen := range s.presence {
			if at.replica != me && seen.Pages && s.replicas[at.replica].holds(now) {
				ids = append(ids, at.payment)
			}
		}
	})
	slices.Sort(ids)
	return slices.Compact(ids), err
}
