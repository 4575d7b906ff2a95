package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

//nolint:gosec // nothing is behind them
const (
	apiKey         = "bench-api-key-with-at-least-32-characters"
	callbackSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
)

// world is everything around a relay: Dollr, Supabase Realtime, and the merchant's backend.
type world struct {
	dollr    *dollrtest.Server
	realtime *realtimetest.Server
	server   *httptest.Server

	mu        sync.Mutex
	sent      map[string]time.Time // when the last hint left, by reference
	callbacks map[string]received  // by webhook-id
	refuse    bool                 // the backend answers 503
}

// received is the first try of a callback as the backend got it, and how often it came.
type received struct {
	at        time.Time
	kind      string
	reference string
	times     int
	answered  int // of those, with 204
}

func newWorld() *world {
	w := &world{sent: map[string]time.Time{}, callbacks: map[string]received{}}
	w.realtime = realtimetest.New(realtimetest.Options{JWTSecret: secret.New(dollrtest.JWTSecret), PollInterval: -1, OnFrame: w.stamp, MaxSockets: 1000})
	w.dollr = dollrtest.New(dollrtest.Options{OnChange: w.tell})
	mux := http.NewServeMux()
	mux.Handle("/v1/", w.dollr)
	mux.Handle("/realtime/", w.realtime)
	mux.HandleFunc("/hooks", w.receive)
	w.server = httptest.NewServer(mux)
	return w
}

func (w *world) close() {
	w.realtime.Close()
	w.server.CloseClientConnections()
	w.server.Close()
}

// tell is Dollr's public status table: it changes with every collection.
func (w *world) tell(p dollrtest.Payment) {
	if p.SessionID == 0 {
		return
	}
	w.realtime.Change(realtimetest.Row{
		"reference_id": p.ReferenceID, "session_id": p.SessionID, "status": p.Status, "updated_at": time.Now().UTC().Format(time.RFC3339Nano),
	})
}

// stamp keeps when a row change goes onto the socket.
func (w *world) stamp(f realtimetest.Frame) {
	const mark = `"reference_id":"`
	if f.FromClient || !bytes.Contains(f.Data, []byte("postgres_changes")) {
		return
	}
	if i := bytes.Index(f.Data, []byte(mark)); i >= 0 && len(f.Data) >= i+len(mark)+36 {
		w.leaves(string(f.Data[i+len(mark) : i+len(mark)+36]))
	}
}

func (w *world) leaves(reference string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent[reference] = time.Now()
}

func (w *world) sentAt(reference string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[reference]
}

