package dollr_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

// subject number n, so that the order of arrival can be read from the log.
func subject(n int) dollr.Subject {
	id := uuid.UUID{15: byte(n), 14: byte(n >> 8), 6: 0x40, 8: 0x80}
	return dollr.Subject{Operation: dollr.Collection, ReferenceID: id.String()}
}

// crowd puts questions and waits for all of them.
type crowd struct {
	c   *dollr.Client
	all sync.WaitGroup
}

func (q *crowd) ask(ctx context.Context, s dollr.Subject, ticket *dollr.Ticket) {
	q.all.Go(func() { _, _ = q.c.Status(ctx, s, ticket) })
}

// slow returns a client of one request per second, with its burst used up.
func slow(t *testing.T, srv *dollrtest.Running) *dollr.Client {
	t.Helper()
	put(t, srv, "PENDING")
	c := newClient(t, srv, func(o *dollr.Options) { o.Rate = 1 })
	ask(t, c) // takes the token and the question, which is the burst
	srv.ForgetRequests()
	return c
}

// numbers returns the numbers of the subjects in the order in which they arrived.
func numbers(srv *dollrtest.Running) []int {
	var all []int
	for _, r := range srv.Requests() {
		if r.Endpoint == dollrtest.Collection {
			id := uuid.MustParse(r.Path[strings.LastIndex(r.Path, "/")+1:])
			all = append(all, int(id[15])|int(id[14])<<8)
		}
	}
	return all
}

func TestBudget_rateAndBurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		q := crowd{c: newClient(t, srv, nil)}
		start := time.Now()
		for range 119 {
			q.ask(t.Context(), collection(), nil)
		}
		q.all.Wait()
		// With the token 120 requests and those questions that had to queue twice for it: 20 at once, then 10 per second.
		perSecond := map[int]int{}
		for _, r := range srv.Requests() {
			perSecond[int(r.At.Sub(start)/time.Second)]++
		}
		if perSecond[0] > 30 || perSecond[1] > 11 || perSecond[5] < 9 || perSecond[5] > 11 {
			t.Errorf("requests per second %v, want at most 20+10, then 10", perSecond)
		}
		if took := time.Since(start); took < 9*time.Second || took > 13*time.Second {
			t.Errorf("120 requests took %s, want about 10 s", took)
		}
	})
}

func TestBudget_mostUrgentFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		q := crowd{c: slow(t, srv)}
		for _, u := range []dollr.Urgency{dollr.UrgentOld, dollr.UrgentAudit, dollr.UrgentYoung, dollr.UrgentPage, dollr.UrgentPageKey, dollr.UrgentVerify} {
			q.ask(t.Context(), subject(int(u)), dollr.NewTicket(u))
			synctest.Wait()
		}
		q.all.Wait()
		if got, want := numbers(srv), []int{0, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
			t.Errorf("asked in the order %v, want %v", got, want)
		}
	})
}

func TestBudget_aRaisedTicketOvertakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		q := crowd{c: slow(t, srv)}
		tickets := make([]*dollr.Ticket, 5)
		for i := range tickets {
			tickets[i] = dollr.NewTicket(dollr.UrgentOld)
			q.ask(t.Context(), subject(i), tickets[i])
			synctest.Wait()
		}
		tickets[3].Raise(dollr.UrgentVerify)
		tickets[2].Raise(dollr.UrgentPage)
		tickets[3].Raise(dollr.UrgentOld) // lowers nothing
		q.all.Wait()
		if got, want := numbers(srv), []int{3, 2, 0, 1, 4}; !slices.Equal(got, want) {
			t.Errorf("asked in the order %v, want %v", got, want)
		}
	})
}

func TestBudget_nobodyStarves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		q := crowd{c: slow(t, srv)}
		q.ask(t.Context(), subject(999), dollr.NewTicket(dollr.UrgentOld))
		synctest.Wait()
		for i := range 40 {
			q.ask(t.Context(), subject(i), dollr.NewTicket(dollr.UrgentPage))
		}
		q.all.Wait()
		if at := slices.Index(numbers(srv), 999); at < 1 || at > 8 {
			t.Errorf("the least urgent question was number %d behind 40 urgent ones, want it among the first 8, but not the first", at)
		}
	})
}

