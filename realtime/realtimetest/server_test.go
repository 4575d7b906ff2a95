package realtimetest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func TestS3S4S5S6S11_joinConfirmationAndChanges(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		b.join("abc", b.srv.Token(time.Hour), "["+binding+"]") // refs are echoed, whatever they are
		reply, err := b.next(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		echo := strings.TrimSuffix(binding, "}") + `,"id":`
		if !strings.Contains(reply, echo) {
			t.Errorf("reply %s does not repeat the binding with an id", reply)
		}
		b.expect(systemFrame("abc", "postgres_changes", "Subscribed to PostgreSQL", "ok"))
		b.srv.Change(realtimetest.Row{"reference_id": reference, "status": "PAID"})
		frame, err := b.next(time.Second)
		if err != nil || !strings.HasPrefix(frame, `[null,null,"`+topic+`","postgres_changes",{"data":{"columns":[{"name":"id","type":"int8"}`) ||
			!strings.Contains(frame, `"type":"INSERT"`) || strings.Contains(frame, "old_record") || !strings.Contains(frame, `"errors":null`) {
			t.Errorf("INSERT arrived as %s, %v", frame, err)
		}
		b.srv.Change(realtimetest.Row{"reference_id": reference, "status": "CANCELED"})
		if frame, err = b.next(time.Second); err != nil || !strings.Contains(frame, `"type":"UPDATE"`) || !strings.Contains(frame, `"old_record":{"id":1}`) {
			t.Errorf("UPDATE arrived as %s, %v", frame, err)
		}
	})
}

func TestS5_idsAreStable(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for range 2 {
		run(t, realtimetest.Options{}, func(b *bench) {
			b.connect("2.0.0")
			ids[b.joined("1", b.srv.Token(time.Hour))] = true
		})
	}
	if len(ids) != 1 {
		t.Errorf("ids %v of the same binding on two servers, want one", ids)
	}
}

func TestS3_version1HasNoJoinRef(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("1.0.0")
		b.send(`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"7"}`)
		b.expect(`{"topic":"phoenix","event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"7"}`)
		b.send(`{"topic":%q,"event":"phx_join","payload":{"config":{"postgres_changes":[]},"access_token":%q},"ref":"6","join_ref":"6"}`, topic, b.srv.Token(time.Hour))
		b.expect(fmt.Sprintf(`{"topic":%q,"event":"phx_reply","payload":{"response":{"postgres_changes":[]},"status":"ok"},"ref":"6"}`, topic))
	})
}

func TestS6_systemErrorsLeaveTheChannelJoined(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, bindings, want string }{
		{"filter null", `[{"event":"*","schema":"public","filter":null}]`, "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "},
		{"bad filter", `[{"event":"*","schema":"public","table":"checkout_payment_intent_public_status","filter":"foo"}]`, "Error parsing `filter` params: [\"foo\"]"},
		{"unknown table", `[{"event":"*","schema":"public","table":"nothing"}]`, "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: [event: *, schema: public, table: nothing"},
		{"unknown column", `[{"event":"*","schema":"public","table":"checkout_payment_intent_public_status","filter":"x=eq.1"}]`, "Exception: ERROR P0001 (raise_exception) invalid column for filter x"},
		{"no UUID", `[{"event":"*","schema":"public","table":"checkout_payment_intent_public_status","filter":"reference_id=eq.1"}]`, "invalid input syntax for type uuid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run(t, realtimetest.Options{}, func(b *bench) {
				b.connect("2.0.0")
				b.join("1", b.srv.Token(time.Hour), tt.bindings)
				if reply, err := b.next(time.Second); err != nil || !strings.Contains(reply, `"status":"ok"`) {
					t.Fatalf("join answered %s, %v, want ok", reply, err)
				}
				frame, err := b.next(time.Second)
				var parts []json.RawMessage
				var system struct{ Message, Status, Extension string }
				if err != nil || json.Unmarshal([]byte(frame), &parts) != nil || json.Unmarshal(parts[4], &system) != nil {
					t.Fatalf("received %s, %v", frame, err)
				}
				if !strings.Contains(system.Message, tt.want) || system.Status != "error" || system.Extension != "postgres_changes" {
					t.Errorf("system %+v, want an error with %q", system, tt.want)
				}
				b.send(`["1","2","%s","phx_leave",{}]`, topic) // still joined
				b.expect(fmt.Sprintf(`["1","2","%s","phx_reply",{"response":{},"status":"ok"}]`, topic))
				b.expect(closeFrame("1"))
			})
		})
	}
}

