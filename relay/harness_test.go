package relay_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// heart is a Relay on a real database, in a bubble. What is around it only takes notes: the asker of
// questions, the schedule of facts, the feed of payments.
type heart struct {
	*relay.Relay

	t     *testing.T
	store *brittle

	answer func(relay.Question) (p relay.Payment, joined bool, err error) // of Ask; nil: nobody answers

	mu       sync.Mutex
	asked    []relay.Question
	facts    map[string]relay.Facts
	followed map[string]bool
	rejoined []string
	hurried  []string
	told     []string // what the monitor heard
}

// beat runs a test in a bubble with a running Relay.
func beat(t *testing.T, test func(h *heart)) {
	t.Helper()
	beatAmong(t, nil, test)
}

// beatAmong is beat with other replicas.
func beatAmong(t *testing.T, others relay.Replicas, test func(h *heart)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "relay.db")
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{CallbackURLs: []string{"https://shop.example"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		h := &heart{t: t, store: &brittle{Store: db}, facts: map[string]relay.Facts{}, followed: map[string]bool{}}
		h.Relay, err = relay.New(
			relay.Parts{Store: h.store, Asker: h, Schedule: h, Feed: h, Replicas: others, Reported: func(string) {}},
			relay.Options{Monitor: h},
		)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		synctest.Wait()
		test(h)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
}

// brittle is a database that can be made to fail, or to hang.
type brittle struct {
	*store.Store

	mu     sync.Mutex
	broken error
	hang   chan struct{}
}

// errFull is a disk that can be read and not written.
var errFull = errors.New("database or disk is full")

func (b *brittle) set(broken error, hang chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken, b.hang = broken, hang
}

func (b *brittle) try() error {
	b.mu.Lock()
	broken, hang := b.broken, b.hang
	b.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return broken
}

func (b *brittle) Ping(ctx context.Context) error {
	if err := b.try(); err != nil && !errors.Is(err, errFull) {
		return err
	}
	return b.Store.Ping(ctx)
}

func (b *brittle) Probe(ctx context.Context) error { return errors.Join(b.try(), b.Store.Probe(ctx)) }

func (b *brittle) Apply(ctx context.Context, id string, decide func(relay.Payment) (relay.Payment, []relay.Effect)) (relay.Payment, []relay.Effect, error) {
	if err := b.try(); err != nil {
		return relay.Payment{}, nil, err
	}
	return b.Store.Apply(ctx, id, decide)
}

// Ask implements [relay.Asker]. Most tests bring the answers themselves.
func (h *heart) Ask(_ context.Context, q relay.Question) (relay.Payment, bool, error) {
	if h.answer != nil {
		return h.answer(q)
	}
	return relay.Payment{}, false, &relay.AskError{Reason: "unreachable", Err: errors.New("nobody asks here")}
}

// AskAgain implements [relay.Asker].
func (h *heart) AskAgain(q relay.Question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, q)
}

// Plan implements [relay.Schedule].
func (h *heart) Plan(id string, f relay.Facts) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts[id] = f
	return true
}

// Forget implements [relay.Schedule].
func (h *heart) Forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.facts, id)
}

// Follow implements [relay.Feed].
func (h *heart) Follow(p relay.Payment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followed[p.ID] = true
}

// Unfollow implements [relay.Feed].
func (h *heart) Unfollow(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.followed, id)
}

// Rejoin implements [relay.Feed].
func (h *heart) Rejoin(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rejoined = append(h.rejoined, id)
}

// Hurry implements [relay.Feed].
func (h *heart) Hurry(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hurried = append(h.hurried, id)
}

// Reported implements [relay.Monitor].
func (h *heart) Reported(what string) { h.tell(what) }

// UnknownWord implements [relay.Monitor].
func (h *heart) UnknownWord(_ relay.Operation, word string) { h.tell("unknown " + word) }

// MissedByRealtime implements [relay.Monitor].
func (h *heart) MissedByRealtime() { h.tell("missed") }

// HintToPage implements [relay.Monitor].
func (h *heart) HintToPage(time.Duration) {}

func (h *heart) tell(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, what)
}

func (h *heart) factsOf(id string) relay.Facts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts[id]
}

func (h *heart) questions() []relay.Question {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

func (h *heart) follows(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.followed[id]
}

// register watches a collection that nothing is known of.
func (h *heart) register() relay.Payment {
	h.t.Helper()
	p, _, err := h.Register(h.t.Context(), card())
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func card() relay.Registration {
	return relay.Registration{Operation: relay.Collection, ReferenceID: "550e8400-e29b-41d4-a716-446655440000", SessionID: 55, SourceType: "INVOICE"}
}

// truth lets Dollr say something.
func (h *heart) truth(id string, via relay.Via, word string) relay.Payment {
	h.t.Helper()
	p, err := h.Observe(h.t.Context(), id, relay.Truth{Via: via, Status: word})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// hint lets realtime say something, and what follows from it happen.
func (h *heart) hint(id, word string) {
	h.Hear(id, relay.Heard{Change: &relay.Change{Status: word, At: time.Now()}})
	time.Sleep(2 * time.Millisecond) // first of all come the pages
	synctest.Wait()
}

// live lets realtime prove itself, and truth catch up.
func (h *heart) live(id string) {
	h.t.Helper()
	h.Hear(id, relay.Heard{Live: true})
	time.Sleep(time.Second)
	h.truth(id, relay.ViaPoll, "PENDING")
}

// page opens a page and drops what it shows first.
func (h *heart) page(id string) *relay.Page {
	h.t.Helper()
	page, err := h.OpenPage(h.t.Context(), id, func() {})
	if err != nil {
		h.t.Fatal(err)
	}
	page.Take()
	return page
}

// link is the newest link that the page has not seen; "" if there is none.
func link(page *relay.Page) string {
	_, link := page.Take()
	return string(link.Body)
}
