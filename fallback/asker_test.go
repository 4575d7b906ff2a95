package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

const ref = "550e8400-e29b-41d4-a716-446655440000"

// subject is one of 256 collections; number 0 is ref.
func subject(n byte) dollr.Subject {
	return dollr.Subject{Operation: dollr.Collection, ReferenceID: fmt.Sprintf("%s%02x", ref[:34], n)}
}

func question(n byte, via string, u dollr.Urgency) fallback.Question {
	return fallback.Question{ID: fmt.Sprintf("pay_%d", n), Subject: subject(n), Via: via, Urgency: u}
}

// start runs the Dollr stand-in and returns a client of it with room for every request.
func start(t *testing.T) (*dollrtest.Running, *dollr.Client) {
	t.Helper()
	srv := dollrtest.Start(t, dollrtest.Options{})
	for n := range byte(50) {
		if err := srv.Put(dollrtest.Payment{Operation: dollrtest.Collection, ReferenceID: subject(n).ReferenceID, Status: "PENDING"}); err != nil {
			t.Fatal(err)
		}
	}
	opts := srv.ClientOptions()
	opts.Logger = slog.New(slog.DiscardHandler)
	c, err := dollr.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return srv, c
}

func addFault(t *testing.T, srv *dollrtest.Running, f dollrtest.Fault) {
	t.Helper()
	if err := srv.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// ledger is a settle function that keeps what it was called with.
type ledger struct {
	mu      sync.Mutex
	entries []string
}

func (l *ledger) settle(ctx context.Context, q fallback.Question, s dollr.Status, err error) (string, error) {
	if ctx.Err() != nil {
		return "", errors.New("settle was given a context that has ended")
	}
	word := s.Word
	if failure, ok := errors.AsType[*dollr.Error](err); ok {
		word = failure.Reason()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, q.ID+" "+q.Via+" "+word)
	return word, nil
}

func (l *ledger) want(t *testing.T, entries ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.entries, entries) {
		t.Errorf("settled %q, want %q", l.entries, entries)
	}
}

// run starts an Asker, which ends with the returned function or the test.
func run(t *testing.T, source fallback.StatusSource, l *ledger, opts fallback.AskerOptions) (*fallback.Asker[string], func()) {
	t.Helper()
	a := fallback.NewAsker(source, l.settle, opts)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	stop := func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return a, stop
}

func TestAsker_answersAreSettledBeforeTheyAreGiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, client := start(t)
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		got := a.Ask(t.Context(), question(0, "verify", dollr.UrgentVerify))
		if got.Value != "PENDING" || got.Err != nil || got.Joined {
			t.Errorf("Ask() = %+v, want PENDING, not joined", got)
		}
		l.want(t, "pay_0 verify PENDING")
	})
}

func TestAsker_laterAskersJoinTheOneInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.AnyStatus, Delay: 2 * time.Second})
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		var all sync.WaitGroup
		all.Go(func() { a.Ask(t.Context(), question(0, "poll", dollr.UrgentOld)) })
		time.Sleep(time.Second)
		for range 20 {
			all.Go(func() {
				got := a.Ask(t.Context(), question(0, "verify", dollr.UrgentVerify))
				if got.Value != "PENDING" || !got.Joined {
					t.Errorf("Ask() = %+v, want PENDING, joined", got)
				}
			})
		}
		all.Wait()
		if n := srv.Count(dollrtest.AnyStatus); n != 1 {
			t.Errorf("Dollr was asked %d times, want once", n)
		}
		if n := len(l.entries); n != 1 {
			t.Errorf("settled %d times, want once", n)
		}
	})
}

func TestAsker_whoJoinsInTheQueueGetsAFreshAnswerAndRaisesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		var all sync.WaitGroup
		for n := range byte(40) { // 20 leave at once, the others queue
			all.Go(func() { a.Ask(t.Context(), question(n, "poll", dollr.UrgentOld)) })
			synctest.Wait()
		}
		asked := srv.Count(dollrtest.AnyStatus)
		got := a.Ask(t.Context(), question(39, "verify", dollr.UrgentVerify))
		if got.Joined || got.Value != "PENDING" {
			t.Errorf("Ask() = %+v, want PENDING and Joined false: it was not sent yet", got)
		}
		if n := srv.Count(dollrtest.AnyStatus) - asked; n != 1 {
			t.Errorf("%d questions went first, want the raised one to be the next", n-1)
		}
		all.Wait()
		if !slices.Contains(l.entries, "pay_39 verify PENDING") {
			t.Errorf("settled %q, want pay_39 via verify, the more urgent reason", l.entries)
		}
	})
}

