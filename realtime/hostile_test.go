package realtime_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// The tests of this file play a server that means no good. Whatever it does, payments are at worst polled.

func TestHostile_framesThatProveNothing(t *testing.T) {
	t.Parallel()
	ok := `{"channel":"` + target().Topic() + `","extension":"postgres_changes","status":"ok","message":"Subscribed to PostgreSQL"}`
	echo := fmt.Sprintf(`{"status":"ok","response":{"postgres_changes":[{"event":"*","schema":"public","table":"checkout_payment_intent_public_status","filter":"reference_id=eq.%s","id":5}]}}`, reference)
	for name, frame := range map[string]string{
		"confirmation without a join's reply":   wire("null", "system", ok),
		"confirmation of another channel":       wire("null", "system", strings.Replace(ok, "intent:55", "intent:56", 1)),
		"reply to another join":                 fmt.Sprintf(`["999","999","realtime:%s","phx_reply",%s]`, target().Topic(), echo),
		"reply with another join's join_ref":    fmt.Sprintf(`["999","1","realtime:%s","phx_reply",%s]`, target().Topic(), echo),
		"reply without a ref":                   fmt.Sprintf(`[null,null,"realtime:%s","phx_reply",%s]`, target().Topic(), echo),
		"change":                                wire("null", "postgres_changes", `{"ids":[5],"data":{"type":"UPDATE","record":{"status":"COMPLETED"}}}`),
		"heartbeat's answer":                    `[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]`,
		"end of a heartbeat":                    `[null,"1","phoenix","phx_close",{}]`,
		"confirmation with a status of its own": wire("null", "system", strings.Replace(ok, `"ok"`, `"fine"`, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.srv.SetFaults(realtimetest.Faults{MuteJoins: true})
				r.feed.Follow(target())
				pass(time.Second)
				r.srv.SendText(frame)
				pass(3 * time.Second)
				r.want("")
				if got := r.feed.Stats().Channels["joining"]; got != 1 {
					t.Errorf("%v, want the channel joining as before", r.feed.Stats())
				}
			})
		})
	}
}

func TestHostile_systemErrorsWithoutEndDoNotKeepAChannelWaiting(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{MuteSystem: true})
		r.feed.Follow(target())
		for range 12 {
			pass(5 * time.Second)
			r.srv.System("", "error", `{:error, "Too many database timeouts"}`)
		}
		r.want("lost:unconfirmed")
		if got := len(r.srv.Joins()); got != 2 {
			t.Errorf("%d joins in a minute of errors, want 2: one more after 30 s", got)
		}
	})
}

func TestHostile_messagesForOtherChannelsEndNothing(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		for _, frame := range []string{
			wire("null", "system", `{"channel":"payment-intent:56:x","extension":"postgres_changes","status":"error","message":"Unable to subscribe to changes with given parameters"}`),
			wire("null", "phx_reply", `{"status":"error","response":{"reason":"something"}}`),
			wire("null", "phx_reply", `{"status":"error"}`),
			wire("null", "phx_reply", `[]`),
			wire("null", "postgres_changes", `null`),
			`[null,null,"realtime:payment-intent:56:x","phx_close",{}]`,
			`[null,null,"phoenix","phx_close",{}]`,
			`[null,null,"phoenix","phx_error",{}]`,
			`[null,"12","phoenix","phx_reply",{"status":"ok","response":{}}]`,
		} {
			r.srv.SendText(frame)
		}
		pass(time.Minute)
		r.want("")
		if got := r.get(r.ignored, "foreign_system"); got != 1 {
			t.Errorf("%d foreign system messages counted, want 1", got)
		}
		r.srv.Change(row("COMPLETED"))
		pass(time.Second)
		r.want("change:COMPLETED")
	})
}

func TestHostile_newsOfAnUnfollowedPaymentGoNowhere(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SetFaults(realtimetest.Faults{Deaf: true}) // nobody answers the goodbye
		r.feed.Unfollow("pay_1")
		for range 5 {
			r.srv.SendText(wire("null", "postgres_changes", `{"ids":[1],"data":{"type":"UPDATE","record":{"status":"COMPLETED"}}}`))
			r.srv.Crash("")
			pass(time.Second)
		}
		r.want("")
		for state, n := range r.feed.Stats().Channels {
			if n != 0 {
				t.Errorf("%d channels are %s, want none at all", n, state)
			}
		}
	})
}

