// Package sandbox joins the stand-ins for the Dollr API and Supabase Realtime into one believable
// Dollr: a payment that changes at one is a row change at the other. It is controlled over HTTP
// under /_sandbox/, by scripts and by switches for what can go wrong.
//
// Start at [Sandbox.Handler], the list of what can be done.
package sandbox

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// Options tune a Sandbox. The zero value is ready.
type Options struct {
	KeyLife time.Duration // life of realtime keys; default 300 s
}

// Sandbox is the stand-ins and what joins them.
type Sandbox struct {
	dollr    *dollrtest.Server
	realtime *realtimetest.Server

	scripts chan script

	mu     sync.Mutex
	latest string // key of the payment that was made last
	faults faults
	silent map[string]bool // payments, by key, that are changed without a row change
}

// New returns a healthy sandbox without payments.
func New(opts Options) *Sandbox {
	s := &Sandbox{scripts: make(chan script), silent: map[string]bool{}}
	s.realtime = realtimetest.New(realtimetest.Options{JWTSecret: secret.New(dollrtest.JWTSecret), PollInterval: time.Millisecond})
	s.dollr = dollrtest.New(dollrtest.Options{KeyLife: opts.KeyLife, OnChange: s.tell})
	return s
}

// tell lets realtime know of a changed collection, as Dollr's public status table does.
func (s *Sandbox) tell(p dollrtest.Payment) {
	if p.Operation != dollrtest.Collection || p.SessionID == 0 || s.isSilent(p.Key()) {
		return
	}
	s.realtime.Change(realtimetest.Row{
		"reference_id": strings.ToLower(p.ReferenceID), "session_id": p.SessionID,
		"status": p.Status, "updated_at": time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"),
	})
}

func (s *Sandbox) silence(key string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.silent[key] = true
	} else {
		delete(s.silent, key)
	}
}

func (s *Sandbox) isSilent(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silent[key]
}

// Environment is what points a relay at a sandbox that listens at base.
func Environment(base string) [][2]string {
	return [][2]string{
		{"DOLLR_BASE_URL", base},
		{"DOLLR_CLIENT_ID", dollrtest.ClientID},
		{"DOLLR_CLIENT_SECRET", dollrtest.ClientSecret},
		{"SUPABASE_URL", base},
		{"SUPABASE_ANON_KEY", AnonKey()},
	}
}

// AnonKey is the key that opens a realtime connection, as the merchant portal would show it.
func AnonKey() string {
	s := realtimetest.New(realtimetest.Options{JWTSecret: secret.New(dollrtest.JWTSecret)})
	return s.Token(10 * 365 * 24 * time.Hour)
}

// Run plays scripts until ctx ends.
func (s *Sandbox) Run(ctx context.Context) error {
	defer s.realtime.Close()
	var playing sync.WaitGroup
	defer playing.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case script := <-s.scripts:
			playing.Go(func() { s.play(ctx, script) })
		}
	}
}

// Handler serves both stand-ins and the controls.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.dollr)
	mux.Handle("/realtime/v1/websocket", s.realtime)
	mux.Handle("/socket/websocket", s.realtime)
	mux.HandleFunc("GET /_sandbox/payments", s.listPayments)
	mux.HandleFunc("POST /_sandbox/payments", s.createPayment)
	mux.HandleFunc("GET /_sandbox/payments/{reference}", s.showPayment)
	mux.HandleFunc("PUT /_sandbox/payments/{reference}/status", s.setStatus)
	mux.HandleFunc("POST /_sandbox/payments/{reference}/script", s.runScript)
	mux.HandleFunc("GET /_sandbox/faults", s.showFaults)
	mux.HandleFunc("PUT /_sandbox/faults", s.setFaults)
	mux.HandleFunc("GET /_sandbox/requests", s.listRequests)
	mux.HandleFunc("GET /_sandbox/channels", s.listChannels)
	return mux
}

// fill invents what a new payment leaves out, as Dollr would.
func fill(p *dollrtest.Payment) {
	if p.Operation == "" {
		p.Operation = dollrtest.Collection
	}
	if p.Operation != dollrtest.Source && p.ReferenceID == "" {
		p.ReferenceID = uuid.NewString()
	}
	if p.Operation == dollrtest.Collection && p.SessionID == 0 {
		p.SessionID = 1 + rand.Int64N(1_000_000)
	}
	if p.SourceType == "" && (p.Operation == dollrtest.Source || p.SessionID != 0) {
		p.SourceType = "INVOICE"
	}
	if p.SourceID == 0 && p.SourceType != "" {
		p.SourceID = 1 + rand.Int64N(1_000_000)
	}
}
