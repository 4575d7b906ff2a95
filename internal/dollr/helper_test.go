package dollr_test

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

const ref = "550e8400-e29b-41d4-a716-446655440000"

// collection is the subject that most tests ask about.
func collection() dollr.Subject {
	return dollr.Subject{Operation: dollr.Collection, ReferenceID: ref}
}

// put creates the collection with a status.
func put(t *testing.T, srv *dollrtest.Running, status string) {
	t.Helper()
	err := srv.Put(dollrtest.Payment{
		Operation: dollrtest.Collection, ReferenceID: ref, Status: status,
		PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "250.00", PayeeCurrency: "USD",
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newClient is a client of srv that logs into nothing unless edit says otherwise.
func newClient(t *testing.T, srv *dollrtest.Running, edit func(*dollr.Options)) *dollr.Client {
	t.Helper()
	opts := srv.ClientOptions()
	opts.Logger = slog.New(slog.DiscardHandler)
	if edit != nil {
		edit(&opts)
	}
	c, err := dollr.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addFault(t *testing.T, srv *dollrtest.Running, f dollrtest.Fault) {
	t.Helper()
	if err := srv.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// wantError fails the test unless err is an Error with that reason, and returns it.
func wantError(t *testing.T, err error, reason string) *dollr.Error {
	t.Helper()
	failure, ok := errors.AsType[*dollr.Error](err)
	if !ok {
		t.Fatalf("error is %v, want a *dollr.Error with reason %q", err, reason)
	}
	if failure.Reason() != reason {
		t.Fatalf("reason is %q (%v), want %q", failure.Reason(), err, reason)
	}
	return failure
}

// wantReason is wantError for those who need no more of it.
func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	_ = wantError(t, err, reason)
}

// syncBuffer is a log that goroutines may write to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
