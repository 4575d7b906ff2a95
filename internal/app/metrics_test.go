package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// contractMetrics is section 8 of the contract: name, type and labels.
func contractMetrics() []string {
	return []string{
		"pages gauge transport", "page_messages_total counter type", "page_closes_total counter reason",
		"hint_to_page_seconds histogram ", "event_to_callback_seconds histogram ", "payments gauge link", "outcomes_total counter outcome",
		"truth_age_seconds histogram priority", "upstream_sockets gauge ", "upstream_channels gauge state", "upstream_rejoins_total counter reason",
		"realtime_missed_total counter ", "dollr_requests_total counter endpoint,result", "dollr_wait_seconds histogram ", "breaker_state gauge name",
		"unknown_status_total counter ", "callbacks gauge state", "callback_attempts_total counter result", "db_seconds histogram op",
	}
}

// ownMetrics are those beside the contract's, described in docs/operations.md.
func ownMetrics() []string {
	return []string{
		"upstream_joins_total counter ", "upstream_closes_total counter reason", "upstream_ignored_total counter what", "upstream_heartbeat_seconds histogram ",
	}
}

// scrape returns the relay's own metrics by name without the prefix.
func (s *system) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.admin+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	own := map[string]*dto.MetricFamily{}
	for name, family := range families {
		if short, ok := strings.CutPrefix(name, "dollr_relay_"); ok {
			own[short] = family
		} else if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			s.t.Errorf("metric %s is nobody's", name)
		}
	}
	return own
}

func labels(m *dto.Metric) map[string]string {
	named := map[string]string{}
	for _, pair := range m.GetLabel() {
		named[pair.GetName()] = pair.GetValue()
	}
	return named
}

// describe lists the metrics as [contractMetrics] does.
func describe(t *testing.T, families map[string]*dto.MetricFamily) []string {
	t.Helper()
	var all []string
	for name, family := range families {
		names := ""
		for i, m := range family.GetMetric() {
			got := strings.Join(slices.Sorted(maps.Keys(labels(m))), ",")
			if i > 0 && got != names {
				t.Errorf("%s has series with labels %q and %q", name, names, got)
			}
			names = got
		}
		all = append(all, fmt.Sprintf("%s %s %s", name, strings.ToLower(family.GetType().String()), names))
	}
	slices.Sort(all)
	return all
}

func TestMetrics_areTheContracts(t *testing.T) {
	t.Parallel()
	s := start(t)
	want := append(contractMetrics(), ownMetrics()...)
	slices.Sort(want)
	if got := describe(t, s.scrape()); !slices.Equal(got, want) {
		t.Fatalf("at the start\n got %q\nwant %q", got, want)
	}

	id, reference, token := s.pay()
	s.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" })
	page := s.open(token)
	page.until("status", func(m map[string]any) bool { return m["type"] == "status" })
	s.until(id, "read", func(p map[string]any) bool { return p["status"] == "PENDING" })
	if got := s.value("pages", "transport", "websocket"); got != 1 {
		t.Errorf("pages{websocket} = %v with one open, want 1", got)
	}
	s.set(reference, `{"status":"COMPLETED"}`)
	for m, _ := page.next(); m != nil; m, _ = page.next() { // to its end
	}
	s.callback()
	s.until(id, "final", func(p map[string]any) bool { return p["final"] == true })

	for deadline := time.Now().Add(patience); s.value("callback_attempts_total", "result", "acknowledged") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the acknowledged attempt is never counted")
		}
	}
	families := s.scrape()
	if got := describe(t, families); !slices.Equal(got, want) {
		t.Errorf("after a payment\n got %q\nwant %q", got, want)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			for label, value := range labels(m) {
				if strings.Contains(value, reference) || strings.Contains(value, "pay_") || strings.Contains(value, "127.0.0.1") {
					t.Errorf("%s{%s=%q}: an id or an address in a label", name, label, value)
				}
			}
		}
	}
	for _, tt := range []struct {
		name, label, value string
		least              float64
	}{
		{"page_messages_total", "type", "status", 2},
		{"page_messages_total", "type", "link", 1},
		{"page_closes_total", "reason", "final", 1},
		{"hint_to_page_seconds", "", "", 1},
		{"event_to_callback_seconds", "", "", 1},
		{"outcomes_total", "outcome", "succeeded", 1},
		{"truth_age_seconds", "priority", "verify", 1},
		{"dollr_requests_total", "endpoint", "collection", 1},
		{"dollr_requests_total", "endpoint", "realtime_key", 1},
		{"dollr_wait_seconds", "", "", 1},
		{"upstream_joins_total", "", "", 1},
		{"callbacks", "state", "delivered", 1},
		{"callback_attempts_total", "result", "acknowledged", 1},
		{"db_seconds", "op", "register", 1},
		{"db_seconds", "op", "apply", 1},
	} {
		if got := s.value(tt.name, tt.label, tt.value); got < tt.least {
			t.Errorf("%s{%s=%q} = %v, want at least %v", tt.name, tt.label, tt.value, got, tt.least)
		}
	}
	if got := s.value("breaker_state", "name", "callback_1"); got != 0 {
		t.Errorf("breaker_state{callback_1} = %v, want 0", got)
	}
}

// value is the sum of the series with a label's value; of a histogram, how many were observed.
func (s *system) value(name, label, value string) float64 {
	s.t.Helper()
	family := s.scrape()[name]
	if family == nil {
		s.t.Fatalf("there is no metric %s", name)
	}
	sum, found := 0.0, false
	for _, m := range family.GetMetric() {
		if label != "" && labels(m)[label] != value {
			continue
		}
		found = true
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	if !found {
		s.t.Fatalf("%s has no series with %s=%q", name, label, value)
	}
	return sum
}
