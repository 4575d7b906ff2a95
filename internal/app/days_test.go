package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

// polling leaves realtime out.
func polling(c *app.Config) { c.SupabaseURL = "" }

// count is how often each type was called back.
func count(types []string) map[string]int {
	counts := map[string]int{}
	for _, kind := range types {
		counts[kind]++
	}
	return counts
}

func TestDays_anOutageAtTheEndOfTheWatchExpiresNoPaidOrder(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { polling(c); c.WatchFor = time.Hour }, func(d *dream) {
		const orders = 6
		var ids []string
		for i := range orders {
			id, reference, _ := d.pay()
			ids = append(ids, id)
			if i == 0 {
				time.Sleep(50 * time.Minute) // the others are younger
				d.weather(`{"dollr_down":true}`)
			}
			d.set(reference, `{"status":"COMPLETED"}`)
		}
		time.Sleep(3 * time.Hour)
		if p := d.show(ids[0]); p["outcome"] != "pending" || p["link"] != "degraded" {
			t.Errorf("during the outage = %v, %v; want pending and degraded", p["outcome"], p["link"])
		}
		d.weather(`{}`)
		time.Sleep(10 * time.Minute)
		if got := count(d.types()); len(got) != 1 || got["payment.succeeded"] != orders {
			t.Errorf("callbacks = %v, want %d payment.succeeded and nothing else", got, orders)
		}
	})
}

func TestDays_aJumpOfTheClockExpiresNoPaidOrder(t *testing.T) {
	t.Parallel()
	for _, outage := range []bool{false, true} {
		t.Run(fmt.Sprintf("outage=%t", outage), func(t *testing.T) {
			t.Parallel()
			sleep(t, polling, func(d *dream) {
				const orders = 6
				for i := range orders {
					_, reference, _ := d.pay()
					time.Sleep(time.Second)
					if i%2 == 0 {
						d.set(reference, `{"status":"COMPLETED"}`)
					}
				}
				time.Sleep(30 * time.Minute)
				d.types()
				unpaid := orders / 2
				if outage {
					d.weather(`{"dollr_down":true}`)
				}
				for range orders {
					_, reference, _ := d.pay()
					d.set(reference, `{"status":"COMPLETED"}`)
				}
				d.jump.Store(int64(100 * time.Hour))
				time.Sleep(time.Hour)
				if outage {
					if got := d.types(); len(got) != 0 {
						t.Errorf("while Dollr could not be reached: callbacks %v, want none", got)
					}
					d.weather(`{}`)
					time.Sleep(time.Hour)
				}
				got := count(d.types())
				if got["payment.succeeded"] != orders || got["payment.expired"] != unpaid || len(got) != 2 {
					t.Errorf("callbacks = %v, want %d succeeded, and %d expired that nobody has paid", got, orders, unpaid)
				}
			})
		})
	}
}

func TestDays_theEndIsPutOffByADayAtMost(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { polling(c); c.WatchFor = time.Hour }, func(d *dream) {
		id, reference, _ := d.pay()
		time.Sleep(30 * time.Minute)
		d.weather(`{"dollr_down":true}`)
		time.Sleep(24 * time.Hour)
		if p := d.show(id); p["outcome"] != "pending" {
			t.Fatalf("23.5 h after its end the watch = %v, want it put off", p)
		}
		time.Sleep(time.Hour)
		if p := d.show(id); p["outcome"] != "expired" || p["verified"] != false || p["link"] != nil {
			t.Fatalf("24.5 h after its end the watch = %v, want expired, not verified", p)
		}
		d.set(reference, `{"status":"COMPLETED"}`)
		d.weather(`{}`)
		time.Sleep(2 * time.Hour)
		if p := d.show(id); p["outcome"] != "succeeded" || p["late"] != true || p["previous_outcome"] != "expired" {
			t.Errorf("once Dollr is back = %v, want a late success", p)
		}
		if got, want := d.types(), []string{"payment.expired", "payment.succeeded"}; !slices.Equal(got, want) {
			t.Errorf("callbacks = %v, want %v", got, want)
		}
	})
}

