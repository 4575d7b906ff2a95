package app_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/internal/tracing"
)

// otlp is a collector: it keeps the spans that it was sent.
type otlp struct {
	mu    sync.Mutex
	spans []*tracepb.Span
	raw   []string
}

func (o *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not spans", http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.raw = append(o.raw, data.String())
	for _, resource := range data.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			o.spans = append(o.spans, scope.GetSpans()...)
		}
	}
}

// named returns the spans of a name.
func (o *otlp) named(name string) (spans []*tracepb.Span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, span := range o.spans {
		if span.GetName() == name {
			spans = append(spans, span)
		}
	}
	return spans
}

// tracer traces to the collector, as fast as it can.
func tracer(t *testing.T, collector http.Handler) *tracing.Tracing {
	t.Helper()
	server := httptest.NewServer(collector)
	t.Cleanup(server.Close)
	traces, err := tracing.New(t.Context(), tracing.Options{Logger: slog.New(slog.DiscardHandler), Getenv: func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL}[name]
	}})
	if err != nil || traces == nil {
		t.Fatalf("tracing.New() = %v, %v; want one", traces, err)
	}
	return traces
}

func TestTraces_oneFromRegistrationToCallback(t *testing.T) {
	t.Parallel()
	collector := &otlp{}
	traces := tracer(t, collector)
	var mu sync.Mutex
	parents := map[string][]string{} // traceparent by path at Dollr
	asked := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		parents[r.URL.Path] = append(parents[r.URL.Path], r.Header.Get("Traceparent"))
	}
	database := "sqlite:" + filepath.Join(t.TempDir(), "relay.db")
	s := startWith(t, app.Options{Tracing: traces}, asked, func(c *app.Config) { c.DatabaseURL = secret.New(database) })

	p := s.call("POST", s.sandbox+"/_sandbox/payments", `{"payee_amount":"250.00","payee_currency":"USD"}`, 201)
	reference := p["reference_id"].(string)
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.relay+"/v1/payments", strings.NewReader(fmt.Sprintf(
		`{"operation":"collection","reference_id":%q,"session_id":%.0f,"source_type":"INVOICE"}`, reference, p["session_id"])))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	request.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("registration = %s", answer.Status)
	}
	id := s.call("GET", s.relay+"/v1/payments?reference_id="+reference, "", 200)["data"].([]any)[0].(map[string]any)["id"].(string)
	trace, root := tracing.Of(id)
	s.until(id, "live", func(p map[string]any) bool { return p["link"] == "live" })
	s.set(reference, `{"status":"COMPLETED"}`)
	callback := s.callback()
	s.call("POST", s.relay+"/v1/payments/"+id+"/verify", "", 200)
	s.stop()
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}

	for _, name := range []string{"register", "hint", "ask Dollr", "commit", "mint realtime key", "callback", "verify"} {
		spans := collector.named(name)
		if len(spans) == 0 {
			t.Errorf("no span %q", name)
		}
		for _, span := range spans {
			if got := hex.EncodeToString(span.GetTraceId()); got != trace.String() {
				t.Errorf("span %q is of trace %s, want %s", name, got, trace)
			}
			if start, end := span.GetStartTimeUnixNano(), span.GetEndTimeUnixNano(); end < start || start == 0 {
				t.Errorf("span %q lasts from %d to %d", name, start, end)
			}
		}
	}
	if registered := collector.named("register"); len(registered) == 1 {
		span := registered[0]
		if hex.EncodeToString(span.GetSpanId()) != root.String() || len(span.GetParentSpanId()) != 0 {
			t.Errorf("register is span %x below %x, want the root %s", span.GetSpanId(), span.GetParentSpanId(), root)
		}
		if links := span.GetLinks(); len(links) != 1 || hex.EncodeToString(links[0].GetTraceId()) != theirs {
			t.Errorf("register links to %v, want the merchant's trace", links)
		}
	} else {
		t.Errorf("%d spans register, want one", len(registered))
	}
	for _, span := range collector.named("callback") {
		if got, want := callback.header.Get("Traceparent"), fmt.Sprintf("00-%s-%x-01", trace, span.GetSpanId()); got != want {
			t.Errorf("the backend got traceparent %q, want %q", got, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, path := range []string{"/v1/status/collection/" + reference, "/v1/realtime-keys/collection"} {
		if len(parents[path]) == 0 {
			t.Errorf("Dollr was never asked %s", path)
		}
		for _, got := range parents[path] {
			if !strings.HasPrefix(got, "00-"+trace.String()+"-") {
				t.Errorf("%s came with traceparent %q, want one of trace %s", path, got, trace)
			}
		}
	}
	for _, text := range collector.raw {
		for _, kept := range []string{reference, apiKey, callbackSecret, "eyJ", "127.0.0.1"} {
			if strings.Contains(text, kept) {
				t.Errorf("the spans hold %q", kept)
			}
		}
	}
}

// A callback whose first attempts failed is delivered by another process, days later perhaps: the same trace.
func TestTraces_goOnAfterARestart(t *testing.T) {
	t.Parallel()
	collector := &otlp{}
	database := "sqlite:" + filepath.Join(t.TempDir(), "relay.db")
	var mended atomic.Bool
	parents := make(chan string, 100) // of the callbacks that were taken
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !mended.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		parents <- r.Header.Get("Traceparent")
	}))
	t.Cleanup(shop.Close)
	lasting := func(c *app.Config) {
		c.DatabaseURL = secret.New(database)
		c.CallbackURLs = []string{shop.URL}
		c.CallbackSchedule = []time.Duration{0, time.Hour}
	}
	quiet := func(*http.Request) {}
	first := tracer(t, collector)
	s := startWith(t, app.Options{Tracing: first}, quiet, lasting)
	id, reference, _ := s.pay()
	s.set(reference, `{"status":"FAILED"}`)
	s.until(id, "final", func(p map[string]any) bool { return p["final"] == true })
	for deadline := time.Now().Add(patience); s.metric(`dollr_relay_callback_attempts_total{result="refused"}`) == "0"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the callback is never tried")
		}
	}
	s.stop()
	if err := first.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	before := len(collector.named("callback"))

	mended.Store(true)
	second := tracer(t, collector)
	again := startWith(t, app.Options{Tracing: second}, quiet, lasting)
	list := again.call("GET", again.relay+"/v1/callbacks", "", 200)["data"].([]any)
	again.call("POST", again.relay+"/v1/callbacks/"+list[0].(map[string]any)["id"].(string)+"/redeliver", "", 202)
	var got string
	select {
	case got = <-parents:
	case <-time.After(patience):
		t.Fatal("the callback is never delivered")
	}
	again.stop()
	if err := second.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	trace, _ := tracing.Of(id)
	if !strings.HasPrefix(got, "00-"+trace.String()+"-") {
		t.Errorf("the backend got traceparent %q, want one of trace %s", got, trace)
	}
	spans := collector.named("callback")
	if before == 0 || len(spans) <= before {
		t.Errorf("%d spans of callbacks, %d before the restart; want some before and more after it", len(spans), before)
	}
	for _, span := range spans {
		if hex.EncodeToString(span.GetTraceId()) != trace.String() {
			t.Errorf("a callback is of trace %x, want %s", span.GetTraceId(), trace)
		}
	}
}

func TestTraces_noneByDefault(t *testing.T) {
	t.Parallel()
	s := startWith(t, app.Options{}, func(r *http.Request) {
		if got := r.Header.Get("Traceparent"); got != "" {
			t.Errorf("%s came with traceparent %q", r.URL.Path, got)
		}
	})
	_, reference, _ := s.pay()
	s.set(reference, `{"status":"COMPLETED"}`)
	if got := s.callback().header.Get("Traceparent"); got != "" {
		t.Errorf("the callback came with traceparent %q", got)
	}
}