func TestBudget_waitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		c := slow(t, srv)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := c.Status(ctx, collection(), nil)
		wantReason(t, err, "")
		if got := time.Since(start); got != 100*time.Millisecond {
			t.Errorf("waited %s, want 100ms", got)
		}
		if n := srv.Count(""); n != 0 {
			t.Errorf("%d requests were sent, want 0", n)
		}
		start = time.Now()
		ask(t, c)
		if got := time.Since(start); got > time.Second {
			t.Errorf("the next question waited %s, want at most 1s: who gave up must not use up a turn", got)
		}
	})
}

func TestBudget_theLastCheckEndsACallBeforeItIsSent(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	ticket := dollr.NewTicket(dollr.UrgentPage)
	refusal := fmt.Errorf("not now")
	ticket.OnTurn(func() error { return refusal })
	if _, err := newClient(t, srv, nil).Status(t.Context(), collection(), ticket); err != refusal { //nolint:errorlint // as it is
		t.Errorf("Status() = %v, want the check's own error", err)
	}
	if n := srv.Count(""); n != 0 {
		t.Errorf("%d requests were sent, want 0", n)
	}
}

// TestBudget_theLastCheckIsMadeAgain has a call queue again after it has fetched the token.
func TestBudget_theLastCheckIsMadeAgain(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	ticket, checks := dollr.NewTicket(dollr.UrgentPage), 0
	refusal := errors.New("not any more")
	ticket.OnTurn(func() error {
		if checks++; checks > 1 {
			return refusal
		}
		return nil
	})
	if _, err := newClient(t, srv, nil).Status(t.Context(), collection(), ticket); err != refusal { //nolint:errorlint // as it is
		t.Errorf("Status() = %v, want the second check's own error", err)
	}
	if n := srv.Count(""); n != 1 {
		t.Errorf("%d requests were sent, want only the one for a token", n)
	}
}

func TestBudget_429HoldsEverybody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		retryAfter func() string
		want       time.Duration
	}{
		{"seconds", func() string { return "30" }, 30 * time.Second},
		{"a date", func() string { return time.Now().Add(45 * time.Second).UTC().Format(http.TimeFormat) }, 45 * time.Second},
		{"an hour counts as five minutes", func() string { return "3600" }, 5 * time.Minute},
		{"a year's date counts as five minutes", func() string { return "Fri, 31 Dec 2060 23:59:59 GMT" }, 5 * time.Minute},
		{"none", func() string { return "" }, time.Second},
		{"nonsense", func() string { return "soon" }, time.Second},
		{"negative", func() string { return "-5" }, time.Second},
		{"huge", func() string { return "99999999999999999" }, 5 * time.Minute},
		{"too huge for an integer", func() string { return "99999999999999999999999" }, 5 * time.Minute},
		{"a fraction", func() string { return "60.5" }, time.Minute},
		{"a proxy added its own", func() string { return "60, 60" }, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dollrtest.Start(t, dollrtest.Options{})
				put(t, srv, "PENDING")
				c := newClient(t, srv, nil)
				ask(t, c)
				addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 429, RetryAfter: tt.retryAfter(), Times: 1})
				start := time.Now()
				_, err := c.Status(t.Context(), collection(), nil)
				failure := wantError(t, err, dollr.ReasonRateLimited)
				if got := failure.RetryAfter(); got != tt.want {
					t.Errorf("RetryAfter() = %s, want %s", got, tt.want)
				}
				srv.RevokeTokens()
				srv.ForgetRequests()
				var all sync.WaitGroup
				all.Go(func() { ask(t, c) })
				all.Go(func() {
					_, err := c.RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 1, SourceType: "ORDER", ReferenceID: ref}, dollr.NewTicket(dollr.UrgentPageKey))
					if err != nil {
						t.Errorf("RealtimeKey() = %v, want a key", err)
					}
				})
				all.Go(func() { _ = c.CheckCredentials(t.Context()) })
				all.Wait()
				if first := srv.Requests()[0]; first.At.Sub(start) < tt.want {
					t.Errorf("a %s request left after %s, want none for %s", first.Endpoint, first.At.Sub(start), tt.want)
				}
			})
		})
	}
}

