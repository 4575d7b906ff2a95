package dollr_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

// ask asks for the collection and fails the test on an error.
func ask(t *testing.T, c *dollr.Client) {
	t.Helper()
	if _, err := c.Status(t.Context(), collection(), nil); err != nil {
		t.Errorf("Status() = %v, want an answer", err)
	}
}

func TestToken_livesMinutesAndIsRefreshedWithFiveLeft(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		life        time.Duration
		good, stale time.Duration // ages at which it is still used, and at which it is replaced
	}{
		{"an hour", time.Hour, 54 * time.Minute, 55 * time.Minute},
		{"eight minutes: at half", 8 * time.Minute, 3*time.Minute + 59*time.Second, 4 * time.Minute},
		{"one minute: at half", time.Minute, 29 * time.Second, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dollrtest.Start(t, dollrtest.Options{TokenLife: tt.life})
				put(t, srv, "PENDING")
				c := newClient(t, srv, nil)
				ask(t, c)
				time.Sleep(tt.good)
				ask(t, c)
				if n := srv.Count(dollrtest.Token); n != 1 {
					t.Errorf("%d tokens after %s, want 1", n, tt.good)
				}
				time.Sleep(tt.stale - tt.good)
				ask(t, c)
				if n := srv.Count(dollrtest.Token); n != 2 {
					t.Errorf("%d tokens after %s, want 2", n, tt.stale)
				}
			})
		})
	}
}

func TestToken_oneRefreshForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.Token, Delay: 3 * time.Second})
		c := newClient(t, srv, nil)
		var all sync.WaitGroup
		for range 15 {
			all.Go(func() { ask(t, c) })
		}
		all.Wait()
		if n := srv.Count(dollrtest.Token); n != 1 {
			t.Errorf("15 questions at once took %d tokens, want 1", n)
		}
	})
}

func TestToken_failureIsSharedAndCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.Token, Code: 503, Delay: time.Second})
		c := newClient(t, srv, nil)
		var mu sync.Mutex
		counted := 0
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				_, err := c.Status(t.Context(), collection(), nil)
				if wantError(t, err, dollr.ReasonUnreachable).CountsForBreaker() {
					mu.Lock()
					defer mu.Unlock()
					counted++
				}
			})
		}
		all.Wait()
		if n := srv.Count(dollrtest.Token); counted != n {
			t.Errorf("%d failures count for the breaker after %d requests, want as many", counted, n)
		}
	})
}

func TestToken_leaderGivesUpAndAnotherLeads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultHang, Endpoint: dollrtest.Token, Times: 1})
		c := newClient(t, srv, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := c.Status(ctx, collection(), nil)
			wantReason(t, err, "")
		})
		synctest.Wait()
		all.Go(func() { ask(t, c) })
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

func TestToken_oldOneIsUsedWhileNoNewOneCanBeHad(t *testing.T) {
	t.Parallel()
	for _, code := range []int{403, 404, 408, 425, 500} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dollrtest.Start(t, dollrtest.Options{})
				put(t, srv, "PENDING")
				c := newClient(t, srv, nil)
				ask(t, c)
				addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.Token, Code: code})
				time.Sleep(56 * time.Minute)
				for range 20 {
					ask(t, c)
					time.Sleep(time.Second)
				}
				if n := srv.Count(dollrtest.Token); n < 2 || n > 4 {
					t.Errorf("%d token requests, want the first one and then one every 10 s", n)
				}
				addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.AnyStatus, Delay: 8 * time.Second})
				var all sync.WaitGroup
				for range 5 { // side by side, the first of them has tried to have a new one
					all.Go(func() { ask(t, c) })
					time.Sleep(time.Second)
				}
				all.Wait()
			})
		})
	}
}

func TestToken_oneTimeoutOfTheFirstIsNoRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		c := newClient(t, srv, nil)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.Token, Code: 408, Times: 1})
		_, err := c.Status(t.Context(), collection(), nil)
		wantReason(t, err, dollr.ReasonUnreachable)
		time.Sleep(4 * time.Second)
		ask(t, c)
	})
}

func TestToken_401RefreshesOnceAndRetriesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		c := newClient(t, srv, nil)
		ask(t, c)
		srv.RevokeTokens()
		srv.ForgetRequests()
		ask(t, c)
		if tokens, asked := srv.Count(dollrtest.Token), srv.Count(dollrtest.Collection); tokens != 1 || asked != 2 {
			t.Errorf("after a revoked token: %d tokens, %d questions, want 1 and 2", tokens, asked)
		}
	})
}

func TestToken_U20_revokedCredentialsAreProbedEveryTenSeconds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(*testing.T, *dollrtest.Running)
		most  int // requests in the first 60 s
	}{
		{"the token endpoint refuses", func(_ *testing.T, srv *dollrtest.Running) { srv.SetClientSecret("rotated") }, 8},
		{"every token is refused", func(t *testing.T, srv *dollrtest.Running) {
			t.Helper()
			addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 401})
		}, 28},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &syncBuffer{}
				srv := dollrtest.Start(t, dollrtest.Options{})
				put(t, srv, "PENDING")
				c := newClient(t, srv, func(o *dollr.Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
				ask(t, c)
				tt.spoil(t, srv)
				srv.ForgetRequests()
				for range 600 { // ten questions a second
					_, err := c.Status(t.Context(), collection(), nil)
					if wantError(t, err, dollr.ReasonRefused).CountsForBreaker() {
						t.Fatal("CountsForBreaker() = true for refused credentials, want false")
					}
					time.Sleep(100 * time.Millisecond)
				}
				if n := srv.Count(""); n < 6 || n > tt.most {
					t.Errorf("600 questions with refused credentials sent %d requests, want a probe every 10 s (6 to %d)", n, tt.most)
				}
				if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
					t.Errorf("said %d times in the log, want once: %s", n, log)
				}

				srv.SetClientSecret(dollrtest.ClientSecret)
				srv.ClearFaults()
				time.Sleep(10 * time.Second)
				ask(t, c)
				ask(t, c)
			})
		})
	}
}

func TestCheckCredentials(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	c := newClient(t, srv, nil)
	if err := c.CheckCredentials(t.Context()); err != nil {
		t.Errorf("CheckCredentials() = %v, want nil", err)
	}
	srv.SetClientSecret("rotated")
	wantReason(t, c.CheckCredentials(t.Context()), dollr.ReasonRefused)
	if n := srv.Count(dollrtest.AnyStatus); n != 0 {
		t.Errorf("asked for %d payments, want none", n)
	}
}

func TestToken_notFoundAtTheTokenEndpointSaysNothingAboutAPayment(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.Token, Code: 404})
	_, err := newClient(t, srv, nil).Status(t.Context(), collection(), nil)
	wantReason(t, err, dollr.ReasonRefused)
}
