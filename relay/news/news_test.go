package news_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/news"
)

// wire is a channel of a database that can be gone.
type wire struct {
	mu        sync.Mutex
	gone      bool
	lost      chan struct{} // closed when the listeners lose their connection
	listeners []func(string)
	longest   int
	messages  int
}

var errGone = errors.New("connection refused")

func (w *wire) Tell(_ context.Context, message string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return errGone
	}
	w.messages++
	w.longest = max(w.longest, len(message))
	for _, heard := range w.listeners {
		heard(message)
	}
	return nil
}

func (w *wire) Listen(ctx context.Context, ready func(), heard func(string)) error {
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		return errGone
	}
	w.listeners = append(w.listeners, heard)
	lost := w.lost
	w.mu.Unlock()
	ready()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-lost:
		return errGone
	}
}

func (w *wire) set(gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone = gone; gone {
		close(w.lost)
		w.lost, w.listeners = make(chan struct{}), nil
	}
}

// reader is a replica that takes notes.
type reader struct {
	*news.Board

	mu     sync.Mutex
	heard  []news.Item
	caught int
}

func (r *reader) count() (heard, caught int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.heard), r.caught
}

func read(ctx context.Context, w *wire, id string, running *sync.WaitGroup) *reader {
	r := &reader{}
	r.Board = news.New(news.Options{
		ID: id, Channel: w, Max: 1000, Logger: slog.New(slog.DiscardHandler),
		Heard: func(i news.Item) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.heard = append(r.heard, i)
		},
		CaughtUp: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.caught++
		},
	})
	running.Go(func() { _ = r.Run(ctx) })
	return r
}

func TestBoard_tellsTheOthersInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{lost: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		a, b := read(ctx, w, "a", &running), read(ctx, w, "b", &running)
		synctest.Wait()
		at := time.UnixMilli(1_700_000_000_123).UTC()
		told := relay.News{ID: "pay_1", Revision: 7, Reported: true, Status: &relay.PageStatus{
			ID: "pay_1", Version: 3, Status: "COMPLETED", Outcome: relay.Succeeded, Verified: true, Final: true, Via: relay.ViaPoll, At: at,
		}}
		a.TellPayment(told)
		for i := range 100 {
			a.TellPayment(relay.News{ID: fmt.Sprint("pay_", i)})
		}
		synctest.Wait()
		if heard, _ := a.count(); heard != 0 {
			t.Errorf("a heard %d of its own news", heard)
		}
		if heard, caught := b.count(); heard != 101 || caught != 1 {
			t.Fatalf("b heard %d and caught up %d times, want 101 and once", heard, caught)
		}
		if got := b.heard[0].Payment.News(); !reflect.DeepEqual(got, told) {
			t.Errorf("heard %+v, want %+v", got, told)
		}
		if w.longest > 1000 || w.messages > 30 {
			t.Errorf("%d messages of up to %d bytes, want few of at most 1000", w.messages, w.longest)
		}
		w.set(true)
		a.Tell(news.Item{Look: true}) // lost
		time.Sleep(time.Minute)
		w.set(false)
		time.Sleep(time.Second)
		a.Tell(news.Item{Sweep: true})
		synctest.Wait()
		if heard, caught := b.count(); heard != 102 || caught != 2 || !b.heard[101].Sweep {
			t.Errorf("b heard %d and caught up %d times, want the last one, and to catch up after the loss", heard, caught)
		}
		w.Listen(ctx, func() { stop() }, func(string) {}) //nolint:errcheck // ends with ctx
		running.Wait()
	})
}

func TestBoard_whatItDoesNotUnderstandHarmsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{lost: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		b := read(ctx, w, "b", &running)
		synctest.Wait()
		for _, message := range []string{"", "{", `{"from":"a","items":[{"p":3}]}`, `{"from":"a","items":[{"later":true}]}`, strings.Repeat("x", 8000)} {
			if err := w.Tell(ctx, message); err != nil {
				t.Fatal(err)
			}
		}
		if heard, _ := b.count(); heard != 1 {
			t.Errorf("heard %d items, want only the one of a later version", heard)
		}
		stop()
		running.Wait()
	})
}

func TestNotes_areWrittenOnceTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var (
			mu      sync.Mutex
			gone    = true
			written = map[string]relay.Sight{}
			told    = map[string]int{}
			writes  int
		)
		n := news.NewNotes(func(_ context.Context, sights map[string]relay.Sight) error {
			mu.Lock()
			defer mu.Unlock()
			if gone {
				return errGone
			}
			writes++
			maps.Copy(written, sights)
			return nil
		}, func(id string) { told[id]++ }, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		n.Note("a", relay.Sight{Live: true})
		n.Note("b", relay.Sight{Pages: true})
		time.Sleep(10 * time.Second)
		n.Note("a", relay.Sight{}) // newer than what waits
		mu.Lock()
		gone = false
		mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := map[string]relay.Sight{"a": {}, "b": {Pages: true}}; !reflect.DeepEqual(written, want) || writes != 1 {
			t.Errorf("written %v in %d writes, want %v in one", written, writes, want)
		}
		if told["a"] != 1 || told["b"] != 1 {
			t.Errorf("told %v, want each once", told)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}
