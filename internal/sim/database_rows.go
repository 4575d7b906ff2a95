package sim

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// watched reads all payments that anybody must watch.
func (s *seat) watched(ctx context.Context, now time.Time) ([]relay.Payment, error) {
	if err := s.call(ctx, "watched", func(time.Time) {}); err != nil {
		return nil, err
	}
	return s.store.Watched(ctx, "", now, 1000) // a plan has a few payments
}

// CountOpen implements [lease.Table].
func (s *seat) CountOpen(ctx context.Context) (map[string]int, error) {
	all, err := s.watched(ctx, time.Now())
	open := map[string]int{}
	for _, p := range all {
		if !p.Final() {
			open[lease.SlotOf(p.ID)]++
		}
	}
	return open, err
}

// OfSlots reads the payments of slots that are to be watched.
func (s *seat) OfSlots(ctx context.Context, slots []string, open bool, after string, now time.Time, _ int) ([]relay.Payment, error) {
	all, err := s.watched(ctx, now)
	return slices.DeleteFunc(all, func(p relay.Payment) bool {
		return p.ID <= after || p.Final() == open || !slices.Contains(slots, lease.SlotOf(p.ID))
	}), err
}

// FindAll reads payments.
func (s *seat) FindAll(ctx context.Context, ids []string) (found []relay.Payment, err error) {
	if err := s.call(ctx, "FindAll", func(time.Time) {}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		switch p, err := s.store.Find(ctx, id); {
		case err == nil:
			found = append(found, p)
		case !errors.Is(err, relay.ErrNotFound):
			return nil, err
		}
	}
	return found, nil
}

// Revisions reads how often payments were written.
func (s *seat) Revisions(ctx context.Context, ids []string) (map[string]int64, error) {
	found, err := s.FindAll(ctx, ids)
	revisions := map[string]int64{}
	for _, p := range found {
		revisions[p.ID] = p.Revision
	}
	return revisions, err
}

// StartSweep starts a sweep for all, unless the last one was started less than every ago.
func (s *seat) StartSweep(ctx context.Context, every time.Duration) error {
	return s.call(ctx, "StartSweep", func(now time.Time) {
		if s.sweep.Number == 0 || now.Sub(s.sweep.StartedAt) >= every {
			s.sweep = store.Sweep{Number: s.sweep.Number + 1, StartedAt: now.UTC(), Parts: map[string]string{}}
		}
	})
}

// LastSweep reads the last sweep.
func (s *seat) LastSweep(ctx context.Context) (last store.Sweep, err error) {
	err = s.call(ctx, "LastSweep", func(now time.Time) {
		if s.sweep.Number > 0 {
			last = store.Sweep{Number: s.sweep.Number, StartedAt: s.sweep.StartedAt, Age: now.Sub(s.sweep.StartedAt)}
		}
	})
	return last, err
}

// SweepParts adds what the replicas wrote of it.
func (s *seat) SweepParts(ctx context.Context, into *store.Sweep) error {
	return s.call(ctx, "SweepParts", func(now time.Time) {
		into.Parts, into.Present = maps.Clone(s.sweep.Parts), map[string]bool{}
		for id, r := range s.replicas {
			if r.holds(now) {
				into.Present[id] = true
			}
		}
	})
}

// SetSweepPart writes how far a replica is.
func (s *seat) SetSweepPart(ctx context.Context, me, part string) error {
	return s.call(ctx, "SetSweepPart", func(time.Time) {
		if s.sweep.Parts != nil {
			s.sweep.Parts[me] = part
		}
	})
}

// Tell sends a notification to all that listen, in order; some get lost on the way when the plan says so.
func (s *seat) Tell(ctx context.Context, message string) error {
	return s.call(ctx, "Tell", func(now time.Time) {
		s.told++
		for to := range s.listeners {
			draw := s.world.dice.roll("notification", s.told, to.post)
			switch bad := s.world.plan.mishap(s.world.now(), newsLost, to.post); {
			case bad && chance(draw, 0.7):
			case bad && chance(draw, 0.5):
				s.deliver(to, now.Add(between(draw, 0, 2*time.Second)), message)
				s.deliver(to, now, message)
			default:
				s.deliver(to, now.Add(between(draw, 0, 5*time.Millisecond)), message)
			}
		}
	})
}

// deliver lets a message arrive, after those before it.
func (s *seat) deliver(to *listener, at time.Time, message string) {
	if at.Before(to.last) {
		at = to.last.Add(1)
	}
	to.last = at
	time.AfterFunc(time.Until(at), func() {
		select {
		case to.heard <- message:
		default: // a listener that does not read loses
		}
	})
}

// Listen hears notifications until ctx ends or the connection is cut.
func (s *seat) Listen(ctx context.Context, ready func(), heard func(message string)) error {
	me := &listener{heard: make(chan string, maxUnread), post: s.process.post}
	if err := s.call(ctx, "Listen", func(time.Time) { s.listeners[me] = struct{}{} }); err != nil {
		return err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, me)
	}()
	ready()
	look := time.NewTicker(2 * time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.process.died:
			return errDead
		case message := <-me.heard:
			s.process.line.rest()
			heard(message)
		case <-look.C:
			if s.world.plan.mishap(s.world.now(), listenerCut, me.post) || s.world.plan.unreachable(s.world.now(), me.post) {
				return errAway
			}
		}
	}
}