// TestDays_settledPaymentsAreAskedAgain after 1 h and 24 h, wherever a restart falls.
func TestDays_settledPaymentsAreAskedAgain(t *testing.T) {
	t.Parallel()
	const (
		runs      = iota // without a restart
		restarted        // after the change
		stopped          // from the change until it is due
	)
	tests := []struct {
		name          string
		first, then   string
		changed, seen time.Duration // after it settled
		relay         int
		types         []string
	}{
		{"late success", "FAILED", "COMPLETED", 30 * time.Minute, 61 * time.Minute, runs, []string{"payment.failed", "payment.succeeded"}},
		{"late success, restarted", "FAILED", "COMPLETED", 30 * time.Minute, 61 * time.Minute, restarted, []string{"payment.failed", "payment.succeeded"}},
		{"late success, stopped for two days", "FAILED", "COMPLETED", 2 * time.Hour, 48 * time.Hour, stopped, []string{"payment.failed", "payment.succeeded"}},
		{"late success after a day, restarted", "FAILED", "COMPLETED", 2 * time.Hour, 24*time.Hour + time.Minute, restarted, []string{"payment.failed", "payment.succeeded"}},
		{"U16 contradiction", "COMPLETED", "FAILED", 30 * time.Minute, 61 * time.Minute, runs, []string{"payment.succeeded", "payment.contradicted"}},
		{"U16 contradiction after a day", "COMPLETED", "FAILED", 2 * time.Hour, 24*time.Hour + time.Minute, runs, []string{"payment.succeeded", "payment.contradicted"}},
		{"U16 pending again", "COMPLETED", "PENDING", 30 * time.Minute, 2 * time.Hour, stopped, []string{"payment.succeeded"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sleep(t, func(c *app.Config) { polling(c); c.ReconcileEvery = 100 * time.Hour }, func(d *dream) {
				id, reference, _ := d.pay()
				d.set(reference, fmt.Sprintf(`{"status":%q}`, tt.first))
				d.until(id, "final", func(p map[string]any) bool { return p["final"] == true })
				time.Sleep(tt.changed)
				d.set(reference, fmt.Sprintf(`{"status":%q}`, tt.then))
				off := time.Duration(0)
				switch tt.relay {
				case restarted:
					off = time.Second
					d.reboot(off)
				case stopped:
					off = tt.seen - tt.changed - time.Minute
					d.reboot(off)
				}
				time.Sleep(tt.seen - tt.changed - off)
				if got := d.types(); !slices.Equal(got, tt.types) {
					t.Errorf("callbacks = %v, want %v: %v", got, tt.types, d.show(id))
				}
			})
		})
	}
}

// TestDays_reopenedForADay asks every 5 minutes after Dollr has taken a failure back.
func TestDays_reopenedForADay(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { polling(c); c.ReconcileEvery = 100 * time.Hour }, func(d *dream) {
		id, reference, _ := d.pay()
		d.set(reference, `{"status":"FAILED"}`)
		d.until(id, "failed", func(p map[string]any) bool { return p["outcome"] == "failed" })
		d.set(reference, `{"status":"PROCESSING"}`)
		time.Sleep(2 * time.Hour) // asked after 1 h
		d.reboot(time.Second)
		before := d.questions(reference)
		time.Sleep(time.Hour)
		if got := d.questions(reference) - before; got < 10 || got > 15 {
			t.Errorf("asked %d times in an hour, want every 5 minutes", got)
		}
		d.halt()
		time.Sleep(23 * time.Hour) // a stop does not prolong it
		d.boot()
		time.Sleep(time.Minute) // asked after 24 h, so reopened for another day
		d.set(reference, `{"status":"FAILED"}`)
		d.reboot(24 * time.Hour)
		before = d.questions(reference)
		time.Sleep(time.Hour)
		if got := d.questions(reference) - before; got != 0 {
			t.Errorf("asked %d times after that day, want it to have ended", got)
		}
		if p := d.show(id); p["outcome"] != "failed" || p["version"].(float64) > 3 {
			t.Errorf("payment = %v, want failed as it was", p)
		}
	})
}

// TestDays_U15_abandonedCheckoutsAreLeftInPeace registers a payment that is never executed.
func TestDays_U15_abandonedCheckoutsAreLeftInPeace(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { polling(c); c.WatchFor = time.Hour }, func(d *dream) {
		const reference = "550e8400-e29b-41d4-a716-446655440000"
		p := d.call("POST", d.relay+"/v1/payments", fmt.Sprintf(`{"operation":"collection","reference_id":%q}`, reference), 201)
		id := p["id"].(string)
		time.Sleep(30 * time.Minute)
		if p := d.show(id); p["outcome"] != "pending" || p["last_error"] != "not_found" {
			t.Errorf("payment = %v, want pending with last_error not_found", p)
		}
		time.Sleep(31 * time.Minute)
		if p := d.show(id); p["outcome"] != "expired" {
			t.Errorf("payment = %v, want expired at the end of its watch: not found is an answer", p)
		}
		before := d.questions(reference)
		time.Sleep(26 * time.Hour)
		if got := d.questions(reference) - before; got < 2 || got > 4 {
			t.Errorf("asked %d times in the 26 h after, want about twice", got)
		}
	})
}