// TestBudget_429HoldsWhateverItsBody has bodies that cannot be read to their end: the code and the header have said it all.
func TestBudget_429HoldsWhateverItsBody(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]func(ctx context.Context) io.Reader{
		"cut off": func(context.Context) io.Reader {
			return io.MultiReader(strings.NewReader(`{"detail":`), iotest.ErrReader(io.ErrUnexpectedEOF))
		},
		"over 1 MiB": func(context.Context) io.Reader { return strings.NewReader(strings.Repeat(" ", 2<<20)) },
		"never ends": func(ctx context.Context) io.Reader { return silence{ctx} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := transportClient(t, io.Discard, func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(anyToken)), Request: r}, nil
					}
					return &http.Response{
						StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}},
						Body: io.NopCloser(body(r.Context())), Request: r,
					}, nil
				})
				_, err := c.Status(t.Context(), collection(), nil)
				failure := wantError(t, err, dollr.ReasonRateLimited)
				if failure.CountsForBreaker() || failure.RetryAfter() != time.Minute || c.Held() != time.Minute {
					t.Errorf("counts for the breaker %t, RetryAfter() = %s, Held() = %s, want false and a minute",
						failure.CountsForBreaker(), failure.RetryAfter(), c.Held())
				}
			})
		})
	}
}

// silence is a body of which nothing comes until the question is given up.
type silence struct{ ctx context.Context } //nolint:containedctx // it is the request's

func (s silence) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestBudget_withoutRetryAfterThePauseDoubles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		c := newClient(t, srv, nil)
		ask(t, c)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 429})
		var got []time.Duration
		for range 9 {
			_, err := c.Status(t.Context(), collection(), nil)
			got = append(got, wantError(t, err, dollr.ReasonRateLimited).RetryAfter())
		}
		var want []time.Duration
		for _, seconds := range []float64{1, 2, 4, 8, 16, 32, 64, 64, 64} {
			want = append(want, time.Duration(seconds*1e9))
		}
		if !slices.Equal(got, want) {
			t.Errorf("pauses %v, want %v", got, want)
		}
		srv.ClearFaults()
		ask(t, c)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 429})
		_, err := c.Status(t.Context(), collection(), nil)
		if got := wantError(t, err, dollr.ReasonRateLimited).RetryAfter(); got != time.Second {
			t.Errorf("after an answer the pause is %s, want 1s again", got)
		}
	})
}

func TestBudget_429HalvesTheRateOnceAndItRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		c := newClient(t, srv, nil)
		ask(t, c)
		time.Sleep(10 * time.Second)
		// Ten on their way at the same moment are one wave.
		addFault(t, srv, dollrtest.Fault{
			Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 429, RetryAfter: "10", Times: 10, Delay: time.Second,
		})
		q := crowd{c: c}
		for range 10 {
			q.ask(t.Context(), collection(), nil)
		}
		q.all.Wait()
		time.Sleep(10 * time.Second)
		srv.ForgetRequests()
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second)
		defer cancel()
		for range 40 {
			q.all.Go(func() {
				for ctx.Err() == nil {
					_, _ = c.Status(ctx, collection(), nil)
				}
			})
		}
		start := time.Now()
		q.all.Wait()
		perTenSeconds := make([]int, 7)
		for _, r := range srv.Requests() {
			if i := int(r.At.Sub(start) / (10 * time.Second)); i < len(perTenSeconds) {
				perTenSeconds[i]++
			}
		}
		for i, want := range []int{50, 60, 70, 80, 90, 100, 100} {
			if got := perTenSeconds[i]; got < want-3 || got > want+3 {
				t.Errorf("requests per 10 s after the 429: %v, want about 50 60 70 80 90 100 100", perTenSeconds)
				break
			}
		}
	})
}

func TestBudget_429ForTheTokenIsNoRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.Token, Code: 429, RetryAfter: "7", Times: 1})
		c := newClient(t, srv, nil)
		_, err := c.Status(t.Context(), collection(), nil)
		wantReason(t, err, dollr.ReasonRateLimited)
		if got := c.Held(); got != 7*time.Second {
			t.Errorf("Held() = %s, want 7s", got)
		}
		start := time.Now()
		ask(t, c)
		if got := time.Since(start); got < 7*time.Second || got > 8*time.Second {
			t.Errorf("the next question was answered after %s, want 7 to 8 s", got)
		}
	})
}
