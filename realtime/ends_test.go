package realtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func TestC22C23C25C30_endedChannelsComeBackOnTheSameSocket(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(r *rig)
		want string
	}{
		{"phx_error", func(r *rig) { r.srv.Crash("") }, "lost:crashed live"},
		{"phx_close", func(r *rig) { r.srv.SendText(wire("null", "phx_close", `{}`)) }, "lost:closed live"},
		{"rate limit", func(r *rig) { r.srv.Expel("", "Too many messages per second") }, "lost:limit live"},
		{"missed change", func(r *rig) { r.feed.Rejoin("pay_1", "missed") }, "lost:missed live"},
		{"twice in a row", func(r *rig) { r.feed.Rejoin("pay_1", "missed"); r.feed.Rejoin("pay_1", "missed") }, "lost:missed live"},
		{"unmatched topic", func(r *rig) {
			r.srv.Forget("")
			pass(5 * time.Minute) // until a renewed key is pushed
		}, "lost:forgotten live"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.live()
				tt.end(r)
				pass(10 * time.Second)
				r.want(tt.want)
				r.srv.Change(row("COMPLETED"))
				pass(time.Second)
				r.want("change:COMPLETED") // exactly one live subscription
				joins := r.srv.Joins()
				if len(joins) != 2 || joins[0].Conn != joins[1].Conn {
					t.Errorf("joins %+v, want two on one socket", joins)
				}
			})
		})
	}
}

func TestC24_everyCloseCodeIsReconnected(t *testing.T) {
	t.Parallel()
	for _, code := range []int{1000, 1001, 1009, 1011, 1012} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.live()
				r.srv.CloseAll(code)
				pass(3 * time.Second)
				r.want("lost:socket live")
				if got := r.get(r.closes, fmt.Sprintf("close_%d", code)); got != 1 {
					t.Errorf("%d sockets ended with close_%d, want 1", got, code)
				}
			})
		})
	}
	t.Run("drain", func(t *testing.T) {
		t.Parallel()
		bubble(t, realtimetest.Options{}, func(r *rig) {
			r.live()
			r.srv.Drain()
			pass(3 * time.Second)
			r.want("lost:socket live")
		})
	})
}

func TestC13C27_muteJoinTimesOutAndIsLeft(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{MuteJoins: true})
		r.feed.Follow(target())
		pass(10 * time.Second)
		if got := len(r.sent("phx_leave")); got != 0 {
			t.Errorf("gave a join up within 10 s")
		}
		pass(6 * time.Second)
		if got := r.sent("phx_leave"); len(got) != 1 || got[0].JoinRef != r.sent("phx_join")[0].Ref {
			t.Errorf("leaves %+v, want one of the join", got)
		}
		r.srv.SetFaults(realtimetest.Faults{})
		pass(20 * time.Second)
		r.want("lost:unconfirmed live")
	})
}

func TestC20_U8_deafSocketIsDeadInTwentySeconds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault realtimetest.Faults
		want  string
	}{
		{"deaf", realtimetest.Faults{Deaf: true}, "lost:socket"},
		{"mute heartbeats", realtimetest.Faults{MuteHeartbeats: true}, "lost:socket live"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.live()
				pass(time.Minute)
				r.want("")
				if len(r.trips) != 4 {
					t.Errorf("%d heartbeats answered in a minute, want 4", len(r.trips))
				}
				r.srv.SetFaults(tt.fault)
				pass(22 * time.Second)
				r.want(tt.want)
				r.srv.SetFaults(realtimetest.Faults{})
				pass(time.Minute)
				if got := r.feed.Stats().Channels["live"]; got != 1 {
					t.Errorf("%d channels live after the fault, want 1", got)
				}
			})
		})
	}
}

