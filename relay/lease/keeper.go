package lease

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// retry is the pause after the database gave no answer.
	retry = 500 * time.Millisecond
	// patience bounds a renewal, and all that is done before the next: a lease must not run out because one call hangs.
	patience = 3 * time.Second
	// ownAtOnce is how many slots are taken over with one call: what does not fit between two renewals goes on after the next.
	ownAtOnce = 64
	// countEvery is how often open payments are counted: for the balance, and to find what was not heard of.
	countEvery = 3 * time.Second
	// cleanEvery is how often what dead replicas have left is removed: it does no harm.
	cleanEvery = time.Minute
	// abandonAfter is how long after the end of its lease a replica that cannot reach the database keeps its channels:
	// others may have taken over, or be as helpless as this one, and then it would only have to join again.
	abandonAfter = 30 * time.Second
)

// Table is the part of the database that the replicas share. Every call is one statement, or harmless if it is cut off
// between two.
type Table interface {
	// Renew prolongs the lease of a replica, which is new if it is not known, and reads all leases and owners.
	Renew(ctx context.Context, me Replica) (View, error)
	// CountOpen counts the open payments by slot.
	CountOpen(ctx context.Context) (map[string]int, error)
	// Claim makes slots the replica's own, and returns those of them that were free.
	Claim(ctx context.Context, me string, slots []string) ([]string, error)
	// Release gives up slots, as far as they are the replica's.
	Release(ctx context.Context, me string, slots []string) error
	// Clean forgets what replicas that are gone for good have left.
	Clean(ctx context.Context) error
	// Leave gives up everything.
	Leave(ctx context.Context, me string) error
}

// Owner watches the payments of the slots that this replica has.
type Owner interface {
	// Own begins to watch the payments of slots. After an error it is tried again.
	Own(ctx context.Context, slots []string) error
	// Disown ceases to. It must not wait for the database.
	Disown(slots []string)
	// Hold says until when the lease holds by this process's own clock.
	Hold(until time.Time)
	// Seen is told what others do: the slots whose owner cannot reach Dollr, and now and then (else nil) how many open
	// payments every slot has.
	Seen(ctx context.Context, degraded map[string]bool, open map[string]int)
}

// Options configure a [Keeper].
type Options struct {
	ID    string // of this process, never used again
	Table Table
	Owner Owner
	// Share hears which part of DOLLR_RATE this replica may use, and Held how long a 429 that another one got holds every
	// call.
	Share func(share float64)
	Held  func(d time.Duration)
	// Changed tells the other replicas to look now.
	Changed func()
	Logger  *slog.Logger
}

// Keeper keeps this replica's lease and its fair share of the payments.
type Keeper struct {
	opts Options
	wake chan struct{}

	mu        sync.Mutex
	down      bool
	heldUntil time.Time // by a 429 that this replica got
	news      bool      // they have changed since they were written
	members   []Member  // as last seen
	seenAt    time.Time

	held      map[string]bool // slots that Owner watches
	open      map[string]int
	countedAt time.Time
	cleanedAt time.Time
	renewedAt time.Time // before the last renewal was sent: our clock is never late
	share     float64
	live      int
	failing   bool // the last renewal did
}

// New returns a Keeper that does nothing before its Run.
func New(opts Options) *Keeper {
	return &Keeper{opts: opts, wake: make(chan struct{}, 1), held: map[string]bool{}}
}

// Look makes Run look now: another replica has changed something.
func (k *Keeper) Look() {
	select {
	case k.wake <- struct{}{}:
	default: // it is about to
	}
}

// SetDown notes for the other replicas whether this one cannot reach Dollr.
func (k *Keeper) SetDown(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down != down {
		k.down, k.news = down, true
		k.Look()
	}
}

// SetHeld notes for them that a 429 holds every call to Dollr.
func (k *Keeper) SetHeld(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heldUntil, k.news = time.Now().Add(d), true
	k.Look()
}

// me is what this replica tells of itself, and whether others should hear it now.
func (k *Keeper) me() (r Replica, news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	news, k.news = k.news, false
	return Replica{ID: k.opts.ID, Share: k.share, Down: k.down, Held: max(0, time.Until(k.heldUntil))}, news
}

// Run keeps the lease until ctx ends, then gives everything up at once, so that others need not wait for its end.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.leave(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		case <-k.wake:
		}
		timer.Reset(k.step(ctx))
	}
}

func (k *Keeper) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k.disown(keys(k.held))
	k.opts.Share(0)
	if err := k.opts.Table.Leave(ctx, k.opts.ID); err != nil {
		k.opts.Logger.WarnContext(ctx, "leases not released, they run out", slog.Any("err", err))
		return
	}
	k.opts.Changed()
}

