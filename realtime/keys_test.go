package realtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// token reads the access_token of a frame.
func token(t *testing.T, f realtime.Frame) string {
	t.Helper()
	var p struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(f.Payload, &p); err != nil {
		t.Fatal(err)
	}
	return p.Token
}

func TestC6C26_keyIsRenewedInBandAndKeptForRejoins(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		pass(3*time.Minute - 2*time.Second) // 60 % of its life
		if got := len(r.sent("access_token")); got != 0 {
			t.Errorf("%d keys pushed before 60 %% of the first one's life", got)
		}
		pass(65 * time.Second)
		pushed := r.sent("access_token")
		if len(pushed) != 1 {
			t.Fatalf("%d keys pushed by 80 %% of the first one's life, want 1", len(pushed))
		}
		r.want("live") // the fresh confirmation
		r.srv.DropAll()
		pass(3 * time.Second)
		r.want("lost:socket live")
		joins := r.sent("phx_join")
		if got := token(t, joins[len(joins)-1]); got != token(t, pushed[0]) { // C6
			t.Errorf("rejoined with another key than the newest one")
		}
		if got := r.keys.count(); got != 2 {
			t.Errorf("%d keys minted, want 2: the one there is serves the rejoin", got)
		}
	})
}

// publish changes the row every 100 ms, each time to another word, and returns how long each word took to arrive.
func publish(r *rig, during time.Duration) (slowest time.Duration, missing int) {
	sent := map[string]time.Time{}
	for i := range int(during / (100 * time.Millisecond)) {
		word := fmt.Sprintf("S%d", i)
		sent[word] = time.Now()
		r.srv.Change(row(word))
		time.Sleep(100 * time.Millisecond)
	}
	pass(3 * time.Second)
	for _, e := range r.take() {
		if at, ok := sent[e.Status]; ok && e.Kind == realtime.Change {
			slowest = max(slowest, e.At.Sub(at))
			delete(sent, e.Status)
		}
	}
	return slowest, len(sent)
}

func TestKeys_twentyLifetimesWithoutAGap(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.keys.set(func(m *mint) { m.life = 20 * time.Second })
		r.live()
		slowest, missing := publish(r, 20*20*time.Second)
		if missing != 0 || slowest > 2*time.Second {
			t.Errorf("%d changes never came, the slowest took %s, want all within 2 s", missing, slowest)
		}
		if joins, keys := len(r.srv.Joins()), r.keys.count(); joins != 1 || keys < 20 {
			t.Errorf("%d joins and %d keys, want 1 join and at least 20 keys", joins, keys)
		}
	})
}

func TestKeys_unconfirmedRenewalMovesToAnotherSocketWithoutAGap(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{20 * time.Second, time.Minute} { // the first ends before 10 s of patience would
		t.Run(life.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.srv.SetFaults(realtimetest.Faults{IgnoreTokens: true})
				r.keys.set(func(m *mint) { m.life = life })
				r.live()
				slowest, missing := publish(r, 5*life)
				if missing != 0 || slowest > 2*time.Second {
					t.Errorf("%d changes never came, the slowest took %s, want all within 2 s", missing, slowest)
				}
				joins := r.srv.Joins()
				for i := 1; i < len(joins); i++ {
					if joins[i].Conn == joins[i-1].Conn {
						t.Errorf("join %d is on socket %d like the one before it", i, joins[i].Conn)
					}
				}
				if len(joins) < 5 || r.feed.Stats().Channels["live"] != 1 {
					t.Errorf("%d joins, %v, want one more for each renewal, and live", len(joins), r.feed.Stats())
				}
			})
		})
	}
}

func TestKeys_freshConfirmationIsAwaitedForTenSeconds(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{IgnoreTokens: true})
		r.live()
		for len(r.sent("access_token")) == 0 {
			pass(100 * time.Millisecond)
		}
		pushed := time.Now()
		for len(r.srv.Joins()) == 1 && time.Since(pushed) < time.Minute {
			pass(100 * time.Millisecond)
		}
		if took := time.Since(pushed); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("joined on another socket %s after the push, want 10 s", took)
		}
	})
}

func TestU3_expiredKeyIsReplacedWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		// The server ends the channel at exp, 30 s from now, but the key says that it was issued for an hour.
		r.keys.set(func(m *mint) {
			m.make = func(time.Duration) string {
				return m.srv.Token(30*time.Second, map[string]any{"iat": time.Now().Add(-time.Hour).Unix(), "n": m.n})
			}
		})
		r.live()
		pass(28 * time.Second)
		r.want("")
		pass(3 * time.Second)
		r.want("lost:credential live")
		if got := r.srv.Joins(); len(got) != 2 || got[0].Token == got[1].Token || got[0].Conn != got[1].Conn {
			t.Errorf("joins %+v, want a second one with a new key on the same socket", got)
		}
	})
}

func TestU4_failingMintKeepsTheStreamToItsEnd(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		r.keys.set(func(m *mint) { m.fail = errMint })
		pass(4*time.Minute + 50*time.Second)
		r.want("")
		r.srv.Change(row("PROCESSING"))
		pass(time.Second)
		r.want("change:PROCESSING")
		pass(20 * time.Second)
		r.want("lost:credential")
		asked := r.keys.count()
		pass(10 * time.Minute)
		if got := r.keys.count() - asked; got > 35 {
			t.Errorf("asked %d times for a key in ten minutes, want at most 35", got)
		}
		r.keys.set(func(m *mint) { m.fail = nil })
		pass(65 * time.Second)
		r.want("live")
	})
}

