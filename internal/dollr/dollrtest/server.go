package dollrtest

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options configure a [Server]. The zero value works, with [ClientID] and [ClientSecret] as credentials.
type Options struct {
	ClientID     string
	ClientSecret string
	// JWTSecret signs realtime keys (HS256); the realtime stand-in checks them with the same. Defaults to [JWTSecret].
	JWTSecret []byte
	// TokenLife of access tokens; told in whole minutes, as Dollr does. Defaults to an hour.
	TokenLife time.Duration
	// KeyLife of realtime keys; told in seconds. Defaults to 300 s.
	KeyLife time.Duration
	// Rate limits requests per second, with bursts of twice that; beyond it the answer is 429. Defaults to no limit.
	Rate float64
	// OnChange hears of every payment that is new or changed, in order, outside of all locks.
	OnChange func(Payment)
	// Fault, if set, says what happens to a request, instead of the faults that are switched on.
	Fault func(r *http.Request) (Fault, bool)
	// Now is the clock of tokens and keys. Defaults to [time.Now].
	Now func() time.Time
}

// Credentials and secret of a [Server] whose options name none.
const (
	ClientID     = "client_sandbox"
	ClientSecret = "sandbox-client-secret"
	//nolint:gosec // not a secret: everybody knows it
	JWTSecret = "sandbox-jwt-secret-with-at-least-32-characters"
)

// Endpoints, as in [Request] and [Fault].
const (
	Token       = "token"
	RealtimeKey = "realtime_key"
	Collection  = "collection"
	Payout      = "payout"
	Transfer    = "transfer"
	Refund      = "refund"
	Source      = "source"
)

// AnyStatus in a [Fault] stands for the five status endpoints.
const AnyStatus = "status"

// keepRequests bounds the log of requests: a stand-in may run for days.
const keepRequests = 100_000

// Request is one request that arrived.
type Request struct {
	At       time.Time `json:"at"`
	Endpoint string    `json:"endpoint"` // "" for a path that does not exist
	Path     string    `json:"path"`     // with the query
	Code     int       `json:"code"`     // of the answer; 0 while there is none, or the connection was dropped
}

// Server is the stand-in. It may be used by many goroutines at once.
type Server struct {
	opts  Options
	mux   *http.ServeMux
	limit *rate.Limiter

	mu       sync.Mutex
	payments map[string]*Payment
	tokens   map[string]time.Time // until when each is good
	faults   []Fault
	requests []Request
	dropped  int // requests no longer in the log

	telling sync.Mutex // keeps OnChange in order
}

// New returns a Server without payments.
func New(opts Options) *Server {
	opts.ClientID = cmp.Or(opts.ClientID, ClientID)
	opts.ClientSecret = cmp.Or(opts.ClientSecret, ClientSecret)
	opts.TokenLife = cmp.Or(opts.TokenLife, time.Hour)
	opts.KeyLife = cmp.Or(opts.KeyLife, 300*time.Second)
	if len(opts.JWTSecret) == 0 {
		opts.JWTSecret = []byte(JWTSecret)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{opts: opts, mux: http.NewServeMux(), payments: map[string]*Payment{}, tokens: map[string]time.Time{}}
	if opts.Rate > 0 {
		s.limit = rate.NewLimiter(rate.Limit(opts.Rate), max(1, int(2*opts.Rate)))
	}
	s.handle("POST /v1/jwt/client/obtain/token", Token, s.obtainToken)
	s.handle("POST /v1/realtime-keys/collection", RealtimeKey, s.authorized(s.mintKey))
	for _, operation := range []string{Collection, Payout, Transfer, Refund} {
		s.handle("GET /v1/status/"+operation+"/{reference_id}", operation, s.authorized(s.execution(operation)))
	}
	s.handle("GET /v1/status/source", Source, s.authorized(s.source))
	s.handle("/", "", func(*http.Request) answer { return problem(http.StatusNotFound, "Not Found") })
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// endpoint answers one kind of request.
type endpoint func(r *http.Request) answer

// handle mounts an endpoint behind the log, the faults and the rate limit.
func (s *Server) handle(pattern, name string, serve endpoint) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		number := s.note(Request{At: s.opts.Now(), Endpoint: name, Path: r.URL.RequestURI()})
		// Read to its end before anything else: until then net/http does not notice that the client has gone.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		fault, faulty := s.nextFault(name, r)
		if faulty && !fault.before(r.Context()) {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		var a answer
		switch {
		case faulty && fault.answers():
			a = fault.answer()
		case s.limit != nil && !s.limit.Allow():
			a = tooMany("1")
		default:
			a = serve(r)
		}
		if faulty {
			a = fault.twist(a)
		}
		s.noteCode(number, a.code)
		a.write(w)
	})
}

// note logs a request and returns its number.
func (s *Server) note(r Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == keepRequests {
		s.requests = slices.Delete(s.requests, 0, keepRequests/2)
		s.dropped += keepRequests / 2
	}
	s.requests = append(s.requests, r)
	return s.dropped + len(s.requests) - 1
}

func (s *Server) noteCode(number, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := number - s.dropped; i >= 0 && i < len(s.requests) {
		s.requests[i].Code = code
	}
}

// Requests returns what arrived, oldest first, since the start or [Server.ForgetRequests]; at most the last 50,000 to 100,000.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests in the log were for an endpoint; [AnyStatus] counts all five, "" all that arrived.
func (s *Server) Count(endpoint string) int {
	n := 0
	for _, r := range s.Requests() {
		if matches(endpoint, r.Endpoint) {
			n++
		}
	}
	return n
}

// ForgetRequests empties the log.
func (s *Server) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += len(s.requests)
	s.requests = nil
}

// matches reports whether an endpoint is meant by a pattern: itself, [AnyStatus] or "" for all.
func matches(pattern, name string) bool {
	return pattern == "" || pattern == name || pattern == AnyStatus && name != "" && name != Token && name != RealtimeKey
}

// sleep waits for d. It reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
