package realtime_test

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// TestFeed_overLoopback is the main path over a real socket; everything with time in it is tested in bubbles.
func TestFeed_overLoopback(t *testing.T) {
	t.Parallel()
	srv := realtimetest.New(realtimetest.Options{JWTSecret: secret.New(jwtSecret)})
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		srv.Close()
		web.Close()
	})
	events := make(chan realtime.Event, 100)
	feed, err := realtime.New(realtime.Options{
		URL: web.URL, AnonKey: secret.New(srv.Token(time.Hour)), Keys: loopbackKeys{srv}, Notify: func(e realtime.Event) { events <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := feed.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	wait := func(want realtime.Kind, status string) {
		t.Helper()
		select {
		case e := <-events:
			if e.Kind != want || e.Status != status {
				t.Fatalf("event %+v, want %s %q", e, want, status)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no event, want %s %q", want, status)
		}
	}
	feed.Follow(target())
	wait(realtime.Live, "")
	srv.Change(row("COMPLETED"))
	wait(realtime.Change, "COMPLETED")
	srv.DropAll()
	wait(realtime.Lost, "")
	wait(realtime.Live, "")
	srv.Change(row("FAILED"))
	wait(realtime.Change, "FAILED")
}