// TestHostile_keysThatEndAtOnce are minted and joined with at a bounded rate.
func TestHostile_keysThatEndAtOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]func(r *rig) func(time.Duration) string{
		"one second":   func(r *rig) func(time.Duration) string { return r.signs(time.Second, 0) },
		"two seconds":  func(r *rig) func(time.Duration) string { return r.signs(2*time.Second, 0) },
		"over already": func(r *rig) func(time.Duration) string { return r.signs(-time.Minute, -time.Hour) },
		"an hour by its word, one second in truth": func(r *rig) func(time.Duration) string { return r.signs(time.Second, -time.Hour) },
		"issued in the future":                     func(r *rig) func(time.Duration) string { return r.signs(time.Hour, 59*time.Minute) },
	}
	for name, keys := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.keys.set(func(m *mint) { m.make = keys(r) })
				r.feed.Follow(target())
				pass(10 * time.Minute)
				joins, mints := len(r.srv.Joins()), r.keys.count()
				t.Logf("%d joins, %d keys", joins, mints)
				if joins > 35 || mints > 220 || mints == 0 {
					t.Errorf("%d joins and %d keys in ten minutes, want at most 35, and a key every 3 s", joins, mints)
				}
				r.keys.set(func(m *mint) { m.make = nil })
				pass(7 * time.Minute)
				if got := r.feed.Stats().Channels["live"]; got != 1 {
					t.Errorf("%d channels live with good keys, want 1", got)
				}
			})
		})
	}
}

// TestHostile_endsThatLookLikeExpiry are no reason to come back at once, again and again.
func TestHostile_endsThatLookLikeExpiry(t *testing.T) {
	t.Parallel()
	const expired = "Token has expired 0 seconds ago"
	tests := map[string]func(r *rig){
		"joins refused when the key is old": func(r *rig) { // held back for longer than the key counts as fresh
			r.srv.SetFaults(realtimetest.Faults{JoinError: "InvalidJWTToken: " + expired})
			r.many(4)
			pass(10 * time.Minute)
		},
		"channels ended when the key is old": func(r *rig) {
			r.many(4)
			for range 150 {
				pass(4 * time.Second)
				r.srv.Expel("", expired)
			}
		},
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.keys.set(func(m *mint) { m.life = 5 * time.Second })
				run(r)
				got := len(r.srv.Joins())
				t.Logf("%d joins", got)
				if got > 4*35 {
					t.Errorf("%d joins of 4 channels in ten minutes, want at most 35 for each", got)
				}
			})
		})
	}
}

// signs makes keys that end after life and were issued at iat, both from now.
func (r *rig) signs(life, iat time.Duration) func(time.Duration) string {
	n := 0
	return func(time.Duration) string {
		n++
		now := time.Now()
		return signed(r.t, jwtSecret, jwt.MapClaims{"role": "authenticated", "iat": now.Add(iat).Unix(), "exp": now.Add(life).Unix(), "n": n})
	}
}

func TestHostile_refusalOnAnEmptySocketTeachesNoLimit(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{JoinError: "ChannelRateLimitReached: Too many channels"})
		r.many(10)
		pass(2 * time.Minute)
		r.srv.SetFaults(realtimetest.Faults{})
		pass(5 * time.Minute)
		if got := r.feed.Stats(); got.Channels["live"] != 10 || got.Sockets > 2 {
			t.Errorf("%+v, want ten live channels on two sockets at most", got)
		}
	})
}

func TestHostile_socketThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.srv.SetFaults(realtimetest.Faults{Stalled: true})
		pass(37 * time.Second) // at most 15 s to the next heartbeat, 5 s for its answer, 15 s for a dial, 2 s
		r.want("lost:socket")
		if got := r.get(r.closes, "heartbeat"); got != 1 {
			t.Errorf("sockets ended as %v, want one for its heartbeat", r.closes)
		}
		r.srv.DropAll()
		r.srv.SetFaults(realtimetest.Faults{})
		pass(2 * time.Minute)
		r.want("live")
	})
}

func TestC27C29_theEndIsSwiftAndLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(r *rig){
		"nothing followed": func(*rig) {},
		"live":             func(r *rig) { r.live() },
		"deaf server":      func(r *rig) { r.live(); r.srv.SetFaults(realtimetest.Faults{Deaf: true}) },
		"stalled server": func(r *rig) {
			r.live()
			r.srv.SetFaults(realtimetest.Faults{Stalled: true})
			r.feed.Unfollow("pay_1")
		},
		"while joining": func(r *rig) {
			r.srv.SetFaults(realtimetest.Faults{MuteJoins: true})
			r.feed.Follow(target())
			pass(time.Second)
		},
		"while a key is minted": func(r *rig) {
			r.keys.set(func(m *mint) { m.hang = true })
			r.feed.Follow(target())
			pass(time.Second)
		},
		"while dialling": func(r *rig) {
			r.srv.SetFaults(realtimetest.Faults{ConnectStatus: 500}) // answered after 2 s
			r.feed.Follow(target())
			pass(time.Second)
		},
		"while waiting": func(r *rig) {
			r.srv.SetFaults(realtimetest.Faults{Down: true})
			r.feed.Follow(target())
			pass(20 * time.Second)
		},
	}
	for name, reach := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				reach(r)
				synctest.Wait()
				start := time.Now()
				r.stop() // that no goroutine is left is the bubble's to say
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("Run ended after %s, want at most 3 s", took)
				}
				r.feed.Follow(target()) // too late, and no harm
				r.feed.Unfollow("pay_1")
			})
		})
	}
}