func TestAsker_aHintDuringAQuestionCausesOneMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.AnyStatus, Delay: 2 * time.Second})
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		a.AskAgain(question(0, "poll", dollr.UrgentOld)) // nothing in flight: asks now
		time.Sleep(time.Second)
		for range 5 {
			a.AskAgain(question(0, "verify", dollr.UrgentVerify))
		}
		time.Sleep(10 * time.Second)
		l.want(t, "pay_0 poll PENDING", "pay_0 verify PENDING")
	})
}

func TestAsker_theEndOfAnAskersContextEndsOnlyItsWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.AnyStatus, Delay: 2 * time.Second})
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := a.Ask(ctx, question(0, "verify", dollr.UrgentVerify)); !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("Ask() = %+v, want the context's error", got)
		}
		time.Sleep(2 * time.Second)
		l.want(t, "pay_0 verify PENDING")
	})
}

func TestAsker_U13_U15_failuresAreSettledToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		got := a.Ask(t.Context(), question(200, "poll", dollr.UrgentOld))
		if failure, ok := errors.AsType[*dollr.Error](got.Err); !ok || failure.Reason() != dollr.ReasonNotFound || got.Value != "not_found" {
			t.Errorf("Ask() = %+v, want settle's value beside Dollr's 404", got)
		}
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 500})
		a.Ask(t.Context(), question(0, "poll", dollr.UrgentOld))
		l.want(t, "pay_200 poll not_found", "pay_0 poll unreachable")
	})
}

func TestAsker_openBreakerSendsNothingAndSettlesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		l := &ledger{}
		var refused, told []string
		a, _ := run(t, client, l, fallback.AskerOptions{
			OnChange:  func(from, to fallback.State) { told = append(told, fmt.Sprintf("%s→%s", from, to)) },
			OnRefused: func(q fallback.Question) { refused = append(refused, q.ID+" "+q.Via) },
		})
		a.Ask(t.Context(), question(0, "poll", dollr.UrgentOld))
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 503})
		for n := range byte(5) {
			a.Ask(t.Context(), question(n, "poll", dollr.UrgentOld))
		}
		srv.ForgetRequests()
		settled := len(l.entries)
		for range 9 {
			got := a.Ask(t.Context(), question(0, "verify", dollr.UrgentVerify))
			open, ok := errors.AsType[*fallback.OpenError](got.Err)
			if !ok || open.RetryAfter <= 0 || open.RetryAfter > 11*time.Second {
				t.Errorf("Ask() = %+v, want an OpenError with the rest of 10 s", got)
			}
			time.Sleep(time.Second)
		}
		a.AskAgain(question(1, "verify", dollr.UrgentVerify))
		synctest.Wait()
		if want := []string{"pay_1 verify"}; !slices.Equal(refused, want) {
			t.Errorf("OnRefused heard of %q, want %q: only of those that nobody waits for", refused, want)
		}
		if n := srv.Count(""); n != 0 || len(l.entries) != settled {
			t.Errorf("open: %d requests, %d settled, want none", n, len(l.entries)-settled)
		}

		srv.ClearFaults()
		time.Sleep(a.RetryAfter())
		var all sync.WaitGroup
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.AnyStatus, Delay: time.Second, Times: 1})
		for n := range byte(10) {
			all.Go(func() { a.Ask(t.Context(), question(n, "poll", dollr.UrgentYoung)) })
		}
		all.Wait()
		if n := srv.Count(dollrtest.AnyStatus); n != 1 {
			t.Errorf("half-open: %d questions were sent, want a single probe", n)
		}
		if got := a.State(); got != fallback.Closed {
			t.Errorf("State() = %s after a good probe, want closed", got)
		}
		if want := []string{"closed→open", "open→half-open", "half-open→closed"}; !slices.Equal(told, want) {
			t.Errorf("OnChange heard %q, want %q", told, want)
		}
	})
}

