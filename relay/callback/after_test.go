package callback_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	queued := time.Unix(1_795_000_000, 0)
	tests := []struct {
		name    string
		attempt int
		age     time.Duration
		answer  callback.Answer
		jitter  float64
		state   callback.State
		delay   time.Duration // from the end of the attempt, when pending
		reason  callback.Reason
	}{
		{name: "200", attempt: 1, answer: callback.Answer{Code: 200}, state: callback.Delivered},
		{name: "299 on the last", attempt: 11, answer: callback.Answer{Code: 299}, state: callback.Delivered},
		{name: "204 after all its time", attempt: 3, age: callback.MaxAge, answer: callback.Answer{Code: 204}, state: callback.Delivered},
		{name: "500, no jitter", attempt: 1, answer: callback.Answer{Code: 500}, jitter: 0.5, state: callback.Pending, delay: 5 * time.Second, reason: callback.Refused},
		{name: "500, least", attempt: 1, answer: callback.Answer{Code: 500}, jitter: 0, state: callback.Pending, delay: 4 * time.Second, reason: callback.Refused},
		{name: "500, most", attempt: 1, answer: callback.Answer{Code: 500}, jitter: 1, state: callback.Pending, delay: 6 * time.Second, reason: callback.Refused},
		{name: "404 is tried again", attempt: 2, answer: callback.Answer{Code: 404}, jitter: 0.5, state: callback.Pending, delay: 30 * time.Second, reason: callback.Refused},
		{name: "101 is no acknowledgement", attempt: 1, answer: callback.Answer{Code: 101}, jitter: 0.5, state: callback.Pending, delay: 5 * time.Second, reason: callback.Refused},
		{name: "302", attempt: 10, answer: callback.Answer{Code: 302}, jitter: 0.5, state: callback.Pending, delay: 24 * time.Hour, reason: callback.Redirected},
		{name: "410", attempt: 1, answer: callback.Answer{Code: 410}, state: callback.Dead, reason: callback.Gone},
		{name: "after the last", attempt: 11, answer: callback.Answer{Code: 500}, state: callback.Dead, reason: callback.Refused},
		{name: "too old", attempt: 2, age: callback.MaxAge, answer: callback.Answer{Code: 500}, state: callback.Dead, reason: callback.Refused},
		{name: "just not too old", attempt: 2, age: callback.MaxAge - time.Second, answer: callback.Answer{Code: 500}, jitter: 0.5, state: callback.Pending, delay: 30 * time.Second, reason: callback.Refused},
		{name: "time-out", attempt: 1, answer: callback.Answer{Failure: callback.Timeout}, jitter: 0.5, state: callback.Pending, delay: 5 * time.Second, reason: callback.Timeout},
		{name: "no connection", attempt: 11, answer: callback.Answer{Failure: callback.Unreachable}, state: callback.Dead, reason: callback.Unreachable},
		{name: "429 with a later Retry-After", attempt: 1, answer: callback.Answer{Code: 429, RetryAfter: time.Minute}, jitter: 0.5, state: callback.Pending, delay: time.Minute, reason: callback.Refused},
		{name: "429 with an earlier one", attempt: 3, answer: callback.Answer{Code: 429, RetryAfter: time.Minute}, jitter: 0.5, state: callback.Pending, delay: 5 * time.Minute, reason: callback.Refused},
		{name: "503 with far too late a one", attempt: 1, answer: callback.Answer{Code: 503, RetryAfter: 99999 * time.Second}, jitter: 0.5, state: callback.Pending, delay: time.Hour, reason: callback.Refused},
		{name: "500 has no Retry-After", attempt: 1, answer: callback.Answer{Code: 500, RetryAfter: time.Minute}, jitter: 0.5, state: callback.Pending, delay: 5 * time.Second, reason: callback.Refused},
		{name: "429 on the last", attempt: 11, answer: callback.Answer{Code: 429, RetryAfter: time.Minute}, state: callback.Dead, reason: callback.Refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.answer.At = queued.Add(tt.age)
			tt.answer.Duration = 100 * time.Millisecond
			d := callback.Delivery{Attempt: tt.attempt, QueuedAt: queued}
			r := callback.After(d, tt.answer, callback.DefaultSchedule(), tt.jitter)
			if r.State != tt.state || r.Reason != tt.reason || !r.Attempted {
				t.Errorf("After = %s, reason %q, attempted %t; want %s, %q, true", r.State, r.Reason, r.Attempted, tt.state, tt.reason)
			}
			want := tt.answer.At.Add(100*time.Millisecond + tt.delay)
			if tt.state != callback.Pending {
				want = time.Time{}
			}
			if !r.NextAt.Equal(want) {
				t.Errorf("NextAt = %s, want %s", r.NextAt, want)
			}
			if (r.Reason == callback.Acknowledged || r.Code == 0) != (r.Err == "") {
				t.Errorf("Err = %q with reason %q, want words for a refusal and none otherwise", r.Err, r.Reason)
			}
		})
	}
}

func TestAfter_stopUsesUpNoAttempt(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_000_000, 0)
	d := callback.Delivery{Attempt: 11, QueuedAt: now.Add(-callback.MaxAge)}
	r := callback.After(d, callback.Answer{At: now, Failure: callback.Stopped}, callback.DefaultSchedule(), 0.5)
	if r.Attempted || r.State != callback.Pending || !r.NextAt.Equal(now) {
		t.Errorf("After a stop = %+v, want it pending now, no attempt used up", r)
	}
}

func TestDefaultSchedule_spans75Hours(t *testing.T) {
	t.Parallel()
	var sum time.Duration
	for _, d := range callback.DefaultSchedule() {
		sum += d
	}
	if n := len(callback.DefaultSchedule()); n != 11 || sum.Truncate(time.Hour) != 75*time.Hour {
		t.Errorf("%d attempts over %s, want 11 over 75 hours", n, sum)
	}
}

// Whatever an unlucky callback meets, it is tried as often as the schedule says, within the jitter, and then dead.
func TestAfter_everySequenceEnds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	schedule := callback.DefaultSchedule()
	for range 2000 {
		now := time.Unix(1_795_000_000, 0)
		d := callback.Delivery{Attempt: 1, QueuedAt: now}
		for {
			a := callback.Answer{At: now, Duration: time.Duration(rng.Int64N(int64(15 * time.Second)))}
			switch rng.IntN(3) {
			case 0:
				a.Failure = callback.Timeout
			case 1:
				a.Code, a.RetryAfter = 429, time.Duration(rng.Int64N(int64(100*time.Hour)))
			default:
				a.Code = []int{100, 301, 400, 404, 500, 503}[rng.IntN(6)]
			}
			r := callback.After(d, a, schedule, rng.Float64())
			if r.State == callback.Dead {
				if d.Attempt != len(schedule) {
					t.Fatalf("dead after %d attempts, want %d", d.Attempt, len(schedule))
				}
				break
			}
			wait := r.NextAt.Sub(now.Add(a.Duration))
			low, high := schedule[d.Attempt]*8/10, max(schedule[d.Attempt]*12/10, time.Hour)
			if r.State != callback.Pending || wait < low-time.Millisecond || wait > high+time.Millisecond {
				t.Fatalf("after attempt %d: %s in %s, want pending in %s to %s", d.Attempt, r.State, wait, low, high)
			}
			now = r.NextAt
			d.Attempt++
		}
	}
}