// receive is the merchant's backend.
func (w *world) receive(answer http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var body struct {
		Type string
		Data struct {
			ReferenceID string `json:"reference_id"`
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	id := r.Header.Get("webhook-id")
	w.mu.Lock()
	known, ok := w.callbacks[id]
	if !ok {
		known = received{at: at, kind: body.Type, reference: body.Data.ReferenceID}
	}
	known.times++
	refuse := w.refuse
	if !refuse {
		known.answered++
	}
	w.callbacks[id] = known
	w.mu.Unlock()
	if refuse {
		answer.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	answer.WriteHeader(http.StatusNoContent)
}

// delivered are the callbacks that the backend has acknowledged, by reference.
func (w *world) delivered() map[string][]received {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string][]received{}
	for _, c := range w.callbacks {
		if c.answered > 0 {
			all[c.reference] = append(all[c.reference], c)
		}
	}
	return all
}

// startFloor runs the floor.
func (w *world) startFloor(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	upstream := w.server.URL + "/realtime/v1/websocket?vsn=2.0.0&apikey=" + sandbox.AnonKey()
	return launch(ctx, os.Environ(), self, "floor", upstream)
}

// followPages makes a payment for each page of the floor, and has it hear of the first of them.
func (w *world) followPages(ctx context.Context, floor *process, n int) ([]payment, error) {
	payments := make([]payment, n)
	for i := range payments {
		reference := uuid.NewString()
		payments[i] = payment{Reference: reference, Token: reference}
		if i >= changing(n) {
			continue
		}
		p := dollrtest.Payment{Operation: dollrtest.Collection, ReferenceID: reference, SessionID: int64(uuid.New().ID())}
		if err := w.dollr.Put(p); err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(floor.stdin, "%d:%s\n", p.SessionID, reference); err != nil {
			return nil, err
		}
	}
	return payments, await(ctx, "every channel is joined", func() (bool, error) { return len(w.realtime.Channels()) == changing(n), nil })
}

// startRelay runs a relay in this world on the database, and kept quiet: it asks only when there is news. Settings are NAME=value.
func (w *world) startRelay(ctx context.Context, binary, database string, settings ...string) (*process, error) {
	env := append(os.Environ(), "RELAY_LISTEN=127.0.0.1:0", "RELAY_ADMIN_LISTEN=127.0.0.1:0", "RELAY_DATABASE_URL="+database,
		"RELAY_API_KEYS="+apiKey, "RELAY_PAGE_SECRETS="+strings.Repeat("page-secret-", 4), "RELAY_MAX_PAGES=100000",
		"RELAY_CALLBACK_URLS="+w.server.URL+"/hooks", "RELAY_CALLBACK_SECRETS="+callbackSecret,
		"RELAY_POLL_MIN=1h", "RELAY_POLL_MAX=1h", "RELAY_AUDIT_EVERY=1h", "RELAY_SHUTDOWN_GRACE=2s", "DOLLR_RATE=10000")
	for _, pair := range sandbox.Environment(w.server.URL) {
		env = append(env, pair[0]+"="+pair[1])
	}
	return launch(ctx, append(env, settings...), binary, "serve")
}

// payment is one that the relay watches.
type payment struct {
	ID        string
	Reference string
	Token     string
}

// register makes n payments at Dollr and at the relay, so many at once.
func (w *world) register(ctx context.Context, relay *process, operation, status string, n, atOnce int) ([]payment, error) {
	payments := make([]payment, n)
	err := spread(n, atOnce, func(i int) (err error) {
		p := dollrtest.Payment{Operation: operation, ReferenceID: uuid.NewString(), Status: status, PayeeAmount: "250.00", PayeeCurrency: "USD"}
		fields := map[string]any{"operation": operation, "reference_id": p.ReferenceID}
		if operation == dollrtest.Collection {
			p.SessionID = int64(uuid.New().ID())
			fields["session_id"], fields["source_type"] = p.SessionID, "INVOICE"
		}
		if err := w.dollr.Put(p); err != nil {
			return err
		}
		payments[i], err = post(ctx, relay, fields)
		payments[i].Reference = p.ReferenceID
		return err
	})
	return payments, err
}

func post(ctx context.Context, relay *process, fields map[string]any) (p payment, err error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return p, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+relay.Public+"/v1/payments", bytes.NewReader(body))
	if err != nil {
		return p, err
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return p, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return p, err
	}
	if answer.StatusCode != http.StatusCreated {
		return p, fmt.Errorf("register: %s: %s", answer.Status, text)
	}
	var known struct {
		ID   string
		Page struct{ Token string }
	}
	err = json.Unmarshal(text, &known)
	return payment{ID: known.ID, Token: known.Page.Token}, err
}

// spread calls do for 0 to n-1, so many at once, and returns the first few errors.
func spread(n, atOnce int, do func(i int) error) error {
	work := make(chan int)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		errs    []error
	)
	for range atOnce {
		workers.Go(func() {
			for i := range work {
				if err := do(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	workers.Wait()
	return errors.Join(errs[:min(len(errs), 5)]...)
}

// build makes the binary as a release does.
func build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "dollr-relay")
	return binary, run(ctx, append(os.Environ(), "CGO_ENABLED=0"), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/dollr-relay")
}

// refuseCallbacks makes the backend answer 503, or well again.
func (w *world) refuseCallbacks(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = on
}
