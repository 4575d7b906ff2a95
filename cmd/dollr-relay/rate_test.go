package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
)

// dollrHoldsAll is DOLLR_RATE over all relays together, when far more is wanted, and a 429 that one of them gets: from
// then on nobody asks until Retry-After is over.
func dollrHoldsAll(t *testing.T, binary string) {
	const (
		payments  = 90
		rate      = 12
		window    = 10 * time.Second
		hold      = 25 * time.Second // more than a caller of verify waits
		heardWell = 5 * time.Second  // the promise is 1 s
	)
	g := startGroup(t, binary, pgtest.ForTest(t), 3, fmt.Sprint("DOLLR_RATE=", rate), "SUPABASE_URL=", "SUPABASE_ANON_KEY=")
	g.register(payments)
	g.awaitShared(payments, g.processes...)
	began := time.Now()
	var busiest, total int
	if !awaitFor(groupPatience, func() bool {
		busiest, total = busy(g.requests(), began, window)
		return time.Since(began) > 2*window
	}) || total < rate*int(window.Seconds()) {
		t.Errorf("%d requests in %s, want about %d a second", total, 2*window, rate)
	}
	// Each has a burst of twice its share, and a machine without time delivers some of them late.
	if limit := rate*int(window.Seconds()) + 2*rate; busiest > limit*5/4 {
		t.Errorf("%d requests within %s, want at most %d", busiest, window, limit)
	}

	g.site.must("PUT", g.site.sandbox+"/_sandbox/faults", fmt.Sprintf(`{"dollr":[{"kind":"code","endpoint":"status","code":429,"retry_after":"%.0f","times":1}]}`, hold.Seconds()), 200)
	var limited time.Time
	eventually(t, "a 429", func() bool {
		for _, r := range g.requests() {
			if r.code == http.StatusTooManyRequests {
				limited = r.at
			}
		}
		return !limited.IsZero()
	})
	for i, relay := range g.processes {
		eventually(t, fmt.Sprintf("relay %d holds", i), func() bool {
			code, _, err := soon("POST", relay.url+"/v1/payments/"+g.payments[0].id+"/verify", "")
			return err == nil && code == http.StatusServiceUnavailable
		})
	}
	var last, first time.Duration // after the 429: the last that somebody had sent already, and the first of the time afterwards
	eventually(t, "questions after the hold", func() bool {
		last, first = 0, 0
		for _, r := range g.requests() {
			switch after := r.at.Sub(limited); {
			case after > hold-time.Second && (first == 0 || after < first):
				first = after
			case after <= hold-time.Second && after > last:
				last = after
			}
		}
		return first > 0
	})
	if last > heardWell {
		t.Errorf("a question left %s after the 429, which holds for %s", last, hold)
	}
	if first < hold-100*time.Millisecond {
		t.Errorf("a question left %s after the 429, before the end of the hold", first)
	}
	t.Logf("at most %d requests in %s with DOLLR_RATE=%d; %s after a 429 all were held, %s after it the first question",
		busiest, window, rate, last.Round(time.Millisecond), first.Round(time.Millisecond))
}

// request is one that Dollr got.
type request struct {
	at   time.Time
	code float64
	path string
}

// requests are all that Dollr got, in order.
func (g *group) requests() (all []request) {
	data, _ := g.site.must("GET", g.site.sandbox+"/_sandbox/requests", "", 200)["data"].([]any)
	for _, d := range data {
		fields, _ := d.(map[string]any)
		text, _ := fields["at"].(string)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			g.t.Errorf("request %v: %v", fields, err)
		}
		code, _ := fields["code"].(float64)
		path, _ := fields["path"].(string)
		all = append(all, request{at, code, path})
	}
	return all
}

// busy counts the requests from a time on, and the most of them in any window.
func busy(requests []request, from time.Time, window time.Duration) (busiest, total int) {
	first := 0
	for i, r := range requests {
		if r.at.Before(from) {
			first = i + 1
			continue
		}
		total++
		for r.at.Sub(requests[first].at) > window {
			first++
		}
		busiest = max(busiest, i-first+1)
	}
	return busiest, total
}
