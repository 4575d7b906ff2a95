package realtime_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

const jwtSecret = "a-jwt-secret-for-tests-of-32-bytes!"

// rig is a Feed and the stand-in it talks to, in one bubble.
type rig struct {
	t    *testing.T
	srv  *realtimetest.Served
	feed *realtime.Feed
	keys *mint
	stop func() // ends Run and waits for it

	mu      sync.Mutex
	events  []realtime.Event
	frames  []realtimetest.Frame
	ignored map[string]int
	rejoins map[string]int
	closes  map[string]int
	trips   []time.Duration
}

// mint hands out keys of the stand-in's project.
type mint struct {
	srv  *realtimetest.Served
	mu   sync.Mutex
	life time.Duration
	fail error
	hang bool
	make func(life time.Duration) string // nil: a good key
	n    int
}

func (m *mint) RealtimeKey(ctx context.Context, _ realtime.Target) (realtime.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	if m.hang {
		<-ctx.Done()
		return realtime.Key{}, ctx.Err()
	}
	if m.fail != nil {
		return realtime.Key{}, m.fail
	}
	token := ""
	if m.make != nil {
		token = m.make(m.life)
	} else {
		token = m.srv.Token(m.life, map[string]any{"n": m.n})
	}
	return realtime.Key{Token: secret.New(token), Lifetime: m.life}, ctx.Err()
}

func (m *mint) set(f func(*mint)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

func (m *mint) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

var errMint = errors.New("mint is down")

// bubble runs a test with a running Feed under the fake clock.
func bubble(t *testing.T, so realtimetest.Options, test func(r *rig)) {
	t.Helper()
	bubbleWith(t, so, nil, test)
}

func bubbleWith(t *testing.T, so realtimetest.Options, tune func(*realtime.Options), test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, ignored: map[string]int{}, rejoins: map[string]int{}, closes: map[string]int{}}
		so.JWTSecret = secret.New(jwtSecret)
		so.OnFrame = func(f realtimetest.Frame) {
			r.mu.Lock()
			defer r.mu.Unlock()
			f.Data = slices.Clone(f.Data)
			r.frames = append(r.frames, f)
		}
		r.srv = realtimetest.NewServer(t, so)
		r.keys = &mint{srv: r.srv, life: 5 * time.Minute}
		o := realtime.Options{
			URL: r.srv.URL, AnonKey: secret.New(r.srv.Token(87600*time.Hour, map[string]any{"role": "anon"})), Keys: r.keys,
			HTTPClient: r.srv.Client(),
			Notify: func(e realtime.Event) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.events = append(r.events, e)
			},
			Hooks: realtime.Hooks{
				Ignored:   func(w string) { r.tally(r.ignored, w) },
				Rejoin:    func(w string) { r.tally(r.rejoins, w) },
				Closed:    func(w string) { r.tally(r.closes, w) },
				Heartbeat: func(d time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.trips = append(r.trips, d) },
			},
		}
		if testing.Verbose() {
			o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
		}
		if tune != nil {
			tune(&o)
		}
		feed, err := realtime.New(o)
		if err != nil {
			t.Fatal(err)
		}
		r.feed = feed
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := feed.Run(ctx); err != nil {
				t.Errorf("Run() = %v, want nil", err)
			}
		})
		r.stop = func() {
			cancel()
			running.Wait()
		}
		defer r.stop()
		test(r)
	})
}

func (r *rig) tally(m map[string]int, word string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m[word]++
}

func (r *rig) get(m map[string]int, word string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return m[word]
}

// pass lets virtual time go by and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// take returns and forgets the events so far.
func (r *rig) take() []realtime.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// kinds prints events as "live", "lost:reason", "change:STATUS".
func kinds(events []realtime.Event) string {
	words := make([]string, 0, len(events))
	for _, e := range events {
		word := e.Kind.String()
		if detail := e.Reason + e.Status; detail != "" {
			word += ":" + detail
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (r *rig) want(kindsWanted string) {
	r.t.Helper()
	if got := kinds(r.take()); got != kindsWanted {
		r.t.Errorf("events = %q, want %q", got, kindsWanted)
	}
}

// sent lists the frames of one event that the client has sent.
func (r *rig) sent(event string) []realtime.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	var frames []realtime.Frame
	for _, f := range r.frames {
		frame, err := realtime.DecodeFrame(f.Data)
		if f.FromClient && err == nil && frame.Event == event {
			frames = append(frames, frame)
		}
	}
	return frames
}

const reference = "550e8400-e29b-41d4-a716-446655440000"

func target() realtime.Target {
	return realtime.Target{ID: "pay_1", SessionID: 55, SourceType: "INVOICE", ReferenceID: reference}
}

// live follows the one target and waits until it is live.
func (r *rig) live() {
	r.t.Helper()
	r.feed.Follow(target())
	pass(time.Second)
	r.want("live")
}

func row(status string) realtimetest.Row {
	return realtimetest.Row{"reference_id": reference, "status": status}
}

func jsonLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