// step renews, looks and does what [Decide] says, and returns how long nothing is to be done.
func (k *Keeper) step(ctx context.Context) time.Duration {
	call, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	me, news := k.me()
	view, err := k.opts.Table.Renew(call, me)
	if err == nil && began.Sub(k.countedAt) >= countEvery {
		if open, failed := k.opts.Table.CountOpen(call); failed == nil {
			k.open, k.countedAt = open, began
		} else {
			err = failed
		}
	}
	if err != nil {
		return k.failed(ctx, err)
	}
	if news {
		k.opts.Changed()
	}
	if k.failing {
		k.opts.Logger.InfoContext(ctx, "lease renewed again", slog.Bool("lapsed", view.Lapsed))
	}
	k.renewedAt, k.failing = began, false
	for _, r := range view.Replicas {
		if r.ID != k.opts.ID && r.Held > 0 {
			k.opts.Held(r.Held)
		}
	}
	k.opts.Owner.Hold(began.Add(Length))
	view.Open = k.open
	k.see(view, began)
	work, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again, err := k.obey(work, view, Decide(view))
	if err != nil {
		if ctx.Err() == nil {
			k.opts.Logger.WarnContext(ctx, "payments not shared out", slog.Any("err", err))
		}
		return retry
	}
	var counted map[string]int
	if k.countedAt.Equal(began) {
		counted = k.open
	}
	k.opts.Owner.Seen(work, view.degraded(), counted)
	if began.Sub(k.cleanedAt) >= cleanEvery {
		k.cleanedAt = began
		if err := k.opts.Table.Clean(work); err != nil && ctx.Err() == nil {
			k.opts.Logger.WarnContext(ctx, "traces of dead replicas not removed", slog.Any("err", err))
		}
	}
	return again
}

func (k *Keeper) failed(ctx context.Context, err error) time.Duration {
	if ctx.Err() == nil && !k.failing {
		k.opts.Logger.WarnContext(ctx, "lease not renewed", slog.Any("err", err))
	}
	k.failing = true
	if len(k.held) > 0 && time.Since(k.renewedAt) > Length+abandonAfter {
		k.disown(keys(k.held))
	}
	return retry
}

// obey makes what is watched agree with the table, and then carries out a step.
func (k *Keeper) obey(ctx context.Context, v View, s Step) (time.Duration, error) {
	var gained, lost []string
	for slot := range k.held {
		if v.Owners[slot] != k.opts.ID {
			lost = append(lost, slot)
		}
	}
	for slot, owner := range v.Owners {
		if owner == k.opts.ID && !k.held[slot] {
			gained = append(gained, slot) // claimed before, and not heard or not read since
		}
	}
	k.disown(lost)
	k.disown(s.Release)
	changed := len(s.Release) > 0
	if changed {
		if err := k.opts.Table.Release(ctx, k.opts.ID, s.Release); err != nil {
			return 0, err
		}
	}
	if len(s.Claim) > 0 {
		claimed, err := k.opts.Table.Claim(ctx, k.opts.ID, s.Claim)
		if err != nil {
			return 0, err
		}
		gained = append(gained, claimed...)
		if len(claimed) < len(s.Claim) {
			s.Again = min(s.Again, retry/10) // somebody else was faster: there may be more to claim
		}
	}
	if err := k.own(ctx, without(gained, s.Release)); err != nil {
		return 0, err
	}
	if live := v.Live(); live != k.live || s.Share != k.share {
		changed = true
		k.live, k.share = live, s.Share
		k.opts.Share(s.Share)
		s.Again = min(s.Again, retry/10) // let the others know
	}
	if changed {
		k.opts.Changed()
	}
	return s.Again, nil
}

func (k *Keeper) own(ctx context.Context, slots []string) error {
	for some := range slices.Chunk(slots, ownAtOnce) {
		if err := k.opts.Owner.Own(ctx, some); err != nil {
			return err
		}
		for _, slot := range some {
			k.held[slot] = true
		}
		k.opts.Logger.DebugContext(ctx, "payments taken over", slog.Int("slots", len(some)), slog.Int("held", len(k.held)))
	}
	return nil
}

func (k *Keeper) disown(slots []string) {
	if len(slots) == 0 {
		return
	}
	k.opts.Owner.Disown(slots)
	for _, slot := range slots {
		delete(k.held, slot)
	}
}

// degraded are the slots whose owner cannot reach Dollr.
func (v View) degraded() map[string]bool {
	down, slots := map[string]bool{}, map[string]bool{}
	for _, r := range v.Replicas {
		if r.Down && r.Holds() {
			down[r.ID] = true
		}
	}
	if len(down) == 0 {
		return slots
	}
	for slot, owner := range v.Owners {
		if down[owner] {
			slots[slot] = true
		}
	}
	return slots
}

func keys(set map[string]bool) []string {
	all := make([]string, 0, len(set))
	for key := range set {
		all = append(all, key)
	}
	slices.SortFunc(all, cmp.Compare[string])
	return all
}

func without(slots, gone []string) []string {
	return slices.DeleteFunc(slots, func(slot string) bool { return slices.Contains(gone, slot) })
}