func TestS7S8S9S17_joinErrorsBlockTheSocket(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{MaxJoinsPerSecond: 1}, func(b *bench) {
		b.connect("2.0.0")
		start := time.Now()
		b.join("1", "no-jwt", "[]")
		b.send(`[null,"2","phoenix","heartbeat",{}]`)
		b.expect(errorFrame("1", "MalformedJWT: The token provided is not a valid JWT"))
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the refusal came after %s, want 5 s", took)
		}
		b.expect(`[null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]`) // only now
		for ref := range 5 {
			b.join(fmt.Sprint(10+ref), b.srv.Token(time.Hour), "[]")
			if _, err := b.next(time.Second); err != nil {
				t.Fatal(err)
			}
			if ref > 0 {
				b.expect(closeFrame(fmt.Sprint(10 + ref - 1))) // superseded
			}
		}
		b.join("99", b.srv.Token(time.Hour), "[]")
		b.expect(errorFrame("99", "ClientJoinRateLimitReached: Too many joins per second"))
		b.expectClose(websocket.StatusGoingAway)

		b.connect("2.0.0")
		b.srv.SetFaults(realtimetest.Faults{JoinError: "TenantNotFound: Tenant with the given ID does not exist"})
		b.join("1", b.srv.Token(time.Hour), "[]")
		b.expect(errorFrame("1", "TenantNotFound: Tenant with the given ID does not exist"))
		b.expectClose(websocket.StatusGoingAway)
	})
}

func TestS6_confirmationOnDemand(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{SystemDelay: 3 * time.Second}, func(b *bench) {
		b.connect("2.0.0")
		b.srv.SetFaults(realtimetest.Faults{MuteSystem: true})
		b.join("1", b.srv.Token(time.Hour), "["+binding+"]")
		if reply, err := b.next(time.Second); err != nil || !strings.Contains(reply, `"status":"ok"`) {
			t.Fatalf("join answered %s, %v, want ok", reply, err)
		}
		start := time.Now()
		time.Sleep(40 * time.Second) // never, as long as the feed is cold
		b.srv.SetFaults(realtimetest.Faults{SystemError: `{:error, "Too many database timeouts"}`})
		b.expect(systemFrame("1", "postgres_changes", `{:error, "Too many database timeouts"}`, "error"))
		if took := time.Since(start); took < 40*time.Second {
			t.Errorf("something came after %s although the feed was mute for 40 s", took)
		}
		b.srv.SetFaults(realtimetest.Faults{})
		start = time.Now()
		b.join("2", b.srv.Token(time.Hour), "["+binding+"]")
		if reply, err := b.next(time.Second); err != nil || !strings.Contains(reply, `"status":"ok"`) {
			t.Fatalf("join answered %s, %v, want ok", reply, err)
		}
		b.expect(closeFrame("1"))
		b.expect(systemFrame("2", "postgres_changes", "Subscribed to PostgreSQL", "ok"))
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("confirmed after %s, want 3 s", took)
		}
	})
}

func TestS10_idleSocketIsClosedWith1000(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		start := time.Now()
		time.Sleep(40 * time.Second)
		b.send(`[null,"2","phoenix","heartbeat",{}]`)
		b.expect(`[null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]`)
		b.expectClose(websocket.StatusNormalClosure)
		if took := time.Since(start); took != 100*time.Second {
			t.Errorf("closed after %s, want 60 s after the last byte", took)
		}
	})
}

func TestS12_filtersAndErrors(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{Visible: func(_ map[string]any, row realtimetest.Row) bool { return row["status"] != "HIDDEN" }}, func(b *bench) {
		b.connect("2.0.0")
		id := b.joined("1", b.srv.Token(time.Hour))
		b.srv.Change(realtimetest.Row{"reference_id": "11111111-1111-4111-8111-111111111111", "status": "PAID"}) // another row
		b.srv.Change(realtimetest.Row{"reference_id": strings.ToUpper(reference), "status": "HIDDEN"})           // row level security
		b.srv.Publish(realtimetest.Change{Type: realtimetest.Delete, OldRecord: realtimetest.Row{"id": 1, "reference_id": reference}})
		b.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: realtimetest.Row{"reference_id": "other"}, Error: realtimetest.ErrorUnauthorized})
		frame, err := b.next(time.Second)
		if err != nil || !strings.Contains(frame, `"errors":["Error 401: Unauthorized"]`) || !strings.Contains(frame, `"record":{}`) || !strings.Contains(frame, `"commit_timestamp":null`) ||
			!strings.Contains(frame, `"ids":[`+id+`]`) {
			t.Errorf("received %s, %v, want the 401 and nothing before it", frame, err)
		}
		b.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Error: realtimetest.ErrorTooLarge, Record: realtimetest.Row{
			"id": 1, "reference_id": reference, "status": "PAID", "note": strings.Repeat("x", 100), "empty": nil,
		}})
		if frame, err := b.next(time.Second); err != nil || !strings.Contains(frame, `"record":{"id":1,"reference_id":"`+reference+`","status":"PAID"}`) {
			t.Errorf("received %s, %v, want the cut record", frame, err)
		}
	})
}

