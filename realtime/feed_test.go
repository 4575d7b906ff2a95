package realtime_test

import (
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func TestFeed_reportsLiveThenChanges(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.Change(row("PROCESSING"))
		r.srv.Change(row("COMPLETED"))
		pass(time.Second)
		r.want("change:PROCESSING change:COMPLETED")
		if got := r.feed.Stats(); got.Sockets != 1 || got.Channels["live"] != 1 {
			t.Errorf("Stats() = %+v, want one socket and one live channel", got)
		}
		r.feed.Unfollow("pay_1")
		pass(time.Second)
		r.srv.Change(row("FAILED"))
		pass(time.Second)
		r.want("")
	})
}

func TestFeed_comesBackAfterTheNetworkWasGone(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.DropAll()
		pass(3 * time.Second)
		r.want("lost:socket live")
		r.srv.Change(row("COMPLETED"))
		pass(time.Second)
		r.want("change:COMPLETED")
	})
}

// TestFeed_socketsThatFallTogetherAreOneFailure has ten of them: the wait grows with outages, not with sockets.
func TestFeed_socketsThatFallTogetherAreOneFailure(t *testing.T) {
	t.Parallel()
	longest := func(o *realtime.Options) { o.Random = func() float64 { return 0.999 } }
	bubbleWith(t, realtimetest.Options{}, longest, func(r *rig) {
		r.many(1000)
		pass(3 * time.Minute)
		if n := r.feed.Stats().Sockets; n != 10 {
			t.Fatalf("%d sockets, want 10", n)
		}
		for _, want := range []time.Duration{1100 * time.Millisecond, 2100 * time.Millisecond} { // 1 s, then 2 s, and the dial
			r.srv.DropAll()
			lost := time.Now()
			for pass(100 * time.Millisecond); r.feed.Stats().Sockets == 0; {
				pass(100 * time.Millisecond)
			}
			if took := time.Since(lost); took > want {
				t.Errorf("the first socket was back after %s, want at most %s", took, want)
			}
			pass(10 * time.Second)
		}
	})
}
