package app

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/tracing"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Traces are made where the parts meet, by wrappers of their interfaces, so that no part knows of them and none
// is slower without them. A payment's trace: registration, hint, question to Dollr, commit, callback attempt.

// tracedPayments makes the spans of what backends ask for.
type tracedPayments struct {
	api.Payments

	traces *tracing.Tracing
	now    func() time.Time
}

// Register implements [api.Payments].
func (t tracedPayments) Register(ctx context.Context, g relay.Registration) (relay.Payment, bool, error) {
	caller, began := ctx, t.now()
	p, created, err := t.Payments.Register(ctx, g)
	if created { // only then it is the first span of the trace
		t.traces.Registered(caller, p.ID, began, t.now(), attribute.String("dollr_relay.operation", string(p.Operation)))
	}
	return p, created, err
}

// Verify implements [api.Payments].
func (t tracedPayments) Verify(ctx context.Context, id string, via relay.Via) (relay.Payment, error) {
	ctx, span := t.traces.Start(ctx, id, "verify", trace.SpanKindServer)
	p, err := t.Payments.Verify(ctx, id, via)
	tracing.End(span, askProblem(err))
	return p, err
}

// askProblem is a bounded word for why a question brought nothing.
func askProblem(err error) string {
	var asked *relay.AskError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &asked):
		return asked.Reason
	case errors.Is(err, relay.ErrNotFound):
		return "unknown payment"
	default:
		return "failed"
	}
}

// tracedStore makes the spans of commits.
type tracedStore struct {
	relay.Store

	traces *tracing.Tracing
}

// Register implements [relay.Store].
func (t tracedStore) Register(ctx context.Context, id string, decide func(*relay.Payment) (relay.Payment, []relay.Effect, error)) (relay.Payment, bool, []relay.Effect, error) {
	ctx, span := t.traces.Start(ctx, id, "commit", trace.SpanKindInternal)
	p, created, effects, err := t.Store.Register(ctx, id, decide)
	endCommit(span, p, err)
	return p, created, effects, err
}

// Apply implements [relay.Store].
func (t tracedStore) Apply(ctx context.Context, id string, decide func(relay.Payment) (relay.Payment, []relay.Effect)) (relay.Payment, []relay.Effect, error) {
	ctx, span := t.traces.Start(ctx, id, "commit", trace.SpanKindInternal)
	p, effects, err := t.Store.Apply(ctx, id, decide)
	endCommit(span, p, err)
	return p, effects, err
}

func endCommit(span trace.Span, p relay.Payment, err error) {
	if err != nil {
		tracing.End(span, "not committed")
		return
	}
	span.SetAttributes(attribute.String("dollr_relay.outcome", string(p.Outcome)), attribute.String("dollr_relay.status", word(p.Status)),
		attribute.Int64("dollr_relay.version", p.Version), attribute.String("dollr_relay.via", string(p.Via)))
	tracing.End(span, "")
}

// tracedSource makes the spans of questions, waiting for their turn included.
type tracedSource struct {
	fallback.StatusSource

	traces *tracing.Tracing
}

// Status implements [fallback.StatusSource].
func (t tracedSource) Status(ctx context.Context, s dollr.Subject, ticket *dollr.Ticket) (dollr.Status, error) {
	ctx, span := t.traces.Start(ctx, s.Payment, "ask Dollr", trace.SpanKindClient, attribute.String("dollr_relay.operation", s.Operation))
	status, err := t.StatusSource.Status(ctx, s, ticket)
	if err == nil {
		span.SetAttributes(attribute.String("dollr_relay.status", word(status.Word)))
	}
	tracing.End(span, dollrProblem(span, err))
	return status, err
}

// dollrProblem is a bounded word for what Dollr, or the way to it, had against a request.
func dollrProblem(span trace.Span, err error) string {
	var known *dollr.Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &known):
		return "not sent" // the breaker is open, or the relay stops
	case known.Code != 0:
		span.SetAttributes(attribute.Int("http.response.status_code", known.Code))
	}
	if known.Reason() == "" {
		return "stopped"
	}
	return known.Reason()
}

// word is a status word as a span may hold it: it comes from outside, and a forged hint may say anything.
func word(text string) string { return strings.ToValidUTF8(text[:min(len(text), 64)], "") }

// tracedKeys makes the spans of the feed's realtime keys.
type tracedKeys struct {
	realtime.Keys

	traces *tracing.Tracing
}

// RealtimeKey implements [realtime.Keys].
func (t tracedKeys) RealtimeKey(ctx context.Context, target realtime.Target) (realtime.Key, error) {
	ctx, span := t.traces.Start(ctx, target.ID, "mint realtime key", trace.SpanKindClient)
	key, err := t.Keys.RealtimeKey(ctx, target)
	tracing.End(span, dollrProblem(span, err))
	return key, err
}

// hintTrace makes the span of a hint: what realtime said, and how long pages waited for it.
func (a *App) hintTrace(e realtime.Event) func() {
	if a.opts.Tracing == nil {
		return func() {}
	}
	_, span := a.opts.Tracing.Start(context.Background(), e.ID, "hint", trace.SpanKindConsumer, attribute.String("dollr_relay.hint", word(e.Status)))
	return func() { tracing.End(span, "") }
}

// attemptTrace makes the span of an attempt at a callback, and tells the backend of it.
func (a *App) attemptTrace() func(context.Context, callback.Delivery, http.Header) func(callback.Answer) {
	if a.opts.Tracing == nil {
		return nil
	}
	return func(ctx context.Context, d callback.Delivery, header http.Header) func(callback.Answer) {
		ctx, span := a.opts.Tracing.Start(ctx, d.PaymentID, "callback", trace.SpanKindProducer,
			attribute.String("dollr_relay.type", d.Type), attribute.String("dollr_relay.webhook_id", d.ID), attribute.Int("dollr_relay.attempt", d.Attempt))
		a.opts.Tracing.Inject(ctx, header)
		return func(answer callback.Answer) {
			problem := string(answer.Failure)
			if answer.Code != 0 {
				span.SetAttributes(attribute.Int("http.response.status_code", answer.Code))
				if answer.Code < 200 || answer.Code > 299 {
					problem = string(callback.Refused)
				}
			}
			tracing.End(span, problem)
		}
	}
}
