package app_test

import (
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

// TestReconcile_aloneSettlesAThousand has realtime cut and polling as good as switched off.
func TestReconcile_aloneSettlesAThousand(t *testing.T) {
	t.Parallel()
	const payments = 1000
	s := start(t, func(c *app.Config) {
		c.SupabaseURL = ""
		c.PollMin, c.PollMax = time.Hour, time.Hour
		c.DollrRate = 5000
	})
	ids, references := make([]string, payments), make([]string, payments)
	for i := range payments {
		ids[i], references[i], _ = s.pay()
	}
	s.until(ids[payments-1], "read once", func(p map[string]any) bool { return p["status"] == "PENDING" })
	if got := s.call("GET", s.relay+"/v1/reconcile", "", 200); got["started_at"] != nil {
		t.Fatalf("report before the first sweep = %v, want nulls", got)
	}
	for _, reference := range references {
		s.set(reference, `{"status":"COMPLETED"}`)
	}
	s.call("POST", s.relay+"/v1/reconcile", "", 202)
	deadline := time.Now().Add(time.Minute)
	for {
		report := s.call("GET", s.relay+"/v1/reconcile", "", 200)
		if report["ended_at"] != nil {
			if report["asked"].(float64) < payments || report["failed"].(float64) != 0 {
				t.Errorf("report = %v, want all %d asked", report, payments)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sweep does not end: %v", report)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, id := range ids {
		if p := s.call("GET", s.relay+"/v1/payments/"+id, "", 200); p["outcome"] != "succeeded" {
			t.Fatalf("after the sweep: %v, want succeeded", p)
		}
	}
}
