package realtime_test

import (
	"testing"
	"time"

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