func TestU5_unusableKeysAreNotJoinedWith(t *testing.T) {
	t.Parallel()
	tests := map[string]func(life time.Duration) string{
		"empty":      func(time.Duration) string { return "" },
		"no JWT":     func(time.Duration) string { return "hello" },
		"no claims":  func(time.Duration) string { return "a.e30.c" },
		"not base64": func(time.Duration) string { return "a.!!.c" },
		"no life":    func(time.Duration) string { return signed(t, jwtSecret, jwt.MapClaims{"exp": 100, "iat": 200}) },
	}
	for name, unusable := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, realtimetest.Options{}, func(r *rig) {
				r.keys.set(func(m *mint) { m.make = unusable })
				r.feed.Follow(target())
				pass(10 * time.Minute)
				r.want("lost:key")
				if joins, keys := len(r.srv.Joins()), r.keys.count(); joins != 0 || keys > 3 {
					t.Errorf("%d joins and %d mints in ten minutes, want none and at most 3", joins, keys)
				}
			})
		})
	}
}

func signed(t *testing.T, key string, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestC12_U5_refusedKeysSeeThreeJoinsInTenMinutes(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.keys.set(func(m *mint) {
			m.make = func(life time.Duration) string { // another project's key
				now := time.Now()
				return signed(t, "another-secret-of-another-project", jwt.MapClaims{"role": "x", "iat": now.Unix(), "exp": now.Add(life).Unix(), "n": m.n})
			}
		})
		r.feed.Follow(target())
		pass(10 * time.Minute)
		r.want("lost:unconfirmed")
		joins := r.srv.Joins()
		if len(joins) != 3 {
			t.Fatalf("%d joins in ten minutes, want 3", len(joins))
		}
		if joins[0].Token == joins[1].Token || joins[1].Token == joins[2].Token {
			t.Errorf("a refused key was tried twice")
		}
		r.keys.set(func(m *mint) { m.make = nil })
		pass(150 * time.Second)
		if got := r.feed.Stats().Channels["live"]; got != 1 {
			t.Errorf("%d channels live with a good key, want 1", got)
		}
	})
}

func TestU6_wrongWallClockDoesNoHarm(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			bubbleWith(t, realtimetest.Options{}, func(o *realtime.Options) {
				o.Logger = jsonLog(&log)
				o.Now = func() time.Time { return time.Now().Add(off) }
			}, func(r *rig) {
				r.live()
				pass(20 * time.Minute)
				for _, e := range r.take() {
					if e.Kind == realtime.Lost {
						t.Errorf("lost: %+v", e)
					}
				}
				if got := r.keys.count(); got < 5 || got > 8 {
					t.Errorf("%d keys in 20 min of 5 min each, want 5 to 8", got)
				}
			})
			if !strings.Contains(log.String(), "another clock") {
				t.Errorf("no warning about the clocks")
			}
		})
	}
}

func TestKeys_lifetimeOfTheMintCountsWithoutIat(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.keys.set(func(m *mint) {
			m.life = time.Minute
			m.make = func(life time.Duration) string {
				return signed(t, jwtSecret, jwt.MapClaims{"role": "authenticated", "exp": time.Now().Add(life).Unix(), "n": m.n})
			}
		})
		r.live()
		pass(50 * time.Second)
		if got := len(r.sent("access_token")); got != 1 {
			t.Errorf("%d keys pushed within 50 s, want 1", got)
		}
	})
}

func TestNew_namesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := realtime.New(realtime.Options{URL: "ftp://x", JoinsPerSecond: 21})
	for _, field := range []string{"URL", "AnonKey", "Keys", "Notify", "JoinsPerSecond"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("New() = %v, want it to name %s", err, field)
		}
	}
	if _, err := realtime.New(realtime.Options{URL: "https://p.supabase.co/", AnonKey: secret.New("k"), Keys: &mint{}, Notify: func(realtime.Event) {}}); err != nil {
		t.Errorf("New() = %v with all that is required", err)
	}
}

// scarce mints the keys of those who are in a hurry, and lets all others wait.
type scarce struct {
	*mint

	hurried map[string]bool
}

func (s *scarce) RealtimeKey(ctx context.Context, t realtime.Target) (realtime.Key, error) {
	if s.hurried[t.ID] {
		return s.mint.RealtimeKey(ctx, t)
	}
	<-ctx.Done()
	return realtime.Key{}, ctx.Err()
}

func TestKeys_whoIsInAHurryGoesFirst(t *testing.T) {
	t.Parallel()
	keys := &scarce{hurried: map[string]bool{"pay_200": true, "pay_201": true, "pay_202": true}}
	tune := func(o *realtime.Options) { keys.mint, o.Keys = o.Keys.(*mint), keys }
	bubbleWith(t, realtimetest.Options{}, tune, func(r *rig) {
		r.many(202)
		pass(time.Second) // the places are taken, 200 and 201 wait
		r.feed.Hurry("pay_200")
		r.feed.Hurry("pay_200")
		pass(time.Second)
		if n := keys.count(); n != 1 {
			t.Errorf("%d keys after one hurried, want 1", n)
		}
		r.feed.Hurry("pay_202") // nobody follows it
		r.feed.Follow(realtime.Target{ID: "pay_202", SessionID: 1, SourceType: "INVOICE", ReferenceID: "550e8400-e29b-41d4-a716-446655440202"})
		r.feed.Hurry("pay_202")
		pass(time.Second)
		if n := keys.count(); n != 2 {
			t.Errorf("%d keys after two hurried, want 2", n)
		}
		pass(30 * time.Minute) // the others get none; the places they leave reach 201, and renewals go on
		if n := keys.count(); n < 3+2*5 {
			t.Errorf("%d keys after half an hour, want three and the renewals of two", n)
		}
	})
}
