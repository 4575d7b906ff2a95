package tracing

import (
	"context"
	"crypto/rand"
	"crypto/sha256"

	"go.opentelemetry.io/otel/trace"
)

// Of is the trace of a payment and the span of its registration. Both are bytes of a hash of the payment's id,
// which is as good as random where a sampler looks at them.
func Of(payment string) (trace.TraceID, trace.SpanID) {
	sum := sha256.Sum256([]byte("dollr-relay trace of " + payment))
	return trace.TraceID(sum[:16]), trace.SpanID(sum[16:24])
}

// rootKey is where a context carries the span context that a new root is to have.
type rootKey struct{}

// identities makes span ids: random ones, but for the registration of a payment.
type identities struct{}

// NewIDs implements [sdk.IDGenerator]. Only registrations are new roots.
func (i identities) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if root, ok := ctx.Value(rootKey{}).(trace.SpanContext); ok {
		return root.TraceID(), root.SpanID()
	}
	var id trace.TraceID
	_, _ = rand.Read(id[:]) // never fails
	return id, i.NewSpanID(ctx, id)
}

// NewSpanID implements [sdk.IDGenerator].
func (identities) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	_, _ = rand.Read(id[:]) // never fails, and is not zero once in 2^64
	return id
}
