package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// shop is a merchant's backend that receives callbacks, in any temper.
type shop struct {
	world    *world
	number   int
	verifier *callback.Verifier

	mu    sync.Mutex
	tries map[string]int // by webhook-id
}

func newShop(w *world, n int) *shop {
	s := &shop{world: w, number: n, tries: map[string]int{}}
	secret, err := callback.ParseSecret(callbackSecret)
	if err == nil {
		s.verifier, err = callback.NewVerifier([]callback.Secret{secret}, w.wall)
	}
	if err != nil {
		w.referee.fail("simulator", "verifier: %v", err)
	}
	return s
}

func (s *shop) host() string { return fmt.Sprintf("shop%d.test", s.number) }

func (s *shop) url() string { return "http://" + s.host() + "/hooks/dollr" }

func (s *shop) open(servers *sync.WaitGroup) func() { return s.world.serve(s.host(), s, servers) }

// Tempers of a backend.
const (
	temperFine     = "204"
	temperSlow     = "slow 204"
	temperHang     = "no answer"
	temperError    = "500"
	temperRedirect = "302"
	temperGone     = "410"
	temperLater    = "429, later"
	temperBusy     = "503, later"
	temperDrop     = "connection lost"
	temperLost     = "done, but the answer is lost"
	temperDrip     = "200 and a body that drips"
	temperLong     = "200 and a long body"
)

// ServeHTTP receives a callback.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the sender was cut off
	}
	id := r.Header.Get(callback.HeaderID)
	s.mu.Lock()
	s.tries[id]++
	n := s.tries[id]
	s.mu.Unlock()
	draw := s.world.dice.roll("shop", s.number, id, n)
	temper := s.temper(draw)
	_, err = s.verifier.Verify(r.Header, body)
	s.world.history.note(s.name(), "gets %s, try %d: %s", title(body), n, temper)
	landed := s.world.referee.received(s, r, body, err)
	defer landed()
	if p := s.world.current(); p != nil {
		p.reached("callback_sent")
	}
	if !sleep(r.Context(), s.takes(draw, temper)) {
		return
	}
	s.answer(w, r, draw, id, temper)
}

func (s *shop) name() string { return fmt.Sprintf("shop%d", s.number) }

func (s *shop) takes(draw *rand.Rand, temper string) time.Duration {
	switch temper {
	case temperSlow:
		return between(draw, time.Second, 14*time.Second)
	case temperHang:
		return time.Minute
	}
	return between(draw, time.Millisecond, 100*time.Millisecond)
}

func (s *shop) answer(w http.ResponseWriter, r *http.Request, draw *rand.Rand, id, temper string) {
	acknowledged := func() {
		s.world.referee.acknowledged(id)
		if p := s.world.current(); p != nil {
			p.reached("callback_answered")
		}
	}
	switch temper {
	case temperFine, temperSlow:
		acknowledged()
		w.WriteHeader(http.StatusNoContent)
	case temperLost:
		s.world.referee.acknowledged(id)
		s.world.referee.answerLost(id)
		panic(http.ErrAbortHandler)
	case temperDrop, temperHang:
		panic(http.ErrAbortHandler)
	case temperDrip, temperLong:
		acknowledged()
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, strings.Repeat("thank you ", 10_000))
		if temper == temperDrip {
			_ = http.NewResponseController(w).Flush()
			sleep(r.Context(), time.Minute)
		}
	case temperRedirect:
		http.Redirect(w, r, "http://elsewhere.test/", http.StatusFound)
	case temperGone:
		s.world.referee.refusedForGood(id)
		w.WriteHeader(http.StatusGone)
	case temperLater, temperBusy:
		w.Header().Set("Retry-After", pick(draw, "1", "20", "40"))
		w.WriteHeader(map[string]int{temperLater: http.StatusTooManyRequests, temperBusy: http.StatusServiceUnavailable}[temper])
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// temper is how the backend is at this moment.
func (s *shop) temper(draw *rand.Rand) string {
	if on, down := s.world.plan.on(s.world.now(), func(p spell) bool { return p.what == shopDown && p.shop == s.number }); down && chance(draw, on.share) {
		return pick(draw, temperDrop, temperError, temperError)
	}
	on, trouble := s.world.plan.on(s.world.now(), func(p spell) bool { return p.what == shopTrouble && p.shop == s.number })
	if !trouble || !chance(draw, on.share) {
		return temperFine
	}
	return pick(draw, temperSlow, temperHang, temperError, temperRedirect, temperGone, temperLater, temperBusy, temperDrop, temperLost, temperDrip, temperLong)
}