func TestAsker_questionsThatQueuedWhileItOpenedAreNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		l := &ledger{}
		a, _ := run(t, client, l, fallback.AskerOptions{})
		a.Ask(t.Context(), question(0, "poll", dollr.UrgentOld))
		time.Sleep(5 * time.Second) // the burst is full again: 20 leave at once
		srv.ForgetRequests()
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 500})
		var all sync.WaitGroup
		for n := range byte(50) {
			all.Go(func() { a.Ask(t.Context(), question(n, "poll", dollr.UrgentOld)) })
		}
		all.Wait()
		if n := srv.Count(dollrtest.AnyStatus); n > 20 {
			t.Errorf("%d questions were sent, want at most the 20 that left before the breaker opened", n)
		}
	})
}

// plain is a source that knows nothing of tickets.
type plain struct{ err error }

func (p plain) Status(context.Context, dollr.Subject, *dollr.Ticket) (dollr.Status, error) {
	return dollr.Status{Word: "PENDING"}, p.err
}

func TestAsker_countsSourcesThatDoNotAskTheTicket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := run(t, plain{errDown}, &ledger{}, fallback.AskerOptions{})
		for range 5 {
			a.Ask(t.Context(), question(0, "poll", dollr.UrgentOld))
		}
		if got := a.State(); got != fallback.Open {
			t.Errorf("State() = %s after five failures, want open", got)
		}
	})
}

func TestAsker_tellsWhenAQuestionWasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, client := start(t)
		var sent []time.Duration
		begun := time.Now()
		a := fallback.NewAsker(client, func(_ context.Context, q fallback.Question, _ dollr.Status, _ error) (string, error) {
			sent = append(sent, q.SentAt.Sub(begun).Round(100*time.Millisecond))
			return "", nil
		}, fallback.AskerOptions{})
		var running, all sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() { _ = a.Run(ctx) })
		for n := range byte(40) { // 20 less one for the token leave at once, the others ten a second
			all.Go(func() { a.Ask(t.Context(), question(n, "poll", dollr.UrgentOld)) })
			synctest.Wait()
		}
		all.Wait()
		stop()
		running.Wait()
		if len(sent) != 40 || sent[0] != 0 || sent[39] < 1500*time.Millisecond {
			t.Errorf("sent after %v, want the first at once and the last after its wait for the budget", sent)
		}
	})
}

func TestAsker_theEndOfRunEndsEverythingAndSettlesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, client := start(t)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultHang, Endpoint: dollrtest.AnyStatus})
		l := &ledger{}
		a, stop := run(t, client, l, fallback.AskerOptions{})
		answers := make(chan fallback.Answer[string], 1)
		go func() { answers <- a.Ask(context.WithoutCancel(t.Context()), question(0, "poll", dollr.UrgentOld)) }()
		time.Sleep(time.Second)
		stop()
		if got := <-answers; !errors.Is(got.Err, fallback.ErrStopped) {
			t.Errorf("Ask() = %+v, want ErrStopped", got)
		}
		if got := a.Ask(t.Context(), question(0, "poll", dollr.UrgentOld)); !errors.Is(got.Err, fallback.ErrStopped) {
			t.Errorf("Ask() after the end = %+v, want ErrStopped", got)
		}
		a.AskAgain(question(0, "poll", dollr.UrgentOld))
		l.want(t)
		if got := a.State(); got != fallback.Closed {
			t.Errorf("State() = %s, want closed: our own cancellation is neutral", got)
		}
	})
}

func TestAsker_settleFinishesAfterRunsContextEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finished := false
		a := fallback.NewAsker(plain{}, func(ctx context.Context, _ fallback.Question, _ dollr.Status, _ error) (string, error) {
			time.Sleep(time.Second) // a commit that takes its time
			finished = ctx.Err() == nil
			return "", nil
		}, fallback.AskerOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = a.Run(ctx) })
		a.AskAgain(question(0, "poll", dollr.UrgentOld))
		synctest.Wait()
		cancel()
		running.Wait()
		if !finished {
			t.Error("Run returned before settle had finished, or with its context ended")
		}
	})
}

func TestAsker_questionsBeforeRunWaitForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		a := fallback.NewAsker(plain{}, l.settle, fallback.AskerOptions{})
		a.AskAgain(question(0, "register", dollr.UrgentYoung))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		l.want(t, "pay_0 register PENDING")
	})
}
