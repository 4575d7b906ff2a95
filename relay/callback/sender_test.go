package callback_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

func TestSender_sendsAsTheContractSays(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", ok)
		b.run(b.box, b.options())
		synctest.Wait()
		b.queue("cb_1", "pay_1", shop)
		time.Sleep(2 * time.Second)
		synctest.Wait()

		seen := backend.requests()
		if len(seen) != 1 {
			t.Fatalf("backend saw %d requests, want 1", len(seen))
		}
		if got := seen[0].header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type = %q, want application/json", got)
		}
		if got := seen[0].header.Get("User-Agent"); got != "dollr-relay/1.2.3" {
			t.Errorf("User-Agent = %q, want dollr-relay/1.2.3", got)
		}
		if seen[0].id != "cb_1" || seen[0].body != `{"id":"cb_1"}` {
			t.Errorf("id %q with body %q, want cb_1 with its stored bytes", seen[0].id, seen[0].body)
		}
		v, err := callback.NewVerifier([]callback.Secret{b.secret}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(seen[0].header, []byte(seen[0].body)); err != nil {
			t.Errorf("the Verifier refuses it: %v", err)
		}
		b.wantState("cb_1", callback.Delivered, 1)
	})
}

func TestSender_wakesAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", ok)
		s, _ := b.run(b.box, b.options())
		time.Sleep(900 * time.Millisecond)
		b.queue("cb_1", "pay_1", shop)
		s.Wake(shop)
		s.Wake("http://unknown.example/") // is ignored
		synctest.Wait()
		if seen := backend.requests(); len(seen) != 1 || seen[0].after != 900*time.Millisecond {
			t.Errorf("backend saw %+v, want one request in the same instant", seen)
		}
	})
}

func TestSender_retriesOnScheduleWithTheSameBytesAndAFreshSignature(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", func(n int, w http.ResponseWriter, _ *http.Request) {
			if n <= 3 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		b.queue("cb_1", "pay_1", shop)
		b.run(b.box, b.options())
		time.Sleep(time.Hour)
		synctest.Wait()

		seen := backend.requests()
		want := []time.Duration{0, 5 * time.Second, 35 * time.Second, 35*time.Second + 5*time.Minute}
		if len(seen) != len(want) {
			t.Fatalf("backend saw %d requests, want %d", len(seen), len(want))
		}
		for i, r := range seen {
			if r.after != want[i] {
				t.Errorf("attempt %d after %s, want %s", i+1, r.after, want[i])
			}
			if r.id != seen[0].id || r.body != seen[0].body {
				t.Errorf("attempt %d has id %q and body %q, want those of the first", i+1, r.id, r.body)
			}
			if i > 0 && (r.timestamp == seen[i-1].timestamp || r.signature == seen[i-1].signature) {
				t.Errorf("attempt %d repeats timestamp or signature, want fresh ones", i+1)
			}
		}
		b.wantState("cb_1", callback.Delivered, 4)
	})
}

func TestSender_isDeadAfterElevenAttemptsIn75Hours(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", code(500))
		b.queue("cb_1", "pay_1", shop)
		b.run(b.box, b.options())
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		var want time.Duration
		seen := backend.requests()
		if len(seen) != 11 {
			t.Fatalf("backend saw %d requests, want 11", len(seen))
		}
		for i, delay := range callback.DefaultSchedule() {
			want += delay
			if got := seen[i].after; got < want || got > want+time.Second {
				t.Errorf("attempt %d after %s, want %s: its endpoint's breaker must not hold up the schedule", i+1, got, want)
			}
		}
		b.wantState("cb_1", callback.Dead, 11)
	})
}

func TestSender_answers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		answer   func(n int, w http.ResponseWriter, r *http.Request)
		state    callback.State
		code     int
		next     time.Duration // after the first attempt began
		duration time.Duration
		err      string
		response string
	}{
		{
			name: "no answer for 15 seconds", answer: hang,
			state: callback.Pending, next: 20 * time.Second, duration: 15 * time.Second, err: "no answer within 15s",
		},
		{
			name: "answer after 14 seconds", state: callback.Delivered, code: 200, duration: 14 * time.Second,
			answer: func(_ int, _ http.ResponseWriter, _ *http.Request) { time.Sleep(14 * time.Second) },
		},
		{
			name: "connection reset", answer: func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			state: callback.Pending, next: 5 * time.Second, err: "EOF",
		},
		{
			name: "gone", answer: code(410), state: callback.Dead, code: 410, err: "wants no more",
		},
		{
			name: "redirect", state: callback.Pending, code: 302, next: 5 * time.Second, err: "redirects are not followed",
			answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://evil.example/")
				w.WriteHeader(http.StatusFound)
			},
		},
		{
			name: "unauthorised", answer: code(401), state: callback.Pending, code: 401, next: 5 * time.Second, err: "secret_mismatch",
		},
		{
			name: "too many requests, HTTP date", state: callback.Pending, code: 429, next: 90 * time.Second, err: "429",
			answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusTooManyRequests)
			},
		},
		{
			name: "Retry-After beyond all measure", state: callback.Pending, code: 503, next: time.Hour, err: "503",
			answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "99999")
				w.WriteHeader(http.StatusServiceUnavailable)
			},
		},
		{
			name: "Retry-After is nonsense", state: callback.Pending, code: 503, next: 5 * time.Second, err: "503",
			answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "-5 soon")
				w.WriteHeader(http.StatusServiceUnavailable)
			},
		},
		{
			name: "long answer", state: callback.Delivered, code: 200, response: strings.Repeat("x", 1024),
			answer: func(_ int, w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
			},
		},
		{
			name: "answer is no text", state: callback.Delivered, code: 200, response: "ab",
			answer: func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a\xff\x00b")) },
		},
		{
			name: "200 and a body that never ends", state: callback.Delivered, code: 200, duration: 2 * time.Second, response: "...",
			answer: func(_ int, w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = w.Write([]byte("."))
					_ = http.NewResponseController(w).Flush()
					select {
					case <-time.After(700 * time.Millisecond):
					case <-r.Context().Done():
					}
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(b *bed) {
				b.backend("shop.example", tt.answer)
				evil := b.backend("evil.example", ok)
				b.queue("cb_1", "pay_1", shop)
				results := make(chan callback.Result, 1)
				opts := b.options()
				opts.OnResult = func(_ callback.Delivery, r callback.Result) { results <- r }
				_, stop := b.run(b.box, opts)
				r := <-results
				stop()
				b.wantState("cb_1", tt.state, 1)
				if r.Code != tt.code || r.Duration != tt.duration || r.Response != tt.response {
					t.Errorf("result = code %d in %s, response %q; want %d in %s, %q", r.Code, r.Duration, r.Response, tt.code, tt.duration, tt.response)
				}
				if (tt.err == "") != (r.Err == "") || !strings.Contains(r.Err, tt.err) || strings.Contains(r.Err, "hooks") {
					t.Errorf("Err = %q, want one with %q and without the URL", r.Err, tt.err)
				}
				if tt.state == callback.Pending && !r.NextAt.Equal(b.start.Add(tt.next)) {
					t.Errorf("next attempt in %s, want %s", r.NextAt.Sub(b.start), tt.next)
				}
				if n := len(evil.requests()); n != 0 {
					t.Errorf("a redirect was followed %d times", n)
				}
			})
		})
	}
}

func TestSender_keepsAPaymentsCallbacksInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		backend := b.backend("shop.example", func(n int, w http.ResponseWriter, _ *http.Request) {
			if n <= 4 { // the first waits for its fifth try, half an hour later
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		b.queue("failed", "pay_1", shop)
		s, _ := b.run(b.box, b.options())
		time.Sleep(10 * time.Minute)
		b.queue("late success", "pay_1", shop)
		b.queue("another", "pay_2", shop)
		s.Wake(shop)
		time.Sleep(time.Second)
		synctest.Wait()
		var ids []string
		for _, r := range backend.requests()[4:] {
			ids = append(ids, r.id)
		}
		failed, late := slices.Index(ids, "failed"), slices.Index(ids, "late success")
		if len(ids) != 3 || failed < 0 || late < failed || !slices.Contains(ids, "another") {
			t.Errorf("after the new outcome came %q, want the waiting one at once, then the new one, and the other payment's", ids)
		}
	})
}

func TestSender_ahangingEndpointSlowsNobody(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		const stuck = "http://stuck.example/"
		b.backend("stuck.example", hang)
		healthy := b.backend("shop.example", ok)
		for i := range 500 {
			b.queue(fmt.Sprint("stuck_", i), fmt.Sprint("pay_", i), stuck)
		}
		s, _ := b.run(b.box, b.options(shop, stuck))
		for i := range 60 {
			time.Sleep(time.Second)
			b.queue(fmt.Sprint("cb_", i), fmt.Sprint("pay_ok_", i), shop)
			s.Wake(shop)
		}
		synctest.Wait()
		seen := healthy.requests()
		if len(seen) != 60 {
			t.Fatalf("the healthy backend saw %d callbacks, want 60", len(seen))
		}
		for i, r := range seen {
			if late := r.after - time.Duration(i+1)*time.Second; late > 10*time.Millisecond {
				t.Errorf("callback %d came %s late, want at once", i, late)
			}
		}
	})
}

func TestSender_neverCallsAURLThatIsNotConfigured(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		other := b.backend("other.example", ok)
		queued := time.Now().Add(time.Hour - callback.MaxAge)
		b.box.chose = map[string]bool{"pay_1": true}
		if err := b.box.Queue(t.Context(), "cb_1", "pay_1", "http://other.example/", []byte(`{}`), queued); err != nil {
			t.Fatal(err)
		}
		b.run(b.box, b.options())
		time.Sleep(time.Hour + 2*time.Minute)
		synctest.Wait()
		if n := len(other.requests()); n != 0 {
			t.Errorf("it was called %d times", n)
		}
		b.wantState("cb_1", callback.Dead, 0)
	})
}

// The shop's default has moved while a failure waited for it; the late success must not wait behind that.
func TestSender_followsTheDefaultURL(t *testing.T) {
	t.Parallel()
	bubble(t, func(b *bed) {
		b.queue("cb_failed", "pay_1", "http://old.example/")
		b.queue("cb_succeeded", "pay_1", shop)
		backend := b.backend("shop.example", ok)
		b.run(b.box, b.options())
		time.Sleep(callback.Unserved + 2*time.Minute)
		synctest.Wait()
		var ids []string
		for _, r := range backend.requests() {
			ids = append(ids, r.id)
		}
		if want := []string{"cb_failed", "cb_succeeded"}; !slices.Equal(ids, want) {
			t.Errorf("the backend got %v, want %v", ids, want)
		}
	})
}

func TestNew_namesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := callback.New(&memory{}, callback.Options{
		URLs:        []string{"ftp://shop.example", "https://a.example", "https://a.example"},
		Schedule:    []time.Duration{-1},
		PerEndpoint: -1,
		Drain:       -1,
	})
	for _, want := range []string{"http or https", "twice", "Secrets", "Schedule", "PerEndpoint", "Drain"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New error = %v, want it to name %q", err, want)
		}
	}
}
