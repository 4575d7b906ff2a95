package lease_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/lease"
)

// TestKeeper_whatHangsDoesNotCostTheLease: payments are read from a database that does not answer, or that has more of them than
// fit between two renewals. The lease is renewed all the same, and in the end every slot is watched.
func TestKeeper_whatHangsDoesNotCostTheLease(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]slowOwner{
		"reading what is taken over": {hangs: 3},
		"much to read":               {each: 400 * time.Millisecond},
		"comparing with the counts":  {seen: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				table, owner := &lonely{mine: map[string]string{}}, &slow
				owner.held = map[string]bool{}
				keeper := lease.New(lease.Options{
					ID: "me", Table: table, Owner: owner, Share: func(float64) {}, Held: func(time.Duration) {}, Changed: func() {},
					Logger: slog.New(slog.DiscardHandler),
				})
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- keeper.Run(ctx) }()
				time.Sleep(50 * time.Second)
				stop()
				if err := <-ended; err != nil {
					t.Errorf("Run() = %v", err)
				}
				if got := len(owner.held); got != len(lease.Slots()) {
					t.Errorf("%d slots are watched, want all", got)
				}
				if table.longest >= lease.Length {
					t.Errorf("%s passed between two renewals, want less than the lease's %s", table.longest, lease.Length)
				}
			})
		})
	}
}

// lonely is a table that one replica has for itself.
type lonely struct {
	mine    map[string]string
	renewed time.Time
	longest time.Duration // between two renewals
}

func (l *lonely) Renew(_ context.Context, me lease.Replica) (lease.View, error) {
	if !l.renewed.IsZero() {
		l.longest = max(l.longest, time.Since(l.renewed))
	}
	l.renewed = time.Now()
	me.Left = lease.Length
	return lease.View{Me: me.ID, Replicas: []lease.Replica{me}, Owners: l.mine}, nil
}

func (l *lonely) CountOpen(context.Context) (map[string]int, error) { return map[string]int{}, nil }

func (l *lonely) Claim(_ context.Context, me string, slots []string) ([]string, error) {
	for _, slot := range slots {
		l.mine[slot] = me
	}
	return slots, nil
}

func (l *lonely) Release(context.Context, string, []string) error { return nil }
func (l *lonely) Clean(context.Context) error                     { return nil }
func (l *lonely) Leave(context.Context, string) error             { return nil }

// slowOwner takes its time over what the database tells it.
type slowOwner struct {
	hangs int           // so many calls to Own get no answer
	each  time.Duration // per call
	seen  time.Duration
	held  map[string]bool
}

func (o *slowOwner) Own(ctx context.Context, slots []string) error {
	wait := o.each
	if o.hangs > 0 {
		o.hangs--
		wait = time.Hour
	}
	if err := pause(ctx, wait); err != nil {
		return err
	}
	for _, slot := range slots {
		o.held[slot] = true
	}
	return nil
}

func (o *slowOwner) Disown([]string) {}
func (o *slowOwner) Hold(time.Time)  {}

func (o *slowOwner) Seen(ctx context.Context, _ map[string]bool, _ map[string]int) {
	_ = pause(ctx, o.seen)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