// TestDays_terminalHintThatTruthLagsBehind is asked about every RELAY_POLL_MIN for 60 s, then withdrawn.
func TestDays_terminalHintThatTruthLagsBehind(t *testing.T) {
	t.Parallel()
	sleep(t, func(*app.Config) {}, func(d *dream) {
		id, reference, token := d.pay()
		d.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" && p["status"] == "PENDING" })
		page := d.open(token)
		before := d.questions(reference)
		d.set(reference, `{"status":"COMPLETED","hint":true}`)
		began := time.Now()
		hint := page.until("a hint", func(m map[string]any) bool { return m["status"] == "COMPLETED" })
		if hint["verified"] != false || hint["final"] != false {
			t.Errorf("hint = %v, want unverified", hint)
		}
		back := page.until("withdrawn", func(m map[string]any) bool { return m["type"] == "status" })
		if took := time.Since(began); took < 60*time.Second || took > 61*time.Second {
			t.Errorf("withdrawn after %s, want 60 s", took)
		}
		if back["status"] != "PENDING" || back["verified"] != true || back["version"] != hint["version"] {
			t.Errorf("then the page sees %v, want the verified state of the same version", back)
		}
		if got := d.questions(reference) - before; got < 28 || got > 36 {
			t.Errorf("asked %d times in the 60 s, want every 2 s", got)
		}
		before = d.questions(reference)
		time.Sleep(time.Minute)
		if got := d.questions(reference) - before; got > 4 {
			t.Errorf("asked %d times in the minute after, want an audit every 30 s", got)
		}
		_ = page.conn.CloseNow()
	})
}

// TestDays_U17_lateSuccessIsHeardOf while the payment's realtime window is open.
func TestDays_U17_lateSuccessIsHeardOf(t *testing.T) {
	t.Parallel()
	sleep(t, func(*app.Config) {}, func(d *dream) {
		id, reference, _ := d.pay()
		d.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" })
		d.set(reference, `{"status":"FAILED"}`)
		d.until(id, "failed", func(p map[string]any) bool { return p["outcome"] == "failed" && p["link"] == nil })
		time.Sleep(5 * time.Minute)
		d.set(reference, `{"status":"COMPLETED"}`)
		time.Sleep(time.Second)
		p := d.show(id)
		if p["outcome"] != "succeeded" || p["late"] != true || p["previous_outcome"] != "failed" || p["link"] != nil {
			t.Errorf("1 s after the change = %v, want a late success", p)
		}
		if got, want := d.types(), []string{"payment.failed", "payment.succeeded"}; !slices.Equal(got, want) {
			t.Errorf("callbacks = %v, want %v", got, want)
		}
	})
}

// TestDays_slowAnswersDoNotStretchTheIntervals has many payments, a rate that suffices, and a Dollr that takes 8 s to answer.
func TestDays_slowAnswersDoNotStretchTheIntervals(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { polling(c); c.DollrRate = 100 }, func(d *dream) {
		const orders = 200
		for range orders {
			d.pay()
		}
		d.weather(`{"dollr":[{"kind":"slow","endpoint":"collection","delay":"8s"}]}`)
		before := d.asked()
		time.Sleep(104 * time.Second)
		// Young payments are asked about within 2.5 × RELAY_POLL_MIN of the last answer, which is under way for 8 s.
		if got, want := d.asked()-before, orders*(104/(5+8)-1); got < want {
			t.Errorf("%d questions in 104 s, want at least %d", got, want)
		}
	})
}

// asked is how many questions Dollr was asked.
func (d *dream) asked() int {
	d.t.Helper()
	return len(d.call("GET", d.sandbox+"/_sandbox/requests", "", 200)["data"].([]any))
}

// TestDays_theKeyOfAnOpenPageDoesNotQueueWithTheOthers has many payments that nobody looks at, and a small rate.
func TestDays_theKeyOfAnOpenPageDoesNotQueueWithTheOthers(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { c.DollrRate = 1 }, func(d *dream) {
		var id, token string
		for range 60 {
			id, _, token = d.pay()
		}
		time.Sleep(5 * time.Second)
		page := d.mute(token)
		go func() { _ = rest(page) }()
		opened := time.Now()
		d.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" })
		if took := time.Since(opened); took > 20*time.Second {
			t.Errorf("the open page was live after %s", took)
		}
		_ = page.Close()
	})
}
