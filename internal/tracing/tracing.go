// Package tracing follows each payment in one OpenTelemetry trace, from its registration or a hint to the last
// attempt at its callback, and sends the spans to an OTLP collector over HTTP.
//
// Start at [New], which is nil unless a collector is configured. A payment's trace id is derived from the
// payment's id (see [Of]), so nothing about traces is stored: a restart, another replica or a callback that is
// repeated three days later goes on with the same trace.
package tracing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushWithin bounds what Shutdown waits for the collector.
const flushWithin = 3 * time.Second

// Options are what New needs beside the environment.
type Options struct {
	// Getenv reads OTEL_* variables: those of the exporter, the sampler and OTEL_SDK_DISABLED. The SDK reads
	// OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_* and the span limits by itself.
	Getenv  func(string) string
	Version string
	Logger  *slog.Logger
}

// Tracing makes spans. A nil one is not to be used: whoever wires it leaves it out then.
type Tracing struct {
	provider  *sdk.TracerProvider
	collector *collector
	tracer    trace.Tracer
	sampler   sdk.Sampler
	header    propagation.TraceContext
}

// New returns nil without an error if the environment names no collector, or switches traces off. Its error
// names every variable that is wrong. It sends nothing; the spans are sent in the background until [Tracing.Shutdown].
func New(ctx context.Context, opts Options) (*Tracing, error) {
	env := environment{get: opts.Getenv}
	if env.off() {
		return nil, nil //nolint:nilnil // off is no error, and there is nothing to return
	}
	collector, sampler := env.collector(opts.Logger), env.sampler()
	if err := errors.Join(env.problems...); err != nil {
		return nil, err
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "dollr-relay"), attribute.String("service.version", cmp.Or(opts.Version, "devel"))),
		resource.WithFromEnv(), // wins over the two above
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(otlptrace.NewUnstarted(collector)),
		sdk.WithResource(about), sdk.WithIDGenerator(identities{}), sdk.WithSampler(sdk.ParentBased(sampler)),
	)
	return &Tracing{provider: provider, collector: collector, tracer: provider.Tracer("dollr-relay"), sampler: sampler}, nil
}

// Shutdown sends what is left, within three seconds. Spans that end later are dropped.
func (t *Tracing) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// Probe sends an empty batch to see whether the collector can be reached and takes it.
func (t *Tracing) Probe(ctx context.Context) error {
	body, err := t.collector.encode(nil)
	if err == nil {
		_, err = t.collector.post(ctx, body)
	}
	return err
}

// Start begins a span in the trace of a payment: below ctx's own span if that is of the same trace, else below
// the payment's registration.
func (t *Tracing) Start(ctx context.Context, payment, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	root := t.root(payment)
	if trace.SpanContextFromContext(ctx).TraceID() != root.TraceID() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, root)
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(append(attrs, paymentKey.String(payment))...))
}

// Registered writes the first span of a payment's trace, to which all others belong. It links to the span of
// the merchant's backend, if ctx knows one.
func (t *Tracing) Registered(ctx context.Context, payment string, began, ended time.Time, attrs ...attribute.KeyValue) {
	root := t.root(payment)
	options := []trace.SpanStartOption{
		trace.WithNewRoot(), trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(append(attrs, paymentKey.String(payment))...),
	}
	if caller := trace.SpanContextFromContext(ctx); caller.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	_, span := t.tracer.Start(context.WithValue(ctx, rootKey{}, root), "register", options...)
	span.End(trace.WithTimestamp(ended))
}

// root is the span context of a payment's registration, whether or not that was traced.
func (t *Tracing) root(payment string) trace.SpanContext {
	id, span := Of(payment)
	flags := trace.TraceFlags(0)
	if t.sampler.ShouldSample(sdk.SamplingParameters{TraceID: id}).Decision == sdk.RecordAndSample {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true})
}

// Inject adds the traceparent header of ctx's span, if there is one.
func (t *Tracing) Inject(ctx context.Context, header http.Header) {
	t.header.Inject(ctx, propagation.HeaderCarrier(header))
}

// Accept reads the traceparent header of requests, so that a registration can link to the caller's span.
func (t *Tracing) Accept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") != "" {
			r = r.WithContext(t.header.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
		}
		next.ServeHTTP(w, r)
	})
}

// paymentKey is the attribute that every span has: the relay's id of the payment. Dollr's reference id, tokens,
// URLs and what people wrote are in no span.
const paymentKey = attribute.Key("dollr_relay.payment")

// End ends a span, as failed with a bounded word if problem is one.
func End(span trace.Span, problem string) {
	if problem != "" {
		span.SetStatus(codes.Error, problem)
	}
	span.End()
}
