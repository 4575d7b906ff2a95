package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

// shop is a merchant and all customers, with everything that they were told.
type shop struct {
	world *world
	relay *process

	mu     sync.Mutex
	seen   map[string]*lastSeen // by payment
	paid   map[string]paid      // by reference
	broken []error
	took   []time.Duration // from the change at Dollr to the verified page
	visits int
}

// paid is how Dollr ended a payment.
type paid struct{ id, status string }

// lastSeen is what a payment's pages have seen.
type lastSeen struct {
	version int
	final   bool
}

// keepOpen is a page that stays, and reconnects like the snippet when it is cut, which it also is now and then.
func (s *shop) keepOpen(ctx context.Context, p payment, random *rand.Rand) {
	for ctx.Err() == nil {
		life, cancel := context.WithTimeout(ctx, time.Duration(60+random.IntN(600))*time.Second)
		s.look(life, p)
		cancel()
		pause(ctx, time.Duration(random.IntN(2000))*time.Millisecond)
	}
}

// look opens a page and watches until it ends, ctx does, or the outcome is final.
func (s *shop) look(ctx context.Context, p payment) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.relay.Public)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	s.mu.Lock()
	s.visits++
	s.mu.Unlock()
	_ = visit(conn, p.Token, func(message []byte) { s.see(p, string(message)) })
}

// see checks one message against everything that this payment's pages saw before.
func (s *shop) see(p payment, message string) {
	if field(message, "type") != "status" {
		return
	}
	version, err := strconv.Atoi(field(message, "version"))
	final, verified := field(message, "final") == "true", field(message, "verified") == "true"
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.seen[p.ID]
	if last == nil {
		last = &lastSeen{}
		s.seen[p.ID] = last
	}
	switch {
	case err != nil:
		s.broken = append(s.broken, fmt.Errorf("%s: a status without version: %s", p.ID, message))
	case version < last.version:
		s.broken = append(s.broken, fmt.Errorf("%s: version fell from %d: %s", p.ID, last.version, message))
	case last.final && !verified:
		s.broken = append(s.broken, fmt.Errorf("%s: a hint after the final status: %s", p.ID, message))
	case final && field(message, "outcome") == "failed" && s.paid[p.Reference].status != "FAILED",
		final && field(message, "outcome") == "succeeded" && s.paid[p.Reference].status != "COMPLETED":
		s.broken = append(s.broken, fmt.Errorf("%s: Dollr says %q, the page %s", p.ID, s.paid[p.Reference].status, message))
	}
	last.version, last.final = version, last.final || final
}

func (s *shop) isFinal(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[id] != nil && s.seen[id].final
}

// pay is a customer's whole life: registers, looks, pays or fails, and looks until it is final.
func (s *shop) pay(ctx context.Context, random *rand.Rand) {
	known := dollrtest.Payment{
		Operation: dollrtest.Collection, ReferenceID: uuid.NewString(), Status: "PENDING", PayeeAmount: "250.00", PayeeCurrency: "USD",
		SessionID: int64(random.Uint32()) + 1,
	}
	if err := s.world.dollr.Put(known); err != nil {
		s.complain(err)
		return
	}
	p, err := post(ctx, s.relay, map[string]any{
		"operation": known.Operation, "reference_id": known.ReferenceID, "session_id": known.SessionID, "source_type": "INVOICE",
	})
	if err != nil {
		s.complain(err)
		return
	}
	p.Reference = known.ReferenceID
	var page sync.WaitGroup
	page.Go(func() {
		for deadline := time.Now().Add(5 * time.Minute); ctx.Err() == nil && !s.isFinal(p.ID) && time.Now().Before(deadline); {
			s.look(ctx, p)
			pause(ctx, time.Duration(random.IntN(1000))*time.Millisecond)
		}
	})
	chooser := rand.New(rand.NewPCG(uint64(known.SessionID), 4))
	pause(ctx, time.Duration(1+chooser.IntN(20))*time.Second)
	status := "COMPLETED"
	if chooser.IntN(6) == 0 {
		status = "FAILED"
	}
	s.mu.Lock()
	s.paid[p.Reference] = paid{p.ID, status}
	s.mu.Unlock()
	began := time.Now()
	if err := s.world.dollr.SetStatus(known.Key(), status); err != nil {
		s.complain(err)
	}
	page.Wait()
	if s.isFinal(p.ID) {
		s.mu.Lock()
		s.took = append(s.took, time.Since(began))
		s.mu.Unlock()
	} else if ctx.Err() == nil {
		s.complain(fmt.Errorf("%s: the page never became final", p.ID))
	}
}

func (s *shop) complain(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = append(s.broken, err)
}

// audit compares the callbacks and the API with Dollr, after all trouble has ended.
func (s *shop) audit(ctx context.Context) error {
	s.mu.Lock()
	all := maps.Clone(s.paid)
	s.mu.Unlock()
	late := await(ctx, "a callback for every payment", func() (bool, error) { return len(s.world.delivered()) >= len(all), nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	broken := append(s.broken, late)
	delivered := s.world.delivered()
	for reference, p := range all {
		want := map[string]string{"COMPLETED": "payment.succeeded", "FAILED": "payment.failed"}[p.status]
		if got := delivered[reference]; len(got) != 1 || got[0].kind != want {
			broken = append(broken, fmt.Errorf("%s: callbacks %+v, want one %s", p.id, got, want))
		}
		if outcome, err := s.outcome(ctx, p.id); err != nil || "payment."+outcome != want {
			broken = append(broken, fmt.Errorf("%s: the API says %q, %w; want %s", p.id, outcome, err, want))
		}
	}
	if len(broken) > 20 {
		broken = append(slices.Clip(broken[:20]), fmt.Errorf("and %d more", len(broken)-20))
	}
	return errors.Join(broken...)
}

func (s *shop) outcome(ctx context.Context, id string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.relay.Public+"/v1/payments/"+id, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	var p struct{ Outcome string }
	err = json.NewDecoder(answer.Body).Decode(&p)
	return p.Outcome, err
}

func (s *shop) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d payments settled and called back once, %d page connections, violations: %d. From the change at Dollr to the verified page, trouble included: p50 %s, p99 %s.\n\n",
		len(s.paid), s.visits, len(s.broken), percentile(s.took, 50).Round(time.Millisecond), percentile(s.took, 99).Round(time.Millisecond))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
