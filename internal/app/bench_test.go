package app_test

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkRoad_hint measures the road of a hint: from the moment the stand-in for Dollr is told of
// the change until the page has the hint, the page has the truth, and the callback has arrived. The
// stand-in's own millisecond of collecting row changes is in it.
func BenchmarkRoad_hint(b *testing.B) {
	s := start(b)
	var hint, truth, callback []time.Duration
	for b.Loop() {
		b.StopTimer()
		id, reference, token := s.pay()
		page := s.open(token)
		s.until(id, "live and read", func(p map[string]any) bool { return p["link"] == "live" && p["status"] == "PENDING" })
		b.StartTimer()
		began := time.Now()
		s.set(reference, `{"status":"COMPLETED"}`)
		page.until("the hint", func(m map[string]any) bool { return m["status"] == "COMPLETED" })
		hint = append(hint, time.Since(began))
		page.until("truth", func(m map[string]any) bool { return m["final"] == true })
		truth = append(truth, time.Since(began))
		callback = append(callback, s.callback().at.Sub(began))
	}
	for name, took := range map[string][]time.Duration{"hint": hint, "truth": truth, "callback": callback} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
}
