package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

const (
	crashes    = 40
	crashBurst = 8 // payments that settle at once before each crash
)

// TestCrash_noOutcomeIsLostOrInvented kills the relay's process with SIGKILL again and again: at random
// moments while outcomes are found, committed and sent, while a callback is at the receiver, and just
// after the receiver has acknowledged one. The receiver fails now and then, too. In the end every outcome
// was acknowledged and nothing else was ever sent, always under the same id with the same bytes.
func TestCrash_noOutcomeIsLostOrInvented(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	receiver := &crashReceiver{t: t, chance: rand.New(rand.NewPCG(seed, 2)), moment: make(chan struct{}, 2), bodies: map[string]string{}, acknowledged: map[string]bool{}}
	hook := httptest.NewServer(receiver)
	t.Cleanup(hook.Close)
	site := newSite(t, hook.URL, "RELAY_CALLBACK_SCHEDULE="+strings.Repeat("100ms,", 99)+"100ms")
	receiver.verifier = anyVerifier(t, site.secret)

	relay := site.start()
	shop := &crashShop{site: site, registered: make(chan order, crashBurst), settled: map[string]string{}}
	shop.relay.Store(&relay.url)
	go shop.register()
	for range crashes {
		shop.settle(chance)
		receiver.arm(chance.IntN(3) == 0)
		within := []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 400 * time.Millisecond}[chance.IntN(3)]
		select {
		case <-receiver.moment:
		case <-time.After(time.Duration(chance.Int64N(int64(within)))):
		}
		receiver.arm(false)
		relay.kill()
		relay = site.start()
		shop.relay.Store(&relay.url)
	}

	if !await(func() bool {
		waiting, _ := site.must("GET", relay.url+"/v1/callbacks?state=pending", "", 200)["data"].([]any)
		return receiver.count() >= len(shop.settled) && len(waiting) == 0
	}) {
		t.Error("an outcome was not acknowledged, or a callback waits forever")
	}
	receiver.check(shop.settled)
	feed, _ := site.must("GET", relay.url+"/v1/events?limit=1000", "", 200)["data"].([]any)
	if len(feed) != len(shop.settled) {
		t.Errorf("the event feed has %d events, want %d", len(feed), len(shop.settled))
	}
	t.Logf("%d outcomes, %d requests, %d crashes", len(shop.settled), receiver.requests, crashes)
}

// crashShop goes on while its relay crashes.
type crashShop struct {
	site       *site
	relay      atomic.Pointer[string] // URL
	registered chan order
	settled    map[string]string // type of the callback that must come, by payment
}

// order is one payment of the shop.
type order struct{ id, reference string }

// register registers payments, each again if no answer came, until there is one for every place in
// every burst.
func (s *crashShop) register() {
	for range crashes * crashBurst {
		reference, registration := s.site.payment()
		for id, deadline := "", time.Now().Add(patience); id == ""; {
			code, fields, err := do(context.Background(), "POST", *s.relay.Load()+"/v1/payments", registration)
			switch {
			case err == nil && (code == 200 || code == 201):
				id, _ = fields["id"].(string)
				s.registered <- order{id, reference}
			case time.Now().After(deadline):
				s.site.t.Errorf("a payment cannot be registered: %d, %v, %v", code, fields, err)
				id = "none"
			default:
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
}

// settle completes or fails the payments of a burst at Dollr, all at once, and leaves some open.
func (s *crashShop) settle(chance *rand.Rand) {
	s.site.t.Helper()
	var setting sync.WaitGroup
	for range crashBurst {
		var o order
		select {
		case o = <-s.registered:
		case <-time.After(2 * patience):
			s.site.t.Fatal("no more payments are registered")
		}
		status, want := "COMPLETED", "payment.succeeded"
		switch chance.IntN(6) {
		case 0:
			status, want = "FAILED", "payment.failed"
		case 1:
			continue
		}
		s.settled[o.id] = want
		setting.Go(func() { s.site.set(o.reference, status) })
	}
	setting.Wait()
}

// crashReceiver is a backend that fails now and then, but never five times in a row: that would open
// the endpoint's breaker for ten seconds, and this test is about something else. To one of several relays it may.
type crashReceiver struct {
	t        *testing.T
	verifier *callback.Verifier
	moment   chan struct{} // a good moment for a crash
	reliable bool          // never fails

	mu           sync.Mutex
	chance       *rand.Rand
	armed        bool
	failures     int // in a row
	requests     int
	bodies       map[string]string // by webhook-id
	acknowledged map[string]bool
}

// arm makes the next request a moment for a crash, or no longer.
func (r *crashReceiver) arm(armed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = armed
}

func (r *crashReceiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	message, err := r.verifier.Read(request)
	if err != nil {
		if request.Context().Err() == nil && !isCutOff(err) {
			r.t.Errorf("a request is no callback: %v", err)
		}
		return
	}
	r.mu.Lock()
	r.requests++
	if known, ok := r.bodies[message.ID]; ok && known != string(message.Body) {
		r.t.Errorf("%s came with other bytes:\n%s\n%s", message.ID, known, message.Body)
	}
	r.bodies[message.ID] = string(message.Body)
	fails := !r.reliable && r.failures < 3 && r.chance.IntN(4) == 0
	crashBefore, crashAfter := false, false
	if r.armed {
		r.armed, crashBefore = false, r.chance.IntN(2) == 0
		crashAfter = !crashBefore
	}
	switch {
	case crashBefore:
	case fails:
		r.failures++
	default:
		r.failures = 0
		r.acknowledged[message.ID] = true
	}
	r.mu.Unlock()
	if crashBefore {
		r.moment <- struct{}{}
		<-request.Context().Done() // the relay is gone before the answer
		return
	}
	if fails {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	if crashAfter {
		_ = http.NewResponseController(w).Flush() // the answer is on its way; the relay may or may not have read it
		r.moment <- struct{}{}
	}
}

// isCutOff reports whether a request ended before its body did.
func isCutOff(err error) bool { return strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) }

func (r *crashReceiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acknowledged)
}

// reported says whether a callback of a payment came.
func (r *crashReceiver) reported(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.bodies {
		if strings.Contains(body, `"`+id+`"`) {
			return true
		}
	}
	return false
}

// check compares what came with what must have come: the types by payment.
func (r *crashReceiver) check(want map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := map[string]string{}
	for id, body := range r.bodies {
		var event struct {
			Type string
			Data struct{ ID string }
		}
		if err := json.Unmarshal([]byte(body), &event); err != nil {
			r.t.Errorf("%s: %v", id, err)
		}
		if known, twice := got[event.Data.ID]; twice {
			r.t.Errorf("%s was reported as %s and as %s", event.Data.ID, known, event.Type)
		}
		got[event.Data.ID] = event.Type
		if !r.acknowledged[id] {
			r.t.Errorf("%s was never acknowledged", id)
		}
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("callbacks came that differ from the outcomes:\n%s", difference(got, want))
	}
}

func difference(got, want map[string]string) string {
	var lines []string
	for id := range want {
		if got[id] != want[id] {
			lines = append(lines, fmt.Sprintf("%s: got %q, want %q", id, got[id], want[id]))
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			lines = append(lines, fmt.Sprintf("%s: got %q, want nothing", id, got[id]))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