func TestS13_changesGoToWhoIsSubscribedWhenPolled(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{SystemDelay: time.Second}, func(b *bench) {
		b.connect("2.0.0")
		b.join("1", b.srv.Token(time.Hour), "["+binding+"]")
		if _, err := b.next(time.Second); err != nil {
			t.Fatal(err)
		}
		b.srv.Change(realtimetest.Row{"reference_id": reference, "status": "TOO EARLY"}) // between reply and system ok: lost
		b.expect(systemFrame("1", "postgres_changes", "Subscribed to PostgreSQL", "ok"))
		start := time.Now()
		b.srv.Change(realtimetest.Row{"reference_id": reference, "status": "FIRST"})
		b.srv.Change(realtimetest.Row{"reference_id": reference, "status": "SECOND"})
		for _, want := range []string{"FIRST", "SECOND"} {
			if frame, err := b.next(time.Second); err != nil || !strings.Contains(frame, want) {
				t.Errorf("received %s, %v, want %s", frame, err, want)
			}
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("the batch came after %s, want 100 ms", took)
		}
	})
}

func TestS14S15_tokens(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		first := b.srv.Token(10 * time.Second)
		b.joined("1", first)
		push := func(token string) { b.send(`["1","9","%s","access_token",{"access_token":"%s"}]`, topic, token) }
		push(first)
		push("sb_secret")
		start := time.Now()
		push(b.srv.Token(20 * time.Second))
		b.expect(systemFrame("1", "postgres_changes", "Subscribed to PostgreSQL", "ok"))
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("confirmed after %s, want 2 s and nothing for the others", took)
		}
		b.send(`[null,"5","phoenix","heartbeat",{}]`)
		b.expect(`[null,"5","phoenix","phx_reply",{"response":{},"status":"ok"}]`)
		b.expect(systemFrame("1", "system", "Token has expired 0 seconds ago", "error"))
		b.expect(closeFrame("1"))
		if took := time.Since(start); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("ended after %s, want at the second token's exp", took)
		}
		b.joined("2", b.srv.Token(time.Hour)) // the socket is open
		b.send(`["2","9","%s","access_token",{"access_token":""}]`, topic)
		b.expect(systemFrame("2", "system", "The token provided is not a valid JWT", "error"))
		b.expect(closeFrame("2"))
	})
}

func TestS16S17S18S20_leavesDuplicatesAndStrays(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		b.joined("1", b.srv.Token(time.Hour))
		b.send(`not JSON`)
		b.send(`{"an":"object"}`)
		b.send(`["1","2"]`)
		b.send(`["0","3","%s","phx_leave",{}]`, topic) // of another join: dropped
		b.join("4", b.srv.Token(time.Hour), "["+binding+"]")
		if reply, err := b.next(time.Second); err != nil || !strings.HasPrefix(reply, `["4","4"`) {
			t.Fatalf("received %s, %v, want the new join's reply first", reply, err)
		}
		b.expect(closeFrame("1"))
		b.expect(systemFrame("4", "postgres_changes", "Subscribed to PostgreSQL", "ok"))
		b.send(`["4","5","%s","phx_leave",{}]`, topic)
		b.expect(fmt.Sprintf(`["4","5","%s","phx_reply",{"response":{},"status":"ok"}]`, topic))
		b.expect(closeFrame("4"))
		b.send(`["4","6","%s","access_token",{"access_token":"x"}]`, topic)
		b.expect(fmt.Sprintf(`[null,"6","%s","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`, topic))
		b.send(`["7","7","payments","phx_join",{}]`)
		b.expect(`[null,"7","payments","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]`)
	})
}

func TestS19_faultsOnDemand(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		b.joined("1", b.srv.Token(time.Hour))
		b.srv.StaleClose("")
		b.expect(closeFrame("0"))
		b.srv.Crash("")
		b.expect(fmt.Sprintf(`["1","1","%s","phx_error",{"reason":"channel_crash"}]`, topic))
		b.joined("2", b.srv.Token(time.Hour))
		b.srv.Drain()
		b.expect(fmt.Sprintf(`[null,null,"%s","system",{"extension":"system","message":"Server requested disconnect","status":"ok"}]`, topic))
		b.expectClose(websocket.StatusServiceRestart)
		b.connect("2.0.0")
		b.srv.DropAll()
		if _, err := b.next(time.Second); err == nil || websocket.CloseStatus(err) != -1 {
			t.Errorf("read ended with %v, want no close frame", err)
		}
		b.srv.SetFaults(realtimetest.Faults{Down: true})
		if _, _, err := b.dial("/realtime/v1/websocket", "2.0.0", b.srv.Token(time.Hour)); err == nil {
			t.Errorf("connected to a server that is down")
		}
	})
}
