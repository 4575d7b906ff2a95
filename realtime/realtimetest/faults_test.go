package realtimetest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func paid(status string) realtimetest.Row {
	return realtimetest.Row{"reference_id": reference, "status": status}
}

// TestS19_faultsOfFrames switches on each fault of what is sent, one after the other.
func TestS19_faultsOfFrames(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		id := b.joined("1", b.srv.Token(time.Hour))
		want := func(fault realtimetest.Faults, parts ...string) {
			t.Helper()
			b.srv.SetFaults(fault)
			b.srv.Change(paid("PROCESSING"))
			for i, part := range parts {
				frame, err := b.next(time.Second)
				if err != nil || !strings.Contains(frame, part) {
					t.Fatalf("with %+v frame %d is %s, %v, want %s in it", fault, i, frame, err, part)
				}
			}
		}
		const change = `"status":"PROCESSING"`
		want(realtimetest.Faults{}, change)
		want(realtimetest.Faults{DuplicateChanges: true}, change, change)
		want(realtimetest.Faults{UnknownEvents: true}, `"presence_state"`, `"tomorrow"`, change)
		want(realtimetest.Faults{BinaryFrames: true}, "\x04\x01\x01\x02\x01te{}{}", change)
		want(realtimetest.Faults{MalformedFrames: true}, `",`, `{"hello":1}`, `[1,2,3]`, `["not an object"]`, change)
		want(realtimetest.Faults{ForeignIDs: true}, `"ids":[1]`)
		want(realtimetest.Faults{DropChanges: true})
		b.srv.Orphan("")
		time.Sleep(time.Second)
		want(realtimetest.Faults{})
		time.Sleep(time.Second)
		b.send(`["1","9","%s","access_token",{"access_token":"%s"}]`, topic, b.srv.Token(2*time.Hour))
		b.expect(systemFrame("1", "postgres_changes", "Subscribed to PostgreSQL", "ok")) // nothing came before it
		want(realtimetest.Faults{}, `"ids":[`+id+`]`)
	})
}

// TestS19_faultsOfSilence switches on each fault of what is not answered.
func TestS19_faultsOfSilence(t *testing.T) {
	t.Parallel()
	const beat = `[null,"%d","phoenix","heartbeat",{}]`
	answered := func(n int) string {
		return fmt.Sprintf(`[null,"%d","phoenix","phx_reply",{"response":{},"status":"ok"}]`, n)
	}
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		b.srv.SetFaults(realtimetest.Faults{MuteHeartbeats: true})
		b.send(beat, 1)
		time.Sleep(time.Second)
		b.srv.SetFaults(realtimetest.Faults{MuteJoins: true})
		b.join("2", b.srv.Token(time.Hour), "[]")
		b.send(beat, 3)
		b.expect(answered(3)) // neither the heartbeat before nor the join
		b.srv.SetFaults(realtimetest.Faults{Deaf: true})
		b.send(beat, 4)
		time.Sleep(time.Second)
		b.srv.SetFaults(realtimetest.Faults{})
		b.send(beat, 5)
		b.expect(answered(5))
		for name, fault := range map[string]realtimetest.Faults{"empty": {EmptyEcho: true}, "wrong": {WrongEcho: true}} {
			b.srv.SetFaults(fault)
			b.join("6"+name, b.srv.Token(time.Hour), "["+binding+"]")
			reply, err := b.next(time.Second)
			if err != nil || strings.Contains(reply, reference+`","id"`) || !strings.Contains(reply, `"status":"ok"`) {
				t.Fatalf("%s echo is %s, %v", name, reply, err)
			}
			b.send(`["6%s","7","%s","phx_leave",{}]`, name, topic)
			for !strings.Contains(reply, "phx_close") && err == nil {
				reply, err = b.next(time.Second)
			}
		}
		b.srv.SetFaults(realtimetest.Faults{IgnoreTokens: true})
		b.joined("8", b.srv.Token(time.Hour))
		b.send(`["8","9","%s","access_token",{"access_token":"nonsense"}]`, topic)
		b.send(beat, 10)
		b.expect(answered(10))
		b.srv.SetFaults(realtimetest.Faults{})
		b.srv.Forget("")
		synctest.Wait() // the connection has heard of it
		b.send(`["8","11","%s","access_token",{"access_token":"x"}]`, topic)
		b.expect(fmt.Sprintf(`[null,"11","%s","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`, topic))
		b.srv.CloseAll(1001)
		b.expectClose(websocket.StatusGoingAway)
	})
}
