package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// script changes a payment step by step.
type script struct {
	key   string
	steps []step
}

// step sets a status some time after the script began.
type step struct {
	after  time.Duration
	status string
}

// play runs a script's steps; one that cannot be applied any more ends it.
func (s *Sandbox) play(ctx context.Context, script script) {
	began := time.Now()
	for _, step := range script.steps {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(step.after))):
		}
		if s.dollr.SetStatus(script.key, step.status) != nil {
			return
		}
	}
}

func (s *Sandbox) listPayments(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"data": s.dollr.Payments()})
}

func (s *Sandbox) createPayment(w http.ResponseWriter, r *http.Request) {
	var p dollrtest.Payment
	if !read(w, r, &p) {
		return
	}
	fill(&p)
	if err := s.dollr.Put(p); err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	created, err := s.dollr.Find(p.Key())
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	s.mu.Lock()
	s.latest = created.Key()
	s.mu.Unlock()
	answer(w, http.StatusCreated, created)
}

func (s *Sandbox) showPayment(w http.ResponseWriter, r *http.Request) {
	p, err := s.find(r.PathValue("reference"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	answer(w, http.StatusOK, p)
}

func (s *Sandbox) setStatus(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Status string `json:"status"`
		// Silent changes Dollr's status API without a realtime event; Hint sends the event without
		// the change.
		Silent bool `json:"silent"`
		Hint   bool `json:"hint"`
	}
	p, err := s.find(r.PathValue("reference"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	if !read(w, r, &body) {
		return
	}
	if body.Status == "" || body.Silent && body.Hint {
		refuse(w, http.StatusUnprocessableEntity, errors.New("status: is required; silent and hint exclude each other"))
		return
	}
	switch {
	case body.Hint:
		p.Status = body.Status
		s.tell(p) //nolint:contextcheck // realtime sends on its own connections, which outlive this request
	case body.Silent:
		s.silence(p.Key(), true)
		err = s.dollr.SetStatus(p.Key(), body.Status)
		s.silence(p.Key(), false)
	default:
		err = s.dollr.SetStatus(p.Key(), body.Status)
	}
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	p, _ = s.dollr.Find(p.Key())
	answer(w, http.StatusOK, p)
}

func (s *Sandbox) runScript(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Steps []struct {
			After  string `json:"after"`
			Status string `json:"status"`
		} `json:"steps"`
	}
	p, err := s.find(r.PathValue("reference"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	if !read(w, r, &body) {
		return
	}
	script := script{key: p.Key()}
	for i, given := range body.Steps {
		after, err := time.ParseDuration(given.After)
		if err != nil || after < 0 || given.Status == "" {
			refuse(w, http.StatusUnprocessableEntity, fmt.Errorf("steps[%d]: want after, a duration such as 3s, and status", i))
			return
		}
		script.steps = append(script.steps, step{after, given.Status})
	}
	select {
	case s.scripts <- script:
		answer(w, http.StatusAccepted, map[string]int{"steps": len(script.steps)})
	case <-r.Context().Done():
	}
}

// find looks a payment up by its reference id, for a source by TYPE:ID, or as "latest".
func (s *Sandbox) find(reference string) (dollrtest.Payment, error) {
	if reference == "latest" {
		s.mu.Lock()
		key := s.latest
		s.mu.Unlock()
		return s.dollr.Find(key)
	}
	if kind, id, ok := strings.Cut(reference, ":"); ok {
		n, _ := strconv.ParseInt(id, 10, 64)
		return s.dollr.Find(dollrtest.SourceKey(kind, n))
	}
	for _, operation := range []string{dollrtest.Collection, dollrtest.Payout, dollrtest.Transfer, dollrtest.Refund} {
		if p, err := s.dollr.Find(dollrtest.ExecutionKey(operation, reference)); err == nil {
			return p, nil
		}
	}
	return dollrtest.Payment{}, dollrtest.ErrUnknown
}

func (s *Sandbox) listRequests(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"data": s.dollr.Requests()})
}

// listChannels counts the realtime channels that are joined now, by topic: two of one are somebody's mistake.
func (s *Sandbox) listChannels(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"data": s.realtime.Channels()})
}

// faults are the switches for what can go wrong. The first two are the demo's weather; the others
// reach every fault that the stand-ins know.
type faults struct {
	RealtimeDown bool                 `json:"realtime_down"` // no connection, open ones cut
	DollrDown    bool                 `json:"dollr_down"`    // every request is answered 503
	Dollr        []dollrtest.Fault    `json:"dollr"`
	Realtime     *realtimetest.Faults `json:"realtime,omitempty"`
}

func (s *Sandbox) showFaults(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, s.faults)
}

// setFaults replaces all switches at once.
func (s *Sandbox) setFaults(w http.ResponseWriter, r *http.Request) {
	var wanted faults
	if !read(w, r, &wanted) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dollr.ClearFaults()
	for _, fault := range wanted.Dollr {
		if err := s.dollr.AddFault(fault); err != nil {
			s.dollr.ClearFaults()
			refuse(w, http.StatusUnprocessableEntity, err)
			return
		}
	}
	if wanted.DollrDown {
		_ = s.dollr.AddFault(dollrtest.Fault{Kind: dollrtest.FaultCode, Code: http.StatusServiceUnavailable}) // a known kind
	}
	var network realtimetest.Faults
	if wanted.Realtime != nil {
		network = *wanted.Realtime
	}
	network.Down = network.Down || wanted.RealtimeDown
	s.realtime.SetFaults(network)
	if network.Down && !s.faults.RealtimeDown {
		s.realtime.DropAll()
	}
	s.faults = wanted
	answer(w, http.StatusOK, wanted)
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has left does not matter
}

func refuse(w http.ResponseWriter, code int, err error) {
	answer(w, code, map[string]string{"detail": err.Error()})
}
