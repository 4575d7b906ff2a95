package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

var (
	errDown    = errors.New("connection refused")
	errNeutral = context.Canceled
)

// call makes a call that ends with err, and reports whether it was let through.
func call(b *fallback.Breaker, err error) (sent bool) {
	_ = b.Do(dollr.NewTicket(dollr.UrgentYoung), func() error {
		sent = true
		return err
	})
	return sent
}

func TestBreaker_whatCounts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault dollrtest.Fault
		want  bool
	}{
		{"500", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 500}, true},
		{"502", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 502}, true},
		{"503", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 503}, true},
		{"no connection", dollrtest.Fault{Kind: dollrtest.FaultDrop}, true},
		{"time-out", dollrtest.Fault{Kind: dollrtest.FaultHang}, true},
		{"HTML", dollrtest.Fault{Kind: dollrtest.FaultHTML}, true},
		{"empty", dollrtest.Fault{Kind: dollrtest.FaultEmpty}, true},
		{"redirect", dollrtest.Fault{Kind: dollrtest.FaultRedirect, Location: "/"}, true},
		{"another payment", dollrtest.Fault{Kind: dollrtest.FaultAnotherID}, true},
		{"400", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 400}, false},
		{"401", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 401}, false},
		{"403", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 403}, false},
		{"404", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 404}, false},
		{"422", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 422}, false},
		{"429", dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 429}, false},
		{"unknown word", dollrtest.Fault{Kind: dollrtest.FaultBody, Body: `{"reference_id":"` + ref + `","status":"NEW"}`}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, client := start(t)
				tt.fault.Endpoint = dollrtest.AnyStatus
				addFault(t, srv, tt.fault)
				_, err := client.Status(t.Context(), subject(0), nil)
				if got := fallback.Counts(err); got != tt.want {
					t.Errorf("Counts(%v) = %t, want %t", err, got, tt.want)
				}
			})
		})
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{context.Canceled, false},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), false},
		{dollr.ErrBadSubject, false},
		{errDown, true},
	} {
		if got := fallback.Counts(tt.err); got != tt.want {
			t.Errorf("Counts(%v) = %t, want %t", tt.err, got, tt.want)
		}
	}
}

func TestBreaker_opensAfterFiveInARowForTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := fallback.NewBreaker(nil)
		for _, err := range []error{errDown, errDown, errDown, errDown, nil, errDown, errDown, errNeutral, errDown, errNeutral, errDown} {
			call(b, err)
		}
		if got := b.State(); got != fallback.Closed {
			t.Fatalf("State() = %s after four failures in a row, want closed", got)
		}
		call(b, errDown)
		if got := b.State(); got != fallback.Open {
			t.Fatalf("State() = %s after five failures in a row with neutral ones between, want open", got)
		}
		if got := b.RetryAfter(); got < 10*time.Second || got > 10*time.Second+10*time.Millisecond {
			t.Errorf("RetryAfter() = %s, want 10s", got)
		}
		time.Sleep(9999 * time.Millisecond)
		if call(b, nil) {
			t.Error("a call was let through after 9.999 s, want none for 10 s")
		}
		time.Sleep(b.RetryAfter())
		if got := b.State(); got != fallback.HalfOpen {
			t.Errorf("State() = %s after RetryAfter(), want half-open", got)
		}
	})
}

func TestBreaker_oneProbeDecides(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		probe error
		want  fallback.State
	}{
		{"success closes", nil, fallback.Closed},
		{"failure opens", errDown, fallback.Open},
		{"neutral decides nothing", errNeutral, fallback.HalfOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := fallback.NewBreaker(nil)
				for range 5 {
					call(b, errDown)
				}
				time.Sleep(b.RetryAfter())
				err := b.Do(dollr.NewTicket(dollr.UrgentYoung), func() error {
					if call(b, nil) {
						t.Error("a second call was let through beside the probe")
					}
					if got := b.RetryAfter(); got <= 0 {
						t.Errorf("RetryAfter() = %s while the probe is under way, want above zero", got)
					}
					return tt.probe
				})
				if !errors.Is(err, tt.probe) {
					t.Errorf("Do() = %v, want the call's own %v", err, tt.probe)
				}
				if got := b.State(); got != tt.want {
					t.Errorf("State() = %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestBreaker_refusesAtTheSecondStepWhatWaitedWhileItOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := fallback.NewBreaker(nil)
		queued, err := b.Admit()
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			call(b, errDown)
		}
		err = queued.Begin()
		open, ok := errors.AsType[*fallback.OpenError](err)
		if !ok || !errors.Is(err, fallback.ErrOpen) || open.RetryAfter < 9*time.Second {
			t.Errorf("Begin() = %v, want ErrOpen with 10 s to wait", err)
		}
		queued.End(errDown)
	})
}

// TestBreaker_refusesWhatQueuedAgainWhileItOpened is about calls that began, and then had to wait for a token.
func TestBreaker_refusesWhatQueuedAgainWhileItOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := fallback.NewBreaker(nil)
		pass, err := b.Admit()
		if err := errors.Join(err, pass.Begin(), pass.Begin()); err != nil {
			t.Fatalf("Begin() = %v, want nil, and again while nothing has changed", err)
		}
		for range 5 {
			call(b, errDown)
		}
		if err := pass.Begin(); !errors.Is(err, fallback.ErrOpen) {
			t.Errorf("Begin() = %v after the breaker has opened, want ErrOpen", err)
		}
		time.Sleep(b.RetryAfter())
		if err := pass.Begin(); err != nil {
			t.Errorf("Begin() = %v after the open time, want leave to be the probe", err)
		}
		if call(b, nil) {
			t.Error("a second call was let through beside the probe")
		}
		pass.End(nil)
		if got := b.State(); got != fallback.Closed {
			t.Errorf("State() = %s after the probe, want closed", got)
		}
	})
}

func TestBreaker_tellsChangesInOrderOutsideOfItsLocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *fallback.Breaker
		var told []string
		b = fallback.NewBreaker(func(from, to fallback.State) {
			told = append(told, fmt.Sprintf("%s→%s", from, to))
			b.State() // would hang under a lock
			b.RetryAfter()
		})
		for range 5 {
			call(b, errDown)
		}
		time.Sleep(b.RetryAfter())
		call(b, errDown)
		time.Sleep(b.RetryAfter())
		call(b, nil)
		want := []string{"closed→open", "open→half-open", "half-open→open", "open→half-open", "half-open→closed"}
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestBreaker_panicIsAFailure(t *testing.T) {
	t.Parallel()
	b := fallback.NewBreaker(nil)
	for range 5 {
		func() {
			defer func() { _ = recover() }()
			_ = b.Do(dollr.NewTicket(dollr.UrgentYoung), func() error { panic("bug") })
		}()
	}
	if got := b.State(); got != fallback.Open {
		t.Errorf("State() = %s after five panics, want open", got)
	}
}

// TestBreaker_refusesThoseWhoWaited has many calls queue for the budget while the first of them fail.
func TestBreaker_refusesThoseWhoWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, c := start(t)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.RealtimeKey, Code: 500})
		b := fallback.NewBreaker(nil)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ticket := dollr.NewTicket(dollr.UrgentYoung)
				_ = b.Do(ticket, func() error {
					_, err := c.RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 1, SourceType: "INVOICE", ReferenceID: ref}, ticket)
					return err
				})
			})
		}
		all.Wait()
		if n := srv.Count(dollrtest.RealtimeKey); n < 5 || n > 25 {
			t.Errorf("%d requests were sent to an endpoint that fails, want the 5 that open the breaker and those under way with them", n)
		}
	})
}
