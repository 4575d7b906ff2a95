package dollr_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

func TestClient_SetShare_dividesTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		q := crowd{c: newClient(t, srv, nil)} // 10 per second
		ask(t, q.c)
		q.c.SetShare(0.25)
		time.Sleep(time.Minute) // the bucket is full: 5
		srv.ForgetRequests()
		start := time.Now()
		for range 30 {
			q.ask(t.Context(), collection(), nil)
		}
		q.all.Wait()
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("30 requests took %s at 2.5 per second, want 10 s", took)
		}
		for range 100 {
			q.ask(t.Context(), collection(), nil)
		}
		q.c.SetShare(1)
		start = time.Now()
		q.all.Wait()
		if took := time.Since(start); took < 8*time.Second || took > 11*time.Second {
			t.Errorf("100 requests took %s at 10 per second, want 10 s", took)
		}
		q.c.SetShare(0) // a replica that others have left nothing yet does not stand still
		time.Sleep(time.Minute)
		start = time.Now()
		for range 3 {
			q.ask(t.Context(), collection(), nil)
		}
		q.all.Wait()
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("3 requests took %s without a share, want 10 s", took)
		}
	})
}

func TestClient_Hold_stopsEveryCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		put(t, srv, "PENDING")
		var told []time.Duration
		other := newClient(t, srv, func(o *dollr.Options) { o.Limited = func(d time.Duration) { told = append(told, d) } })
		c := newClient(t, srv, nil)
		ask(t, c)
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.Collection, Code: http.StatusTooManyRequests, RetryAfter: "30", Times: 1})
		if _, err := other.Status(t.Context(), collection(), nil); err == nil {
			t.Fatal("no error for a 429")
		}
		if len(told) != 1 || told[0] != 30*time.Second {
			t.Fatalf("told of %v, want one hold of 30 s", told)
		}
		c.Hold(told[0])
		start := time.Now()
		q := crowd{c: c}
		for range 5 {
			q.ask(t.Context(), collection(), dollr.NewTicket(dollr.UrgentVerify))
		}
		time.Sleep(20 * time.Second)
		c.Hold(10*time.Second + 10*time.Millisecond) // the same hold, heard of again
		q.all.Wait()
		if took := time.Since(start); took < 30*time.Second || took > 32*time.Second {
			t.Errorf("5 requests took %s, want 30 s of pause and less than a second", took)
		}
		if held := c.Held(); held != 0 {
			t.Errorf("Held() = %s afterwards, want 0", held)
		}
	})
}