// TestHostile_anythingForTenMinutes throws faults, ends and frames in a random order, then lets the server recover.
func TestHostile_anythingForTenMinutes(t *testing.T) {
	t.Parallel()
	const payments = 6
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				random := rand.New(rand.NewPCG(seed, 7))
				r.many(payments)
				for start := time.Now(); time.Since(start) < 10*time.Minute; {
					r.assault(random)
					pass(time.Duration(random.Int64N(int64(8 * time.Second))))
				}
				joins, keys := len(r.srv.Joins()), r.keys.count()
				t.Logf("%.1f joins and %.1f keys for each payment", float64(joins)/payments, float64(keys)/payments)
				if joins > 35*payments {
					t.Errorf("%d joins of %d payments in ten minutes, want at most 35 for each", joins, payments)
				}
				r.srv.SetFaults(realtimetest.Faults{})
				r.keys.set(func(m *mint) { m.make, m.fail, m.life = nil, nil, 5*time.Minute })
				pass(14 * time.Minute) // two refusals, a long pause each
				r.take()
				total := 0
				for state, n := range r.feed.Stats().Channels {
					if total += n; n < 0 || n > 0 && state != "live" {
						t.Errorf("%d channels are %s after the server has recovered", n, state)
					}
				}
				if total != payments {
					t.Errorf("%d channels are counted, want %d", total, payments)
				}
				for i := range payments {
					r.srv.Change(realtimetest.Row{"reference_id": fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i), "status": "COMPLETED"})
				}
				pass(time.Second)
				if got := kinds(r.take()); strings.Count(got, "change:COMPLETED") != payments {
					t.Errorf("events = %q, want %d changes", got, payments)
				}
			})
		})
	}
}

// assault does one bad thing, or ends those before.
func (r *rig) assault(random *rand.Rand) {
	faults := []realtimetest.Faults{
		{},
		{},
		{Down: true},
		{ConnectStatus: 503},
		{MuteJoins: true},
		{MuteSystem: true},
		{MuteHeartbeats: true},
		{WrongEcho: true},
		{EmptyEcho: true},
		{Deaf: true},
		{Stalled: true},
		{IgnoreTokens: true},
		{JoinError: "Unknown Error on Channel"},
		{JoinError: "ClientJoinRateLimitReached: Too many joins per second"},
		{JoinError: "ChannelRateLimitReached: Too many channels"},
		{JoinError: "InvalidJWTToken: Token has expired 3 seconds ago"},
		{SystemError: `{:error, "Too many database timeouts"}`},
		{UnknownEvents: true, BinaryFrames: true, MalformedFrames: true, DuplicateChanges: true, ForeignIDs: true},
	}
	i := random.IntN(6)
	topic := fmt.Sprintf("payment-intent:%d:550e8400-e29b-41d4-a716-%012d", i, i)
	ref := []string{"null", fmt.Sprintf(`"%d"`, random.IntN(60)), `"x"`}[random.IntN(3)]
	switch random.IntN(14) {
	case 0, 1, 2:
		r.srv.SetFaults(faults[random.IntN(len(faults))])
	case 3:
		r.srv.Crash(topic)
	case 4:
		r.srv.Expel(topic, []string{"Token has expired 0 seconds ago", "Too many messages per second", ":signature_error", "x"}[random.IntN(4)])
	case 5:
		r.srv.System(topic, []string{"ok", "error"}[random.IntN(2)], "whatever")
	case 6:
		r.srv.StaleClose("")
	case 7:
		r.srv.Forget(topic)
	case 8:
		r.srv.CloseAll([]int{1000, 1001, 1009, 1012}[random.IntN(4)])
	case 9:
		r.srv.DropAll()
	case 10:
		r.srv.Drain()
	case 11:
		event := []string{"phx_close", "phx_error", "phx_reply", "system", "postgres_changes"}[random.IntN(5)]
		payload := []string{`{}`, `null`, `{"status":"ok"}`, `{"status":"ok","extension":"postgres_changes"}`, `{"status":"error","response":{"reason":"unmatched topic"}}`}[random.IntN(5)]
		r.srv.SendText(fmt.Sprintf(`[%s,%s,"realtime:%s","%s",%s]`, ref, ref, topic, event, payload))
	case 12:
		life := []time.Duration{time.Second, 3 * time.Second, 20 * time.Second, 5 * time.Minute}[random.IntN(4)]
		r.keys.set(func(m *mint) { m.life = life })
	case 13:
		r.keys.set(func(m *mint) { m.fail = []error{nil, nil, errMint, context.DeadlineExceeded}[random.IntN(4)] })
	}
}
