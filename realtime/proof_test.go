package realtime_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func wire(joinRef, event, payload string) string {
	return fmt.Sprintf(`[%s,null,"realtime:%s","%s",%s]`, joinRef, target().Topic(), event, payload)
}

func TestC9_U1_joinedIsNotLive(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{MuteSystem: true})
		r.feed.Follow(target())
		pass(5 * time.Second)
		r.want("lost:unconfirmed")
		if got := r.feed.Stats().Channels["joined"]; got != 1 {
			t.Errorf("%d channels joined, want 1: %v", got, r.feed.Stats())
		}
		pass(15 * time.Second)
		r.srv.SetFaults(realtimetest.Faults{})
		pass(3 * time.Second) // a cold feed confirms late, and the channel has waited for it
		r.want("live")
		if got := len(r.srv.Joins()); got != 1 {
			t.Errorf("%d joins, want 1: the feed was only cold", got)
		}
	})
}

func TestC9_rejoinsWhenNoConfirmationComes(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{MuteSystem: true})
		r.feed.Follow(target())
		pass(29 * time.Second)
		if got := len(r.srv.Joins()); got != 1 {
			t.Errorf("%d joins after 29 s, want 1", got)
		}
		pass(4 * time.Second)
		if got := len(r.srv.Joins()); got != 2 {
			t.Errorf("%d joins after 33 s, want 2", got)
		}
		r.want("lost:unconfirmed")
	})
}

func TestC10C11_everySystemMessageCounts(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.System("", "ok", "Subscribed to PostgreSQL")
		pass(time.Second)
		r.want("live") // what came in between may have been missed
		r.srv.System("", "error", `{:error, "Too many database timeouts"}`)
		pass(time.Second)
		r.want("lost:system_error")
		r.srv.System("", "ok", "Subscribed to PostgreSQL") // the server has tried again by itself
		pass(time.Second)
		r.want("live")
		if got := len(r.srv.Joins()); got != 1 {
			t.Errorf("%d joins, want 1", got)
		}
	})
}

func TestU2_misconfiguredSubscriptionWaitsForAnotherKey(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{Tables: []realtimetest.Table{{Schema: "public", Name: "other"}}}, func(r *rig) {
		r.feed.Follow(target())
		pass(10 * time.Minute)
		r.want("lost:refused")
		if joins, keys := len(r.srv.Joins()), r.keys.count(); joins != 2 || keys != 2 {
			t.Errorf("%d joins with %d keys in ten minutes, want 2 with 2", joins, keys)
		}
		if got := len(r.sent("phx_leave")); got != 2 {
			t.Errorf("left %d times, want 2: the server keeps such a channel joined", got)
		}
	})
}

func TestC7C22_framesOfOlderJoinsAreDropped(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.StaleClose("")
		r.srv.SendText(wire(`"0"`, "phx_error", `{"reason":"channel_crash"}`))
		r.srv.SendText(wire(`"0"`, "system", `{"extension":"postgres_changes","status":"error","message":"x"}`))
		r.srv.SendText(wire(`"0"`, "phx_reply", `{"status":"error","response":{"reason":"x"}}`))
		pass(time.Second)
		r.want("")
		if got := r.get(r.ignored, "stale_join"); got != 4 {
			t.Errorf("%d stale frames counted, want 4", got)
		}
		r.srv.SendText(wire("null", "phx_close", `{}`)) // no join_ref at all is accepted
		pass(3 * time.Second)
		r.want("lost:closed live")
	})
}

func TestC8_wrongOrMissingEchoIsNoSubscription(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]realtimetest.Faults{"wrong": {WrongEcho: true}, "empty": {EmptyEcho: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.srv.SetFaults(fault)
				r.feed.Follow(target())
				pass(time.Second)
				r.want("lost:mismatch")
				if got := len(r.sent("phx_leave")); got != 1 {
					t.Errorf("left %d times, want once", got)
				}
			})
		})
	}
}

func TestC12_joinErrorIsLoggedVerbatim(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	const reason = "UnableToConnectToProject: Realtime was unable to connect to the project database"
	bubbleWith(t, realtimetest.Options{}, func(o *realtime.Options) { o.Logger = jsonLog(&log) }, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{JoinError: reason})
		r.feed.Follow(target())
		pass(20 * time.Second)
		r.want("lost:unconfirmed")
		r.srv.SetFaults(realtimetest.Faults{})
		pass(time.Minute)
		r.want("live")
	})
	if !strings.Contains(log.String(), reason) {
		t.Errorf("the reason is not in the log:\n%s", log.String())
	}
	if strings.Contains(log.String(), "eyJ") {
		t.Errorf("a token is in the log:\n%s", log.String())
	}
}

func TestC14_onlyOwnChangesCount(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SendText(wire("null", "postgres_changes", `{"ids":[1],"data":{"type":"UPDATE","record":{"status":"PAID"}}}`))
		r.srv.SendText(wire("null", "postgres_changes", `{"ids":[],"data":{"type":"UPDATE","record":{"status":"PAID"}}}`))
		r.srv.SendText(`[null,null,"realtime:payment-intent:1:x","postgres_changes",{"ids":[1],"data":{"type":"UPDATE","record":{"status":"PAID"}}}]`)
		pass(time.Second)
		r.want("")
		if foreign, unknown := r.get(r.ignored, "foreign_change"), r.get(r.ignored, "unknown_topic"); foreign != 2 || unknown != 1 {
			t.Errorf("%d foreign and %d unknown frames counted, want 2 and 1", foreign, unknown)
		}
		other := row("COMPLETED")
		other["reference_id"] = "11111111-1111-4111-8111-111111111111"
		r.srv.Change(other) // the filter keeps it away
		pass(time.Second)
		r.want("")
	})
}

func TestC15C18_U11U12_everyChangeIsOneHint(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SetFaults(realtimetest.Faults{DuplicateChanges: true})
		r.srv.Change(row("COMPLETED"))
		pass(time.Second)
		r.want("change:COMPLETED change:COMPLETED")
		r.srv.SetFaults(realtimetest.Faults{})
		r.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: row("PAID"), Error: realtimetest.ErrorTooLarge})
		r.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: row("PAID"), Error: realtimetest.ErrorUnauthorized})
		r.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: realtimetest.Row{"reference_id": reference}})
		pass(time.Second)
		r.want("change change change")
	})
}

func TestC28_noiseIsIgnoredAndCounted(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SetFaults(realtimetest.Faults{UnknownEvents: true, BinaryFrames: true, MalformedFrames: true})
		r.srv.Change(row("COMPLETED"))
		r.srv.SendText(`[null,null,"realtime:` + target().Topic() + `","system",{"extension":"system","status":"ok","message":"Server requested disconnect"}]`)
		pass(time.Second)
		r.want("change:COMPLETED")
		for what, want := range map[string]int{"unknown_event": 2, "binary": 1, "malformed": 4} {
			if got := r.get(r.ignored, what); got != want {
				t.Errorf("%d %s frames counted, want %d", got, what, want)
			}
		}
		if got := r.feed.Stats().Sockets; got != 1 {
			t.Errorf("%d sockets, want the one there was", got)
		}
	})
}

func TestFeed_frameOverFourMiBClosesTheSocket(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SendText(wire("null", "broadcast", `{"x":"`+strings.Repeat("x", 5<<20)+`"}`))
		pass(3 * time.Second)
		r.want("lost:socket live")
		if got := r.get(r.closes, "too_big"); got != 1 {
			t.Errorf("%d sockets closed for a frame too big, want 1", got)
		}
	})
}
