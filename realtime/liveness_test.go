package realtime_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// TestC20_heartbeatDeadline measures to the second how long a socket may owe the answer to a heartbeat.
func TestC20_heartbeatDeadline(t *testing.T) {
	t.Parallel()
	for joins := range 5 {
		t.Run(fmt.Sprintf("%d joins pending", joins), func(t *testing.T) {
			t.Parallel()
			var opened, beaten, died time.Time
			o := realtimetest.Options{}
			bubbleWith(t, o, func(o *realtime.Options) {
				o.Hooks.Closed = func(word string) {
					if died.IsZero() && word == "heartbeat" {
						died = time.Now()
					}
				}
			}, func(r *rig) {
				opened = time.Now()
				r.live() // takes a second
				r.srv.SetFaults(realtimetest.Faults{MuteJoins: true, MuteHeartbeats: true})
				pass(12 * time.Second)
				for i := range joins {
					other := target()
					other.ID, other.SessionID = fmt.Sprintf("pay_%d", i+2), int64(i)
					r.feed.Follow(other)
				}
				for len(r.sent("heartbeat")) == 0 {
					pass(10 * time.Millisecond)
				}
				beaten = time.Now()
				pass(time.Minute)
			})
			if got := beaten.Sub(opened).Round(time.Second); got != 15*time.Second {
				t.Errorf("first heartbeat after %s, want 15 s", got)
			}
			if got, want := died.Sub(beaten).Round(time.Second), time.Duration(5+5*joins)*time.Second; got != want {
				t.Errorf("given up %s after the heartbeat, want %s", got, want)
			}
		})
	}
}

func TestC20_slowAnswersAreFine(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.live()
		for range 8 {
			for before := len(r.sent("heartbeat")); len(r.sent("heartbeat")) == before; {
				pass(100 * time.Millisecond)
			}
			beat := r.sent("heartbeat")
			r.srv.SetFaults(realtimetest.Faults{MuteHeartbeats: true}) // the next one is answered by hand, late
			if n := len(beat); n > 1 {
				time.Sleep(4800 * time.Millisecond)
				r.srv.SendText(fmt.Sprintf(`[null,%q,"phoenix","phx_reply",{"status":"ok","response":{}}]`, beat[n-1].Ref))
				synctest.Wait()
			}
		}
		for _, e := range r.take() {
			if e.Kind == realtime.Lost {
				t.Errorf("lost: %+v", e)
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.trips); n < 7 || r.trips[n-1] < 4*time.Second || r.trips[n-1] > 5*time.Second {
			t.Errorf("round trips %v, want 7 of almost 5 s", r.trips)
		}
	})
}

// TestC13_joinsBehindFailingOnesAreAwaited has four joins fail on one socket, 5 s each: the last answer comes after 20 s.
func TestC13_joinsBehindFailingOnesAreAwaited(t *testing.T) {
	t.Parallel()
	bubble(t, realtimetest.Options{}, func(r *rig) {
		r.srv.SetFaults(realtimetest.Faults{JoinError: "Unknown Error on Channel"})
		r.many(4)
		pass(22 * time.Second)
		joins := r.srv.Joins()
		if len(joins) < 4 || joins[3].Conn != joins[0].Conn {
			t.Fatalf("joins %+v, want four on one socket", joins)
		}
		if failed, given := r.get(r.rejoins, "join_error"), r.get(r.rejoins, "join_timeout"); failed < 4 || given != 0 {
			t.Errorf("%d joins answered and %d given up, want 4 and none", failed, given)
		}
	})
}

func TestC24_reconnectsWithCappedBackoffAndJitter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		random            float64
		shortest, longest time.Duration
		least, most       int // dials in ten minutes
	}{
		{"least", 0, 500 * time.Millisecond, 500 * time.Millisecond, 1000, 1300},
		{"middle", 0.5, 750 * time.Millisecond, 31 * time.Second, 18, 40},
		{"most", 0.9999, 999 * time.Millisecond, time.Minute, 10, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var dials []time.Time
			bubbleWith(t, realtimetest.Options{}, func(o *realtime.Options) {
				o.Random = func() float64 { return tt.random }
				o.HTTPClient.Transport = spy{o.HTTPClient.Transport, func(*http.Request) { dials = append(dials, time.Now()) }}
			}, func(r *rig) {
				r.srv.SetFaults(realtimetest.Faults{Down: true})
				r.feed.Follow(target())
				pass(10 * time.Minute)
				r.stop()
			})
			if got := len(dials); got < tt.least || got > tt.most {
				t.Fatalf("%d dials in ten minutes, want %d to %d", got, tt.least, tt.most)
			}
			last := time.Duration(0)
			for i, at := range dials[1:] {
				gap := at.Sub(dials[i])
				if gap < last || gap < tt.shortest || gap > tt.longest+time.Second {
					t.Fatalf("gap %d is %s after %s, want it to grow from %s to %s", i, gap, last, tt.shortest, tt.longest)
				}
				last = gap - gap/100
			}
			if last < tt.longest*9/10 {
				t.Errorf("the last gap is %s, want about %s", last, tt.longest)
			}
		})
	}
}