func TestC20_failingJoinsDoNotKillTheSocket(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SetFaults(realtimetest.Faults{JoinError: "Unknown Error on Channel"})
		for i := range 4 { // 20 s in which the healthy socket hears nothing
			other := target()
			other.ID, other.SessionID = fmt.Sprintf("pay_%d", i+2), int64(i)
			pass(3 * time.Second)
			r.feed.Follow(other)
		}
		pass(2 * time.Minute)
		for _, e := range r.take() {
			if e.ID == "pay_1" {
				t.Errorf("the healthy channel reported %+v", e)
			}
		}
		if got := r.get(r.closes, "connection"); got != 0 {
			t.Errorf("%d sockets were given up", got)
		}
	})
}

func TestFeed_failedJoinsRetryApartFromHealthyChannels(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		healthy := r.srv.Joins()[0].Conn
		r.srv.SetFaults(realtimetest.Faults{JoinError: "Unknown Error on Channel"})
		other := target()
		other.ID, other.SessionID = "pay_2", 56
		r.feed.Follow(other)
		pass(5 * time.Minute)
		joins := r.srv.Joins()
		if len(joins) < 5 {
			t.Fatalf("%d joins, want several retries", len(joins))
		}
		for _, j := range joins[2:] {
			if j.Conn == healthy {
				t.Errorf("a join that had failed was tried again on the healthy socket: %+v", j)
			}
		}
		r.srv.SetFaults(realtimetest.Faults{})
		pass(4 * time.Minute) // live apart first, then moved back without a gap
		lost := 0
		for _, e := range r.take() {
			if e.Kind == realtime.Lost {
				lost++
			}
		}
		if got := r.feed.Stats().Channels["live"]; lost != 1 || got != 2 {
			t.Errorf("%d losses and %d live channels, want the first loss only and both live", lost, got)
		}
		if last := r.srv.Joins(); last[len(last)-1].Conn != healthy {
			t.Errorf("the recovered channel is on socket %d, want %d", last[len(last)-1].Conn, healthy)
		}
		pass(time.Minute)
		if got := r.feed.Stats().Sockets; got != 1 {
			t.Errorf("%d sockets, want 1: the one that is empty is closed", got)
		}
		r.srv.Crash(other.Topic())
		pass(3 * time.Second)
		if last := r.srv.Joins(); last[len(last)-1].Conn != healthy {
			t.Errorf("a channel that was live came back on socket %d, want %d", last[len(last)-1].Conn, healthy)
		}
	})
}

func TestFeed_emptySocketIsClosedAfterThirtySeconds(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.feed.Unfollow("pay_1")
		pass(29 * time.Second)
		if got := r.srv.Connections(); got != 1 {
			t.Errorf("%d connections after 29 s, want 1", got)
		}
		pass(2 * time.Second)
		if got, stats := r.srv.Connections(), r.feed.Stats(); got != 0 || stats.Sockets != 0 {
			t.Errorf("%d connections and %+v after 31 s, want none", got, stats)
		}
		r.live()
	})
}

func TestC21_U7_orphanedChannelRecoversByRejoin(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.Orphan("")
		r.srv.Change(row("PROCESSING"))
		pass(time.Minute) // heartbeats are answered all the time, which proves nothing
		r.want("")
		r.feed.Rejoin("pay_1", "missed")
		pass(3 * time.Second)
		r.want("lost:missed live")
		r.srv.Change(row("COMPLETED"))
		pass(time.Second)
		r.want("change:COMPLETED")
	})
}

func TestFeed_followAndUnfollowInAnyOrder(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.feed.Unfollow("pay_1")
		r.feed.Rejoin("pay_1", "missed")
		r.feed.Follow(target())
		r.feed.Follow(target())
		r.feed.Unfollow("pay_1")
		r.feed.Follow(target())
		pass(time.Second)
		r.want("live")
		r.feed.Follow(target())
		later := target()
		later.SessionID = 77 // another topic: the payment has learnt its session
		pass(time.Second)
		r.want("")
		r.feed.Follow(later)
		pass(time.Second)
		r.want("live")
		r.srv.Change(row("COMPLETED"))
		pass(time.Second)
		r.want("change:COMPLETED")
	})
}
