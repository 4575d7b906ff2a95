package app_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/pipenet"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
)

// dream is a system whose time is invented: days pass in milliseconds, and its clock can be set.
type dream struct {
	*system

	config app.Config
	public atomic.Pointer[pipenet.Listener] // of the present process
	jump   atomic.Int64                     // of the relay's wall clock, in nanoseconds
	seen   map[string]bool
	halt   func()
}

// sleep runs a test on a whole relay in a bubble, over connections in memory.
func sleep(t *testing.T, edit func(*app.Config), test func(d *dream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		d := &dream{seen: map[string]bool{}, system: &system{t: t, patience: time.Hour, received: make(chan received, 10_000), sandbox: "http://localhost", relay: "http://relay.test"}}
		stand := sandbox.New(sandbox.Options{})
		world := pipenet.Listen("sandbox")
		web := &http.Server{Handler: stand.Handler(), ReadHeaderTimeout: time.Minute}
		roads := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			if address == "relay.test:80" {
				return d.public.Load().Dial(ctx)
			}
			return world.Dial(ctx)
		}}
		d.client = &http.Client{Transport: roads}
		d.config = d.system.config("http://shop.test/hooks")
		d.config.PollMin = 2 * time.Second
		edit(&d.config)

		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = web.Serve(world) })
		running.Go(func() { _ = stand.Run(ctx) })
		d.boot()
		defer func() {
			d.halt()
			stop()
			roads.CloseIdleConnections()
			_ = web.Close()
			running.Wait()
		}()
		test(d)
	})
}

// boot starts a relay on the database as it is.
func (d *dream) boot() {
	d.t.Helper()
	public := pipenet.Listen("relay")
	d.public.Store(public)
	relay, err := app.New(d.t.Context(), d.config, app.Options{
		Logger: slog.New(slog.DiscardHandler), Public: public, Admin: pipenet.Listen("relay"), HTTPClient: d.client, CallbackTransport: shop{d},
		Now: func() time.Time { return time.Now().Add(time.Duration(d.jump.Load())) },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	d.halt = func() {
		stop()
		d.client.CloseIdleConnections()
		if err := <-done; err != nil {
			d.t.Errorf("Run() = %v", err)
		}
	}
}

// reboot stops the relay, lets time pass, and starts it again.
func (d *dream) reboot(after time.Duration) {
	d.t.Helper()
	d.halt()
	time.Sleep(after)
	d.boot()
}

// shop is the merchant's backend.
type shop struct{ d *dream }

func (s shop) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	s.d.receive(answer, r)
	return answer.Result(), nil
}

// types are the types of the callbacks so far, without repetitions: after a jump of the clock a
// callback that is on its way is sent again.
func (d *dream) types() []string {
	var types []string
	for {
		select {
		case got := <-d.received:
			id := got.header.Get("webhook-id")
			if d.seen[id] {
				continue
			}
			d.seen[id] = true
			kind, _ := got.fields["type"].(string)
			types = append(types, kind)
		default:
			return types
		}
	}
}

// weather switches faults.
func (d *dream) weather(faults string) {
	d.t.Helper()
	d.call("PUT", d.sandbox+"/_sandbox/faults", faults, 200)
}

// show reads a payment.
func (d *dream) show(id string) map[string]any {
	d.t.Helper()
	return d.call("GET", d.relay+"/v1/payments/"+id, "", 200)
}

// questions are how often Dollr was asked about a payment.
func (d *dream) questions(reference string) int {
	d.t.Helper()
	n := 0
	for _, r := range d.call("GET", d.sandbox+"/_sandbox/requests", "", 200)["data"].([]any) {
		if path, _ := r.(map[string]any)["path"].(string); path == "/v1/status/collection/"+reference {
			n++
		}
	}
	return n
}
