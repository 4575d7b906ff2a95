package tracing_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/dollr-relay/dollr-relay/internal/tracing"
)

// traced makes a Tracing from variables; log hears of the collector.
func traced(t *testing.T, log io.Writer, env map[string]string) (*tracing.Tracing, error) {
	t.Helper()
	return tracing.New(t.Context(), tracing.Options{
		Getenv: func(name string) string { return env[name] }, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
}

func TestNew_offUnlessACollectorIsNamed(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, env := range []map[string]string{
		{},
		{"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "nonsense"},
		{endpoint: "http://localhost:4318", "OTEL_SDK_DISABLED": "true"},
		{endpoint: "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"},
	} {
		if got, err := traced(t, io.Discard, env); got != nil || err != nil {
			t.Errorf("New with %v = %v, %v; want nil, nil", env, got, err)
		}
	}
}

func TestNew_namesWhatIsWrong(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": "secret-without-name",
		"OTEL_EXPORTER_OTLP_TIMEOUT": "10s", "OTEL_EXPORTER_OTLP_COMPRESSION": "zip", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/nowhere.pem", "OTEL_TRACES_SAMPLER": "sometimes", "OTEL_TRACES_EXPORTER": "zipkin",
	}
	_, err := traced(t, io.Discard, wrong)
	if err == nil {
		t.Fatal("New() = nil, want an error")
	}
	for name := range wrong {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s:\n%v", name, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error quotes a header:\n%v", err)
	}
	_, err = traced(t, io.Discard, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"})
	if err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_SAMPLER_ARG") {
		t.Errorf("New with a share of 2 = %v, want an error that names the variable", err)
	}
}

// The collector is asked politely: it may be busy, and wants its headers.
func TestTracing_deliversToABusyCollector(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	got := make(chan *tracepb.TracesData, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if key := r.Header.Get("Api-Key"); key != "a b" || r.URL.Path != "/in" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s with api-key %q and %s, want /in with the configured key", r.URL.Path, key, r.Header.Get("Content-Type"))
		}
		packed, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Errorf("not gzip: %v", err)
			return
		}
		body, err := io.ReadAll(packed)
		if err != nil {
			t.Error(err)
		}
		data := &tracepb.TracesData{}
		if err := proto.Unmarshal(body, data); err != nil {
			t.Error(err)
		}
		got <- data
	}))
	t.Cleanup(collector.Close)
	traces, err := traced(t, io.Discard, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.URL + "/in", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b, x=y", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
	})
	if err != nil {
		t.Fatal(err)
	}
	_, span := traces.Start(t.Context(), "pay_1", "ask", trace.SpanKindClient)
	tracing.End(span, "refused")
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case data := <-got:
		text := data.String()
		for _, want := range []string{"pay_1", "ask", "refused", "dollr-relay", "STATUS_CODE_ERROR"} {
			if !strings.Contains(text, want) {
				t.Errorf("the spans lack %q: %s", want, text)
			}
		}
	default:
		t.Errorf("no span arrived after %d requests", asked.Load())
	}
}

func TestTracing_saysOnceThatTheCollectorIsAway(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	traces, err := traced(t, &log, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1/token-in-path", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=very-secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 { // several batches of 512
		_, span := traces.Start(t.Context(), fmt.Sprint("pay_", i), "ask", trace.SpanKindClient)
		span.End()
	}
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown() = %v, want nil: a lost trace is nobody's error", err)
	}
	if n := strings.Count(log.String(), "traces are dropped"); n != 1 {
		t.Errorf("it was said %d times, want once:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), "very-secret") || strings.Contains(log.String(), "token-in-path") {
		t.Errorf("the log holds the address or a header:\n%s", log.String())
	}
}

// A sampled trace is whole: the registration and what is done days later decide alike.
func TestTracing_samplesWholePayments(t *testing.T) {
	t.Parallel()
	traces, err := traced(t, io.Discard, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = traces.Shutdown(context.WithoutCancel(t.Context())) }()
	sampled := 0
	for i := range 1000 {
		payment := fmt.Sprint("pay_", i)
		first, span := traces.Start(t.Context(), payment, "hint", trace.SpanKindConsumer)
		header := http.Header{}
		traces.Inject(first, header)
		id, _ := tracing.Of(payment)
		if !strings.HasPrefix(header.Get("Traceparent"), "00-"+id.String()+"-"+span.SpanContext().SpanID().String()) {
			t.Fatalf("traceparent = %q, want that of the span in trace %s", header.Get("Traceparent"), id)
		}
		_, later := traces.Start(first, payment, "commit", trace.SpanKindInternal)
		if span.SpanContext().IsSampled() != later.SpanContext().IsSampled() {
			t.Fatalf("one span of %s is sampled, another is not", payment)
		}
		if span.SpanContext().IsSampled() {
			sampled++
		}
		later.End()
		span.End()
		traces.Registered(t.Context(), payment, time.Now(), time.Now())
	}
	if sampled < 400 || sampled > 600 { // the ids are fixed, so this is, too
		t.Errorf("%d of 1000 payments are sampled, want about half", sampled)
	}
}

// The ids are part of what operators may have noted: they do not change with a version.
func TestOf_isForEver(t *testing.T) {
	t.Parallel()
	id, span := tracing.Of("pay_duvgkmuxkp3fuvfds63uxysc")
	if got, want := id.String()+"-"+span.String(), "037e6d9da23fcf57099ae79523946fb5-07643a1d4c21cd07"; got != want {
		t.Errorf("Of() = %s, want %s", got, want)
	}
}
