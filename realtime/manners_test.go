package realtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// many follows payments with reference ids of their own.
func (r *rig) many(n int) {
	for i := range n {
		r.feed.Follow(realtime.Target{
			ID: fmt.Sprintf("pay_%d", i), SessionID: int64(i), SourceType: "INVOICE",
			ReferenceID: fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i),
		})
	}
}

func TestC23C24_joinsPerChannelInTenBadMinutes(t *testing.T) {
	t.Parallel()
	const channels = 20
	tests := []struct {
		name string
		run  func(r *rig)
		most int
	}{
		{"always refused", func(r *rig) {
			r.srv.SetFaults(realtimetest.Faults{JoinError: "Unknown Error on Channel"})
			r.many(channels)
			pass(10 * time.Minute)
		}, 35},
		{"refused at once", func(r *rig) { // the kindest server: it does not hold its refusals back
			r.srv.SetFaults(realtimetest.Faults{JoinError: "join crashed"})
			r.many(channels)
			pass(10 * time.Minute)
		}, 35},
		{"flapping channels", func(r *rig) {
			r.many(channels)
			for range 200 {
				pass(3 * time.Second)
				r.srv.Crash("")
			}
		}, 35},
		{"flapping network", func(r *rig) {
			r.many(channels)
			for range 200 {
				pass(3 * time.Second)
				r.srv.DropAll()
			}
		}, 35},
		{"project limit", func(r *rig) {
			r.srv.SetFaults(realtimetest.Faults{JoinError: "ConnectionRateLimitReached: Too many connected users"})
			r.many(channels)
			pass(10 * time.Minute)
		}, 35},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := realtimetest.Options{}
			if tt.name == "refused at once" {
				o.JoinErrorDelay = -1
			}
			bubble(t, o, func(r *rig) {
				tt.run(r)
				got := len(r.srv.Joins())
				t.Logf("%.1f joins per channel", float64(got)/channels)
				if got > tt.most*channels || got < 3*channels {
					t.Errorf("%d joins of %d channels in ten minutes, want 3 to %d for each", got, channels, tt.most)
				}
			})
		})
	}
}

func TestManners_oneThousandPaymentsMeetNoLimit(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.many(1000)
		pass(2 * time.Minute)
		if got := r.feed.Stats(); got.Channels["live"] != 1000 || got.Sockets != 10 {
			t.Errorf("%+v, want 1000 live channels on 10 sockets", got)
		}
		joins := r.srv.Joins()
		if len(joins) != 1000 {
			t.Errorf("%d joins, want 1000: none was refused", len(joins))
		}
		for i := 20; i < len(joins); i++ {
			if took := joins[i].At.Sub(joins[i-20].At); took < 990*time.Millisecond {
				t.Fatalf("21 joins within %s, want at most 20 per second", took)
			}
		}
	})
}

func TestU9_smallerSocketsThanExpectedAreSharded(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{MaxChannels: 10}, func(r *rig) {
		r.many(60)
		pass(5 * time.Minute)
		if got := r.feed.Stats(); got.Channels["live"] != 60 {
			t.Errorf("%+v, want all 60 channels live", got)
		}
		refused := r.get(r.rejoins, "limit")
		if refused == 0 || refused > 10 {
			t.Errorf("%d joins refused for the limit, want a few and no more", refused)
		}
	})
}

func TestU9_projectLimitSlowsEverybodyDown(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{MaxJoinsPerSecond: 5}, func(r *rig) {
		r.many(300)
		pass(10 * time.Minute)
		if got := r.feed.Stats(); got.Channels["live"] != 300 {
			t.Errorf("%+v, want all 300 channels live in the end", got)
		}
		if got := r.get(r.rejoins, "limit"); got > 150 {
			t.Errorf("%d joins met the limit, want the pace to give way", got)
		}
	})
}

func TestU9_tooManyUsersAtTheDoor(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{ConnectStatus: 429, ConnectError: "Too many connected users"})
		r.feed.Follow(target())
		pass(10 * time.Minute)
		if got := r.get(r.closes, "http_429"); got < 5 || got > 35 {
			t.Errorf("%d upgrades refused, want 5 to 35", got)
		}
		r.srv.SetFaults(realtimetest.Faults{})
		pass(65 * time.Second)
		r.want("lost:unconfirmed live")
	})
}
